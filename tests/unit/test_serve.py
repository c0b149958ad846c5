import asyncio
import base64
import datetime as dt
import json
import logging
import socket
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import BaseModel

from faultline import wire
from faultline.adapters.stores.memory import MemoryStore
from faultline.errors import Busy, Rejected, Unavailable
from faultline.event import Event
from faultline.serve import EventFunction, Request, answer

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
CAUSE = Event(
    id="cause-1",
    source="/test",
    type="dev.faultline.fault.detected.v1",
    subject="resource/prod/shop/api",
    time="2026-11-21T10:00:00Z",
    data={"n": 1},
    datacontenttype="application/json",
    extensions={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
)


@dataclass
class SomeIncidents:
    store: Any = field(default_factory=MemoryStore)

    def recalling(self) -> Any:
        return self


@dataclass
class SomePorts:
    """As much of Ports as serving needs."""

    incidents: SomeIncidents = field(default_factory=SomeIncidents)
    clock: Any = lambda: NOW
    spans: Any = None

    @property
    def records(self):
        store = self.incidents.store
        return {key: json.loads(store.get(key)) for key in store.list("")}


class DownStore(MemoryStore):
    def put(self, key, data, *, if_absent=False):
        raise Unavailable("the store does not answer")


def post(event=CAUSE, *, structured=False):
    return Request("POST", "/", *wire.encode(event, structured=structured))


def effect(event, ports):
    return event.caused("dev.faultline.incident.opened.v1", source="/t", subject="i", data={"a": 1})


def nothing(event, ports):
    return None


def raising(error):
    def step(event, ports):
        raise error

    return step


def never(event, ports):
    raise AssertionError("the step should not have been asked")


# answers


@pytest.mark.parametrize("structured", [False, True])
def test_an_effect_is_answered_as_a_binary_event(structured):
    status, headers, body = answer(effect, SomePorts(), post(structured=structured))

    assert status == 200
    assert wire.decode(headers, body) == replace(
        effect(CAUSE, None), datacontenttype="application/json"
    )


def test_a_reply_without_data_still_has_a_content_type():
    def step(event, ports):
        return replace(effect(event, ports), data=None)

    status, headers, body = answer(step, SomePorts(), post())

    assert (status, headers["content-type"], body) == (200, "application/json", b"")
    assert wire.decode(headers, body).data is None


def test_nothing_to_say_is_204_and_empty():
    assert answer(nothing, SomePorts(), post()) == (204, {}, b"")


@pytest.mark.parametrize("path", ["/health/liveness", "/health/readiness"])
def test_health_is_answered_without_the_step(path):
    assert answer(never, SomePorts(), Request("GET", path, {}, b"")).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH"])
def test_anything_but_a_post_is_405(method):
    status, headers, body = answer(never, SomePorts(), Request(method, "/", {}, b""))

    assert (status, headers, body) == (405, {"allow": "POST, OPTIONS"}, b"")


def test_the_webhook_handshake_is_answered_if_it_is_one():
    asked = {"WebHook-Request-Origin": "broker.example"}

    plain = answer(never, SomePorts(), Request("OPTIONS", "/", {}, b""))
    handshake = answer(never, SomePorts(), Request("OPTIONS", "/", asked, b""))

    assert plain == (200, {"allow": "POST, OPTIONS"}, b"")
    assert handshake.status == 200
    assert handshake.headers["webhook-allowed-origin"] == "*"


def test_an_event_of_another_type_is_403():
    ports = SomePorts()

    refused = answer(never, ports, post(), accepts={"dev.knative.sources.ping"})

    assert refused == (403, {}, b"")
    assert [r["reason"] for r in ports.records.values()] == [
        "expected dev.knative.sources.ping, got dev.faultline.fault.detected.v1"
    ]


class Shape(BaseModel):
    name: str


def parsing(event, ports):
    Shape.model_validate(event.data)


@pytest.mark.parametrize(
    ("step", "status", "headers"),
    [
        (raising(Busy("full", retry_after_s=3)), 429, {"retry-after": "3"}),
        (raising(Unavailable("no cluster")), 503, {}),
        (raising(Rejected("never")), 400, {}),
        (parsing, 400, {}),
        (raising(ValueError("a bug")), 500, {}),
        (raising(RecursionError()), 500, {}),
    ],
    ids=["busy", "unavailable", "rejected", "shape", "bug", "deep bug"],
)
def test_what_a_step_raises_becomes_a_status_and_no_body(step, status, headers):
    assert answer(step, SomePorts(), post()) == (status, headers, b"")


@pytest.mark.parametrize(
    "reply",
    [
        replace(CAUSE, id=""),
        replace(CAUSE, data={1, 2}),
        replace(CAUSE, subject="x" * 60_000),
        "no event",
    ],
    ids=["empty id", "no json", "too large", "other"],
)
def test_a_reply_that_is_no_event_is_our_bug_and_parks_nothing(reply):
    ports = SomePorts()

    assert answer(lambda event, ports: reply, ports, post()).status == 500
    assert ports.records == {}


# parked


@pytest.mark.parametrize("step", [raising(Rejected("expected an incident")), parsing])
def test_what_is_refused_for_ever_is_parked_before_the_answer(step):
    ports = SomePorts()

    assert answer(step, ports, post()).status == 400

    record = ports.records["parked/2026-11-21/cause-1.json"]
    assert wire.from_bytes(json.dumps(record["event"]).encode()) == CAUSE
    assert record["by"] == step.__name__
    assert record["reason"]


def test_a_message_that_cannot_be_read_is_parked_as_it_came_without_credentials():
    ports = SomePorts()
    headers = {"Ce-Id": "1", "Content-Type": "text/x", "Authorization": "Bearer hunter2"}

    assert answer(never, ports, Request("POST", "/", headers, b"\xff")).status == 400

    [(key, record)] = ports.records.items()
    assert key.startswith("parked/2026-11-21/unreadable-")
    assert record["raw"]["headers"] == {"ce-id": "1", "content-type": "text/x"}
    assert base64.b64decode(record["raw"]["body_base64"]) == b"\xff"
    assert "hunter2" not in json.dumps(record)


def test_of_a_message_over_the_limit_only_its_head_is_parked():
    ports = SomePorts()

    refused = answer(never, ports, Request("POST", "/", {"ce-id": "1"}, b"x" * 1_000_000))

    [record] = ports.records.values()
    assert refused.status == 413
    assert len(record["raw"]["body_base64"]) < 100_000


def test_a_second_delivery_finds_the_parked_record_and_changes_nothing():
    ports = SomePorts()
    answer(raising(Rejected("first")), ports, post())

    again = answer(raising(Rejected("second")), ports, post())

    assert again.status == 400
    assert [r["reason"] for r in ports.records.values()] == ["first"]


@pytest.mark.parametrize("id", [".", "..", "a/../../b", "x" * 500, 'é " %'])
def test_any_legal_id_can_be_parked(id):
    ports = SomePorts()

    assert answer(raising(Rejected("no")), ports, post(replace(CAUSE, id=id))).status == 400

    [(key, record)] = ports.records.items()
    assert key.startswith("parked/2026-11-21/")
    assert key.count("/") == 2
    assert record["event"]["id"] == id


def test_what_could_not_be_parked_is_asked_for_again():
    ports = SomePorts(SomeIncidents(DownStore()))

    assert answer(raising(Rejected("no")), ports, post()) == (503, {}, b"")
    assert answer(never, ports, Request("POST", "/", {}, b"?")) == (503, {}, b"")


@pytest.mark.parametrize("error", [Unavailable("later"), ValueError("a bug")])
def test_what_will_be_tried_again_is_not_parked(error):
    ports = SomePorts()

    answer(raising(error), ports, post())

    assert ports.records == {}


# data by reference


def by_reference(ports):
    whole = replace(CAUSE, data={"text": "x" * 60_000})
    return whole, wire.fit(whole, ports.incidents.store.put, NOW.date())


def test_a_step_gets_the_data_that_did_not_fit():
    ports, seen = SomePorts(), []
    whole, small = by_reference(ports)

    answer(lambda event, ports: seen.append(event), ports, post(small))

    assert seen == [whole]


def test_a_reply_too_large_for_a_broker_goes_by_reference():
    ports = SomePorts()

    def step(event, ports):
        return replace(effect(event, ports), data={"text": "x" * 60_000})

    for _ in range(2):
        status, headers, body = answer(step, ports, post())
        reply = wire.decode(headers, body)
        assert (status, reply.data) == (200, None)
        assert ports.records[reply.dataref] == {"text": "x" * 60_000}


@pytest.mark.covers("CE-07")
def test_data_that_is_missing_changed_or_elsewhere_is_parked_and_nobody_is_asked_for_it():
    ports = SomePorts()
    _, small = by_reference(ports)
    key = small.dataref
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.setblocking(False)
        host = f"127.0.0.1:{canary.getsockname()[1]}"
        changed, missing = (
            key.replace(key[-9], "0" if key[-9] != "0" else "1"),
            key.replace("1", "2"),
        )
        ports.incidents.store.put(changed, b"{}")
        references = [
            changed,
            missing,
            f"http://{host}/{key}",
            f"//{host}/{key}",
            f"https://{host}/{key}",
            f"file:///{key}",
            f"other-tenant/{key}",
        ]
        for n, reference in enumerate(references):
            event = replace(small, id=f"case-{n}", extensions={"dataref": reference})
            assert answer(never, ports, post(event)).status == 400, reference
            assert ports.records[f"parked/2026-11-21/case-{n}.json"]["reason"]
        with pytest.raises(BlockingIOError):
            canary.accept()


# logs


def test_each_delivery_is_logged_once_with_what_it_was_about(caplog):
    caplog.set_level(logging.INFO)

    answer(effect, SomePorts(), post())
    answer(raising(Rejected("no")), SomePorts(), post())
    answer(raising(Unavailable("later")), SomePorts(), post())
    answer(raising(ValueError("bug")), SomePorts(), post())

    assert [(r.levelname, r.status) for r in caplog.records] == [
        ("INFO", 200),
        ("WARNING", 400),
        ("WARNING", 503),
        ("ERROR", 500),
    ]
    about = {(r.subject, r.event, r.event_id) for r in caplog.records}
    assert about == {(CAUSE.subject, CAUSE.type, CAUSE.id)}
    assert caplog.records[0].step == "effect"


# the ASGI shell


class Client:
    """An ASGI server in ten lines: gives the messages, keeps what is sent."""

    def __init__(self, *messages, **scope):
        self.messages, self.sent = list(messages), []
        self.scope = {"type": "http", "method": "POST", "path": "/", "headers": []} | scope

    async def receive(self):
        return self.messages.pop(0)

    async def send(self, message):
        self.sent.append(message)

    def ask(self, app):
        asyncio.run(app(self.scope, self.receive, self.send))
        return self.sent


def body(data, more=False):
    return {"type": "http.request", "body": data, "more_body": more}


def raw(headers):
    return [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]


def test_a_body_in_pieces_is_put_together():
    headers, data = wire.encode(CAUSE)
    pieces = [body(data[n : n + 1], more=True) for n in range(len(data))]

    start, sent = Client(*pieces, body(b""), headers=raw(headers)).ask(
        EventFunction(effect, SomePorts())
    )

    assert start["status"] == 200
    assert wire.decode({k.decode(): v.decode() for k, v in start["headers"]}, sent["body"])


def test_what_is_over_the_limit_is_dropped_and_reading_ends_soon_after():
    ports, client = SomePorts(), Client(*[body(b"x" * 65_536, more=True)] * 100)

    start, _ = client.ask(EventFunction(never, ports))

    [record] = ports.records.values()
    assert start["status"] == 413
    assert len(base64.b64decode(record["raw"]["body_base64"])) == 65_536
    assert len(client.messages) == 100 - 17


def test_a_client_that_goes_away_is_not_answered():
    client = Client(body(b"x", more=True), {"type": "http.disconnect"})

    assert client.ask(EventFunction(never, SomePorts())) == []


def test_a_header_that_came_twice_is_refused_or_read_as_one_list():
    headers, data = wire.encode(CAUSE)
    twice = [*raw(headers), (b"ce-time", b"2026-11-21T10:00:00Z")]

    start, _ = Client(body(data), headers=twice).ask(EventFunction(never, SomePorts()))

    assert start["status"] == 400


def test_only_types_that_are_for_the_step_reach_it():
    headers, data = wire.encode(CAUSE)
    app = EventFunction(never, SomePorts(), accepts={"other"})

    start, _ = Client(body(data), headers=raw(headers)).ask(app)

    assert start["status"] == 403


def test_start_and_stop_of_the_server_are_acknowledged():
    phases = ({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})

    sent = Client(*phases, type="lifespan").ask(EventFunction(never, SomePorts()))

    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_slow_step_does_not_hold_up_the_probes():
    async def both():
        slow_may_end = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(event, ports):
            asyncio.run_coroutine_threadsafe(slow_may_end.wait(), loop).result(timeout=30)

        headers, data = wire.encode(CAUSE)
        app = EventFunction(slow, SomePorts())
        waiting = Client(body(data), headers=raw(headers))
        probe = Client(body(b""), method="GET", path="/health/liveness")
        task = asyncio.create_task(app(waiting.scope, waiting.receive, waiting.send))
        await app(probe.scope, probe.receive, probe.send)
        answered_before = list(waiting.sent)
        slow_may_end.set()
        await task
        return probe.sent[0]["status"], answered_before, waiting.sent[0]["status"]

    assert asyncio.run(both()) == (200, [], 204)
