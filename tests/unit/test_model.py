"""Identities and status: what must never depend on order or wording."""

from __future__ import annotations

import datetime as dt
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultline import keys
from faultline.event import Event
from faultline.model import Fault, Incident, Result, RunStatus, Severity, Status, status_of

START = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)
ORDER = list(Status)
labels = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=6)
RECORDS = (
    keys.EVENT, keys.INCIDENT, keys.README, keys.PROMPT, keys.INDEX, keys.CLOSED,
    *(keys.run_record(1, n) for n in (keys.FINDINGS, keys.RUN, keys.RESULT, keys.CHANGE,
                                      keys.PACKAGED, keys.CANCEL, keys.DIAGNOSIS)),
    "published/git.json", "faults/x/detected.json",
)  # fmt: skip


def fault(**fields: object) -> Fault:
    return Fault.model_validate(
        {"name": "CrashLoop", "cluster": "prod-a", "starts_at": START} | fields
    )


@given(labels, st.randoms(use_true_random=False), labels)
def test_order_and_wording_are_no_part_of_an_identity(
    found: dict[str, str], chance: object, words: dict[str, str]
) -> None:
    items = list(found.items())
    chance.shuffle(items)  # type: ignore[attr-defined]
    one = fault(labels=found)
    other = fault(labels=dict(items), annotations=words, summary="x", severity=Severity.INFO)

    assert one.fingerprint == other.fingerprint
    assert one.occurrence == other.occurrence


def test_cluster_name_labels_and_the_senders_own_name_are() -> None:
    found = [
        fault(), fault(cluster="prod-b"), fault(name="Other"), fault(labels={"pod": "a"}),
        fault(labels={"pod": "b"}), fault(condition="c1"), fault(condition="c2"),
        fault(condition="c1", cluster="prod-b"),
    ]  # fmt: skip

    assert len({each.fingerprint for each in found}) == len(found)
    assert fault(condition="c1", labels={"a": "b"}).fingerprint == fault(condition="c1").fingerprint


def test_the_same_condition_at_another_time_is_another_occurrence() -> None:
    later = fault(starts_at=START + dt.timedelta(microseconds=1))

    assert later.fingerprint == fault().fingerprint
    assert later.occurrence != fault().occurrence


def test_a_start_in_another_zone_is_the_same_occurrence() -> None:
    zone = dt.timezone(dt.timedelta(hours=5))

    assert fault(starts_at=START.astimezone(zone)).occurrence == fault().occurrence


@pytest.mark.covers("S1-075")
@given(st.permutations(RECORDS))
def test_status_never_goes_back_as_records_come_in_any_order(order: list[str]) -> None:
    seen = [status_of(frozenset(order[:n])) for n in range(len(order) + 1)]
    ranks = [-1 if status is None else ORDER.index(status) for status in seen]

    assert ranks == sorted(ranks)
    assert seen[-1] is Status.CLOSED


@pytest.mark.covers("S1-075")
def test_the_newest_run_says_the_status() -> None:
    first = {keys.INCIDENT, keys.INDEX, keys.run_record(1, keys.RUN),
             keys.run_record(1, keys.PACKAGED)}  # fmt: skip

    assert status_of(first) is Status.PACKAGED
    assert status_of(first | {keys.run_record(2, keys.RUN)}) is Status.INVESTIGATING
    assert status_of(first | {keys.run_record(10, keys.RESULT)}) is Status.INVESTIGATED


def test_before_it_is_open_there_is_no_status() -> None:
    assert status_of(frozenset()) is None
    assert status_of({keys.EVENT, "faults/x/detected.json"}) is None


def test_severities_are_ordered() -> None:
    assert sorted(Severity, key=lambda s: s.rank) == ["info", "warning", "critical"]


def test_the_same_event_begins_the_same_incident() -> None:
    event = Event(id="1", source="/am", type="t", time="2026-11-21T23:59:59Z")
    begun = [Incident.begin(fault(), key="k", name="api", because=event) for _ in range(2)]

    assert begun[0] == begun[1]
    assert keys.INCIDENT_ID.fullmatch(begun[0].id)
    assert begun[0].id.startswith("20261121-api-")


def test_an_event_without_a_time_begins_when_its_fault_did() -> None:
    begun = Incident.begin(
        fault(), key="k", name="api", because=Event(id="1", source="/am", type="t")
    )

    assert begun.opened_at == START
    assert begun.headline()["opened_at"] == "2026-11-21T10:00:00Z"


@pytest.mark.covers("S1-004")
def test_a_run_has_exactly_seven_states() -> None:
    assert [state.value for state in RunStatus] == [
        "created", "starting", "running", "success", "failed", "timeout", "cancelled",
    ]  # fmt: skip


@pytest.mark.covers("S0-23")
def test_a_result_has_the_five_fields_under_their_names() -> None:
    result = Result(
        incident_id="20261121-api-5c1e9b2a", run=1, status=RunStatus.SUCCESS, exit_code=0,
        started_at=START, completed_at=START,
    )  # fmt: skip
    written = result.model_dump(mode="json")

    assert {"incident_id", "exit_code", "started_at", "completed_at", "status"} <= written.keys()
    assert written["status"] == "success"


@pytest.mark.parametrize("status", ["created", "starting", "running", "lost"])
def test_a_run_cannot_end_in_a_state_that_is_no_end(status: str) -> None:
    with pytest.raises(ValueError, match="status"):
        Result.model_validate(
            {"incident_id": "i", "run": 1, "status": status, "started_at": START,
             "completed_at": START}
        )  # fmt: skip


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_fields_of_a_newer_version_are_ignored(more: dict[str, int]) -> None:
    written = fault().model_dump(mode="json")

    assert Fault.model_validate({f"new_{k}": v for k, v in more.items()} | written) == fault()


def test_no_two_names_of_records_look_alike() -> None:
    names = [v for k, v in vars(keys).items() if k.isupper() and isinstance(v, str)]
    doubled = [pair for pair in itertools.combinations(names, 2) if pair[0] == pair[1]]

    assert doubled == [("README.md", "README.md")]  # one of the bucket, one of each incident
    assert all(re.fullmatch(r"[\w./-]+", name) for name in names)
