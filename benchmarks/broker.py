"""How fast the broker takes an event durably, beside what the disk and plain SQLite can do.

Run: python benchmarks/broker.py [directory]. All cases in one run and interleaved, on the disk of
that directory (default: the working directory's); read the ratios, not the times.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from faultline.answers import Answer
from faultline.broker import triggers
from faultline.broker.broker import Broker
from faultline.broker.journal import Journal
from faultline.event import Event

ROUNDS = 5
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
  subscriber: {uri: "http://nobody.invalid/"}
  delivery: {retry: 1}
"""


def event(number: int) -> Event:
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


def together(broker: Broker) -> float:
    """Return events a second from many callers, each waiting for its own."""
    share = TOGETHER // CALLERS
    events = [event(number) for number in range(share)]

    def call() -> None:
        for one in events:
            broker.accept(one)

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    start = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return TOGETHER / (time.perf_counter() - start)


def batches(broker: Broker) -> float:
    """Return events a second as the ingress stores them: what has arrived meanwhile, at once."""
    start = time.perf_counter()
    for first in range(0, TOGETHER, CALLERS):
        broker.store([broker.admit(event(first + more)) for more in range(CALLERS)])
    return TOGETHER / (time.perf_counter() - start)


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else "."
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        alone = ours(folder, "one")
        single: dict[str, Callable[[int], None]] = {
            "bare fdatasync": fdatasync(folder),
            "SQLite, a commit for each": naive(folder),
            "broker, one caller": lambda number: alone.accept(event(number)),
        }
        times: dict[str, list[float]] = {label: [] for label in single}
        rates: dict[str, list[float]] = {"callers": [], "batches": []}
        many = ours(folder, "many")
        for _ in range(ROUNDS):
            for label, write in single.items():
                times[label] += each(write)
            rates["callers"].append(together(many))
            rates["batches"].append(batches(many))
        report(times, rates)


def report(times: dict[str, list[float]], rates: dict[str, list[float]]) -> None:
    floor = statistics.median(times["bare fdatasync"])
    for label, found in times.items():
        middle = statistics.median(found)
        print(f"{label:32} p50 {middle * 1e6:8.0f} us  {middle / floor:5.1f} x fdatasync")
    one = 1 / statistics.median(times["SQLite, a commit for each"])
    for label, found in rates.items():
        rate = statistics.median(found)
        print(
            f"broker, {CALLERS} {label:21} {rate:8.0f} /s   {rate / one:5.1f} x SQLite, "
            f"{rate * floor:5.1f} x fdatasync"
        )


if __name__ == "__main__":
    main()
