"""incident.opened -> context.ready

Ask every context source, redact, write, seal. What it all means is `launch.py`'s.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping

from faultline import keys, observability, views
from faultline.capsule import seal
from faultline.errors import FaultlineError, StoreDown
from faultline.event import CONTEXT_READY, Event
from faultline.incidents import content
from faultline.model import Incident, Index
from faultline.ports import Early, Ports
from faultline.redact import Redactor, tally

log = logging.getLogger(__name__)


def context(event: Event, ports: Ports) -> Event | None:
    incident = ports.incidents.incident(event.subject or "")
    seen = ports.incidents.snapshot(incident.id)
    if seen.closed(incident.id):
        return None
    if seen.index(incident.id) is None:
        announce(incident, ports)
        gather(incident, ports)
    if seen.run_numbers(incident.id):
        return None  # it was heard
    index = ports.incidents.read(incident.id, keys.INDEX)
    files = len(Index.model_validate_json(index).files) + 1
    data = {"index_sha256": hashlib.sha256(index).hexdigest(), "files": files}
    return event.caused(CONTEXT_READY, source="/faultline/context", subject=incident.id, data=data)


def announce(incident: Incident, ports: Ports) -> None:
    """Say that something is wrong where people want to hear it at once. Nothing waits for that."""
    for outlet in ports.outlets:
        if isinstance(outlet, Early):
            try:
                outlet.begun(incident)
            except FaultlineError as error:
                log.warning("%s: %s", outlet.name, error, extra={"incident": incident.id})


def gather(incident: Incident, ports: Ports) -> None:
    """Write the capsule. A source that fails is named in the index and stops no other."""
    incidents, origins, missing = ports.incidents, {}, {}
    redactor, taken = Redactor(salt=incident.id), Counter[str]()

    def keep(name: str, data: bytes) -> None:
        clean = redactor.file(name, data)
        incidents.record(incident.id, name, clean)
        taken.update(tally(clean) - tally(data))  # what only looks like a marker counts nothing

    keep("context/incident.json", content(incident))
    incidents.record(incident.id, "context/system-instructions.txt", views.system_instructions())
    for source in ports.sources:
        try:
            for name, data in source.collect(incident):
                if name not in origins:  # a record is written once: the first to say it is heard
                    keep(name, data)
                    origins[name] = source.name
        except StoreDown:
            raise  # it says nothing about the source, and an index without its files stays so
        except FaultlineError as error:
            missing[source.name] = redactor.text(str(error))
    names = sorted([*origins, *observe(incident, ports, origins, missing)])
    incidents.record(incident.id, keys.PROMPT, views.prompt(incident, names, missing))
    found = incidents.snapshot(incident.id).capsule(incident.id)
    index = seal(((name, found.read(name)) for name in found.names()), origins, missing)
    index = index.model_copy(update={"redactions": dict(sorted(taken.items()))})
    incidents.record(incident.id, keys.INDEX, index)
    incidents.put_view(incident.id, keys.README, views.readme(views.load(incidents, incident.id)))


def observe(
    incident: Incident, ports: Ports, origins: Mapping[str, str], missing: Mapping[str, str]
) -> list[str]:
    """Write what logs, k8s events and measurements say together; return its name, if they do."""
    there = [name for name in observability.FILES if name in origins]
    if not there:
        return []
    files = {name: ports.incidents.read(incident.id, name) for name in there}
    found = observability.observed(files, missing)
    for pod in observability.crashing(found):
        log.info("Houston, we have a crashing pod: %s", pod, extra={"incident": incident.id})
    text = json.dumps(found, indent=1, ensure_ascii=False)
    ports.incidents.record(incident.id, observability.NAME, f"{text}\n".encode())
    return [observability.NAME]
