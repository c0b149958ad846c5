"""What a person can ask for: close, retry, cancel, and send a dead letter again.

Each writes one record or sends one event, and can be asked for twice. Who may ask: `guard.py`.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any

from faultline import keys, views
from faultline.errors import NotFound, Rejected, Unavailable
from faultline.event import (
    CONTEXT_READY,
    INCIDENT_CLOSED,
    Event,
    format_time,
    from_json,
)
from faultline.incidents import Incidents
from faultline.limits import statement_chars_max
from faultline.model import Closed, ClosedBecause, Stop
from faultline.views.case import Case

SOURCE = "/faultline/web"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Acts:
    """A person's hand. `send` is None where there is no broker to send to."""

    def __init__(
        self,
        incidents: Incidents,
        send: Callable[[Event], None] | None,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._incidents, self._send, self._clock = incidents, send, clock

    def possible(self, case: Case) -> list[str]:
        """Return what can be asked for now."""
        if case.closed:
            return []
        attempt = case.attempt
        live = attempt is not None and attempt.run is not None and attempt.result is None
        found = ["cancel"] if live and attempt and not attempt.cancelled else []
        found += ["retry"] if self._send and not live and case.index else []
        return [*found, "close"]

    def close(self, id: str, *, by: str, note: str) -> None:
        """Close the incident: every fault it has counts as over. Raises Rejected if it was."""
        incident = self._incidents.incident(id)
        faults = self._incidents.faults(id).values()
        closed = Closed(
            because=ClosedBecause.PERSON,
            by=by,
            at=self._clock(),
            occurrences=tuple(sorted(fault.occurrence for fault, _ in faults)),
            note=note.strip()[:statement_chars_max],
        )
        if not self._incidents.record(id, keys.CLOSED, closed):
            raise Rejected(
                "expected an incident that is not closed, but this one was closed before"
            )
        self._incidents.put_view(id, keys.README, views.readme(views.load(self._incidents, id)))
        if self._send:
            data = {"incident": id, "because": closed.because.value, "by": by}
            self._send(self._event(f"{incident.id}/closed", INCIDENT_CLOSED, id, data))

    def retry(self, id: str) -> int:
        """Ask for another run; return its number. Raises Rejected if one is still going."""
        case = views.load(self._incidents, id)
        if "retry" not in self.possible(case):
            raise Rejected("expected an open incident with sealed evidence and no run under way")
        number = max((attempt.number for attempt in case.attempts), default=0) + 1
        self._sent(self._event(f"{id}-{number}/retry", CONTEXT_READY, id, {"run": number}))
        return number

    def cancel(self, id: str, *, by: str) -> None:
        """Ask the run under way to stop. Raises Rejected if there is none."""
        case = views.load(self._incidents, id)
        if "cancel" not in self.possible(case) or case.attempt is None:
            raise Rejected("expected a run under way that nobody has cancelled yet")
        self._incidents.ask_to_stop(id, case.attempt.number, Stop(by=by, at=self._clock()))

    def dead_letters(self, *, most: int = 200) -> list[dict[str, Any]]:
        """Return the newest parked events: key, reason, who gave up, and the event if it is one."""
        store = self._incidents.store
        found: list[dict[str, Any]] = []
        for day in sorted(store.folders("parked/"), reverse=True):
            for key in store.list(f"parked/{day}/"):
                if len(found) == most:
                    return found
                found.append(_letter(key, store.get(key)))
        return found

    def replay(self, day: str, name: str) -> None:
        """Send a parked event again. Raises NotFound, or Rejected if it never was an event."""
        key = f"parked/{day}/{name}"
        if not _DAY.fullmatch(day) or key not in set(self._incidents.store.list(f"parked/{day}/")):
            raise NotFound(f"expected a parked event, got {key[:120]!r}")
        event = _letter(key, self._incidents.store.get(key))["event"]
        if event is None:
            raise Rejected("expected a parked event, but this message never was one")
        try:
            again = from_json(event)
        except (ValueError, TypeError) as error:
            raise Rejected(f"expected a parked event that can be read: {error}") from None
        self._sent(again)

    def _sent(self, event: Event) -> None:
        if self._send is None:
            raise Unavailable("expected a broker to send to, but this console has none")
        self._send(event)

    def _event(self, id: str, type: str, subject: str, data: dict[str, Any]) -> Event:
        extensions: dict[str, str | int | bool] = {
            "partitionkey": subject,
            "correlationid": subject,
        }
        moment = format_time(self._clock())
        return Event(
            id=id, source=SOURCE, type=type, subject=subject, time=moment, data=data,
            extensions=extensions,
        )  # fmt: skip


def _letter(key: str, data: bytes) -> dict[str, Any]:
    """Read what `serve` or the bridge parked: a reason with the event, or the event alone."""
    day, name = key.removeprefix("parked/").split("/", 1)
    text = data.decode("utf-8", "replace")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = {}
    record = record if isinstance(record, dict) else {}
    event = record if "specversion" in record else record.get("event")
    event = event if isinstance(event, dict) and {"id", "source", "type"} <= event.keys() else None
    reason = record.get("reason") or (event or {}).get("knativeerrordata") or ""
    return {"day": day, "name": name, "text": text, "event": event,
            "reason": str(reason), "by": str(record.get("by", ""))}  # fmt: skip
