"""What faults are folded on: the workload they name, or else the condition itself. Pure.

It never asks the cluster: an answer that can fail would change the key, and duplicates come back.
Decision G-04 in `docs/decisions/`; the labels are those of kube-state-metrics and the kubelet.
"""

from __future__ import annotations

import re

from faultline import keys
from faultline.model import Fault, Resource

# In this order: a label that names a workload, after the owner that the source itself names.
WORKLOAD_LABELS = ("deployment", "statefulset", "daemonset", "cronjob", "job_name", "replicaset")

# Kubernetes makes its suffixes of these, without vowels: apimachinery, util/rand.
_SUFFIX = "[bcdfghjklmnpqrstvwxz2456789]"
_POD_OF_REPLICASET = re.compile(rf"(.+)-{_SUFFIX}{{5,10}}-{_SUFFIX}{{5}}")
_POD_OF_CRONJOB = re.compile(rf"(.+)-\d{{8,10}}-{_SUFFIX}{{5}}")
_POD_OF_SET = re.compile(rf"(.+)-(?:{_SUFFIX}{{5}}|\d{{1,4}})")
_REPLICASET = re.compile(rf"(.+)-{_SUFFIX}{{5,10}}")
_JOB_OF_CRONJOB = re.compile(r"(.+)-\d{8,10}")

_OWNER_BY_NAME = {
    "pod": (_POD_OF_CRONJOB, _POD_OF_REPLICASET, _POD_OF_SET),
    "replicaset": (_REPLICASET,),
    "job": (_JOB_OF_CRONJOB,),
}
_KIND_OF_LABEL = {"job_name": "Job", "replicaset": "ReplicaSet"}


def owner_of(resource: Resource, labels: dict[str, str] | None = None) -> str:
    """Return the name of the workload that owns the resource, from what the fault itself says.

    An owner the source names; else a label that names a workload; else the name without its
    generated ending (`api-7d9f6c5b4-x2x9z` is `api`, `db-0` is `db`); else the name as it is.
    """
    if resource.owner:
        return resource.owner
    for label in WORKLOAD_LABELS:
        if named := (labels or {}).get(label):
            return _without_ending(_KIND_OF_LABEL.get(label, ""), named)
    return _without_ending(resource.kind, resource.name)


def _without_ending(kind: str, name: str) -> str:
    for pattern in _OWNER_BY_NAME.get(kind.lower(), ()):
        if match := pattern.fullmatch(name):
            return match[1]
    return name


def correlation_key(fault: Fault) -> str:
    """Return the key that faults of one condition share, already in the parts of a store key.

    `resource/<cluster>/<namespace>/<workload>`, with `-` where there is no namespace; without a
    resource `fingerprint/<fingerprint>`. The kind is left out, so that an alert about a Deployment
    and a fault about its pod meet.
    """
    if fault.resource is None:
        return f"fingerprint/{fault.fingerprint}"
    owner = owner_of(fault.resource, fault.labels)
    parts = (fault.cluster, fault.resource.namespace or "-", owner)
    return "resource/" + "/".join(keys.part(p) for p in parts)


def subject_name(fault: Fault) -> str:
    """Return what an incident is called after: the workload, or the fault's own name."""
    return owner_of(fault.resource, fault.labels) if fault.resource else fault.name


# Alerts that say that a whole node is gone: what fails on it has one cause.
NODE_DOWN = frozenset({
    "KubeNodeNotReady", "KubeNodeUnreachable", "NodeDown", "NodeNotReady", "NodeUnhealthy",
    "NodeUnreachable",
})  # fmt: skip


def node_of(fault: Fault) -> str:
    """Return the node that a fault says its resource is on; "" if it says none, or is about it."""
    about_it = fault.resource is None or fault.resource.kind == "Node"
    return "" if about_it else fault.labels.get("node", "")


def node_key(cluster: str, node: str) -> str:
    """Return the correlation key of a node's own faults."""
    return f"resource/{keys.part(cluster)}/-/{keys.part(node)}"
