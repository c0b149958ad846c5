"""A capsule, parsed once, in the words of the analyzers. Start reading the analyzers here.

Nothing here raises for what a capsule holds; what is missing reads as empty. Conditions and proofs
are the families beside this file; the parsing of files is `documents.py` and `records.py`, what a
workload knows of itself `workloads.py`.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from faultline.capsule import Capsule
from faultline.correlate import owner_of
from faultline.diagnosis import records
from faultline.diagnosis.documents import Document, Source, at, mapping, text
from faultline.diagnosis.objects import Ended, Object, Waiting, Was
from faultline.diagnosis.quantities import when
from faultline.diagnosis.revisions import KEPT_AS, is_of, is_past, revisions
from faultline.diagnosis.workloads import TEMPLATES, Part, Workload
from faultline.model import Resource

__all__ = ["Ended", "Facts", "Object", "Part", "Waiting", "Was", "Workload"]

INCIDENT = "context/incident.json"
# Two kinds of one name, told apart by their API group.
_KNATIVE = "serving.knative.dev/"
_OBJECT = re.compile(r"context/objects/([^/]+)/[^/]+\.ya?ml")


class Facts:
    """Everything a capsule says, parsed when it is first asked for."""

    def __init__(self, capsule: Capsule, *, elsewhere: bool = False) -> None:
        self.capsule = capsule
        self._elsewhere = elsewhere

    def source(self, file: str) -> Source:
        return Source(file, self.capsule.text(file))

    @cached_property
    def incident(self) -> dict[str, Any]:
        try:
            return mapping(json.loads(self.capsule.read(INCIDENT) or b"{}"))
        except (ValueError, RecursionError):
            return {}

    @cached_property
    def now(self) -> dt.datetime | None:
        """When the incident was opened; else the time of the newest event."""
        opened = when(self.incident.get("opened_at")) or when(at(self.incident, "fault.starts_at"))
        return opened or max((h.at for h in self.happenings if h.at), default=None)

    @cached_property
    def objects(self) -> dict[str, tuple[Object, ...]]:
        """All objects, by kind."""
        found: dict[str, list[Object]] = {}
        for name in self.capsule.names():
            match = _OBJECT.fullmatch(name)
            if match and (made := _object(self.source(name), match[1])):
                found.setdefault(made.kind, []).append(made)
        return {
            kind: tuple(sorted(v, key=lambda o: (o.namespace, o.name))) for kind, v in found.items()
        }

    def of(self, kind: str) -> tuple[Object, ...]:
        return self.objects.get(kind, ())

    def names(self, kind: str) -> set[str]:
        return {o.name for o in self.of(kind)}

    def object(self, kind: str, name: str) -> Object | None:
        return next((o for o in self.of(kind) if o.name == name), None)

    def names_it(self, kind: str, name: str) -> bool:
        """Say whether the fault itself names exactly this object."""
        resource = mapping(at(self.incident, "fault.resource"))
        return bool(name) and (resource.get("kind"), resource.get("name")) == (kind, name)

    @cached_property
    def happenings(self) -> tuple[records.Happening, ...]:
        found = records.happenings(self.source(records.EVENTS))
        return tuple(sorted(found, key=lambda h: (-h.at.timestamp() if h.at else 0, h.message)))

    @cached_property
    def logs(self) -> tuple[records.LogSection, ...]:
        return tuple(records.sections(self.source(records.LOGS)))

    @cached_property
    def series(self) -> tuple[records.Series, ...]:
        return tuple(records.series(self.source(records.METRICS)))

    @cached_property
    def rollouts(self) -> tuple[records.Rollout, ...]:
        return tuple(records.rollouts(self.source(records.CHANGES)))

    @cached_property
    def workloads(self) -> tuple[Workload, ...]:
        """The workloads it is about: the incident's, or all if it names none of them."""
        own = tuple(w for w in self._all if self._is_subject(w))
        if self._elsewhere:
            return tuple(w for w in self._all if not self._is_subject(w)) if own else ()
        return own or self._all

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for workload in self.workloads for part in workload.parts)

    @cached_property
    def elsewhere(self) -> Facts:
        """The same capsule, seen from the workloads that the incident does not name."""
        other = Facts(self.capsule, elsewhere=True)
        other.__dict__["objects"] = self.objects
        other.__dict__["happenings"] = self.happenings
        return other

    @cached_property
    def _all(self) -> tuple[Workload, ...]:
        return tuple(_workloads(self))

    @cached_property
    def _subject(self) -> tuple[str, str, str]:
        """Kind, namespace and name of what the fault names, and of the workload behind it."""
        fault = mapping(self.incident.get("fault"))
        try:
            resource = Resource.model_validate(fault.get("resource"))
        except ValueError:
            return "", "", ""
        labels = {k: text(v) for k, v in mapping(fault.get("labels")).items()}
        owner = owner_of(resource, labels)
        kind = resource.kind if owner == resource.name else ""
        return kind, resource.namespace, owner

    def _is_subject(self, workload: Workload) -> bool:
        kind, namespace, name = self._subject
        own = workload.object
        if namespace and own.namespace and namespace != own.namespace:
            return False
        named = text(at(self.incident, "fault.resource.name"))
        if named in {p.name for p in (*workload.pods, *workload.left)} | {
            workload.current.name if workload.current else ""
        }:
            return bool(named)
        return own.name == name and kind in ("", own.kind)


def _object(source: Source, folder: str) -> Object | None:
    doc = Document.parse(source)
    name = text(at(doc.value, "metadata.name"))
    kind = text(at(doc.value, "kind")) or folder.capitalize()
    if kind == "Service" and text(at(doc.value, "apiVersion")).startswith(_KNATIVE):
        kind = "KnativeService"
    return Object(kind, text(at(doc.value, "metadata.namespace")), name, doc) if name else None


def _workloads(facts: Facts) -> Iterator[Workload]:
    owned: dict[tuple[str, str, str], list[Object]] = {}
    for pod in facts.of("Pod"):
        owned.setdefault((pod.namespace, *_top(facts, pod)), []).append(pod)
    for kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicaSet"):
        for object in facts.of(kind):
            if not object.owner[1] or object.owner[0] not in TEMPLATES:
                yield _workload(facts, object, owned.pop((object.namespace, kind, object.name), []))
    for (namespace, kind, name), pods in owned.items():
        missing = Document(Source("", ""), None, None)
        alone = pods[0] if kind == "Pod" else Object(kind, namespace, name, missing)
        yield _workload(facts, alone, pods)


def _top(facts: Facts, pod: Object) -> tuple[str, str]:
    """Follow controllers up as far as the capsule knows them."""
    kind, name = pod.kind, pod.name
    owner = pod.owner
    for _ in range(4):
        if not owner[1] or (kind in KEPT_AS and owner[0] not in TEMPLATES):
            break  # an operator's own object above it has no template that we could read
        kind, name = owner
        above = facts.object(kind, name)
        owner = above.owner if above else ("", "")
    if kind == "ReplicaSet" and not facts.object(kind, name):
        hash_ = text(mapping(pod.get("metadata.labels")).get("pod-template-hash"))
        if hash_ and name.endswith(f"-{hash_}"):
            return "Deployment", name.removesuffix(f"-{hash_}")
    return kind, name


def _workload(facts: Facts, object: Object, pods: Iterable[Object]) -> Workload:
    whole = Workload(facts, object, tuple(pods))
    kept = revisions(facts, object, text(at(facts.incident, "fault.resource.name")))
    if not kept:
        return whole
    current, before = kept[-1], kept[0] if len(kept) == 2 else None
    mine = tuple(p for p in whole.pods if is_of(p, current))
    left = tuple(p for p in whole.pods if not is_of(p, current))
    if current.kind == "ReplicaSet" and not mine:
        mine, left = left, ()
    if is_past(object, current):
        mine, left = (), whole.pods
    return replace(whole, pods=mine, current=current, before=before, left=left)
