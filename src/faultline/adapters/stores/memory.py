"""A store that forgets: for tests and a first look. It keeps the whole contract of `store.py`."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator

from faultline.adapters.stores import checked
from faultline.errors import AlreadyExists, NotFound


class MemoryStore:
    """A dictionary behind a lock; listings are of the moment in which they began."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._order: list[str] = []  # its keys; code points sort as their UTF-8 bytes do
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes:
        with self._lock:
            found = self._data.get(checked(key))
        if found is None:
            raise NotFound(f"no record under {key}")
        return found

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        with self._lock:
            if checked(key) not in self._data:
                insort(self._order, key)
            elif if_absent:
                raise AlreadyExists(f"{key} is there already")
            self._data[key] = bytes(data)

    def list(self, prefix: str) -> Iterator[str]:
        with self._lock:
            first = bisect_left(self._order, prefix)
            last = bisect_left(self._order, True, first, key=lambda k: not k.startswith(prefix))
            return iter(self._order[first:last])

    def folders(self, prefix: str) -> Iterator[str]:
        above = prefix.rpartition("/")[0] + "/" if "/" in prefix else ""
        below = (key.removeprefix(above) for key in self.list(prefix))
        return iter(sorted({name.partition("/")[0] for name in below if "/" in name}))
