"""The embedded broker, clause by clause: ingress I, routing R, delivery D, reply P.

The clauses are those of knative/specs:specs/eventing and of Knative's own feature tests
(knative/eventing:test/rekt); each test is named after the one it shows.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from faultline import wire
from faultline.answers import Answer
from faultline.broker import triggers as manifests
from faultline.broker.broker import Broker
from faultline.broker.ingress import Ingress
from faultline.broker.journal import Journal
from faultline.broker.subscribers import Subscriber
from faultline.errors import NotFound, Rejected, Unavailable
from faultline.event import Event
from faultline.serve import Request
from faultline.wire import from_bytes

START = 1_795_000_000.0  # any moment of the virtual clock
SINK = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "dead"}, "uri": "/parked"}
DONE = Answer(204, {}, b"")


class Clock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


class Receiver:
    """A subscriber that keeps what it was sent and answers from a list, then for ever the last."""

    def __init__(self, clock: Clock, *answers: Answer | Exception, takes_s: float = 0.0) -> None:
        self.clock, self.takes_s = clock, takes_s
        self.answers = list(answers) or [DONE]
        self.requests: list[Request] = []
        self.at: list[float] = []

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        self.at.append(self.clock.now - START)
        self.clock.wait(self.takes_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def events(self) -> list[Event]:
        return [wire.decode(one.headers, one.body, bytes_max=10**7) for one in self.requests]

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.events]

    @property
    def waits(self) -> list[float]:
        return [round(b - a, 6) for a, b in zip(self.at, self.at[1:], strict=False)]


def trigger(name: str, filters: Any = None, **spec: Any) -> dict[str, Any]:
    """Return a Trigger manifest whose subscriber has the same name."""
    ref = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": name}
    wanted = {} if filters is None else {"filters": filters}
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {"name": name} | spec.pop("metadata", {}),
        "spec": {"broker": "faultline", "subscriber": {"ref": ref}} | wanted | spec,
    }


def delivery(**block: Any) -> dict[str, Any]:
    return {"deadLetterSink": SINK} | block


def loaded(*documents: dict[str, Any], **options: Any) -> tuple[manifests.Trigger, ...]:
    return manifests.load(yaml.safe_dump_all(documents), **options)


class Bench:
    """A broker on a virtual clock, with a receiver for each Trigger and for dead letters."""

    def __init__(
        self,
        *documents: dict[str, Any],
        subscribers: dict[str, Subscriber] | None = None,
        journal: Journal | None = None,
        clock: Clock | None = None,
        retry_after: bool = False,
        **options: Any,
    ) -> None:
        self.clock = clock or Clock()
        self.dead = Receiver(self.clock)
        self.receivers: dict[str, Any] = {"dead": self.dead}
        for document in documents:
            name = document["metadata"]["name"]
            self.receivers[name] = Receiver(self.clock)
        self.receivers |= subscribers or {}
        self.broker = Broker(
            loaded(*documents, retry_after=retry_after),
            self.receivers,
            journal,
            clock=self.clock,
            **options,
        )

    def __getitem__(self, name: str) -> Receiver:
        found: Receiver = self.receivers[name]
        return found

    def answers(self, name: str, *answers: Answer | Exception) -> Bench:
        self[name].answers = list(answers)
        return self

    def send(self, *events: Event) -> Bench:
        for one in events:
            self.broker.accept(one)
        self.broker.run_until_idle(wait=self.clock.wait)
        return self


def event(id: str = "1", type: str = "type1", source: str = "source1", **more: Any) -> Event:
    extensions = more.pop("extensions", {})
    return Event(
        id=id, type=type, source=source, data={"msg": "test msg"}, extensions=extensions, **more
    )


def reply(one: Event, *, status: int = 200, structured: bool = False) -> Answer:
    return Answer(status, *wire.encode(one, structured=structured))


def post(
    bench: Bench,
    headers: dict[str, str] | Sequence[tuple[str, str]],
    body: bytes = b"{}",
    *,
    method: str = "POST",
    path: str = "/default/faultline",
    **options: Any,
) -> httpx.Response:
    """Send one request to the broker's ingress."""

    async def send() -> httpx.Response:
        app = Ingress(bench.broker, **options)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://broker") as client:
            return await client.request(method, path, headers=headers, content=body)

    return asyncio.run(send())


BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-type": "type1",
    "ce-source": "source1",
    "content-type": "application/json",
}


# ingress


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_I1_other_methods_than_post_are_refused(method: str) -> None:
    answer = post(Bench(), {}, b"", method=method)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


def test_I1_options_answers_the_webhook_handshake() -> None:
    answer = post(Bench(), {}, b"", method="OPTIONS")

    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "*"
    assert answer.headers["webhook-allowed-rate"] == "*"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/default/faultline", 202),
        ("/", 404),
        ("/default", 400),
        ("/default/faultline/more", 400),
        ("/default/unknown", 404),
        ("/other/faultline", 404),
    ],
)
def test_I2_the_path_names_the_namespace_and_the_broker(path: str, status: int) -> None:
    bench = Bench(trigger("all"))

    answer = post(bench, BINARY, path=path)

    assert answer.status_code == status
    assert bench.broker.owed() == (status == 202)


@pytest.mark.parametrize("version", ["1.0", "0.3"])
def test_I3_both_versions_are_taken_and_not_upgraded(version: str) -> None:
    bench = Bench(trigger("all"))

    answer = post(bench, BINARY | {"ce-specversion": version})
    bench.send()

    assert answer.status_code == 202
    assert bench["all"].requests[0].headers["ce-specversion"] == version


@pytest.mark.parametrize("version", ["0.1", "2.0", "1", "x"])
def test_I3_an_unknown_version_is_refused(version: str) -> None:
    assert post(Bench(), BINARY | {"ce-specversion": version}).status_code == 400


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/vnd.apache.thrift.binary", b"\x80\x01\x00\xff"),
        ("application/xml", b'<much wow="xml"/>'),
        ("application/json", b'{"much":"wow"}'),
        ("text/plain", "größer".encode()),
    ],
)
def test_I4_binary_mode_passes_any_content_type_on_unchanged(
    content_type: str, body: bytes
) -> None:
    bench = Bench(trigger("all"))

    answer = post(bench, BINARY | {"content-type": content_type}, body)
    bench.send()

    sent = bench["all"].requests[0]
    assert answer.status_code == 202
    assert (sent.headers["content-type"], sent.body) == (content_type, body)


def test_I4_structured_mode_is_taken() -> None:
    bench = Bench(trigger("all"))
    body = json.dumps({"specversion": "1.0", "id": "7", "source": "s", "type": "t", "data": [1]})

    answer = post(bench, {"content-type": "application/cloudevents+json"}, body.encode())
    bench.send()

    assert answer.status_code == 202
    assert bench["all"].events[0].data == [1]


@pytest.mark.parametrize(
    "change",
    [
        *({f"ce-{name}": None} for name in ("id", "source", "type", "specversion")),
        *({f"ce-{name}": ""} for name in ("id", "source", "type")),
        {"ce-time": "yesterday"},
        {"ce-my-ext": "x"},
        {"content-type": "application/cloudevents-batch+json"},
        {"content-type": "application/cloudevents+json"},
    ],
    ids=str,
)
def test_I5_what_is_no_cloudevent_is_refused_with_400(change: dict[str, str | None]) -> None:
    bench = Bench(trigger("all"))
    headers = {name: value for name, value in (BINARY | change).items() if value is not None}

    answer = post(bench, headers)

    assert (answer.status_code, answer.content) == (400, b"")
    assert (bench.broker.counters["malformed"], bench.broker.owed()) == (1, 0)


def test_I5_an_attribute_that_comes_twice_is_refused() -> None:
    assert post(Bench(), [*BINARY.items(), ("ce-id", "2")]).status_code == 400


def test_I6_what_was_answered_202_is_on_disk(tmp_path: Path) -> None:
    (tmp_path / "now").mkdir()
    bench = Bench(trigger("all"), journal=Journal(tmp_path / "now" / "journal.db"))

    answer = post(bench, BINARY)
    shutil.copytree(tmp_path / "now", tmp_path / "crash")  # what a crash at this moment leaves

    again = Bench(trigger("all"), journal=Journal(tmp_path / "crash" / "journal.db")).send()
    assert answer.status_code == 202
    assert again["all"].ids == ["1"]


def test_I6_a_journal_that_does_not_take_it_is_answered_503() -> None:
    journal = Journal()
    bench = Bench(trigger("all"), journal=journal)
    journal.close()

    answer = post(bench, BINARY)

    assert (answer.status_code, bench.broker.owed()) == (503, 0)


def test_I7_arrival_is_stamped_once_and_the_hop_count_stays_inside() -> None:
    bench = Bench(trigger("all"), trigger("again", [{"exact": {"type": "type1"}}]))
    bench.answers("again", reply(event("2", "type2")))

    bench.send(event(), event("3", extensions={"knativearrivaltime": "2026-01-01T00:00:00Z"}))

    arrived = {one.id: one.extensions for one in bench["all"].events}
    assert arrived["1"] == {"knativearrivaltime": "2026-11-18T11:06:40Z"}
    assert arrived["3"] == {"knativearrivaltime": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(("hops", "status"), [("2", 202), ("1", 400), ("0", 400), ("-1", 400)])
def test_I7_an_event_that_is_out_of_hops_is_refused(hops: str, status: int) -> None:
    bench = Bench(trigger("all"))

    answer = post(bench, BINARY | {"ce-knativebrokerttl": hops})

    assert (answer.status_code, bench.broker.owed()) == (status, status == 202)


def test_I8_64_kib_pass_and_more_is_refused_with_413() -> None:
    bench = Bench(trigger("all"))
    plain = BINARY | {"content-type": "text/plain"}

    fits, over = (post(bench, plain, b"X" * size).status_code for size in (65_536, 65_537))
    wide = post(bench, plain, b"X" * 100_000, bytes_max=200_000).status_code
    bench.send()

    assert (fits, over, wide) == (202, 413, 202)
    assert [len(one.body) for one in bench["all"].requests] == [65_536, 100_000]


def test_I_health_is_answered() -> None:
    assert post(Bench(), {}, b"", method="GET", path="/healthz").status_code == 200


# routing


def test_R1_every_trigger_that_matches_is_one_delivery_even_to_the_same_subscriber() -> None:
    clock = Clock()
    same = Receiver(clock)
    bench = Bench(trigger("a"), trigger("b"), subscribers={"a": same, "b": same}, clock=clock)

    bench.send(event())

    assert same.ids == ["1", "1"]
    assert same.requests[0].body == b'{"msg":"test msg"}'


ROUTING = [  # knative/eventing:test/rekt/features/broker/control_plane.go, "Event Routing Spec"
    ([{}], ["type1", "type2"], [["type1", "type2"]]),
    ([{"type": "type1"}], ["type1", "type2"], [["type1"]]),
    ([{"type": "type1"}, {"type": "type2"}], ["type1", "type2"], [["type1"], ["type2"]]),
    ([{"type": "type1"}, {"type": "type1"}], ["type1"], [["type1"], ["type1"]]),
    ([{"type": "type1"}, {}], ["type1", "type2"], [["type1"], ["type1", "type2"]]),
    ([{"type": "type1", "source": "source1"}], ["type1"], [["type1"]]),
    ([{"type": "type1", "source": "other"}], ["type1"], [[]]),
]


@pytest.mark.parametrize(("attributes", "sent", "expected"), ROUTING, ids=str)
def test_R2_events_reach_the_triggers_whose_attributes_match(
    attributes: list[dict[str, str]], sent: list[str], expected: list[list[str]]
) -> None:
    bench = Bench(
        *(
            trigger(f"t{number}", filter={"attributes": wanted} if wanted else {})
            for number, wanted in enumerate(attributes)
        )
    )

    bench.send(*(event(str(number), type) for number, type in enumerate(sent)))

    received = [[e.type for e in bench[f"t{number}"].events] for number in range(len(attributes))]
    assert received == expected


def test_R2_filters_override_the_filter_unless_they_are_empty() -> None:
    legacy = {"attributes": {"type": "type1"}}
    bench = Bench(
        trigger("both", [{"exact": {"type": "type2"}}], filter=legacy),
        trigger("empty", [], filter=legacy),
    )

    bench.send(event("1", "type1"), event("2", "type2"))

    assert (bench["both"].ids, bench["empty"].ids) == (["2"], ["1"])


def test_R2_several_filters_must_all_match() -> None:
    bench = Bench(trigger("t", [{"prefix": {"type": "type"}}, {"suffix": {"type": "2"}}]))

    assert bench.send(event("1", "type1"), event("2", "type2"))["t"].ids == ["2"]


def test_R3_what_nobody_wants_is_dropped_in_silence() -> None:
    bench = Bench(trigger("t", [{"exact": {"type": "type2"}}])).send(event())

    assert bench["t"].requests == []
    assert bench.broker.counters["unmatched"] == 1
    assert bench.broker.dead_letters() == []


def test_R3_a_bad_trigger_does_not_affect_a_good_one() -> None:
    bad = trigger("bad", [{"exact": {"UPPER": "x"}}])
    unreachable = trigger("unreachable", delivery=delivery(retry=1))
    good, refused = manifests.read(yaml.safe_dump_all([bad, unreachable, trigger("good")]))
    clock = Clock()
    receiver = Receiver(clock)
    broker = Broker(good, {"good": receiver}, clock=clock)

    broker.accept(event())
    broker.run_until_idle(wait=clock.wait)

    assert receiver.ids == ["1"]
    assert [str(one).split(":")[0] for one in refused] == ["trigger bad"]


def test_R3_a_filter_that_breaks_costs_nobody_else_the_event() -> None:
    def broken(event: Event) -> bool:
        raise RuntimeError("a bug")

    bad, good = loaded(trigger("bad"), trigger("good"))
    clock = Clock()
    receiver = Receiver(clock)
    broker = Broker([replace(bad, matches=broken), good], {"good": receiver}, clock=clock)

    broker.accept(event())
    broker.run_until_idle()

    assert receiver.ids == ["1"]


@pytest.mark.parametrize(
    "name",
    ["Type", "my-attr", "my_attr", "1type", "typé", "a b", "", "attr.b", "TYPE", "type!"],
)
def test_R4_attribute_names_that_knative_refuses_are_refused(name: str) -> None:
    for wanted in ([{"exact": {name: "x"}}], [{"not": {"prefix": {name: "x"}}}]):
        with pytest.raises(Rejected, match=r"trigger t: spec\.filters\[0\]"):
            loaded(trigger("t", wanted))
    with pytest.raises(Rejected, match=r"trigger t: spec\.filter\.attributes"):
        loaded(trigger("t", filter={"attributes": {name: "x"}}))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"filters": [{"exact": {"type": "a"}, "prefix": {"type": "b"}}]}, r"filters\[0\]"),
        ({"filters": [{}]}, r"filters\[0\]"),
        ({"filters": [{"regex": {"type": "a"}}]}, r"filters\[0\]"),
        ({"filters": [{"all": []}]}, r"filters\[0\]\.all"),
        ({"filters": [{"any": [{"cesql": "a ="}]}]}, r"filters\[0\]\.any\[0\]\.cesql"),
        ({"filters": [{"exact": {"type": 1}}]}, r"filters\[0\]\.exact\.type"),
        ({"broker": ""}, "broker"),
        ({"subscriber": None}, "subscriber"),
        ({"subscriber": {"uri": "/only/a/path"}}, "subscriber"),
        ({"subscriber": {"ref": {"name": "x"}}}, r"subscriber\.ref\.apiVersion"),
        ({"subscriber": SINK | {"uri": "http://x/"}}, r"subscriber\.uri"),
        ({"delivery": {"backoffDelay": "1s"}}, r"delivery\.backoffDelay"),
        ({"delivery": {"backoffDelay": "P"}}, r"delivery\.backoffDelay"),
        ({"delivery": {"backoffPolicy": "random"}}, r"delivery\.backoffPolicy"),
        ({"delivery": {"retry": -1}}, r"delivery\.retry"),
        ({"delivery": {"retry": "3"}}, r"delivery\.retry"),
        ({"delivery": {"timeout": "PT0S"}}, r"delivery\.timeout"),
        ({"delivery": {"format": "xml"}}, r"delivery\.format"),
        ({"delivery": {"retryAfterMax": "PT10S"}}, r"delivery\.retryAfterMax"),
        ({"delivery": {"retries": 3}}, r"delivery\.retries"),
        ({"fliter": {}}, "fliter"),
    ],
    ids=str,
)
def test_R4_what_the_webhook_refuses_is_refused_by_trigger_and_field(
    spec: dict[str, Any], field: str
) -> None:
    with pytest.raises(Rejected, match=rf"trigger t: spec\.{field}"):
        loaded(trigger("t", **spec))


# delivery


def test_D1_a_delivery_is_a_post_in_binary_mode_with_knatives_headers() -> None:
    bench = Bench(trigger("t", metadata={"namespace": "shop"}))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    bench.send(event(extensions={"traceparent": trace, "knativebrokerttl": 200}))

    (sent,) = bench["t"].requests
    assert (sent.method, sent.path) == ("POST", "/")
    assert (sent.headers["prefer"], sent.headers["kn-namespace"]) == ("reply", "shop")
    assert sent.headers["content-type"] == "application/json"
    assert (sent.headers["ce-traceparent"], sent.headers["traceparent"]) == (trace, trace)
    assert "ce-knativebrokerttl" not in sent.headers


def test_D1_the_trigger_may_ask_for_structured_mode() -> None:
    bench = Bench(trigger("t", delivery=delivery(format="json"))).send(event())

    (sent,) = bench["t"].requests
    assert sent.headers["content-type"] == "application/cloudevents+json"
    assert json.loads(sent.body)["data"] == {"msg": "test msg"}


AGAIN = [404, 408, 409, 429, 500, 502, 503, 504, 599, 600, 999]
NEVER_AGAIN = [100, 199, 300, 302, 399, 400, 401, 402, 403, 405, 406, 410, 413, 415, 422, 451, 499]
TAKEN = [200, 201, 202, 203, 204, 299]


@pytest.mark.parametrize("status", AGAIN)
def test_D2_these_are_tried_again(status: int) -> None:
    bench = Bench(trigger("t", delivery=delivery(retry=2)))

    bench.answers("t", Answer(status, {}, b""), DONE).send(event())

    assert (len(bench["t"].requests), bench.dead.requests) == (2, [])


@pytest.mark.parametrize("status", NEVER_AGAIN)
def test_D2_these_are_given_up_on_at_once(status: int) -> None:
    bench = Bench(trigger("t", delivery=delivery(retry=2)))

    bench.answers("t", Answer(status, {}, b"")).send(event())

    assert (len(bench["t"].requests), bench.dead.ids) == (1, ["1"])


@pytest.mark.parametrize("status", TAKEN)
def test_D2_these_are_delivered(status: int) -> None:
    bench = Bench(trigger("t", delivery=delivery(retry=2)))

    bench.answers("t", Answer(status, {}, b"")).send(event())

    assert (len(bench["t"].requests), bench.dead.requests) == (1, [])
    assert bench.broker.counters["delivered"] == 1


def test_D2_no_answer_a_broken_subscriber_and_a_late_answer_are_tried_again() -> None:
    clock = Clock()
    slow = Receiver(clock, takes_s=3.0)
    bench = Bench(
        trigger("t", delivery=delivery(retry=5)),
        trigger("slow", delivery=delivery(retry=1, timeout="PT2S")),
        clock=clock,
        subscribers={"slow": slow},
    )

    bench.answers("t", Unavailable("nobody"), RuntimeError("a bug"), DONE).send(event())

    assert (len(bench["t"].requests), len(slow.requests)) == (3, 2)
    assert bench.dead.ids == ["1"]


WAITS = [
    ("mt", "exponential", [0.5, 1.0, 2.0, 4.0]),
    ("mt", "linear", [0.0, 0.5, 1.0, 1.5]),
    ("kafka", "exponential", [1.0, 2.0, 4.0, 8.0]),
    ("kafka", "linear", [0.5, 1.0, 1.5, 2.0]),
    ("mt", None, [0.0, 0.0, 0.0, 0.0]),
    ("kafka", None, [0.0, 0.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("mode", "policy", "waits"), WAITS)
def test_D3_attempts_and_waits_are_those_of_the_broker_class(
    mode: str, policy: str | None, waits: list[float]
) -> None:
    block = delivery(retry=4, backoffDelay="PT0.5S")
    block |= {"backoffPolicy": policy} if policy else {}
    bench = Bench(trigger("t", delivery=block), mode=mode)

    bench.answers("t", Answer(503, {}, b"")).send(event())

    assert bench["t"].waits == waits
    assert bench.dead.ids == ["1"]


def test_D3_a_broker_without_a_delivery_block_gets_knatives_default() -> None:
    bench = Bench(trigger("t")).answers("t", Answer(503, {}, b"")).send(event())

    assert bench["t"].waits == [0.2 * 2**n for n in range(10)]
    assert sum(bench["t"].waits) == pytest.approx(204.6)


RETRY_AFTER = [
    (429, "7", 7.0),
    (503, "7", 7.0),
    (503, "100", 10.0),  # never over the maximum
    (503, "1", 2.0),  # never under the backoff
    (500, "7", 2.0),
    (503, "soon", 2.0),
]


@pytest.mark.parametrize(("status", "asked", "wait"), RETRY_AFTER)
def test_D4_retry_after_counts_for_429_and_503_up_to_the_maximum(
    status: int, asked: str, wait: float
) -> None:
    block = delivery(
        retry=1, backoffPolicy="exponential", backoffDelay="PT2S", retryAfterMax="PT10S"
    )
    bench = Bench(trigger("t", delivery=block), retry_after=True)

    bench.answers("t", Answer(status, {"Retry-After": asked}, b""), DONE).send(event())

    assert bench["t"].waits == [wait]


def test_D4_a_date_is_understood_and_without_a_maximum_the_header_is_ignored() -> None:
    block = delivery(retry=1, backoffPolicy="exponential", backoffDelay="PT2S")
    late = Answer(503, {"retry-after": "Wed, 18 Nov 2026 11:06:45 GMT"}, b"")
    capped = Bench(trigger("t", delivery=block | {"retryAfterMax": "PT10S"}), retry_after=True)
    plain = Bench(trigger("t", delivery=block))

    for bench in (capped, plain):
        bench.answers("t", late, DONE).send(event())

    assert (capped["t"].waits, plain["t"].waits) == ([5.0], [2.0])


def test_D5_after_the_last_failure_the_event_goes_to_the_dead_letter_sink() -> None:
    words = b'{ "message": "catastrophic failure" }'
    bench = Bench(trigger("t", delivery=delivery(retry=3)))

    bench.answers("t", Answer(422, {}, words)).send(event())

    (sent,) = bench.dead.requests
    (dead,) = bench.dead.events
    assert sent.path == "/parked"
    assert (dead.id, dead.data) == ("1", {"msg": "test msg"})
    assert dead.extensions["knativeerrordest"] == "http://t.default.svc.cluster.local"
    assert dead.extensions["knativeerrorcode"] == "422"
    assert dead.extensions["knativeerrordata"] == base64.b64encode(words).decode()
    assert "knativebrokerttl" not in dead.extensions
    assert bench.broker.counters["dead_lettered"] == 1
    assert [one.outcome for one in bench.broker.dead_letters()] == ["parked"]


def test_D5_error_data_is_left_out_when_there_is_none_and_cut_at_1024() -> None:
    mt, kafka = (Bench(trigger("t", delivery=delivery()), mode=mode) for mode in ("mt", "kafka"))
    empty = Bench(trigger("t", delivery=delivery()))

    for bench in (mt, kafka):
        bench.answers("t", Answer(422, {}, b"x" * 5_000)).send(event())
    empty.answers("t", Answer(422, {}, b"")).send(event())

    sizes = [len(str(b.dead.events[0].extensions["knativeerrordata"])) for b in (mt, kafka)]
    assert sizes == [1024, 1368]  # the text is cut, or the bytes before they are encoded
    assert "knativeerrordata" not in empty.dead.events[0].extensions


def test_D5_an_unreachable_subscriber_is_named_as_destination() -> None:
    block = delivery(retry=0)
    documents = [trigger("t", subscriber={"uri": "http://fake.svc.cluster.local"}, delivery=block)]
    client = httpx.Client(transport=httpx.MockTransport(_refuses))
    mt, kafka = (Bench(*documents, mode=mode, client=client) for mode in ("mt", "kafka"))

    for bench in (mt, kafka):
        bench.send(event())

    errors = [
        {k: v for k, v in bench.dead.events[0].extensions.items() if k.startswith("knativeerror")}
        for bench in (mt, kafka)
    ]
    where = {"knativeerrordest": "http://fake.svc.cluster.local"}
    assert errors == [where | {"knativeerrorcode": "500"}, where]


def _refuses(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def test_D5_delivery_to_the_dead_letter_sink_is_retried_with_the_same_policy() -> None:
    block = delivery(retry=3, backoffPolicy="exponential", backoffDelay="PT1S")
    bench = Bench(trigger("t", delivery=block)).answers("t", Answer(400, {}, b""))

    bench.answers("dead", Answer(503, {}, b""), Unavailable("down"), DONE).send(event())

    assert bench.dead.waits == [1.0, 2.0]
    assert [one.outcome for one in bench.broker.dead_letters()] == ["parked"]


def test_D5_a_dead_letter_that_its_sink_refuses_is_dropped_and_counted_and_still_listed() -> None:
    bench = Bench(trigger("t", delivery=delivery(retry=1))).answers("t", Answer(400, {}, b""))

    bench.answers("dead", Answer(503, {}, b"")).send(event())

    assert len(bench.dead.requests) == 2
    assert bench.broker.counters["dropped"] == 1
    assert [one.outcome for one in bench.broker.dead_letters()] == ["dropped"]


DLQ = [  # rekt "Delivery Spec": retries, failures before success, attempts seen, dead letters
    (3, 3, 4, 0),
    (3, 4, 4, 1),
    (0, 1, 1, 1),
    (5, 5, 6, 0),
    (1, 9, 2, 1),
]


@pytest.mark.parametrize(("retry", "failures", "attempts", "dead"), DLQ)
def test_D5_the_event_is_dead_only_when_the_retries_are_used_up(
    retry: int, failures: int, attempts: int, dead: int
) -> None:
    bench = Bench(trigger("t", delivery=delivery(retry=retry)))

    bench.answers("t", *[Answer(500, {}, b"")] * failures, DONE).send(event())

    assert (len(bench["t"].requests), len(bench.dead.requests)) == (attempts, dead)


BROKER = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Broker",
    "metadata": {"name": "faultline"},
    "spec": {"delivery": {"retry": 1, "deadLetterSink": SINK}},
}


def test_D6_a_trigger_without_a_block_has_the_brokers_delivery() -> None:
    bench = Bench(trigger("t"), BROKER).answers("t", Answer(500, {}, b"")).send(event())

    assert (len(bench["t"].requests), bench.dead.ids) == (2, ["1"])


def test_D6_a_triggers_block_replaces_the_brokers_dead_letter_sink_included() -> None:
    documents = (trigger("t", delivery={"retry": 3}), BROKER)
    bench = Bench(*documents).answers("t", Answer(500, {}, b"")).send(event())

    assert (len(bench["t"].requests), bench.dead.ids) == (4, [])
    assert bench.broker.counters["dropped"] == 1
    assert "no dead letter sink in its own delivery block" in "".join(
        manifests.lint(loaded(*documents))
    )


def test_D6_a_trigger_with_its_whole_block_has_no_warnings() -> None:
    block = delivery(retry=3, backoffPolicy="exponential", backoffDelay="PT1S")

    assert manifests.lint(loaded(trigger("t", delivery=block))) == []


def test_D7_what_was_not_struck_off_is_delivered_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    first = Bench(
        trigger("done"),
        trigger("down", delivery=delivery(retry=9, backoffPolicy="linear", backoffDelay="PT60S")),
        journal=journal,
    ).answers("down", Unavailable("down"))
    first.broker.accept(event())
    first.broker.run_until_idle(limit_s=100, wait=first.clock.wait)
    journal.close()

    again = Bench(trigger("done"), trigger("down"), journal=Journal(path), clock=first.clock).send()

    assert (first["done"].ids, len(first["down"].requests)) == (["1"], 3)
    assert (again["done"].ids, again["down"].ids) == ([], ["1"])


def test_D7_a_dead_letter_on_its_way_survives_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    block = delivery(retry=5, backoffPolicy="exponential", backoffDelay="PT10S")
    first = Bench(trigger("t", delivery=block), journal=journal)
    first.answers("t", Answer(400, {}, b"no")).answers("dead", Unavailable("down"))
    first.broker.accept(event())
    first.broker.run_until_idle(limit_s=15, wait=first.clock.wait)
    journal.close()

    again = Bench(
        trigger("t", delivery=block),
        journal=Journal(tmp_path / "journal.db"),
        clock=first.clock,
    ).send()

    assert (again["t"].ids, again.dead.ids) == ([], ["1"])
    assert again.dead.events[0].extensions["knativeerrorcode"] == "400"


def test_D7_a_wait_from_before_a_restart_is_never_longer_than_the_policys(tmp_path: Path) -> None:
    journal, clock = Journal(tmp_path / "journal.db"), Clock()
    block = delivery(retry=9, backoffPolicy="exponential", backoffDelay="PT1S")
    first = Bench(trigger("t", delivery=block), journal=journal, clock=clock)
    first.answers("t", Unavailable("down")).broker.accept(event())
    first.broker.run_until_idle(limit_s=2, wait=clock.wait)  # two attempts: 2 s to wait
    journal.close()
    clock.now -= 1_000_000  # the machine's clock was wrong, and is set right

    again = Bench(
        trigger("t", delivery=block), journal=Journal(tmp_path / "journal.db"), clock=clock
    )
    again.broker.run_until_idle(limit_s=3, wait=clock.wait)

    assert again["t"].ids == ["1"]


def test_D7_a_delivery_that_cannot_be_struck_off_comes_again_but_not_at_once() -> None:
    class Down(Journal):
        down = 1

        def finish(self, row: Any, then: Any = ()) -> list[int]:
            if self.down:
                self.down -= 1
                raise Unavailable("the disk is gone")
            return super().finish(row, then)

    bench = Bench(trigger("t", delivery=delivery(retry=3)), journal=Down()).send(event())

    assert (bench["t"].waits, bench.broker.owed()) == ([1.0], 0)


def test_D7_what_is_owed_to_a_trigger_that_is_gone_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    Bench(trigger("old"), journal=journal).broker.accept(event())
    journal.close()

    journal = Journal(path)
    bench = Bench(trigger("new"), journal=journal).send()

    assert (bench["new"].ids, bench.broker.counters["dropped"]) == ([], 1)
    assert list(journal.owed()) == []


def test_D8_no_order_is_promised_and_a_seed_repeats_it() -> None:
    def order(seed: int) -> list[str]:
        bench = Bench(trigger("t"), chance=random.Random(seed))
        return bench.send(*(event(str(number)) for number in range(20)))["t"].ids

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1), key=int) == [str(number) for number in range(20)]


def test_D8_an_ordered_trigger_keeps_the_order_of_each_partition_key() -> None:
    ordered = {"annotations": {"kafka.eventing.knative.dev/delivery.order": "ordered"}}
    block = delivery(retry=3, backoffPolicy="exponential", backoffDelay="PT1S")
    bench = Bench(trigger("t", metadata=ordered, delivery=block), chance=random.Random(3))
    bench.answers("t", Answer(503, {}, b""), Answer(503, {}, b""), DONE)

    bench.send(
        *(event(f"{n}{key}", extensions={"partitionkey": key}) for n in range(5) for key in "ab")
    )

    for key in "ab":
        seen = list(dict.fromkeys(id for id in bench["t"].ids if id.endswith(key)))
        assert seen == [f"{n}{key}" for n in range(5)]


# reply


@pytest.mark.parametrize("structured", [False, True])
def test_P1_a_reply_is_routed_to_all_triggers_the_senders_included(structured: bool) -> None:
    bench = Bench(trigger("sender"), trigger("other", [{"exact": {"type": "answer"}}]))

    bench.answers("sender", reply(event("2", "answer"), structured=structured), DONE)
    bench.send(event())

    assert (bench["sender"].ids, bench["other"].ids) == (["1", "2"], ["2"])


@pytest.mark.parametrize(("mode", "attempts", "code"), [("mt", 3, "502"), ("kafka", 1, "200")])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"content-type": "text/html"}, b"OK"),
        Answer(200, {"content-type": "application/json"}, b"{}"),
        Answer(200, {"ce-specversion": "1.0", "ce-id": "2"}, b""),
        Answer(202, {"content-type": "text/plain"}, b"accepted"),
        Answer(200, {"content-type": "application/cloudevents+json"}, b"{}"),
    ],
    ids=["page", "json", "half an event", "a 202 that talks", "empty structured event"],
)
def test_P2_a_2xx_with_a_body_that_is_no_event_is_a_failure(
    mode: str, attempts: int, code: str, answer: Answer
) -> None:
    bench = Bench(trigger("t", delivery=delivery(retry=2)), mode=mode)

    bench.answers("t", answer).send(event())

    assert len(bench["t"].requests) == attempts
    expected = code if mode == "mt" else str(answer.status)
    assert bench.dead.events[0].extensions["knativeerrorcode"] == expected


@pytest.mark.parametrize("status", [201, 202, 204, 299])
def test_P3_only_a_200_carries_a_reply(status: int) -> None:
    bench = Bench(trigger("t", [{"exact": {"type": "type1"}}]), trigger("all"))

    bench.answers("t", reply(event("2", "answer"), status=status)).send(event())

    assert bench["all"].ids == ["1"]
    assert bench.broker.counters["delivered"] == 2


def test_P4_a_reply_that_cannot_be_stored_fails_the_delivery_which_is_retried() -> None:
    class Full(Journal):
        full = 2

        def finish(self, row: Any, then: Any = ()) -> list[int]:
            if then and self.full:
                self.full -= 1
                raise Unavailable("the disk is full")
            return super().finish(row, then)

    block = delivery(retry=3, backoffPolicy="exponential", backoffDelay="PT1S")
    wanted = [{"exact": {"type": "type1"}}]
    bench = Bench(trigger("t", wanted, delivery=block), trigger("all"), journal=Full())

    bench.answers("t", reply(event("2", "answer"))).send(event())

    assert bench["t"].waits == [1.0, 2.0]
    assert sorted(bench["all"].ids) == ["1", "2"]


def test_P5_a_loop_ends_when_the_hops_are_used_up() -> None:
    bench = Bench(trigger("loop", delivery=delivery()), hops_max=3)

    bench.answers("loop", reply(event("2", "again"))).send(event())

    assert bench["loop"].ids == ["1", "2", "2"]
    assert [one.reason.split(":")[0] for one in bench.broker.dead_letters()] == [
        "its reply was refused"
    ]


def test_P5_a_loop_ends_after_255_hops_by_default() -> None:
    bench = Bench(trigger("loop"))

    bench.answers("loop", reply(event("2", "again"))).send(event())

    assert len(bench["loop"].requests) == 255


def test_P5_a_reply_cannot_give_itself_hops() -> None:
    bench = Bench(trigger("loop"), hops_max=3)
    greedy = event("2", "again", extensions={"knativebrokerttl": 1000})

    bench.answers("loop", reply(greedy)).send(event())

    assert len(bench["loop"].requests) == 3


# Knative's own feature tests that are not above: knative/eventing:test/rekt/features/broker


def test_rekt_a_workflow_with_transformations_runs_to_its_end() -> None:
    bench = Bench(
        trigger("first", [{"exact": {"type": "type1"}}]),
        trigger("second", [{"exact": {"type": "type2"}}]),
        trigger("sink", [{"exact": {"type": "type3"}}]),
    )
    bench.answers("first", reply(event("2", "type2"))).answers("second", reply(event("3", "type3")))

    bench.send(event())

    assert (bench["first"].ids, bench["second"].ids, bench["sink"].ids) == (["1"], ["2"], ["3"])


@pytest.mark.parametrize("structured", [False, True])
def test_rekt_long_messages_and_long_replies_pass(structured: bool) -> None:
    long = "X" * 36_864
    bench = Bench(trigger("t", [{"exact": {"type": "type1"}}]), trigger("all"))
    answer = replace(event("2", "answer"), data=long.encode(), datacontenttype="text/plain")

    bench.answers("t", reply(answer, structured=structured))
    bench.send(replace(event(), data=long.encode(), datacontenttype="text/plain"))

    assert [one.data for one in bench["all"].events] == [long.encode()] * 2


def test_rekt_redelivery_drops_in_fibonacci_order_lose_nothing() -> None:
    fibonacci, attempts = {1, 2, 3, 5, 8, 13, 21, 34, 55}, 0
    taken: list[str] = []

    def flaky(request: Request) -> Answer:
        nonlocal attempts
        attempts += 1
        if attempts in fibonacci:
            return Answer(503, {}, b"")
        taken.append(request.headers["ce-id"])
        return DONE

    block = delivery(retry=5, backoffPolicy="linear", backoffDelay="PT1S")
    bench = Bench(trigger("t", delivery=block), subscribers={"t": flaky})

    bench.send(*(event(str(number)) for number in range(30)))

    assert sorted(map(int, taken)) == list(range(30))
    assert bench.dead.requests == []


def test_rekt_a_flaky_dead_letter_sink_gets_every_event_in_the_end() -> None:
    block = delivery(retry=9, backoffPolicy="linear", backoffDelay="PT1S")
    bench = Bench(trigger("t", delivery=block)).answers("t", Answer(400, {}, b""))
    bench.answers("dead", *[Answer(500, {}, b""), DONE] * 5)

    bench.send(*(event(str(number)) for number in range(5)))

    assert set(bench.dead.ids) == {str(number) for number in range(5)}
    assert {one.outcome for one in bench.broker.dead_letters()} == {"parked"}


class Crash(BaseException):
    """The process ends here, whatever it was doing."""


class Unreliable:
    """Subscribers that refuse, answer with an event, or go down with the whole process."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.crashes = 0.1
        self.taken: set[tuple[str, str]] = set()

    def named(self, name: str) -> Subscriber:
        def answer(request: Request) -> Answer:
            id = request.headers["ce-id"]
            if self.chance.random() < self.crashes:
                raise Crash
            if name != "dead" and self.chance.random() < 0.4:
                return Answer(self.chance.choice([503, 429, 404, 400]), {}, b"")
            self.taken.add((name, id))
            replies = name == "a" and not id.startswith("reply")
            return reply(event("reply-" + id)) if replies else DONE

        return answer

    def arrived(self, name: str, id: str) -> bool:
        return (name, id) in self.taken or ("dead", id) in self.taken


def outlive(folder: Path, world: Unreliable, clock: Clock, ids: Sequence[str]) -> None:
    """Start on what a crash has left, take some events, and run until the next crash or the end."""
    block = delivery(retry=2, backoffPolicy="exponential", backoffDelay="PT1S")
    bench = Bench(
        trigger("a", delivery=block),
        trigger("b", delivery=block),
        subscribers={name: world.named(name) for name in ("a", "b", "dead")},
        journal=Journal(folder / "journal.db"),
        clock=clock,
        chance=world.chance,
    )
    with contextlib.suppress(Crash):
        bench.send(*(event(id) for id in ids))


@pytest.mark.parametrize("seed", range(4))
def test_D7_crashes_at_any_moment_lose_no_delivery(seed: int, tmp_path: Path) -> None:
    world, clock = Unreliable(seed), Clock()
    accepted: list[str] = []
    (tmp_path / "0").mkdir()

    for life in range(5):
        ids = [f"{life}-{number}" for number in range(5)]
        accepted += ids
        outlive(tmp_path / str(life), world, clock, ids)
        shutil.copytree(tmp_path / str(life), tmp_path / str(life + 1))
    world.crashes = 0.0
    outlive(tmp_path / "5", world, clock, [])

    for id in accepted:
        assert world.arrived("a", id)
        assert world.arrived("b", id)
        if ("a", id) in world.taken:
            assert world.arrived("b", "reply-" + id) or ("dead", id) in world.taken


# dead letters


def test_a_dead_letter_is_delivered_again_to_its_trigger_only_and_only_once() -> None:
    bench = Bench(trigger("t", delivery=delivery()), trigger("other"))
    bench.answers("t", Answer(400, {}, b""), DONE).send(event())

    (letter,) = bench.broker.dead_letters()
    bench.broker.replay(letter.id)
    bench.send()

    assert (bench["t"].ids, bench["other"].ids) == (["1", "1"], ["1"])
    assert bench.broker.dead_letters() == []
    with pytest.raises(NotFound):
        bench.broker.replay(letter.id)


def test_a_dead_letter_on_its_way_to_its_sink_is_not_replayed() -> None:
    block = delivery(retry=5, backoffPolicy="exponential", backoffDelay="PT10S")
    bench = Bench(trigger("t", delivery=block)).answers("t", Answer(400, {}, b""))
    bench.answers("dead", Unavailable("down")).broker.accept(event())
    bench.broker.run_until_idle(limit_s=1, wait=bench.clock.wait)

    (letter,) = bench.broker.dead_letters()

    with pytest.raises(Unavailable, match="on its way"):
        bench.broker.replay(letter.id)


@pytest.mark.covers("CE-04")
def test_a_sink_that_is_down_for_ten_minutes_costs_no_event_and_no_second_effect() -> None:
    clock = Clock()
    effects: list[str] = []

    def store(request: Request) -> Answer:
        if clock.now - START < 600:
            raise Unavailable("down")
        effects.append(request.headers["ce-id"])
        return DONE

    block = delivery(retry=10, backoffPolicy="exponential", backoffDelay="PT0.2S")
    bench = Bench(trigger("t", delivery=block), subscribers={"t": store}, clock=clock)

    for number in range(60):  # one every ten seconds; patience ends after 204.6 s
        bench.broker.accept(event(str(number)))
        until = START + 10 * (number + 1)
        bench.broker.run_until_idle(limit_s=until - clock.now, wait=clock.wait)
        clock.now = until
    bench.send()
    letters = bench.broker.dead_letters()
    for letter in letters:
        bench.broker.replay(letter.id)
    bench.send()

    assert len(letters) >= 39
    assert sorted(bench.dead.ids) == sorted(from_bytes(letter.body).id for letter in letters)
    assert sorted(map(int, effects)) == list(range(60))
