"""StatefulSets: the Service that names their pods, updates that leave pods behind or wait for one.

apps/v1: pods get their host names by the Service in `serviceName`; an update replaces pods from the
last to the first, waits until each is ready, and stops above `partition`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import mapping, number, text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.inventory import absent, find, within
from faultline.diagnosis.names import UNKNOWN, nameless
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.revisions import HASH
from faultline.diagnosis.wording import (
    HINT,
    LIKELY,
    PROVED,
    becomes_ready,
    finding,
    one_line,
    restore,
)
from faultline.model import Action, Evidence, Finding

_BY_HAND = "OnDelete"
_STARTS = {"", "ContainerCreating", "PodInitializing"}


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what keeps StatefulSets from naming or renewing their pods."""
    for workload in facts.workloads:
        if workload.object.kind == "StatefulSet":
            yield from _nameless(workload)
            yield from _waits(workload)
        if workload.object.kind in ("StatefulSet", "DaemonSet"):
            yield from _left_behind(workload)


def _nameless(workload: Workload) -> Iterator[Finding]:
    # proved because: a program cannot resolve a name below this service, the set's `serviceName` is
    # that service, and who gathered looked for it and it is not there.
    name = text(workload.object.get("spec.serviceName"))
    space = workload.object.namespace
    gone = absent(workload.facts, "Service", space, name) if name else None
    if not gone:
        return
    logged = _unresolved(workload)
    near = nearest(name, (s.name for s in within(workload.facts, "Service", space)))
    beside = find(workload.facts, "Service", space, near) if near else None
    yield finding(
        "statefulsets.service-missing",
        PROVED if logged else HINT,
        f"There is no Service {one_line(name)}, which names the pods of {workload.object.name}",
        f"{workload} gets its pods' host names from the Service {one_line(name)}, which does not "
        f"exist." + (f" There is {near}." if near else ""),
        [
            logged,
            workload.object.cite("spec.serviceName"),
            gone,
            beside.cite("metadata.name") if beside else None,
        ],
        rules_out=("crash_loop.exit", "probes"),
        actions=[
            restore(
                f"Create a headless Service {one_line(name)}; serviceName itself cannot be changed "
                "on a StatefulSet that is there.",
                becomes_ready(workload),
            )
        ],
    )


def _unresolved(workload: Workload) -> Evidence | None:
    for part in workload.parts:
        found = part.logs(UNKNOWN)
        host = next((g for g in found[0].groups() if g), "") if found else ""
        if found and nameless(workload, host):
            return found[1]
    return None


def _waits(workload: Workload) -> Iterator[Finding]:
    # proved because: there is a newer revision, the set replaces its pods in order and waits for
    # each, and the one it waits for is of an earlier revision and is not ready.
    object = workload.object
    in_order = text(object.get("spec.podManagementPolicy")) in ("", "OrderedReady")
    rolling = text(object.get("spec.updateStrategy.type")) in ("", "RollingUpdate")
    stuck = [p for p in workload.left if _is_stuck(p) and not p.get("metadata.deletionTimestamp")]
    if not (in_order and rolling and stuck and workload.current) or _partition(object):
        return
    pod, newest = stuck[-1], workload.current
    yield finding(
        "statefulsets.waits-for-old-pod",
        PROVED,
        f"The update waits for {pod.name}, which is of an earlier revision and never gets ready",
        f"{workload} has a newer revision, {newest.name}, but waits for {pod.name} of an earlier "
        "one to become ready before it replaces it. It will not: a broken pod of an earlier "
        "revision has to be deleted by hand.",
        [
            object.cite("status.updateRevision") or newest.cite("metadata.name"),
            pod.cite(f'metadata.labels["{HASH}"]') or pod.cite(f"metadata.labels.{HASH}"),
            pod.cite_state("Ready") or pod.cite("status.containerStatuses[0].ready"),
        ],
        rules_out=("conditions",),
        actions=[
            Action(
                action=f"Delete the pod {pod.name}; the set makes it again from its newest "
                "revision.",
                check=becomes_ready(workload),
                way_back="The set makes the pod again whenever it is deleted.",
            )
        ],
    )


def _is_stuck(pod: Object) -> bool:
    """Not ready, and for a reason that does not pass by itself: a container fails, or no node."""
    states = (mapping(s.get("state")) for s in pod.items("status.containerStatuses"))
    reasons = {text(mapping(s.get("waiting")).get("reason")) for s in states} - _STARTS
    return bool(reasons) or pod.state("PodScheduled")[1] == "Unschedulable"


def _partition(object: Object) -> int:
    return number(object.get("spec.updateStrategy.rollingUpdate.partition"))


def _left_behind(workload: Workload) -> Iterator[Finding]:
    object, by_hand = workload.object, "spec.updateStrategy.type"
    deletes = text(object.get(by_hand)) == _BY_HAND
    kept, replicas = _partition(object), number(object.get("spec.replicas")) or 1
    field = by_hand if deletes else "spec.updateStrategy.rollingUpdate.partition"
    if not workload.left or not (deletes or kept):
        return
    well = workload.ready or not workload.pods
    rule = (
        "replaces a pod only when somebody deletes it (OnDelete)"
        if deletes
        else f"leaves the pods below number {kept} of {replicas} as they are (partition)"
    )
    yield finding(
        "statefulsets.pods-left-behind",
        LIKELY if well and not any(_is_stuck(p) for p in workload.left) else HINT,
        f"{len(workload.left)} pods are left at an earlier revision, as updateStrategy says",
        f"{workload} {rule}; {len(workload.left)} pods are of an earlier revision.",
        [object.cite(field), workload.left[0].cite("metadata.name")],
        actions=[
            restore("Delete the pods, or lower the partition, to go on.", becomes_ready(workload))
        ],
    )
