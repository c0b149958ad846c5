"""What `sweep` sees of one incident, read from its records. What follows is `healing.py`'s."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

from faultline import keys
from faultline.calm import calm
from faultline.healing import Found
from faultline.incidents import Incidents
from faultline.model import Closed, Fault, JobState, Result, Run, Status, runs_of, status_of


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
    over = calm(incidents, incident_id, now)
    stop = incidents.stop(incident_id, number)
    answered = status is Status.INVESTIGATED or stop
    result = incidents.result(incident_id, number) if answered else None
    run = incidents.run(incident_id, number) if status is Status.INVESTIGATING else None
    since = _since(incidents, incident_id, status, run, result)
    return Found(
        status=status,
        age_s=(now - since).total_seconds(),
        over=over.last if over else None,
        calm_s=over.seconds(now) if over else 0.0,
        number=number,
        waits=status is Status.READY and incidents.wish(incident_id, number) is not None,
        run=run,
        result=result,
        stop=stop,
        job=job(run) if run else JobState.ABSENT,
        names=names,
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
