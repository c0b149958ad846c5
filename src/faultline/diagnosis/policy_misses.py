"""What network policies nearly allow: rules that miss by a label or a port, or have no pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from faultline.diagnosis.documents import child, items, mapping, text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.inventory import knows_all, within
from faultline.diagnosis.policies import (
    INGRESS,
    End,
    Flow,
    directions,
    matches,
    peers_match,
    port_matches,
    rules,
)
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import HINT, finding, one_line, restore
from faultline.model import Evidence, Finding


@dataclass(frozen=True)
class Miss:
    """A rule, or a policy, that would allow a connection but for one label or port."""

    words: str
    advice: str
    evidence: Evidence | None


def misses(policies: Sequence[Object], flow: Flow, direction: str) -> list[Miss]:
    """Return how policies nearly allow a connection, those that select the pods first."""
    end = flow.target if direction == INGRESS else flow.source
    own = [p for p in policies if p.namespace == end.namespace and direction in directions(p)]
    selecting = [p for p in own if matches(mapping(p.get("spec.podSelector")), end.labels)]
    found = [m for p in selecting for m in _rules(p, flow, direction)]
    others = (p for p in own if p not in selecting)
    return found + [m for p in others for m in _selector(p, end, flow, direction)]


def _rules(policy: Object, flow: Flow, direction: str) -> Iterator[Miss]:
    key = "from" if direction == INGRESS else "to"
    other = flow.source if direction == INGRESS else flow.target
    for index, rule in enumerate(rules(policy, direction)):
        path = f"spec.{direction.lower()}[{index}]"
        if not port_matches(rule, flow):
            if peers_match(policy, rule, flow, direction):
                yield Miss(
                    f"{policy} allows these pods, but not port {flow.port}.",
                    f"Allow {flow.protocol} port {flow.port} in {policy}, {path}.ports.",
                    policy.cite(f"{path}.ports"),
                )
            continue
        for place, peer in enumerate(items(rule.get(key))):
            for name, labels in (("podSelector", other.labels), ("namespaceSelector", other.space)):
                at = f"{path}.{key}[{place}].{name}"
                yield from _label(policy, at, mapping(peer.get(name)), labels or {})


def _selector(policy: Object, end: End, flow: Flow, direction: str) -> Iterator[Miss]:
    """A policy that would allow it and misses the pods that it is for."""
    fits = (
        port_matches(rule, flow) and peers_match(policy, rule, flow, direction)
        for rule in rules(policy, direction)
    )
    if any(fits):
        selector = mapping(policy.get("spec.podSelector"))
        yield from _label(policy, "spec.podSelector", selector, end.labels)


def _label(
    policy: Object, path: str, selector: dict[str, Any], labels: dict[str, Any]
) -> Iterator[Miss]:
    """The one label of a selector that differs, if it differs by an edit or two."""
    wanted = mapping(selector.get("matchLabels"))
    wrong = [k for k, v in wanted.items() if labels.get(k) != v]
    if len(wrong) != 1 or items(selector.get("matchExpressions")):
        return
    asked, has = text(wanted[wrong[0]]), text(labels.get(wrong[0]))
    if asked and has and nearest(asked, {has}) == has:
        key = one_line(wrong[0])
        at = child(f"{path}.matchLabels", wrong[0])
        yield Miss(
            f"{policy} selects {key}={one_line(asked)}; the label is {key}={one_line(has)}.",
            f"Select {key}={one_line(has)} in {policy}, {at}.",
            policy.cite(at),
        )


def idle(facts: Facts, policies: Sequence[Object]) -> Iterator[Finding]:
    """Policies that select no pod and miss a workload's by one label; a hint, nothing fails yet."""
    for workload in facts.workloads:
        space = workload.object.namespace
        labels = mapping(workload.get("metadata.labels"))
        pods = within(facts, "Pod", space) if knows_all(facts, "Pod", space) else []
        for policy in policies if pods else ():
            selector = mapping(policy.get("spec.podSelector"))
            used = any(matches(selector, mapping(p.get("metadata.labels"))) for p in pods)
            if policy.namespace != space or used:
                continue
            for miss in _label(policy, "spec.podSelector", selector, labels):
                yield finding(
                    "network_policy.no-pods",
                    HINT,
                    f"NetworkPolicy {policy.name} selects no pod",
                    f"{policy} selects no pod. {miss.words}",
                    [miss.evidence, workload.cite("metadata.labels")],
                    actions=[restore(miss.advice, f"{policy} selects the pods of {workload}.")],
                )
