"""The dead man's switch: AlertManager's `Watchdog` alert always fires, so its silence is the alarm.

What is heard is put on file, once in each interval: several bridges share it, and a restart forgets
nothing. Silence of one and a half intervals is a fault of its own, `HeartbeatMissed`, before two
have passed; it is over when the Watchdog is heard again. Both events have the gap's name, so
whoever sees it says the same. Interval 0: the alert is heard, and nobody waits for it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
from collections.abc import Callable
from typing import Any

from faultline import keys
from faultline.errors import AlreadyExists, FaultlineError
from faultline.event import format_time, parse_time
from faultline.model import Fault, Severity
from faultline.store import Store

logger = logging.getLogger("faultline.bridge")

ALERT = "Watchdog"
MISSED = "HeartbeatMissed"
ORIGIN = "faultline"
SILENT_AFTER = 1.5  # intervals; looked at four times an interval, the alarm comes before the second


class Watchdog:
    """Knows when the Watchdog was last heard, by this bridge or another one on the same store."""

    def __init__(self, store: Store, cluster: str, interval_s: int = 0) -> None:
        self.interval_s = interval_s
        self.seen_at: dt.datetime | None = None
        self._store, self._cluster = store, cluster
        self._told = ""  # the gap that was handed on already

    @property
    def silence(self) -> dt.timedelta:
        """How much silence is too much."""
        return dt.timedelta(seconds=self.interval_s * SILENT_AFTER)

    def heard(self, now: dt.datetime) -> Fault | None:
        """Put it on file; return the gap that ends with it, if there was one."""
        last = self._latest(now) if self.interval_s else None
        self._record(now)
        self.seen_at = max(now, self.seen_at or now)
        if last is None or now - last < self.silence:
            return None
        return self._gap(last, ends_at=now)

    def missed(self, now: dt.datetime) -> Fault | None:
        """Return the gap that we are in, until `told`. The first look begins to wait."""
        if not self.interval_s or (self.seen_at and now - self.seen_at < self.silence):
            return None
        last = self._latest(now)
        if last is None:
            self._record(now)
            return None
        gap = self._gap(last)
        return None if now - last < self.silence or gap.occurrence == self._told else gap

    def told(self, gap: Fault) -> None:
        self._told = gap.occurrence

    def state(self) -> dict[str, Any]:
        """Return what the health page says."""
        seen = format_time(self.seen_at) if self.seen_at else None
        return {"interval_s": self.interval_s, "last_seen": seen}

    def _gap(self, last: dt.datetime, ends_at: dt.datetime | None = None) -> Fault:
        return Fault(
            name=MISSED,
            summary=f"The {ALERT} alert of cluster {self._cluster} was not heard since "
            f"{format_time(last)}: Prometheus, AlertManager or the way here is broken",
            severity=Severity.CRITICAL,
            cluster=self._cluster,
            labels={"alertname": MISSED, "cluster": self._cluster},
            starts_at=last,
            ends_at=ends_at,
            condition="watchdog",
            origin=ORIGIN,
        )

    def _record(self, now: dt.datetime) -> None:
        if self.interval_s:
            key = keys.heartbeat(self._cluster, now, self.interval_s)
            with contextlib.suppress(AlreadyExists):
                self._store.put(key, format_time(now).encode(), if_absent=True)

    def _latest(self, now: dt.datetime) -> dt.datetime | None:
        """Return the newest time on file, of the last day that has one; three days at most."""
        for back in range(3):
            day = (now - dt.timedelta(days=back)).date()
            found = list(self._store.list(keys.heartbeats(self._cluster, day)))
            if found:
                return parse_time(self._store.get(found[-1]).decode("utf-8", "replace"))
        return None


def watch(interval_s: int, check: Callable[[], None], stop: threading.Event) -> None:
    """Look four times an interval, until `stop`: a thread's work. Interval 0: nothing to do."""
    while interval_s and not stop.wait(max(0.25, interval_s / 4)):
        try:
            check()
        except FaultlineError as error:
            logger.warning("the watchdog could not be looked at: %s", error)
