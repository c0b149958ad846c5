"""Workloads and their parts, now and in the revision before.

A **workload** is what stands in Git. A **part** is one container of it, over all pods of its
current revision. `was` compares with the previous revision. A path is written as in `fields.py`,
relative to the pod template or to the container, and serves for reading, citing and changing alike.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from faultline.diagnosis import documents as docs
from faultline.diagnosis.documents import Source, item, items, mapping, number, text
from faultline.diagnosis.objects import Ended, Object, Waiting, Was
from faultline.diagnosis.quantities import when
from faultline.diagnosis.records import Happening, LogSection, Rollout, Series
from faultline.model import Change, Evidence

TEMPLATES = {
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"), "spec.template"
    ),
    "CronJob": "spec.jobTemplate.spec.template",
    "Pod": "",
}
_LISTS = (("initContainers", True), ("containers", False))
RECENT = dt.timedelta(hours=1)


class Around(Protocol):
    """What a workload asks of the rest of its capsule; `facts.Facts` is one."""

    @property
    def now(self) -> dt.datetime | None: ...
    @property
    def happenings(self) -> Sequence[Happening]: ...
    @property
    def logs(self) -> Sequence[LogSection]: ...
    @property
    def series(self) -> Sequence[Series]: ...
    @property
    def rollouts(self) -> Sequence[Rollout]: ...
    def of(self, kind: str) -> Sequence[Object]: ...
    def names(self, kind: str) -> set[str]: ...
    def object(self, kind: str, name: str) -> Object | None: ...
    def source(self, file: str) -> Source: ...


@dataclass(frozen=True)
class Workload:
    """What people deploy, with the pods of its current revision."""

    facts: Around
    object: Object
    pods: tuple[Object, ...]
    current: Object | None = None  # the ReplicaSet or ControllerRevision of the current revision
    before: Object | None = None  # and of the revision before
    left: tuple[Object, ...] = ()  # pods of earlier revisions

    @property
    def template(self) -> str:
        """Path of the pod template within the object; "" for a bare pod."""
        return TEMPLATES.get(self.object.kind, "spec.template")

    def path(self, field: str) -> str:
        return f"{self.template}.{field}" if self.template else field

    def get(self, field: str) -> Any:
        """Read a field of the pod template, such as `spec.nodeSelector`."""
        found = self.object.get(self.path(field))
        return self.pods[0].get(field) if found is None and self._bare and self.pods else found

    @property
    def _bare(self) -> bool:
        return self.object.doc.value is None  # the capsule has its pods, not the workload itself

    def cite(self, field: str) -> Evidence | None:
        return self.object.cite(self.path(field)) or next(
            (e for e in (p.cite(field) for p in self.pods) if e), None
        )

    def change(self, field: str, after: Any, reason: str) -> Change:
        before = self.get(field)
        return self.change_at(self.path(field), before, after, reason)

    def change_at(self, path: str, before: Any, after: Any, reason: str) -> Change:
        """Propose a change of a field of the object itself, by its whole path."""
        return Change(
            target=self.object.target, field=path, before=before, after=after, reason=reason
        )

    def was(self, field: str) -> Was | None:
        """Return what a field of the template was in the previous revision; None if the same."""
        if self.before is None:
            return self._was_by_rollout(self.path(field))
        value = self.before.kept(field)
        if value == self.get(field):
            return None
        return Was(value, self.before.revision, self.before.cite_kept(field))

    def _was_by_rollout(self, path: str) -> Was | None:
        for difference in self.rollout.differences if self.rollout else ():
            if docs.steps(difference.field) == docs.steps(path):
                return Was(difference.before, self.rollout.previous, difference.cite())  # type: ignore[union-attr]
        return None

    @cached_property
    def rollout(self) -> Rollout | None:
        """The newest rollout on record."""
        own = [r for r in self.facts.rollouts if r.workload.split("/")[-1] == self.object.name]
        return max(own, key=lambda r: r.revision, default=None)

    @property
    def changed_at(self) -> dt.datetime | None:
        """When the current revision was rolled out."""
        if self.rollout and self.rollout.at:
            return self.rollout.at
        return when(self.current.get("metadata.creationTimestamp")) if self.current else None

    @property
    def differences(self) -> set[str]:
        """Fields of containers that the newest rollout changed, such as `image`, `resources`."""
        old = self.before.kept("spec.containers") if self.before else None
        if old is not None:
            now = {text(c.get("name")): c for c in items(self.get("spec.containers"))}
            pairs = [(c, now.get(text(c.get("name")), {})) for c in items(old)]
            return {k for a, b in pairs for k in a.keys() | b.keys() if a.get(k) != b.get(k)}
        fields = (d.field for d in self.rollout.differences) if self.rollout else ()
        return {m[1] for f in fields if (m := re.search(r"ontainers\[[^\]]*\]\.(\w+)", f))}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        found = []
        for key, init in _LISTS:
            names = [text(c.get("name")) for c in items(self.get(f"spec.{key}"))]
            found += [Part(self, name, init) for name in dict.fromkeys(names) if name]
        return tuple(found)

    @property
    def ready(self) -> bool:
        """All of its containers run and are ready."""
        return bool(self.pods) and all(part.ready for part in self.parts)

    @property
    def well(self) -> bool:
        """Nothing is wrong with its pods, as far as they show: what is said of others may count."""
        refused = not self.pods and next(self.happenings("FailedCreate", about="itself"), None)
        restless = any(part.ended for part in self.parts)
        return not refused and not restless and (self.ready or not self.pods)

    @property
    def short(self) -> bool:
        """It has fewer ready pods than it should, or of its newest revision, or does not say."""
        status = mapping(self.object.get("status"))
        said = status.get("readyReplicas", status.get("numberReady"))
        if not status or self.object.kind not in ("Deployment", "StatefulSet", "DaemonSet"):
            return True
        if self.object.kind == "Deployment":  # pods of the revision before stay until there are new
            said = min(number(said), number(status.get("updatedReplicas")))
        wanted = self.object.get("spec.replicas") or status.get("desiredNumberScheduled")
        return number(said) < (number(wanted) or 1)

    def happenings(self, reason: str = "", about: str = "Pod") -> Iterator[Happening]:
        """Events about its pods (or itself, its ReplicaSet, …), newest first."""
        names = {p.name for p in self.pods} if about == "Pod" else self._names
        for happening in self.facts.happenings:
            if happening.name in names and reason in ("", happening.reason):
                yield happening

    @property
    def _names(self) -> set[str]:
        return {self.object.name} | ({self.current.name} if self.current else set())

    def __str__(self) -> str:
        return str(self.object)


@dataclass(frozen=True)
class Part:
    """One container of a workload, over the pods of the current revision."""

    workload: Workload
    name: str
    init: bool

    @property
    def path(self) -> str:
        """Its path in a pod or a pod template."""
        return item("spec." + ("initContainers" if self.init else "containers"), "name", self.name)

    def _below(self, field: str) -> str:
        return f"{self.path}{'' if field.startswith('[') else '.'}{field}"

    def get(self, field: str) -> Any:
        return self.workload.get(self._below(field))

    def cite(self, field: str) -> Evidence | None:
        return self.workload.cite(self._below(field))

    def change(self, field: str, after: Any, reason: str) -> Change:
        return self.workload.change(self._below(field), after, reason)

    def was(self, field: str) -> Was | None:
        """Return a field's earlier value, if this container was there before and it differs."""
        before = self.workload.before
        if before is not None and before.kept(self.path) is None:
            return None
        return self.workload.was(self._below(field))

    @property
    def _status(self) -> str:
        kind = "initContainerStatuses" if self.init else "containerStatuses"
        return item(f"status.{kind}", "name", self.name)

    def statuses(self, field: str) -> Iterator[tuple[Object, Any]]:
        """Return a field of its status in each pod."""
        for pod in self.workload.pods:
            yield pod, pod.get(f"{self._status}.{field}")

    @cached_property
    def waiting(self) -> tuple[Waiting, ...]:
        path = f"{self._status}.state.waiting"
        states = ((pod, mapping(pod.get(path))) for pod in self.workload.pods)
        return tuple(
            Waiting(text(s.get("reason")), text(s.get("message")), pod, path)
            for pod, s in states
            if s
        )

    @cached_property
    def ended(self) -> tuple[Ended, ...]:
        """Its recent ends other than success, the newest first."""
        found = [e for pod in self.workload.pods for e in self._ends(pod)]
        return tuple(sorted(found, key=lambda e: e.at.timestamp() if e.at else 0, reverse=True))

    def _ends(self, pod: Object) -> Iterator[Ended]:
        for state in ("state", "lastState"):
            path = f"{self._status}.{state}.terminated"
            end = mapping(pod.get(path))
            time = when(end.get("finishedAt"))
            if not end or self._is_over(pod, time):
                continue
            reason, code = text(end.get("reason")), number(end.get("exitCode"))
            if code != 0 or reason == "OOMKilled":
                yield Ended(reason, code, text(end.get("message")), time, pod, path)

    def _is_over(self, pod: Object, time: dt.datetime | None) -> bool:
        """An old end of a container that runs and is ready again says nothing about today."""
        now = self.workload.facts.now
        if pod.get(f"{self._status}.ready") is not True or not time or not now:
            return False
        return now - time > RECENT

    @property
    def restarts(self) -> int:
        return max((number(n) for _, n in self.statuses("restartCount")), default=0)

    @property
    def ready(self) -> bool:
        """All of its containers are ready (or, for an init container, done), and there is one."""
        states = [value for _, value in self.statuses("ready")]
        return bool(states) and all(s is True for s in states)

    @property
    def fresh(self) -> bool:
        """One of its containers ran for the first time or restarted lately, or is not ready."""
        return not self.ready or bool(self.ended)

    @property
    def follows(self) -> tuple[str, ...]:
        """Findings that are consequences when it cannot reach what it needs."""
        # it ends, or is not ready; what is run before the others keeps them from starting
        return ("probes", "crash_loop.exit", *["starting.blocked"] * self.init)

    def happenings(self, *reasons: str) -> list[Happening]:
        """Events about this container; those that name no container count too."""
        mark = f"{{{self.name}}}"
        return [
            h
            for h in self.workload.happenings()
            if (not reasons or h.reason in reasons) and (mark in h.field_path or not h.field_path)
        ]

    def logs(self, pattern: re.Pattern[str]) -> tuple[re.Match[str], Evidence] | None:
        """Return the last line that matches in its logs, those of the ended container first."""
        names = {p.name for p in self.workload.pods}
        own = [s for s in self.workload.facts.logs if s.container == self.name and s.pod in names]
        for section in sorted(own, key=lambda s: not s.previous):
            if found := section.search(pattern):
                return found
        return None

    @property
    def phrase(self) -> str:
        """Its name within a sentence."""
        return f"{'init container' if self.init else 'container'} {self.name} of {self.workload}"

    def __str__(self) -> str:
        return self.phrase[0].upper() + self.phrase[1:]
