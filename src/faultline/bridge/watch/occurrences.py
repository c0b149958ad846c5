"""The names of what the watch sees: one record when a condition begins, one when it is over.

An object forgets: after ten crashes nothing in it says when the first was. So the first bridge that
sees a condition puts the fault on file, under the next free number, and every other one, the same
bridge after a restart among them, says that very fault. What began and never ended is known, even
if its object went while nobody looked. Keys: `keys.watched`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

from faultline import keys
from faultline.errors import AlreadyExists
from faultline.model import Fault
from faultline.store import Store

_KEY = re.compile(r"(.*/)(\d{4,})(-over)?\.json")


class Occurrences:
    """What a watch on one cluster has said, in the store. Raises StoreDown."""

    def __init__(self, store: Store, cluster: str) -> None:
        self._store, self._cluster = store, cluster

    def open_ones(self, kind: str) -> list[Fault]:
        """Return the faults seen by the watch on a kind that nobody said the end of."""
        begun, over = _parsed(self._store.list(keys.watched(self._cluster, kind)))
        return [self._read(keys.watched_once(*it)) for it in sorted(begun - over)]

    def begin(self, kind: str, fault: Fault, *, edge: bool, now: dt.datetime) -> Fault | None:
        """Return the fault to say: the one that is open, else this one, now on file.

        None if its occurrence is over: an edge that lies before the last end. A state that shows
        again began after that end, whatever its object says: now.
        """
        folder = keys.watched(self._cluster, kind, fault.fingerprint)
        while True:
            begun, over = _parsed(self._store.list(folder))
            last = max((number for _, number in begun), default=0)
            if last and (folder, last) not in over:
                return self._read(keys.watched_once(folder, last))
            if last and not self._is_later(fault, keys.watched_once(folder, last, over=True)):
                if edge:
                    return None
                fault = fault.model_copy(update={"starts_at": now})
            try:
                self._put(keys.watched_once(folder, last + 1), fault)
            except AlreadyExists:
                continue  # another bridge was quicker: its word counts
            return fault

    def ending(self, kind: str, fault: Fault) -> list[tuple[str, Fault]]:
        """Return what is open of this condition, with the key that says its end (see `end`)."""
        folder = keys.watched(self._cluster, kind, fault.fingerprint)
        begun, over = _parsed(self._store.list(folder))
        return [
            (keys.watched_once(*it, over=True), self._read(keys.watched_once(*it)))
            for it in sorted(begun - over)
        ]

    def end(self, key: str, fault: Fault) -> None:
        """Put on file that it is over and was said."""
        try:
            self._put(key, fault)
        except AlreadyExists:
            return  # the other bridge said so as well

    def _is_later(self, fault: Fault, key: str) -> bool:
        end = self._read(key).ends_at
        return end is None or fault.starts_at > end

    def _read(self, key: str) -> Fault:
        return Fault.model_validate_json(self._store.get(key))

    def _put(self, key: str, fault: Fault) -> None:
        data = (fault.model_dump_json(indent=2) + "\n").encode("utf-8", "replace")
        self._store.put(key, data, if_absent=True)


def _parsed(names: Iterator[str]) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    """Return (folder, number) of what began, and of what is over."""
    begun: set[tuple[str, int]] = set()
    over: set[tuple[str, int]] = set()
    for name in names:
        if match := _KEY.fullmatch(name):
            (over if match[3] else begun).add((match[1], int(match[2])))
    return begun, over
