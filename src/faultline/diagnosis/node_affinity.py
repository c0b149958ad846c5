"""Required node affinity that no node satisfies: the terms, read as the scheduler reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faultline.diagnosis.documents import item, items, listed, mapping, text
from faultline.diagnosis.facts import Workload
from faultline.diagnosis.node_labels import holds, labels_of, taken, values_of
from faultline.diagnosis.node_size import knows_all_nodes
from faultline.diagnosis.objects import Was
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import becomes_ready, finding, one_line, proved_if, restore
from faultline.model import Finding

TERMS = (
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
)


def node_affinity(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler says that no node matches, and read over all nodes, no term of
    # the required affinity takes one. Whatever else keeps nodes away, none could be taken.
    nodes, terms = workload.facts.of("Node"), items(workload.get(TERMS))
    if "node affinity" not in said.message or not nodes or not terms or taken(terms, nodes):
        return
    path, expression = _guilty(workload, terms) if len(terms) == 1 else ("", {})
    better, field, was = _better(workload, path, expression)
    what = _phrase(expression) if expression else "what its required node affinity asks for"
    yield finding(
        "scheduling.node-affinity",
        proved_if(knows_all_nodes(workload, said)),
        f"No node has {what}",
        f"{workload} requires nodes by affinity, and none has {what}{_known(workload, expression)}."
        + (f" Revision {was.revision} did not require this." if was else ""),
        [said.cite(), workload.cite(path or TERMS), was.evidence if was else None],
        actions=[
            restore(
                f"Ask for {better}." if better else "Require what nodes have.",
                becomes_ready(workload),
            )
        ],
        changes=[workload.change(field, better, "what nodes have")] if better else (),
    )


def _guilty(workload: Workload, terms: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return the one expression of the term that no node satisfies by itself, and its path."""
    nodes = [labels_of(n) for n in workload.facts.of("Node")]
    found = [
        (item(f"{TERMS}[0].matchExpressions", "key", text(e.get("key"))), e)
        for e in items(terms[0].get("matchExpressions"))
        if not any(holds(e, labels) for labels in nodes)
    ]
    return found[0] if len(found) == 1 else ("", {})


def _better(
    workload: Workload, path: str, expression: dict[str, Any]
) -> tuple[str, str, Was | None]:
    """Return a value, or a key, that nodes have, the field it belongs to, and what it was."""
    nodes, key = workload.facts.of("Node"), text(expression.get("key"))
    was = workload.was(path) if path else None
    values, asked = values_of(key, nodes), [text(v) for v in listed(expression.get("values"))]
    if values and len(asked) == 1 and expression.get("operator") == "In":
        field = f"{path}.values[0]"
        before = text(w.value) if (w := workload.was(field)) else ""
        return (before if before in values else nearest(asked[0], values)), field, was
    keys = {k for n in nodes for k in labels_of(n)}
    return ("" if values or not key else nearest(key, keys)), f"{path}.key", was


def _phrase(expression: dict[str, Any]) -> str:
    values = [one_line(v, 40) for v in listed(expression.get("values"))]
    return one_line(
        f"{expression.get('key')} {expression.get('operator')} {', '.join(values)}".rstrip()
    )


def _known(workload: Workload, expression: dict[str, Any]) -> str:
    there = sorted(values_of(text(expression.get("key")), workload.facts.of("Node")))
    if not expression:
        return ""
    return f"; the nodes have {one_line(', '.join(there))}" if there else "; no node has that label"


def placed_by(workload: Workload) -> list[dict[str, Any]]:
    """Return node selector and required affinity together, as terms."""
    pairs = mapping(workload.get("spec.nodeSelector"))
    chosen = [{"key": k, "operator": "In", "values": [v]} for k, v in sorted(pairs.items())]
    terms = items(workload.get(TERMS))
    if not terms:
        return [{"matchExpressions": chosen}] if chosen else []
    return [t | {"matchExpressions": [*items(t.get("matchExpressions")), *chosen]} for t in terms]
