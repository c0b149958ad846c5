"""P6: how fast the embedded broker takes an event durably and sees it delivered.

A single event stands beside one bare fdatasync of the same disk and a plain SQLite commit; many
events, from the first enqueue to the last acknowledgement, beside persist-queue's SQLite queue with
a row acknowledged at a time, as its documentation shows it.

Run as `python broker.py --peer <folder>` in the peers' environment it measures persist-queue.
"""

from __future__ import annotations

import importlib
import os
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from measure import Figure

    from faultline.broker.broker import Broker
    from faultline.event import Event

SINGLE = 200
TOGETHER = 4_000
CALLERS = 32
DATA = {"text": "x" * 1_900}

MANIFEST = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t}
spec:
  broker: faultline
  filter: {attributes: {type: dev.faultline.fault.detected.v1}}
  subscriber: {ref: {apiVersion: v1, kind: Service, name: nobody}}
  delivery: {retry: 1}
"""


def event(number: int) -> Event:
    from faultline.event import Event

    return Event(
        id=str(number), source="/benchmark", type="dev.faultline.fault.detected.v1", data=DATA
    )


def fdatasync(folder: Path) -> Callable[[int], None]:
    file = os.open(folder / "bare", os.O_CREAT | os.O_WRONLY)
    block = b"x" * 2_048
    os.pwrite(file, block * 64, 0)

    def write(number: int) -> None:
        os.pwrite(file, block, 2_048 * (number % 64))
        os.fdatasync(file)

    return write


def naive(folder: Path) -> Callable[[int], None]:
    connection = sqlite3.connect(folder / "naive.db", isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, body BLOB)")
    body = b"x" * 2_048

    def write(number: int) -> None:
        connection.execute("INSERT INTO events (body) VALUES (?)", (body,))

    return write


def ours(folder: Path, name: str) -> Broker:
    from faultline.answers import Answer
    from faultline.broker import triggers
    from faultline.broker.broker import Broker
    from faultline.broker.journal import Journal

    return Broker(
        triggers.load(MANIFEST),
        {"nobody": lambda request: Answer(204, {}, b"")},
        Journal(folder / f"{name}.db"),
        clock=time.time,
    )


def each(write: Callable[[int], None]) -> list[float]:
    """Return the seconds of single writes."""
    times = []
    for number in range(SINGLE):
        start = time.perf_counter()
        write(number)
        times.append(time.perf_counter() - start)
    return times


def delivered(broker: Broker) -> float:
    """Return events a second from the first enqueue of many callers to the last delivery's ack."""
    share = TOGETHER // CALLERS
    events = [event(number) for number in range(share)]

    def call() -> None:
        for one in events:
            broker.accept(one)

    before = broker.counters["delivered"]
    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    start = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    broker.run_until_idle()
    assert broker.counters["delivered"] - before == share * CALLERS
    return share * CALLERS / (time.perf_counter() - start)


def theirs(folder: Path) -> float:
    """Return events a second through persist-queue: put, get and ack, each on disk."""
    queue = importlib.import_module("persistqueue").SQLiteAckQueue(str(folder), auto_commit=True)
    item = {"id": "1", "data": DATA}
    start = time.perf_counter()
    for _ in range(SINGLE):
        queue.put(item)
    for _ in range(SINGLE):
        queue.ack(queue.get())
    return SINGLE / (time.perf_counter() - start)


def figures(quick: bool) -> Iterator[Figure]:
    from measure import PEERS, Figure, environment, folder, peer

    rounds = 2 if quick else 5
    with folder() as where:
        alone, many = ours(where, "one"), ours(where, "many")
        single: dict[str, Callable[[int], None]] = {
            "floor": fdatasync(where),
            "naive": naive(where),
            "ours": lambda number: alone.accept(event(number)),
        }
        times: dict[str, list[float]] = {label: [] for label in single}
        rates = []
        for _ in range(rounds):
            for label, write in single.items():
                times[label] += each(write)
            rates.append(delivered(many))
        us = {label: statistics.median(found) * 1e6 for label, found in times.items()}
        rate = statistics.median(rates)
        yield Figure("P6", "one event into the broker, durable, p50", us["ours"], "µs",
                     "fdatasync", us["floor"], 3.0)  # fmt: skip
        yield Figure("", "the same", us["ours"], "µs", "SQLite, a commit each", us["naive"])
        python = peer(PEERS, "persistqueue", "python benchmarks/run.py installs it")
        command = [python, __file__, "--peer"]
        found = [
            float(subprocess.run([*command, str(where / f"peer{number}")], env=environment(),
                                 capture_output=True, check=True).stdout)
            for number in range(rounds)
        ]  # fmt: skip
        yield Figure("P6", f"enqueue to ack, {CALLERS} callers", rate, "events/s", "persist-queue",
                     statistics.median(found), 5.0, more_is_better=True)  # fmt: skip


if __name__ == "__main__":
    if "--peer" in sys.argv:
        sys.stdout.write(str(theirs(Path(sys.argv[-1]))))
    else:
        from measure import main as alone

        alone(figures, __doc__)
