"""What is wrong in a cluster at the moment: symptoms of objects to faults that begin and end. Pure.

It holds what objects show that are not well, and how often containers were restarted; of the others
nothing. Time is passed in. A fault is due when its symptom has held for its time, and is over when
the object has been well, or gone, for long enough. `occurrences.py` gives faults their names,
`watcher.py` brings the objects.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from faultline.bridge.watch import pods, workloads
from faultline.bridge.watch.symptoms import (
    Object,
    Rules,
    Symptom,
    condition_of,
    fault_of,
    mapping,
    payload_of,
    resource_of,
    text,
)
from faultline.model import Fault, Resource

Detect = Callable[[Object, Rules], Iterable[Symptom]]

DETECTORS: dict[str, Detect] = {
    "Deployment": workloads.deployment,
    "StatefulSet": workloads.stateful_set,
    "DaemonSet": workloads.daemon_set,
    "Job": workloads.job,
    "Node": workloads.node,
    "PersistentVolumeClaim": workloads.volume_claim,
    "Event": workloads.event,
    "Application": workloads.application,
    "Kustomization": workloads.kustomization,
}
KINDS = ("Pod", *DETECTORS)

_RECOVERED: dict[str, Callable[[Object], dt.datetime | None]] = {
    "Pod": pods.recovered_at,
    "Deployment": workloads.deployment_recovered_at,
    "Node": workloads.node_recovered_at,
}


class Due(NamedTuple):
    """What has to be said now: this fault began; or it ended, at `ends_at`."""

    fault: Fault
    payload: bytes
    ends_at: dt.datetime | None  # None: it began
    edge: bool  # it happened once, at its start; else it is a state, and lasts


@dataclass
class _Case:
    """One condition of one object that is, or was a moment ago, not as it should be."""

    fault: Fault
    uid: str
    since: dt.datetime
    hold_s: float = 0
    clear_s: float = 0
    progress: str = ""
    edge: bool = False
    well_since: dt.datetime | None = None
    open: bool = False  # it was said that it began
    payload: bytes = b""

    def waits(self, now: dt.datetime) -> bool:
        return (now - self.since).total_seconds() < self.hold_s

    def is_over(self, now: dt.datetime) -> bool:
        well = self.well_since
        return well is not None and (now - well).total_seconds() >= self.clear_s


class Board:
    """The cases of a cluster, by kind of object and condition. Safe between threads."""

    def __init__(self, cluster: str, rules: Rules) -> None:
        self.cluster, self.rules = cluster, rules
        self._cases: dict[str, dict[str, dict[str, _Case]]] = {kind: {} for kind in KINDS}
        self._restarts: dict[str, dict[str, pods.Restarts]] = {}
        self._lock = threading.Lock()

    def saw(self, kind: str, obj: Object, now: dt.datetime) -> list[Due]:
        """Take in how an object stands; return what is to be said of it now (see `due`)."""
        uid = _uid(kind, obj)
        with self._lock:
            found = {
                condition_of(kind, uid, symptom): symptom for symptom in self._shown(kind, obj, uid)
            }
            for condition, symptom in found.items():
                self._ill(kind, obj, condition, symptom, now)
            if kind != "Event":  # another event of the object says nothing of the first
                recovered = _RECOVERED[kind](obj) if kind in _RECOVERED else None
                for case in self._of(kind, uid):
                    if case.fault.condition not in found:
                        self._well(kind, case, recovered, now)
            return self._due(kind, self._of(kind, uid), now)

    def gone(self, kind: str, uid: str, at: dt.datetime) -> None:
        """Take in that an object was deleted, and with it what k8s events said of it."""
        with self._lock:
            self._restarts.pop(uid, None)
            for source in (kind, "Event"):
                for case in self._of(source, uid):
                    case.clear_s = self.rules.clear_s
                    self._well(source, case, None, at)

    def listed(self, kind: str, namespace: str, uids: set[str], now: dt.datetime) -> None:
        """Take in that these are all objects of a kind: every other one has gone.

        Of k8s events, which expire: what none of them tells of any more is well.
        """
        with self._lock:
            for case in self._of_events(kind, namespace):
                case.well_since = case.well_since or now
            known = {
                case.uid
                for source in (kind, "Event")
                for case in self._all(source)
                if (resource := case.fault.resource)
                and resource.kind == kind
                and namespace in ("", resource.namespace)
            }
        for uid in known - uids:
            self.gone(kind, uid, now)

    def due(self, kind: str, namespace: str, now: dt.datetime) -> list[Due]:
        """Return what has to be said now. Whoever said it tells `opened` or `dropped`."""
        with self._lock:
            cases = [
                case
                for case in self._all(kind)
                if not (namespace and case.fault.resource)
                or case.fault.resource.namespace == namespace
            ]
            return self._due(kind, cases, now)

    def opened(self, kind: str, fault: Fault) -> None:
        """Take in that this fault is open: it was said, now or by a bridge before us."""
        uid = fault.condition.split("/")[2]
        with self._lock:
            case = self._cases[kind].get(uid, {}).get(fault.condition)
            if case is None:
                case = _Case(fault, uid, fault.starts_at, clear_s=self.rules.clear_s)
                self._keep(kind, case)
            case.open, case.fault, case.payload = True, fault, b""

    def dropped(self, kind: str, fault: Fault) -> None:
        """Take in that a fault is over, or is none."""
        with self._lock:
            for case in self._of(kind, fault.condition.split("/")[2]):
                if case.fault.condition == fault.condition:
                    self._forget(kind, case)

    def __len__(self) -> int:
        """How much is held."""
        with self._lock:
            return sum(1 for kind in KINDS for _ in self._all(kind)) + len(self._restarts)

    # underneath; the lock is held

    def _due(self, kind: str, cases: Iterable[_Case], now: dt.datetime) -> list[Due]:
        said: list[Due] = []
        for case in cases:
            if case.is_over(now) and case.open:
                said.append(Due(case.fault, b"{}", case.well_since, case.edge))
            elif case.is_over(now):
                self._forget(kind, case)
            elif not case.open and not case.waits(now):
                said.append(Due(case.fault, case.payload, None, case.edge))
        return said

    def _shown(self, kind: str, obj: Object, uid: str) -> Iterable[Symptom]:
        if kind != "Pod":
            return DETECTORS[kind](obj, self.rules)
        known = pods.restarts(obj, self._restarts.get(uid, {}), self.rules)
        self._restarts.pop(uid, None)
        if known:
            self._restarts[uid] = known
        return pods.symptoms(obj, self.rules, known)

    def _all(self, kind: str) -> Iterator[_Case]:
        for cases in self._cases[kind].values():
            yield from cases.values()

    def _of_events(self, kind: str, namespace: str) -> Iterator[_Case]:
        for case in self._all("Event") if kind == "Event" else ():
            if case.fault.resource and namespace in ("", case.fault.resource.namespace):
                yield case

    def _of(self, kind: str, uid: str) -> list[_Case]:
        return list(self._cases[kind].get(uid, {}).values())

    def _keep(self, kind: str, case: _Case) -> None:
        self._cases[kind].setdefault(case.uid, {})[case.fault.condition] = case

    def _forget(self, kind: str, case: _Case) -> None:
        cases = self._cases[kind].get(case.uid, {})
        cases.pop(case.fault.condition, None)
        if not cases:
            self._cases[kind].pop(case.uid, None)

    def _ill(
        self, kind: str, obj: Object, condition: str, symptom: Symptom, now: dt.datetime
    ) -> None:
        uid = _uid(kind, obj)
        case = self._cases[kind].get(uid, {}).get(condition)
        if not symptom.opens and not (case and case.open):
            if case:
                self._forget(kind, case)
            return
        if case is None or not case.open:
            since = symptom.since or (case.since if case else now)
            if case and case.progress != symptom.progress:
                since = now
            fault = fault_of(
                symptom, _subject(kind, obj), condition, cluster=self.cluster, starts_at=since
            )
            case = _Case(fault, uid, since, payload=payload_of(kind, obj))
            self._keep(kind, case)
        case.hold_s, case.progress, case.edge = symptom.hold_s, symptom.progress, symptom.edge
        case.clear_s = max(symptom.clear_s, self.rules.clear_s)
        case.well_since = symptom.well_since

    def _well(
        self, kind: str, case: _Case, recovered: dt.datetime | None, now: dt.datetime
    ) -> None:
        if not case.open:
            self._forget(kind, case)
        elif case.well_since is None:
            later = recovered is not None and recovered > case.fault.starts_at
            case.well_since = recovered if later else now


def _uid(kind: str, obj: Object) -> str:
    """Return who the object is: for a k8s event, what it is about."""
    if kind != "Event":
        return text(obj.get("metadata"), "uid")
    about = mapping(obj, "involvedObject")
    place = ":".join(text(about, name) for name in ("kind", "namespace", "name"))
    return text(about, "uid") or place.replace("/", ":")


def _subject(kind: str, obj: Object) -> Resource:
    """Return the resource that an object's symptoms are of: for a k8s event what it is about."""
    if kind != "Event":
        return resource_of(kind, obj)
    about = mapping(obj, "involvedObject")
    named = {name: text(about, name) for name in ("name", "namespace", "uid")}
    return resource_of(
        text(about, "kind"), {"apiVersion": text(about, "apiVersion"), "metadata": named}
    )
