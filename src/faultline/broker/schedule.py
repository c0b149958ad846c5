"""Which delivery is next: by time due, one at a time where that was asked for.

A value in memory; `broker.py` guards it with its lock, and `journal.py` has the durable truth. No
order is promised. A `random.Random` shuffles what is due together, which is what tests want.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Collection

from faultline.broker.journal import Row


class Schedule:
    """The deliveries that are owed and not being attempted."""

    def __init__(self, serial: Collection[str] = (), chance: random.Random | None = None) -> None:
        """`serial` names the Triggers whose attempts never overlap."""
        self._serial = frozenset(serial)
        self._chance = chance
        self._count = itertools.count()
        self._heap: list[tuple[float, float, int, Row]] = []
        self._busy: dict[str, deque[Row]] = {}  # a serial Trigger at work -> those who wait
        self._lanes: dict[str, deque[Row]] = {}  # an ordered lane in use -> those behind
        self._lane_of: dict[tuple[int, str], str] = {}

    def __len__(self) -> int:
        waiting = itertools.chain(self._busy.values(), self._lanes.values())
        return len(self._heap) + sum(map(len, waiting))

    def add(self, row: Row, lane: str | None = None) -> None:
        """Owe a delivery; within a lane, only once those before it are over."""
        if lane is None:
            self.again(row)
            return
        self._lane_of[row.seq, row.trigger] = lane
        if lane in self._lanes:
            self._lanes[lane].append(row)
        else:
            self._lanes[lane] = deque()
            self.again(row)

    def again(self, row: Row) -> None:
        """Owe a delivery whose turn in its lane has come."""
        number = next(self._count)
        tie = float(number) if self._chance is None else self._chance.random()
        heapq.heappush(self._heap, (row.due, tie, number, row))

    def take(self, now: float) -> Row | None:
        """Return a delivery that is due, or None. Every one taken must be `attempted`."""
        while self._heap and self._heap[0][0] <= now:
            row = heapq.heappop(self._heap)[3]
            if row.trigger not in self._serial:
                return row
            if row.trigger not in self._busy:
                self._busy[row.trigger] = deque()
                return row
            self._busy[row.trigger].append(row)
        return None

    def attempted(self, row: Row) -> None:
        """Say that an attempt has ended, whatever came of it."""
        for held in self._busy.pop(row.trigger, ()):
            self.again(held)

    def over(self, row: Row) -> None:
        """Say that a delivery is over: the next in its lane may go."""
        lane = self._lane_of.pop((row.seq, row.trigger), None)
        if lane is None:
            return
        if self._lanes[lane]:
            self.again(self._lanes[lane].popleft())
        else:
            del self._lanes[lane]

    def next_due(self) -> float | None:
        """Return when the next delivery is due; None if all wait for others, or none is owed."""
        return self._heap[0][0] if self._heap else None
