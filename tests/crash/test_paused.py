"""Workers that are stopped for long and go on, and clocks that jump: nothing is done twice.

There are no leases here, so nothing runs out: who comes late finds records that were written once.
What has no such record, a chat, is not posted to on an old look (decision 36).
"""

from __future__ import annotations

import datetime as dt
import itertools
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import simulate
from greenlet import getcurrent, greenlet
from slack_fake import CHANNEL, TOKEN, SlackFake
from world import World

from faultline.adapters.outlets.slack import LOOK_HOLDS_S, SlackOutlet
from faultline.adapters.stores.files import FilesStore
from faultline.ports import Ports

NAPS = int(os.environ.get("NAPS", "500"))
STOPS = int(os.environ.get("STOPS", "20"))


# one worker stopped at an effect until everyone else is done


class Sleeper(simulate.Simulation):
    """One worker is stopped before one of its effects; its event is given to others meanwhile.

    They come to the end of everything, minutes and sweeps go by, then it wakes and goes on.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed, plan=self._nap, calm=True)
        self.at = random.Random(seed).randrange(32)
        self.asleep: tuple[greenlet, tuple[str, simulate.Event]] | None = None
        self.woke = False

    def signals(self) -> Iterator[simulate.Event]:
        return itertools.islice(super().signals(), 3)

    def _nap(self, number: int, kind: str) -> str:
        rested = self.asleep is not None or number < self.at
        return "go" if rested or getcurrent().parent is None else "switch"

    def _advance(self) -> None:
        super()._advance()
        if self.workers and self.asleep is None:
            self.asleep = self.workers.pop()
            self.owed.append(self.asleep[1])

    def _peace(self) -> int:
        rounds = super()._peace()
        if self.asleep and not self.woke:
            self.woke = True
            worker, delivery = self.asleep
            if worker.switch() == "crashed":
                self.owed.append(delivery)
            rounds = max(rounds, super()._peace())
        return rounds


def napped(seed: int) -> tuple[bool, list[str]]:
    sim = Sleeper(seed)
    found = sim.run()
    return sim.woke, [f"seed {seed}: {w}" for w in found.missed + found.doubled + found.unexpected]


@pytest.mark.covers("IDM-09")
def test_a_worker_that_wakes_when_others_have_done_its_work_does_nothing_twice() -> None:
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(napped, range(NAPS * 6 // 5), chunksize=25))

    naps = sum(woke for woke, _ in found)
    print(f"{naps} workers woke")
    assert [what for _, wrong in found for what in wrong] == []
    assert naps >= NAPS


def test_the_sleeper_sees_an_effect_that_is_done_twice() -> None:
    class Forgetful(simulate.Place):
        def deliver(self, report: object, receipt: object) -> object:
            id = report.incident.id  # type: ignore[attr-defined]
            made = receipt or self.sim.incidents.receipt(id, self.name)
            if made:
                return made
            self.sim.effects(self.name, id, lambda: self.made.update([id]))  # no look of its own
            return self._deliver(id, receipt)

    wrong = []
    for seed in range(40):
        sim = Sleeper(seed)
        sim.chat = Forgetful(sim, "message")
        sim.ports = replace(sim.ports, outlets=[sim.forge, sim.chat])
        wrong += sim.run().doubled

    assert wrong


# clocks that jump


class Jumpy(simulate.Simulation):
    """Every look at the clock may be up to ten minutes ahead or behind, worker by worker."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        chance = random.Random(f"jumps {seed}")

        def clock() -> dt.datetime:
            jump = chance.choice((-600, 0, 0, 600)) if self.accidents else 0
            return self.now + dt.timedelta(seconds=jump)

        self.ports = replace(self.ports, clock=clock)


def jumped(seed: int) -> list[str]:
    found = Jumpy(seed).run()
    # caps of "an hour" are by the clock: a clock that is wrong by ten minutes moves them by that
    wrong = [what for what in found.unexpected if "an hour" not in what and "workload" not in what]
    return [f"seed {seed}: {what}" for what in found.missed + found.doubled + wrong]


@pytest.mark.covers("IDM-17")
def test_clocks_that_jump_by_ten_minutes_double_nothing_and_leave_nothing_stuck() -> None:
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(jumped, range(NAPS // 3), chunksize=25))

    assert [what for wrong in found for what in wrong] == []


# real processes, really stopped


class SlackServer:
    """The fake Slack on a loopback socket, for processes."""

    def __init__(self) -> None:
        self.slack, lock = SlackFake(), threading.Lock()
        slack = self.slack

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                request = httpx.Request(
                    "POST", self.path_url(), headers=dict(self.headers), content=body
                )
                with lock:
                    answer = slack.answer(request)
                self.send_response(answer.status_code)
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def path_url(self) -> str:
                return f"http://127.0.0.1{self.path}"

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    made = SlackServer()
    yield made
    made.server.shutdown()
    made.server.server_close()


def fast() -> float:
    """A second is as long as it takes to make a look at Slack an old one, five times.

    For the one that is stopped: the other must not find its own look too old on a slow machine.
    """
    return time.monotonic() * LOOK_HOLDS_S * 5


def work(
    store: Path, url: str, monotonic: Callable[[], float], started: object, ended: object
) -> None:
    """Carry an alert from the door to the message, as one process does that has it all."""

    def told(ports: Ports) -> Ports:
        chat = SlackOutlet(TOKEN, CHANNEL, clock=ports.clock, url=url, monotonic=monotonic)
        return replace(ports, outlets=[chat])

    started.set()  # type: ignore[attr-defined]
    World(store=FilesStore(store), wrap=told).alert().settle()
    ended.set()  # type: ignore[attr-defined]


@pytest.mark.covers("IDM-09")
def test_a_process_stopped_while_another_does_its_work_does_nothing_twice(
    slack: SlackServer, tmp_path: Path
) -> None:
    """The pause lasts as long as the other process needs, whatever that is, and a moment more."""
    fork, chance, midway = multiprocessing.get_context("fork"), random.Random(9), 0
    left = 0
    typical_s = 0.4
    for number in range(STOPS):
        slack.slack.messages.clear()
        store = tmp_path / str(number)
        events = [fork.Event() for _ in range(4)]
        first, second = (
            fork.Process(target=work, args=(store, slack.url, seconds, *pair), daemon=True)
            for seconds, pair in ((fast, events[:2]), (time.monotonic, events[2:]))
        )
        first.start()
        assert events[0].wait(60)
        time.sleep(chance.uniform(0, typical_s))
        os.kill(first.pid or 0, signal.SIGSTOP)
        stopped_midway = not events[1].is_set()
        midway += stopped_midway
        began = time.monotonic()
        second.start()
        second.join(120)
        typical_s = min(typical_s, time.monotonic() - began)
        assert events[3].is_set()
        before = records(store)
        time.sleep(0.3)
        os.kill(first.pid or 0, signal.SIGCONT)
        first.join(120)

        assert events[1].is_set()
        assert (first.exitcode, second.exitcode) == (0, 0)
        after = records(store)
        assert [name for name in before if after.get(name) != before[name]] == []
        if any(name.endswith("/packaged.json") for name in before):
            # stopped between an incident and the note that its claim needs no further look, it
            # writes that note when it wakes: nobody waited for it
            assert [
                name for name in after if name not in before and not name.startswith("opened/")
            ] == []
        else:  # stopped with a run on file: the other leaves it to whoever began it, or to `sweep`
            left += 1
        told = Counter(m["metadata"]["event_payload"]["incident"] for m in slack.slack.top())
        assert list(told.values()) == [1]
        assert slack.slack.replies() == []
    print(f"{STOPS} stops, {midway} of them midway, {left} of them in the middle of an answer")
    assert midway >= STOPS // 2
    assert left <= STOPS // 4


def records(store: Path) -> dict[str, bytes]:
    """Everything on file but pages, which may be made again, and files that have no name yet."""
    paths = (path for path in store.rglob("*") if path.is_file())
    named = {path.relative_to(store).as_posix(): path for path in paths}
    pages = ("README.md", "report/", "/output/")
    named = {name: path for name, path in named.items() if not name.startswith(".tmp/")}
    kept = {n: p for n, p in named.items() if not any(page in n for page in pages) or "/runs/" in n}
    return {name: path.read_bytes() for name, path in kept.items()}
