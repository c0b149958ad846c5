"""What `sweep` sees of one incident, read from its records. What follows is `healing.py`'s."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from faultline import keys
from faultline.calm import calm
from faultline.healing import Found
from faultline.incidents import Incidents
from faultline.model import Fault, JobState, Result, Run, Status, runs_of, status_of


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
    closed = status is Status.CLOSED
    over = None if closed else calm(incidents, incident_id, now)
    runs = runs_of(names)
    number = max(runs, default=0)
    run = incidents.run(incident_id, number) if number else None
    result = incidents.result(incident_id, number) if number else None
    since = _since(incidents, incident_id, status, run, result)
    return Found(
        status=status,
        age_s=(now - since).total_seconds(),
        over=over.last if over else None,
        calm_s=over.seconds(now) if over else 0.0,
        late=_late(incidents, incident_id, names) if closed else (),
        number=number or 1,
        waits=waits,
        run=run,
        result=result,
        stopped_by=incidents.stopped_by(incident_id, number) if number else "",
        job=job(run) if run and result is None else JobState.ABSENT,
    )


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


def _late(incidents: Incidents, incident_id: str, names: frozenset[str]) -> tuple[Fault, ...]:
    closed = incidents.closed(incident_id)
    named = {keys.detected(each) for each in closed.occurrences} if closed else set()
    new = (name for name in sorted(names - named) if _is_fault(name))
    return tuple(Fault.model_validate_json(incidents.read(incident_id, name)) for name in new)


def _is_fault(name: str) -> bool:
    found = keys.occurrence_of(name)
    return found is not None and found[1] == "detected"
