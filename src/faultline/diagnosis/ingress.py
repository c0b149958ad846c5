"""Ingresses that lead nowhere: class, backend Service, its port, the Secret of the certificate.

Secrets are not read. That one is missing, the capsule may know from the list of names, if that was
recorded, or from the Certificate that should make it (`certificates.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from faultline.diagnosis.documents import at, items, mapping, number, text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.inventory import absent, find, within
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import HINT, LIKELY, PROVED, finding, one_line, restore
from faultline.model import Certainty, Evidence, Finding

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_OLD_CLASS = "kubernetes.io/ingress.class"


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what an Ingress names that is not there."""
    for ingress in facts.of("Ingress"):
        yield from _class(facts, ingress)
        for path, backend in _backends(ingress):
            yield from _backend(facts, ingress, path, backend)
        for index, entry in enumerate(items(ingress.get("spec.tls"))):
            name = text(entry.get("secretName"))
            gone = absent(facts, "Secret", ingress.namespace, name) if name else None
            made = any(text(c.get("spec.secretName")) == name for c in facts.of("Certificate"))
            if gone and not made:
                field = f"spec.tls[{index}].secretName"
                yield _names(
                    facts, Wrong(ingress, field, "Secret", name), gone, "tls-secret-missing"
                )


@dataclass(frozen=True)
class Wrong:
    """A field that names what is not there."""

    object: Object
    field: str
    kind: str
    name: str

    @property
    def space(self) -> str:
        return "" if self.kind.endswith("Class") else self.object.namespace


def when_ready(facts: Facts, certainty: Certainty) -> Certainty:
    """A way in that is broken is the cause only if what it leads to is well."""
    return certainty if all(w.ready for w in facts.workloads) else HINT


def _names(facts: Facts, wrong: Wrong, gone: Evidence, name: str) -> Finding:
    # proved because: the object names it, and the cluster was asked for it and does not have it.
    near = nearest(wrong.name, (o.name for o in within(facts, wrong.kind, wrong.space)))
    beside = find(facts, wrong.kind, wrong.space, near) if near else None
    well = f"{wrong.object} leads to its Service."
    return finding(
        f"ingress.{name}",
        when_ready(
            facts, LIKELY if _is_served(wrong.object) and wrong.kind == "IngressClass" else PROVED
        ),
        f"Ingress {wrong.object.name} names a missing {wrong.kind} {one_line(wrong.name)}",
        f"{wrong.object} names the {wrong.kind} {one_line(wrong.name)}, which does not exist."
        + (f" There is {near}, one or two letters away." if near else ""),
        [wrong.object.cite(wrong.field), gone, beside.cite("metadata.name") if beside else None],
        rules_out=("probes",),
        actions=[restore(f"Name {near}." if near else f"Create the {wrong.kind}.", well)],
    )


def _is_served(ingress: Object) -> bool:
    """A controller has given it an address."""
    return bool(ingress.get("status.loadBalancer.ingress"))


def _class(facts: Facts, ingress: Object) -> Iterator[Finding]:
    name, field = text(ingress.get("spec.ingressClassName")), "spec.ingressClassName"
    notes = mapping(ingress.get("metadata.annotations"))
    if name:
        if gone := absent(facts, "IngressClass", "", name):
            yield _names(facts, Wrong(ingress, field, "IngressClass", name), gone, "class-missing")
        return
    classes = facts.of("IngressClass")
    default = any(
        text(mapping(c.get("metadata.annotations")).get(_DEFAULT)) == "true" for c in classes
    )
    if classes and not default and not notes.get(_OLD_CLASS) and not _is_served(ingress):
        there = ", ".join(one_line(c.name, 40) for c in classes[:3])
        yield finding(
            "ingress.no-class",
            when_ready(facts, LIKELY),
            f"Ingress {ingress.name} names no class, and none is the default",
            f"{ingress} names no class, no IngressClass is the default, and no controller has "
            f"given it an address. There is {there}.",
            [ingress.cite("spec"), classes[0].cite("metadata.name")],
            actions=[restore(f"Name a class: {there}.", f"{ingress} has an address.")],
        )


def _backends(ingress: Object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place of each backend Service and what it says."""
    places = ["spec.defaultBackend.service"]
    for r, rule in enumerate(items(ingress.get("spec.rules"))):
        for p, _ in enumerate(items(at(rule, "http.paths"))):
            places.append(f"spec.rules[{r}].http.paths[{p}].backend.service")
    for place in places:
        if backend := mapping(ingress.get(place)):
            yield place, backend


def _backend(
    facts: Facts, ingress: Object, path: str, backend: dict[str, Any]
) -> Iterator[Finding]:
    name, port = text(backend.get("name")), mapping(backend.get("port"))
    service = find(facts, "Service", ingress.namespace, name)
    if service is None:
        if gone := absent(facts, "Service", ingress.namespace, name):
            wrong = Wrong(ingress, f"{path}.name", "Service", name)
            yield _names(facts, wrong, gone, "service-missing")
        return
    asked = text(port.get("name")) or number(port.get("number"))
    ports = items(service.get("spec.ports"))
    have = [text(p.get("name")) if isinstance(asked, str) else number(p.get("port")) for p in ports]
    if asked and ports and asked not in have:
        yield port_missing(facts, "ingress", ingress, f"{path}.port", service, asked)


def port_missing(
    facts: Facts, family: str, route: Object, field: str, service: Object, asked: str | int
) -> Finding:
    # proved because: the route asks for a port of a Service, and the Service has no such port.
    ports = items(service.get("spec.ports"))
    have = [text(p.get("name")) if isinstance(asked, str) else text(p.get("port")) for p in ports]
    near = nearest(asked, have) if isinstance(asked, str) else have[0] if len(have) == 1 else ""
    there = ", ".join(filter(None, have)) or "none of a name"
    return finding(
        f"{family}.port-missing",
        when_ready(facts, PROVED),
        f"{route.kind} {route.name} asks Service {service.name} for a port it does not have",
        f"{route} sends to port {one_line(asked, 40)} of {service}, which has {one_line(there)}.",
        [route.cite(field), service.cite("spec.ports")],
        rules_out=("probes",),
        actions=[restore(f"Send to {near or 'a port it has'}.", f"{route} leads to its Service.")],
    )
