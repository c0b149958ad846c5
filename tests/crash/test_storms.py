"""Storms over loopback: thousands of alerts, repeats without end. Figures are printed.

`faultline dev` is a process of its own here; what it wrote is counted at the store.
"""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from line_process import Census, LineProcess, Nursery, alert, disposed, message, until
from world import World

from faultline.adapters.stores.memory import MemoryStore
from faultline.model import Status


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


class CountingStore(MemoryStore):
    """Counts the reads, and the writes that were not refused."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.reads = 0

    def get(self, key: str) -> bytes:
        self.reads += 1
        return super().get(key)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        super().put(key, data, if_absent=if_absent)
        self.written.append(key)


@pytest.mark.covers("STM-14")
def test_ten_thousand_redeliveries_write_next_to_nothing() -> None:
    store = CountingStore()
    world = World(store=store)
    world.alert().settle()
    assert world.status() is Status.PACKAGED
    before = len(store.written)

    for _ in range(100):
        for _ in range(100):
            world.alert()
        world.settle()

    again = store.written[before:]
    print(f"10,000 redeliveries: {len(again)} writes")
    assert len(again) <= 10
    assert (world.forge.made, len(world.chat.messages)) == (1, 1)


def test_the_ends_of_many_faults_of_one_incident_cost_each_about_the_same() -> None:
    store = CountingStore()
    world = World(store=store)
    for number in range(400):
        world.fault(condition=f"c{number}")
    world.settle().pass_time(60)
    before = store.reads
    for number in range(399):
        world.clear(condition=f"c{number}")
    world.settle()
    each = (store.reads - before) / 399
    assert world.status() is Status.PACKAGED

    world.clear(condition="c399").settle()
    assert world.status() is Status.CLOSED
    closed = store.reads
    for number in range(400):  # the other AlertManager of a pair says it all again
        world.clear(condition=f"c{number}")
    world.settle()
    again = (store.reads - closed) / 400

    print(f"reads: {each:.0f} for an end, {again:.0f} for its repeat")
    assert each < 100
    assert again < 100


class Load:
    """Several connections that post messages; what was taken, and how long each took.

    `per_s`: no more than so many messages a second; 0: as many as are answered.
    """

    def __init__(
        self, line: LineProcess, bodies: Sequence[bytes], connections: int, *, per_s: float = 0
    ) -> None:
        self._line, self._bodies = line, enumerate(bodies)
        self._per_s, self._began = per_s, time.monotonic()
        self._lock = threading.Lock()
        self.seconds: list[float] = []
        self.statuses: list[int] = []
        threads = [threading.Thread(target=self._post) for _ in range(connections)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.whole_s = time.monotonic() - began

    def _next(self) -> bytes | None:
        with self._lock:
            number, body = next(self._bodies, (0, None))
        if self._per_s:
            time.sleep(max(0.0, self._began + number / self._per_s - time.monotonic()))
        return body

    def _post(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._line.port, timeout=30)
        while (body := self._next()) is not None:
            began = time.monotonic()
            connection.request("POST", "/alertmanager", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            self.seconds.append(time.monotonic() - began)
            self.statuses.append(answer.status)
        connection.close()

    def percentile(self, number: int) -> float:
        """In milliseconds, of the best third: others use this machine too, now and then."""
        third = len(self.seconds) // 3
        thirds = (self.seconds[n * third :][:third] for n in range(3))
        return 1000 * min(statistics.quantiles(part, n=100)[number - 1] for part in thirds)

    def __str__(self) -> str:
        cuts = statistics.quantiles(self.seconds, n=100)
        p50, p95, p99 = (1000 * cuts[n] for n in (49, 94, 98))
        return (
            f"{len(self.seconds)} messages in {self.whole_s:.1f} s, "
            f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms"
        )


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def storm() -> list[list[dict[str, Any]]]:
    """5,000 alerts in 50 groups of one workload each, ten messages a group."""
    groups = []
    for part in range(10):
        for group in range(50):
            number = range(part * 10, part * 10 + 10)
            groups.append([alert(f"Storm{group}x{n}", cluster=f"storm-{group}") for n in number])
    return groups


@pytest.mark.covers("STM-01")
def test_five_thousand_alerts_in_fifty_groups_are_fifty_incidents_and_none_is_lost(
    nursery: Nursery, tmp_path: Path
) -> None:
    groups = storm()
    names = {one["labels"]["alertname"] for group in groups for one in group}
    assert len(names) == 5000

    with disposed(
        LineProcess(
            tmp_path, nursery=nursery, LOG_LEVEL="error",
            FAULTLINE_SWEEP_SECONDS="10", FAULTLINE_NUDGE_AFTER="60",
        )
    ) as line:  # fmt: skip
        load = Load(line.start(), [message(group) for group in groups], 4, per_s=25)
        began = time.monotonic()
        until(lambda: at_rest(line), 240, "all are on file and packaged")
        census, memory = Census(line.incidents()), memory_mib(line.pid)

        print(f"{load}; at rest {time.monotonic() - began:.0f} s later; {memory:.0f} MiB at most")
        assert set(load.statuses) == {202}
        assert load.whole_s <= 60
        assert load.percentile(99) <= 250
        assert census.lost(sorted(names)) == []
        assert len(census.status) == 50
        assert census.doubled(line) == []
        assert memory <= 256


def at_rest(line: LineProcess) -> bool:
    incidents = line.incidents()
    found = [(id, incidents.names(id)) for id in incidents.ids()]
    faults = sum(name.endswith("/detected.json") for _, names in found for name in names)
    time.sleep(1)
    return faults == 5000 and all("runs/1/packaged.json" in names for _, names in found)


@pytest.mark.covers("STM-12")
def test_a_hundred_messages_a_second_are_taken_at_once_and_without_an_error(
    nursery: Nursery, tmp_path: Path
) -> None:
    bodies = [message([alert(f"Rate{n}", severity="info")]) for n in range(3000)]

    with disposed(LineProcess(tmp_path, nursery=nursery, LOG_LEVEL="error")) as line:
        load = Load(line.start(), bodies, connections=4, per_s=100)

        print(f"{load}, {len(bodies) / load.whole_s:.0f} a second")
        assert set(load.statuses) == {202}
        assert len(bodies) / load.whole_s >= 95
        assert load.percentile(50) <= 20
        assert load.percentile(95) <= 50
        assert load.percentile(99) <= 100
        until(lambda: len(list(line.incidents().store.list("ignored/"))) == 3000, 120)
