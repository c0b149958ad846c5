"""An event, the types we know, and how one event causes another.

An `Event` is a CloudEvent 1.0 (github.com/cloudevents/spec) in memory. `wire.py` turns it into HTTP
and back and holds it to the rules of the specification; nothing here checks anything.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

PREFIX = "dev.faultline."
FAULT_DETECTED = "dev.faultline.fault.detected.v1"
FAULT_CLEARED = "dev.faultline.fault.cleared.v1"
INCIDENT_OPENED = "dev.faultline.incident.opened.v1"
CONTEXT_READY = "dev.faultline.context.ready.v1"
RUN_FINISHED = "dev.faultline.run.finished.v1"
INCIDENT_PACKAGED = "dev.faultline.incident.packaged.v1"
INCIDENT_CLOSED = "dev.faultline.incident.closed.v1"
CHANGE_MERGED = "dev.faultline.change.merged.v1"
ROLLOUT_SYNCED = "dev.faultline.rollout.synced.v1"
FIX_VERIFIED = "dev.faultline.fix.verified.v1"
FIX_FAILED = "dev.faultline.fix.failed.v1"
PING = "dev.knative.sources.ping"

FAULT_TYPES = frozenset({FAULT_DETECTED, FAULT_CLEARED})

Attribute = str | int | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A CloudEvent. `source` and `id` together are its identity."""

    id: str
    source: str  # URI-reference: who says so
    type: str  # reverse-DNS: what happened
    subject: str | None = None  # about which incident; before there is one, the correlation key
    time: str | None = None  # RFC 3339, kept as it came, to the last digit
    data: Any = None  # a JSON value; bytes if it is not JSON
    datacontenttype: str | None = None  # None: JSON if there is data
    dataschema: str | None = None
    specversion: str = "1.0"
    extensions: dict[str, Attribute] = field(default_factory=dict)

    @property
    def dataref(self) -> str | None:
        """The key of the data in our own store, if it did not fit into the event."""
        value = self.extensions.get("dataref")
        return None if value is None else str(value)

    def caused(
        self,
        type: str,
        *,
        source: str,
        subject: str,
        data: dict[str, Any] | None = None,
        extensions: dict[str, Attribute] | None = None,
    ) -> Event:
        """Return the event that this one causes.

        Its id is a UUIDv5 over this event's identity, the new type and the new subject: delivered
        twice, a cause has one effect with one name. Time and trace are those of the first hop.
        """
        name = "\n".join((self.source, self.id, type, subject))
        carried = {k: self.extensions[k] for k in CARRIED if k in self.extensions}
        return Event(
            id=str(uuid.uuid5(NAMESPACE, name)),
            source=source,
            type=type,
            subject=subject,
            time=self.time,
            data=data,
            extensions=carried
            | {"partitionkey": subject, "correlationid": subject, "causationid": self.id}
            | (extensions or {}),
        )

    def run_finished(self, incident_id: str, number: int, data: dict[str, Any]) -> Event:
        """Return the event that a run has ended, which this one began. `data`: its result."""
        source = f"/faultline/runs/{incident_id}-{number}"
        return self.caused(RUN_FINISHED, source=source, subject=incident_id, data=data)


STANDARD = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")


def to_json(event: Event) -> dict[str, Any]:
    """Return the event in the CloudEvents JSON format (structured mode), without what is unset."""
    attributes = {name: getattr(event, name) for name in ("specversion", *STANDARD)}
    body = {k: v for k, v in (attributes | event.extensions).items() if v is not None}
    if isinstance(event.data, bytes):
        body["data_base64"] = base64.b64encode(event.data).decode("ascii")
    elif event.data is not None:
        body["data"] = event.data
        body.setdefault("datacontenttype", "application/json")
    return body


def from_json(body: dict[str, Any]) -> Event:
    """Return the event of such a mapping, unchecked: for what we wrote. Else `wire.py`."""
    known = {name: body[name] for name in ("specversion", *STANDARD) if name in body}
    data = base64.b64decode(body["data_base64"]) if "data_base64" in body else body.get("data")
    taken = {*known, "data", "data_base64"}
    extensions = {k: v for k, v in body.items() if k not in taken and v is not None}
    return Event(**known, data=data, extensions=extensions)


NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "faultline.dev")
CARRIED = ("cluster", "severity", "traceparent", "tracestate")

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_time(text: str) -> dt.datetime:
    """Read an RFC 3339 time stamp, to microseconds, as an aware datetime in UTC.

    Raises ValueError, with what was expected, if it is none.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an RFC 3339 time such as 2026-11-21T10:00:00Z, got {text!r}")
    day, clock, fraction, zone = match.groups()
    stamp = f"{day}T{clock}{(fraction or '')[:7]}{'+00:00' if zone in 'Zz' else zone}"
    try:
        return dt.datetime.fromisoformat(stamp).astimezone(dt.UTC)
    except OverflowError:  # year 1 or 9999 with an offset: the nearest we can say
        return dt.datetime.fromisoformat(stamp).replace(tzinfo=dt.UTC)


def format_time(moment: dt.datetime) -> str:
    """Write an aware datetime as RFC 3339 in UTC, without a fraction if there is none."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
