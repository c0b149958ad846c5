"""A real AlertManager and the bridge: what it sends when, and what it does with our answers."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from ports import free_port

from faultline import wire
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.app import app
from faultline.bridge.gate import serve_config
from faultline.errors import Busy, Unavailable
from faultline.event import FAULT_DETECTED, Event
from faultline.model import Fault

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(BINARY is None, reason="no AlertManager on this machine"),
]
GROUP_INTERVAL_S = 6
CONFIG = """
route: {receiver: faultline, group_by: [namespace], group_wait: 1s, group_interval: 6s,
        repeat_interval: 1h}
receivers:
- name: faultline
  webhook_configs:
  - url: "http://127.0.0.1:%d/alertmanager"
    send_resolved: true
    http_config: {follow_redirects: false, authorization: {type: Bearer, credentials: right}}
"""


class Sink:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failures: list[Exception] = []
        self.refused_at: list[float] = []

    def send(self, event: Event) -> None:
        if self.failures:
            self.refused_at.append(time.monotonic())
            raise self.failures.pop(0)
        self.events.append(event)


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Store(MemoryStore):
    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.sink = sink
        self.down = 0  # so many writes will fail

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if self.down:
            self.down -= 1
            self.sink.refused_at.append(time.monotonic())
            raise Unavailable("the store is down")
        super().put(key, data, if_absent=if_absent)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def store(sink: Sink) -> Store:
    return Store(sink)


@pytest.fixture
def addresses(sink: Sink, store: Store, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Start the bridge and an AlertManager that sends to it; return where both are."""
    served = app(
        sink=sink,
        store=store,
        cluster="here",
        clock=lambda: dt.datetime.now(dt.UTC),
        tokens=["right"],
    )
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(serve_config(served, "127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    port = free_port()
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG % listening.getsockname()[1])
    process = subprocess.Popen(
        [
            str(BINARY),
            f"--config.file={config}",
            f"--storage.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    until(lambda: is_ready(address))
    yield address, f"http://127.0.0.1:{listening.getsockname()[1]}"
    process.terminate()
    process.wait(10)
    server.should_exit = True
    thread.join(10)
    listening.close()


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/-/ready", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


BEGAN = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)


def post(alertmanager: str, *, alerts: int, ended: bool) -> None:
    labels = {"severity": "critical", "namespace": "shop", "deployment": "checkout"}
    end = {"endsAt": dt.datetime.now(dt.UTC).isoformat()} if ended else {}
    body = [
        {"labels": labels | {"alertname": f"Broken{n}"}, "startsAt": BEGAN.isoformat(), **end}
        for n in range(alerts)
    ]
    answer = httpx.post(f"{alertmanager}/api/v2/alerts", json=body, trust_env=False)
    assert answer.status_code == 200


def test_alerts_that_fire_and_resolve_are_told_once_each_about_one_workload(
    addresses: tuple[str, str], sink: Sink, store: Store
) -> None:
    post(addresses[0], alerts=5, ended=False)
    until(lambda: len(sink.events) >= 5)
    post(addresses[0], alerts=5, ended=True)
    until(lambda: len(sink.events) >= 10, seconds=GROUP_INTERVAL_S + 10)

    ids = {event.id for event in sink.events}
    occurrences, whats = zip(*(id.split("/") for id in ids), strict=True)
    assert len(ids) == 10
    assert (whats.count("detected"), whats.count("cleared")) == (5, 5)
    # AlertManager may flush a group before all of it is there, and tells it whole the next time
    messages = [json.loads(store.get(key))["alerts"] for key in store.list("payloads/")]
    assert len(sink.events) == sum(map(len, messages))
    assert len(set(occurrences)) == 5
    assert {event.subject for event in sink.events} == {"resource/here/shop/checkout"}


@pytest.mark.covers("AM-02")
def test_while_the_store_is_down_it_comes_back_within_seconds_and_nothing_is_lost(
    addresses: tuple[str, str], sink: Sink, store: Store
) -> None:
    store.down = 3

    post(addresses[0], alerts=1, ended=False)
    until(lambda: len(sink.refused_at) == 3)
    until(lambda: sink.events, seconds=5)

    assert len(sink.events) == 1


@pytest.mark.covers("AM-03")
def test_without_room_alertmanager_hears_what_makes_it_return_and_others_a_time(
    addresses: tuple[str, str], sink: Sink
) -> None:
    sink.failures = [Busy("full", retry_after_s=7)] * 4
    fault = Fault(name="Broken", cluster="c", starts_at=BEGAN)
    event = Event(id="1", source="/x", type=FAULT_DETECTED, data=fault.model_dump(mode="json"))
    headers, body = wire.encode(event)

    other = httpx.post(
        f"{addresses[1]}/events",
        content=body,
        headers=headers | {"authorization": "Bearer right"},
        trust_env=False,
    )
    post(addresses[0], alerts=1, ended=False)
    until(lambda: sink.events)

    assert (other.status_code, other.headers["retry-after"]) == (429, "7")
    tries = sink.refused_at[1:]
    assert len(tries) == 3
    assert tries[1] - tries[0] < GROUP_INTERVAL_S - 2  # a 4xx would cost a whole group interval
