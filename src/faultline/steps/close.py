"""fault.cleared -> incident.closed

A fault is over. When every fault of its incident has been for a while, the incident closes: as
verified if people had merged what we proposed before. Until then one that begins joins it, so
`sweep` comes back to see whether it stayed calm. A run whose question has gone is asked to stop.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import replace

from faultline import keys, views
from faultline.calm import Calm, calm
from faultline.errors import Rejected
from faultline.event import INCIDENT_CLOSED, Event
from faultline.incidents import Incidents
from faultline.limits import calm_seconds_before_stop
from faultline.model import OURSELVES, Closed, Fault, Run, Stop
from faultline.ports import Ports
from faultline.verification import because

log = logging.getLogger(__name__)


def close(event: Event, ports: Ports) -> Event | None:
    fault = Fault.model_validate(event.data)
    incidents, now = ports.incidents, ports.clock()
    cleared = incidents.clear(fault, at=now)
    claim = incidents.owner(fault)
    if claim is None:
        return None  # we never heard it begin, or ignored it: on file
    id = claim.incident.id
    if not incidents.is_open(claim):
        incidents.open(claim)  # its opener crashed in between, perhaps: anyone can finish that
    incidents.record(id, keys.fault_cleared(fault.occurrence), cleared)
    closed = incidents.closed(id) or conclude(id, ports, event.id)
    if closed is None or closed.cause != event.id:
        return None  # it goes on, or another event closed it: that one does the rest
    stop(live_run(incidents, id), incidents, now)
    incidents.put_view(id, keys.README, views.readme(views.load(incidents, id)))
    data = {"incident": id, "because": closed.because.value, "by": closed.by}
    return event.caused(INCIDENT_CLOSED, source="/faultline/close", subject=id, data=data)


def conclude(incident_id: str, ports: Ports, cause: str) -> Closed | None:
    """Close the incident if it has been calm for long enough; else say None, and note that it is
    calm. `cause`: the event's id.
    """
    if ports.incidents.goes_on(incident_id):
        return None  # each of thousands asks this: a snapshot would list them all each time
    incidents, now = ports.incidents.snapshot(incident_id), ports.clock()
    found = calm(incidents, incident_id, now)
    if found is None:
        return None
    if found.seconds(now) < ports.policy.close_after_s:
        wait_and_see(incident_id, found, ports)
        return None
    ask(incident_id, replace(ports, incidents=incidents))
    faults, merges = incidents.faults(incident_id), incidents.merges(incident_id)
    closed = Closed(
        because=because(list(faults.values()), merges, incidents.synced(incident_id)),
        by=OURSELVES,
        at=now,
        occurrences=tuple(sorted(fault.occurrence for fault, _ in faults.values())),
        note=saving(live_run(incidents, incident_id), now),
        merged_at=min((m.at for m in merges), default=None),
        cause=cause,
    )
    incidents.record(incident_id, keys.CLOSED, closed)
    return incidents.closed(incident_id)


def wait_and_see(incident_id: str, found: Calm, ports: Ports) -> None:
    """See to it that `sweep` comes back, and stop a first run if it has been calm for a minute.

    What comes back after that gets a second run, and that one is let go on to its end.
    """
    incidents, now = ports.incidents, ports.clock()
    incidents.note_calm(incident_id, at=now)
    run = live_run(incidents, incident_id)
    if run and run.number == 1 and found.seconds(now) >= calm_seconds_before_stop:
        stop(run, incidents, now)
    incidents.put_view(incident_id, keys.README, views.readme(views.load(incidents, incident_id)))


def live_run(incidents: Incidents, incident_id: str) -> Run | None:
    """Return the newest run if it has not ended."""
    number = max(incidents.run_numbers(incident_id), default=0)
    if number == 0 or incidents.result(incident_id, number):
        return None
    return incidents.run(incident_id, number)


def saving(run: Run | None, now: dt.datetime) -> str:
    """Say what is saved by stopping a run whose question has gone; "" if there is none."""
    if run is None:
        return ""
    over = run.created_at + dt.timedelta(seconds=run.deadline_s)
    left = max(0, int((over - now).total_seconds()))
    tokens = f" and the rest of its {run.tokens_max:,} tokens" if run.tokens_max else ""
    return f"run {run.number} was asked to stop, which saves up to {left} s{tokens}"


def stop(run: Run | None, incidents: Incidents, now: dt.datetime) -> None:
    """Ask a run to stop: its fault has gone."""
    if run:
        reason = "the fault has cleared; " + saving(run, now)
        stop = Stop(by=OURSELVES, at=now, reason=reason, cleared=True)
        incidents.ask_to_stop(run.incident_id, run.number, stop)


def ask(incident_id: str, ports: Ports) -> None:
    """Ask each outlet that was told whether people merged what was proposed there; record it."""
    incidents = ports.incidents
    known = {merge.outlet for merge in incidents.merges(incident_id)}
    for outlet in ports.outlets:
        receipt = None if outlet.name in known else incidents.receipt(incident_id, outlet.name)
        try:
            merged = outlet.merged(receipt) if receipt else None
        except Rejected as error:  # a token that may not read, say: it holds no incident open
            log.warning("%s is not asked: %s", outlet.name, error, extra={"incident": incident_id})
            continue
        if merged:
            incidents.record(incident_id, keys.merged(outlet.name), merged)
