"""What NetworkPolicies allow: an evaluator of networking.k8s.io/v1, pure.

Source: the field documentation of NetworkPolicySpec and of metav1.LabelSelector. Answers are True,
False, or None where the rules leave it open: an `ipBlock` that holds the address of a pod or a
Service counts before or after the address is rewritten, as the network plugin likes, and labels of
a namespace that the capsule does not have cannot be compared.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from faultline.diagnosis.documents import items, listed, mapping, text
from faultline.diagnosis.facts import Object

INGRESS, EGRESS = "Ingress", "Egress"
# Kinds that may allow or deny what a NetworkPolicy does not: where there are any, nothing is sure.
OTHERS = (
    "AdminNetworkPolicy",
    "ClusterNetworkPolicy",
    "CiliumNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "CalicoNetworkPolicy",
    "GlobalNetworkPolicy",
)
NAME_LABEL = "kubernetes.io/metadata.name"  # set by the API server in every namespace


@dataclass(frozen=True)
class End:
    """One end of a connection: pods that policies cannot tell apart."""

    namespace: str
    labels: dict[str, Any]
    space: dict[str, Any] | None = None  # labels of the namespace; None: not known
    addresses: tuple[str, ...] = ()
    ports: dict[tuple[str, str], int] = field(default_factory=dict)  # name, protocol -> number
    on_host: bool = False  # shares the node's network: policies do not speak of it


@dataclass(frozen=True)
class Flow:
    """A connection: who opens it, to whom, to which port of the pod."""

    source: End
    target: End
    port: int
    protocol: str = "TCP"


def allowed(policies: Iterable[Object], flow: Flow, direction: str) -> bool | None:
    """Say whether the policies of one direction let a connection pass.

    Every pod that no policy isolates in this direction is open; else one rule that matches is
    enough, whichever policy it is of.
    """
    if flow.source.on_host or flow.target.on_host:
        return None
    answers = [
        rule_allows(policy, rule, flow, direction)
        for policy in isolating(policies, flow, direction)
        for rule in rules(policy, direction)
    ]
    if not any(True for _ in isolating(policies, flow, direction)) or True in answers:
        return True
    return None if None in answers else False


def isolating(policies: Iterable[Object], flow: Flow, direction: str) -> list[Object]:
    """Return the policies that select the pods of the end they speak for."""
    end = flow.target if direction == INGRESS else flow.source
    return [
        p
        for p in policies
        if p.namespace == end.namespace
        and direction in directions(p)
        and matches(mapping(p.get("spec.podSelector")), end.labels)
    ]


def directions(policy: Object) -> tuple[str, ...]:
    """Return what a policy is about; unsaid, it is ingress, and egress if it has rules for it."""
    said = tuple(text(t) for t in listed(policy.get("spec.policyTypes")))
    return said or ((INGRESS, EGRESS) if policy.get("spec.egress") else (INGRESS,))


def rules(policy: Object, direction: str) -> list[dict[str, Any]]:
    return items(policy.get(f"spec.{direction.lower()}"))


def rule_allows(policy: Object, rule: dict[str, Any], flow: Flow, direction: str) -> bool | None:
    """Both its ports and its peers have to match; an empty list matches everything."""
    if not port_matches(rule, flow):
        return False
    return peers_match(policy, rule, flow, direction)


def peers_match(policy: Object, rule: dict[str, Any], flow: Flow, direction: str) -> bool | None:
    peers = items(rule.get("from" if direction == INGRESS else "to"))
    other = flow.source if direction == INGRESS else flow.target
    if not peers:
        return True
    answers = [_is_peer(policy, peer, other) for peer in peers]
    return True if True in answers else None if None in answers else False


def port_matches(rule: dict[str, Any], flow: Flow) -> bool:
    """Ports are those of the pod that is connected to, not those of its Service."""
    ports = items(rule.get("ports"))
    return not ports or any(_is_port(entry, flow) for entry in ports)


def _is_port(entry: dict[str, Any], flow: Flow) -> bool:
    protocol = text(entry.get("protocol")) or "TCP"
    first, last = entry.get("port"), entry.get("endPort")
    if protocol != flow.protocol:
        return False
    if first is None:
        return True
    if isinstance(first, str) and not first.isdigit():
        return flow.target.ports.get((first, protocol)) == flow.port
    digits = text(first)
    begin = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else -1
    return begin <= flow.port <= last if isinstance(last, int) else begin == flow.port


def _is_peer(policy: Object, peer: dict[str, Any], other: End) -> bool | None:
    if "ipBlock" in peer:
        return _in_block(mapping(peer.get("ipBlock")), other)
    pods, spaces = peer.get("podSelector"), peer.get("namespaceSelector")
    if pods is not None and not matches(mapping(pods), other.labels):
        return False
    if spaces is None:
        return pods is not None and other.namespace == policy.namespace
    known = {NAME_LABEL: other.namespace} | (other.space or {})
    return _open_match(mapping(spaces), known, complete=other.space is not None)


def _in_block(block: dict[str, Any], other: End) -> bool | None:
    """Never True: whether a block counts for pods is up to the plugin."""
    try:
        network = ipaddress.ip_network(text(block.get("cidr")), strict=False)
        out = [ipaddress.ip_network(text(e), strict=False) for e in listed(block.get("except"))]
        addresses = [ipaddress.ip_address(a) for a in other.addresses]
    except ValueError:
        return None
    if not addresses:
        return None
    inside = (a in network and not any(a in block for block in out) for a in addresses)
    return None if any(inside) else False


def matches(selector: dict[str, Any], labels: dict[str, Any]) -> bool:
    """Say whether a label selector selects; an empty one selects everything."""
    equal = all(labels.get(k) == v for k, v in mapping(selector.get("matchLabels")).items())
    return equal and all(_holds(e, labels) for e in items(selector.get("matchExpressions")))


_OPERATORS: dict[str, Callable[[str | None, Sequence[Any]], bool]] = {
    "In": lambda value, values: value is not None and value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
}


def _holds(expression: dict[str, Any], labels: dict[str, Any]) -> bool:
    operator = _OPERATORS.get(text(expression.get("operator")))
    value = labels.get(text(expression.get("key")))
    return operator is not None and operator(value, listed(expression.get("values")))


def _open_match(selector: dict[str, Any], labels: dict[str, Any], *, complete: bool) -> bool | None:
    """Match labels of which some may not be known."""
    keys = set(mapping(selector.get("matchLabels")))
    keys |= {text(e.get("key")) for e in items(selector.get("matchExpressions"))}
    return matches(selector, labels) if complete or keys <= {NAME_LABEL} else None
