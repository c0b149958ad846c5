"""What happens, as it happens: server-sent events of new records, for browsers and `/api/events`.

Names are only ever added to an incident, so their number says how much a reader has seen. A hash of
it is the event's id, and a browser that comes back is told if it missed something. Nothing is held
between readers.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from faultline import keys
from faultline.errors import FaultlineError
from faultline.incidents import Incidents
from faultline.model import status_of
from faultline.web.shelf import Shelf

LOOK_S = 1.0  # between two looks
HEARTBEAT_S = 15.0  # so that proxies keep the connection
READERS_MAX = 100
NEWEST = 20  # incidents that a reader of all is told about


class Live:
    """Follows records for any number of readers, up to `READERS_MAX`."""

    def __init__(
        self,
        incidents: Incidents,
        shelf: Shelf,
        *,
        look_s: float = LOOK_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._incidents, self._shelf, self._look_s = incidents, shelf, look_s
        self._now = now
        self._kept: dict[str, tuple[frozenset[str], float]] = {}
        self._readers = 0

    @property
    def full(self) -> bool:
        return self._readers >= READERS_MAX

    async def follow(self, incident_id: str, last_seen: str) -> AsyncIterator[bytes]:
        """Yield server-sent events for ever, of one incident or of the newest ones."""
        self._readers += 1
        try:
            async for part in self._parts(incident_id, last_seen):
                yield part
        finally:
            self._readers -= 1

    async def _parts(self, incident_id: str, last_seen: str) -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        quiet_s, seen = 0.0, await self._look(incident_id)
        if last_seen and last_seen != _mark(seen):
            yield _event(_mark(seen), {"incident": incident_id, "missed": True})
        elif not last_seen:
            yield _event(_mark(seen), {"incident": incident_id, "following": True})
        while True:
            await asyncio.sleep(self._look_s)
            now = await self._look(incident_id)
            changed = {id: records for id, records in now.items() if records != seen.get(id)}
            for id, records in changed.items():
                new = sorted(records - seen.get(id, frozenset()))
                status = status_of(records)
                told = {"incident": id, "status": status and status.value, "records": new[:50]}
                yield _event(_mark(now), told)
            quiet_s = 0.0 if changed else quiet_s + self._look_s
            if quiet_s >= HEARTBEAT_S:
                quiet_s = 0.0
                yield b": still here\n\n"
            seen = now

    async def _look(self, incident_id: str) -> dict[str, frozenset[str]]:
        return await asyncio.to_thread(self._names, incident_id)

    def _names(self, incident_id: str) -> dict[str, frozenset[str]]:
        """Return the names of records by incident; nothing while the store does not answer."""
        try:
            ids = [incident_id] if incident_id else self.newest()
            return {id: self._names_of(id) for id in ids}
        except FaultlineError:
            return {}

    def newest(self) -> list[str]:
        """Return the ids of the incidents that a reader of all is told about."""
        return list(itertools.islice(self._shelf.ids(), NEWEST))

    def _names_of(self, id: str) -> frozenset[str]:
        """Return an incident's names, read once for all readers; after closing, never again."""
        now, kept = self._now(), self._kept.get(id)
        if kept and (keys.CLOSED in kept[0] or now - kept[1] < self._look_s / 2):
            return kept[0]
        if len(self._kept) > 10 * NEWEST:
            self._kept.clear()
        names = self._incidents.names(id)
        self._kept[id] = names, now
        return names

    def mark(self, incident_id: str = "") -> str:
        """Return how far a page made now has seen, for its first reading."""
        return _mark(self._names(incident_id))


def _mark(seen: dict[str, frozenset[str]]) -> str:
    counts = "\n".join(f"{id} {len(records)}" for id, records in sorted(seen.items()))
    return hashlib.sha256(counts.encode()).hexdigest()[:16]


def _event(mark: str, data: dict[str, Any]) -> bytes:
    """Return one event. JSON holds no line break, so no text can forge another field."""
    return f"id: {mark}\ndata: {json.dumps(data)}\n\n".encode()
