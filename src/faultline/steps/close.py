"""fault.cleared -> incident.closed

A fault is over. When every fault of its incident is, the incident closes: as verified if people had
merged what we proposed before. A run that is still under way is asked to stop.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from dataclasses import replace

from faultline import keys, views
from faultline.errors import Rejected
from faultline.event import INCIDENT_CLOSED, Event, format_time
from faultline.incidents import Incidents
from faultline.model import Cleared, Closed, Fault, Run
from faultline.ports import Ports
from faultline.survey import last_to_end
from faultline.verification import because

log = logging.getLogger(__name__)


def close(event: Event, ports: Ports) -> Event | None:
    fault = Fault.model_validate(event.data)
    incidents, now = ports.incidents, ports.clock()
    incidents.clear(fault, at=now)
    claim = incidents.owner(fault)
    if claim is None:
        return None  # we never heard it begin, or ignored it: on file
    id = claim.incident.id
    if not incidents.is_open(claim):
        incidents.open(claim)  # its opener crashed in between, perhaps: anyone can finish that
    cleared = Cleared(fault=fault, at=fault.ends_at or now)
    incidents.record(id, keys.fault_cleared(fault.occurrence), cleared)
    closed = incidents.closed(id) or conclude(id, ports, event.id)
    if closed is None or closed.cause != event.id:
        return None  # it goes on, or another event closed it: that one does the rest
    cancel(id, closed, incidents)
    incidents.put_view(id, keys.README, views.readme(views.load(incidents, id)))
    data = {"incident": id, "because": closed.because.value, "by": closed.by}
    return event.caused(INCIDENT_CLOSED, source="/faultline/close", subject=id, data=data)


def conclude(incident_id: str, ports: Ports, cause: str) -> Closed | None:
    """Close the incident if every fault of it is over; None if not. `cause`: the event's id."""
    incidents = ports.incidents.snapshot(incident_id)
    ports = replace(ports, incidents=incidents)
    if incidents.goes_on(incident_id):
        return None
    faults = incidents.faults(incident_id)
    if last_to_end(incidents, faults) is None:
        return None
    ask(incident_id, ports)
    merges = incidents.merges(incident_id)
    closed = Closed(
        because=because(list(faults.values()), merges, incidents.synced(incident_id)),
        by="faultline",
        at=ports.clock(),
        occurrences=tuple(sorted(fault.occurrence for fault, _ in faults.values())),
        note=saving(live_run(incidents, incident_id), ports.clock()),
        merged_at=min((m.at for m in merges), default=None),
        cause=cause,
    )
    incidents.record(incident_id, keys.CLOSED, closed)
    return incidents.closed(incident_id)


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


def cancel(incident_id: str, closed: Closed, incidents: Incidents) -> None:
    """Ask the run under way to stop: its fault has gone. The runtime looks for this record."""
    if run := live_run(incidents, incident_id):
        record = {"by": closed.by, "at": format_time(closed.at), "reason": "the fault has cleared"}
        data = (json.dumps(record, indent=2) + "\n").encode()
        incidents.record(incident_id, keys.run_record(run.number, keys.CANCEL), data)


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
