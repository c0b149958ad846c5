"""What stands on the way to and from a workload's pods: policies, routes, certificates, peers.

Whom the pods talk to, their logs say: only lines that tell of trouble are looked at, and only what
those name is gathered: the Service, its pods, and the network policies of both namespaces, all of
them, because one that is not seen might allow the connection. Secrets are never asked for here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from faultline.adapters.sources.lookout import EVERYWHERE, Found, Lookout, found, name_of, space_of
from faultline.adapters.sources.references import secrets_of
from faultline.adapters.sources.routes import ingresses, routes, selects
from faultline.diagnosis.peers import DNS, DNS_LABELS
from faultline.diagnosis.policies import OTHERS

Object = dict[str, Any]

PEERS_MAX = 5
PEER_PODS_MAX = 5
POLICIES_MAX = 30
_TROUBLE = re.compile(
    r"(?i)time[d-]? ?out|refused|no such host|not resolve|resolution|ENOTFOUND|EAI_AGAIN|ETIMEDOUT"
    r"|unknown ?host|translate host|x509|certificate|unable to handle the request"
)
_RESOLVING = re.compile(
    r"(?i)no such host|resol|ENOTFOUND|EAI_AGAIN|unknown ?host|translate host|lookup "
)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def network(
    workload: Object, specs: Sequence[Object], services: Sequence[Object], logs: str, look: Lookout
) -> Iterator[Found]:
    """Yield what is on the way to the Services of a workload, and to whom its logs complain of."""
    yield from _policies(look.namespace, look)
    routed = list(routes(workload, services, look)) + list(ingresses(workload, services, look))
    yield from routed
    lines = [line for line in logs.splitlines() if _TROUBLE.search(line)]
    yield from _talked_to(lines, look)
    named = {name for spec in specs for name in secrets_of(spec)}
    named |= {n for f in routed if f.value for n in secrets_of(f.value.get("spec") or {})}
    yield from _certificates(named, lines, look)
    if any("unable to handle the request" in line for line in lines) or _unscaled(workload, look):
        yield from (found("api", a) for a in look.all("APIService") if not _is_up(a))


def endpoints(service: Object, look: Lookout) -> Iterator[Found]:
    """Yield what says which pods are behind a Service."""
    name, space = name_of(service), space_of(service)
    yield from (found("endpoints", e) for e in look.all("Endpoints", space) if name_of(e) == name)
    for piece in look.all("EndpointSlice", space):
        if (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name:
            yield found("endpoints", piece)


def _policies(namespace: str, look: Lookout) -> Iterator[Found]:
    for policy in look.all("NetworkPolicy", namespace)[:POLICIES_MAX]:
        yield found("network-policy", policy)


def _talked_to(lines: Sequence[str], look: Lookout) -> Iterator[Found]:
    """Yield the Services that lines of trouble name, and what is between."""
    hosts = {host for line in lines for host in _HOST.findall(line.lower())}
    if not hosts:
        return
    services = look.all("Service", EVERYWHERE) or look.all("Service")
    asks_dns = any(_RESOLVING.search(line) for line in lines)
    called = [s for s in services if _is_called(s, hosts, look.namespace)]
    peers = sorted(called, key=lambda s: name_of(s) in hosts)[:PEERS_MAX]  # words are less exact
    peers += [s for s in services if asks_dns and name_of(s) in DNS and space_of(s) != "default"]
    for peer in peers:
        yield from _peer(peer, look)
    if peers:
        yield from _spaces({look.namespace, *map(space_of, peers)}, look)
    if asks_dns:
        unresolved = (line for line in lines if _RESOLVING.search(line))
        yield from _alike({h for line in unresolved for h in _HOST.findall(line.lower())}, look)


def _is_called(service: Object, hosts: set[str], namespace: str) -> bool:
    """Say whether one of the names or addresses in the logs is this Service's."""
    name, space, spec = name_of(service), space_of(service), service.get("spec") or {}
    if spec.get("clusterIP") in hosts or (space == namespace and name in hosts):
        return True
    full = f"{name}.{space}"
    return any(h == full or h.startswith(f"{full}.svc") or f".{full}.svc" in h for h in hosts)


def _peer(service: Object, look: Lookout) -> Iterator[Found]:
    space, spec = space_of(service), service.get("spec") or {}
    yield found("peer", service)
    yield from endpoints(service, look)
    behind = (
        p for p in look.all("Pod", space)
        if selects(spec.get("selector"), _labels(p))
        or (name_of(service) in DNS and _labels(p).get("k8s-app") in DNS_LABELS)
    )  # fmt: skip
    yield from (found("peer", _outline(p)) for p in islice(behind, PEER_PODS_MAX))
    yield from _policies(space, look)
    if look.all("NetworkPolicy", space) or look.all("NetworkPolicy"):
        for kind in OTHERS:  # only their number matters
            look.all(kind, space)
            look.all(kind)


def _outline(pod: Object) -> Object:
    """Return another workload's pod without its variables, arguments and volumes."""
    spec, container = pod.get("spec") or {}, ("name", "image", "ports", "resources")
    kept = [{k: c[k] for k in container if k in c} for c in spec.get("containers") or ()]
    shown = {k: spec[k] for k in ("hostNetwork", "nodeName") if k in spec}
    return pod | {"spec": shown | {"containers": kept}}


def _labels(value: Object) -> Object:
    return value["metadata"].get("labels") or {}


def _spaces(names: set[str], look: Lookout) -> Iterator[Found]:
    yield from (Found("namespace", "Namespace", n, look.one("Namespace", n)) for n in sorted(names))


def _alike(hosts: set[str], look: Lookout) -> Iterator[Found]:
    """Yield Services with nearly the name that cannot be resolved, here or in another namespace."""
    own = {name_of(s): s for s in look.all("Service")}
    elsewhere = look.all("Service", EVERYWHERE)
    for host in sorted(hosts):
        name, _, rest = host.partition(".")
        near = difflib.get_close_matches(name, own, n=2, cutoff=0.6)
        yield from (found("similar", own[n]) for n in near)
        named = [s for s in elsewhere if name_of(s) == name][:PEERS_MAX]
        yield from (found("similar", s) for s in named)
        space = rest.split(".")[0]
        if named and space and not look.one("Namespace", space):
            yield Found("namespace", "Namespace", space, None)


def _certificates(secrets: set[str], lines: Sequence[str], look: Lookout) -> Iterator[Found]:
    """Yield cert-manager's Certificates for Secrets that are used, and for hosts that are asked."""
    told = [line for line in lines if re.search(r"(?i)x509|certificate|PKIX", line)]
    hosts = {host for line in told for host in _HOST.findall(line.lower())}
    if not secrets and not hosts:
        return
    for certificate in look.all("Certificate", EVERYWHERE if hosts else ""):
        spec = certificate.get("spec") or {}
        own = space_of(certificate) == look.namespace and spec.get("secretName") in secrets
        if own or hosts & {str(n).lower() for n in spec.get("dnsNames") or ()}:
            yield found("certificate", certificate)


def _unscaled(workload: Object, look: Lookout) -> bool:
    """Say whether an autoscaler of the workload gets no measurements."""
    scalers = (
        s for s in look.all("HorizontalPodAutoscaler")
        if ((s.get("spec") or {}).get("scaleTargetRef") or {}).get("name") == name_of(workload)
    )  # fmt: skip
    return any(_says(s, "ScalingActive", "False") for s in scalers)


def _is_up(service: Object) -> bool:
    return _says(service, "Available", "True")


def _says(value: Object, condition: str, status: str) -> bool:
    conditions = (value.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == condition and c.get("status") == status for c in conditions)
