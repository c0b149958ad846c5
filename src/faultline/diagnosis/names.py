"""Host names that programs cannot resolve although a service with nearly that name exists.

A Service that does exist and cannot be resolved is `dns.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from faultline.diagnosis.documents import child, item, items, text
from faultline.diagnosis.facts import Facts, Object, Part, Was
from faultline.diagnosis.inventory import absent, find, within
from faultline.diagnosis.peers import service_of, split
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import becomes_ready, finding, proved_if, redacted, restore
from faultline.model import Evidence, Finding

_HOST = r"[\"']?([a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?)"
UNKNOWN = re.compile(
    rf"lookup {_HOST}(?: on [\d.:\[\]a-f]+)?: no such host"
    rf"|ENOTFOUND {_HOST}"
    rf"|could not translate host name {_HOST}"
    rf"|[Cc]ould not resolve host:? {_HOST}"
    rf"|UnknownHostException: {_HOST}"
)


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which variable names a host that does not exist."""
    for part in facts.parts:
        if part.fresh and (logged := part.logs(UNKNOWN)):
            host = next((g for g in logged[0].groups() if g), "")
            if not service_of(facts, part.workload.object.namespace, host):
                yield _finding(facts, part, host, logged[1])


@dataclass(frozen=True)
class _Place:
    """The variable that gives the host: its path, its value, its earlier value."""

    field: str
    value: str
    was: Was | None


def _place(part: Part, name: str) -> _Place | None:
    word = _word(name)
    found = [e for e in items(part.get("env")) if word.search(text(e.get("value")))]
    if not found:
        return None
    field = child(item("env", "name", text(found[0].get("name"))), "value")
    was = part.was(field)
    return _Place(field, text(found[0].get("value")), was if was and text(was.value) else None)


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9-]){re.escape(name)}(?![A-Za-z0-9-])")


def _finding(facts: Facts, part: Part, host: str, cited: Evidence) -> Finding:
    own = part.workload.object.namespace
    service, space = split(host, own)
    place = _place(part, host.split(".")[0])
    named = [s for s in facts.of("Service") if s.name == service and s.namespace != space]
    if named and not (place and place.was):
        return _elsewhere(facts, part, host, place, named, cited)
    near = nearest(service, (s.name for s in within(facts, "Service", space))) if service else ""
    return _unknown(part, host, place, find(facts, "Service", space, near), cited)


def _unknown(
    part: Part, host: str, place: _Place | None, near: Object | None, cited: Evidence
) -> Finding:
    # proved because: the program cannot resolve the name, the object gives it that name, no service
    # has it, and one has a name an edit or two away, or the revision before gave another name.
    was = place.was if place else None
    word = _word(host.split(".")[0])
    after = text(was.value) if was else word.sub(near.name, place.value) if place and near else ""
    return finding(
        "names.unknown-host",
        proved_if(after),
        f"{part.name} asks for the host {host}, which does not exist",
        f"{part} cannot resolve the host {host}."
        + (f" The service {near.name} exists." if near else "")
        + (f" Revision {was.revision} named another." if was else ""),
        [
            cited,
            part.cite(place.field) if place else None,
            was.evidence if was else None,
            near.cite("metadata.name") if near else None,
        ],
        rules_out=("crash_loop.exit", "probes"),
        actions=[restore("Name a host that exists.", becomes_ready(part.workload))],
        changes=[part.change(place.field, after, "the name that exists")]
        if place and after and not redacted(after)
        else (),
    )


def _elsewhere(
    facts: Facts,
    part: Part,
    host: str,
    place: _Place | None,
    named: list[Object],
    cited: Evidence,
) -> Finding:
    # proved because: the program cannot resolve the name, the object gives it, the namespace in it
    # does not exist, and the only Service of that name is in one that is called nearly so. Without
    # that the Service may be missing here, and the other namespace may be another environment.
    service, space = split(host, part.workload.object.namespace)
    gone = absent(facts, "Namespace", "", space)
    there = named[0].namespace if len(named) == 1 else ""
    wrong = _word(f"{service}.{space}")
    sure = gone and place and wrong.search(place.value) and nearest(space, {there}) == there
    where = ", ".join(sorted(s.namespace for s in named)[:3])
    after = wrong.sub(f"{service}.{there}", place.value) if sure and place else ""
    step = (
        f"Ask for {service}.{there}."
        if sure
        else f"Make {service} in {space}, or name where it is."
    )
    return finding(
        "names.other-namespace",
        proved_if(sure),
        f"{part.name} asks for {host}, which exists in another namespace",
        f"{part} cannot resolve the host {host}: the Service {service} is not in namespace {space}"
        f"{', which does not exist' if gone else ''}, but in {where}.",
        [
            cited,
            part.cite(place.field) if place else None,
            gone,
            *(s.cite("metadata") for s in named[:1]),
        ],
        rules_out=("crash_loop.exit", "probes"),
        actions=[restore(step, becomes_ready(part.workload))],
        changes=[part.change(place.field, after, "where the Service is")]
        if place and after and not redacted(after)
        else (),
    )
