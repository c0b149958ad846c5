"""Which objects matter to a fault: the workload, what it owns, refers to, and is referred to by.

`surroundings` asks the cluster kind by kind and remembers what it saw and what it was refused. The
objects come back with the part they play, each once. What stands on the way to and from its pods is
`network.py`, what becomes of the objects `cluster.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faultline.adapters.sources import controllers
from faultline.adapters.sources.lookout import (
    CLUSTER_WIDE,
    Found,
    Lookout,
    found,
    name_of,
    space_of,
)
from faultline.adapters.sources.network import endpoints, network
from faultline.adapters.sources.references import pod_spec, references
from faultline.adapters.sources.rollouts import revision_of, template_of
from faultline.adapters.sources.routes import WAYS_IN, behind, selects
from faultline.correlate import owner_of
from faultline.errors import NotFound
from faultline.model import Incident

Object = dict[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "Rollout", "ReplicaSet")
REVISIONS_MAX = 4
PODS_MAX = 10
NODES_MAX = 20
MADE_BY = ("Deployment", "StatefulSet", "DaemonSet")  # where the way up through owners ends


@dataclass(frozen=True)
class Surroundings:
    """The objects around a fault: workload first; role of each by (kind, namespace, name)."""

    workload: Object
    objects: tuple[Object, ...]
    roles: Mapping[tuple[str, str, str], str]
    missing: tuple[tuple[str, str, str, str], ...]  # kind, namespace, name, role: named, not there

    def of(self, kind: str) -> list[Object]:
        """Return its objects of a kind in the workload's own namespace, or in none."""
        own = ("", space_of(self.workload))
        return [o for o in self.objects if o["kind"] == kind and space_of(o) in own]

    @property
    def pods(self) -> list[Object]:
        """Return the workload's pods, not those of whom it talks to."""
        own = ("pod", "workload")
        return [p for p in self.of("Pod") if self.roles["Pod", space_of(p), name_of(p)] in own]


def owners(value: Object) -> list[tuple[str, str]]:
    """Return kind and name of whoever owns the object, controllers first, and of what it scales.

    Alerts about the size of a workload name only the autoscaler.
    """
    found = sorted(
        value["metadata"].get("ownerReferences") or (), key=lambda o: not o.get("controller")
    )
    scaled = (value.get("spec") or {}).get("scaleTargetRef")
    above = [*found, scaled] if scaled else found
    return [(str(o.get("kind")), str(o.get("name"))) for o in above]


def surroundings(
    incident: Incident, look: Lookout, logs: Callable[[Sequence[Object]], str] = lambda _: ""
) -> Surroundings:
    """Find them; `logs` returns the excerpts of these pods, which say what else matters.

    Raises NotFound if the fault names nothing that is there.
    """
    workload = _workload(incident, look)
    there: dict[tuple[str, str, str], tuple[Object, str]] = {}
    missing: dict[tuple[str, str, str], str] = {}
    for role, kind, name, value, namespace in _around(workload, look, logs):
        if value is not None:
            there.setdefault((kind, space_of(value), name), (value, role))
        else:
            space = "" if kind in CLUSTER_WIDE else namespace or look.namespace
            missing.setdefault((kind, space, name), role)
    return Surroundings(
        workload=workload,
        objects=tuple(value for value, _ in there.values()),
        roles={key: role for key, (_, role) in there.items()},
        missing=tuple((*key, role) for key, role in sorted(missing.items())),
    )


def _workload(incident: Incident, look: Lookout) -> Object:
    """Follow the owners from the object that the fault names up to the last that is there.

    From a Service or a route, start at what it leads to.
    """
    resource = incident.fault.resource
    if resource is None:
        raise NotFound("the fault names no object, so there is no workload to look at")
    start = look.one(resource.kind, resource.name) if resource.kind else None
    if start is None:
        owner = owner_of(resource, incident.fault.labels)
        start = next((w for kind in WORKLOADS if (w := look.one(kind, owner))), None)
    if start is None:
        raise NotFound(
            f"neither {resource.kind or 'object'} {resource.name} nor a workload that owns it "
            f"is in namespace {look.namespace or '(none)'}"
        )
    if start["kind"] in WAYS_IN:
        start = behind(start, look) or start
    for _ in range(5):
        known = [o for o in owners(start) if start["kind"] not in MADE_BY or o[0] in WORKLOADS]
        above = next((o for kind, name in known if (o := look.one(kind, name))), None)
        if above is None:
            break
        start = above
    return _made_by(start, look)


def _made_by(start: Object, look: Lookout) -> Object:
    """Return the Deployment that a Knative Revision has made, where it made one."""
    mine = ("Revision", name_of(start))
    made = (d for d in look.all("Deployment") if mine in owners(d))
    return next(made, start) if start["kind"] == "Revision" else start


def _around(
    workload: Object, look: Lookout, logs: Callable[[Sequence[Object]], str]
) -> Iterator[Found]:
    yield found("workload", workload)
    revisions, pods = _owned(workload, look)
    yield from (found("revision", r) for r in revisions)
    yield from (found("pod", p) for p in pods)
    specs = [s for s in (pod_spec(workload), *(p.get("spec") for p in pods)) if s]
    labels = _labels(workload, pods)
    yield from _referred(specs, pods, look)
    services = _services(name_of(workload), labels, look)
    yield from _pointing(name_of(workload), labels, services, look)
    yield from network(workload, specs, services, logs(pods), look)
    yield from _nodes(pods, look)
    for kind, role in (("ResourceQuota", "quota"), ("LimitRange", "quota")):
        yield from (found(role, o) for o in look.all(kind))
    yield from controllers.around(workload, pod_spec(workload), pods, look)


def _owned(workload: Object, look: Lookout) -> tuple[list[Object], list[Object]]:
    """Return revisions, newest first, and pods, troubled ones first."""
    mine = {(str(workload["kind"]), name_of(workload))}
    revisions = []
    for kind in ("ReplicaSet", "Job", "ControllerRevision"):
        owned = [o for o in look.all(kind) if mine & set(owners(o))]
        mine |= {(kind, name_of(o)) for o in owned}
        revisions += owned
    revisions.sort(key=lambda r: (-revision_of(r), _newest_first(r), name_of(r)))
    pods = [p for p in look.all("Pod") if mine & set(owners(p)) or p is workload]
    pods.sort(key=lambda p: (_is_ready(p), name_of(p)))
    return revisions[:REVISIONS_MAX], pods[:PODS_MAX]


def _newest_first(value: Object) -> tuple[int, ...]:
    return tuple(-ord(c) for c in str(value["metadata"].get("creationTimestamp", "")))


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _labels(workload: Object, pods: Sequence[Object]) -> Object:
    template = template_of(workload) if workload["kind"] != "Pod" else workload
    found = (template.get("metadata") or {}).get("labels") or {}
    return found or ((pods[0]["metadata"].get("labels") or {}) if pods else {})


def _referred(specs: Sequence[Object], pods: Sequence[Object], look: Lookout) -> Iterator[Found]:
    """What pod templates name: configuration, secrets, volumes, the service account."""
    names = [n for spec in specs for n in references(spec)]
    names += [("PersistentVolumeClaim", n) for p in pods for n in _claims_of_set(p, look)]
    for kind, name in dict.fromkeys(names):
        role = {"ConfigMap": "config", "Secret": "secret", "ServiceAccount": "identity"}
        value = look.one(kind, name)
        yield Found(role.get(kind, "volume"), kind, name, value)
        if value is None:
            yield from look.similar(kind, name)
        if value is not None and kind == "PersistentVolumeClaim":
            yield from _storage(value, look)


def _claims_of_set(pod: Object, look: Lookout) -> Iterator[str]:
    """Claims that a StatefulSet made for the pod: `<template>-<pod>`."""
    for claim in look.all("PersistentVolumeClaim"):
        if name_of(claim).endswith(f"-{name_of(pod)}"):
            yield name_of(claim)


def _storage(claim: Object, look: Lookout) -> Iterator[Found]:
    spec = claim.get("spec") or {}
    if name := spec.get("volumeName"):
        yield Found("volume", "PersistentVolume", name, look.one("PersistentVolume", name))
    if name := spec.get("storageClassName"):
        yield Found("volume", "StorageClass", name, look.one("StorageClass", name))
    if not spec.get("volumeName"):
        yield from (found("volume", c) for c in look.all("StorageClass"))


def _services(name: str, labels: Object, look: Lookout) -> list[Object]:
    """The Services that select the pods or are called like the workload."""
    return [
        s for s in look.all("Service")
        if selects((s.get("spec") or {}).get("selector"), labels) or _is_like(name_of(s), name)
    ]  # fmt: skip


def _pointing(
    name: str, labels: Object, services: Sequence[Object], look: Lookout
) -> Iterator[Found]:
    """Objects that select the pods or name the workload."""
    for service in services:
        yield found("service", service)
        yield from endpoints(service, look)
    for scaler in look.all("HorizontalPodAutoscaler"):
        if ((scaler.get("spec") or {}).get("scaleTargetRef") or {}).get("name") == name:
            yield found("autoscaler", scaler)
    for budget in look.all("PodDisruptionBudget"):
        selector = (budget.get("spec") or {}).get("selector") or {}
        if selects(selector.get("matchLabels"), labels):
            yield found("disruption-budget", budget)


def _is_like(service: str, workload: str) -> bool:
    return service == workload or service.startswith(workload + "-")


def _nodes(pods: Sequence[Object], look: Lookout) -> Iterator[Found]:
    """The nodes of the pods; all of them when a pod found none."""
    used = dict.fromkeys(str((p.get("spec") or {}).get("nodeName") or "") for p in pods)
    yield from (Found("node", "Node", n, look.one("Node", n)) for n in used if n)
    if "" in used:
        yield from (found("node", n) for n in look.all("Node")[:NODES_MAX])
