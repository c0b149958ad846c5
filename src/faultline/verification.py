"""Did the fix hold? Pure, over an incident's faults, what people changed, and what came after.

`because` says why an incident closes, at the moment when its last fault ends; `settle` says later
whether it stayed that way. How near our proposal was to people's own fix is `shadow.py`.
"""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from faultline.event import CHANGE_MERGED, FIX_FAILED, FIX_VERIFIED, ROLLOUT_SYNCED
from faultline.fixes import Outcome, Shadow, Synced, Verification
from faultline.model import Cleared, Closed, ClosedBecause, Fault, Incident, Merged


def because(
    faults: Sequence[tuple[Fault, Cleared | None]],
    merges: Sequence[Merged],
    synced: Synced | None = None,
) -> ClosedBecause:
    """Say why an incident whose faults are all over closes.

    Verified: our change was merged while the fault was there, and nothing began after the merge.
    Returned: a fault began after the merge, so the merge did not hold. Cleared: it went away
    without our change. Times are the senders' own; a merge within a fault's last second counts.
    Where it is known when the merge reached the cluster (`synced`), what began before is no return.
    """
    if not merges:
        return ClosedBecause.CLEARED
    merged_at = min(merge.at for merge in merges)
    live_at = max(merged_at, synced.at) if synced else merged_at
    if any(fault.starts_at > live_at for fault, _ in faults):
        return ClosedBecause.RETURNED
    ends = [end.at for _, end in faults if end]
    held = bool(ends) and max(ends) >= merged_at
    return ClosedBecause.VERIFIED if held else ClosedBecause.CLEARED


ASK_ALWAYS_S = 7_200
ASK_MINUTES = 10


def worth_asking(incident_id: str, opened_at: dt.datetime, now: dt.datetime) -> bool:
    """Say whether to look for a fix now: each minute at first, after two hours every tenth.

    Which minute of ten follows from the id, so that a repository is not asked for all at once. A
    host such as GitHub answers a limited number of questions an hour.
    """
    if (now - opened_at).total_seconds() < ASK_ALWAYS_S:
        return True
    turn = zlib.crc32(incident_id.encode()) % ASK_MINUTES
    return int(now.timestamp()) // 60 % ASK_MINUTES == turn


def worth_looking(incident_id: str, now: dt.datetime) -> bool:
    """Say whether to look at an incident's records for that, from its id alone: `worth_asking`, as
    if it had been opened at the very end of its day."""
    end = dt.datetime.strptime(incident_id[:8], "%Y%m%d").replace(tzinfo=dt.UTC)
    return worth_asking(incident_id, end + dt.timedelta(days=1), now)


@dataclass(frozen=True)
class Aftermath:
    """What followed an incident: its end, what people changed, and the next episodes."""

    incident_id: str
    closed: Closed | None
    faults: Sequence[tuple[Fault, Cleared | None]]
    merges: Sequence[Merged] = ()
    synced: Synced | None = None  # when the merge reached the cluster, if anyone said so
    shadow: Shadow | None = None  # people's own fix
    later: Sequence[Incident] = ()  # episodes of the same key
    held: Verification | None = None  # what was decided


def settle(found: Aftermath, now: dt.datetime, quiet_s: int) -> Verification | None:
    """Say whether the fix held; None: there was none, it is too early, or nobody can tell.

    Failed: a fault of the same workload began after the fix, whatever its name. Verified: the last
    fault ended after the fix, and `quiet_s` seconds have passed since without another. When people
    made a fix of their own is not known: it counts from when it was seen; the fault is over then.
    """
    merged_at = min((merge.at for merge in found.merges), default=None)
    fixed_at = merged_at or (found.shadow.at if found.shadow else None)
    if fixed_at is None or found.closed is None:
        return None
    ours = merged_at is not None
    if merged_at and found.synced:
        fixed_at = max(merged_at, found.synced.at)
    if again := _again(found, fixed_at if ours else None):
        return Verification(
            outcome=Outcome.FAILED,
            at=now,
            ours=ours,
            fixed_at=fixed_at,
            again=again[0],
            fault=again[1],
        )
    cleared_at = _cleared_at(found.faults, found.closed)
    if cleared_at is None or (merged_at and cleared_at < merged_at):
        return None
    if (now - max(cleared_at, fixed_at)).total_seconds() < quiet_s:
        return None
    return Verification(
        outcome=Outcome.VERIFIED,
        at=now,
        ours=ours,
        fixed_at=fixed_at,
        cleared_at=cleared_at,
        quiet_s=quiet_s,
    )


def _again(found: Aftermath, live_at: dt.datetime | None) -> tuple[str, str] | None:
    """Return the incident in which a fault began after the fix, and the fault's name."""
    own = ((found.incident_id, fault) for fault, _ in found.faults if live_at)
    later = ((incident.id, incident.fault) for incident in found.later)
    for incident_id, fault in (*own, *later):
        if live_at is None or fault.starts_at > live_at:
            return incident_id, fault.name
    return None


def _cleared_at(
    faults: Sequence[tuple[Fault, Cleared | None]], closed: Closed
) -> dt.datetime | None:
    """Return when the last fault ended; None if one that can end has not.

    What closed by itself was over, whether or not each end is on file here: a fault may have joined
    after its end was heard. A person may close what burns.
    """
    mine = [(fault, end) for fault, end in faults if fault.occurrence in closed.occurrences]
    by_hand = closed.because is ClosedBecause.PERSON
    if by_hand and any(fault.clears and end is None for fault, end in mine):
        return None
    return max((end.at for _, end in mine if end), default=None)


def news(found: Aftermath) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what there is to say of an incident's fix: (type of the event, its data)."""
    incident = {"incident": found.incident_id}
    if found.merges:
        first = min(found.merges, key=lambda merge: merge.at).model_dump(mode="json")
        yield CHANGE_MERGED, incident | {"ours": True} | first
    elif found.shadow:
        said = found.shadow.model_dump(mode="json", include={"at", "revision", "score"})
        yield CHANGE_MERGED, incident | {"ours": False} | said
    if found.synced:
        yield ROLLOUT_SYNCED, incident | found.synced.model_dump(mode="json")
    if found.held:
        failed = found.held.outcome is Outcome.FAILED
        wanted = {"again", "fault"} if failed else {"cleared_at", "quiet_s"}
        data = found.held.model_dump(mode="json", include={"ours", "fixed_at"} | wanted)
        yield FIX_FAILED if failed else FIX_VERIFIED, incident | data
