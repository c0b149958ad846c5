"""Small counters that objects of a process hold, safe between threads. No clock in here."""

from __future__ import annotations

import bisect
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Buckets:
    """A histogram: how many values fell below each bound, and their sum."""

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0
        self._lock = threading.Lock()

    def add(self, value: float) -> None:
        with self._lock:
            self.counts[bisect.bisect_left(self.bounds, value)] += 1
            self.sum += value

    def cumulated(self) -> list[tuple[str, float]]:
        """Return (bound, how many were at most that), as the text format has it."""
        found, total = [], 0
        with self._lock:
            for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
                total += count
                found.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        return found


class Tally:
    """Counts by name."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, by: int = 1) -> None:
        with self._lock:
            self._counts[name] += by

    def items(self) -> list[tuple[str, int]]:
        with self._lock:
            return sorted(self._counts.items())

    def __getitem__(self, name: str) -> int:
        return self._counts[name]


class Seen:
    """Remembers the last names it was asked about, so that repeats can be counted."""

    def __init__(self, most: int) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()
        self._most = most
        self._lock = threading.Lock()

    def again(self, name: str) -> bool:
        """Say whether the name was seen before, and remember it."""
        with self._lock:
            known = name in self._names
            self._names[name] = None
            self._names.move_to_end(name)
            if len(self._names) > self._most:
                self._names.popitem(last=False)
            return known
