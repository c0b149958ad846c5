"""P7: a server-sent event from the bytes of an answer, per event, beside httpx-sse.

Both are given the same answer of httpx, in pieces of 4 KiB. A phantom event is one that the stream
did not send: text separators of Unicode inside the data must not end a line.

Run as `python streams.py --peer` in the peers' environment it measures httpx-sse.
"""

from __future__ import annotations

import importlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

COUNT = 2_000
STREAM = b"".join(
    b"id: %d\nevent: message\ndata: " % number
    + json.dumps(
        {"jsonrpc": "2.0", "method": "events/fault", "params": {"number": number,
         "text": "x" * 300, "message": "back-off\u2028restarting\u0085container"}},
        ensure_ascii=False,
    ).encode()
    + b"\n\n"
    for number in range(COUNT)
)  # fmt: skip


def pieces() -> Iterator[bytes]:
    for start in range(0, len(STREAM), 4_096):
        yield STREAM[start : start + 4_096]


def answer():  # type: ignore[no-untyped-def]
    """Return an answer of httpx with the stream as its body."""
    httpx = importlib.import_module("httpx")
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=pieces())


def theirs() -> int:
    """Read the stream with httpx-sse; return how many events it saw."""
    sse = importlib.import_module("httpx_sse")
    return sum(1 for _ in sse.EventSource(answer()).iter_sse())


def ours() -> int:
    from faultline.sse import Parser

    parser = Parser()
    return sum(len(parser.feed(chunk)) for chunk in answer().iter_raw())


def per_event(read: Callable[[], int]) -> tuple[float, int]:
    """Return the microseconds of CPU per event sent, and the events seen."""
    times, seen = [], 0
    for _ in range(7):
        start = time.thread_time_ns()
        seen = read()
        times.append((time.thread_time_ns() - start) / COUNT / 1_000)
    return statistics.median(times), seen


def figures(quick: bool) -> Iterator[object]:
    from measure import PEERS, Figure, environment, peer

    python = peer(PEERS, "httpx_sse", "python benchmarks/run.py installs it")
    command = [python, __file__, "--peer"]
    beside = []
    mine = []
    for _ in range(1 if quick else 3):
        mine.append(per_event(ours)[0])
        done = subprocess.run(command, env=environment(), capture_output=True, check=True)
        beside.append(json.loads(done.stdout))
    _, seen = per_event(ours)
    other = statistics.median(value for value, _ in beside)
    yield Figure("P7", "server-sent event, decoded", statistics.median(mine), "µs CPU",
                 "httpx-sse", other, 0.6)  # fmt: skip
    yield Figure("P7", f"events that were not sent, of {COUNT:,}", seen - COUNT, "events",
                 target=0, by="value")  # fmt: skip
    yield Figure("P7", f"events that httpx-sse saw, of {COUNT:,} sent", beside[0][1], "events")


if __name__ == "__main__":
    if "--peer" in sys.argv:
        sys.stdout.write(json.dumps(per_event(theirs)))
    else:
        from measure import main as alone

        alone(figures, __doc__)  # type: ignore[arg-type]
