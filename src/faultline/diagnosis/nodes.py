"""Nodes that are not well, in the words of their kubelet, or of who misses it.

For pods on them a node is a likely cause. Only if the fault is about the node itself, and its
kubelet says why it is not ready, is that the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.wording import HINT, LIKELY, PROVED, finding, one_line, restore
from faultline.model import Certainty, Finding

# condition, what the kubelet does because of it
_PRESSURES = {
    "MemoryPressure": "pods are evicted for memory",
    "DiskPressure": "images and pods are removed for disk",
    "PIDPressure": "no more processes can be started",
    "NetworkUnavailable": "pods have no network",
}

# what a kubelet says of itself (pkg/kubelet/nodestatus/setters.go), and a node of a silent one
_WHY = re.compile(
    r"container runtime is down|PLEG is not healthy|cni plugin not initialized"
    r"|container runtime network not ready|container runtime not ready"
    r"|failed to initialize CSINode|Kubelet stopped posting node status"
)


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what is wrong with nodes that the fault names, or that carry pods of the workloads."""
    used = {text(p.get("spec.nodeName")) for w in facts.workloads for p in w.pods}
    for node in facts.of("Node"):
        subject = facts.names_it("Node", node.name)
        if subject or node.name in used:
            yield from _unready(node, subject=subject)
            for condition, effect in _PRESSURES.items():
                if node.state(condition)[0] == "True":
                    yield _pressed(node, condition, effect, LIKELY if subject else HINT)


def _unready(node: Object, *, subject: bool) -> Iterator[Finding]:
    # proved because: the fault is about the node, and its kubelet is there and says itself why it
    # is not ready. A kubelet that is silent says nothing about why.
    status, reason, message = node.state("Ready")
    if status not in ("False", "Unknown"):
        return
    known = _WHY.search(message)
    itself = subject and status == "False" and known
    why = one_line(known[0] if known else reason or "no reason given", 120)
    yield finding(
        "conditions.node-not-ready",
        PROVED if itself else LIKELY,
        f"Node {node.name} is {'not ready' if status == 'False' else 'silent'}",
        f"{node} is {'not ready' if status == 'False' else 'not heard of'}: {why}.",
        [node.cite_state("Ready"), node.cite("status.conditions[type=Ready].reason")],
        rules_out=("conditions",),
        actions=[
            restore("Bring back on the node what its kubelet misses.", f"{node} is Ready again.")
        ]
        if itself
        else (),
    )


def _pressed(node: Object, condition: str, effect: str, certainty: Certainty) -> Finding:
    reason = node.state(condition)[1]
    return finding(
        "conditions.node-pressure",
        certainty,
        f"Node {node.name} has {condition}",
        f"{node} has {condition} ({one_line(reason or 'no reason given', 60)}): {effect}.",
        [node.cite(f"status.conditions[type={condition}].status"), node.cite_state(condition)],
    )
