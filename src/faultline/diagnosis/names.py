"""Host names that programs cannot resolve although a service with nearly that name exists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import child, item, items, text
from faultline.diagnosis.facts import Facts, Part, Workload
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import LIKELY, PROVED, becomes_ready, finding, restore
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
            host = next(g for g in logged[0].groups() if g)
            if not nameless(part.workload, host):
                yield from _finding(part, host, logged[1])


def nameless(workload: Workload, host: str) -> bool:
    """Say whether a host is one of a StatefulSet's own, whose Service is missing altogether."""
    service = text(workload.object.get("spec.serviceName"))
    below = service and service in host.split(".")
    return bool(below and workload.facts.absent("Service", service))


def _finding(part: Part, host: str, cited: Evidence) -> Iterator[Finding]:
    name = host.split(".")[0]
    services = part.workload.facts.names("Service")
    word = re.compile(rf"(?<![A-Za-z0-9-]){re.escape(name)}(?![A-Za-z0-9-])")
    places = [e for e in items(part.get("env")) if word.search(text(e.get("value")))]
    inside = (
        "." not in host or ".svc" in host or host.endswith(f".{part.workload.object.namespace}")
    )
    near = nearest(name, services) if inside and name not in services else ""
    field = child(item("env", "name", text(places[0].get("name"))), "value") if places else ""
    was = part.was(field) if field else None
    was = was if was and text(was.value) else None
    # proved because: the program cannot resolve the name, the object gives it that name, no service
    # has it, and one has a name an edit or two away, or the revision before gave another name.
    after = (
        text(was.value)
        if was
        else word.sub(near, text(places[0]["value"]))
        if places and near
        else ""
    )
    proved = bool(after) and name not in services
    beside = part.workload.facts.object("Service", near) if near else None
    yield finding(
        "names.unknown-host",
        PROVED if proved else LIKELY,
        f"{part.name} asks for the host {host}, which does not exist",
        f"{part} cannot resolve the host {host}."
        + (f" The service {near} exists." if near else "")
        + (f" Revision {was.revision} named another." if was else ""),
        [
            cited,
            part.cite(field) if field else None,
            was.evidence if was else None,
            beside.cite("metadata.name") if beside else None,
        ],
        rules_out=("crash_loop.exit", "probes", "starting"),
        actions=[restore("Name a host that exists.", becomes_ready(part.workload))],
        changes=[part.change(field, after, "the name that exists")] if proved else (),
    )
