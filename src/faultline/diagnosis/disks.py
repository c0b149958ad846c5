"""Evictions for disk: volumes in the pod, the sum of its limits, and who was ranked first.

Messages are those of the kubelet's eviction manager (pkg/kubelet/eviction/helpers.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.documents import item, text
from faultline.diagnosis.facts import Object, Workload
from faultline.diagnosis.quantities import quantity
from faultline.diagnosis.wording import LIKELY, PROVED, becomes_ready, finding, restore
from faultline.model import Finding

_EMPTY_DIR = re.compile(
    r'Usage of EmptyDir volume "([a-z0-9-]{1,63})" exceeds the limit "([\w.]+)"'
)
_POD = re.compile(r"ephemeral local storage usage exceeds the total limit of containers ([\w.]*\w)")
_RANKED = re.compile(
    r"Container ([a-z0-9-]{1,63}) was using ([\w.]+), request is ([\w.]+), has larger consumption "
    r"of ([\w-]{1,40})"
)
_EXPLAINS = ("crash_loop.exit", "probes")


def empty_dir(workload: Workload, pod: Object) -> Iterator[Finding]:
    # proved because: the kubelet names the volume and the limit, and the template has that limit.
    match = _EMPTY_DIR.search(text(pod.get("status.message")))
    if not match:
        return
    field = f"{item('spec.volumes', 'name', match[1])}.emptyDir.sizeLimit"
    limit = quantity(match[2])
    if quantity(workload.get(field)) != limit or limit is None:
        return
    was = workload.was(field)
    higher = was if was and (quantity(was.value) or 0) > limit else None
    yield finding(
        "eviction.empty-dir",
        PROVED,
        f"A pod was evicted: its volume {match[1]} held more than {match[2]}",
        f"Pods of {workload} wrote more than {match[2]} into the emptyDir {match[1]} and were "
        "evicted." + (f" Revision {higher.revision} allowed {higher.value}." if higher else ""),
        [
            pod.cite("status.message"),
            workload.cite(field),
            higher.evidence if higher else None,
        ],
        rules_out=_EXPLAINS,
        actions=[restore("Write less, or allow more.", becomes_ready(workload))],
        changes=[workload.change(field, higher.value, f"as in revision {higher.revision}")]
        if higher
        else (),
    )


def all_disks(workload: Workload, pod: Object) -> Iterator[Finding]:
    # proved because: the kubelet names the sum of the limits, and the containers' limits make it.
    match = _POD.search(text(pod.get("status.message")))
    limits = [p for p in workload.parts if p.get("resources.limits.ephemeral-storage")]
    total = sum(quantity(p.get("resources.limits.ephemeral-storage")) or 0 for p in limits)
    if match and limits and total == quantity(match[1]):
        yield finding(
            "eviction.pod-disk",
            PROVED,
            f"A pod was evicted for using more than {match[1]} of disk in all",
            f"A pod of {workload} used more disk than the {match[1]} that its containers may use "
            "together, volumes and logs included.",
            [
                pod.cite("status.message"),
                *(p.cite("resources.limits.ephemeral-storage") for p in limits),
            ],
            rules_out=_EXPLAINS,
            actions=[restore("Write less, or allow more.", becomes_ready(workload))],
        )


def ranked(workload: Workload, pod: Object) -> Iterator[Finding]:
    """The node ran out, and the kubelet took who used most above its request."""
    message = text(pod.get("status.message"))
    over = [m for m in _RANKED.finditer(message) if _beyond(m) > 0]
    if not over:
        return
    match = max(over, key=_beyond)
    field = f"resources.requests.{match[4]}"
    part = next((p for p in workload.parts if p.name == match[1]), None)
    was = part.was(field) if part else None
    enough = was if was and (quantity(was.value) or 0) >= (quantity(match[2]) or 0) else None
    yield finding(
        "eviction.over-request",
        LIKELY,
        f"{match[1]} was evicted first: it used {match[2]} of {match[4]} and requests {match[3]}",
        f"The node of a pod of {workload} ran out of {match[4]}, and {match[1]}, which used "
        f"{match[2]} and requests {match[3]}, was above its request."
        + (f" Revision {enough.revision} requested {enough.value}." if enough else ""),
        [
            pod.cite("status.message"),
            part.cite(field) if part else None,
            enough.evidence if enough else None,
        ],
        rules_out=_EXPLAINS,
        actions=[restore("Request what it uses, or use less.", becomes_ready(workload))],
        changes=[part.change(field, enough.value, f"as in revision {enough.revision}")]
        if part and enough
        else (),
    )


def _beyond(match: re.Match[str]) -> float:
    return (quantity(match[2]) or 0) - (quantity(match[3]) or 0)
