"""Which flows the NetworkPolicies of infra/knative let through, worked out without a cluster.

Source: kubernetes.io/docs/concepts/services-networking/network-policies.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

KNATIVE = Path(__file__).resolve().parents[1] / "infra/knative"

Values = dict[str, Any]


def manifests_of(file: str) -> list[Values]:
    return list(yaml.safe_load_all((KNATIVE / file).read_text("utf-8")))


MANIFESTS: list[Values] = [
    manifest
    for name in yaml.safe_load((KNATIVE / "kustomization.yaml").read_text("utf-8"))["resources"]
    for manifest in manifests_of(name)
]


class Pod:
    """An end of a flow inside the cluster."""

    def __init__(self, name: str, namespace: str, **labels: str) -> None:
        self.namespace, self.address = namespace, "10.42.0.7"
        self.labels = {"app.kubernetes.io/name": name}
        self.around = {"kubernetes.io/metadata.name": namespace} | labels


def rules_for(way: str, ours: Pod, manifests: Sequence[Values]) -> list[Values] | None:
    """Return the rules that hold for this Pod; None if no policy selects it: all is open."""
    mine = [
        m["spec"]
        for m in manifests
        if m["kind"] == "NetworkPolicy"
        and m["metadata"]["namespace"] == ours.namespace
        and way in m["spec"]["policyTypes"]
        and selects(m["spec"]["podSelector"], ours.labels)
    ]
    return [rule for spec in mine for rule in spec.get(way.lower()) or ()] if mine else None


def allowed(
    way: str, ours: Pod, other: Pod | str, port: int, manifests: Sequence[Values] = MANIFESTS
) -> bool:
    """Say whether the policies let this through."""
    rules = rules_for(way, ours, manifests)
    peers = "to" if way == "Egress" else "from"
    return rules is None or any(
        any(p["port"] == port for p in rule["ports"])
        and any(_is(peer, ours, other) for peer in rule[peers])
        for rule in rules
    )


def selects(selector: Values, labels: dict[str, str]) -> bool:
    plain = (selector.get("matchLabels") or {}).items()
    rules = selector.get("matchExpressions") or ()
    assert all(rule["operator"] == "In" for rule in rules)
    return all(labels.get(k) == v for k, v in plain) and all(
        labels.get(rule["key"]) in rule["values"] for rule in rules
    )


def _is(peer: Values, ours: Pod, other: Pod | str) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        address = ipaddress.ip_address(other if isinstance(other, str) else other.address)
        inside = [ipaddress.ip_network(net) for net in (block["cidr"], *block.get("except", ()))]
        return address in inside[0] and not any(address in net for net in inside[1:])
    if isinstance(other, str):
        return False
    near = "namespaceSelector" in peer or other.namespace == ours.namespace
    return (
        near
        and selects(peer.get("namespaceSelector") or {}, other.around)
        and selects(peer.get("podSelector") or {}, other.labels)
    )
