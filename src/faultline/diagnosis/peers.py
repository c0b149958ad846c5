"""Whom a workload talks to: the Service behind a host, its pods, and which of their ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faultline.diagnosis.attempts import Attempt
from faultline.diagnosis.documents import items, mapping, number, text
from faultline.diagnosis.facts import Object, Workload
from faultline.diagnosis.inventory import alive, find, ready, within
from faultline.diagnosis.policies import End, Flow, matches
from faultline.diagnosis.workloads import Around

# Services that answer for DNS, and the labels of the pods that do: kubeadm, OpenShift, RKE2.
DNS = ("kube-dns", "coredns", "dns-default", "rke2-coredns-rke2-coredns")
DNS_LABELS = ("kube-dns", "node-local-dns")


@dataclass(frozen=True)
class Peer:
    """A Service that a workload asks, with the pods it leads to."""

    service: Object
    pods: tuple[Object, ...]
    index: int  # of the port within the Service; -1: it has no such port

    @property
    def port(self) -> dict[str, Any]:
        ports = items(self.service.get("spec.ports"))
        return ports[self.index] if 0 <= self.index < len(ports) else {}

    @property
    def ready(self) -> tuple[Object, ...]:
        return tuple(p for p in self.pods if ready(p))

    @property
    def headless(self) -> bool:
        return text(self.service.get("spec.clusterIP")) == "None"


def peer_of(facts: Around, attempt: Attempt) -> Peer | None:
    """Return the Service that a connection was meant for; None if the capsule knows none."""
    service = service_of(facts, attempt.part.workload.object.namespace, attempt.host)
    if service is None or service.get("spec.type") == "ExternalName":
        return None
    ports = items(service.get("spec.ports"))
    fits = (
        i
        for i, p in enumerate(ports)
        if number(p.get("port")) == attempt.port and text(p.get("protocol")) in ("", "TCP")
    )
    return Peer(service, pods_of(facts, service), next(fits, -1))


def service_of(facts: Around, namespace: str, host: str) -> Object | None:
    """Find a Service by what programs call it: name, name and namespace, full name, address."""
    by_address = (s for s in facts.of("Service") if s.get("spec.clusterIP") == host)
    if found := next(by_address, None):
        return found
    name, space = split(host, namespace)
    return find(facts, "Service", space, name) if name else None


def split(host: str, namespace: str) -> tuple[str, str]:
    """Return name and namespace of the Service that a host stands for; empty if it stands for none.

    `db`, `db.data`, `db.data.svc`, `db.data.svc.cluster.local` and one pod's `db-0.db.data.svc` do;
    `db.example.com` does not.
    """
    parts = host.rstrip(".").split(".")
    parts = parts[1:] if parts[3:4] == ["svc"] else parts
    if len(parts) == 1:
        return parts[0], namespace
    inside = len(parts) == 2 or parts[2] == "svc"
    return (parts[0], parts[1]) if inside else ("", "")


def pods_of(facts: Around, service: Object) -> tuple[Object, ...]:
    selector = mapping(service.get("spec.selector"))
    if not selector:
        return ()
    pods = within(facts, "Pod", service.namespace)
    equal = {"matchLabels": selector}
    return tuple(alive(p for p in pods if matches(equal, mapping(p.get("metadata.labels")))))


def flows(facts: Around, workload: Workload, peer: Peer, protocol: str = "TCP") -> list[Flow]:
    """Return the connection to each ready pod of the Service, as policies see it."""
    source = _end_of_workload(facts, workload)
    address = text(peer.service.get("spec.clusterIP"))
    ends = ((p, end_of(facts, p, address)) for p in peer.ready)
    return [
        Flow(source, end, port, protocol)
        for pod, end in ends
        if (port := target_port(peer.port, end, protocol))
    ]


def target_port(entry: dict[str, Any], end: End, protocol: str = "TCP") -> int:
    """Return which port of a pod a Service's port leads to; 0 if the pod has none of that name."""
    target = entry.get("targetPort", entry.get("port"))
    if isinstance(target, str) and not target.isdigit():
        return end.ports.get((target, protocol), 0)
    digits = text(target)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0


def _end_of_workload(facts: Around, workload: Workload) -> End:
    pod = next(iter(workload.pods), None)
    labels = mapping(pod.get("metadata.labels") if pod else workload.get("metadata.labels"))
    return End(
        namespace=workload.object.namespace,
        labels=labels,
        space=labels_of(facts, workload.object.namespace),
        addresses=tuple(filter(None, (text(p.get("status.podIP")) for p in workload.pods))),
        on_host=workload.get("spec.hostNetwork") is True,
    )


def end_of(facts: Around, pod: Object, *more: str) -> End:
    """Return a pod as policies see it; `more` are addresses that lead to it too."""
    address = text(pod.get("status.podIP"))
    return End(
        namespace=pod.namespace,
        labels=mapping(pod.get("metadata.labels")),
        space=labels_of(facts, pod.namespace),
        addresses=tuple(a for a in (address, *more) if a and a != "None"),
        ports={
            (text(p.get("name")), text(p.get("protocol")) or "TCP"): number(p.get("containerPort"))
            for p in declared(pod)
            if text(p.get("name"))
        },
        on_host=pod.get("spec.hostNetwork") is True,
    )


def labels_of(facts: Around, namespace: str) -> dict[str, Any] | None:
    found = find(facts, "Namespace", "", namespace)
    return mapping(found.get("metadata.labels")) if found else None


def declared(pod: Object) -> list[dict[str, Any]]:
    """Return the ports that the containers of a pod say they have."""
    return [p for c in items(pod.get("spec.containers")) for p in items(c.get("ports"))]


def shown(service: Object, workload: Workload) -> str:
    """Name a Service for a sentence, with its namespace if that is another one."""
    own = service.namespace == workload.object.namespace
    return f"Service {service.name}" if own else f"Service {service.namespace}/{service.name}"


def dns(facts: Around) -> Sequence[Peer]:
    """Return the Services that answer for DNS, with their pods."""
    found = (s for s in facts.of("Service") if s.name in DNS and s.namespace != "default")
    return [Peer(s, pods_of(facts, s), _dns_port(s)) for s in found]


def _dns_port(service: Object) -> int:
    ports = enumerate(items(service.get("spec.ports")))
    fits = (i for i, p in ports if p.get("port") == 53 and p.get("protocol") == "UDP")
    return next(fits, -1)
