"""fault.detected -> incident.opened

Decide whether a fault opens an incident, joins one, or is put on file. Gathering evidence is
`context.py`'s.
"""

from __future__ import annotations

import datetime as dt

from faultline.correlate import correlation_key, subject_name
from faultline.errors import Rejected
from faultline.event import INCIDENT_OPENED, Event, from_json, parse_time
from faultline.limits import seen_seconds
from faultline.model import Claim, DecisionKind, Fault, Incident
from faultline.policy import judge, staleness
from faultline.ports import Ports


def triage(event: Event, ports: Ports) -> Event | None:
    fault = Fault.model_validate(event.data)
    key, name = correlation_key(fault), subject_name(fault)
    over = ports.incidents.was_cleared(fault)
    late = staleness(event, ports.clock(), ports.policy)
    if (over or late) and ports.incidents.began(key, event):
        over, late = False, ""  # it claimed an episode: that has to be finished
    decision = judge(fault, ports.policy, cleared=over, stale=late)
    if decision.kind is not DecisionKind.OPEN:
        ports.incidents.ignore(fault, decision, at=ports.clock())
        return None  # on file, with the reason
    claim = ports.incidents.claim(
        Incident.begin(fault, key=key, name=name, because=event), because=event
    )
    opener = from_json(claim.event)
    _not_another(fault, event, claim.incident.fault, opener)
    new, incident = ports.incidents.join(claim, fault), claim.incident
    if not new and event.time:
        heard_again(claim, fault, parse_time(event.time), ports)
    if (opener.source, opener.id) != (event.source, event.id):
        if not ports.incidents.is_open(claim):
            ports.incidents.open(claim)
        return None  # it joined; the opener's own delivery says so, or sweep does
    if not new and ports.incidents.index(incident.id):
        return None  # it was heard: whoever repeats it sets nothing in motion again
    ports.incidents.open(claim)
    return event.caused(
        INCIDENT_OPENED, source="/faultline/triage", subject=incident.id, data=incident.headline()
    )


def heard_again(claim: Claim, fault: Fault, at: dt.datetime, ports: Ports) -> None:
    """Put on file that its source says it again, hours later say; not that the broker does."""
    since = max(fault.starts_at, claim.incident.opened_at)
    if (at - since).total_seconds() > seen_seconds:
        ports.incidents.say_again(claim, fault, at=at)


def _not_another(fault: Fault, event: Event, first: Fault, opener: Event) -> None:
    """Raise Rejected if an event with the opener's identity speaks of another occurrence."""
    same = (opener.source, opener.id) == (event.source, event.id)
    if same and fault.occurrence != first.occurrence:
        raise Rejected(
            f"expected the fault that event {event.id[:80]!r} was about before, got another one "
            "under the same id: give each fault an id of its own"
        )
