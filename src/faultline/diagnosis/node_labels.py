"""What a rule about labels takes: label selectors, and node selector terms. Pure.

Operators of core/v1 NodeSelectorRequirement: In, NotIn, Exists, DoesNotExist, Gt, Lt. Terms are
alternatives, the expressions of one term hold together; a term without any takes no node.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from faultline.diagnosis.documents import items, listed, mapping, text
from faultline.diagnosis.objects import Object


def labels_of(object: Object) -> dict[str, str]:
    return {k: text(v) for k, v in mapping(object.get("metadata.labels")).items()}


def values_of(key: str, objects: Iterable[Object]) -> set[str]:
    """Return the values that a label has on these objects."""
    return {labels[key] for o in objects if key in (labels := labels_of(o))}


def holds(expression: dict[str, Any], labels: dict[str, Any]) -> bool:
    """Say whether one expression is true of an object with these labels."""
    key, operator = text(expression.get("key")), text(expression.get("operator"))
    values = [text(v) for v in listed(expression.get("values"))]
    has = key in labels
    if operator in ("In", "NotIn"):
        return (has and labels[key] in values) == (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return has == (operator == "Exists")
    compares = has and values and operator in ("Gt", "Lt")
    return bool(compares) and _compared(operator, text(labels[key]), values[0])


def _compared(operator: str, value: str, bound: str) -> bool:
    try:
        return int(value) > int(bound) if operator == "Gt" else int(value) < int(bound)
    except ValueError:
        return False


def term_takes(term: dict[str, Any], node: Object) -> bool:
    expressions, fields = items(term.get("matchExpressions")), items(term.get("matchFields"))
    by_name = {"metadata.name": node.name}
    return bool(expressions or fields) and (
        all(holds(e, labels_of(node)) for e in expressions)
        and all(holds(f, by_name) for f in fields)
    )


def taken(terms: Sequence[dict[str, Any]], nodes: Iterable[Object]) -> list[Object]:
    """Return the nodes that at least one term takes."""
    return [n for n in nodes if any(term_takes(t, n) for t in terms)]


def matches(selector: dict[str, Any], labels: dict[str, Any]) -> bool:
    """Say whether a label selector (metav1.LabelSelector) selects; an empty one selects all."""
    equal = all(labels.get(k) == v for k, v in mapping(selector.get("matchLabels")).items())
    return equal and all(holds(e, labels) for e in items(selector.get("matchExpressions")))


def selected(selector: Any, labels: dict[str, str]) -> bool:
    """Say whether a selector that asks for something takes these labels."""
    rules = mapping(selector)
    asks = mapping(rules.get("matchLabels")) or items(rules.get("matchExpressions"))
    return bool(asks) and matches(rules, labels)
