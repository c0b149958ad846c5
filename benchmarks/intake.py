"""P5: alerts a second through the webhook, durable before the answer, on one core.

The bridge's real app behind the real server in a process of its own, held to one core: the message
goes to a directory as the store and every event to the embedded broker's journal before the 202.
Nobody delivers meanwhile. The senders keep eight requests in flight from the other core.

Run as `python intake.py --serve <folder> <port>` it is that server.
"""

from __future__ import annotations

import functools
import http.client as http_client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import Figure, answers, cpu_s, environment, exchange, folder, free_port, http, in_turn
from measure import main as alone
from sample import message

SENDERS = 8
SIZES = {1: 1_500, 100: 6_000, 1_000: 12_000}  # alerts a body: alerts in all
KEEP_US = 15_000  # CPU per alert of Keep's webhook, the least of spec/performance.md's range


def serve(where: Path, port: int) -> None:
    """Serve the bridge as `dev` does, with a broker that accepts and does not deliver."""
    import uvicorn

    from faultline.adapters.stores import open_store
    from faultline.bootstrap import now
    from faultline.bridge.app import app
    from faultline.bridge.gate import serve_config
    from faultline.broker.broker import Broker
    from faultline.broker.journal import Journal
    from faultline.broker.triggers import load, manifest_text
    from faultline.redact import redact

    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    broker = Broker(load(manifest_text()), {}, Journal(where / "journal"), clock=time.time)
    bridge = app(
        sink=broker.sink(),
        store=open_store(f"file://{where}/store"),
        cluster="prod-a",
        clock=now,
        clean=redact,
    )
    uvicorn.Server(serve_config(bridge, "127.0.0.1", port)).run()


def figures(quick: bool) -> Iterator[Figure]:
    cases = {str(size): functools.partial(_measure, size, quick) for size in SIZES}
    cpu_us: dict[str, float] = {}

    def case(name: str) -> float:
        rate, cpu_us[name] = cases[name]()
        return rate

    found = in_turn({name: functools.partial(case, name) for name in cases}, 1 if quick else 3)
    for name, rate in found.items():
        yield Figure("P5", f"durable webhook intake, {int(name):,} alerts a body", rate,
                     "alerts/s", target=1_000, by="value", more_is_better=True)  # fmt: skip
    for name, used in cpu_us.items():
        yield Figure("P5", f"the same, CPU per alert at {int(name):,} a body", used, "µs CPU",
                     "Keep, at least (not in this run)", KEEP_US, 0.02)  # fmt: skip


def _measure(size: int, quick: bool) -> tuple[float, float]:
    """Return alerts a second, and microseconds of CPU of the server per alert."""
    count = SIZES[size] // (3 if quick else 1) // size
    bodies = [message(number * size, size) for number in range(max(count, 2))]
    with folder() as where:
        port = free_port()
        command = [sys.executable, __file__, "--serve", str(where), str(port)]
        env = environment(PYTHONPATH=str(Path(__file__).parent))
        server = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        try:
            while not answers(port, http("GET", "/health/readiness")):
                time.sleep(0.02)
            post(port, message(10**7, 1))  # everything is loaded
            before = cpu_s(server.pid)
            start = time.perf_counter()
            _send(port, bodies)
            seconds = time.perf_counter() - start
            used = cpu_s(server.pid) - before
        finally:
            server.kill()
            server.wait()
    alerts = len(bodies) * size
    return alerts / seconds, used / alerts * 1e6


def post(port: int, body: bytes) -> None:
    answer = exchange(port, http("POST", "/alertmanager", {}, body))
    if answer[9:12] not in (b"200", b"202", b"204"):
        raise RuntimeError(f"a message was not taken: {answer[:200]!r}")


def _send(port: int, bodies: list[bytes]) -> None:
    """Send every message, from several connections that stay, as AlertManager's do."""
    shares = [bodies[number::SENDERS] for number in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as senders:
        for done in [senders.submit(_send_share, port, share) for share in shares if share]:
            done.result()


def _send_share(port: int, bodies: list[bytes]) -> None:
    link = http_client.HTTPConnection("127.0.0.1", port, timeout=60)
    for body in bodies:
        link.request("POST", "/alertmanager", body)
        answer = link.getresponse()
        answer.read()
        if answer.status // 100 != 2:
            raise RuntimeError(f"a message was not taken: {answer.status}")
    link.close()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        alone(figures, __doc__)
