"""What `verify` sees of one incident, read from its records; `verification.py` judges it."""

from __future__ import annotations

from faultline.incidents import Incidents
from faultline.verification import Aftermath


def aftermath(incidents: Incidents, incident_id: str) -> Aftermath:
    """Return what followed an incident. Raises Rejected if nobody opened it."""
    incidents = incidents.snapshot(incident_id)
    return Aftermath(
        incident_id=incident_id,
        closed=incidents.closed(incident_id),
        faults=list(incidents.faults(incident_id).values()),
        merges=incidents.merges(incident_id),
        synced=incidents.synced(incident_id),
        shadow=incidents.shadow(incident_id),
        later=incidents.later(incidents.incident(incident_id)),
        held=incidents.verification(incident_id),
    )
