"""A stream's share of the processor, so that one that talks without end makes no other late.

All streams are followed in one process, by a thread each. A thread is charged for the time of the
processor that it uses; what it may use grows with the clock, at the stream's share of one core.
Who is in debt rests: its socket is not read, so TCP slows its server and nothing is dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from faultline.limits import stream_at_once_cpu_s


class Share:
    """The account of one thread, opened at its first question. `part` is of one core, 0 to 1."""

    def __init__(
        self,
        part: float,
        *,
        at_once_s: float = stream_at_once_cpu_s,
        used: Callable[[], float] = time.thread_time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._part, self._at_once_s = part, at_once_s
        self._used, self._monotonic = used, monotonic
        self._credit_s = at_once_s
        self._last: tuple[float, float] | None = None

    def debt_s(self) -> float:
        """Return the seconds that this thread has to rest, 0 while it is within its share."""
        now, used = self._monotonic(), self._used()
        before_now, before_used = self._last or (now, used)
        self._last = now, used
        gained = (now - before_now) * self._part - (used - before_used)
        self._credit_s = min(self._at_once_s, self._credit_s + gained)
        return max(0.0, -self._credit_s / self._part)


def fair(streams: int) -> Share:
    """Return the share of one of so many streams; the doors and the watch count as one more."""
    return Share(1 / (streams + 1))
