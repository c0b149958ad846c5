"""Pods that no node takes: the most exact of what the scheduler's words and the nodes explain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from faultline.diagnosis.crowding import anti_affinity, host_port, too_many
from faultline.diagnosis.documents import child, items, mapping, text
from faultline.diagnosis.facts import Facts, Workload
from faultline.diagnosis.neighbours import pod_affinity, spread
from faultline.diagnosis.node_affinity import node_affinity
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
    """Say why the newest attempt to place a pod failed: what is proved, else the most exact."""
    for workload in facts.workloads:
        yield from _gated(workload)
        if any(
            p.get("status.phase") == "Pending" and not p.get("spec.nodeName") for p in workload.pods
        ):
            said = next(workload.happenings("FailedScheduling"), None)
            conditions = _CONDITIONS if said else ()
            found = (f for condition in conditions if said for f in condition(workload, said))
            yield from sorted(found, key=lambda f: -f.certainty.rank)[:1]


def _gated(workload: Workload) -> Iterator[Finding]:
    # proved because: the scheduler says that the pods wait at a gate, and the rollout put it there.
    for pod in workload.pods:
        if pod.state("PodScheduled")[1] != "SchedulingGated":
            continue
        gates = [one_line(g.get("name"), 60) for g in items(pod.get("spec.schedulingGates"))]
        was = workload.was("spec.schedulingGates")
        brought = was and not was.value and workload.get("spec.schedulingGates")
        since = f"; revision {was.revision} had none" if was and brought else ""
        yield finding(
            "scheduling.gated",
            proved_if(brought),
            f"Pods wait at the scheduling gate {', '.join(gates)}",
            f"Pods of {workload} wait until somebody opens the gate {', '.join(gates)}{since}.",
            [
                pod.cite_state("PodScheduled"),
                workload.cite("spec.schedulingGates") or pod.cite("spec.schedulingGates"),
                was.evidence if was and brought else None,
            ],
            actions=[
                restore("Let its controller open the gate, or drop it.", becomes_ready(workload))
            ],
        )
        return


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
    node_affinity,
    too_large,
    host_port,
    anti_affinity,
    pod_affinity,
    spread,
    too_many,
    taint,
    _full,
)
