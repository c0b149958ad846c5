"""What stands around a workload besides what it refers to: who scales, names and delivers it.

Kinds that few clusters have are asked for only where the workload shows that they matter. Pure but
for the questions; which objects a workload refers to is `surroundings.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from faultline.adapters.sources.lookout import Found, Lookout, found, labels_of, name_of

Object = dict[str, Any]

KNATIVE_SERVICE = "serving.knative.dev/service"
REVISIONS_MAX = 3
NEIGHBOURS_MAX = 10
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def around(
    workload: Object, spec: Object, pods: Sequence[Object], look: Lookout
) -> Iterator[Found]:
    """Yield them, kind by kind."""
    yield from _namesake(workload, look)
    if any(not (p.get("spec") or {}).get("nodeName") for p in pods):
        yield from _neighbours(spec, look)
    yield from _scalers(workload, look)
    yield from _knative(workload, look)
    yield from _delivery(workload, look)


def _at(value: Any, *way: str) -> Any:
    for key in way:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _namesake(workload: Object, look: Lookout) -> Iterator[Found]:
    """The Service that names a StatefulSet's pods; where it is missing, those called nearly so."""
    name = _at(workload, "spec", "serviceName")
    if workload["kind"] == "StatefulSet" and name:
        service = look.one("Service", str(name))
        yield Found("service", "Service", str(name), service)
        if service is None:
            yield from look.similar("Service", str(name))


def _neighbours(spec: Object, look: Lookout) -> Iterator[Found]:
    """One pod for each value of the labels that the workload wants to stand beside."""
    terms = _at(spec, "affinity", "podAffinity", _REQUIRED) or ()
    wanted = [k for t in terms for k in _at(t, "labelSelector", "matchLabels") or {}]
    first: dict[tuple[str, str], Object] = {}
    for pod in look.all("Pod") if wanted else ():
        for key in wanted:
            if key in labels_of(pod):
                first.setdefault((key, str(labels_of(pod)[key])), pod)
    yield from (found("neighbour", p) for p in list(first.values())[:NEIGHBOURS_MAX])


def _scalers(workload: Object, look: Lookout) -> Iterator[Found]:
    """Autoscalers that mean this workload by a wrong name; who else sizes it."""
    name, kind = name_of(workload), workload["kind"]
    own = False
    for scaler in look.all("HorizontalPodAutoscaler"):
        target = _at(scaler, "spec", "scaleTargetRef") or {}
        said = str(_at(scaler, "status", "conditions"))
        own = own or target.get("name") == name
        near = difflib.get_close_matches(name, [str(target.get("name"))], cutoff=0.6)
        if target.get("kind") == kind and "FailedGetScale" in said and near:
            yield found("autoscaler", scaler)
    for vertical in look.all("VerticalPodAutoscaler") if own else ():
        if _at(vertical, "spec", "targetRef", "name") == name:
            yield found("autoscaler", vertical)


def _knative(workload: Object, look: Lookout) -> Iterator[Found]:
    """A Knative Service's revisions, newest first, and the triggers that lead to it."""
    service = str(labels_of(workload).get(KNATIVE_SERVICE) or "")
    if workload["kind"] == "Trigger":
        yield from _of_trigger(workload, look)
    if not service:
        return
    revisions = [r for r in look.all("Revision") if labels_of(r).get(KNATIVE_SERVICE) == service]
    revisions.sort(key=lambda r: str(r["metadata"].get("creationTimestamp", "")), reverse=True)
    yield from (found("revision", r) for r in revisions[:REVISIONS_MAX])
    for trigger in look.all("Trigger"):
        if _at(trigger, "spec", "subscriber", "ref", "name") == service:
            yield found("trigger", trigger)
            yield from _of_trigger(trigger, look)


def _of_trigger(trigger: Object, look: Lookout) -> Iterator[Found]:
    broker = str(_at(trigger, "spec", "broker") or "default")
    value = look.one("Broker", broker)
    yield Found("broker", "Broker", broker, value)
    if value is None:
        yield from look.similar("Broker", broker)


def _delivery(workload: Object, look: Lookout) -> Iterator[Found]:
    """The Argo CD or Flux objects that the workload was delivered by, wherever they live."""
    labels = labels_of(workload)
    notes = workload["metadata"].get("annotations") or {}
    tracked = str(notes.get("argocd.argoproj.io/tracking-id", "")).split(":", 1)[0]
    argo = ("", "argocd")
    names = (tracked, labels.get("argocd.argoproj.io/instance"),
             labels.get("app.kubernetes.io/instance"))  # fmt: skip
    for name in dict.fromkeys(str(n).rpartition("_")[2] for n in names if n):
        yield from _first("Application", name, argo, look)
    for kind, group in (("Kustomization", "kustomize"), ("HelmRelease", "helm")):
        start = f"{group}.toolkit.fluxcd.io"
        if name := str(labels.get(f"{start}/name") or ""):
            where = str(labels.get(f"{start}/namespace") or "")
            for delivery in _first(kind, name, (where,), look):
                yield delivery
                yield from _source(delivery.value or {}, where, look)


def _first(kind: str, name: str, places: Sequence[str], look: Lookout) -> Iterator[Found]:
    for place in places:
        if value := look.one(kind, name, place):
            yield found("delivery", value)
            return


def _source(delivery: Object, where: str, look: Lookout) -> Iterator[Found]:
    ref = _at(delivery, "spec", "sourceRef") or {}
    if ref.get("kind") == "GitRepository" and ref.get("name"):
        place = str(ref.get("namespace") or where)
        yield from _first("GitRepository", str(ref["name"]), (place,), look)
