"""The gate of the wire, with many events."""

import datetime as dt
import hashlib
import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultline import keys, wire
from faultline.errors import Rejected
from faultline.event import Event

DAY = dt.date(2026, 11, 21)


@pytest.mark.covers("CE-06")
def test_none_of_100_000_random_events_leaves_over_64_kib_in_either_mode():
    chance, kept, referring = random.Random(6), {}, 0

    for n in range(100_000):
        size = chance.choice((10, 400)) if n % 100 else chance.randint(20_000, 90_000)
        event = Event(
            id=str(n),
            source="/s",
            type="t",
            subject="é" * chance.randint(1, 40),
            data=chance.choice(("x", "漢", '"', "\n")) * size,
        )
        small = wire.fit(event, kept.__setitem__, DAY)
        referring += small.dataref is not None
        assert wire_bytes(small) <= 64 * 1024
        if small.dataref:
            assert wire.resolve(small, kept.__getitem__) == event

    assert referring > 500
    assert all(keys.data_sha256(key) == hashlib.sha256(kept[key]).hexdigest() for key in kept)


def wire_bytes(event):
    modes = (wire.encode(event), wire.encode(event, structured=True))
    return max(len(body) + sum(len(k) + len(v) + 4 for k, v in h.items()) for h, body in modes)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
attribute_text = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Cn"), include_characters='%"\\'), min_size=1
)
events = st.builds(
    Event,
    id=attribute_text,
    source=st.from_regex(r"[a-z:/?#.=&-]{1,30}", fullmatch=True),
    type=attribute_text,
    subject=st.none() | attribute_text,
    time=st.none() | st.datetimes(timezones=st.just(dt.UTC)).map(dt.datetime.isoformat),
    data=json_values,
    datacontenttype=st.just("application/json"),
    extensions=st.dictionaries(
        st.from_regex(r"x[a-z0-9]{0,18}", fullmatch=True), attribute_text | st.text(max_size=0)
    ),
)


@given(events)
def test_every_event_survives_both_modes_and_the_disk(event):
    for headers, body in (wire.encode(event), wire.encode(event, structured=True)):
        assert wire.decode(headers, body) == event
    assert wire.from_bytes(wire.to_bytes(event)) == event


@given(st.dictionaries(st.text(), st.text()), st.binary(), st.booleans())
def test_whatever_comes_is_an_event_or_refused(headers, body, claims_to_be_structured):
    if claims_to_be_structured:
        headers = headers | {"content-type": "application/cloudevents+json"}
    try:
        event = wire.decode(headers, body)
    except Rejected:
        return
    assert wire.decode(*wire.encode(event)) == event


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "id",
                "source",
                "type",
                "specversion",
                "time",
                "data",
                "data_base64",
                "subject",
                "datacontenttype",
                "dataschema",
                "x",
            ]
        ),
        json_values,
    ),
    st.booleans(),
)
@settings(max_examples=200)
def test_a_structured_event_with_anything_in_it_is_an_event_or_refused(values, valid):
    body = values | (
        {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} if valid else {}
    )
    try:
        event = wire.decode(
            {"content-type": "application/cloudevents+json"}, json.dumps(body).encode()
        )
    except Rejected:
        return
    again = wire.decode(*wire.encode(event, structured=True))
    assert again == replace(event, datacontenttype=again.datacontenttype)
