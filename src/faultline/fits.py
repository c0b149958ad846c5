"""Whether a changed workload fits what is around it: quotas, limit ranges, autoscalers, budgets,
nodes.

Pure arithmetic over the objects of a capsule. What a cluster would refuse, or undo, is a refusal
with its numbers; the rest is a sentence for the pull request. Which fields may change at all is
`changes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from faultline import fields
from faultline.amounts import amount, shown
from faultline.errors import Rejected
from faultline.model import Change
from faultline.pods import (
    RESOURCES,
    Object,
    asked,
    containers,
    listed,
    name_of,
    part,
    pod,
    replicas_of,
    running,
    share,
    surge,
)

NONE = Decimal(0)


class Fit(NamedTuple):
    """What was found: why a change does not fit, by a name for it, and sentences on what does."""

    refused: dict[str, str]
    said: tuple[str, ...]


class _Workload(NamedTuple):
    """A workload before and after all changes of it."""

    before: Object
    after: Object
    changes: tuple[Change, ...]
    around: Sequence[Object]  # all objects

    def near(self, kind: str) -> list[Object]:
        """Return the objects of a kind in the workload's namespace."""
        namespace = part(self.after, "metadata").get("namespace")
        return [
            value
            for value in self.around
            if value.get("kind") == kind and part(value, "metadata").get("namespace") == namespace
        ]

    @property
    def sized(self) -> bool:
        """Say whether requests, limits or the number of pods change."""
        return any(".resources." in c.field or c.field.endswith("eplicas") for c in self.changes)


def judge(wanted: Sequence[Change], objects: Sequence[Object]) -> Fit:
    """Hold changes against the objects of a cluster. Objects that are not there are not judged."""
    refused: dict[str, str] = {}
    said: list[str] = []
    for workload in _workloads(wanted, objects):
        name = f"{workload.after['kind']}/{name_of(workload.after)}"
        for check in (_quotas, _limit_ranges, _autoscalers, _budgets, _nodes):
            for rule, text, fine in check(workload):
                if fine:
                    said.append(text)
                else:
                    key = f"{name} {rule}"
                    refused[key] = f"{refused[key]} {text}" if key in refused else f"{rule}: {text}"
    return Fit(refused, tuple(dict.fromkeys(said)))


_Found = Iterator[tuple[str, str, bool]]  # rule, sentence, is it fine?


def _workloads(wanted: Sequence[Change], objects: Sequence[Object]) -> Iterator[_Workload]:
    """Yield each workload that changes, itself or the most replicas of its autoscaler."""
    for value in objects:
        mine = tuple(c for c in wanted if _is(value, c))
        after = value
        for change in mine:
            try:
                after = fields.replaced(after, fields.parse(change.field), change.after)
            except Rejected:  # the live object differs from the manifests: nothing to judge
                continue
        scaled = tuple(c for c in wanted if _scales(c, value, objects))
        if scaled:
            after = after | {"spec": part(after, "spec") | {"replicas": scaled[0].after}}
        if (mine or scaled) and value.get("kind") != "HorizontalPodAutoscaler":
            yield _Workload(value, after, (*mine, *scaled), objects)


def _is(value: Object, change: Change) -> bool:
    metadata, target = part(value, "metadata"), change.target
    if (value.get("kind"), metadata.get("name")) != (target.kind, target.name):
        return False
    return not target.namespace or metadata.get("namespace") == target.namespace


def _scales(change: Change, value: Object, objects: Sequence[Object]) -> bool:
    """Say whether a change of an autoscaler's bounds decides how many pods this workload has."""
    raises = change.field in ("spec.maxReplicas", "spec.minReplicas")
    return raises and any(_is(o, change) and _targets(o, value) for o in objects)


def _targets(autoscaler: Object, value: Object) -> bool:
    reference = part(part(autoscaler, "spec"), "scaleTargetRef")
    same = part(autoscaler, "metadata").get("namespace") == part(value, "metadata").get("namespace")
    named = (reference.get("kind"), reference.get("name"))
    return same and named == (value.get("kind"), name_of(value))


# each check


def _quotas(workload: _Workload) -> _Found:
    """The pods after the change, and one more while they are replaced, within what is left."""
    if not workload.sized:
        return
    ranges = workload.near("LimitRange")
    old, new = pod(workload.before, ranges), pod(workload.after, ranges)
    now, replicas = running(workload.before), replicas_of(workload.after)
    extra, may_wait = surge(workload.after, replicas)
    scaled = replicas != replicas_of(workload.before)
    for quota in workload.near("ResourceQuota"):
        if part(quota, "spec").get("scopes") or part(quota, "spec").get("scopeSelector"):
            yield "quota", f"ResourceQuota {name_of(quota)} is for some pods: not judged.", True
            continue
        for name, hard, used in _bounds(quota):
            each, before = new.get(name, NONE), old.get(name, NONE)
            room = hard - (used - before * now)
            found = _quota(quota, name, room, each, replicas, 0 if may_wait else extra)
            if (each or before) and (scaled or each != before or not found[2]):
                yield found


def _bounds(quota: Object) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Yield what a quota bounds, by our name for it: the most, and what is used."""
    status = part(quota, "status")
    for key, value in sorted((part(status, "hard") or part(quota, "spec.hard")).items()):
        name, hard, used = _quota_key(key), amount(value), amount(part(status, "used").get(key))
        if name and hard is not None and used is not None:
            yield name, hard, used


def _quota(
    quota: Object, name: str, room: Decimal, each: Decimal, replicas: int, surge: int
) -> tuple[str, str, bool]:
    resource = name.rpartition(".")[2]
    needed, peak = each * replicas, each * (replicas + surge)
    pods = f"{replicas} pods" if replicas != 1 else "1 pod"
    text = (
        f"{name} of {pods} is {shown(needed, resource)}" if name != "pods" else f"{pods} are wanted"
    )
    if needed <= room < peak:
        text += f", and {shown(peak, resource)} while they are replaced"
    left = f"ResourceQuota {name_of(quota)} has room for {shown(max(room, NONE), resource)}"
    return "quota", f"{text}; {left}.", peak <= room


def _limit_ranges(workload: _Workload) -> _Found:
    ranges = workload.near("LimitRange")
    changed = {
        change.field.partition("[name=")[2].partition("]")[0]
        for change in workload.changes
        if ".resources." in change.field
    }
    touched = [c for c in containers(workload.after) if c.get("name") in changed]
    for found in ranges:
        for item in listed(part(found, "spec"), "limits"):
            if item.get("type") == "Container":
                for container in touched:
                    name = f"container {container['name']}"
                    yield from _range(found, item, name, asked(container, ranges))
            if item.get("type") == "Pod" and changed:
                yield from _range(found, item, "the pod", pod(workload.after, ranges))


def _range(found: Object, item: Object, name: str, asked: dict[str, Decimal]) -> _Found:
    by = f"LimitRange {name_of(found)}"
    for resource in RESOURCES:
        request, limit = asked.get(f"requests.{resource}"), asked.get(f"limits.{resource}")
        least, most = (amount(part(item, key).get(resource)) for key in ("min", "max"))
        ratio = amount(part(item, "maxLimitRequestRatio").get(resource))
        if least is not None and request is not None:
            text = f"requests.{resource} of {name} is {shown(request, resource)}; {by} asks for"
            yield "limit-range", f"{text} {shown(least, resource)} at least.", request >= least
        if most is not None and limit is not None:
            text = f"limits.{resource} of {name} is {shown(limit, resource)}; {by} allows"
            yield "limit-range", f"{text} {shown(most, resource)} at most.", limit <= most
        if ratio is not None and request and limit is not None:
            times = f"{float(limit / request):.4g}"
            text = f"limits.{resource} of {name} is {times} times its request; {by} allows"
            yield "limit-range", f"{text} {ratio:g} times at most.", limit <= request * ratio


def _autoscalers(workload: _Workload) -> _Found:
    """A number of replicas that an autoscaler would set back changes nothing."""
    if not any(change.field == "spec.replicas" for change in workload.changes):
        return
    replicas = replicas_of(workload.after)
    for found in workload.near("HorizontalPodAutoscaler"):
        spec = part(found, "spec")
        least, most = spec.get("minReplicas", 1), spec.get("maxReplicas")
        if _targets(found, workload.after) and isinstance(least, int) and isinstance(most, int):
            text = f"HorizontalPodAutoscaler {name_of(found)} keeps replicas from {least} to {most}"
            fits = least <= replicas <= most
            yield "autoscaler", f"{text}; {replicas} {'' if fits else 'does not '}fit.", fits


def _budgets(workload: _Workload) -> _Found:
    """Budgets hold up evictions and not rolling updates; fewer pods may leave no eviction."""
    pods = part(part(part(workload.after, "spec"), "template"), "metadata")
    replicas = replicas_of(workload.after)
    for found in workload.near("PodDisruptionBudget"):
        spec = part(found, "spec")
        wanted = part(part(spec, "selector"), "matchLabels")
        if not wanted or any(part(pods, "labels").get(k) != v for k, v in wanted.items()):
            continue
        least = share(spec.get("minAvailable"), replicas, up=True)
        most = share(spec.get("maxUnavailable"), replicas, up=True)
        spare = most if most is not None else replicas - (least or 0)
        lowered = replicas < replicas_of(workload.before)
        text = (
            f"PodDisruptionBudget {name_of(found)} does not hold up a rolling update; "
            f"of {replicas} pods {max(spare, 0)} may be evicted at a time."
        )
        yield "disruption-budget", text, spare > 0 or not lowered


def _nodes(workload: _Workload) -> _Found:
    """One pod has to fit on one of the nodes that we know, were that empty."""
    nodes = [value for value in workload.around if value.get("kind") == "Node"]
    asks = any(".resources.requests." in change.field for change in workload.changes)
    new = pod(workload.after, workload.near("LimitRange"))
    for resource in RESOURCES if asks else ():
        sizes = [
            (size, name_of(node))
            for node in nodes
            if (size := amount(part(part(node, "status"), "allocatable").get(resource)))
        ]
        request = new.get(f"requests.{resource}")
        if sizes and request:
            size, name = max(sizes)
            text = (
                f"requests.{resource} of a pod is {shown(request, resource)}; node {name}, the "
                f"largest that we know, can give {shown(size, resource)}."
            )
            yield "node", text, request <= size


def _quota_key(key: str) -> str:
    """Return a quota's key as we name it: `cpu` means requests.cpu. "" for what is no amount."""
    if key in RESOURCES:
        return f"requests.{key}"
    known = key == "pods" or key.partition(".")[2] in RESOURCES
    return key if known and key.partition(".")[0] in ("pods", "requests", "limits") else ""
