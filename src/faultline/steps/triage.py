"""fault.detected -> incident.opened

Decide whether a fault opens an incident, joins one, or is put on file. Gathering evidence is
`context.py`'s.
"""

from __future__ import annotations

from faultline.correlate import correlation_key, subject_name
from faultline.event import INCIDENT_OPENED, Event, from_json
from faultline.model import DecisionKind, Fault, Incident
from faultline.policy import judge
from faultline.ports import Ports


def triage(event: Event, ports: Ports) -> Event | None:
    fault = Fault.model_validate(event.data)
    key, name = correlation_key(fault), subject_name(fault)
    over = ports.incidents.was_cleared(fault) and not ports.incidents.began(key, event)
    decision = judge(fault, ports.policy, cleared=over)
    if decision.kind is not DecisionKind.OPEN:
        ports.incidents.ignore(fault, decision, at=ports.clock())
        return None  # on file, with the reason
    claim = ports.incidents.claim(
        Incident.begin(fault, key=key, name=name, because=event), because=event
    )
    ports.incidents.join(claim, fault)
    ports.incidents.open(claim)
    opener = from_json(claim.event)
    if (opener.source, opener.id) != (event.source, event.id):
        return None  # it joined; the opener's own delivery says so, or sweep does
    incident = claim.incident
    if ports.incidents.index(incident.id):
        return None  # it was heard: whoever repeats it sets nothing in motion again
    return event.caused(
        INCIDENT_OPENED, source="/faultline/triage", subject=incident.id, data=incident.headline()
    )
