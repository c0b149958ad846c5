"""A channel in a storm: one message a second at most, and then one summary that is edited.

Nothing is remembered here. Whoever posts takes a second of the channel, by a conditional write; how
many incidents wanted a message in the last minutes stands in the store too, and says whether it
storms. Then an incident gets a line in the hour's summary in place of a message of its own; the
summary is edited twice a minute at most, and an incident counts as told when an edit has shown it.
The message itself is `slack.py`'s.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from faultline import keys
from faultline.adapters.outlets.summary import summary
from faultline.errors import Busy
from faultline.model import Merged, Receipt, Report
from faultline.ports import Outlet
from faultline.store import Store, put_once

CALM_MAX = 10  # incidents that want a message within WINDOW; with more it storms
WINDOW = dt.timedelta(minutes=5)
EDIT_S = 30
LINES_MAX = 30


@runtime_checkable
class Channel(Outlet, Protocol):
    """An outlet that can also keep one message of our own words up to date."""

    def summarize(self, note: str, text: str, *, since: dt.datetime) -> str:
        """Post the message that carries this note, or edit it; return its reference."""
        ...


def paced(outlet: Outlet, store: Store, clock: Callable[[], dt.datetime]) -> Outlet:
    """Return the outlet, at its channel's pace if it can keep a summary there."""
    return Paced(outlet, store, clock=clock) if isinstance(outlet, Channel) else outlet


class Paced:
    """Tells a channel at its pace. Raises Busy while there is no room, and as the channel does."""

    def __init__(self, channel: Channel, store: Store, *, clock: Callable[[], dt.datetime]) -> None:
        self.name = channel.name
        self._channel, self._store, self._clock = channel, store, clock

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Tell of the incident by a message of its own, or in a storm by a line of the summary."""
        now = self._clock()
        if receipt and receipt.details.get("storm"):
            if receipt.details.get("run") == str(report.run):
                return receipt  # how it ends is on its page: the channel has had enough
            receipt = None
        if receipt is None and self._storms(report.incident.id, now):
            return self._in_summary(report, now)
        self._take_second(report.incident.id, now)
        return self._channel.deliver(report, receipt)

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing is merged in a chat."""
        return None

    def _storms(self, incident_id: str, now: dt.datetime) -> bool:
        """Put on file that this incident wants a message; say whether too many do."""
        since = now - WINDOW
        folders = sorted({keys.pace(self.name, "asked", at) for at in (since, now)})
        asked = (key for folder in folders for key in self._store.list(folder))
        first = f"{folders[0]}{since:%M%S}"
        ids = {key.partition("-")[2].removesuffix(".txt") for key in asked if key > first}
        if incident_id not in ids:
            name = f"{now:%M%S}-{incident_id}.txt"
            put_once(self._store, keys.pace(self.name, "asked", now, name), b"")
        return len(ids - {incident_id}) >= CALM_MAX

    def _take_second(self, incident_id: str, now: dt.datetime) -> None:
        second = keys.pace(self.name, "seconds", now, f"{now:%M%S}.txt")
        if not put_once(self._store, second, incident_id.encode()):
            raise Busy(f"{self.name} gets one message a second", retry_after_s=1)

    # the summary

    def _in_summary(self, report: Report, now: dt.datetime) -> Receipt:
        id = report.incident.id
        line = f"{summary(report).title} ({id})"
        put_once(self._store, keys.pace(self.name, "lines", now, f"{id}.txt"), line.encode())
        edits = list(self._store.list(keys.pace(self.name, "edits", now)))
        told = json.loads(self._store.get(edits[-1])) if edits else {}
        if id not in told.get("incidents", ()):
            told = self._edit(id, now, first=not edits)
        details = {"storm": f"{now:%Y%m%d%H}", "run": str(report.run), "incident": id}
        return Receipt(outlet=self.name, reference=told["message"], made_at=now, details=details)

    def _edit(self, incident_id: str, now: dt.datetime, *, first: bool) -> dict[str, object]:
        """Edit the summary, if it is time; return what it shows now, as it stands on file."""
        if first:
            self._take_second(incident_id, now)
        turn = now.replace(second=now.second // EDIT_S * EDIT_S)
        if not put_once(self._store, keys.pace(self.name, "turns", turn, f"{turn:%M%S}.txt"), b""):
            wait_s = EDIT_S - now.second % EDIT_S
            raise Busy(f"{self.name} has a storm: one edit in {EDIT_S} s", retry_after_s=wait_s)
        folder = keys.pace(self.name, "lines", now)
        lines = {key: self._store.get(key).decode() for key in self._store.list(folder)}
        since = now.replace(minute=0, second=0, microsecond=0)
        text = words(list(lines.values()), since)
        message = self._channel.summarize(f"storm-{since:%Y%m%d%H}", text, since=since)
        shown = [key.removeprefix(folder).removesuffix(".txt") for key in lines]
        told: dict[str, object] = {"message": message, "incidents": shown}
        put_once(self._store, keys.pace(self.name, "edits", turn, f"{turn:%M%S}.json"), _json(told))
        return told


def words(lines: Sequence[str], since: dt.datetime) -> str:
    """Return the summary: how many, and some of them by name."""
    many = f"{len(lines)} incidents" if len(lines) != 1 else "1 incident"
    head = f"A storm: {many} since {since:%H:%M} UTC get no message of their own."
    rest = [f"… and {len(lines) - LINES_MAX} more"] if len(lines) > LINES_MAX else []
    tail = "All of them: the web console, or `faultline incidents`."
    return "\n".join([head, *(f"• {line[:200]}" for line in lines[:LINES_MAX]), *rest, tail])


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"
