"""SSE-15: 100 streams, one of them hostile: how late the faults of the others are handed on.

Each of the others says one fault a second, stamped when it is written; its delay ends when the sink
has accepted the event, its message being on disk. All 100 behave, then the last one is hostile, for
each way to be so; the ratio is that of the 99th percentiles. It takes 14 minutes, so it is run by
hand: `python benchmarks/hostile_stream.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from measure import Figure, environment, folder, free_port

STREAMS = 100
SETTLE_S = 8.0
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def fault(number: int, **more: object) -> bytes:
    """Return a server-sent event with a fault that tells when it was written."""
    data = {"cluster_id": "prod", "namespace": f"n{number}", "resource_type": "Pod",
            "resource_name": f"api-{number}", "severity": "critical",
            "timestamp": "2026-11-21T09:00:00Z", "message": str(time.monotonic_ns())}  # fmt: skip
    return f"data: {json.dumps(data | more)}\n\n".encode()


# the servers, in a process of their own

Way = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def good(writer: asyncio.StreamWriter, number: int) -> None:
    """Say a fault each second, each stream at its own moment of it."""
    while True:
        await asyncio.sleep((number / STREAMS - time.monotonic()) % 1 or 1)
        writer.write(fault(number))
        await writer.drain()


async def flood(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Say the same for ever, as fast as it is taken."""
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)  # the others speak in between


async def faults(writer: asyncio.StreamWriter) -> None:
    """Say a new fault for ever, as fast as it is taken."""
    number = 0
    while True:
        number += 1
        writer.write(fault(999, faultId=f"f{number}"))
        await writer.drain()
        await asyncio.sleep(0)


async def hangs_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


WAYS: dict[str, Way] = {
    "says nothing": lambda writer: asyncio.sleep(3_600),
    "hangs up at once": hangs_up,
    "sends a line without end": lambda writer: flood(writer, b"x" * 65_536),
    "sends comments": lambda writer: flood(writer, b":\n" * 32_768),
    "sends events that are no faults": lambda writer: flood(writer, b"data: {}\n\n" * 6_000),
    "sends new faults": faults,
}


async def serve(port: int, way: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            number = int((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].strip(b"/"))
            writer.write(HEAD)
            hostile = number == STREAMS - 1 and way != "behaves"
            await (WAYS[way](writer) if hostile else good(writer, number))

    async with await asyncio.start_server(answer, "127.0.0.1", port, backlog=STREAMS) as server:
        await server.serve_forever()


# the bridge, in this one


class Heard:
    """A sink that notes how old each fault of the 99 is when it is accepted."""

    def __init__(self) -> None:
        self.delays_ms: list[float] = []

    def send(self, event: object) -> None:
        data = event.data  # type: ignore[attr-defined]
        if data["resource"]["namespace"] not in ("n999", f"n{STREAMS - 1}"):
            self.delays_ms.append((time.monotonic_ns() - int(data["summary"])) / 1e6)


def delays(way: str, seconds: float, store: Path) -> list[float]:
    """Follow all streams for a time; return the delays of the 99, in milliseconds."""
    from faultline.adapters.stores.files import FilesStore
    from faultline.bridge.follow import Client, Follower
    from faultline.bridge.intake import Intake
    from faultline.bridge.share import fair

    port, heard, stop = free_port(), Heard(), threading.Event()
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(port), "--way", way], env=environment()
    )
    now = lambda: dt.datetime.now(dt.UTC)  # noqa: E731
    intake = Intake(sink=heard, store=FilesStore(store), cluster="prod", clock=now)
    try:
        time.sleep(0.5)
        for number in range(STREAMS):
            url = f"sse+http://127.0.0.1:{port}/{number}"
            client = Client(url, cluster="prod", clock=now, share=fair(STREAMS))
            Follower(str(number), client, intake, stop=stop).start()
        time.sleep(SETTLE_S)
        heard.delays_ms.clear()
        time.sleep(seconds)
    finally:
        stop.set()
        server.kill()
        server.wait()
        time.sleep(1.5)  # the followers notice
    return heard.delays_ms


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def measured(seconds: float) -> Iterator[Figure]:
    with folder() as where:
        for number, way in enumerate(WAYS):
            calm, beside = (
                delays(said, seconds, where / f"{number} {said}") for said in ("behaves", way)
            )
            if len(beside) < 0.99 * len(calm):
                raise RuntimeError(f"{len(beside)} faults beside one that {way}, {len(calm)} else")
            yield Figure("SSE-15", f"p99 beside one that {way}", p99(beside), "ms",
                         "all behave", p99(calm), 1.2)  # fmt: skip


if __name__ == "__main__":
    from measure import HEAD as TABLE
    from measure import row

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve(asked.serve, asked.way))
    else:
        sys.stdout.write(TABLE + "\n")
        for figure in measured(asked.seconds):
            sys.stdout.write(row(figure) + "\n")
            sys.stdout.flush()
