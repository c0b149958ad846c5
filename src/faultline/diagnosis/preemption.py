"""Pods that had to make room for others of a higher priority."""

from __future__ import annotations

from collections.abc import Iterator

from faultline.diagnosis.documents import number, text
from faultline.diagnosis.facts import Workload
from faultline.diagnosis.wording import becomes_ready, finding, one_line, proved_if, restore
from faultline.model import Evidence, Finding

CLASS = "spec.priorityClassName"


def preempted(workload: Workload) -> Iterator[Finding]:
    # proved because: the scheduler says that a pod had to make room, pods are missing since, and
    # the rollout gave it another class: pods of the revision before have the higher priority.
    cited = _said(workload)
    if not cited or (workload.ready and not workload.left):
        return
    was = workload.was(CLASS)
    was = was if was and text(was.value) else None
    pod = next((p for p in workload.pods if p.get("spec.priority") is not None), None)
    higher = max((number(p.get("spec.priority")) for p in workload.left), default=0)
    lowered = was and pod is not None and higher > number(pod.get("spec.priority"))
    rank = f" of priority {number(pod.get('spec.priority'))}" if pod else ""
    yield finding(
        "eviction.preempted",
        proved_if(lowered),
        f"Pods of {workload.object.name} had to make room for pods of a higher priority",
        f"A pod of {workload}{rank} was removed to make room for one of a higher priority."
        + (f" Revision {was.revision} had the class {one_line(was.value)}." if was else ""),
        [
            cited,
            workload.cite(CLASS),
            pod.cite("spec.priority") if pod else None,
            was.evidence if was else None,
        ],
        rules_out=("scheduling.no-room",),
        actions=[
            restore("Give it its priority back, or the cluster more room.", becomes_ready(workload))
        ],
        changes=[workload.change(CLASS, text(was.value), f"as in revision {was.revision}")]
        if was and lowered
        else (),
    )


def _said(workload: Workload) -> Evidence | None:
    """Cite the scheduler's word about a pod that is gone, or a pod that has the condition."""
    for pod in (*workload.pods, *workload.left):
        if pod.state("DisruptionTarget")[1] == "PreemptionByScheduler":
            return pod.cite_state("DisruptionTarget")
    start = f"{workload.object.name}-"
    for happening in workload.facts.happenings:
        own = happening.kind == "Pod" and happening.name.startswith(start)
        if happening.reason == "Preempted" and own:
            return happening.cite()
    return None
