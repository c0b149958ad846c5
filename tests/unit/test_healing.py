"""Which event brings an incident on, for every state it can stop in."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest

from faultline import keys
from faultline.event import (
    CONTEXT_READY,
    FAULT_CLEARED,
    FAULT_DETECTED,
    INCIDENT_OPENED,
    RUN_FINISHED,
)
from faultline.healing import Found, lost_status, remedies
from faultline.model import Fault, JobState, Policy, Result, Run, RunStatus, Status, Stop

NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)
POLICY = Policy(nudge_after_s=120)
FAULT = Fault(name="CrashLoop", cluster="prod-a", starts_at=NOW)
RUN = Run(
    incident_id="20261121-api-5c1e9b2a", number=2, engine="stub", deadline_s=600,
    capsule_sha256="", created_at=NOW, cause={},
)  # fmt: skip


def said(status: Status, age_s: float, **fields: object) -> list[tuple[str, dict, bool]]:
    found = Found(status=status, age_s=age_s, **fields)  # type: ignore[arg-type]
    return [(each.type, each.data, each.lost) for each in remedies(found, POLICY)]


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.CLOSED])
def test_what_is_young_is_left_alone(status: Status) -> None:
    assert said(status, 119.9, run=RUN, job=JobState.LIVE) == []


def test_a_run_that_has_no_job_is_asked_for_at_each_look_unless_somebody_stopped_it() -> None:
    plain = {"run": RUN, "number": 2, "names": frozenset({keys.nudged("investigating", 2, 0)})}

    for age_s in (1, 60, 119, 121, 600):
        assert said(Status.INVESTIGATING, age_s, **plain) == [(CONTEXT_READY, {"run": 2}, False)]
    stop = Stop(by="anna", at=NOW)
    assert said(Status.INVESTIGATING, 60, stop=stop, **plain) == []


@pytest.mark.parametrize("status", [Status.PACKAGED, Status.CLOSED])
def test_what_is_at_rest_is_left_alone(status: Status) -> None:
    assert said(status, 1e9, run=RUN) == []


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (Status.OPEN, {}, [(INCIDENT_OPENED, {}, False)]),
        (Status.READY, {}, [(CONTEXT_READY, {"run": 1}, False)]),
        (Status.READY, {"number": 3}, [(CONTEXT_READY, {"run": 3}, False)]),
        (Status.READY, {"waits": True}, []),
        (Status.INVESTIGATING, {"job": JobState.LIVE}, []),
        (Status.INVESTIGATING, {"job": JobState.ABSENT}, [(CONTEXT_READY, {"run": 2}, False)]),
        (Status.INVESTIGATING, {"job": JobState.ENDED}, [(RUN_FINISHED, {"run": 2}, True)]),
        (Status.INVESTIGATED, {}, [(RUN_FINISHED, {"run": 2}, False)]),
    ],
)
def test_what_stopped_moving_gets_the_event_of_its_state(
    status: Status, fields: dict, expected: list
) -> None:
    plain = {"run": RUN, "number": 2} if status.value.startswith("investigat") else {}

    assert said(status, 120, **(plain | fields)) == expected


def test_a_run_without_a_job_is_lost_after_its_deadline_and_no_sooner() -> None:
    plain = {"run": RUN, "number": 2}

    assert said(Status.INVESTIGATING, 720, **plain) == [(CONTEXT_READY, {"run": 2}, False)]
    assert said(Status.INVESTIGATING, 721, **plain) == [(RUN_FINISHED, {"run": 2}, True)]


@pytest.mark.covers("S1-079")
def test_a_lost_run_timed_out_if_its_time_was_over() -> None:
    young, old = (Found(status=Status.INVESTIGATING, age_s=age, run=RUN) for age in (300, 721))

    assert lost_status(young, POLICY) is RunStatus.FAILED
    assert lost_status(old, POLICY) is RunStatus.TIMEOUT


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.CLOSED])
def test_when_all_faults_are_over_it_is_closed_and_nothing_else_is_asked(status: Status) -> None:
    found = Found(status=status, age_s=1e9, over=FAULT, run=RUN)

    assert [(each.type, each.about) for each in remedies(found, POLICY)] == [(FAULT_CLEARED, FAULT)]


def test_a_fault_that_came_while_it_closed_is_told_again() -> None:
    found = Found(status=Status.CLOSED, age_s=0, late=(FAULT,))

    assert [(e.type, e.about) for e in remedies(found, POLICY)] == [(FAULT_DETECTED, FAULT)]


def nudges(seconds: range) -> list[int]:
    """Look at an incident that stands still at these ages; return those at which it is nudged."""
    noted: set[str] = set()
    at = []
    for age_s in seconds:
        found = Found(status=Status.OPEN, age_s=age_s, names=frozenset(noted))
        for remedy in remedies(found, POLICY):
            noted.add(remedy.note)
            at.append(age_s)
    return at


def test_the_pause_between_two_nudges_doubles_up_to_ten_minutes() -> None:
    looks = nudges(range(0, 4_000, 60))

    assert looks[:3] == [120, 240, 480]
    assert max(late - early for early, late in itertools.pairwise(looks)) == 600


@pytest.mark.parametrize("cleared", [True, False])
def test_what_came_back_runs_again_if_we_stopped_its_run_and_no_person_did(cleared: bool) -> None:
    stop = Stop(by="faultline", at=NOW, cleared=cleared)  # a person may have that name
    result = Result(
        incident_id=RUN.incident_id, run=1, status=RunStatus.CANCELLED, started_at=NOW,
        completed_at=NOW, engine="stub",
    )  # fmt: skip

    again = [(CONTEXT_READY, {"run": 2}, False)] if cleared else []
    assert said(Status.PACKAGED, 300, result=result, stop=stop) == again
