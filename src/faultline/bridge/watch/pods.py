"""What pods show: crash loops, kills, restarts, images, configuration, readiness, eviction. Pure.

The fields are those of Kubernetes' core/v1 PodStatus (kubernetes/api: core/v1/types.go).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from faultline.bridge.watch.symptoms import (
    Object,
    Rules,
    Symptom,
    changed,
    condition,
    created,
    items,
    latest,
    mapping,
    number,
    text,
    time,
)
from faultline.model import Severity

CRASH_LOOP = "CrashLoopBackOff"
OOM_KILLED = "OOMKilled"
IMAGE = frozenset({
    "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName",
    "ImageInspectError",
})  # fmt: skip
CONFIGURATION = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)


class Container(NamedTuple):
    """One container's status."""

    name: str
    init: bool
    ready: bool
    restarts: int
    waiting: str  # the reason; empty: it does not wait
    waiting_message: str
    running_at: dt.datetime | None
    ended: Mapping[str, Any]  # its present termination, or an empty one
    ended_before: Mapping[str, Any]  # the last one before

    @property
    def last_end(self) -> Mapping[str, Any]:
        return self.ended or self.ended_before

    @property
    def well(self) -> bool:
        done = bool(self.ended) and number(self.ended, "exitCode") == 0
        return done or (self.running_at is not None and (self.ready or self.init))


def containers(obj: Object) -> Iterator[Container]:
    """Yield the pod's containers, those for the beginning first."""
    status = obj.get("status")
    for name in ("initContainerStatuses", "containerStatuses"):
        for found in items(status, name):
            state = mapping(found, "state")
            yield Container(
                name=text(found, "name"),
                init=name.startswith("init"),
                ready=found.get("ready") is True,
                restarts=number(found, "restartCount"),
                waiting=text(mapping(state, "waiting"), "reason"),
                waiting_message=text(mapping(state, "waiting"), "message"),
                running_at=time(mapping(state, "running"), "startedAt"),
                ended=mapping(state, "terminated"),
                ended_before=mapping(found, "lastState", "terminated"),
            )


class Restarts(NamedTuple):
    """How often a container was restarted, and when it was the last few times, oldest first."""

    total: int
    times: tuple[dt.datetime, ...]


def restarts(obj: Object, before: Mapping[str, Restarts], rules: Rules) -> dict[str, Restarts]:
    """Return the restarts of the pod's containers, after those that were known before.

    Of a pod that was not known, only what must lie within the window counts: all of them if the pod
    itself is younger, else the last one. Empty for a pod that never restarted.
    """
    return {
        found.name: _restarted(obj, found, before.get(found.name), rules)
        for found in containers(obj)
        if found.restarts > 0
    }


def _restarted(obj: Object, found: Container, before: Restarts | None, rules: Rules) -> Restarts:
    began = created(obj)
    at = latest(time(found.last_end, "finishedAt"), began if not found.last_end else None)
    if at is None or (before and found.restarts <= before.total):
        return before or Restarts(found.restarts, ())
    if before:
        new = found.restarts - before.total
    else:
        young = began is not None and (at - began).total_seconds() <= rules.restart_window_s
        new = found.restarts if young else 1
    times = (before.times if before else ()) + (at,) * min(new, rules.restarts)
    return Restarts(found.restarts, times[-rules.restarts :])


def symptoms(obj: Object, rules: Rules, known: Mapping[str, Restarts]) -> Iterator[Symptom]:
    """Yield what a pod shows; `known` are its restarts. One that is being deleted shows nothing."""
    if text(obj.get("metadata"), "deletionTimestamp"):
        return
    phase = text(obj.get("status"), "phase")
    if phase == "Failed":
        yield from _evicted(obj)
    if phase in ("Failed", "Succeeded"):
        return
    yield from _unschedulable(obj, rules)
    for found in containers(obj):
        about = {"pod": text(obj.get("metadata"), "name"), "container": found.name}
        about["node"] = text(obj.get("spec"), "nodeName")
        yield from _crash_loop(obj, found, about)
        yield from _killed(found, about)
        yield from _restarting(found, about, rules, known.get(found.name))
        yield from _not_started(obj, found, about)
        yield from _not_ready(obj, found, about, rules)


def recovered_at(obj: Object) -> dt.datetime | None:
    """Return since when the pod is ready, if it is."""
    ready = condition(obj, "Ready")
    return changed(ready) if ready.get("status") == "True" else None


def _past_since(found: Container, at: dt.datetime) -> dt.datetime | None:
    """Return since when what happened at a time is past: the container has run again, or is done.

    None while it waits for its next start.
    """
    done = bool(found.ended) and number(found.ended, "exitCode") == 0
    return latest(at, found.running_at) if found.running_at or done else None


def _unready_since(obj: Object) -> dt.datetime | None:
    """Return since when not all containers are ready: a container that waits keeps no time."""
    ready = condition(obj, "ContainersReady") or condition(obj, "Ready")
    began = time(obj.get("status"), "startTime") or created(obj)
    return (changed(ready) if ready.get("status") == "False" else None) or began


def _last_words(end: Mapping[str, Any]) -> str:
    if not end:
        return ""
    said = f"last exit code {number(end, 'exitCode')}, {text(end, 'reason') or 'no reason given'}"
    return f"{said}: {text(end, 'message')}" if text(end, "message") else said


def _crash_loop(obj: Object, found: Container, about: Mapping[str, str]) -> Iterator[Symptom]:
    waits = found.waiting == CRASH_LOOP
    if not waits and (found.well or not found.last_end):
        return
    yield Symptom(
        name="CrashLoop",
        part=found.name,
        severity=Severity.CRITICAL,
        summary=f"Container {found.name} of pod {about['pod']} is crash looping after "
        f"{found.restarts} restarts",
        message=_last_words(found.last_end) or found.waiting_message,
        since=time(found.last_end, "finishedAt") or _unready_since(obj),
        opens=waits,  # it runs for a moment between two crashes
        labels={**about, "reason": CRASH_LOOP},
    )


def _killed(found: Container, about: Mapping[str, str]) -> Iterator[Symptom]:
    """The last termination stays in the status for the pod's life: it is past once it runs."""
    end = next((e for e in (found.ended, found.ended_before) if e.get("reason") == OOM_KILLED), {})
    at = time(end, "finishedAt")
    if not end or at is None:
        return
    yield Symptom(
        name=OOM_KILLED,
        part=found.name,
        severity=Severity.CRITICAL,
        summary=f"Container {found.name} of pod {about['pod']} was killed for its memory",
        message=_last_words(end),
        since=at,
        well_since=_past_since(found, at),
        edge=True,
        labels={**about, "reason": OOM_KILLED},
    )


def _restarting(
    found: Container, about: Mapping[str, str], rules: Rules, known: Restarts | None
) -> Iterator[Symptom]:
    times = known.times if known else ()
    if len(times) < rules.restarts:
        return
    if (times[-1] - times[0]).total_seconds() > rules.restart_window_s:
        return
    yield Symptom(
        name="RestartThreshold",
        part=found.name,
        summary=f"Container {found.name} of pod {about['pod']} was restarted {rules.restarts} "
        f"times within {rules.restart_window_s} s",
        message=_last_words(found.last_end),
        since=times[-1],
        well_since=_past_since(found, times[-1]),
        edge=True,
        labels=about,
    )


def _not_started(obj: Object, found: Container, about: Mapping[str, str]) -> Iterator[Symptom]:
    name = {**dict.fromkeys(IMAGE, "ImagePull"), **dict.fromkeys(CONFIGURATION, "ContainerConfig")}
    if found.waiting not in name:
        return
    yield Symptom(
        name=name[found.waiting],
        part=found.name,
        summary=f"Container {found.name} of pod {about['pod']} cannot start: {found.waiting}",
        message=found.waiting_message,
        since=_unready_since(obj),
        labels={**about, "reason": found.waiting},
    )


def _not_ready(
    obj: Object, found: Container, about: Mapping[str, str], rules: Rules
) -> Iterator[Symptom]:
    if found.init or found.ready or found.running_at is None:
        return
    yield Symptom(
        name="PodNotReady",
        part=found.name,
        summary=f"Container {found.name} of pod {about['pod']} runs and is not ready",
        message=text(condition(obj, "ContainersReady"), "message"),
        since=latest(found.running_at, _unready_since(obj)),
        hold_s=rules.hold_s,
        labels=about,
    )


def _unschedulable(obj: Object, rules: Rules) -> Iterator[Symptom]:
    found = condition(obj, "PodScheduled")
    if found.get("status") != "False" or found.get("reason") != "Unschedulable":
        return
    pod = text(obj.get("metadata"), "name")
    yield Symptom(
        name="Unschedulable",
        summary=f"No node takes pod {pod}",
        message=text(found, "message"),
        since=changed(found) or created(obj),
        hold_s=rules.hold_s,
        labels={"pod": pod},
    )


def _evicted(obj: Object) -> Iterator[Symptom]:
    """An evicted pod stays as it is until someone deletes it: the eviction itself is past."""
    status = obj.get("status")
    if text(status, "reason") != "Evicted":
        return
    ends = (time(c.last_end, "finishedAt") for c in containers(obj))
    at = changed(condition(obj, "DisruptionTarget")) or latest(*ends) or time(status, "startTime")
    at = at or created(obj)
    pod = text(obj.get("metadata"), "name")
    yield Symptom(
        name="Evicted",
        summary=f"Pod {pod} was evicted from its node",
        message=text(status, "message"),
        since=at,
        well_since=at,
        edge=True,
        labels={"pod": pod, "node": text(obj.get("spec"), "nodeName")},
    )
