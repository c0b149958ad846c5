"""Which objects matter to a fault: the workload, what it owns, refers to, and is referred to by.

`surroundings` asks the cluster kind by kind and remembers what it saw and what it was refused. The
objects come back with the part they play, each once. What becomes of them is `cluster.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faultline.adapters.sources.references import backends, hosts, pod_spec, references
from faultline.adapters.sources.rollouts import revision_of, template_of
from faultline.correlate import owner_of
from faultline.errors import FaultlineError, NotFound
from faultline.model import Incident

Object = dict[str, Any]

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "Rollout", "ReplicaSet")
REVISIONS_MAX = 4
PODS_MAX = 10
NODES_MAX = 20
CLUSTER_WIDE = ("Node", "PersistentVolume", "StorageClass")


@dataclass
class Lookout:
    """Asks for objects, each kind once; keeps account of what could be seen."""

    cluster: Any  # cluster.Cluster
    namespace: str
    seen: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _answers: dict[str, Sequence[Object]] = field(default_factory=dict)

    def all(self, kind: str) -> Sequence[Object]:
        """Return the objects of a kind, by name; none if we may not see them."""
        if kind not in self._answers:
            try:
                scope = "" if kind in CLUSTER_WIDE else self.namespace
                found = sorted(self.cluster.objects(kind, scope), key=name_of)
                self.seen[kind] = len(found)
            except FaultlineError as error:
                self.refused[kind], found = str(error), []
            self._answers[kind] = found
        return self._answers[kind]

    def one(self, kind: str, name: str) -> Object | None:
        return next((o for o in self.all(kind) if name_of(o) == name), None)


@dataclass(frozen=True)
class Surroundings:
    """The objects around a fault: workload first; role of each by (kind, name)."""

    workload: Object
    objects: tuple[Object, ...]
    roles: Mapping[tuple[str, str], str]
    missing: tuple[tuple[str, str, str], ...]  # kind, name, role: referred to, not there

    def of(self, kind: str) -> list[Object]:
        return [o for o in self.objects if o["kind"] == kind]


def name_of(value: Object) -> str:
    return str(value["metadata"]["name"])


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


def surroundings(incident: Incident, look: Lookout) -> Surroundings:
    """Find them. Raises NotFound if the fault names nothing that is there."""
    workload = _workload(incident, look)
    found: dict[tuple[str, str], tuple[Object, str]] = {}
    missing: dict[tuple[str, str], str] = {}
    for role, kind, name, value in _around(workload, look):
        if value is None:
            missing.setdefault((kind, name), role)
        else:
            found.setdefault((kind, name), (value, role))
    return Surroundings(
        workload=workload,
        objects=tuple(value for value, _ in found.values()),
        roles={key: role for key, (_, role) in found.items()},
        missing=tuple((kind, name, role) for (kind, name), role in sorted(missing.items())),
    )


def _workload(incident: Incident, look: Lookout) -> Object:
    """Follow the owners from the object that the fault names up to the last that is there."""
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
    for _ in range(5):
        above = next((o for kind, name in owners(start) if (o := look.one(kind, name))), None)
        if above is None:
            break
        start = above
    return start


Found = tuple[str, str, str, Object | None]  # role, kind, name, the object if it is there


def _around(workload: Object, look: Lookout) -> Iterator[Found]:
    yield _found("workload", workload)
    revisions, pods = _owned(workload, look)
    yield from (_found("revision", r) for r in revisions)
    yield from (_found("pod", p) for p in pods)
    specs = [s for s in (pod_spec(workload), *(p.get("spec") for p in pods)) if s]
    labels = _labels(workload, pods)
    yield from _referred(specs, pods, look)
    yield from _pointing(workload, labels, look)
    for host in dict.fromkeys(h for spec in specs for h in hosts(spec)):  # a typing error, perhaps
        yield from _similar("Service", host, look, 0.8)
    yield from _nodes(pods, look)
    for kind, role in (("ResourceQuota", "quota"), ("LimitRange", "quota")):
        yield from (_found(role, o) for o in look.all(kind))
    yield from _delivery(workload, look)


def _found(role: str, value: Object) -> Found:
    return role, str(value["kind"]), name_of(value), value


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
        yield role.get(kind, "volume"), kind, name, value
        if value is None:
            yield from _similar(kind, name, look, 0.6)
        if value is not None and kind == "PersistentVolumeClaim":
            yield from _storage(value, look)


def _similar(kind: str, name: str, look: Lookout, cutoff: float) -> Iterator[Found]:
    """Objects that are called nearly so; none if one is called exactly so."""
    there = {name_of(o): o for o in look.all(kind)}
    close = difflib.get_close_matches(name, there, n=3, cutoff=cutoff) if name not in there else []
    yield from (_found("similar", there[n]) for n in close)


def _claims_of_set(pod: Object, look: Lookout) -> Iterator[str]:
    """Claims that a StatefulSet made for the pod: `<template>-<pod>`."""
    for claim in look.all("PersistentVolumeClaim"):
        if name_of(claim).endswith(f"-{name_of(pod)}"):
            yield name_of(claim)


def _storage(claim: Object, look: Lookout) -> Iterator[Found]:
    spec = claim.get("spec") or {}
    if name := spec.get("volumeName"):
        yield "volume", "PersistentVolume", name, look.one("PersistentVolume", name)
    if name := spec.get("storageClassName"):
        yield "volume", "StorageClass", name, look.one("StorageClass", name)
    if not spec.get("volumeName"):
        yield from (_found("volume", c) for c in look.all("StorageClass"))


def _pointing(workload: Object, labels: Object, look: Lookout) -> Iterator[Found]:
    """Objects that select the pods or name the workload."""
    name = name_of(workload)
    services = [
        s for s in look.all("Service")
        if _selects((s.get("spec") or {}).get("selector"), labels) or _is_like(name_of(s), name)
    ]  # fmt: skip
    served = {name_of(s) for s in services}
    yield from (_found("service", s) for s in services)
    yield from (_found("endpoints", e) for e in look.all("Endpoints") if name_of(e) in served)
    for piece in look.all("EndpointSlice"):
        if (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name") in served:
            yield _found("endpoints", piece)
    for ingress in look.all("Ingress"):
        if served & set(backends(ingress.get("spec"))):
            yield _found("ingress", ingress)
    yield from _governing(name, labels, look)


def _governing(name: str, labels: Object, look: Lookout) -> Iterator[Found]:
    """Autoscalers, disruption budgets and network policies."""
    for scaler in look.all("HorizontalPodAutoscaler"):
        if ((scaler.get("spec") or {}).get("scaleTargetRef") or {}).get("name") == name:
            yield _found("autoscaler", scaler)
    for budget in look.all("PodDisruptionBudget"):
        selector = (budget.get("spec") or {}).get("selector") or {}
        if _selects(selector.get("matchLabels"), labels):
            yield _found("disruption-budget", budget)
    for policy in look.all("NetworkPolicy"):
        selector = (policy.get("spec") or {}).get("podSelector") or {}  # empty: every pod
        if not selector or _selects(selector.get("matchLabels"), labels):
            yield _found("network-policy", policy)


def _selects(selector: Object | None, labels: Object) -> bool:
    return bool(selector) and all(labels.get(k) == v for k, v in (selector or {}).items())


def _is_like(service: str, workload: str) -> bool:
    return service == workload or service.startswith(workload + "-")


def _nodes(pods: Sequence[Object], look: Lookout) -> Iterator[Found]:
    """The nodes of the pods; all of them when a pod found none."""
    used = dict.fromkeys(str((p.get("spec") or {}).get("nodeName") or "") for p in pods)
    yield from (("node", "Node", n, look.one("Node", n)) for n in used if n)
    if "" in used:
        yield from (_found("node", n) for n in look.all("Node")[:NODES_MAX])


def _delivery(workload: Object, look: Lookout) -> Iterator[Found]:
    """The Argo CD or Flux objects that the workload was delivered by."""
    labels = workload["metadata"].get("labels") or {}
    notes = workload["metadata"].get("annotations") or {}
    tracked = str(notes.get("argocd.argoproj.io/tracking-id", "")).split(":", 1)[0]
    for kind, name in (
        ("Application", tracked or labels.get("argocd.argoproj.io/instance")),
        ("Application", labels.get("app.kubernetes.io/instance")),
        ("Kustomization", labels.get("kustomize.toolkit.fluxcd.io/name")),
        ("HelmRelease", labels.get("helm.toolkit.fluxcd.io/name")),
    ):
        if name and (value := look.one(kind, str(name))):
            yield _found("delivery", value)
