"""The whole line in one process: bridge, embedded broker, steps, runs and pages, on loopback.

Not a simulation: the Triggers that a cluster applies are the routes, every delivery passes through
the wire format, and an event is acknowledged when the journal has it on disk. Killed at any moment
and started again, it goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from faultline import bootstrap, keys, views
from faultline.adapters.stores import open_store, probe
from faultline.answers import Answer, to_broker
from faultline.bootstrap import now
from faultline.bridge.app import router
from faultline.bridge.gate import (
    App,
    Gate,
    Receive,
    Scope,
    Send,
    is_local,
    listen,
    respond,
    serve_config,
)
from faultline.broker.broker import Broker
from faultline.broker.ingress import Ingress
from faultline.broker.journal import Journal
from faultline.broker.subscribers import Subscriber
from faultline.broker.triggers import load, manifest_text
from faultline.doors import (
    bridge_readings,
    doors_of,
    followers,
    intake,
    metrics_of,
    pages_of,
    watching,
    with_metrics,
)
from faultline.errors import Rejected, Unavailable
from faultline.event import PING, Event, format_time
from faultline.metrics import Reading
from faultline.routes import STEPS
from faultline.serve import Request, answer
from faultline.settings import INGRESS, Settings, listed

log = logging.getLogger(__name__)

DOORS = ("/alertmanager", "/synced", "/github", "/parked")  # the bridge's


class Line:
    """Everything `faultline dev` runs. `start`, then `url`; `stop` finishes what is in flight."""

    def __init__(self, settings: Settings, *, console: TextIO) -> None:
        bootstrap.check(settings)
        if settings.tls_cert or settings.tls_client_ca:
            raise Rejected(
                "tls_cert, tls_client_ca: `faultline dev` has no TLS; `bridge` and `web` do"
            )
        self._socket = listen(settings.host, settings.port)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self.settings = settings.model_copy(update={"sink": self.url + INGRESS})
        self.store = open_store(settings.store)
        probe(self.store)
        journal = Path(settings.journal)
        try:
            journal.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Rejected(f"cannot make {journal.parent}: {error.strerror}") from None
        self.journal = Journal(journal)
        self.broker = Broker(
            load(manifest_text()),
            {name: self._subscriber(name) for name in STEPS} | {"bridge": self._park},
            self.journal,
            clock=time.time,
            serial={"launch"},
        )
        self.ports = bootstrap.ports(self.settings, self.store, self.broker.sink(), console=console)
        self.intake = intake(self.settings, self.ports)
        self.followers = followers(self.settings, self.intake)
        self.doors = doors_of(self.settings, self.intake, self.followers)
        self.metrics = metrics_of(
            self.ports,
            lambda: bridge_readings(self.doors, self.followers),
            self._readings,
            live=self.ports.runner.live,
        )
        self._swept_at: float | None = None
        self._looked = threading.Event()  # set: the last ping was looked at, whatever came of it
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._server: Any = None

    def start(self) -> None:
        """Serve, deliver, follow and sweep, each in threads of its own."""
        import uvicorn

        config = serve_config(self._app(), self.settings.host, 0)
        self._server = uvicorn.Server(config)
        self.store.put(keys.BUCKET_README, views.bucket_readme())
        self.broker.start()
        self._thread("http", lambda: self._server.run(sockets=[self._socket]))
        self._thread("sweep", self._sweep_for_ever)
        for follower in self.followers:
            follower.start()
        self._threads.append(watching(self.intake, self._stop))
        _until(lambda: self._server.started)

    def wait(self) -> None:
        """Return when Ctrl-C was pressed, or the process was asked to end."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        with contextlib.suppress(KeyboardInterrupt):
            while not self._stop.wait(0.5):
                pass

    def stop(self) -> None:
        """Stop taking in, finish what is in flight, leave the rest in the journal."""
        self._stop.set()
        for follower in self.followers:
            follower.stop.set()
        if self._server:
            self._server.should_exit = True
        self.broker.stop()
        for thread in self._threads:
            thread.join(timeout=10)
        self.journal.close()  # last: an event that a run sends until then is kept
        self._socket.close()

    def ping(self) -> None:
        """Ask `sweep` to look, as PingSource does on a cluster."""
        moment = format_time(now())
        self.broker.accept(Event(id=moment, source="/faultline/dev", type=PING, time=moment))

    def _sweep_for_ever(self) -> None:
        """Ping when it is time and the last ping was looked at: a slow store gets no queue of them.

        A ping that the journal does not take is no end: the next one may be taken.
        """
        self._looked.set()
        while not self._stop.wait(self.settings.sweep_s):
            if not self._looked.is_set():
                continue
            self._looked.clear()
            try:
                self.ping()
            except Unavailable as error:
                self._looked.set()
                log.warning("no sweep now: %s", error)

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _subscriber(self, name: str) -> Subscriber:
        """Return a step as the broker calls it: one request, one answer, by the wire format."""

        def deliver(request: Request) -> Answer:
            reply = answer(STEPS[name], self.ports, request)
            if name == "sweep":
                self._looked.set()
                self._swept_at = time.time() if reply.status < 300 else self._swept_at
            return reply

        return deliver

    def _readings(self) -> Iterator[Reading]:
        """Yield what the broker and the steps of this process counted since it started."""
        counters = self.broker.counters
        for outcome in ("accepted", "malformed", "unmatched"):
            yield Reading("faultline_broker_events_total", (outcome,), counters[outcome])
        for outcome in ("delivered", "retried", "dead_lettered", "dropped"):
            yield Reading("faultline_broker_deliveries_total", (outcome,), counters[outcome])
        there = self.ports.incidents.counters["there"]
        yield Reading("faultline_effect_duplicates_prevented_total", (), there)
        yield Reading("faultline_queue_depth", (), self.broker.owed())
        if self._swept_at is not None:
            yield Reading("faultline_sweep_last_seen_seconds", (), self._swept_at)
        yield Reading("faultline_queue_oldest_age_seconds", (), self.broker.oldest_age_s())

    def _park(self, request: Request) -> Answer:
        return to_broker(self.intake.parked(request.headers, request.body))

    def _app(self) -> App:
        """Return one app with all doors: the bridge's, the broker's, and the pages."""
        doors = router(self.doors)
        ingress = Ingress(self.broker, namespace="faultline", name="faultline")
        pages = pages_of(self.settings, self.ports)

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            path, method = scope.get("path", ""), scope.get("method", "")
            if path.startswith("/broker/"):
                if is_local(scope):  # whoever may post here may say anything
                    below = {**scope, "path": path.removeprefix("/broker")}
                    await ingress(below, receive, send)
                else:
                    await respond(send, 403, {"connection": "close"})
            elif path in DOORS or (path == "/events" and method in ("POST", "OPTIONS")):
                await doors(scope, receive, send)
            else:
                await pages(scope, receive, send)

        served = with_metrics(front, self.metrics)
        return Gate(served, allowed_hosts=listed(self.settings.allowed_hosts))


def _until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
