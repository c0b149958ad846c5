"""`faultline dev` killed with -9 and started again, over stores that fail: nothing lost or doubled.

Real processes, real signals, real disks. `KILLS=60 SEED=7` asks for more of the first test, `ACKS`
for more of the second; `AT_REST_S=30` times the recovery on a machine that does nothing else.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from line_process import Census, LineProcess, Nursery, alert, disposed, until_settled

from faultline.bootstrap import now
from faultline.model import Status

KILLS = int(os.environ.get("KILLS", "8"))
ACKS = int(os.environ.get("ACKS", "200"))
AT_REST_S = float(os.environ.get("AT_REST_S", "90"))  # 30 on a machine of its own; CI shares one
SEED = int(os.environ.get("SEED", "20261121"))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


class Sender(threading.Thread):
    """Sends messages one after the other, each until it is taken, as AlertManager does."""

    def __init__(self, line: LineProcess, alerts: Sequence[Any], pause_s: float) -> None:
        super().__init__()
        self._line, self._alerts, self._pause_s = line, alerts, pause_s
        self.taken: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        for one in self._alerts:
            while not 200 <= self._line.post([one]) < 300 and not self.over.is_set():
                time.sleep(0.05)
            self.taken.append(one["labels"]["alertname"])
            self.over.wait(self._pause_s)


def names(alerts: Sequence[Any]) -> list[str]:
    return [one["labels"]["alertname"] for one in alerts]


def proved(count: int, prefix: str = "Proved") -> list[dict[str, Any]]:
    """Alerts of as many clusters: each an incident whose cause the analyzers prove."""
    return [alert(f"{prefix}{n}", cluster=f"{prefix.lower()}-{n}") for n in range(count)]


def unproved(count: int, prefix: str = "Unproved") -> list[dict[str, Any]]:
    """Alerts of as many workloads that the recorded cluster does not know: each needs a run."""
    return [alert(f"{prefix}{n}", workload=f"{prefix.lower()}-{n}") for n in range(count)]


def check(line: LineProcess, census: Census) -> None:
    assert census.doubled(line) == []
    assert census.parked == []
    assert all(status is Status.PACKAGED for status in census.status.values())
    assert all(told == ["console", "git"] for told in census.receipts.values())


def test_killed_at_random_moments_while_fifty_incidents_flow_nothing_is_lost_or_doubled(
    nursery: Nursery, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    alerts = proved(44) + unproved(6)
    chance.shuffle(alerts)

    with disposed(LineProcess(tmp_path, nursery=nursery)) as line:
        # As fast as a slow machine works them off: what is timed is the recovery, not a backlog.
        sender = Sender(line.start(), alerts, pause_s=KILLS * 0.06)
        sender.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 3.2))
            line.kill()
            line.start(wait_s=0 if chance.random() < 0.2 else 30)  # or killed while it starts
        line.until_up()
        sender.join(60)
        began = time.monotonic()
        census = until_settled(line, names(alerts), seconds=AT_REST_S)

        print(f"{KILLS} kills, seed {SEED}: at rest {time.monotonic() - began:.1f} s afterwards")
        assert len(census.status) == 50
        assert len(line.branches()) == 44
        check(line, census)


@pytest.mark.covers("AM-05")
def test_whoever_read_a_2xx_before_the_kill_finds_it_on_file(
    nursery: Nursery, tmp_path: Path
) -> None:
    taken: list[str] = []

    with disposed(LineProcess(tmp_path, nursery=nursery, LOG_LEVEL="error")) as line:
        for number in range(ACKS):
            line.start()
            kept = load_and_kill(line, number)
            taken += kept
            assert_durable(line, kept)
        line.start()
        census = until_settled(line, taken, seconds=60)

        print(f"{ACKS} kills, {len(taken)} acknowledged alerts, 0 lost")
        assert len(taken) >= ACKS
        assert census.lost(taken) == []
        assert census.doubled(line) == []


def load_and_kill(line: LineProcess, number: int) -> list[str]:
    """Post from several threads; kill as soon as the first 2xx was read. Return what was taken."""
    first, taken = threading.Event(), []

    def post(sender: int) -> None:
        name = f"Alert{number}x{sender}"
        kind = {"cluster": f"c{number}"} if number % 40 == 0 else {"severity": "info"}
        if 200 <= line.post([alert(name, **kind)]) < 300:
            taken.append(name)
            first.set()

    senders = [threading.Thread(target=post, args=(n,)) for n in range(3)]
    for sender in senders:
        sender.start()
    assert first.wait(20)
    line.kill()
    for sender in senders:
        sender.join()
    return taken


def assert_durable(line: LineProcess, taken: Sequence[str]) -> None:
    store = line.incidents().store
    day = now().date()
    kept = b"".join(store.get(key) for key in store.list(f"payloads/{day:%Y-%m-%d}/"))
    assert [name for name in taken if f'"{name}"'.encode() not in kept] == []
