"""Follows one stream for ever: connect, list what was missed, hand on each fault, connect again.

A stream of faults is at most once and never says that it is silent for good. So after every connect
`list_present` tells what is broken now; duplicates fall to the same occurrence. Nothing heard is
dropped: while the sink has no room the stream waits (`supervisor.py`). `session.py` knows what is
spoken.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from faultline.bridge import mcp
from faultline.bridge.events import strict_json
from faultline.bridge.intake import Intake
from faultline.bridge.session import Session, session_of
from faultline.bridge.stream import Refused
from faultline.bridge.supervisor import Supervisor
from faultline.errors import FaultlineError, Rejected
from faultline.model import Fault, Severity

logger = logging.getLogger("faultline.bridge")

list_again_s = 30.0


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


EVERYTHING = Filter()


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


class Follower(Supervisor):
    """The supervisor of one stream."""

    def __init__(
        self,
        name: str,
        client: Client,
        intake: Intake,
        *,
        list_present: Callable[[], Iterable[Fault]] | None = None,
        filter: Filter = EVERYTHING,
        **more: Any,
    ) -> None:
        super().__init__(shown_name(name), intake, **more)
        self.client, self.list_present, self.filter = client, list_present, filter
        self._connected_once = False
        self._list_due: float | None = None

    def _retry_s(self) -> float | None:
        return self.client.session.retry_s()

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
            self.client.session.close()
            self._disconnected(began)

    def _connected(self) -> float:
        super()._connected()
        self._list_due = self.monotonic()
        self._list_if_due()
        return self.monotonic()

    def _wait(self, error: Exception) -> None:
        if isinstance(error, Refused) and error.status == 404 and self._connected_once:
            self._attempt = 0  # the session is gone, not the server: begin a new one
        super()._wait(error)

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
        if self.filter.lets(fault):
            self._insist(lambda: self._hand_on(fault, raw), raw)
