"""Pods that have a node and do not start, or do not end: what they wait for.

Init containers run one after another, and each must end before the next; a sidecar (an init
container that is restarted always) must have started. What makes one of them crash is told by the
other families.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import listed, text
from faultline.diagnosis.facts import Facts, Part, Workload
from faultline.diagnosis.quantities import when
from faultline.diagnosis.wording import HINT, LIKELY, becomes_ready, finding, one_line, restore
from faultline.model import Finding

PATIENCE = dt.timedelta(minutes=5)


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what pods of a workload wait for before they start, or before they are gone."""
    for workload in facts.workloads:
        for part in workload.parts:
            yield from list(_blocks(part))[:1]
        yield from list(_hook(workload))[:1]
        yield from list(_no_sandbox(workload))[:1]
        yield from list(_lingers(workload))[:1]


def _blocks(part: Part) -> Iterator[Finding]:
    """An init container that goes on and on, or a sidecar that has not started."""
    now = part.workload.facts.now
    sidecar = part.get("restartPolicy") == "Always"
    known = part.waiting or part.ended or part.happenings("Unhealthy")
    if not part.init or known or not now:
        return
    for pod in part.workload.pods:
        status = f"status.initContainerStatuses[name={part.name}]"
        since = when(pod.get(f"{status}.state.running.startedAt"))
        started = pod.get(f"{status}.started") is not False
        if not since or now - since < PATIENCE or (sidecar and started):
            continue
        what = "sidecar" if sidecar else "init container"
        minutes = _minutes(now - since)
        verb = "has not started" if sidecar else "has not ended"
        yield finding(
            "starting.blocked",
            LIKELY,
            f"The {what} {part.name} {verb} for {minutes} minutes",
            f"Pods of {part.workload} do not start: the {what} {part.name} {verb} for {minutes} "
            "minutes, and what comes after it waits.",
            [pod.cite(f"{status}.state.running.startedAt"), part.cite("name")],
            rules_out=("conditions",),
            actions=[
                restore(f"See in its log what {part.name} waits for.", becomes_ready(part.workload))
            ],
        )


def _hook(workload: Workload) -> Iterator[Finding]:
    for part in workload.parts:
        for said in part.happenings("FailedPostStartHook"):
            if not part.ready:
                yield finding(
                    "starting.hook",
                    LIKELY,
                    f"The postStart hook of {part.name} fails",
                    f"{part} is ended each time because its postStart hook fails.",
                    [said.cite(), part.cite("lifecycle.postStart")],
                    rules_out=("crash_loop.exit",),
                    actions=[restore("Put the hook right.", becomes_ready(workload))],
                )


def _no_sandbox(workload: Workload) -> Iterator[Finding]:
    creating = any(w.reason in ("ContainerCreating", "PodInitializing") for p in workload.parts
                   for w in p.waiting)  # fmt: skip
    for said in workload.happenings("FailedCreatePodSandBox"):
        if creating:
            yield finding(
                "starting.no-sandbox",
                LIKELY,
                f"The node cannot give pods of {workload.object.name} a network or a sandbox",
                f"Pods of {workload} do not start: the runtime of their node cannot make the "
                "sandbox they run in.",
                [said.cite()],
            )


def _lingers(workload: Workload) -> Iterator[Finding]:
    """A pod, or the workload itself, that is deleted and stays: its finalizers, its silent node."""
    now = workload.facts.now
    for object in (workload.object, *workload.pods, *workload.left):
        since = when(object.get("metadata.deletionTimestamp"))
        if not since or not now or now - since < PATIENCE:
            continue
        kept = [one_line(f, 80) for f in listed(object.get("metadata.finalizers"))]
        node = workload.facts.object("Node", text(object.get("spec.nodeName")))
        silent = node if node and node.state("Ready")[0] in ("False", "Unknown") else None
        why = (
            f"its finalizer {', '.join(kept[:3])} is not done"
            if kept
            else f"its node {silent.name} is not there to say that it ended"
            if silent
            else "nobody says why"
        )
        yield finding(
            "starting.does-not-end",
            HINT,
            f"{object.kind} {object.name} is deleted and does not go",
            f"{object} has been deleted for {_minutes(now - since)} minutes and stays: {why}.",
            [
                object.cite("metadata.deletionTimestamp"),
                object.cite("metadata.finalizers"),
                silent.cite_state("Ready") if silent else None,
            ],
        )


def _minutes(time: dt.timedelta) -> int:
    return int(time.total_seconds() // 60)
