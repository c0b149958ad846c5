"""fault.cleared -> incident.closed

A fault is over. When every fault of its incident is, the incident closes: as verified if people had
merged what we proposed before.
"""

from __future__ import annotations

from faultline import keys, views
from faultline.event import INCIDENT_CLOSED, Event
from faultline.model import Cleared, Closed, Fault
from faultline.ports import Ports
from faultline.survey import last_to_end
from faultline.verification import because


def close(event: Event, ports: Ports) -> Event | None:
    fault = Fault.model_validate(event.data)
    incidents, now = ports.incidents, ports.clock()
    incidents.clear(fault, at=now)
    claim = incidents.owner(fault)
    if claim is None:
        return None  # we never heard it begin, or ignored it: on file
    id = claim.incident.id
    incidents.open(claim)  # its opener may have crashed in between: anyone can finish that
    cleared = Cleared(fault=fault, at=fault.ends_at or now)
    incidents.record(id, keys.fault_cleared(fault.occurrence), cleared)
    closed = incidents.closed(id) or conclude(id, ports)
    if closed is None or fault.occurrence not in closed.occurrences:
        return None
    incidents.put_view(id, keys.README, views.readme(views.load(incidents, id)))
    data = {"incident": id, "because": closed.because.value, "by": closed.by}
    return event.caused(INCIDENT_CLOSED, source="/faultline/close", subject=id, data=data)


def conclude(incident_id: str, ports: Ports) -> Closed | None:
    """Close the incident if every fault of it is over; None if not."""
    incidents = ports.incidents
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
        merged_at=min((m.at for m in merges), default=None),
    )
    incidents.record(incident_id, keys.CLOSED, closed)
    return incidents.closed(incident_id)


def ask(incident_id: str, ports: Ports) -> None:
    """Ask each outlet that was told whether people merged what was proposed there; record it."""
    incidents = ports.incidents
    known = {merge.outlet for merge in incidents.merges(incident_id)}
    for outlet in ports.outlets:
        receipt = None if outlet.name in known else incidents.receipt(incident_id, outlet.name)
        if receipt and (merged := outlet.merged(receipt)):
            incidents.record(incident_id, keys.merged(outlet.name), merged)
