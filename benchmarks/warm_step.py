"""P3: CPU of one event in a process that is warm: from the request to the answer.

Ours is `answer()` with the wire format both ways, once with a step that does nothing and once with
triage over a store in memory: the copy of an event, and a new incident. The peers are given the
same event, without a socket: func-python as ASGI, functions-framework as WSGI, doing nothing.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from first_event import DETECTED
from measure import KNATIVE, Figure, Skipped, each_us, environment, in_turn, peer
from measure import main as alone

from faultline import wire
from faultline.adapters.stores.memory import MemoryStore
from faultline.bootstrap import ports
from faultline.event import Event
from faultline.ports import Ports
from faultline.serve import Request, answer
from faultline.settings import Settings
from faultline.steps.triage import triage

# each prints the microseconds of CPU per event, of several rounds
FUNC_PYTHON = """
import asyncio, json, statistics, sys, time
from func_python.cloudevent import ASGIApplication, CloudEventMiddleware
from cloudevents.core.v1.event import CloudEvent

headers, body = json.loads(sys.argv[1])
scope = {"type": "http", "method": "POST", "path": "/", "headers":
         [(k.encode(), v.encode()) for k, v in headers.items()]}

class Idle:
    async def handle(self, scope, receive, send):
        event = scope["event"]
        await send(CloudEvent(attributes=event.get_attributes(), data=event.get_data()), 200)

app = ASGIApplication(Idle())
async def receive():
    return {"type": "http.request", "body": body.encode(), "more_body": False}
async def send(message):
    sent.append(message)
async def one():
    await app(dict(scope), receive, send)
async def main():
    found = []
    for _ in range(5):
        start = time.thread_time_ns()
        for _ in range(300):
            sent.clear()
            await one()
        found.append((time.thread_time_ns() - start) / 300_000)
    assert sent[0]["status"] == 200, sent
    print(statistics.median(found))
sent = []
asyncio.run(main())
"""
FRAMEWORK = """
import io, json, statistics, sys, time
import functions_framework

headers, body = json.loads(sys.argv[1])
path = sys.argv[2]
open(path, "w").write('''
import cloudevents.http, cloudevents.conversion, functions_framework
@functions_framework.http
def idle(request):
    event = cloudevents.http.from_http(request.headers, request.get_data())
    headers, body = cloudevents.conversion.to_binary(event)
    return body, 200, headers
''')
app = functions_framework.create_app("idle", path)
def one():
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "1",
               "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "wsgi.version": (1, 0),
               "wsgi.errors": sys.stderr, "wsgi.input": io.BytesIO(body.encode()),
               "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": headers["content-type"]}
    environ |= {"HTTP_" + k.upper().replace("-", "_"): v for k, v in headers.items()
                if k != "content-type"}
    status = []
    found = b"".join(app.wsgi_app(environ, lambda code, told: status.append(code)))
    assert status == ["200 OK"], (status, found)
found = []
for _ in range(5):
    start = time.thread_time_ns()
    for _ in range(300):
        one()
    found.append((time.thread_time_ns() - start) / 300_000)
print(statistics.median(found))
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
    yield Figure("P3", "warm event, step that does nothing", found["idle"], "µs CPU",
                 "functions-framework", beside(FRAMEWORK, sys.executable))  # fmt: skip
    knative = peer(KNATIVE, "func_python", "make test sets .venv-kn up")
    yield Figure("P3", "stretch: warm event, step that does nothing", found["idle"], "µs CPU",
                 "func-python", beside(FUNC_PYTHON, knative), 0.125)  # fmt: skip


def in_memory() -> Ports:
    found = ports(Settings(), MemoryStore(), Nowhere(), console=sys.stdout)
    return replace(found, clock=lambda: dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC))


class Nowhere:
    def send(self, event: Event) -> None:
        return


def beside(script: str, python: str) -> float:
    """Return the microseconds that a peer needs for the same event, in a process of its own."""
    headers, body = wire.encode(DETECTED)
    from measure import folder

    with folder() as where:
        given = json.dumps([headers, body.decode()])
        command = [python, "-c", script, given, str(where / "idle.py")]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, cwd=where)
    if done.returncode:
        raise Skipped(f"a peer did not run: {done.stderr.strip()[-300:]}")
    return float(done.stdout)


if __name__ == "__main__":
    alone(figures, __doc__)
