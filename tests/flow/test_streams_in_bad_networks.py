"""Streams through a network that spoils every connection, and beside a hostile neighbour."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import defaultdict
from typing import Any

import pytest
from stream_servers import McpServer, Scripted, endless, fault_data
from test_streams import NOW, World, flat, said, until
from toxics import TOXICS, Proxy

from faultline.bridge import mcp
from faultline.bridge.stream import Timing
from faultline.errors import Unavailable
from faultline.model import Fault

PATIENT = Timing(connect_s=2, answer_s=2, silence_s=2, ping_s=1)
CUTS = 500


def resuming(count: int) -> tuple[Any, list[bytes]]:
    """A server with ids: it goes on after `Last-Event-ID`, and keeps the stream open."""
    whole = [f"id: {n}\ndata: {json.dumps(flat(f'pod-{n}'))}\n\n".encode() for n in range(1, count)]

    def answer(handler: Any) -> None:
        begun = int(handler.headers.get("last-event-id", "0"))
        handler.begin()
        handler.wfile.write(b"".join(whole[begun : begun + 30]))

    return answer, whole


@pytest.mark.covers("SSE-14")
def test_five_hundred_cuts_by_every_toxic_lose_and_repeat_nothing_where_the_server_has_ids() -> (
    None
):
    answer, whole = resuming(20_000)
    server = Scripted(answer)
    proxy = Proxy(server.server_address[1], seed=14)
    world = World(f"http://127.0.0.1:{proxy.port}/", waits=CUTS, timing=PATIENT)

    world.run()
    proxy.stop()
    server.stop()

    heard = len(world.sink.events)
    assert sum(proxy.used.values()) >= CUTS
    assert set(proxy.used) == set(TOXICS)
    assert 0 < heard < len(whole)
    assert world.sink.names == [f"pod-{n}" for n in range(1, heard + 1)]  # the oracle


@pytest.mark.covers("SSE-14")
def test_without_ids_the_listing_after_each_cut_finds_what_the_cut_swallowed() -> None:
    server, broken, setting = McpServer(), {}, mcp.Setting("here", NOW)
    proxy = Proxy(server.server_address[1], seed=15, bytes_max=3_000)
    listed = lambda: list(broken.values())  # noqa: E731
    world = World(f"http://127.0.0.1:{proxy.port}/mcp", timing=PATIENT, list_present=listed)
    thread = world.follower.start()

    for number in range(100):
        fault = mcp.fault_of(fault_data(name=f"pod-{number}"), setting)
        broken[f"pod-{number}"] = fault
        server.fault(name=f"pod-{number}")
        time.sleep(0.005)
    until(lambda: set(broken) <= set(world.sink.names), 60)
    world.follower.stop.set()
    server.stop()
    thread.join(10)
    proxy.stop()

    assert world.status.connects_total > 3
    assert len({event.id for event in world.sink.events}) == 100  # told again, it is the same event


@pytest.mark.covers("SSE-11")
def test_five_minutes_without_a_sink_at_a_thousand_events_a_second_drop_nothing() -> None:
    """The pace is the reader's: what is not handed on is not read, and TCP holds the sender."""
    told = [said(flat(f"pod-{n}")) for n in range(3_000)]

    def answer(handler: Any) -> None:
        handler.begin()
        for chunk in told:
            handler.wfile.write(chunk)

    server = Scripted(answer)
    world = World(server.url, waits=10_000, timing=PATIENT)
    stalled_s = 300
    send = world.sink.send

    def stalls(event: Any) -> None:
        if len(world.sink.events) >= 100 and world.now_s < stalled_s:  # time passes as it waits
            raise Unavailable("the sink has no room")
        send(event)

    world.sink.send = stalls
    thread = world.follower.start()
    until(lambda: len(world.sink.events) >= len(told), 60)  # then it reconnects and hears it again
    world.follower.stop.set()
    thread.join(10)
    server.stop()

    assert world.now_s >= stalled_s
    assert world.sink.names[:3_000] == [f"pod-{n}" for n in range(3_000)]


@pytest.mark.covers("SSE-12")
def test_ten_thousand_events_about_five_hundred_conditions_keep_their_order() -> None:
    chance, counts, whole = random.Random(12), defaultdict(int), []
    for _ in range(10_000):
        name = f"pod-{chance.randrange(500)}"
        counts[name] += 1
        moment = f"2026-11-21T09:{counts[name] // 60:02}:{counts[name] % 60:02}Z"
        whole.append(flat(name, timestamp=moment))

    def answer(handler: Any) -> None:
        handler.begin()
        for start in range(0, len(whole), 500):
            handler.wfile.write(said(*whole[start : start + 500]))

    server = Scripted(answer)
    world = World(server.url, waits=1, timing=PATIENT).run()
    server.stop()

    seen: dict[str, list[Any]] = defaultdict(list)
    for event in world.sink.events:
        fault = Fault.model_validate(event.data)
        seen[fault.resource.name if fault.resource else ""].append(fault.starts_at)
    assert sum(map(len, seen.values())) == 10_000
    assert len(seen) == 500
    assert all(times == sorted(times) for times in seen.values())


def test_a_hostile_server_costs_its_neighbours_nothing() -> None:
    """Ninety-nine streams are heard to the end while the hundredth pours out an endless line."""
    hostile = Scripted(endless(b"data: " + b"x" * 65_536, 10_000))
    calm = Scripted(
        lambda handler: (handler.begin(), handler.wfile.write(said(flat("a"), flat("b"))))
    )
    worlds = [World(calm.url, waits=1, timing=PATIENT) for _ in range(99)]
    worst = World(hostile.url, waits=3)
    threads = [threading.Thread(target=w.run, daemon=True) for w in (worst, *worlds)]

    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join(60)
    worst.follower.stop.set()
    hostile.stop()
    threads[0].join(30)
    calm.stop()

    assert [w.sink.names for w in worlds] == [["a", "b"]] * 99
    assert worst.sink.names == []
