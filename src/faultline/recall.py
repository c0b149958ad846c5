"""Stores that ask less: what one delivery has seen of a store it does not ask for again. Pure.

Records are written once, so what was read stays true; only what is missing may come. Steps meet
both through `Incidents`: `recalling` for one delivery, `snapshot` for one look at one incident.
"""

from __future__ import annotations

from collections.abc import Iterator

from faultline.errors import NotFound
from faultline.store import Store


class Recall:
    """A store that keeps what was read and written, for as long as one delivery takes.

    Not for views, which may be written over: no step reads one. What is missing is asked for again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, bytes] = {}
        self.list, self.folders = store.list, store.folders

    def get(self, key: str) -> bytes:
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._store.get(key)
        return found

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self._store.put(key, data, if_absent=if_absent)
        self._known[key] = data


class Snapshot:
    """A store whose listing of one folder was made once: what it does not show is not asked for.

    Everything else is the store's own, and what is written here is seen here.
    """

    def __init__(self, store: Store, folder: str) -> None:
        self._store, self._folder = store, folder
        self._keys = set(store.list(folder))
        self.folders = store.folders

    def get(self, key: str) -> bytes:
        if key.startswith(self._folder) and key not in self._keys:
            raise NotFound(f"no record under {key}")
        return self._store.get(key)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self._store.put(key, data, if_absent=if_absent)
        self._keys.add(key)

    def list(self, prefix: str) -> Iterator[str]:
        if prefix.startswith(self._folder):
            return iter(sorted(key for key in self._keys if key.startswith(prefix)))
        return self._store.list(prefix)
