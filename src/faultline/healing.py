"""What is missing from an incident, and which event brings it on. Pure; `steps/sweep.py` acts.

A nudge too many is harmless, as every step finds its records, but not free: in a storm those who
only wait would be nudged each minute. So the pause between two doubles, up to ten minutes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from faultline import keys
from faultline.event import (
    CONTEXT_READY,
    FAULT_CLEARED,
    FAULT_DETECTED,
    INCIDENT_OPENED,
    RUN_FINISHED,
)
from faultline.limits import calm_seconds_before_stop, nudge_pause_max_s, settled_after_s
from faultline.model import (
    Ended,
    Fault,
    JobState,
    Policy,
    Result,
    Run,
    RunStatus,
    Status,
    Stop,
)


@dataclass(frozen=True)
class Found:
    """What `sweep` sees of one incident."""

    status: Status
    age_s: float  # since the record that made the status; since opening where that has no date
    over: Fault | None = None  # the last to end, if every fault of the incident is over
    calm_s: float = 0.0  # for how long
    late: tuple[Fault, ...] = ()  # joined while it closed: `closed.json` does not name them
    number: int = 1  # of the newest run, recorded or only asked for
    waits: bool = False  # in the queue for an agent: it is called when its turn comes
    run: Run | None = None  # the newest
    result: Result | None = None  # of a run that was asked to stop, or whose answer nobody took
    stop: Stop | None = None  # who asked its run to stop, and why
    job: JobState = JobState.ABSENT
    names: frozenset[str] = frozenset()  # of its records


@dataclass(frozen=True)
class Remedy:
    """An event that brings an incident on."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    about: Fault | None = None  # the fault it is about, for the two fault events
    lost: bool = False  # write a failed result for the run first
    note: str = ""  # the record that says that it was sent; "": it is sent at every look


def remedies(found: Found, policy: Policy) -> Iterator[Remedy]:
    """Yield what would bring this incident on; nothing if it is moving or at rest."""
    for fault in found.late:
        yield Remedy(FAULT_DETECTED, about=fault)
    if found.status is Status.CLOSED:
        return
    if found.over is not None and _calm_tells(found, policy):
        yield Remedy(FAULT_CLEARED, about=found.over)
    elif _came_back(found):
        yield Remedy(CONTEXT_READY, {"run": found.number + 1})
    elif _has_no_job(found, policy):
        yield Remedy(CONTEXT_READY, {"run": found.number})
    elif found.age_s >= policy.nudge_after_s:
        yield from _nudges(found, policy)


def at_rest(found: Found) -> bool:
    """Say whether nothing will ever be missing here: closed, and whoever was at work then is not
    any more, so that no fault can join it late."""
    return found.status is Status.CLOSED and not found.late and found.age_s >= settled_after_s


def _calm_tells(found: Found, policy: Policy) -> bool:
    """Has it been calm long enough for `close` to do something: close, or stop the first run?"""
    stops = found.status is Status.INVESTIGATING and found.number == 1 and not found.stop
    return found.calm_s >= policy.close_after_s or (
        stops and found.calm_s >= calm_seconds_before_stop
    )


def _came_back(found: Found) -> bool:
    """Was the first run stopped because it was calm, and now it is not?"""
    if found.over is not None or found.status is not Status.PACKAGED or found.result is None:
        return False
    cancelled = found.result.status is RunStatus.CANCELLED
    return bool(found.number == 1 and cancelled and found.stop and found.stop.cleared)


def _has_no_job(found: Found, policy: Policy) -> bool:
    """Has a slot, and no Job: its cluster had no room. It is asked for at each look, as others wait
    for the slot; there are never more of them than slots."""
    absent = found.status is Status.INVESTIGATING and found.job is JobState.ABSENT
    return absent and not found.stop and not _past_deadline(found, policy)


def _nudges(found: Found, policy: Policy) -> Iterator[Remedy]:
    waited = int(math.log2(found.age_s / policy.nudge_after_s))
    nth = waited + int(found.age_s // nudge_pause_max_s)
    note = keys.nudged(found.status, found.number, nth)
    if note not in found.names:
        yield from (replace(remedy, note=note) for remedy in _wanted(found, policy))


def _wanted(found: Found, policy: Policy) -> Iterator[Remedy]:
    number = found.number
    if found.status is Status.OPEN:
        yield Remedy(INCIDENT_OPENED)
    elif found.status is Status.READY and not found.waits and found.over is None:
        yield Remedy(CONTEXT_READY, {"run": number})
    elif found.status is Status.INVESTIGATING and found.job is not JobState.LIVE:
        lost = found.job is JobState.ENDED or _past_deadline(found, policy)
        yield Remedy(RUN_FINISHED if lost else CONTEXT_READY, {"run": number}, lost=lost)
    elif found.status is Status.INVESTIGATED:
        yield Remedy(RUN_FINISHED, {"run": number})


def _past_deadline(found: Found, policy: Policy) -> bool:
    return found.run is not None and found.age_s > found.run.deadline_s + policy.nudge_after_s


def lost_status(found: Found, policy: Policy) -> Ended:
    """Return how a run ended whose Job is gone without a word."""
    return RunStatus.TIMEOUT if _past_deadline(found, policy) else RunStatus.FAILED
