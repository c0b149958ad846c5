"""The wire against the specification, its conformance files, and the SDK as an independent peer.

Runs in both environments: `cloudevents` 1 beside functions-framework, 2 beside func-python.
"""

import base64
import datetime as dt
import hashlib
import importlib.util
import json
import random
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from faultline import wire
from faultline.errors import NotAnEvent, NotFound, Rejected, TooLarge
from faultline.event import Event

FIXTURES = Path(__file__).parents[1] / "fixtures" / "cloudevents"
DAY = dt.date(2026, 11, 21)

TRACED = Event(
    id="5c1e9b2a-20261121T100000000000Z/detected",
    source="/faultline/bridge/prod",
    type="dev.faultline.fault.detected.v1",
    subject="resource/prod/shop/api",
    time="2026-11-21T10:00:00.123456789Z",
    data={"name": "KubePodCrashLooping", "labels": {"pod": "api-0"}, "n": [1, 2.5, None, True]},
    datacontenttype="application/json",
    dataschema="https://faultline.dev/schemas/fault.json",
    extensions={
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": "vendor=a,other=b c%d",
        "severity": "critical",
        "cluster": "prod",
        "partitionkey": 'Grüße, "Welt" 100 % 🌎',
        "correlationid": "resource/prod/shop/api",
    },
)
REQUIRED = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/s",
    "ce-type": "t",
}
STRUCTURED = {"content-type": "application/cloudevents+json"}
MINIMAL = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def structured(**attributes):
    body = {k: v for k, v in (MINIMAL | attributes).items() if v is not ...}
    return STRUCTURED, json.dumps(body).encode()


def binary(body=b"", **headers):
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return {k: v for k, v in (REQUIRED | named).items() if v is not ...}, body


# both directions


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_traced_event_survives_both_directions(mode):
    headers, body = wire.encode(TRACED, structured=mode == "structured")

    assert wire.decode(headers, body) == TRACED


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_header_names_may_have_any_case(mode):
    headers, body = wire.encode(TRACED, structured=mode == "structured")

    assert wire.decode({k.title(): v for k, v in headers.items()}, body) == TRACED


@pytest.mark.parametrize(
    "data",
    [None, "", "text", 0, 0.5, False, True, [], {}, [1, {"a": None}], {"Ü": "🌎"}, 2**63],
    ids=repr,
)
@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_any_json_value_survives_as_data(mode, data):
    event = replace(TRACED, data=data)

    assert wire.decode(*wire.encode(event, structured=mode == "structured")) == event


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_data_that_is_not_json_stays_bytes(mode):
    event = replace(TRACED, data=b"\x00\xff<xml/>", datacontenttype="text/xml; charset=latin-1")

    assert wire.decode(*wire.encode(event, structured=mode == "structured")) == event


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_data_always_travels_with_its_content_type(mode):
    as_json = wire.decode(
        *wire.encode(replace(TRACED, datacontenttype=None), structured=mode == "structured")
    )
    as_bytes = wire.decode(
        *wire.encode(
            replace(TRACED, datacontenttype=None, data=b"\xff"), structured=mode == "structured"
        )
    )

    assert as_json.datacontenttype == "application/json"
    assert (as_bytes.datacontenttype, as_bytes.data) == ("application/octet-stream", b"\xff")


def test_types_of_extensions_survive_in_structured_mode_and_become_text_in_binary_mode():
    event = replace(TRACED, extensions={"n": 5, "yes": True, "no": False, "text": "a"})

    assert wire.decode(*wire.encode(event, structured=True)) == event
    assert wire.decode(*wire.encode(event)).extensions == {
        "n": "5",
        "yes": "true",
        "no": "false",
        "text": "a",
    }


def test_a_thousand_random_events_survive_both_directions():
    chance = random.Random(11)

    for _ in range(1000):
        event = random_event(chance)
        assert wire.decode(*wire.encode(event)) == event
        assert wire.decode(*wire.encode(event, structured=True)) == event
        assert wire.from_bytes(wire.to_bytes(event)) == event


def random_event(chance, size=40):
    def text(most):
        alphabet = "abc/:-_.% \"\\é漢🌎'&<>,;=+"
        return "".join(chance.choices(alphabet, k=chance.randint(1, most)))

    return Event(
        id=text(20),
        source="/" + chance.choice("abc") * chance.randint(0, 9),
        type=text(20),
        subject=chance.choice([None, text(30)]),
        time=chance.choice([None, "2026-11-21T10:00:00Z", "1999-12-31T23:59:59.999+14:00"]),
        datacontenttype="application/json",
        data={text(9): [text(size), chance.random(), None, chance.randint(-9, 9)]},
        extensions={f"x{n}": text(20) for n in range(chance.randint(0, 4))},
    )


# what the specification asks of a reader


@pytest.mark.covers("CE-01")
def test_every_scenario_of_the_conformance_feature_passes():
    scenarios = list(read_feature((FIXTURES / "http-protocol-binding.feature").read_text("utf-8")))

    for headers, body, attributes, data in scenarios:
        event = wire.decode(headers, body)
        assert {name: getattr(event, name) for name in attributes} == attributes
        assert event.data == data
    assert len(scenarios) == 4


def read_feature(text):
    """Yield (headers, body, attributes, data) of each example: as much Gherkin as that file has."""
    for outline in text.split("Scenario Outline:")[1:]:
        steps, examples = outline.split("Examples:")
        rows = [line.strip(" |") for line in examples.strip().splitlines()]
        for value in rows[1:]:
            filled = steps.replace(f"<{rows[0]}>", value)
            request, expected = re.findall(r'"""\n(.*?)"""', filled, re.DOTALL)
            head, body = re.sub(r"^ {8}", "", request, flags=re.MULTILINE).split("\n\n", 1)
            headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
            table = re.findall(r"^ *\| +(\w+) \| (.*?) +\|$", filled, re.MULTILINE)
            yield headers, body.encode(), dict(table[1:]), json.loads(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"a b"', "a b"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ("a b", "a b"),
        ("100%", "100%"),
        ("%zz%2", "%zz%2"),
        ("%2541", "%41"),
        ("%e2%82%ac", "€"),
        (" padded\t", "padded"),
    ],
)
def test_header_values_are_unquoted_and_percent_decoded_once(value, expected):
    assert wire.decode(*binary(ce_subject=value)).subject == expected


@pytest.mark.parametrize("name", ["subject", "time", "dataschema", "datacontenttype", "anything"])
def test_a_null_attribute_is_an_unset_one(name):
    event = wire.decode(*structured(**{name: None}))

    assert event == wire.decode(*structured())


def test_structured_content_wins_over_headers():
    headers, body = structured(id="from the body")

    assert wire.decode(REQUIRED | headers, body).id == "from the body"


def test_version_0_3_is_read_and_written_as_it_is():
    old = Event(
        id="1", source="/s", type="t", specversion="0.3", extensions={"schemaurl": "http://x/y"}
    )

    assert wire.decode(*wire.encode(old)) == old
    assert wire.decode(*wire.encode(old, structured=True)) == old
    with_bytes = replace(old, data=b"\xff", datacontenttype="image/png")
    assert wire.decode(*wire.encode(with_bytes, structured=True)) == with_bytes


def test_a_body_without_content_type_is_json_if_it_reads_as_json():
    assert wire.decode(*binary(b'{"a": 1}')).data == {"a": 1}
    assert wire.decode(*binary(b"\x01\x02")).data == b"\x01\x02"


def test_structured_text_of_another_type_is_its_bytes():
    event = wire.decode(*structured(datacontenttype="text/plain", data="Grüße"))

    assert event.data == "Grüße".encode()


def test_base64_of_json_is_read_as_json():
    encoded = base64.b64encode(b'{"a":1}').decode()

    event = wire.decode(*structured(datacontenttype="application/json", data_base64=encoded))

    assert event.data == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    ["Application/JSON", "application/json; charset=utf-8", "application/x+json", "text/json"],
)
def test_every_spelling_of_a_json_content_type_is_json(content_type):
    assert wire.decode(*binary(b"[1]", content_type=content_type)).data == [1]


WRONG = {
    "no specversion": binary(ce_specversion=...),
    "no id": binary(ce_id=...),
    "no source": binary(ce_source=...),
    "no type": binary(ce_type=...),
    "empty id": binary(ce_id=""),
    "empty source": binary(ce_source=""),
    "empty type": binary(ce_type=""),
    "empty subject": binary(ce_subject=""),
    "unknown specversion": binary(ce_specversion="2.0"),
    "time in words": binary(ce_time="yesterday"),
    "time without zone": binary(ce_time="2026-11-21T10:00:00"),
    "month 13": binary(ce_time="2026-13-21T10:00:00Z"),
    "raw umlaut": binary(ce_subject="Grüße"),
    "control character": binary(ce_subject="a\x00b"),
    "line end": binary(ce_subject="a\r\nx-injected: 1"),
    "encoded line end": binary(ce_subject="a%0D%0Ax-injected:%201"),
    "encoded delete": binary(ce_subject="%7F"),
    "not UTF-8": binary(ce_subject="%C0%A0"),
    "half a character": binary(ce_subject="%E2%82"),
    "encoded surrogate": binary(ce_subject="%ED%A0%80"),
    "noncharacter": binary(ce_subject="%EF%BF%BF"),
    "name with a dash": binary(ce_my_ext="1"),
    "name with an underscore": (REQUIRED | {"ce-my_ext": "1"}, b""),
    "name that is empty": (REQUIRED | {"ce-": "1"}, b""),
    "header twice": (REQUIRED | {"CE-Id": "2"}, b""),
    "data in a header": binary(ce_data="1"),
    "content type in a ce header": binary(ce_datacontenttype="text/xml"),
    "attribute called extensions": binary(ce_extensions="1"),
    "source with a space": binary(ce_source="a b"),
    "source with a broken percent sign": binary(ce_source="/a%25zz"),
    "schema that is relative": binary(ce_dataschema="/schema"),
    "content type that is none": binary(b"1", content_type="json"),
    "content type with a line end": binary(b"1", content_type="text/plain\r\nx: 1"),
    "JSON that is cut off": binary(b'{"a": ', content_type="application/json"),
    "JSON that is NaN": binary(b"NaN", content_type="application/json"),
    "JSON number beyond any": binary(b"1e999", content_type="application/json"),
    "JSON with a name twice": binary(b'{"a":1,"a":2}', content_type="application/json"),
    "JSON with a lone surrogate": binary(b'"\\ud800"', content_type="application/json"),
    "JSON in UTF-16": binary('"a"'.encode("utf-16"), content_type="application/json"),
    "JSON too deep": binary(b"[" * 50_000, content_type="application/json"),
    "no event at all": ({"content-type": "application/json"}, b"{}"),
    "nothing": ({}, b""),
    "a form": ({"content-type": "application/x-www-form-urlencoded"}, b"a=b"),
    "a batch": ({"content-type": "application/cloudevents-batch+json"}, b"[]"),
    "a batch with ce headers": (
        REQUIRED | {"content-type": "application/cloudevents-batch+json"},
        b"[]",
    ),
    "structured XML": ({"content-type": "application/cloudevents+xml"}, b"<event/>"),
    "structured in another charset": (
        {"content-type": "application/cloudevents+json; charset=utf-16"},
        structured()[1],
    ),
    "structured list": (STRUCTURED, b"[]"),
    "structured text": (STRUCTURED, b'"event"'),
    "structured nothing": (STRUCTURED, b""),
    "structured, no JSON": (STRUCTURED, b"ce"),
    "structured, no id": structured(id=...),
    "structured, null id": structured(id=None),
    "structured, id as a number": structured(id=1),
    "structured, type as a list": structured(type=["t"]),
    "structured, id twice": (
        STRUCTURED,
        b'{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}',
    ),
    "structured, time as a number": structured(time=1),
    "structured, time in words": structured(time="now"),
    "structured, specversion as a number": structured(specversion=1.0),
    "structured, name in capitals": structured(myExt="1"),
    "structured, name with a dash": structured(**{"my-ext": "1"}),
    "structured, extension as an object": structured(ext={}),
    "structured, extension as a fraction": structured(ext=1.5),
    "structured, extension over 32 bits": structured(ext=2**31),
    "structured, control character": structured(subject="a\nb"),
    "structured, lone surrogate": structured(subject="\ud800"),
    "structured, data twice": structured(data=1, data_base64="MQ=="),
    "structured, no base64": structured(data_base64="?"),
    "structured, base64 as a number": structured(data_base64=5),
    "structured, object as text": structured(datacontenttype="text/plain", data={}),
    "structured, NaN in data": (STRUCTURED, structured(data=1)[1].replace(b": 1}", b": NaN}")),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_an_event_is_refused(case):
    headers, body = WRONG[case]

    with pytest.raises(NotAnEvent) as refused:
        wire.decode(headers, body)

    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


def test_an_event_over_the_limit_is_refused_before_it_is_read():
    with pytest.raises(TooLarge, match="at most 65536 bytes, got 65537"):
        wire.decode(REQUIRED, b"x" * 65_537)
    assert wire.decode(*binary(b"x" * 65_536, content_type="a/b")).data == b"x" * 65_536


@pytest.mark.parametrize(
    "extra",
    [{f"x-{n}": "1" for n in range(101)}, {"cookie": "x" * 17_000}],
    ids=["many", "long"],
)
def test_headers_over_a_limit_are_refused(extra):
    with pytest.raises(TooLarge):
        wire.decode(REQUIRED | extra, b"")


# what the specification asks of a writer

UNSENDABLE = {
    "empty id": {"id": ""},
    "line end in an id": {"id": "a\r\nx: 1"},
    "surrogate": {"subject": "\ud800"},
    "time in words": {"time": "now"},
    "capital in a name": {"extensions": {"Ab": "1"}},
    "no text": {"extensions": {"a": 1.5}},
    "extension over a standard name": {"extensions": {"id": "2"}},
    "extension called data": {"extensions": {"data": "2"}},
    "NaN": {"data": float("nan")},
    "no JSON": {"data": {1, 2}},
    "object as text": {"data": {}, "datacontenttype": "text/plain"},
    "bytes that are no JSON": {"data": b"{", "datacontenttype": "application/json"},
    "line end in the content type": {"datacontenttype": "a/b\r\nx: 1"},
}


@pytest.mark.parametrize("mode", ["binary", "structured"])
@pytest.mark.parametrize("case", UNSENDABLE)
def test_what_the_specification_refuses_is_not_sent(mode, case):
    event = replace(TRACED, **UNSENDABLE[case])

    with pytest.raises(Rejected):
        wire.encode(event, structured=mode == "structured")


def test_an_event_as_data_is_sent_in_structured_mode_only():
    inner = wire.encode(TRACED, structured=True)[1]
    event = replace(TRACED, data=inner, datacontenttype="application/cloudevents+json")

    with pytest.raises(NotAnEvent):
        wire.encode(event)
    assert wire.decode(*wire.encode(event, structured=True)).data == json.loads(inner)


def test_headers_hold_nothing_but_visible_ascii():
    headers, _ = wire.encode(TRACED)

    for name, value in headers.items():
        assert re.fullmatch(r"content-type|ce-[a-z0-9]+", name)
        assert re.fullmatch(r"[!-~]*", value), name


def test_structured_events_pass_the_json_schema_of_the_specification():
    jsonschema = pytest.importorskip("jsonschema", reason="not in this environment")
    schema = json.loads((FIXTURES / "cloudevents.json").read_text("utf-8"))
    validator = jsonschema.Draft7Validator(schema)
    chance = random.Random(7)

    events = [TRACED, replace(TRACED, data=b"\xff", datacontenttype="image/png")]
    for event in events + [random_event(chance) for _ in range(200)]:
        validator.validate(json.loads(wire.encode(event, structured=True)[1]))
        validator.validate(json.loads(wire.to_bytes(event)))


# the SDK as a peer: it reads what we write, we read what it writes


def sdk():
    try:
        from cloudevents.v1 import conversion, http
    except ImportError:
        from cloudevents import conversion, http
    return conversion, http.CloudEvent


PLAIN = replace(TRACED, extensions={"severity": "critical", "partitionkey": "a"})


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_the_sdk_reads_what_we_write(mode):
    conversion, sdk_event = sdk()

    read = conversion.from_http(sdk_event, *wire.encode(PLAIN, structured=mode == "structured"))

    assert read.get_data() == PLAIN.data
    assert read["id"] == PLAIN.id
    assert read["time"] == PLAIN.time
    assert read["partitionkey"] == "a"


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_we_read_what_the_sdk_writes(mode):
    conversion, sdk_event = sdk()
    names = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")
    theirs = sdk_event({n: getattr(PLAIN, n) for n in names} | PLAIN.extensions, PLAIN.data)
    write = conversion.to_structured if mode == "structured" else conversion.to_binary

    assert wire.decode(*write(theirs)) == PLAIN


@pytest.mark.skipif(
    importlib.util.find_spec("cloudevents.core") is None,
    reason="the new interface came with cloudevents 2",
)
@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_the_new_interface_of_the_sdk_understands_us_and_we_it(mode):
    from cloudevents.core.bindings import http as peer

    headers, body = wire.encode(TRACED, structured=mode == "structured")
    theirs = peer.from_http_event(peer.HTTPMessage(headers, body))
    write = peer.to_structured_event if mode == "structured" else peer.to_binary_event
    answer = write(theirs)

    assert theirs.get_extension("partitionkey") == TRACED.extensions["partitionkey"]
    assert replace(wire.decode(answer.headers, answer.body), time=TRACED.time) == TRACED


# on disk


@pytest.mark.parametrize(
    "event",
    [
        TRACED,
        replace(TRACED, datacontenttype=None),
        replace(TRACED, data=None, datacontenttype=None),
        replace(TRACED, data=b"\x00\xff", datacontenttype=None),
        replace(TRACED, data=b'{"a":1}', datacontenttype="application/json"),
        replace(TRACED, data="text", datacontenttype="text/plain"),
        replace(TRACED, extensions={"n": 5, "yes": True}),
    ],
    ids=["json", "implied", "empty", "bytes", "json bytes", "text", "typed"],
)
def test_what_is_kept_on_disk_comes_back_exactly(event):
    assert wire.from_bytes(wire.to_bytes(event)) == event


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"id": 1}'])
def test_what_is_no_event_on_disk_is_refused(data):
    with pytest.raises(NotAnEvent):
        wire.from_bytes(data)


# the gate


def large(size=60_000, **changes):
    return replace(TRACED, **({"data": {"text": "x" * size}} | changes))


def test_a_small_event_passes_the_gate_as_it_is():
    assert wire.fit(TRACED, refuse_put, DAY) is TRACED


def refuse_put(key, data):
    raise AssertionError(f"nothing should be written, got {key}")


@pytest.mark.parametrize(
    "event",
    [
        large(),
        large(datacontenttype=None),
        large(data="漢" * 20_000),
        large(data=b"\x00" * 60_000, datacontenttype="image/png"),
        large(data=b"\x00" * 40_000, datacontenttype="image/png"),  # too large as base64 only
    ],
    ids=["json", "implied json", "text", "bytes", "base64"],
)
def test_larger_data_goes_to_the_store_and_comes_back(event):
    kept = {}

    small = wire.fit(event, kept.__setitem__, DAY)

    [(key, body)] = kept.items()
    assert key == f"data/2026-11-21/{hashlib.sha256(body).hexdigest()}.json"
    assert small.data is None
    assert small.dataref == key
    for mode in (False, True):
        headers, sent = wire.encode(small, structured=mode)
        assert len(sent) + sum(map(len, headers.values())) < 4096
        assert wire.resolve(wire.decode(headers, sent), kept.__getitem__) == event


def test_attributes_alone_can_be_too_much():
    with pytest.raises(TooLarge, match="shorten"):
        wire.fit(replace(TRACED, subject="x" * 50_000), refuse_put, DAY)


def test_an_event_without_reference_is_resolved_as_it_is():
    assert wire.resolve(TRACED, refuse_get) is TRACED


def refuse_get(key):
    raise AssertionError(f"nothing should be read, got {key}")


SHA = "0" * 64


@pytest.fixture
def canary():
    """Yield the port of a listener that fails the test if anyone connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener.getsockname()[1]
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:{port}/data/2026-11-21/" + SHA + ".json",
        "https://127.0.0.1:{port}/data/2026-11-21/" + SHA + ".json",
        "file:///etc/passwd",
        "s3://other/data/2026-11-21/" + SHA + ".json",
        "//host/data/2026-11-21/" + SHA + ".json",
        f"incidents/20261121-api-5c1e9b2a/{SHA}.json",
        f"payloads/2026-11-21/{SHA}.json",
        f"other-tenant/data/2026-11-21/{SHA}.json",
        f"data/2026-11-21/../../{SHA}.json",
        f"data/2026-11-21/{SHA}.json/..",
        f"data/2026-11-21/{SHA.upper()}X.json",
        f"/data/2026-11-21/{SHA}.json",
        "",
    ],
)
def test_a_reference_to_anything_but_our_own_data_is_refused(reference, canary):
    event = replace(TRACED, data=None, extensions={"dataref": reference.format(port=canary)})

    with pytest.raises(Rejected, match="dataref"):
        wire.resolve(event, refuse_get)


def test_data_that_is_missing_or_changed_is_refused():
    kept = {}
    small = wire.fit(large(), kept.__setitem__, DAY)

    def missing(key):
        raise NotFound(key)

    with pytest.raises(Rejected, match="got none"):
        wire.resolve(small, missing)
    with pytest.raises(Rejected, match="other bytes"):
        wire.resolve(small, lambda key: kept[key] + b" ")


def test_data_beside_a_reference_is_not_believed():
    kept = {}
    small = wire.fit(large(), kept.__setitem__, DAY)

    assert wire.resolve(replace(small, data={"forged": 1}), kept.__getitem__) == large()
