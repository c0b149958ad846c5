"""P3: CPU of one event in a process that is warm: from the request to the answer.

Ours is `answer()` with the wire format both ways, once with a step that does nothing and once with
triage over a store in memory: the copy of an event, and a new incident. Beside the peers each
stands behind its own server, on a connection that stays: an event in, the same event out.
"""

from __future__ import annotations

import datetime as dt
import functools
import http.client as http_client
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from first_event import DETECTED
from measure import (
    KNATIVE,
    Figure,
    Skipped,
    answers,
    cpu_s,
    each_us,
    environment,
    folder,
    free_port,
    http,
    in_turn,
    peer,
)
from measure import main as alone

from faultline import wire
from faultline.adapters.stores.memory import MemoryStore
from faultline.bootstrap import ports
from faultline.event import Event
from faultline.ports import Ports
from faultline.serve import Request, answer
from faultline.settings import Settings
from faultline.steps.triage import triage

# the same function everywhere: read the event, answer with it
OURS = """
import sys, uvicorn
from faultline.bridge.gate import serve_config
from faultline.bootstrap import ports
from faultline.serve import EventFunction
from faultline.settings import Settings
from faultline.adapters.stores.memory import MemoryStore

def echo(event, ports):
    return event

made = ports(Settings(), MemoryStore(), None, console=sys.stdout)
uvicorn.Server(serve_config(EventFunction(echo, made), "127.0.0.1", int(sys.argv[1]))).run()
"""
FUNC_PYTHON = """
import func_python.cloudevent

class Echo:
    async def handle(self, scope, receive, send):
        await send(scope["event"])

def new():
    return Echo()

func_python.cloudevent.serve(new)
"""
FRAMEWORK = """
import cloudevents.conversion, cloudevents.http, functions_framework

@functions_framework.http
def echo(request):
    event = cloudevents.http.from_http(request.headers, request.get_data())
    headers, body = cloudevents.conversion.to_binary(event)
    return body, 200, headers
"""


def figures(quick: bool) -> Iterator[Figure]:
    times = 200 if quick else 1_000
    line, serial = in_memory(), itertools.count()
    request = Request("POST", "/", *wire.encode(DETECTED))

    def idle(event: Event, ports: Ports) -> Event:
        return event

    def fresh() -> None:
        name = f"api-{next(serial)}"
        fault = DETECTED.data | {
            "resource": {"kind": "Deployment", "name": name},
            "condition": name,
        }
        event = replace(DETECTED, id=f"{name}/detected", data=fault)
        answer(triage, line, Request("POST", "/", *wire.encode(event)))

    cases = {
        "idle": each_us(lambda: answer(idle, line, request), times),
        "copy": each_us(lambda: answer(triage, line, request), times),
        "new": each_us(fresh, times // 4),
    }
    found = in_turn(cases, 5)
    yield Figure("P3", "warm event, wire and answer, step that does nothing", found["idle"],
                 "µs CPU", target=150, by="value")  # fmt: skip
    yield Figure("P3", "warm event, a copy through triage", found["copy"], "µs CPU",
                 target=150, by="value")  # fmt: skip
    yield Figure("P3", "warm event, triage opens an incident (store in memory)", found["new"],
                 "µs CPU")  # fmt: skip
    yield from beside(quick)


def in_memory() -> Ports:
    found = ports(Settings(), MemoryStore(), Nowhere(), console=sys.stdout)
    return replace(found, clock=lambda: dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC))


class Nowhere:
    def send(self, event: Event) -> None:
        return


def beside(quick: bool) -> Iterator[Figure]:
    """Yield ours beside the peers, each behind its own server, the server's CPU included."""
    python, count = sys.executable, 300 if quick else 1_000
    with folder() as where:
        (where / "echo.py").write_text(FRAMEWORK)
        framework = [python, "-m", "functions_framework", "--host", "127.0.0.1", "--port", "PORT"]
        commands = {
            "ours": [python, "-c", OURS, "PORT"],
            "framework": [*framework, "--target", "echo", "--source", str(where / "echo.py")],
        }
        missing = None
        try:
            knative = peer(KNATIVE, "func_python", "make test sets .venv-kn up")
            commands["func-python"] = [knative, "-c", FUNC_PYTHON]
        except Skipped as error:
            missing = error
        cases = {name: functools.partial(_served_us, c, count) for name, c in commands.items()}
        found = in_turn(cases, 1 if quick else 3)
    what = "warm event behind its server, echoed"
    yield Figure("", what, found["ours"], "µs CPU", "functions-framework", found["framework"])
    if missing:
        raise missing
    yield Figure("P3", f"stretch: {what}", found["ours"], "µs CPU", "func-python",
                 found["func-python"], 0.125)  # fmt: skip


def _served_us(command: list[str], count: int) -> float:
    """Return the microseconds of CPU that a server needs for an event, one after the other."""
    headers, body = wire.encode(DETECTED)
    request = http("POST", "/", headers | {"connection": "keep-alive"}, body)
    port = free_port()
    env = environment(LISTEN_ADDRESS=f"127.0.0.1:{port}", PORT=str(port))
    filled = [str(port) if part == "PORT" else part for part in command]
    server = subprocess.Popen(filled, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not answers(port, http("POST", "/", headers, body)):
            time.sleep(0.02)
        _send(port, request, count // 5)
        before = cpu_s(server.pid)
        _send(port, request, count)
        return (cpu_s(server.pid) - before) / count * 1e6
    finally:
        server.kill()
        server.wait()


def _send(port: int, request: bytes, count: int) -> None:
    link = http_client.HTTPConnection("127.0.0.1", port, timeout=10)
    link.connect()
    for _ in range(count):
        link.sock.sendall(request)
        answer = http_client.HTTPResponse(link.sock)
        answer.begin()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"expected 200, got {answer.status}")
    link.close()


if __name__ == "__main__":
    alone(figures, __doc__)
