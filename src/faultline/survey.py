"""What `sweep` sees of one incident, read from its records. What follows is `healing.py`'s."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from faultline.healing import Found
from faultline.incidents import Incidents
from faultline.model import Cleared, Fault, JobState, Result, Run, Status, runs_of, status_of


def survey(
    incidents: Incidents,
    incident_id: str,
    now: dt.datetime,
    job: Callable[[Run], JobState],
    *,
    waits: bool = False,
) -> Found | None:
    """Return what there is of an incident; None if it was never opened."""
    names = incidents.names(incident_id)
    status = status_of(names)
    if status is None:
        return None
    faults = incidents.faults(incident_id)
    runs = runs_of(names)
    number = max(runs, default=0)
    run = incidents.run(incident_id, number) if number else None
    result = incidents.result(incident_id, number) if number else None
    since = _since(incidents, incident_id, status, run, result)
    return Found(
        status=status,
        age_s=(now - since).total_seconds(),
        over=None if status is Status.CLOSED else last_to_end(incidents, faults),
        late=_late(incidents, incident_id, faults) if status is Status.CLOSED else (),
        number=number or 1,
        waits=waits,
        run=run,
        result=result,
        job=job(run) if run and result is None else JobState.ABSENT,
    )


def last_to_end(
    incidents: Incidents, faults: dict[str, tuple[Fault, Cleared | None]]
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


def _since(
    incidents: Incidents,
    incident_id: str,
    status: Status,
    run: Run | None,
    result: Result | None,
) -> dt.datetime:
    if status is Status.INVESTIGATED and result:
        return result.completed_at
    if status is Status.INVESTIGATING and run:
        return run.created_at
    return incidents.incident(incident_id).opened_at


def _late(
    incidents: Incidents, incident_id: str, faults: dict[str, tuple[Fault, Cleared | None]]
) -> tuple[Fault, ...]:
    closed = incidents.closed(incident_id)
    named = set(closed.occurrences) if closed else set()
    return tuple(fault for fault, _ in faults.values() if fault.occurrence not in named)
