"""ping -> the events that got lost

Look at every incident of the last days, and send what brings on those that stopped moving. The one
step that may send several events: it posts them to the sink.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from dataclasses import replace

from pydantic import ValidationError

from faultline import keys
from faultline.answers import reason
from faultline.errors import Rejected
from faultline.event import CARRIED, Event, from_json
from faultline.healing import Found, Remedy, lost_status, remedies
from faultline.incidents import Incidents
from faultline.ledger import calls, waiting
from faultline.model import Result
from faultline.ports import Ports
from faultline.survey import survey

log = logging.getLogger(__name__)


def sweep(event: Event, ports: Ports) -> Event | None:
    now, job = ports.clock(), ports.runner.state
    for opener in unopened(ports.incidents):
        ports.sink.send(opener)
    queue = {wish.incident_id for wish in waiting(ports.incidents, ports.policy, now)}
    for incident_id in looked_at(ports.incidents, now, ports.policy.sweep_days):
        found = seen(incident_id, now, ports, waits=incident_id in queue)
        for remedy in remedies(found, ports.policy) if found else ():
            if remedy.lost and found:
                bury(found, now, ports)
            ports.sink.send(nudge(event, incident_id, remedy, ports.incidents))
    for call in calls(event, "/faultline/sweep", ports.incidents, job, ports.policy, now):
        ports.sink.send(call)
    return None


def seen(incident_id: str, now: dt.datetime, ports: Ports, *, waits: bool) -> Found | None:
    """Return what there is of an incident; None if its records cannot be read, so that one that is
    damaged does not keep all others from being healed.
    """
    try:
        return survey(ports.incidents, incident_id, now, ports.runner.state, waits=waits)
    except (Rejected, ValidationError) as error:
        log.warning("cannot read this incident: %s", reason(error), extra={"incident": incident_id})
        return None


def looked_at(incidents: Incidents, now: dt.datetime, days: int) -> Iterator[str]:
    """Yield the recent incidents, and older ones that became calm lately: they are to close."""
    yield from recent(incidents, now, days)
    lately = incidents.calm_lately((now - dt.timedelta(days=back)).date() for back in range(3))
    oldest = f"{now - dt.timedelta(days=days - 1):%Y%m%d}-"
    yield from sorted(id for id in lately if id < oldest)


def recent(incidents: Incidents, now: dt.datetime, days: int) -> Iterator[str]:
    """Yield the ids of the incidents of the last days."""
    for back in range(days):
        yield from incidents.ids(f"{now - dt.timedelta(days=back):%Y%m%d}-")


def unopened(incidents: Incidents) -> Iterator[Event]:
    """Yield the events of claims whose incident was never opened: a crash came in between."""
    opened = set(incidents.ids())
    for _, claim in incidents.all_claims():
        if claim.incident.id not in opened or not incidents.status(claim.incident.id):
            yield from_json(claim.event)


def bury(found: Found, now: dt.datetime, ports: Ports) -> None:
    """Write the result of a run that died without a word."""
    run = found.run
    if run is None:
        return
    result = Result(
        incident_id=run.incident_id,
        run=run.number,
        status=lost_status(found, ports.policy),
        reason="lost",
        started_at=run.created_at,
        completed_at=now,
        engine=run.engine,
        model=run.model,
        outputs=ports.incidents.outputs(run.incident_id, run.number),
    )
    ports.incidents.record(run.incident_id, keys.run_record(run.number, keys.RESULT), result)


def nudge(event: Event, incident_id: str, remedy: Remedy, incidents: Incidents) -> Event:
    """Return the remedy's event, caused by this ping, in the trace of what opened the incident."""
    data, subject = remedy.data, incident_id
    if remedy.about:
        subject = incidents.incident(incident_id).key
        data = remedy.about.model_dump(mode="json")
    opener = incidents.opener(incident_id).extensions
    carried = {name: opener[name] for name in CARRIED if name in opener}
    return replace(event, extensions={}).caused(
        remedy.type, source="/faultline/sweep", subject=subject, data=data, extensions=carried
    )
