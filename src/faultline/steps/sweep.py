"""ping -> the events that got lost

Look at every incident of the last days, and send what brings on those that stopped moving. The one
step that may send several events: it posts them to the sink.
"""

from __future__ import annotations

import datetime as dt
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic import ValidationError

from faultline import keys
from faultline.answers import reason
from faultline.errors import Rejected
from faultline.event import CARRIED, Event, from_json
from faultline.healing import Found, Remedy, at_rest, lost_status, remedies
from faultline.incidents import Incidents
from faultline.ledger import calls
from faultline.model import Result
from faultline.ports import Ports
from faultline.steps import looks
from faultline.survey import survey

log = logging.getLogger(__name__)


def sweep(event: Event, ports: Ports) -> Event | None:
    if looks(event):
        return None  # about a merge: that is `verify`'s
    now, job = ports.clock(), ports.runner.state
    for claim in ports.incidents.unopened():
        ports.sink.send(from_json(claim.event))
    for incident_id in looked_at(ports.incidents, now, ports.policy.sweep_days, step=keys.SWEEP):
        if found := seen(incident_id, now, ports):
            heal(found, incident_id, event, now, ports)
    for call in calls(event, "/faultline/sweep", ports.incidents, job, ports.policy, now):
        ports.sink.send(call)
    return None


def heal(found: Found, incident_id: str, event: Event, now: dt.datetime, ports: Ports) -> None:
    """Send what an incident lacks; note each nudge, and that nothing will ever be missing."""
    for remedy in remedies(found, ports.policy):
        if remedy.lost:
            bury(found, now, ports)
        sent = nudge(event, incident_id, remedy, ports.incidents)
        ports.sink.send(sent)
        if remedy.note:
            ports.incidents.note_announced(incident_id, sent, at=now, name=remedy.note)
    if at_rest(found):
        ports.incidents.settle(incident_id, keys.SWEEP, at=now)


def seen(incident_id: str, now: dt.datetime, ports: Ports) -> Found | None:
    """Return what there is of an incident; None if its records cannot be read, so that one that is
    damaged does not keep all others from being healed.
    """
    try:
        return survey(ports.incidents, incident_id, now, ports.runner.state)
    except (Rejected, ValidationError) as error:
        log.warning("cannot read this incident: %s", reason(error), extra={"incident": incident_id})
        return None


def looked_at(incidents: Incidents, now: dt.datetime, days: int, *, step: str) -> Iterator[str]:
    """Yield the incidents that a step is not done with: the recent, and older ones that became calm
    lately, which are to close."""
    for back in range(days):
        day = f"{now - dt.timedelta(days=back):%Y%m%d}-"
        yield from undone(incidents, incidents.ids(day), step)
    lately = incidents.calm_lately((now - dt.timedelta(days=back)).date() for back in range(3))
    oldest = f"{now - dt.timedelta(days=days - 1):%Y%m%d}-"
    yield from undone(incidents, sorted(id for id in lately if id < oldest), step)


def undone(incidents: Incidents, ids: Iterable[str], step: str) -> Iterator[str]:
    """Yield those of the ids, which are in order, that this step is not done with."""
    for day, found in itertools.groupby(ids, key=lambda known: known[:8]):
        done = incidents.settled(day, step)
        yield from (id for id in found if id not in done)


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
