"""How many pull requests a workload was given, and when that is enough.

A pull request that does not help is followed by the next fault and the next pull request. So they
are counted, by workload, and at the cap (`HealingCapReached`) no agent is asked and no change is
proposed until a person has looked and resets the count. The count is the listing of one folder:
`package` writes a record there for each pull request, before its receipt; whoever resets writes
which of them count no more. Nothing is ever taken back or counted up. Decision 42.
"""

from __future__ import annotations

import datetime as dt

from faultline import keys
from faultline.fixes import Reset
from faultline.incidents import Incidents, content
from faultline.model import OURSELVES, Diagnosis, Incident, Policy, Proposal, Receipt, Run
from faultline.policy import ANALYZERS
from faultline.store import put_once

REACHED = "HealingCapReached"
HELD_BACK = "the healing cap of this workload is reached"


def is_pull(receipt: Receipt) -> bool:
    """Is this the receipt of a pull request, or of a branch on disk, and not of a message?"""
    return any(receipt.details.get(name) for name in ("pull", "pull_request"))


def count(incident: Incident, receipt: Receipt, incidents: Incidents) -> None:
    """Put on file that the incident has got a pull request: once, however often it is told."""
    if is_pull(receipt):
        name = keys.attempt(incident.id, receipt.reference)
        put_once(incidents.store, keys.healing(incident.key, name), content(receipt))


def score(key: str, incidents: Incidents, *, but: str = "") -> int:
    """Return the healing score of a workload: its pull requests since the last reset.

    One that several incidents share counts once. `but` is an incident whose own are left out.
    """
    return len(_counted(key, incidents, but))


def _counted(key: str, incidents: Incidents, but: str = "") -> set[str]:
    folder = keys.healing(key)
    names = [name.removeprefix(folder) for name in incidents.store.list(folder)]
    made = [found for name in names if (found := keys.attempt_of(name))]
    counted = {digest for incident_id, digest in made if incident_id != but}
    for name in names:
        if counted and not keys.attempt_of(name):
            record = Reset.model_validate_json(incidents.store.get(folder + name))
            counted -= set(record.forgives)
    return counted


def reset(key: str, incidents: Incidents, *, by: str, at: dt.datetime, note: str = "") -> int:
    """Let the count start anew, for a person; return how many pull requests it was."""
    counted = _counted(key, incidents)
    if counted:
        name = keys.healing_reset(f"{at.astimezone(dt.UTC):%Y%m%dT%H%M%S%fZ}")
        record = Reset(by=by, at=at, note=note, forgives=tuple(sorted(counted)))
        put_once(incidents.store, keys.healing(key, name), content(record))
    return len(counted)


def capped(run: Run, incident: Incident, incidents: Incidents, policy: Policy) -> Run:
    """Return the run as it may begin: at the cap by the analyzers, without a change.

    An incident is never held back by its own pull request: a later run of it edits that one.
    """
    if incident.episode == 1 or not policy.max_healing_attempts:
        return run  # nothing came before
    _forgive_the_quiet(incident, incidents, policy, run.created_at)
    found = score(incident.key, incidents, but=incident.id)
    if found < policy.max_healing_attempts:
        return run
    because = run.because if run.engine == ANALYZERS else HELD_BACK
    said = sentence(incident.key, found, policy.max_healing_attempts)
    told = {"engine": ANALYZERS, "model": "", "because": because, "capped": said}
    return run.model_copy(update=told)


def sentence(key: str, found: int, most: int) -> str:
    """Say that the cap is reached, what follows, and what to do."""
    name = workload(key)
    many = f"{found} pull requests were made" if found != 1 else "1 pull request was made"
    return (
        f"{REACHED}: {many} for {name} and the cap is {most}, so no agent is asked and no change "
        f"is proposed until a person has looked and says: faultline heal reset {name}"
    )


def workload(key: str) -> str:
    """Return a workload as people name it: `<cluster>/<namespace>/<name>`, from its key."""
    return key.removeprefix("resource/")


def no_change(run: Run | None, diagnosis: Diagnosis) -> Proposal | None:
    """Return the empty proposal of a run that was capped; None for any other."""
    if run is None or not run.capped:
        return None
    return Proposal(refused={"every change": HELD_BACK} if diagnosis.changes else {})


def _forgive_the_quiet(
    incident: Incident, incidents: Incidents, policy: Policy, now: dt.datetime
) -> None:
    """Reset the count if the workload had no incident for long enough before this one."""
    before = incidents.closed(incident.follows) if incident.follows else None
    quiet = incident.opened_at - before.at if before else dt.timedelta(0)
    if not policy.healing_quiet_s or quiet.total_seconds() < policy.healing_quiet_s:
        return
    forgives = tuple(sorted(_counted(incident.key, incidents, incident.id)))
    if not forgives:
        return
    note = f"no incident for {quiet.days} days"
    record = Reset(by=OURSELVES, at=now, note=note, forgives=forgives)
    name = keys.healing_reset(incident.id)
    put_once(incidents.store, keys.healing(incident.key, name), content(record))
