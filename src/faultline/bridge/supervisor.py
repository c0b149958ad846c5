"""What keeps a thread listening for ever: waiting, trying again, handing on with patience.

`follow.py` listens to streams of faults and `watch/watcher.py` to an API server; what one life of
such a connection is, they say.
"""

from __future__ import annotations

import datetime as dt
import logging
import random as chance
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faultline.bridge.intake import Intake
from faultline.bridge.stream import Refused, SourceStopped
from faultline.errors import FaultlineError, Rejected
from faultline.limits import reconnect_wait_s_max, reconnect_wait_s_min
from faultline.model import Fault

logger = logging.getLogger("faultline.bridge")

healthy_s = 60.0  # a connection this old, or one that brought a message, has proved itself
retry_after_s_max = 600.0


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


class Supervisor:
    """The supervisor of one connection; `run` is its thread, `_follow_once` one life of it."""

    def __init__(
        self,
        name: str,
        intake: Intake,
        *,
        stop: threading.Event | None = None,
        random: Callable[[], float] = chance.random,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        """`sleep` waits; None: until the time is up or `stop` is set."""
        self.name, self.intake = name, intake
        self.stop = stop or threading.Event()
        self.random, self.monotonic, self.sleep = random, monotonic, sleep
        self.status = Status(name)
        self._attempt = 0
        self._proved = False

    def _follow_once(self) -> None:
        """Connect and listen until it is over. Returns, or raises what ended it."""
        raise NotImplementedError

    def _state_after(self, error: Exception) -> str:
        return "waiting"

    def _retry_s(self) -> float | None:
        """How long the server wants to be left alone, if it said so."""
        return None

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

    def _connected(self) -> float:
        """Note that it is connected; return when that was."""
        status = self.status
        status.reconnects_total = status.connects_total
        status.connects_total += 1
        status.state, status.connected, status.last_error = "connected", True, ""
        status.connected_at = self.intake.clock()
        logger.info("stream connected", extra={"stream": self.name})
        return self.monotonic()

    def _disconnected(self, began: float | None) -> None:
        """Note that it is not; one that has proved itself makes the next wait short again."""
        self.status.connected = False
        if began is not None and (self._proved or self.monotonic() - began >= healthy_s):
            self._attempt = 0

    def _insist(self, do: Callable[[], None], raw: bytes) -> bool:
        """Do it, however long that takes; what will never be accepted is put aside. False: not."""
        attempt = 0
        while not self.stop.is_set():
            try:
                do()
            except Rejected as error:
                self._quarantine(raw, error)
                return False
            except FaultlineError as error:
                self.status.last_error = f"not handed on yet: {error}"
                self._pause(wait_s(attempt, self.random))
                attempt += 1
            else:
                return True
        return False

    def _hand_on(self, fault: Fault, raw: bytes) -> None:
        """Keep the message, and pass the fault on; `ends_at` says that it is over."""
        now = self.intake.clock()
        kept = fault.model_copy(update={"payload": self.intake.keep(raw, now)})
        self.intake.pass_on([(kept, kept.ends_at is not None)], now)
        self.status.faults_total += 1

    def _quarantine(self, raw: bytes, error: Rejected) -> None:
        self.status.bad_messages_total += 1
        self.intake.refuse(raw, error, self.name)
        logger.warning("message set aside", extra={"stream": self.name, "error": str(error)})

    def _wait(self, error: Exception) -> None:
        before, self.status.state = self.status.state, self._state_after(error)
        self.status.last_error = str(error)
        if self.status.state != before:
            logger.warning("stream ended", extra={"stream": self.name, "error": str(error)})
        asked = error.retry_after_s if isinstance(error, Refused) else None
        pause = wait_s(self._attempt, self.random, self._retry_s())
        if asked is not None:
            pause = min(max(asked, reconnect_wait_s_min), retry_after_s_max)
        self._attempt += 1
        self._pause(pause)

    def _pause(self, seconds: float) -> None:
        (self.sleep or self.stop.wait)(seconds)
