"""Disruption budgets that can never allow an eviction, while a node of the workload is emptied.

policy/v1: with `minAvailable` at least as large as the pods there are, or `maxUnavailable` 0, a
healthy workload may lose no pod, so a drain waits for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import number, text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.node_labels import labels_of, selected
from faultline.diagnosis.wording import HINT, PROVED, finding, one_line, restore
from faultline.model import Change, Finding

_SHARE = re.compile(r"([0-9]{1,3})%")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which budget lets no pod of a workload go."""
    for budget in facts.of("PodDisruptionBudget"):
        for workload in facts.workloads:
            if _covers(budget, workload):
                yield from _deadlock(budget, workload)


def _covers(budget: Object, workload: Workload) -> bool:
    same = budget.namespace == workload.object.namespace
    rule = budget.get("spec.selector")
    return same and any(selected(rule, labels_of(p)) for p in workload.pods)


def _deadlock(budget: Object, workload: Workload) -> Iterator[Finding]:
    # proved because: the budget allows nothing though every pod is healthy, by its own numbers it
    # never will, and a node that carries these pods takes no more: it is to be emptied.
    expected = number(budget.get("status.expectedPods"))
    healthy = number(budget.get("status.currentHealthy")) >= expected > 0
    if budget.get("status.disruptionsAllowed") != 0 or not healthy:
        return
    field, never = _never(budget, expected)
    node = _emptied(workload)
    if not never or not node:
        yield _allows_nothing(budget)
        return
    yield finding(
        "budgets.deadlock",
        PROVED if workload.ready and workload.well else HINT,
        f"The budget {budget.name} never lets a pod leave {node.name}",
        f"{node} is to be emptied, and {budget} lets no pod of {workload} go: {never}, and "
        f"{expected} healthy pods are all there are.",
        [
            budget.cite("status.disruptionsAllowed"),
            budget.cite("status.expectedPods"),
            budget.cite(field),
            node.cite("spec.unschedulable"),
        ],
        actions=[
            restore(
                "Allow one pod to be missing, or run one more.",
                f"{budget} allows a disruption, and {node.name} can be emptied.",
            )
        ],
        changes=_one_may_go(budget, field, expected),
    )


def _never(budget: Object, expected: int) -> tuple[str, str]:
    """Return the field that forbids every eviction, and the arithmetic; "" if none does."""
    least, most = budget.get("spec.minAvailable"), budget.get("spec.maxUnavailable")
    share = _SHARE.fullmatch(text(least))
    must = -(-expected * int(share[1]) // 100) if share else number(least)
    if least is not None and must >= expected:
        return "spec.minAvailable", f"{one_line(least, 20)} must stay available"
    if most is not None and text(most) in ("0", "0%"):
        return "spec.maxUnavailable", "none may be unavailable"
    return "", ""


def _emptied(workload: Workload) -> Object | None:
    used = {text(p.get("spec.nodeName")) for p in workload.pods}
    nodes = (n for n in workload.facts.of("Node") if n.name in used)
    return next((n for n in nodes if n.get("spec.unschedulable") is True), None)


def _one_may_go(budget: Object, field: str, expected: int) -> list[Change]:
    """Let one pod go, where at least one stays."""
    before = budget.get(field)
    if expected < 2 or not isinstance(before, int) or before > expected:
        return []
    after = 1 if field.endswith("maxUnavailable") else before - 1
    why = "so that one pod may leave at a time"
    return [Change(target=budget.target, field=field, before=before, after=after, reason=why)]


def _allows_nothing(budget: Object) -> Finding:
    path = "status.disruptionsAllowed"
    return finding(
        "budgets.allows-nothing",
        HINT,
        f"{budget.name} allows no disruption",
        f"{budget} allows no disruption now, though all its pods are healthy.",
        [budget.cite(path)],
    )
