"""Follows one stream for ever: connect, list what was missed, hand on each fault, connect again.

A stream of faults is at most once and never says that it is silent for good. So after every connect
`list_present` tells what is broken now; duplicates fall to the same occurrence. Nothing heard is
dropped: while the sink has no room the stream waits. `session.py` knows what is spoken.
"""

from __future__ import annotations

import datetime as dt
import logging
import random as chance
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from faultline.bridge import mcp
from faultline.bridge.events import strict_json
from faultline.bridge.intake import Intake
from faultline.bridge.session import Session, session_of
from faultline.bridge.stream import Refused, SourceStopped
from faultline.errors import FaultlineError, Rejected
from faultline.limits import reconnect_wait_s_max, reconnect_wait_s_min
from faultline.model import Fault, Severity

logger = logging.getLogger("faultline.bridge")

healthy_s = 60.0  # a connection this old, or one that brought a message, has proved itself
retry_after_s_max = 600.0
list_again_s = 30.0


def wait_s(attempt: int, random: Callable[[], float], server_s: float | None = None) -> float:
    """Return how long to wait before the attempt (from 0): exponential, with full jitter.

    A server that named a time is taken by its word the first time, give or take a quarter.
    """
    low, high = reconnect_wait_s_min, reconnect_wait_s_max
    if attempt == 0 and server_s is not None:
        return min(max(server_s * (0.75 + 0.5 * random()), low), high)
    base = min(max(server_s or low, low), high)
    ceiling = min(high, base * 2.0 ** min(attempt + 1, 16))
    return low + random() * (ceiling - low)


@dataclass
class Status:
    """How a stream is doing: for `/health` and `/metrics`."""

    name: str
    state: str = "connecting"  # connecting, connected, waiting, source_stopped, stopped
    connected: bool = False
    connected_at: dt.datetime | None = None
    last_event_at: dt.datetime | None = None
    connects_total: int = 0
    reconnects_total: int = 0
    faults_total: int = 0
    bad_messages_total: int = 0
    listed_total: int = 0  # faults found by listing what is broken, after a connect
    last_error: str = ""


@dataclass(frozen=True)
class Filter:
    """Which faults to hear, judged on our side: servers ignore theirs. Empty means all."""

    namespaces: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    severity: Severity = Severity.INFO

    def lets(self, fault: Fault) -> bool:
        resource = fault.resource
        if self.namespaces and (not resource or resource.namespace not in self.namespaces):
            return False
        if self.kinds and (not resource or resource.kind not in self.kinds):
            return False
        return fault.severity.rank >= self.severity.rank


class Client:
    """One connection to one endpoint, without patience: an error is logged and raised."""

    def __init__(
        self,
        endpoint: str | Session,
        *,
        cluster: str,
        clock: Callable[[], dt.datetime],
        **session: Any,
    ) -> None:
        made = session_of(endpoint, **session) if isinstance(endpoint, str) else endpoint
        self.session: Session = made
        self.cluster = cluster
        self.clock = clock

    def subscribe(self, stop: threading.Event) -> Iterator[Fault]:
        """Connect and yield faults until `stop` is set; messages that are none are passed over.

        Raises the error that ended the stream: SourceStopped for good, Unavailable for now.
        """
        try:
            self.session.connect()
            for text in self.listen(stop):
                if text is not None and (fault := self._understood(text)):
                    yield fault
        except FaultlineError as error:
            logger.warning("stream ended", extra={"error": str(error)})
            raise
        finally:
            self.session.close()

    def listen(self, stop: threading.Event) -> Iterator[str | None]:
        """Yield the messages of the connected session, None when idle, until `stop` is set."""
        for text in self.session.messages():
            if stop.is_set():
                return
            yield text

    def fault_in(self, text: str) -> Fault | None:
        """Return the fault in a message, if it is about one. Raises Rejected if unreadable."""
        setting = mcp.Setting(self.cluster, self.clock(), self.session.origin)
        return mcp.fault_of(strict_json(text), setting)

    def _understood(self, text: str) -> Fault | None:
        try:
            return self.fault_in(text)
        except Rejected as error:
            logger.warning("message not understood", extra={"error": str(error)})
            return None


def shown_name(name: str) -> str:
    """Return a stream's name for logs and pages: of an address without what may be secret."""
    prefix, separator, rest = name.partition("://")
    if not separator:
        return name
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{prefix}://{host.rpartition('@')[2]}{slash}{path}"


@dataclass
class Follower:
    """The supervisor of one stream; `run` is its thread."""

    name: str
    client: Client
    intake: Intake
    stop: threading.Event = field(default_factory=threading.Event)
    list_present: Callable[[], Iterable[Fault]] | None = None
    filter: Filter = field(default_factory=Filter)
    random: Callable[[], float] = chance.random
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Any] | None = None  # None: wait on `stop`

    def __post_init__(self) -> None:
        self.name = shown_name(self.name)
        self.status = Status(self.name)
        self._attempt = 0
        self._proved = False
        self._connected_once = False
        self._list_due: float | None = None

    def run(self) -> None:
        """Follow until `stop` is set or the source says that it stopped for good."""
        while not self.stop.is_set():
            try:
                self._follow_once()
            except SourceStopped as error:
                self.status.last_error = str(error)
                self.status.state = "source_stopped"
                logger.error("source stopped", extra={"stream": self.name, "error": str(error)})  # noqa: TRY400
                return
            except FaultlineError as error:
                self._wait(error)
            except Exception as error:  # a bug of ours must not end the listening
                logger.exception("follower failed", extra={"stream": self.name})
                self._wait(error)
        self.status.state = "stopped"

    def start(self) -> threading.Thread:
        """Run in a thread of its own."""
        thread = threading.Thread(target=self.run, name=f"faultline-{self.name}", daemon=True)
        thread.start()
        return thread

    def _follow_once(self) -> None:
        began: float | None = None
        self._proved = self._connected_once = False
        self.status.state = "connecting"
        try:
            self.client.session.connect()
            began = self._connected()
            self._connected_once = True
            for text in self.client.listen(self.stop):
                self._list_if_due()
                if text is not None:
                    self._hear(text)
        finally:
            self.status.connected = False
            self.client.session.close()
            if began is not None and (self._proved or self.monotonic() - began >= healthy_s):
                self._attempt = 0  # the next wait is short again

    def _connected(self) -> float:
        status = self.status
        status.reconnects_total = status.connects_total
        status.connects_total += 1
        status.state, status.connected, status.last_error = "connected", True, ""
        status.connected_at = self.intake.clock()
        logger.info("stream connected", extra={"stream": self.name})
        self._list_due = self.monotonic()
        self._list_if_due()
        return self.monotonic()

    def _list_if_due(self) -> None:
        """List what is broken now: once after each connect, and again later if that failed."""
        if self._list_due is None or self.monotonic() < self._list_due:
            return
        try:
            for fault in self.list_present() if self.list_present else ():
                self.status.listed_total += 1
                self._take(fault, fault.model_dump_json().encode())
        except FaultlineError as error:
            self._list_due = self.monotonic() + list_again_s
            self.status.last_error = f"the present state could not be listed: {error}"
            logger.warning("listing failed", extra={"stream": self.name, "error": str(error)})
        else:
            self._list_due = None

    def _hear(self, text: str) -> None:
        self.status.last_event_at = self.intake.clock()
        self._proved = True
        raw = text.encode("utf-8", "replace")
        try:
            fault = self.client.fault_in(text)
        except Rejected as error:
            self._quarantine(raw, error)
            return
        if fault is not None:
            self._take(fault, raw)

    def _take(self, fault: Fault, raw: bytes) -> None:
        """Hand a fault on, however long that takes: nothing heard is dropped."""
        if not self.filter.lets(fault):
            return
        attempt = 0
        while not self.stop.is_set() and not self._handed_on(fault, raw):
            self._pause(wait_s(attempt, self.random))
            attempt += 1

    def _handed_on(self, fault: Fault, raw: bytes) -> bool:
        now = self.intake.clock()
        try:
            kept = fault.model_copy(update={"payload": self.intake.keep(raw, now)})
            self.intake.pass_on([(kept, kept.ends_at is not None)], now)
        except Rejected as error:
            self._quarantine(raw, error)
            return True
        except FaultlineError as error:
            self.status.last_error = f"not handed on yet: {error}"
            return False
        self.status.faults_total += 1
        return True

    def _quarantine(self, raw: bytes, error: Rejected) -> None:
        self.status.bad_messages_total += 1
        self.intake.refuse(raw, error, self.name)
        logger.warning("message set aside", extra={"stream": self.name, "error": str(error)})

    def _wait(self, error: Exception) -> None:
        self.status.last_error, self.status.state = str(error), "waiting"
        logger.warning("stream ended", extra={"stream": self.name, "error": str(error)})
        asked = error.retry_after_s if isinstance(error, Refused) else None
        if isinstance(error, Refused) and error.status == 404 and self._connected_once:
            self._attempt = 0  # the session is gone, not the server: begin a new one
        pause = wait_s(self._attempt, self.random, self.client.session.retry_s())
        if asked is not None:
            pause = min(max(asked, reconnect_wait_s_min), retry_after_s_max)
        self._attempt += 1
        self._pause(pause)

    def _pause(self, seconds: float) -> None:
        (self.sleep or self.stop.wait)(seconds)
