"""Pods that no node takes: requests larger than any node, selectors nobody matches, taints."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from faultline.diagnosis.documents import child, mapping, text
from faultline.diagnosis.facts import Facts, Workload
from faultline.diagnosis.node_size import knows_all_nodes, too_large
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.records import Happening
from faultline.diagnosis.taints import taint
from faultline.diagnosis.wording import (
    LIKELY,
    becomes_ready,
    finding,
    one_line,
    proved_if,
    restore,
)
from faultline.model import Finding


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why the newest attempt to place a pod failed: the most exact reason."""
    for workload in facts.workloads:
        if any(
            p.get("status.phase") == "Pending" and not p.get("spec.nodeName") for p in workload.pods
        ):
            said = next(workload.happenings("FailedScheduling"), None)
            conditions = _CONDITIONS if said else ()
            found = (f for condition in conditions if said for f in condition(workload, said))
            yield from list(found)[:1]


def _selector(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler says that no node matches, and no node has this label's value.
    selector = mapping(workload.get("spec.nodeSelector"))
    nodes = workload.facts.of("Node")
    if "node affinity/selector" not in said.message or not nodes:
        return
    for key, value in sorted(selector.items()):
        values = {text(mapping(n.get("metadata.labels")).get(key)) for n in nodes} - {""}
        if text(value) in values:
            continue
        field = child("spec.nodeSelector", key)
        was = workload.was(field)
        better = text(was.value) if was and was.value in values else nearest(text(value), values)
        known = (
            f"the nodes have {', '.join(sorted(values)[:5])}"
            if values
            else "no node has that label"
        )
        yield finding(
            "scheduling.node-selector",
            proved_if(knows_all_nodes(workload, said)),
            f"No node has {one_line(key)}={one_line(value)}",
            f"{workload} asks for nodes with {one_line(key)}={one_line(value)}; {known}.",
            [said.cite(), workload.cite(field), was.evidence if was else None],
            actions=[
                restore(f"Ask for {better or 'a label that nodes have'}.", becomes_ready(workload))
            ],
            changes=[workload.change(field, better, "a value that nodes have")] if better else (),
        )


def _full(workload: Workload, said: Happening) -> Iterator[Finding]:
    if "Insufficient" in said.message:
        short = sorted(set(re.findall(r"Insufficient ([\w./-]{1,60})", said.message)))
        yield finding(
            "scheduling.no-room",
            LIKELY,
            f"No node has room: {', '.join(short)}",
            f"{workload} fits on no node now: too little {' and '.join(short)} is free.",
            [said.cite()],
        )


_CONDITIONS: tuple[Callable[[Workload, Happening], Iterator[Finding]], ...] = (
    _selector,
    too_large,
    taint,
    _full,
)
