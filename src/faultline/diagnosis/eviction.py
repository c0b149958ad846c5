"""Pods that were evicted: for their own disk use, or because their node ran out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from faultline.diagnosis.disks import all_disks, empty_dir, ranked
from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.preemption import preempted
from faultline.diagnosis.quantities import quantity
from faultline.diagnosis.wording import LIKELY, PROVED, becomes_ready, finding, restore
from faultline.model import Finding

LIMIT = "resources.limits.ephemeral-storage"
_OWN = re.compile(
    r'Container ([a-z0-9-]{1,63}) exceeded its local ephemeral storage limit "([\w.]+)"'
)
_NODE = re.compile(r"The node was low on resource: ([\w-]{1,40})")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why pods of a workload were evicted."""
    for workload in facts.workloads:
        evicted = [p for p in workload.pods if text(p.get("status.reason")) == "Evicted"]
        ways = (_own, empty_dir, all_disks, ranked, _node)
        found = (f for pod in evicted for way in ways for f in way(workload, pod))
        yield from islice(found, 1)
        yield from islice(preempted(workload), 1)


def _own(workload: Workload, pod: Object) -> Iterator[Finding]:
    # proved because: the kubelet names the container and the limit, and the object has that limit.
    match = _OWN.search(text(pod.get("status.message")))
    for part in workload.parts:
        if not match or part.name != match[1] or quantity(part.get(LIMIT)) != quantity(match[2]):
            continue
        was = part.was(LIMIT)
        higher = was if was and (quantity(was.value) or 0) > (quantity(match[2]) or 0) else None
        yield finding(
            "eviction.own-disk",
            PROVED,
            f"{part.name} was evicted for using more than {match[2]} of disk",
            f"{part} wrote more than its ephemeral storage limit of {match[2]} and was evicted."
            + (f" Revision {higher.revision} allowed {higher.value}." if higher else ""),
            [pod.cite("status.message"), part.cite(LIMIT), higher.evidence if higher else None],
            rules_out=("crash_loop.exit", "probes"),
            actions=[restore("Write less, or allow more.", becomes_ready(workload))],
            changes=[part.change(LIMIT, higher.value, f"as in revision {higher.revision}")]
            if higher
            else (),
        )


def _node(workload: Workload, pod: Object) -> Iterator[Finding]:
    if match := _NODE.search(text(pod.get("status.message"))):
        node = text(pod.get("spec.nodeName")) or "its node"
        yield finding(
            "eviction.node-pressure",
            LIKELY,
            f"Pods were evicted because {node} was low on {match[1]}",
            f"Pods of {workload} were evicted because {node} was low on {match[1]}.",
            [pod.cite("status.message")],
        )
