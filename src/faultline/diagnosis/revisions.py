"""What a workload was before: the revisions that its controller keeps, and whose pods are whose.

A Deployment's are ReplicaSets, numbered by an annotation. Those of StatefulSets and DaemonSets are
ControllerRevisions: the template as a patch, and a number that goes up with a rollback too. A
CronJob keeps none, but each of its runs has the template that it was made from.
"""

from __future__ import annotations

from faultline.diagnosis.documents import mapping, text
from faultline.diagnosis.objects import CONTROLLER_REVISION, Object
from faultline.diagnosis.workloads import Around

HASH = "controller-revision-hash"  # label of a set's pods: the revision's name, or its end
KEPT_AS = {
    "Deployment": "ReplicaSet",
    "StatefulSet": CONTROLLER_REVISION,
    "DaemonSet": CONTROLLER_REVISION,
    "CronJob": "Job",
}


def revisions(facts: Around, workload: Object, named: str = "") -> list[Object]:
    """Return the revision before and the current one, or fewer, the current one last.

    `named` is what the fault names: of a CronJob perhaps the run that it is about.
    """
    kept = facts.of(KEPT_AS[workload.kind]) if workload.kind in KEPT_AS else ()
    owned = sorted((r for r in kept if _owns(workload, r)), key=lambda r: r.revision)
    if workload.kind == "CronJob":
        return _runs(owned, named)
    if workload.kind == "Deployment":
        newest = workload.revision
    else:
        named = text(workload.get("status.updateRevision"))
        newest = next((r.revision for r in owned if r.name == named), 0)
    return [r for r in owned if not newest or r.revision <= newest][-2:]


def _runs(owned: list[Object], named: str) -> list[Object]:
    """Return the run that it is about, and before it the last that had another template."""
    if not owned:
        return []
    current = next((r for r in owned if r.name == named), owned[-1])
    others = [r for r in owned if r.revision < current.revision and r.kept("spec")]
    return [*[r for r in others if r.kept("spec") != current.kept("spec")][-1:], current]


def is_past(workload: Object, run: Object) -> bool:
    """Say whether a CronJob's template has been changed since this run."""
    template = workload.get("spec.jobTemplate.spec.template.spec")
    return run.kind == "Job" and run.kept("spec") not in (None, template)


def is_of(pod: Object, revision: Object) -> bool:
    """Say whether a pod was made from this revision."""
    if revision.kind != CONTROLLER_REVISION:
        return pod.owner == (revision.kind, revision.name)
    made = text(mapping(pod.get("metadata.labels")).get(HASH))
    return bool(made) and (made == revision.name or revision.name.endswith(f"-{made}"))


def _owns(workload: Object, revision: Object) -> bool:
    same = revision.namespace == workload.namespace
    return same and revision.owner == (workload.kind, workload.name)
