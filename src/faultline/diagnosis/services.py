"""Services that a program asks in vain: no such port, no ready pods, a port nobody listens on.

Services that should lead to the workload itself are `selectors.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.attempts import REFUSED, TIMED_OUT, Attempt, attempts
from faultline.diagnosis.documents import child, item, items, mapping, number, text
from faultline.diagnosis.facts import Facts, Object, Part
from faultline.diagnosis.inventory import within
from faultline.diagnosis.peers import Peer, declared, peer_of, shown
from faultline.diagnosis.probe_ports import LISTENS
from faultline.diagnosis.service_ports import change, selects
from faultline.diagnosis.wording import (
    HINT,
    LIKELY,
    becomes_ready,
    finding,
    proved_if,
    redacted,
    restore,
)
from faultline.model import Change, Evidence, Finding


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why a Service that a container asks does not answer, one finding for each."""
    for service in facts.of("Service"):
        yield from _own_target(facts, service)
    for part in facts.parts:
        done = set()
        for attempt in (*attempts(part, REFUSED), *attempts(part, TIMED_OUT)):
            peer = peer_of(facts, attempt) if part.fresh else None
            key = (str(peer.service), attempt.port) if peer else None
            if peer and key not in done:
                done.add(key)
                yield from _why(facts, attempt, peer)


def _why(facts: Facts, attempt: Attempt, peer: Peer) -> Iterator[Finding]:
    if peer.index < 0:
        if not peer.headless and peer.service.get("spec.ports"):
            yield _no_such_port(attempt, peer)
    elif not peer.pods:
        if _has_no_endpoints(facts, peer.service):
            yield _unready(facts, attempt, peer, "no-pods", "selects no pod")
    elif not peer.ready:
        yield _unready(facts, attempt, peer, "not-ready", "has no ready pod")
    elif attempt.outcome == REFUSED:
        yield from _wrong_target(attempt, peer)


def _no_such_port(attempt: Attempt, peer: Peer) -> Finding:
    # proved because: nothing answers at this port of the Service, the Service has no such port, and
    # one variable of the object gives the host together with it.
    spec = items(peer.service.get("spec.ports"))
    part, ports = attempt.part, sorted({number(p.get("port")) for p in spec} - {0})
    places = list(_places(part, peer.service.name, attempt.port))
    place = places[0] if len(places) == 1 else None
    after, was = _better(part, place, attempt, ports) if place else ("", None)
    service = shown(peer.service, part.workload)
    there = ", ".join(map(str, ports))
    return finding(
        "services.no-such-port",
        proved_if(place),
        f"{part.name} asks {service} at port {attempt.port}, which it does not have",
        f"{part} cannot connect to {service} at port {attempt.port}; the Service has {there}.",
        [
            attempt.evidence,
            peer.service.cite("spec.ports"),
            part.cite(place) if place else None,
            was,
        ],
        rules_out=("probes", "crash_loop.exit", "network_policy"),
        actions=[restore(f"Ask at a port it has: {there}.", becomes_ready(part.workload))],
        changes=_env_change(part, place, after) if place and after else (),
    )


def _places(part: Part, service: str, port: int) -> Iterator[str]:
    """Variables that give this port: behind the host, or alone beside one with the host."""
    host = re.escape(service)
    together = re.compile(rf"(?<![\w-]){host}(?:\.[a-z0-9.-]{{1,253}})?:{port}(?!\d)")
    variables = items(part.get("env"))
    apart = any(re.search(rf"(?<![\w-]){host}(?![\w:-])", text(v.get("value"))) for v in variables)
    for variable in variables:
        value, name = text(variable.get("value")), text(variable.get("name"))
        if together.search(value) or (apart and value == str(port) and "PORT" in name.upper()):
            yield child(item("env", "name", name), "value")


def _better(
    part: Part, place: str, attempt: Attempt, ports: list[int]
) -> tuple[str, Evidence | None]:
    """The earlier value, if it names a port that the Service has; else its only port."""
    now, was = text(part.get(place)), part.was(place)
    if was and text(was.value) and set(map(str, ports)) & set(re.findall(r"\d+", text(was.value))):
        return text(was.value), was.evidence
    end = re.compile(rf"(?:(?<=:)|^){attempt.port}(?!\d)")
    return (end.sub(str(ports[0]), now, count=1), None) if len(ports) == 1 else ("", None)


def _env_change(part: Part, place: str, after: str) -> list[Change]:
    proposed = [part.change(place, after, "the port that the Service has")]
    return [] if redacted(after) else proposed


def _has_no_endpoints(facts: Facts, service: Object) -> bool:
    """The capsule has what says which pods are behind it, and it says none."""
    label = child("metadata.labels", "kubernetes.io/service-name")
    slices = within(facts, "EndpointSlice", service.namespace)
    own = [s for s in slices if s.get(label) == service.name]
    own += [e for e in within(facts, "Endpoints", service.namespace) if e.name == service.name]
    selects = bool(service.get("spec.selector"))
    return selects and bool(own) and not any(s.get("endpoints") or s.get("subsets") for s in own)


def _unready(facts: Facts, attempt: Attempt, peer: Peer, name: str, words: str) -> Finding:
    """Likely only: why those pods are not ready is the cause, and it is another workload's."""
    service = shown(peer.service, attempt.part.workload)
    pod = peer.pods[0] if peer.pods else None
    return finding(
        f"services.{name}",
        LIKELY,
        f"{service}, which {attempt.part.name} needs, {words}",
        f"{attempt.part} cannot connect to {service} at port {attempt.port}; the Service {words}.",
        [
            attempt.evidence,
            peer.service.cite("spec.selector"),
            pod.cite("status.containerStatuses") if pod else None,
        ],
        rules_out=("probes", "crash_loop.exit"),
        actions=[restore(f"Bring the pods of {service} back.", f"{service} has ready endpoints.")],
    )


def _wrong_target(attempt: Attempt, peer: Peer) -> Iterator[Finding]:
    # proved because: the connection to the Service is refused although all of its pods are ready,
    # the Service sends to a number that no container declares, and they declare exactly one.
    target = peer.port.get("targetPort", peer.port.get("port"))
    ports = [declared(p) for p in peer.pods]
    have = {number(p.get("containerPort")) for own in ports for p in own if _is_tcp(p)}
    digits = text(target)
    if not have or not digits.isdigit() or int(digits) in have or not all(ports):
        return
    service, field = peer.service, f"spec.ports[{peer.index}].targetPort"
    sure = len(have) == 1 and len(peer.ready) == len(peer.pods) and "targetPort" in peer.port
    better = next(iter(have))
    name = shown(service, attempt.part.workload)
    yield finding(
        "services.target-port",
        proved_if(sure),
        f"{name} sends to port {digits}, where its pods do not listen",
        f"{attempt.part} is refused by {name} at port {attempt.port}, which sends to {digits}; its "
        f"pods are ready and declare {', '.join(str(p) for p in sorted(have))}.",
        [
            attempt.evidence,
            service.cite(field) or service.cite("spec.ports"),
            peer.pods[0].cite("spec.containers"),
        ],
        rules_out=("probes", "crash_loop.exit"),
        actions=[restore(f"Send to {better}.", becomes_ready(attempt.part.workload))],
        changes=[change(service, field, target, better)] if sure else (),
    )


def _own_target(facts: Facts, service: Object) -> Iterator[Finding]:
    """A Service of the workload itself, and what its container says; others may ask in vain."""
    ports, selector = items(service.get("spec.ports")), mapping(service.get("spec.selector"))
    target = ports[0].get("targetPort", ports[0].get("port")) if len(ports) == 1 else None
    for part in facts.parts if selector and isinstance(target, int) else ():
        own = part.workload.object.namespace == service.namespace and not part.init
        have = [p.get("containerPort") for c in part.workload.parts for p in items(c.get("ports"))]
        if not own or not selects(selector, mapping(part.workload.get("metadata.labels"))):
            continue
        logged = part.logs(LISTENS) if part.ready and target not in have else None
        if logged and int(logged[0][1]) in have:
            yield finding(
                "services.target-port",
                HINT,
                f"Service {service.name} sends to port {target}, which {part.name} does not name",
                f"{service} sends to port {target}; {part.phrase} says that it listens on "
                f"{logged[0][1]}.",
                [service.cite("spec.ports"), logged[1], part.cite("ports")],
            )


def _is_tcp(port: dict[str, object]) -> bool:
    return text(port.get("protocol")) in ("", "TCP")
