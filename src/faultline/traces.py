"""One trace for an incident: the context that events carry, and the spans beside it. Pure.

The first hop gives a fault's event its `traceparent`; every event that it causes carries it on
unchanged, as the CloudEvents extension for distributed tracing asks. Its ids come from the
occurrence, so a message that is sent again is in the same trace. Spans are made by `serve.py` and
the bridge, and go where `bootstrap.py` says: nowhere, to the log, or to a collector. W3C Trace
Context, level 1.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from faultline.event import Event

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class Context(NamedTuple):
    """What a traceparent says."""

    trace_id: str
    span_id: str
    sampled: bool


@dataclass(frozen=True)
class Span:
    """One piece of work: attributes are names of ours and of the event, never its text."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: dt.datetime
    end: dt.datetime
    attributes: Mapping[str, str] = field(default_factory=dict)
    failed: bool = False


Spans = Callable[[Span], None]


def parse(traceparent: object) -> Context | None:
    """Read a traceparent; None if it is none. Higher versions may have more at their end."""
    text = traceparent.strip(" \t") if isinstance(traceparent, str) else ""
    match = _FORM.fullmatch(text)
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if not match[2].strip("0") or not match[3].strip("0"):
        return None
    return Context(match[2], match[3], bool(int(match[4], 16) & _SAMPLED))


def context_of(event: Event) -> Context | None:
    return parse(event.extensions.get("traceparent"))


def started(event: Event, *, occurrence: str, sampled: bool, given: object = None) -> Event:
    """Return a first event with its trace: the sender's, if it gave one, else the occurrence's."""
    came = parse(given)
    trace_id = came.trace_id if came else _digest("trace", occurrence, 32)
    span_id = _digest("first hop", f"{trace_id}\n{event.id}", 16)
    flags = "01" if sampled or (came and came.sampled) else "00"
    extensions = event.extensions | {"traceparent": f"00-{trace_id}-{span_id}-{flags}"}
    return replace(event, extensions=extensions)


def first_span(event: Event, *, given: object, start: dt.datetime, end: dt.datetime) -> Span | None:
    """Return the span whose id the event's traceparent names: the receipt of the message."""
    context, came = context_of(event), parse(given)
    if context is None:
        return None
    parent = came.span_id if came else ""
    return Span("receive", context.trace_id, context.span_id, parent, start, end, _about(event))


def span_of(
    name: str, event: Event, *, start: dt.datetime, end: dt.datetime, status: int
) -> Span | None:
    """Return the span of one delivery to a step; None if the event is in no trace."""
    context = context_of(event)
    if context is None:
        return None
    span_id = _digest(name, f"{event.source}\n{event.id}\n{start.isoformat()}", 16)
    told = _about(event) | {"http.response.status_code": str(status)}
    return Span(
        name, context.trace_id, span_id, context.span_id, start, end, told, failed=status >= 400
    )


def _about(event: Event) -> dict[str, str]:
    found = {"cloudevents.event_id": event.id, "cloudevents.event_type": event.type,
             "cloudevents.event_source": event.source}  # fmt: skip
    return found | ({"cloudevents.event_subject": event.subject} if event.subject else {})


def _digest(what: str, of: str, digits: int) -> str:
    found = hashlib.sha256(f"faultline {what}\n{of}".encode("utf-8", "surrogatepass")).hexdigest()
    return found[:digits] if found[:digits].strip("0") else "1".zfill(digits)
