"""Clusters in which nothing is wrong, though much looks so: any finding here is a false one."""

from __future__ import annotations

from dataclasses import replace

from recordings.objects import (
    BEFORE,
    NODES,
    Object,
    died,
    ended,
    loops,
    pod,
    thing,
    well,
)
from recordings.recording import Recording, alert, healthy
from recordings.workloads import App, program, task

LATENCY = ("LatencyHigh", "Requests take longer than usual.")


def _slow(app: App, title: str) -> Recording:
    said = f"p99 of shop/{app.name} was 840 ms during the last five minutes."
    return Recording(app, alert(app, *LATENCY, said), healthy(title))


def _steady(name: str, tag: str, about: str, **more: object) -> App:
    sights = [well(BEFORE), well(BEFORE, node=NODES[1])]
    return App(name, program(name, tag), about=about, rolled=BEFORE, sights=sights, **more)  # type: ignore[arg-type]


def killed_yesterday() -> Recording:
    last = ended(137, "OOMKilled", "2026-11-19T08:14:20Z", began=BEFORE)
    app = replace(
        _steady("menu", "3.3.1", "menu: what is where."),
        sights=[well("2026-11-19T08:14:21Z", 1, last), well(BEFORE, node=NODES[1])],
    )
    made = _slow(
        app, "Nothing is wrong: one pod was killed for memory yesterday, and is well since"
    )
    level = [141 + (i * 53 % 17) for i in range(40)]
    return made.memory(app.pods[0], "2026-11-20T09:05:00Z", level)


def finished_job() -> Recording:
    app = _steady("sitemap", "1.0.3", "sitemap: for search engines.")
    made = _slow(app, "Nothing is wrong: a Job beside it has finished, an earlier one had failed")
    for name, code, at in (
        ("sitemap-migrate-1", 1, "2026-11-19T22:00:41Z"),
        ("sitemap-migrate-2", 0, "2026-11-19T22:10:09Z"),
    ):
        made.with_(*_job(name, code, at))
    return made.log("2026-11-20T09:44:12.001Z INFO  GET /sitemap.xml 200 812ms")


def _job(name: str, code: int, at: str) -> list[Object]:
    job = thing("Job", name, api="batch/v1", spec={"backoffLimit": 0})
    reason = {"type": "Failed", "reason": "BackoffLimitExceeded"} if code else {"type": "Complete"}
    job["status"] = {"conditions": [reason | {"status": "True", "lastTransitionTime": at}]}
    template = App(name, {}).template(task("sitemap", "1.0.3", spec={"restartPolicy": "Never"}))
    sight = died(code, at, "Error" if code else "Completed")
    return [job, pod(f"{name}-x7k2p", job, template, sight, at)]


def noisy_neighbour() -> Recording:
    app = _steady("faq", "0.7.2", "faq: questions that were asked before.")
    made = _slow(app, "Nothing is wrong here: a neighbour in the namespace crashes, not this one")
    other = App("playground", program("playground", "latest"), rolled=BEFORE)
    last = ended(1, "Error", "2026-11-20T09:46:20Z", began="2026-11-20T09:46:18Z")
    other = replace(other, sights=[loops(other.pods[0], last, 212)] * 2)
    made.with_(*other.objects())
    back = f"Back-off restarting failed container app in pod {other.pods[0]}_shop"
    made.says("BackOff", back, about=("Pod", other.pods[0]), times=1830)
    refused = 'Error creating: pods "batch-1" is forbidden: exceeded quota: team-shop, requested: '
    refused += "cpu=4, used: cpu=11, limited: cpu=12"
    return made.says("FailedCreate", refused, about=("ReplicaSet", "batch-6f7d9c8b5"), times=40)


def rolled_out_well() -> Recording:
    since = "2026-11-20T09:31:07Z"
    app = App(
        "banner-ads",
        program("banner-ads", "4.5.0"),
        program("banner-ads", "4.4.9"),
        sights=[well(since), well("2026-11-20T09:31:31Z", node=NODES[1])],
        about="banner-ads: please buy this.",
    )
    made = _slow(
        app, "Nothing is wrong: a rollout that is over; a probe failed at its start, a pod waited"
    )
    late = 'Readiness probe failed: Get "http://10.4.25.36:8080/ready": dial tcp 10.4.25.36:8080: '
    late += "connect: connection refused"
    made.says("Unhealthy", late, times=2, last="2026-11-20T09:31:14Z")
    full = "0/2 nodes are available: 2 Insufficient cpu."
    made.says("FailedScheduling", full, last="2026-11-20T09:31:08Z")
    made.log(
        "2026-11-20T09:31:09.310Z WARN  lookup cache on 172.20.0.10:53: no such host, once more",
        "2026-11-20T09:31:11.902Z INFO  listening on :8080",
        "2026-11-20T09:45:02.115Z INFO  GET /banner 200 12ms",
    )
    return made.commit("banner-ads 4.5.0")


def restarted_by_hand() -> Recording:
    last = ended(0, "Completed", "2026-11-20T05:00:02Z", began=BEFORE)
    app = App(
        "bookkeeping",
        program("bookkeeping", "2.2.2"),
        kind="StatefulSet",
        rolled=BEFORE,
        sights=[well("2026-11-20T05:00:03Z", 14, last), well("2026-11-20T05:01:10Z", 14, last)],
        about="bookkeeping: restarts itself each night, on purpose.",
    )
    return _slow(
        app, "Nothing is wrong: a StatefulSet that ends with code 0 each night, and restarts"
    )


def quiet_task() -> Recording:
    app = App(
        "cleanup",
        task("cleanup", "1.0.0"),
        kind="CronJob",
        sights=[died(0, "2026-11-20T09:30:44Z", "Completed")],
        about="cleanup: old carts.",
    )
    said = "CronJob shop/cleanup took longer than yesterday."
    made = Recording(
        app,
        alert(app, "CronJobSlow", "A CronJob takes longer.", said),
        healthy("Nothing is wrong: a CronJob whose last run ended well"),
    )
    return made.log(
        "2026-11-20T09:30:43.700Z ERROR could not delete cart 118: retried, done",
        "2026-11-20T09:30:44.001Z INFO  4711 carts deleted",
    )


CASES = {
    "healthy-killed-yesterday": killed_yesterday,
    "healthy-finished-job": finished_job,
    "healthy-noisy-neighbour": noisy_neighbour,
    "healthy-after-rollout": rolled_out_well,
    "healthy-restarts-statefulset": restarted_by_hand,
    "healthy-cronjob": quiet_task,
}
