"""How requests come in: Ingresses, routes of the Gateway API, and what those name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from faultline.adapters.sources.lookout import Found, Lookout, found, name_of
from faultline.adapters.sources.references import backends

Object = dict[str, Any]

CLASSES_MAX = 10
ROUTES = ("HTTPRoute", "GRPCRoute")
WAYS_IN = ("Service", "Ingress", *ROUTES)


def behind(value: Object, look: Lookout) -> Object | None:
    """Return a pod that a Service, Ingress or route leads to, or the workload of its name."""
    spec, kind = value.get("spec") or {}, value.get("kind")
    names = {name_of(value)} if kind == "Service" else set(backends(spec))
    names |= {str(r.get("name")) for rule in _rules(kind, spec) for r in _references(rule)}
    services = [s for n in sorted(names) if (s := look.one("Service", n))]
    selectors = [(s.get("spec") or {}).get("selector") for s in services]
    for pod in look.all("Pod"):
        if any(selects(s, pod["metadata"].get("labels") or {}) for s in selectors):
            return pod
    kinds = ("Deployment", "StatefulSet", "DaemonSet")
    return next((w for n in sorted(names) for k in kinds if (w := look.one(k, n))), None)


def _rules(kind: Any, spec: Object) -> Sequence[Object]:
    return spec.get("rules") or () if kind in ROUTES else ()


def _references(rule: Object) -> Sequence[Object]:
    return rule.get("backendRefs") or ()


def ingresses(workload: Object, services: Sequence[Object], look: Lookout) -> Iterator[Found]:
    """Yield the Ingresses that lead to a workload, or to a Service that is not there but is called
    like one of its own, with class, Services and TLS Secrets."""
    for ingress in look.all("Ingress"):
        spec = ingress.get("spec") or {}
        if ingress is not workload and not _leads(set(backends(spec)), workload, services, look):
            continue
        yield found("ingress", ingress)
        for name in dict.fromkeys(backends(spec)):
            yield Found("backend", "Service", name, look.one("Service", name))
        if class_ := spec.get("ingressClassName"):
            yield Found("class", "IngressClass", class_, look.one("IngressClass", class_))
        yield from (found("class", c) for c in look.all("IngressClass")[:CLASSES_MAX])
        for entry in spec.get("tls") or ():
            if name := entry.get("secretName"):
                yield Found("secret", "Secret", name, look.one("Secret", name))


def routes(workload: Object, services: Sequence[Object], look: Lookout) -> Iterator[Found]:
    """Yield the routes that lead to a workload, with their Gateways, classes and Services."""
    for kind in ROUTES:
        for route in look.all(kind):
            spec = route.get("spec") or {}
            targets = [r for rule in _rules(kind, spec) for r in _references(rule)]
            own = {str(r.get("name")) for r in targets if _is_own(r, look.namespace)}
            if route is workload or _leads(own, workload, services, look):
                yield found("route", route)
                yield from _targets(targets, look)
                yield from _parents(spec.get("parentRefs") or (), look)


def _is_own(reference: Object, namespace: str) -> bool:
    return reference.get("kind", "Service") == "Service" and reference.get(
        "namespace", namespace
    ) in (namespace, "")


def _targets(references: Sequence[Object], look: Lookout) -> Iterator[Found]:
    for reference in references:
        if reference.get("kind", "Service") == "Service" and reference.get("name"):
            name, space = str(reference["name"]), str(reference.get("namespace") or look.namespace)
            yield Found("backend", "Service", name, look.one("Service", name, space), space)


def _parents(references: Sequence[Object], look: Lookout) -> Iterator[Found]:
    for reference in references:
        if reference.get("kind", "Gateway") != "Gateway" or not reference.get("name"):
            continue
        name, space = str(reference["name"]), str(reference.get("namespace") or look.namespace)
        gateway = look.one("Gateway", name, space)
        yield Found("gateway", "Gateway", name, gateway, space)
        if gateway is None:
            yield from (found("similar", g) for g in _near(name, look.all("Gateway", space)))
        elif class_ := (gateway.get("spec") or {}).get("gatewayClassName"):
            yield Found("class", "GatewayClass", class_, look.one("GatewayClass", class_))
            yield from (found("class", c) for c in look.all("GatewayClass")[:CLASSES_MAX])


def _leads(names: set[str], workload: Object, services: Sequence[Object], look: Lookout) -> bool:
    """Say whether one of these Services is the workload's, or is missing and called nearly so."""
    own = {name_of(s) for s in services}
    gone = {n for n in names if not look.one("Service", n)}
    meant = own | {name_of(workload)}
    return bool(names & own) or any(
        difflib.get_close_matches(n, meant, n=1, cutoff=0.8) for n in gone
    )


def selects(selector: Object | None, labels: Object) -> bool:
    return bool(selector) and all(labels.get(k) == v for k, v in (selector or {}).items())


def _near(name: str, values: Sequence[Object]) -> list[Object]:
    there = {name_of(v): v for v in values}
    return [there[n] for n in difflib.get_close_matches(name, there, n=3, cutoff=0.6)]
