"""What `sweep` sees of one incident, read from its records. What follows is `healing.py`'s."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping

from faultline import keys
from faultline.healing import Found
from faultline.incidents import Incidents
from faultline.model import Cleared, Closed, Fault, JobState, Run, Status, runs_of, status_of


def survey(
    incidents: Incidents,
    incident_id: str,
    now: dt.datetime,
    job: Callable[[Run], JobState],
) -> Found | None:
    """Return what there is of an incident; None if it was never opened."""
    incidents = incidents.snapshot(incident_id)
    names = incidents.names(incident_id)
    status, number = status_of(names), max(runs_of(names), default=1)
    if status is None:
        return None
    if closed := incidents.closed(incident_id):
        late = tuple(_late(incidents, incident_id, names, closed))
        return Found(status=status, age_s=(now - closed.at).total_seconds(), late=late)
    goes_on = incidents.goes_on(incident_id)
    run = incidents.run(incident_id, number) if status is Status.INVESTIGATING else None
    waits = status is Status.READY and incidents.wish(incident_id, number) is not None
    return Found(
        status=status,
        age_s=(now - _since(incidents, incident_id, status, number)).total_seconds(),
        over=None if goes_on else last_to_end(incidents, incidents.faults(incident_id)),
        number=number,
        waits=waits,
        run=run,
        job=job(run) if run else JobState.ABSENT,
    )


def last_to_end(
    incidents: Incidents, faults: Mapping[str, tuple[Fault, Cleared | None]]
) -> Fault | None:
    """Return the fault that ended last, if all are over that can be; else None.

    A source that never says when a fault is over (`clears` is false) holds nothing open, but it
    closes nothing either: at least one fault must have ended.
    """
    ended = {}
    for fault, end in faults.values():
        if end or incidents.was_cleared(fault):
            ended[fault.occurrence] = (end.at if end else fault.starts_at, fault)
        elif fault.clears:
            return None
    return max(ended.values(), key=lambda pair: pair[0])[1] if ended else None


def _since(incidents: Incidents, incident_id: str, status: Status, number: int) -> dt.datetime:
    if status is Status.INVESTIGATED and (result := incidents.result(incident_id, number)):
        return result.completed_at
    if status is Status.INVESTIGATING and (run := incidents.run(incident_id, number)):
        return run.created_at
    return incidents.incident(incident_id).opened_at


def _late(
    incidents: Incidents, incident_id: str, names: frozenset[str], closed: Closed
) -> Iterator[Fault]:
    """Yield the faults that joined while it closed, unless they are over or in a later episode."""
    named = {keys.detected(each) for each in closed.occurrences}
    for name in sorted(names - named):
        if _is_fault(name):
            fault = Fault.model_validate_json(incidents.read(incident_id, name))
            owner = incidents.owner(fault)
            elsewhere = owner is not None and owner.incident.id != incident_id
            if not elsewhere and not incidents.was_cleared(fault):
                yield fault


def _is_fault(name: str) -> bool:
    found = keys.occurrence_of(name)
    return found is not None and found[1] == "detected"
