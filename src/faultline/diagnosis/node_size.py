"""Requests that are larger than any node: the arithmetic of the scheduler's refusal."""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.facts import Object, Part, Workload
from faultline.diagnosis.quantities import quantity
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import becomes_ready, finding, proved_if, restore
from faultline.model import Finding


def knows_all_nodes(workload: Workload, said: Happening) -> bool:
    """Say whether the capsule has as many nodes as the scheduler looked at."""
    match = re.search(r"0/(\d{1,6}) nodes", said.message)
    return match is not None and int(match[1]) == len(workload.facts.of("Node"))


def too_large(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler says that every node has too little, and one container alone
    # asks for more than the largest node can give.
    for resource in ("cpu", "memory"):
        if f"Insufficient {resource}" in said.message:
            nodes = [
                (quantity(n.get(f"status.allocatable.{resource}")) or 0, n)
                for n in workload.facts.of("Node")
            ]
            most, largest = max(nodes, key=lambda n: n[0], default=(0.0, None))
            for part in workload.parts:
                asked = quantity(part.get(f"resources.requests.{resource}")) or 0
                if largest and asked > most > 0:
                    yield _beyond(part, resource, said, largest)


def _beyond(part: Part, resource: str, said: Happening, largest: Object) -> Finding:
    field, most = f"resources.requests.{resource}", f"status.allocatable.{resource}"
    was = part.was(field)
    fits = was and 0 < (quantity(was.value) or 0) <= (quantity(largest.get(most)) or 0)
    before = f" Revision {was.revision} asked for {was.value}." if was and fits else ""
    return finding(
        "scheduling.request-too-large",
        proved_if(knows_all_nodes(part.workload, said)),
        f"{part.name} asks for more {resource} than any node has",
        f"{part} asks for {part.get(field)} {resource}; the largest node, {largest.name}, has "
        f"{largest.get(most)} to give.{before}",
        [said.cite(), part.cite(field), largest.cite(most), was.evidence if was and fits else None],
        actions=[restore("Ask for what a node can give.", becomes_ready(part.workload))],
        changes=[part.change(field, was.value, f"as in revision {was.revision}")]
        if was and fits
        else (),
    )
