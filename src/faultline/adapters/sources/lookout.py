"""Asking a cluster for objects, each list once, with an account of what was seen and refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from faultline.errors import FaultlineError

Object = dict[str, Any]

EVERYWHERE = "*"  # instead of a namespace: the objects of all of them
CLUSTER_WIDE = frozenset(
    {
        "Node", "PersistentVolume", "StorageClass", "Namespace", "IngressClass", "GatewayClass",
        "APIService", "AdminNetworkPolicy", "ClusterNetworkPolicy", "GlobalNetworkPolicy",
        "CiliumClusterwideNetworkPolicy",
    }
)  # fmt: skip


@dataclass
class Lookout:
    """Asks for objects, each kind of a namespace once; keeps account of what could be seen."""

    cluster: Any  # cluster.Cluster
    namespace: str
    seen: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _answers: dict[tuple[str, str], Sequence[Object]] = field(default_factory=dict)

    def all(self, kind: str, namespace: str = "") -> Sequence[Object]:
        """Return the objects of a kind, by name; none if we may not see them.

        Without a namespace those of the fault's own; with EVERYWHERE those of all namespaces.
        """
        scope = "" if kind in CLUSTER_WIDE else namespace or self.namespace
        if (kind, scope) not in self._answers:
            told = kind if scope in ("", self.namespace) else f"{kind} in {scope}"
            try:
                found = sorted(self.cluster.objects(kind, scope), key=name_of)
                self.seen[told] = len(found)
            except FaultlineError as error:
                self.refused[told], found = str(error), []
            self._answers[kind, scope] = found
        return self._answers[kind, scope]

    def one(self, kind: str, name: str, namespace: str = "") -> Object | None:
        return next((o for o in self.all(kind, namespace) if name_of(o) == name), None)

    def saw(self, kind: str, namespace: str) -> bool:
        """Say whether the list of this kind was read, so that what is not on it is not there."""
        own = kind in CLUSTER_WIDE or namespace in ("", self.namespace)
        return (kind if own else f"{kind} in {namespace}") in self.seen


class Found(NamedTuple):
    """An object and the part that it plays; without a value it is named, and not there."""

    role: str
    kind: str
    name: str
    value: Object | None
    namespace: str = ""  # of what is not there; empty: the fault's own, or none


def found(role: str, value: Object) -> Found:
    return Found(role, str(value["kind"]), name_of(value), value, space_of(value))


def name_of(value: Object) -> str:
    return str(value["metadata"]["name"])


def space_of(value: Object) -> str:
    return str(value["metadata"].get("namespace") or "")
