"""The broker with its threads and the real clock: `faultline dev`."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from faultline.answers import Answer
from faultline.broker import triggers
from faultline.broker.broker import Broker
from faultline.broker.journal import Journal
from faultline.event import Event
from faultline.serve import Request
from faultline.wire import from_bytes

DONE = Answer(204, {}, b"")
MANIFEST = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t}
spec:
  broker: faultline
  subscriber: {ref: {apiVersion: v1, kind: Service, name: t}}
  delivery: {retry: 3, backoffPolicy: exponential, backoffDelay: PT0.01S, timeout: PT5S}
"""


def event(id: object) -> Event:
    return Event(id=str(id), source="/test", type="t", data={})


def broker(
    subscriber: Callable[[Request], Answer], journal: Journal | None = None, **options: object
) -> Broker:
    return Broker(
        triggers.load(MANIFEST),
        {"t": subscriber},
        journal,
        clock=time.time,
        **options,  # type: ignore[arg-type]
    )


def until(condition: Callable[[], bool]) -> None:
    """Wait for it; a broken broker fails here after a while instead of hanging."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)


def test_deliveries_run_side_by_side_and_failures_come_again() -> None:
    meeting = threading.Barrier(2, timeout=10)  # opens only for two at once
    failed: set[str] = set()

    def subscriber(request: Request) -> Answer:
        meeting.wait()
        if request.headers["ce-id"] not in failed:
            failed.add(request.headers["ce-id"])
            return Answer(503, {}, b"")
        return DONE

    one = broker(subscriber)
    one.start(workers=2)
    one.accept(event(1))
    one.accept(event(2))

    until(lambda: one.counters["delivered"] == 2)
    assert one.stop()
    assert one.counters["retried"] == 2


def test_serial_deliveries_never_overlap() -> None:
    inside, most = 0, 0
    lock = threading.Lock()

    def subscriber(request: Request) -> Answer:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.002)
        with lock:
            inside -= 1
        return DONE

    one = broker(subscriber, serial={"t"})
    one.start(workers=4)
    for number in range(30):
        one.accept(event(number))

    until(lambda: one.counters["delivered"] == 30)
    one.stop()
    assert most == 1


def test_stop_finishes_what_is_in_flight_and_leaves_the_rest_in_the_journal(
    tmp_path: Path,
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def subscriber(request: Request) -> Answer:
        started.set()
        go_on.wait(10)
        return DONE

    journal = Journal(tmp_path / "journal.db")
    one = broker(subscriber, journal)
    one.start(workers=1)
    for number in range(3):
        one.accept(event(number))
    started.wait(10)
    threading.Timer(0.05, go_on.set).start()

    assert one.stop(grace_s=10)
    assert one.counters["delivered"] == 1
    assert len(list(journal.owed())) == 2


def test_stop_does_not_wait_for_ever() -> None:
    go_on, started = threading.Event(), threading.Event()

    def subscriber(request: Request) -> Answer:
        started.set()
        go_on.wait(10)
        return DONE

    one = broker(subscriber)
    one.start(workers=1)
    one.accept(event(1))
    started.wait(10)

    assert not one.stop(grace_s=0.05)
    go_on.set()


def test_steps_post_through_the_sink() -> None:
    received: list[str] = []

    def subscriber(request: Request) -> Answer:
        received.append(request.headers["ce-subject"])
        return DONE

    one = broker(subscriber)
    one.sink().send(Event(id="1", source="/s", type="t", subject="größer", data={"a": None}))
    one.run_until_idle()

    assert received == ["gr%C3%B6%C3%9Fer"]


class _Echo(BaseHTTPRequestHandler):
    seen: list[tuple[str, str | None, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.seen.append((self.path, self.headers["ce-id"], body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def server() -> Iterator[tuple[str, list[tuple[str, str | None, bytes]]]]:
    seen: list[tuple[str, str | None, bytes]] = []
    handler = type("Handler", (_Echo,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", seen
        running.shutdown()
        thread.join()


def test_an_address_is_posted_to_and_one_where_nobody_listens_is_no_answer() -> None:
    with server() as (address, seen):
        text = MANIFEST.replace(
            "{ref: {apiVersion: v1, kind: Service, name: t}}", f'{{uri: "{address}/hook"}}'
        )
        one = Broker(triggers.load(text), {}, clock=time.time)
        one.accept(event(1))
        one.run_until_idle()
    one.accept(event(2))
    one.run_until_idle()

    assert seen == [("/hook", "1", b"{}")]
    assert (one.counters["delivered"], one.counters["dropped"]) == (1, 1)
    assert [from_bytes(letter.body).id for letter in one.dead_letters()] == ["2"]


FOR_EVER = """
import itertools, pathlib, sys, time
from faultline.broker import triggers
from faultline.broker.broker import Broker
from faultline.broker.journal import Journal
from faultline.answers import Answer
from faultline.event import Event

delivered = open(sys.argv[2], "a", buffering=1)
def subscriber(request):
    delivered.write(request.headers["ce-id"] + "\\n")
    return Answer(204, {}, b"")

journal = Journal(pathlib.Path(sys.argv[1]))
broker = Broker(triggers.load(sys.stdin.read()), {"t": subscriber}, journal, clock=time.time)
broker.start(2)
for number in itertools.count():
    id = sys.argv[3] + "-" + str(number)
    broker.accept(Event(id=id, source="/test", type="t", data={}))
    print(id, flush=True)
"""


def test_D7_after_kill_9_everything_acknowledged_is_delivered(tmp_path: Path) -> None:
    path, delivered = tmp_path / "journal.db", tmp_path / "delivered"
    acknowledged: list[str] = []
    for life, lines in enumerate((5, 60, 150)):
        command = [sys.executable, "-c", FOR_EVER, str(path), str(delivered), str(life)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(MANIFEST)
        process.stdin.close()
        acknowledged += [process.stdout.readline().strip() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        with process.stdout:
            said = process.stdout.read()
        process.wait()
        acknowledged += said.rpartition("\n")[0].split()

    received: list[str] = []

    def subscriber(request: Request) -> Answer:
        received.append(request.headers["ce-id"])
        return DONE

    broker(subscriber, Journal(path)).run_until_idle()

    before = delivered.read_text().split()
    assert len(acknowledged) >= 215
    assert set(acknowledged) - set(before) - set(received) == set()
