"""What triage says of a fault, with the reason."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest

from faultline.event import Event, format_time
from faultline.model import DecisionKind, Fault, Policy, Resource, Severity
from faultline.policy import about_ourselves, judge, staleness

NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)


def fault(**fields: object) -> Fault:
    plain = {"name": "CrashLoop", "cluster": "prod-a", "starts_at": NOW, "labels": {"team": "shop"}}
    return Fault.model_validate(plain | fields)


@pytest.mark.parametrize(("severity", "threshold"), [*itertools.product(Severity, Severity)])
def test_a_fault_opens_an_incident_from_the_threshold_on(
    severity: Severity, threshold: Severity
) -> None:
    found = judge(fault(severity=severity), Policy(severity_threshold=threshold), cleared=False)

    assert (found.kind is DecisionKind.OPEN) == (severity.rank >= threshold.rank)
    assert found.kind in (DecisionKind.OPEN, DecisionKind.TOO_MINOR)
    assert found.reason


@pytest.mark.parametrize(
    ("silence", "silenced"),
    [
        ({"team": "shop"}, True),
        ({"team": "shop", "alertname": "CrashLoop"}, True),
        ({"cluster": "prod-a"}, True),
        ({"namespace": "shop"}, True),
        ({"team": "other"}, False),
        ({"team": "shop", "alertname": "Other"}, False),
        ({"unknown": ""}, False),
        ({}, False),
    ],
)
def test_a_silence_matches_with_all_its_labels_or_not_at_all(silence: dict, silenced: bool) -> None:
    about = fault(resource=Resource(kind="Pod", name="a", namespace="shop"))
    found = judge(about, Policy(silences=(silence,)), cleared=False)

    assert (found.kind is DecisionKind.SILENCED) == silenced


def test_what_is_over_or_late_is_said_before_anything_else() -> None:
    minor = fault(severity=Severity.INFO)

    assert judge(minor, Policy(), cleared=True).kind is DecisionKind.ALREADY_CLEARED
    late = judge(minor, Policy(), cleared=False, stale="of last week")
    assert (late.kind, late.reason) == (DecisionKind.STALE, "of last week")


@pytest.mark.parametrize(
    ("hours", "extensions", "stale"),
    [
        (0, {}, False),
        (-23.9, {}, False),
        (-24.1, {}, True),
        (23.9, {}, False),
        (24.1, {}, True),
        (0, {"expirytime": "2026-11-21T09:59:59Z"}, True),
        (0, {"expirytime": "2026-11-21T10:00:01Z"}, False),
    ],
)
def test_an_event_of_another_day_or_past_its_expiry_is_stale(
    hours: float, extensions: dict, stale: bool
) -> None:
    time = format_time(NOW + dt.timedelta(hours=hours))
    event = Event(id="1", source="/s", type="t", time=time, extensions=extensions)

    assert bool(staleness(event, NOW, Policy())) == stale


def test_an_event_without_a_time_is_not_stale() -> None:
    assert staleness(Event(id="1", source="/s", type="t"), NOW, Policy()) == ""


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        ({}, False),
        ({"resource": {"kind": "Pod", "name": "a", "namespace": "faultline"}}, True),
        ({"resource": {"kind": "Pod", "name": "a", "namespace": "shop"}}, False),
        ({"labels": {"namespace": "faultline-agents"}}, True),
        ({"labels": {"part_of": "faultline"}}, True),
        ({"origin": "faultline"}, True),
    ],
)
def test_no_agent_looks_into_what_is_ours(fields: dict, ours: bool) -> None:
    assert about_ourselves(fault(**fields), Policy()) is ours
    assert about_ourselves(fault(**fields), Policy(own_namespaces=())) is False
