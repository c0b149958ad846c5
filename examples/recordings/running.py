"""Programs that do not run: images, architectures, commands, configuration, memory, probes."""

from __future__ import annotations

from dataclasses import replace

from recordings.objects import (
    BEFORE,
    NODES,
    Object,
    ended,
    loops,
    thing,
    unready,
    waits,
    well,
)
from recordings.recording import Recording, alert, truth, written
from recordings.workloads import App, program, task

REGISTRY = "registry.shop.example/shop"


def looping(app: App, told: Object) -> Recording:
    said = f'Pod shop/{app.pods[0]} (app) is in waiting state (reason: "CrashLoopBackOff").'
    made = Recording(
        app, alert(app, "KubePodCrashLooping", "Pod is crash looping.", said, pod=True), told
    )
    back = f"Back-off restarting failed container app in pod {app.pods[0]}_shop"
    return made.says("BackOff", back, times=66)


def waiting(app: App, told: Object) -> Recording:
    said = f"pod/{app.pods[0]} in namespace shop on container app has been in waiting state."
    return Recording(
        app,
        alert(
            app, "KubeContainerWaiting", "Pod container waiting longer than 1 hour.", said, pod=True
        ),
        told,
    )


# images


def _pull(image: str, said: str) -> str:
    return f'Failed to pull image "{image}": {said}'


def _cannot_pull(made: Recording, image: str, said: str) -> Recording:
    made.says("Failed", _pull(image, said), times=4)
    made.says("Failed", "Error: ErrImagePull", times=4)
    return made.says("BackOff", f'Back-off pulling image "{image}"', times=60, normal=True)


def rate_limited() -> Recording:
    image = "docker.io/library/redis:7.4.2"
    said = (
        f'failed to pull and unpack image "{image}": failed to copy: httpReadSeeker: failed open: '
        "unexpected status code https://registry-1.docker.io/v2/library/redis/manifests/sha256:"
        "5b0e7f4a: 429 Too Many Requests - Server message: toomanyrequests: You have reached your "
        "unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
    )
    app = App(
        "sessions",
        program("sessions", "", image=image),
        program("sessions", "", image="docker.io/library/redis:7.4.1"),
        sights=[waits("ImagePullBackOff", f'Back-off pulling image "{image}"')],
        old=[well(BEFORE), well(BEFORE, node=NODES[1])],
        about="sessions: who is logged in.",
    )
    told = truth(
        app, "The registry allows no more pulls", "image_pull.rate-limited", ["429", "rate limit"]
    )
    return _cannot_pull(waiting(app, told), image, said).commit("redis 7.4.2")


def invalid_name() -> Recording:
    good, bad = f"{REGISTRY}/giftcards:1.1.0", f"{REGISTRY}/GiftCards:1.2.0"
    said = (
        f'Failed to apply default image tag "{bad}": couldn\'t parse image name "{bad}": invalid '
        "reference format: repository name (shop/GiftCards) must be lowercase"
    )
    app = App(
        "giftcards",
        program("giftcards", "", image=bad),
        program("giftcards", "", image=good),
        sights=[waits("InvalidImageName", said)],
        old=[well(BEFORE), well(BEFORE)],
        about="giftcards: money in envelopes.",
    )
    told = truth(
        app,
        "The image's name is not valid: capital letters",
        "image_pull.invalid-name",
        ["GiftCards", "invalid"],
        ".image",
        before=bad,
        after=good,
    )
    made = waiting(app, told).says("InspectFailed", said, times=12)
    made.says("Failed", "Error: InvalidImageName", times=12)
    return made.commit("giftcards 1.2.0")


def image_of_an_agent() -> Recording:
    good, bad = f"{REGISTRY}/node-probe:2.3.0", f"{REGISTRY}/node-prboe:2.3.1"
    said = (
        f'rpc error: code = NotFound desc = failed to pull and unpack image "{bad}": failed to '
        f'resolve reference "{bad}": {bad}: not found'
    )
    app = App(
        "node-probe",
        task("node-probe", "", image=bad),
        task("node-probe", "", image=good),
        kind="DaemonSet",
        sights=[waits("ImagePullBackOff", f'Back-off pulling image "{bad}"')],
        old=[well(BEFORE, node=NODES[1])],
        about="node-probe: on each node.",
    )
    told = truth(
        app,
        "A DaemonSet's image name has a typing error",
        "image_pull.not-found",
        ["node-prboe", "not found"],
        ".image",
        before=bad,
        after=good,
    )
    return _cannot_pull(waiting(app, told), bad, said).commit("node-probe 2.3.1")


def image_of_a_task() -> Recording:
    image = f"{REGISTRY}/stocktake:0.4.0"
    said = (
        f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
        f"{image}: not found"
    )
    app = App(
        "stocktake",
        task("stocktake", "0.4.0"),
        kind="CronJob",
        sights=[waits("ImagePullBackOff", f'Back-off pulling image "{image}"')],
        about="stocktake: counts everything, every half hour.",
    )
    told = truth(
        app,
        "A CronJob names an image tag that does not exist",
        "image_pull.not-found",
        ["stocktake", "0.4.0", "not found"],
    )
    return _cannot_pull(waiting(app, told), image, said)


def wrong_architecture() -> Recording:
    good, bad = f"{REGISTRY}/quotes:5.2.0", f"{REGISTRY}/quotes:5.3.0"
    before, now = (program("quotes", "", image=i, command=["/app/server"]) for i in (good, bad))
    app = App("quotes", now, before)
    last = ended(255, "Error", "2026-11-20T09:46:12Z", began="2026-11-20T09:46:12Z")
    app = App(
        "quotes",
        now,
        before,
        sights=[loops(app.pods[0], last)],
        old=[well(BEFORE), well(BEFORE)],
        about="quotes: offers for companies.",
    )
    told = truth(
        app,
        "The image was built for another processor",
        "crash_loop.wrong-architecture",
        ["exec format error", "architecture"],
        ".image",
        before=bad,
        after=good,
    )
    made = looping(app, told).commit("quotes 5.3.0, built on the new machines")
    return made.log("exec /app/server: exec format error", previous=True)


# configuration of other kinds of workload


def config_of_a_task() -> Recording:
    said = 'configmap "newsletter-setings" not found'
    app = App(
        "newsletter-send",
        task(
            "newsletter-send", "2.0.1", envFrom=[{"configMapRef": {"name": "newsletter-setings"}}]
        ),
        kind="CronJob",
        sights=[waits("CreateContainerConfigError", said)],
        about="newsletter-send: what is new, to those who want to know.",
    )
    told = truth(
        app,
        "A CronJob refers to a ConfigMap that is not there",
        "configuration.object-missing",
        ["newsletter-setings", "not found", "newsletter-settings"],
        ".envFrom[0].configMapRef.name",
        before="newsletter-setings",
        after="newsletter-settings",
    )
    settings = thing("ConfigMap", "newsletter-settings", data={"SENDER": "news@shop.example"})
    made = waiting(app, told).with_(settings)
    made.git = [written(settings)]
    return made.says("Failed", f"Error: {said}", times=72)


def config_key_of_a_set() -> Recording:
    def reads(key: str) -> list[Object]:
        return [
            {
                "name": "RETENTION",
                "valueFrom": {"configMapKeyRef": {"name": "audit-settings", "key": key}},
            }
        ]

    said = "couldn't find key retention-dyas in ConfigMap shop/audit-settings"
    app = App(
        "audit",
        program("audit", "1.1.0", env=reads("retention-dyas")),
        program("audit", "1.0.9", env=reads("retention-days")),
        kind="StatefulSet",
        sights=[waits("CreateContainerConfigError", said)],
        old=[well(BEFORE, node=NODES[1])],
        about="audit: who did what.",
    )
    told = truth(
        app,
        "A StatefulSet asks a ConfigMap for a key that it does not have",
        "configuration.key-missing",
        ["retention-dyas", "audit-settings", "retention-days"],
        ".env[name=RETENTION].valueFrom.configMapKeyRef.key",
        before="retention-dyas",
        after="retention-days",
    )
    settings = thing("ConfigMap", "audit-settings", data={"retention-days": "3650"})
    made = waiting(app, told).with_(settings).commit("audit 1.1.0")
    made.git = [written(settings)]
    return made.says("Failed", f"Error: {said}", times=72)


# memory


def _limited(limit: str) -> Object:
    return {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": limit}}


KILLED = ended(137, "OOMKilled", "2026-11-20T09:46:39Z", began="2026-11-20T09:45:58Z")


def leak() -> Recording:
    now = program("recommendations", "2.9.0", resources=_limited("512Mi"))
    last = ended(137, "OOMKilled", "2026-11-20T09:46:34Z", began="2026-11-20T06:02:40Z")
    app = App(
        "recommendations",
        now,
        rolled=BEFORE,
        about="recommendations: others also bought.",
        sights=[unready("2026-11-20T09:46:35Z", 9, last), well("2026-11-20T08:10:02Z", 8)],
    )
    told = truth(
        app,
        "Memory that only grows, until the kernel kills it",
        "memory.leak",
        ["memory", "grows", "leak"],
        proved=False,
    )
    what = f"Container app of shop/{app.pods[0]} was killed for memory 9 times in two days."
    made = Recording(
        app,
        alert(app, "KubeContainerOOMKilled", "Container is killed for memory.", what, pod=True),
        told,
    )
    return made.memory(
        app.pods[0], "2026-11-20T06:04:00Z", [61 + 14.6 * i + i % 3 for i in range(31)], every_s=430
    )


def _lowered(name: str, kind: str, about: str) -> Recording:
    runs = program if kind == "StatefulSet" else task
    before, now = (runs(name, "3.3.0", resources=_limited(m)) for m in ("384Mi", "128Mi"))
    app = App(name, now, before, kind=kind, about=about, old=[well(BEFORE, node=NODES[1])])
    app = replace(app, sights=[loops(app.pods[0], KILLED)])
    told = truth(
        app,
        f"A rollout lowered a {kind}'s memory limit below what it uses",
        "memory.limit-exceeded",
        ["memory", "limit", "128Mi", "OOMKilled"],
        ".resources.limits.memory",
        before="128Mi",
        after="384Mi",
    )
    made = looping(app, told).commit("Right-size memory of idle services")
    used = [201 + (i * 37 % 11) for i in range(30)]
    made.memory(app.pod_names(before, 1)[0], "2026-11-20T08:58:00Z", used)
    rises = [31, 74, 118, 27, 70, 115, 29, 77, 120, 126]
    return made.memory(app.pods[0], "2026-11-20T09:32:00Z", rises)


def limit_of_an_agent() -> Recording:
    return _lowered("metrics-agent", "DaemonSet", "metrics-agent: on each node.")


def limit_of_a_set() -> Recording:
    return _lowered("queue", "StatefulSet", "queue: what has to be done.")


CASES = {
    "image-rate-limit": rate_limited,
    "image-invalid": invalid_name,
    "image-typo-daemonset": image_of_an_agent,
    "image-tag-cronjob": image_of_a_task,
    "wrong-architecture": wrong_architecture,
    "missing-configmap-cronjob": config_of_a_task,
    "missing-key-statefulset": config_key_of_a_set,
    "memory-leak": leak,
    "memory-daemonset": limit_of_an_agent,
    "memory-statefulset": limit_of_a_set,
}
