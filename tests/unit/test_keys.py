"""Keys: nothing from outside leaves its folder, and what was built can be taken apart."""

from __future__ import annotations

import datetime as dt
import posixpath

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from faultline import keys
from faultline.errors import Rejected
from faultline.limits import key_part_bytes_max

ID = "20261121-api-5c1e9b2a"
DAY = dt.date(2026, 11, 21)
texts = st.text(st.characters(), max_size=300)
hostile = st.sampled_from(
    ["../../etc/passwd", "a/b", "..", "\\..\\", "%2e%2e", "a\0b", "é" * 300, "\ud800", "a\nb", "~"]
)


@given(texts | hostile)
@pytest.mark.covers("S1-023")
def test_a_part_from_outside_is_one_plain_part_of_a_path(text: str) -> None:
    assume(text not in ("", ".", ".."))
    found = keys.part(text)

    assert found.isascii()
    assert len(found) <= key_part_bytes_max
    assert "/" not in found
    assert found not in ("", ".", "..")
    assert posixpath.normpath(f"folder/{found}") == f"folder/{found}"


@given(texts, texts)
def test_two_names_never_share_a_part(one: str, other: str) -> None:
    assume(one != other and not {one, other} & {"", ".", ".."})

    assert keys.part(one) != keys.part(other)
    assert keys.part(one) == keys.part(one)


def test_long_names_that_differ_at_the_end_stay_apart() -> None:
    found = {keys.part("é" * 200 + str(number)) for number in range(1_000)}

    assert len(found) == 1_000
    assert all(len(part) <= key_part_bytes_max for part in found)


@pytest.mark.parametrize("text", ["", ".", ".."])
def test_a_name_that_is_no_folder_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="expected a name"):
        keys.part(text)


@given(st.dates(), texts | hostile, texts)
def test_every_incident_id_that_is_made_is_accepted(day: dt.date, name: str, cause: str) -> None:
    id = keys.incident_id(day, name, cause)

    assert keys.checked_incident_id(id) == id
    assert keys.incident_id(day, name, cause) == id


def test_an_id_says_day_and_workload_and_differs_by_cause() -> None:
    one, other = (keys.incident_id(DAY, "Checkout_API", cause) for cause in ("a", "b"))

    assert one.startswith("20261121-checkout-api-")
    assert one != other
    assert keys.incident_id(DAY, "***", "a").startswith("20261121-fault-")


@pytest.mark.parametrize(
    "text",
    ["", "x", "../20261121-api-5c1e9b2a", f"{ID}/..", f"{ID}\n", ID.upper(), "2026112-api-5c1e9b2a",
     "20261121--5c1e9b2", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"],
)  # fmt: skip
@pytest.mark.covers("S1-018", "S1-025")
def test_any_other_form_of_an_incident_id_is_refused(text: str) -> None:
    for build in (keys.checked_incident_id, keys.incident, lambda named: keys.waiting(named, 1)):
        with pytest.raises(Rejected, match="expected an incident id"):
            build(text)


@pytest.mark.parametrize("name", ["/etc/passwd", "../other", "runs/../../x", ".."])
def test_a_record_outside_the_incident_is_refused(name: str) -> None:
    with pytest.raises(Rejected, match="inside the incident"):
        keys.incident(ID, name)


@given(st.integers(1, 9_999), st.sampled_from(["run.json", "output/agent.log"]))
def test_a_record_of_a_run_is_taken_apart_again(number: int, name: str) -> None:
    assert keys.run_of(keys.run_record(number, name)) == (number, name)


@pytest.mark.parametrize("name", ["run.json", "runs/0/run.json", "runs/x/run.json", "runs/1/"])
def test_what_belongs_to_no_run_is_none(name: str) -> None:
    assert keys.run_of(name) is None


@given(texts)
def test_the_names_of_a_faults_records_are_taken_apart_again(occurrence: str) -> None:
    assume(occurrence not in ("", ".", ".."))

    assert keys.occurrence_of(keys.detected(occurrence)) == (keys.part(occurrence), "detected")
    assert keys.occurrence_of(keys.fault_cleared(occurrence)) == (keys.part(occurrence), "cleared")


def test_other_records_are_of_no_occurrence() -> None:
    assert keys.occurrence_of("faults/a/b/detected.json") is None
    assert keys.occurrence_of("closed.json") is None


def test_numbers_in_keys_come_back() -> None:
    assert keys.episode_of(keys.claim("resource/prod/shop/api", 12)) == 12
    assert keys.line_of(keys.ledger(1_234_567)) == 1_234_567
    assert keys.ledger(999) < keys.ledger(1_000)


def test_a_dataref_is_one_of_our_own_keys_or_refused() -> None:
    key = keys.data(DAY, b"{}")

    assert len(keys.data_sha256(key)) == 64
    for other in ("data/2026-11-21/abc.json", "http://x/data", key + "/..", "../" + key):
        with pytest.raises(Rejected, match="expected a dataref"):
            keys.data_sha256(other)


def test_only_our_own_report_is_a_page() -> None:
    assert keys.content_type(f"incidents/{ID}/report/index.html").startswith("text/html")
    assert keys.content_type(f"incidents/{ID}/runs/1/output/x.html").startswith("text/plain")
    assert keys.content_type("a/b.json") == "application/json"
    assert keys.content_type("a/unknown") == "application/octet-stream"


def test_everything_with_a_day_lies_in_the_folder_of_that_day() -> None:
    moment = dt.datetime(2026, 11, 21, 10, 0, 59, tzinfo=dt.UTC)

    assert keys.ignored(DAY, "a/b") == "ignored/2026-11-21/a%2Fb.json"
    assert keys.parked(DAY, "x").startswith("parked/2026-11-21/")
    assert keys.payload(DAY, b"x").startswith("payloads/2026-11-21/")
    assert keys.waiting(ID, 3) == f"waiting/20261121/{ID}-3.json"
    assert keys.heartbeat("prod", moment, 60) == "heartbeats/prod/2026-11-21/100000.txt"
