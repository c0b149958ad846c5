"""Routes of the Gateway API that lead nowhere: Gateway, class, acceptance, Service, port.

Source: gateway.networking.k8s.io/v1. A route's own status says what its Gateway makes of it; that
counts only if it was written for the route as it is now (`observedGeneration`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from faultline.diagnosis.documents import items, mapping, number, text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.inventory import absent, find, within
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.ways_in import ROUTES, backends, certainty_of, port_missing
from faultline.diagnosis.wording import LIKELY, PROVED, finding, one_line, restore
from faultline.model import Certainty, Evidence, Finding

_REFUSALS = {  # reasons of a condition Accepted that are final, and what they mean
    "NotAllowedByListeners": "no listener takes routes of this kind or from this namespace",
    "NoMatchingListenerHostname": "no listener has one of its host names",
    "NoMatchingParent": "no listener has the section or port that it names",
}


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what a route names that is not there, or that does not take it."""
    for route in (r for kind in ROUTES for r in facts.of(kind)):
        for index, parent in enumerate(items(route.get("spec.parentRefs"))):
            if text(parent.get("kind")) in ("", "Gateway"):
                yield from _parent(facts, route, f"spec.parentRefs[{index}]", parent)
        yield from _statuses(facts, route)
        for backend in backends(route):
            gone = absent(facts, "Service", backend.namespace, backend.name)
            if gone:
                place = f"{backend.path}.name"
                wrong = _Wrong(route, place, "Service", backend.namespace, backend.name)
                yield _missing(facts, "gateway.service-missing", wrong, gone)
            yield from port_missing(facts, "gateway", route, backend)


@dataclass(frozen=True)
class _Wrong:
    """A name of something that is not there: whose, where it stands, what it names."""

    object: Object
    field: str
    kind: str
    space: str
    name: str


def _parent(facts: Facts, route: Object, path: str, parent: dict[str, Any]) -> Iterator[Finding]:
    name, space = text(parent.get("name")), text(parent.get("namespace")) or route.namespace
    gateway = find(facts, "Gateway", space, name)
    if gateway is None:
        if gone := absent(facts, "Gateway", space, name):
            wrong = _Wrong(route, f"{path}.name", "Gateway", space, name)
            yield _missing(facts, "gateway.gateway-missing", wrong, gone)
        return
    kind = text(gateway.get("spec.gatewayClassName"))
    if gone := absent(facts, "GatewayClass", "", kind):
        wrong = _Wrong(gateway, "spec.gatewayClassName", "GatewayClass", "", kind)
        yield _missing(facts, "gateway.class-missing", wrong, gone)
        return
    for condition in ("Accepted", "Programmed"):
        place = f"status.conditions[type={condition}]"
        if _is_false(mapping(gateway.get(place)), gateway):
            yield _gateway_says(facts, gateway, condition, place)
            return


def _missing(facts: Facts, name: str, wrong: _Wrong, gone: Evidence) -> Finding:
    # proved because: the object names it, the cluster was asked for it and does not have it, and
    # there is no other way in that leads on.
    near = nearest(wrong.name, (o.name for o in within(facts, wrong.kind, wrong.space)))
    beside = find(facts, wrong.kind, wrong.space, near) if near else None
    return finding(
        name,
        certainty_of(facts, wrong.object, PROVED, partly=wrong.kind == "Service"),
        f"{wrong.object.kind} {wrong.object.name} names a missing {wrong.kind} "
        f"{one_line(wrong.name)}",
        f"{wrong.object} names the {wrong.kind} {one_line(wrong.name)}, which does not exist."
        + (f" There is {near}, one or two letters away." if near else ""),
        [wrong.object.cite(wrong.field), gone, beside.cite("metadata.name") if beside else None],
        rules_out=("probes", "gateway.not-accepted", "gateway.not-ready"),
        actions=[
            restore(
                f"Name {near}." if near else f"Create the {wrong.kind}.",
                "The route is accepted and its references are resolved.",
            )
        ],
    )


def _gateway_says(facts: Facts, gateway: Object, condition: str, place: str) -> Finding:
    reason = one_line(gateway.get(f"{place}.reason") or "no reason given")
    return finding(
        "gateway.not-ready",
        certainty_of(facts, gateway, LIKELY),
        f"Gateway {gateway.name}: {condition} is False",
        f"{gateway} reports {condition} False: {reason}.",
        [gateway.cite(f"{place}.status"), gateway.cite(f"{place}.message")],
    )


def _is_false(condition: dict[str, Any], object: Object) -> bool:
    """It is said to be false, of the object as it is now."""
    seen, now = condition.get("observedGeneration"), object.get("metadata.generation")
    current = seen is None or now is None or number(seen) == number(now)
    return text(condition.get("status")) == "False" and current


def _statuses(facts: Facts, route: Object) -> Iterator[Finding]:
    for index, parent in enumerate(items(route.get("status.parents"))):
        found = {text(c.get("type")): c for c in items(parent.get("conditions"))}
        place = f"status.parents[{index}].conditions"
        accepted = found.get("Accepted", {})
        if _is_false(accepted, route):
            yield _not_accepted(facts, route, f"{place}[type=Accepted]", accepted, parent)
        resolved = found.get("ResolvedRefs", {})
        if _is_false(resolved, route) and text(resolved.get("reason")) == "RefNotPermitted":
            yield _not_permitted(facts, route, f"{place}[type=ResolvedRefs]")


def _not_accepted(
    facts: Facts, route: Object, place: str, said: dict[str, Any], parent: dict[str, Any]
) -> Finding:
    # proved because: the Gateway's controller says of the route as it is now that it does not take
    # it, with a reason that waiting does not mend, and the Gateway is there.
    reason, reference = text(said.get("reason")), mapping(parent.get("parentRef"))
    name, space = text(reference.get("name")), text(reference.get("namespace")) or route.namespace
    gateway = find(facts, "Gateway", space, name)
    sure = reason in _REFUSALS and gateway is not None
    why = _REFUSALS.get(reason) or one_line(reason or "no reason given")
    certainty: Certainty = PROVED if sure else LIKELY
    return finding(
        "gateway.not-accepted",
        certainty_of(facts, route, certainty),
        f"Gateway {one_line(name)} does not accept {route.kind} {route.name}",
        f"{route} is not accepted by Gateway {one_line(name)}: {why}.",
        [
            route.cite(f"{place}.reason"),
            route.cite(f"{place}.message"),
            route.cite("spec.hostnames"),
            route.cite("spec.parentRefs"),
            gateway.cite("spec.listeners") if gateway else None,
        ],
        rules_out=("probes",),
        actions=[restore("Make route and listener fit each other.", f"{route} is accepted.")],
    )


def _not_permitted(facts: Facts, route: Object, place: str) -> Finding:
    # proved because: the controller says that a reference to another namespace is not permitted,
    # and a backend of the route is in another namespace.
    spaces = {b.namespace for b in backends(route)} - {route.namespace}
    return finding(
        "gateway.not-permitted",
        certainty_of(facts, route, PROVED if spaces else LIKELY),
        f"{route.kind} {route.name} may not refer to another namespace",
        f"{route} refers to {one_line(', '.join(sorted(spaces)) or 'something')}, and no "
        "ReferenceGrant there permits it.",
        [route.cite(f"{place}.reason"), route.cite(f"{place}.message"), route.cite("spec.rules")],
        rules_out=("probes",),
        actions=[restore("Add a ReferenceGrant there.", f"{route} resolves its references.")],
    )
