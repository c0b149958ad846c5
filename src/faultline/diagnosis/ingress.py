"""Ingresses that lead nowhere: class, backend Service, its port, the Secret of the certificate.

Secrets are not read. That one is missing, the capsule may know from the list of names, if that was
recorded, or from the Certificate that should make it (`certificates.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from faultline.diagnosis.documents import items, mapping, text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.inventory import absent, find, within
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.ways_in import backends, certainty_of, port_missing
from faultline.diagnosis.wording import LIKELY, PROVED, finding, one_line, restore
from faultline.model import Evidence, Finding

_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_OLD_CLASS = "kubernetes.io/ingress.class"


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what an Ingress names that is not there."""
    for ingress in facts.of("Ingress"):
        yield from _class(facts, ingress)
        for backend in backends(ingress):
            gone = absent(facts, "Service", backend.namespace, backend.name)
            if gone:
                wrong = Wrong(ingress, f"{backend.path}.name", "Service", backend.name)
                yield _names(facts, wrong, gone, "service-missing")
            yield from port_missing(facts, "ingress", ingress, backend)
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


def _names(facts: Facts, wrong: Wrong, gone: Evidence, name: str) -> Finding:
    # proved because: the object names it, the cluster was asked for it and does not have it, and
    # there is no other way in that leads on.
    near = nearest(wrong.name, (o.name for o in within(facts, wrong.kind, wrong.space)))
    beside = find(facts, wrong.kind, wrong.space, near) if near else None
    most = LIKELY if _is_served(wrong.object) and wrong.kind == "IngressClass" else PROVED
    well = f"{wrong.object} leads to its Service."
    return finding(
        f"ingress.{name}",
        certainty_of(facts, wrong.object, most, partly=wrong.kind == "Service"),
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
            certainty_of(facts, ingress, LIKELY),
            f"Ingress {ingress.name} names no class, and none is the default",
            f"{ingress} names no class, no IngressClass is the default, and no controller has "
            f"given it an address. There is {there}.",
            [ingress.cite("spec"), classes[0].cite("metadata.name")],
            actions=[restore(f"Name a class: {there}.", f"{ingress} has an address.")],
        )
