"""Events: a cause has one effect with one name; times as RFC 3339 writes them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultline.event import Event, format_time, from_json, parse_time, to_json

CAUSE = Event(
    id="1", source="/am", type="dev.faultline.fault.detected.v1", time="2026-11-21T10:00:00Z",
    extensions={"cluster": "prod-a", "severity": "critical", "traceparent": "00-a-b-01", "x": 1},
)  # fmt: skip
words = st.text(min_size=1, max_size=20)


def test_the_same_cause_has_the_same_effect() -> None:
    effects = [CAUSE.caused("t", source="/s", subject="i", data={"n": n}) for n in range(2)]

    assert effects[0].id == effects[1].id
    assert effects[0].time == CAUSE.time


@given(words, words, words, words)
def test_another_cause_type_or_subject_is_another_effect(
    id: str, source: str, type: str, subject: str
) -> None:
    cause = Event(id=id, source=source, type="t")
    effect = cause.caused(type, source="/s", subject=subject)
    others = [
        Event(id=id + "x", source=source, type="t").caused(type, source="/s", subject=subject),
        Event(id=id, source=source + "x", type="t").caused(type, source="/s", subject=subject),
        cause.caused(type + "x", source="/s", subject=subject),
        cause.caused(type, source="/s", subject=subject + "x"),
    ]

    assert effect.id not in {other.id for other in others}


def test_what_an_event_carries_goes_on_and_the_rest_stays_behind() -> None:
    effect = CAUSE.caused("t", source="/s", subject="i", extensions={"more": True})

    assert effect.extensions == {
        "cluster": "prod-a", "severity": "critical", "traceparent": "00-a-b-01", "more": True,
        "partitionkey": "i", "correlationid": "i", "causationid": "1",
    }  # fmt: skip


@given(
    st.none() | st.binary(max_size=50) | st.dictionaries(words, st.integers() | words | st.none()),
    st.dictionaries(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), st.integers() | words),
)
def test_an_event_survives_json(data: object, extensions: dict[str, int | str]) -> None:
    names = {"id", "source", "type", "subject", "time", "data", "datacontenttype", "dataschema",
             "specversion", "data_base64"}  # fmt: skip
    kept = {k: v for k, v in extensions.items() if k not in names}
    event = Event(id="1", source="/s", type="t", data=data, extensions=kept)
    again = from_json(to_json(event))

    assert (again.id, again.data, again.extensions) == (event.id, event.data, event.extensions)


def test_a_reference_to_data_is_text() -> None:
    assert Event(id="1", source="/s", type="t").dataref is None
    assert (
        Event(id="1", source="/s", type="t", extensions={"dataref": "data/x"}).dataref == "data/x"
    )


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_that_was_written_is_read_again(moment: dt.datetime) -> None:
    try:
        moment.astimezone(dt.UTC)
    except OverflowError:
        return  # no such time in UTC

    assert parse_time(format_time(moment)) == moment.astimezone(dt.UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
        ("2026-11-21t10:00:00z", "2026-11-21T10:00:00Z"),
        ("2026-11-21T10:00:00.123456789Z", "2026-11-21T10:00:00.123456Z"),
        ("2026-11-21T10:00:00.5+02:00", "2026-11-21T08:00:00.500000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_read_to_the_microsecond_in_utc(text: str, expected: str) -> None:
    assert format_time(parse_time(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-21", "2026-11-21 10:00:00Z", "2026-11-21T10:00:00",
     "2026-02-30T10:00:00Z",
     "2026-11-21T25:00:00Z", "2026-11-21T10:00:00Z\n", "٢٠٢٦-11-21T10:00:00Z",
     "0000-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_time(text)
