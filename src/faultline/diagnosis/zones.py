"""Volumes that can only be had where the workload's pods may not or cannot run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.documents import items, text
from faultline.diagnosis.facts import Object, Workload
from faultline.diagnosis.node_affinity import placed_by
from faultline.diagnosis.node_labels import taken
from faultline.diagnosis.node_size import knows_all_nodes
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import becomes_ready, finding, proved_if, restore
from faultline.model import Finding

_ELSEWHERE = re.compile(
    r"volume node affinity conflict|match PersistentVolume's node affinity"
    r"|no available volume zone"
)
_TERMS = "spec.nodeAffinity.required.nodeSelectorTerms"


def elsewhere(workload: Workload, claims: set[str], said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler says that a volume is elsewhere, and read over all nodes, none
    # that the volume can be had from is one that the workload's selector and affinity take.
    if not _ELSEWHERE.search(said.message):
        return
    nodes, rules = workload.facts.of("Node"), placed_by(workload)
    for claim, volume in _bound(workload, claims):
        terms = items(volume.get(_TERMS))
        near = taken(terms, nodes)
        if not terms or (may := taken(rules, near) if rules else near):
            continue
        where = f"nodes {', '.join(n.name for n in near[:3])}" if near else "no node that is there"
        was = workload.was("spec.nodeSelector") or workload.was("spec.affinity.nodeAffinity")
        place = next((p for p in ("spec.nodeSelector", "spec.affinity") if workload.get(p)), "")
        yield finding(
            "volumes.other-zone",
            proved_if(knows_all_nodes(workload, said) and not may),
            f"The volume of {claim.name} can only be had from {where}",
            f"{workload} mounts {claim}, whose volume {volume.name} can only be had from {where}"
            + (", and its selector or affinity takes none of these." if near else ".")
            + (f" Revision {was.revision} asked for other nodes." if was and near else ""),
            [
                said.cite(),
                volume.cite(_TERMS),
                claim.cite("spec.volumeName"),
                workload.cite(place) if near and place else None,
                was.evidence if was and near else None,
            ],
            actions=[restore("Run it where its volume is.", becomes_ready(workload))],
        )
        return


def _bound(workload: Workload, claims: set[str]) -> Iterator[tuple[Object, Object]]:
    for claim in workload.facts.of("PersistentVolumeClaim"):
        volume = workload.facts.object("PersistentVolume", text(claim.get("spec.volumeName")))
        mine = claim.name in claims and claim.namespace == workload.object.namespace
        if mine and volume:
            yield claim, volume
