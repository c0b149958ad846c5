"""Ways in to a workload, Ingresses and routes alike: where they lead, what a broken one proves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from faultline.diagnosis.documents import at, items, mapping, number, text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.inventory import absent, find
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import HINT, PROVED, finding, one_line, restore
from faultline.model import Certainty, Finding

ROUTES = ("HTTPRoute", "GRPCRoute")


@dataclass(frozen=True)
class Backend:
    """A Service that a way in leads to: where it says so, and the port by number or name."""

    path: str
    namespace: str
    name: str
    port: int | str

    def service(self, facts: Facts) -> Object | None:
        return find(facts, "Service", self.namespace, self.name)

    def has_port(self, service: Object) -> bool:
        ports = items(service.get("spec.ports"))
        named = isinstance(self.port, str)
        have = [text(p.get("name")) if named else number(p.get("port")) for p in ports]
        return not self.port or not ports or self.port in have


def backends(way: Object) -> Iterator[Backend]:
    """Yield the Services that an Ingress or a route leads to."""
    yield from _of_route(way) if way.kind in ROUTES else _of_ingress(way)


def _of_ingress(ingress: Object) -> Iterator[Backend]:
    places = ["spec.defaultBackend.service"]
    for r, rule in enumerate(items(ingress.get("spec.rules"))):
        for p, _ in enumerate(items(at(rule, "http.paths"))):
            places.append(f"spec.rules[{r}].http.paths[{p}].backend.service")
    for place in places:
        if backend := mapping(ingress.get(place)):
            port = mapping(backend.get("port"))
            asked = text(port.get("name")) or number(port.get("number"))
            yield Backend(place, ingress.namespace, text(backend.get("name")), asked)


def _of_route(route: Object) -> Iterator[Backend]:
    for r, rule in enumerate(items(route.get("spec.rules"))):
        for b, reference in enumerate(items(rule.get("backendRefs"))):
            if text(reference.get("kind")) in ("", "Service"):
                space = text(reference.get("namespace")) or route.namespace
                path, port = f"spec.rules[{r}].backendRefs[{b}]", number(reference.get("port"))
                yield Backend(path, space, text(reference.get("name")), port)


def certainty_of(facts: Facts, way: Object, most: Certainty, *, partly: bool = False) -> Certainty:
    """A broken way in is the cause only if what it leads to is well and no other leads there.

    With `partly` only one of its own backends is broken; another that is well counts too.
    """
    ways = [o for kind in ("Ingress", *ROUTES) for o in facts.of(kind) if partly or o is not way]
    well = all(w.ready for w in facts.workloads)
    return most if well and not any(_leads(facts, o) for o in ways) else HINT


def _leads(facts: Facts, way: Object) -> bool:
    """It is served, as far as is known, and leads to a Service that is there, at a port it has."""
    if absent(facts, "IngressClass", "", text(way.get("spec.ingressClassName"))):
        return False
    if way.kind in ROUTES and not _is_taken(facts, way):
        return False
    found = ((b, b.service(facts)) for b in backends(way))
    return any(service is not None and b.has_port(service) for b, service in found)


def _is_taken(facts: Facts, route: Object) -> bool:
    parents = (
        find(facts, "Gateway", text(p.get("namespace")) or route.namespace, text(p.get("name")))
        for p in items(route.get("spec.parentRefs"))
    )
    gateways = [g for g in parents if g and _is_up(facts, g)]
    said = (
        text(c.get("status"))
        for p in items(route.get("status.parents"))
        for c in items(p.get("conditions"))
    )
    return bool(gateways) and "False" not in said


def _is_up(facts: Facts, gateway: Object) -> bool:
    bad = (text(c.get("status")) == "False" for c in gateway.items("status.conditions"))
    kind = text(gateway.get("spec.gatewayClassName"))
    return not any(bad) and not absent(facts, "GatewayClass", "", kind)


def port_missing(facts: Facts, family: str, way: Object, backend: Backend) -> Iterator[Finding]:
    # proved because: it asks for a port of a Service, the Service has no such port, and there is no
    # other way in that leads on.
    service = backend.service(facts)
    if service is None or backend.has_port(service):
        return
    ports, asked = items(service.get("spec.ports")), backend.port
    have = [text(p.get("name")) if isinstance(asked, str) else text(p.get("port")) for p in ports]
    near = nearest(asked, have) if isinstance(asked, str) else have[0] if len(have) == 1 else ""
    there = ", ".join(sorted(filter(None, have))) or "none of a name"
    yield finding(
        f"{family}.port-missing",
        certainty_of(facts, way, PROVED, partly=True),
        f"{way.kind} {way.name} asks Service {service.name} for a port it does not have",
        f"{way} sends to port {one_line(asked, 40)} of {service}, which has {one_line(there)}.",
        [way.cite(f"{backend.path}.port"), service.cite("spec.ports")],
        rules_out=("probes",),
        actions=[restore(f"Send to {near or 'a port it has'}.", f"{way} leads to its Service.")],
    )
