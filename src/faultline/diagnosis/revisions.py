"""What a workload was before: the revisions that its controller keeps, and whose pods are whose.

A Deployment's are ReplicaSets, numbered by an annotation. Those of StatefulSets and DaemonSets are
ControllerRevisions: the template as a patch, and a number that goes up with a rollback too.
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
}


def revisions(facts: Around, workload: Object) -> list[Object]:
    """Return the revision before and the current one, or fewer, the current one last."""
    kept = facts.of(KEPT_AS[workload.kind]) if workload.kind in KEPT_AS else ()
    owned = sorted((r for r in kept if _owns(workload, r)), key=lambda r: r.revision)
    if workload.kind == "Deployment":
        newest = workload.revision
    else:
        named = text(workload.get("status.updateRevision"))
        newest = next((r.revision for r in owned if r.name == named), 0)
    return [r for r in owned if not newest or r.revision <= newest][-2:]


def is_of(pod: Object, revision: Object) -> bool:
    """Say whether a pod was made from this revision."""
    if revision.kind == "ReplicaSet":
        return pod.owner == ("ReplicaSet", revision.name)
    made = text(mapping(pod.get("metadata.labels")).get(HASH))
    return bool(made) and (made == revision.name or revision.name.endswith(f"-{made}"))


def _owns(workload: Object, revision: Object) -> bool:
    same = revision.namespace == workload.namespace
    return same and revision.owner == (workload.kind, workload.name)
