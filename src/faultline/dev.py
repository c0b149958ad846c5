"""The whole line in one process: bridge, embedded broker, steps, runs and pages, on loopback.

Not a simulation: the Triggers that a cluster applies are the routes, every delivery passes through
the wire format, and an event is acknowledged when the journal has it on disk. Killed at any moment
and started again, it goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from faultline import bootstrap
from faultline.adapters.stores import open_store, probe
from faultline.answers import Answer
from faultline.bootstrap import now
from faultline.broker.broker import Broker
from faultline.broker.journal import Journal
from faultline.broker.triggers import load_triggers, manifest_text
from faultline.errors import Rejected
from faultline.event import PING, Event, format_time
from faultline.ports import Ports
from faultline.routes import STEPS
from faultline.serve import Request, answer
from faultline.settings import Settings

log = logging.getLogger(__name__)

INGRESS = "/broker/faultline/faultline"  # what K_SINK points to: /broker/<namespace>/<broker>


class Line:
    """Everything `faultline dev` runs. `start`, then `url`; `stop` finishes what is in flight."""

    def __init__(self, settings: Settings, *, console: TextIO) -> None:
        self._socket = _listen(settings.host, settings.port)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self.settings = settings.model_copy(update={"sink": self.url + INGRESS})
        self.store = open_store(settings.store)
        probe(self.store)
        Path(settings.journal).parent.mkdir(parents=True, exist_ok=True)
        self.broker = Broker(
            load_triggers(manifest_text()),
            {},
            Journal(settings.journal),
            serial={"launch"},
        )
        self.ports = bootstrap.ports(self.settings, self.store, self.broker.sink(), console=console)
        self.broker.subscribers.update(subscribers(self.ports))
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._server: Any = None

    def start(self) -> None:
        """Serve, deliver, follow and sweep, each in threads of its own."""
        from faultline.bridge.app import serve_config

        import uvicorn

        self._server = uvicorn.Server(serve_config(self._app(), self.settings.host, 0))
        self.broker.start()
        self._thread("http", lambda: self._server.run(sockets=[self._socket]))
        self._thread("sweep", self._sweep_for_ever)
        for follower in followers(self.settings, self.ports):
            self._thread(f"stream {follower.url}", lambda f=follower: f.run(self._stop))

    def wait(self) -> None:
        """Return when someone has called `stop`, or Ctrl-C was pressed."""
        with contextlib.suppress(KeyboardInterrupt):
            while not self._stop.wait(0.5):
                pass

    def stop(self) -> None:
        """Stop taking in, finish what is in flight, leave the rest in the journal."""
        self._stop.set()
        if self._server:
            self._server.should_exit = True
        self.broker.stop()
        for thread in self._threads:
            thread.join(timeout=10)
        self._socket.close()

    def ping(self) -> None:
        """Ask `sweep` to look, as PingSource does on a cluster."""
        moment = format_time(now())
        self.broker.accept(Event(id=moment, source="/faultline/dev", type=PING, time=moment))

    def _sweep_for_ever(self) -> None:
        while not self._stop.wait(self.settings.sweep_s):
            self.ping()

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _app(self) -> Any: ...


def subscribers(ports: Ports) -> dict[str, Callable[[Request], Answer]]:
    """Return every step as the broker calls it: one request, one answer, through the wire format."""

    def bound(name: str) -> Callable[[Request], Answer]:
        return lambda request: answer(STEPS[name], ports, request)

    return {name: bound(name) for name in STEPS}


def followers(settings: Settings, ports: Ports) -> Sequence[Any]: ...


def _listen(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise Rejected(
            f"cannot listen on {host}:{port}: {error.strerror}; stop what is there or set --port"
        ) from None
    return found
