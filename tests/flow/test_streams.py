"""Streams that break, lie and stall: what the follower makes of them, over loopback sockets."""

from __future__ import annotations

import datetime as dt
import json
import random
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stream_servers import (
    Answer,
    McpServer,
    Scripted,
    Server,
    endless,
    events,
    fault_data,
    method_of,
    notification,
    status,
)

from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge import mcp
from faultline.bridge.follow import Client, Filter, Follower
from faultline.bridge.intake import Intake
from faultline.bridge.session import session_of
from faultline.bridge.share import Share
from faultline.bridge.stream import Refused, SourceStopped, Timing
from faultline.bridge.supervisor import wait_s
from faultline.errors import Rejected, Unavailable
from faultline.event import Event
from faultline.model import Fault, Severity

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
QUICK = Timing(connect_s=2, answer_s=1, silence_s=0.4, ping_s=0.1)


def flat(name: str = "api-0", **more: Any) -> dict[str, Any]:
    return {
        "cluster_id": "prod",
        "namespace": "shop",
        "resource_type": "Pod",
        "resource_name": name,
        "severity": "critical",
        "message": "CrashLoopBackOff",
        "timestamp": "2026-11-21T09:00:00Z",
        "logs": "",
    } | more


def said(*faults: Any, ids: bool = False) -> bytes:
    texts = [fault if isinstance(fault, str) else json.dumps(fault) for fault in faults]
    return "".join(
        (f"id: {n}\n" if ids else "") + f"data: {text}\n\n" for n, text in enumerate(texts, 1)
    ).encode()


class Listening:
    """A sink that keeps what came, and may refuse for a while."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failures: list[Exception] = []
        self.slow_s = 0.0

    def send(self, event: Event) -> None:
        time.sleep(self.slow_s)
        if self.failures:
            raise self.failures.pop(0)
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        faults = [Fault.model_validate(event.data) for event in self.events]
        return [fault.resource.name if fault.resource else "" for fault in faults]


class World:
    """A follower with a sink, a store and time that passes only when it waits."""

    def __init__(self, endpoint: str, *, waits: int = 1000, **more: Any) -> None:
        self.sink = Listening()
        self.store = MemoryStore()
        self.pauses: list[float] = []
        self.waits = waits
        self.now_s = 0.0
        timing = more.pop("timing", QUICK)
        session = {k: more.pop(k) for k in ("token", "bytes_max", "share") if k in more}
        intake = Intake(sink=self.sink, store=self.store, cluster="here", clock=lambda: NOW)
        self.follower = Follower(
            "stream",
            Client(endpoint, cluster="here", clock=lambda: NOW, timing=timing, **session),
            intake,
            sleep=self.sleep,
            random=random.Random(1).random,
            **more,
        )

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds
        if len(self.pauses) >= self.waits:
            self.follower.stop.set()

    @property
    def status(self) -> Any:
        return self.follower.status

    def run(self) -> World:
        """Run until the follower has waited as often as agreed, or gave up."""
        self.follower.run()
        return self


def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


Serve = Callable[..., Any]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def start(*script: Answer, server: Server | None = None) -> Server:
        servers.append(server or Scripted(*script))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def started() -> Iterator[Callable[[World], World]]:
    worlds: list[tuple[World, threading.Thread]] = []

    def start(world: World) -> World:
        worlds.append((world, world.follower.start()))
        return world

    yield start
    for world, _ in worlds:
        world.follower.stop.set()
    for _, thread in worlds:
        thread.join(10)
        assert not thread.is_alive()


# plain events


@pytest.mark.covers("S0-11", "S0-29")
@pytest.mark.parametrize("path", ["/events", "/", "/any/other/path?x=1", "/v1/sse-like"])
def test_a_plain_stream_at_any_path_becomes_fault_events(serve: Serve, path: str) -> None:
    multiline = json.dumps(flat("api-1"), indent=1).replace("\n", "\ndata: ")
    server = serve(events(said(flat("api-0"), multiline)))

    world = World(server.url + path, waits=1).run()

    assert world.sink.names == ["api-0", "api-1"]
    assert {event.type for event in world.sink.events} == {"dev.faultline.fault.detected.v1"}
    assert server.requests[0].path == path
    assert server.requests[0].headers["accept"] == "text/event-stream"
    payload = Fault.model_validate(world.sink.events[0].data).payload
    assert json.loads(world.store.get(payload)) == flat("api-0")


def test_a_fault_that_carries_its_end_is_told_as_cleared(serve: Serve) -> None:
    server = serve(events(said(flat(), flat(status="resolved"))))

    world = World(server.url, waits=1).run()

    began, ended = world.sink.events
    assert [began.type.split(".")[3], ended.type.split(".")[3]] == ["detected", "cleared"]
    assert began.id.split("/")[0] == ended.id.split("/")[0]


@pytest.mark.covers("SSE-03")
def test_a_reconnect_resumes_after_the_last_event_that_was_whole(serve: Serve) -> None:
    server = serve(
        events(b"id: 1\n" + said(flat()) + b"id: 2\ndata: unfinished"),
        events(b"id: \xe2\x82\xac\n" + said(flat())),
        events(b"id: a\0b\n" + said(flat())),
        events(b"id: x\rid: y\n" + said(flat())),
        events(b"id\n" + said(flat())),
        events(),
    )

    World(server.url, waits=6).run()

    raw = [r.headers.get("last-event-id") for r in server.requests]
    sent = [text.encode("latin-1").decode() if text else text for text in raw]
    assert sent == [None, "1", "€", "€", "y", None]
    assert not any(c in (text or "") for text in raw for c in "\r\n\0")


@pytest.mark.covers("SSE-04")
@pytest.mark.parametrize(
    ("retry", "low", "high"),
    [
        (b"03000", 2.25, 3.75),
        (b"3000", 2.25, 3.75),
        (b"1000x", 1.0, 2.0),
        (b"", 1.0, 2.0),
        (b"-5", 1.0, 2.0),
        (b"0", 1.0, 1.0),
        (b"999999999", 45.0, 60.0),
        (b"9" * 5000, 45.0, 60.0),
    ],
)
def test_the_servers_retry_is_honoured_within_bounds(
    serve: Serve, retry: bytes, low: float, high: float
) -> None:
    server = serve(events(b"retry: " + retry + b"\n\n"))

    (pause,) = World(server.url, waits=1).run().pauses

    assert low <= pause <= high


@pytest.mark.covers("SSE-05")
def test_a_thousand_disconnects_of_a_hundred_clients_do_not_come_in_waves() -> None:
    clients = [random.Random(seed) for seed in range(100)]

    tenth = [wait_s(10, client.random) for client in clients for _ in range(10)]
    ceilings = [max(wait_s(n, c.random) for c in clients for _ in range(10)) for n in range(8)]

    assert len(tenth) == 1000
    assert max(tenth) - min(tenth) >= 0.8 * 59
    assert all(1 <= pause <= 60 for pause in tenth)
    assert [round(ceiling) for ceiling in ceilings] == [2, 4, 8, 16, 32, 60, 60, 60]


def test_waits_grow_until_a_connection_has_proved_itself(serve: Serve) -> None:
    server = serve(status(503))
    world = World(server.url, waits=6)
    world.follower.random = lambda: 1.0
    world.follower.monotonic = lambda: world.now_s

    world.run()

    assert world.pauses == [2, 4, 8, 16, 32, 60]
    assert world.status.state == "stopped"

    server.script = [events(b": ok\n\n")]
    healthy = World(server.url, waits=3)
    healthy.follower.random = lambda: 1.0
    ticks = iter(range(0, 10_000, 61))
    healthy.follower.monotonic = lambda: float(next(ticks))  # each life lasts over a minute
    assert healthy.run().pauses == [2, 2, 2]


@pytest.mark.covers("SSE-06")
@pytest.mark.parametrize(
    ("answer", "said_"),
    [
        (status(200, Content_Type="text/html"), "got 'text/html'"),
        (status(200), "got ''"),
        (status(200, Content_Type="application/json"), "got 'application/json'"),
        (status(401), "token"),
        (status(403), "rights"),
        (status(404), "path"),
        (status(405), "no stream"),
        (status(500), "500"),
        (status(502), "502"),
        (status(206, **{"Content-Type": "text/event-stream"}), "206"),
    ],
)
def test_an_answer_that_is_no_stream_is_an_error_without_a_hot_loop(
    serve: Serve, answer: Answer, said_: str
) -> None:
    server = serve(answer)

    world = World(server.url, waits=4).run()

    assert len(server.requests) == 4
    assert min(world.pauses) >= 1
    assert said_ in world.status.last_error
    assert world.sink.events == []


@pytest.mark.covers("SSE-06")
def test_a_server_that_ends_the_stream_for_good_raises_an_alarm(serve: Serve) -> None:
    server = serve(status(204))

    world = World(server.url).run()

    assert world.status.state == "source_stopped"
    assert "204" in world.status.last_error
    assert len(server.requests) == 1
    assert world.pauses == []


@pytest.mark.covers("SSE-06")
@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [("7", 7.0), ("120", 120.0), ("Sat, 21 Nov 2026 10:00:30 GMT", 30.0), ("0", 1.0)],
)
def test_a_time_to_wait_is_honoured(serve: Serve, code: int, asked: str, expected: float) -> None:
    class Dated(Scripted):
        pass

    def answer(handler: Any) -> None:
        handler.date_time_string = lambda timestamp=None: "Sat, 21 Nov 2026 10:00:00 GMT"
        handler.say(code, {"Retry-After": asked})

    server = serve(server=Dated(answer))

    (pause,) = World(server.url, waits=1).run().pauses

    assert pause == pytest.approx(expected, rel=0.1)


@pytest.mark.covers("SSE-06")
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_stay_within_the_origin_and_so_does_the_token(serve: Serve, code: int) -> None:
    elsewhere = serve(events(said(flat())))
    to_there = status(code, Location=elsewhere.url + "/x")
    here = serve(status(code, Location="/moved"), events(said(flat())), to_there)

    world = World(here.url, waits=2, token="hush").run()

    assert [r.path for r in here.requests] == ["/", "/moved", "/"]
    assert {r.headers["authorization"] for r in here.requests} == {"Bearer hush"}
    assert world.sink.names == ["api-0"]
    assert elsewhere.requests == []
    assert "another origin" in world.status.last_error


@pytest.mark.covers("SSE-06")
def test_redirects_in_a_circle_end(serve: Serve) -> None:
    server = serve(status(302, Location="/"))

    world = World(server.url, waits=1).run()

    assert len(server.requests) == 6
    assert "redirects" in world.status.last_error


@pytest.mark.parametrize("location", ["", "http://[", "file:///etc/passwd", "javascript:1"])
def test_a_redirect_to_nowhere_is_refused(serve: Serve, location: str) -> None:
    server = serve(status(302, Location=location))

    assert World(server.url, waits=1).run().sink.events == []


@pytest.mark.covers("SSE-09")
@pytest.mark.parametrize("before", [b"", b": ok\n\n", said(flat())])
def test_a_silent_stream_is_taken_for_dead_and_opened_again(serve: Serve, before: bytes) -> None:
    server = serve(events(before, hang=True))

    world = World(server.url, waits=2).run()

    assert Timing().silence_s <= 90
    assert len(server.requests) == 2
    assert "silent" in world.status.last_error


def test_a_host_that_accepts_and_never_answers_is_noticed() -> None:
    hole = socket.create_server(("127.0.0.1", 0))
    port = hole.getsockname()[1]

    world = World(f"http://127.0.0.1:{port}/", waits=1).run()
    hole.close()

    assert "no answer" in world.status.last_error


@pytest.mark.covers("SSE-10")
@pytest.mark.parametrize(
    "chunk", [b"x" * 65_536, b"data: " + b"x" * 65_529 + b"\n", b":" + b"x" * 65_535]
)
def test_what_never_ends_is_cut_at_the_limit_and_the_stream_goes_on(
    serve: Serve, chunk: bytes
) -> None:
    first = b": " if chunk[:1] == b":" else b"data: "
    endless_answer = endless(chunk, 16_384)  # 1 GiB, if anyone read it

    def answer(handler: Any) -> None:
        handler.begin()
        handler.wfile.write(first)
        handler.begin = lambda: None
        endless_answer(handler)

    server = serve(answer, events(said(flat())))
    tracemalloc.start()

    world = World(server.url, waits=2).run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert world.sink.names == ["api-0"]
    assert peak < 16 * 1024 * 1024


@pytest.mark.covers("SSE-13")
@pytest.mark.parametrize(
    "bad",
    [
        "not json",
        '{"jsonrpc":"1.0"}',
        '{"x":1}',
        '{"a":NaN}',
        "[]",
        "[" * 5000,
        '{"resource_type":"Pod","resource_name":1}',
        '{"a":1,"a":2}',
    ],
)
def test_a_bad_message_is_set_aside_and_the_stream_goes_on(serve: Serve, bad: str) -> None:
    server = serve(events(said(flat("a"), bad, flat("b"))))

    world = World(server.url, waits=1).run()

    assert world.sink.names == ["a", "b"]
    assert world.status.bad_messages_total == 1
    (key,) = world.store.list("parked/")
    assert json.loads(world.store.get(key))["body"] == bad


@pytest.mark.covers("SSE-15")
@pytest.mark.parametrize("chunk", [b":\n" * 30_000, b"data: {}\n\n" * 6_000])
def test_a_stream_that_never_pauses_uses_no_more_than_its_share_and_others_are_heard(
    serve: Serve, started: Callable[[World], World], chunk: bytes
) -> None:
    """How late the others are beside it: `benchmarks/hostile_stream.py`."""
    used: list[float] = []

    def noted() -> float:
        used.append(time.thread_time())
        return used[-1]

    loud = World(serve(endless(chunk, 100_000)).url, share=Share(0.02, at_once_s=0.05, used=noted))
    others = [World(serve(events(said(flat(f"api-{n}")), hang=True)).url) for n in range(5)]

    began = time.monotonic()
    for world in (loud, *others):
        started(world)
    until(lambda: all(world.sink.names for world in others))
    time.sleep(1.5)
    loud.follower.stop.set()
    elapsed_s = time.monotonic() - began

    assert loud.status.connects_total == 1
    one_piece_s = 0.2  # of 64 KiB, on a slow machine: the debt is looked at after it
    assert used[-1] - used[0] <= 0.05 + 0.02 * elapsed_s + one_piece_s


@pytest.mark.parametrize(
    ("kind", "piece"), [("text/event-stream", b":\n"), ("application/json", b" ")]
)
def test_an_answer_that_goes_on_for_ever_is_given_up(serve: Serve, kind: str, piece: bytes) -> None:
    """Bytes keep coming, so no read is ever late: the answer as a whole has its time."""

    def drips(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.end_headers()
        while not handler.server.ended.wait(0.05):
            handler.wfile.write(piece)
            handler.wfile.flush()

    server = serve(drips)

    began = time.monotonic()
    world = World(f"{server.url}/mcp", waits=1).run()

    assert time.monotonic() - began < 10 * QUICK.answer_s
    assert world.status.last_error == "the server's answer went on for too long"


@pytest.mark.parametrize(
    "method", ['"notifications/x"', '"notifications/message","params":{"data":1}', '"ping","id":1']
)
def test_an_unknown_method_is_passed_over(serve: Serve, method: str) -> None:
    text = f'{{"jsonrpc":"2.0","method":{method}}}'
    server = serve(events(said(text, flat("a"))))

    world = World(server.url, waits=1).run()

    assert world.sink.names == ["a"]
    assert world.status.bad_messages_total == 0


def test_while_the_sink_has_no_room_nothing_is_dropped(serve: Serve) -> None:
    server = serve(events(said(*(flat(f"pod-{n}") for n in range(300)))))
    world = World(server.url, waits=3)
    world.sink.failures = [Unavailable("down"), Unavailable("still down")]

    world.run()

    assert world.sink.names == [f"pod-{n}" for n in range(300)]
    assert world.status.faults_total == 300


def test_a_slow_sink_slows_the_socket_and_memory_stays_small(serve: Serve) -> None:
    sent = threading.Event()
    many = said(*(flat(f"pod-{n}", logs="x" * 2000) for n in range(500)))

    def answer(handler: Any) -> None:
        handler.begin()
        for _ in range(100):  # 130 MB
            handler.wfile.write(many)
        sent.set()

    server = serve(answer)
    world = World(server.url)
    world.sink.slow_s = 0.002
    tracemalloc.start()
    thread = world.follower.start()
    until(lambda: len(world.sink.events) >= 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    world.follower.stop.set()
    thread.join(10)

    assert not sent.is_set()
    assert peak < 64 * 1024 * 1024
    assert world.sink.names == [f"pod-{n % 500}" for n in range(len(world.sink.events))]


def test_only_what_was_asked_for_is_handed_on(serve: Serve) -> None:
    faults = [flat("a"), flat("b", namespace="other"), flat("c", severity="info")]
    server = serve(events(said(*faults, flat("d", resource_type="Node"))))
    wanted = Filter(frozenset({"shop"}), frozenset({"Pod"}), Severity.WARNING)

    assert World(server.url, waits=1, filter=wanted).run().sink.names == ["a"]


@pytest.mark.covers("S0-09", "S0-10", "S0-13")
def test_a_client_yields_faults_until_it_is_told_to_stop_and_raises_what_ended_it(
    serve: Serve,
) -> None:
    server = serve(events(said(flat("a"), flat("b"), flat("c"))))
    stop = threading.Event()
    client = Client(server.url + "/events", cluster="c", clock=lambda: NOW, timing=QUICK)

    names = []
    for fault in client.subscribe(stop):
        names.append(fault.resource.name if fault.resource else "")
        if len(names) == 2:
            stop.set()

    assert names == ["a", "b"]
    with pytest.raises(Unavailable, match="ended"):
        list(client.subscribe(threading.Event()))
    server.script = [status(204)]
    with pytest.raises(SourceStopped):
        list(client.subscribe(threading.Event()))
    server.script = [status(500)]
    with pytest.raises(Refused):
        list(client.subscribe(threading.Event()))


@pytest.mark.parametrize("endpoint", ["ftp://x/", "x", "", "mcp+file:///x", "grpc+http://x/"])
def test_an_endpoint_that_is_no_stream_is_refused_at_once(endpoint: str) -> None:
    with pytest.raises(Rejected, match="expected an http"):
        session_of(endpoint)


@pytest.mark.parametrize(
    ("endpoint", "kind"),
    [
        ("http://h/events", "RawSession"),
        ("http://h/mcp", "StreamableSession"),
        ("http://h/sse", "LegacySession"),
        ("sse+http://h/mcp", "RawSession"),
        ("mcp+http://h/x", "StreamableSession"),
        ("mcp-sse+http://h/x", "LegacySession"),
        ("mcp-poll+https://h/mcp", "PollSession"),
        ("http://h/a+b", "RawSession"),
    ],
)
def test_the_endpoint_says_what_is_spoken(endpoint: str, kind: str) -> None:
    assert type(session_of(endpoint)).__name__ == kind


def test_a_stream_cut_anywhere_and_resumed_by_id_loses_nothing_and_repeats_nothing(
    serve: Serve,
) -> None:
    chance = random.Random(14)
    whole = [f"id: {n}\ndata: {json.dumps(flat(f'pod-{n}'))}\n\n".encode() for n in range(1, 801)]

    def answer(handler: Any) -> None:
        begun = int(handler.headers.get("last-event-id", "0"))
        rest = b"".join(whole[begun : begun + 4])
        rest = rest[: chance.randint(0, len(rest))]
        handler.begin()
        while rest:
            size = chance.choice([1, 7, 100, 1000])
            handler.wfile.write(rest[:size])
            rest = rest[size:]
        if chance.random() < 0.3:  # a reset instead of an end
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    server = serve(answer)
    world = World(server.url, waits=500).run()

    assert len(server.requests) == 500
    heard = len(world.sink.events)
    assert heard > 400
    assert world.sink.names == [f"pod-{n}" for n in range(1, heard + 1)]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://user:hush@h:1/events?token=hush#x", "https://h:1/events"),
        ("mcp+https://hush@h/mcp", "mcp+https://h/mcp"),
        ("prod", "prod"),
    ],
)
def test_a_streams_name_shows_no_secret(name: str, shown: str) -> None:
    intake = Intake(sink=Listening(), store=MemoryStore(), cluster="c", clock=lambda: NOW)
    client = Client("http://h/events", cluster="c", clock=lambda: NOW)

    assert Follower(name, client, intake).status.name == shown


# MCP over streamable HTTP


@pytest.fixture
def server(serve: Serve) -> McpServer:
    made: McpServer = serve(server=McpServer())
    return made


ORDER = [
    "initialize",
    "notifications/initialized",
    "GET",
    "logging/setLevel",
    "events_subscribe",
]


def test_a_subscriber_does_everything_in_the_one_order_that_works(
    server: McpServer, started: Callable[[World], World]
) -> None:
    world = started(World(server.url + "/mcp"))
    until(lambda: server.fault())
    until(lambda: world.sink.events)

    assert server.methods[:5] == ORDER
    after = server.requests[1:5]
    assert {r.headers["mcp-session-id"] for r in after} == {"session-1"}
    assert {r.headers["mcp-protocol-version"] for r in after} == {"2025-06-18"}
    fault = Fault.model_validate(world.sink.events[0].data)
    assert (fault.name, fault.cluster, fault.origin) == ("CrashLoop", "here", "mcp")
    assert world.sink.events[0].subject == "resource/here/shop/api"


@pytest.mark.covers("SSE-07")
def test_after_each_of_a_hundred_restarts_everything_is_said_again_in_order(
    server: McpServer, started: Callable[[World], World]
) -> None:
    world = started(World(server.url + "/mcp", timing=Timing(2, 2, 5, 5)))

    for restart in range(101):
        until(lambda name=f"pod-{restart}": server.fault(name=name))
        until(lambda count=restart + 1: len(world.sink.events) >= count)
        server.restart()
    world.follower.stop.set()

    assert world.sink.names == [f"pod-{n}" for n in range(101)]
    assert world.status.reconnects_total >= 100
    lives = "\n".join(server.methods).split("initialize\n")[1:]
    assert all(life.split()[:4] == ORDER[1:] for life in lives[:101])
    assert max(world.pauses[:100]) <= 5


def test_a_session_that_the_server_forgot_is_begun_anew(
    server: McpServer, started: Callable[[World], World]
) -> None:
    world = started(World(server.url + "/mcp"))
    until(lambda: world.status.connected and server.fault())

    forgotten = server.sessions
    server.sessions = {}  # the stream stays open; the next ping is answered 404
    until(lambda: server.sessions and server.fault(name="after"))
    until(lambda: "after" in world.sink.names)

    for session in forgotten.values():
        assert session.stream is not None
        session.stream.put(None)
    assert "404" in world.status.last_error or world.status.reconnects_total >= 1


def test_a_server_that_went_deaf_is_noticed_by_asking(
    server: McpServer, started: Callable[[World], World]
) -> None:
    world = started(World(server.url + "/mcp", timing=Timing(2, 0.3, 30, 0.1)))
    until(lambda: world.status.connected and server.fault())

    server.deaf = True
    until(lambda: world.pauses)
    server.deaf = False
    until(lambda: len([s for s in server.sessions.values() if s.subscribed]) > 1)
    server.fault(name="after")
    until(lambda: "after" in world.sink.names)

    assert Timing().ping_s + Timing().answer_s <= 90


def test_a_subscription_that_was_dropped_in_silence_is_made_again(
    server: McpServer, started: Callable[[World], World]
) -> None:
    world = started(World(server.url + "/mcp", timing=Timing(2, 2, 5, 0.1)))
    until(lambda: server.fault())
    (session,) = server.sessions.values()

    session.subscribed = []
    until(lambda: session.subscribed)

    assert server.methods.count("events_subscribe") == 2
    assert server.methods.count("initialize") == 1
    assert world.status.connected


def test_an_error_of_the_subscription_makes_a_new_one(
    server: McpServer, started: Callable[[World], World]
) -> None:
    started(World(server.url + "/mcp", timing=Timing(2, 2, 5, 5)))
    until(lambda: server.fault())

    error = {"subscriptionId": "s", "cluster": "", "error": "watch failed", "degraded": True}
    server.send(json.dumps(notification(error, mcp.SUBSCRIPTION_ERROR)))

    until(lambda: server.methods.count("events_subscribe") == 2)


def test_a_server_that_asks_for_a_sign_of_life_gets_one(
    server: McpServer, started: Callable[[World], World]
) -> None:
    answers: list[Any] = []

    class Asking(McpServer):
        def _post(self, handler: Any, request: Any) -> None:
            if "method" in request.body:
                return super()._post(handler, request)
            answers.append(request.body)
            return handler.say(202)

        @property
        def methods(self) -> list[str]:
            return []

    asking = Asking()
    world = started(World(asking.url + "/mcp"))
    until(lambda: asking.send('{"jsonrpc":"2.0","id":"s-1","method":"ping"}'))
    until(lambda: answers)
    world.follower.stop.set()
    asking.stop()

    assert answers[0] == {"jsonrpc": "2.0", "id": "s-1", "result": {}}


@pytest.mark.covers("SSE-08")
def test_what_broke_while_nobody_listened_is_found_by_listing_and_never_told_twice(
    server: McpServer, started: Callable[[World], World]
) -> None:
    chance = random.Random(8)
    broken: dict[str, Fault] = {}
    setting = mcp.Setting("here", NOW)

    def breaks(name: str) -> None:
        fault = mcp.fault_of(fault_data(name=name), setting)
        assert fault is not None
        broken[name] = fault
        server.fault(name=name)

    world = World(
        server.url + "/mcp",
        timing=Timing(2, 2, 5, 5),
        list_present=lambda: list(broken.values()),
    )
    started(world)
    until(lambda: world.status.connected)

    for gap in range(200):
        if chance.random() < 0.5:
            server.restart()
            breaks(f"pod-{gap}")  # nobody hears this
        else:
            breaks(f"pod-{gap}")
            server.restart()
        connects = world.status.connects_total
        until(
            lambda before=connects: world.status.connects_total > before or world.status.connected
        )
    server.restart()
    until(lambda: set(broken) <= set(world.sink.names))

    by_id = {event.id for event in world.sink.events}
    assert len(by_id) == 200  # whatever was told again has the same identity


def test_a_listing_that_fails_is_tried_again_and_does_not_stop_the_stream(serve: Serve) -> None:
    server = serve(events(said(flat("heard"))))
    tries: list[int] = []

    def list_present() -> Iterator[Fault]:
        tries.append(1)
        if len(tries) == 1:
            raise Unavailable("cluster down")
        found = mcp.fault_of(flat("listed"), mcp.Setting("here", NOW))
        assert found is not None
        yield found

    world = World(server.url, waits=2, list_present=list_present).run()

    assert world.sink.names[:3] == ["heard", "listed", "heard"]


def test_a_server_without_subscriptions_says_so_and_is_not_hammered(serve: Serve) -> None:
    class Without(McpServer):
        def _result(self, session: Any, message: Any) -> dict[str, Any]:
            if message["method"] == "tools/call":
                return {"error": {"code": -32602, "message": 'unknown tool "events_subscribe"'}}
            return super()._result(session, message)

    without = serve(server=Without())

    world = World(without.url + "/mcp", waits=3).run()

    assert "mcp-poll" in world.status.last_error
    assert min(world.pauses) >= 1


def test_a_stateless_server_is_named_as_such(serve: Serve) -> None:
    class Stateless(McpServer):
        def _stream(self, handler: Any, request: Any) -> None:
            handler.say(405, {"Allow": "POST"})

    stateless = serve(server=Stateless())

    world = World(stateless.url + "/mcp", waits=1).run()

    assert "stateless" in world.status.last_error


def test_a_server_that_has_only_events_is_polled(serve: Serve) -> None:
    listed = (
        "# The following events (YAML format) were found:\n- InvolvedObject:\n    Kind: Pod\n"
        "    Name: crashy\n  Message: Back-off\n  Namespace: demo\n  Reason: BackOff\n"
        "  Timestamp: 2026-01-01 00:05:00 +0000 UTC\n  Type: Warning\n"
    )

    class Events(McpServer):
        def _result(self, session: Any, message: Any) -> dict[str, Any]:
            if message["method"] == "tools/call":
                return {"result": {"content": [{"type": "text", "text": listed}]}}
            return super()._result(session, message)

    polled = serve(server=Events())
    world = World(f"mcp-poll+{polled.url}/mcp", timing=Timing(2, 2, 5, 0.05))
    thread = world.follower.start()
    until(lambda: polled.methods.count("events_list") >= 3)
    world.follower.stop.set()
    thread.join(5)

    assert world.sink.names == ["crashy"]
    assert "GET" not in polled.methods


# MCP over legacy SSE


class LegacyServer(Server):
    """The transport of 2024-11-05: answers come on the stream, after or before the 202."""

    def __init__(self, endpoint: str = "/message?sessionId=1") -> None:
        self.endpoint = endpoint
        self.answers_first = False
        self.stream: Any = None
        super().__init__()

    def answer(self, handler: Any, request: Any) -> None:
        if request.method == "GET":
            handler.begin()
            handler.wfile.write(f"event: endpoint\ndata: {self.endpoint}\r\n\r\n".encode())
            self.stream = handler.wfile
            self.ended.wait(20)
            return
        texts = self._answered(request.body)
        if self.answers_first:
            self._put(texts)
            handler.say(202)
        else:
            handler.say(202)
            self._put(texts)

    def _answered(self, message: Any) -> list[str]:
        if "id" not in message:
            return []
        result: dict[str, Any] = {}
        if message["method"] == "tools/call":
            text = '{"subscriptionId":"s","subscriptions":[{"subscriptionId":"s"}]}'
            result = {"content": [{"type": "text", "text": text}]}
        early = [json.dumps(notification(fault_data(name="early")))]
        answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
        return [*(early if method_of_body(message) == "events_subscribe" else []), answer]

    def _put(self, texts: list[str]) -> None:
        for text in texts:
            self.stream.write(f"event: message\ndata: {text}\n\n".encode())


def method_of_body(message: Any) -> str:
    return str(message.get("params", {}).get("name") or message["method"])


@pytest.mark.parametrize("answers_first", [True, False])
def test_over_legacy_sse_answers_may_come_before_or_after_the_202(
    serve: Serve, started: Callable[[World], World], answers_first: bool
) -> None:
    legacy = LegacyServer()
    legacy.answers_first = answers_first
    serve(server=legacy)
    world = started(World(legacy.url + "/sse", timing=Timing(2, 2, 5, 0.1)))

    until(lambda: world.status.connected)
    legacy._put([json.dumps(notification(fault_data(name="later")))])
    until(lambda: "later" in world.sink.names)
    until(lambda: "events_list_subscriptions" in [method_of(r) for r in legacy.requests])

    assert world.sink.names[0] == "early"  # it came before the answer to our subscription
    assert [method_of(r) for r in legacy.requests][:5] == [
        "GET",
        "initialize",
        "notifications/initialized",
        "logging/setLevel",
        "events_subscribe",
    ]
    assert {r.path for r in legacy.requests[1:]} == {"/message?sessionId=1"}


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1/x", "//evil.example/x", "file:///x"])
def test_an_endpoint_elsewhere_is_never_posted_to(serve: Serve, endpoint: str) -> None:
    legacy = LegacyServer(endpoint)
    serve(server=legacy)

    world = World(legacy.url + "/sse", waits=1, token="hush").run()

    assert "same origin" in world.status.last_error
    assert len(legacy.requests) == 1


def test_followers_end_when_they_are_told_to(serve: Serve) -> None:
    server = serve(events(b": ok\n\n", hang=True))
    world = World(server.url, timing=Timing(2, 2, 60, 0.1))
    thread = world.follower.start()
    until(lambda: world.status.connected)

    world.follower.stop.set()
    thread.join(5)

    assert not thread.is_alive()
    assert world.status.state == "stopped"
    assert world.status.connected is False


def test_a_bug_of_ours_does_not_end_the_listening(serve: Serve) -> None:
    server = serve(events(said(flat("a"))))
    world = World(server.url, waits=2)
    world.sink.failures = [RuntimeError("bug")]

    world.run()

    assert world.sink.names == ["a"]
