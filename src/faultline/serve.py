"""One request, one step, one answer: `answer()`, and its ASGI shell `EventFunction`.

Every door calls `answer()`: func-python through `EventFunction`, functions-framework through the
shells in `functions/`, `faultline serve` through `EventFunction` as an ASGI app. It is the only
place where a request becomes a step. What the wire allows is said in `wire.py`, which status
follows in `answers.py`; what a step receives is in `ports.py`.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple

from faultline import keys, limits, traces, wire
from faultline.answers import Answer, Outcome, is_final, reason, to_broker
from faultline.errors import NotAllowed, Rejected, TryAgain
from faultline.event import Event, to_json
from faultline.logs import about
from faultline.ports import Ports, Step
from faultline.store import Store, put_once

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

HEALTH = ("/health/liveness", "/health/readiness")


class Request(NamedTuple):
    """An HTTP request. `body` may be cut, if it is over the limit anyway."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def answer(
    step: Step, ports: Ports, request: Request, *, accepts: Collection[str] | None = None
) -> Answer:
    """Give the request to the step and answer as a Broker expects it. Never raises.

    `accepts` are the event types that are for this step; None: whatever comes. An event that will
    never be accepted is parked in the store before it is answered with a 4xx, because some brokers
    drop it then. If even that fails, the answer asks for another attempt.
    """
    if request.path in HEALTH:
        return Answer(200, {"content-type": "text/plain"}, b"ok\n")
    if request.method == "OPTIONS":
        return _handshake(request)
    if request.method != "POST":
        return to_broker(Outcome.NOT_A_POST)
    event: Event | None = None
    try:
        event = wire.decode(request.headers, request.body)
    except Exception as error:
        return _failed(_name(step), ports, request, event, error)
    with about_event(event):
        return _traced(step, ports, request, event, accepts)


def about_event(event: Event) -> AbstractContextManager[None]:
    """Say that the lines of the log within are about this event."""
    context = traces.context_of(event)
    return about(
        incident_id=_incident(event),
        subject=event.subject,
        cluster=event.extensions.get("cluster"),
        event=event.type,
        event_id=event.id,
        trace_id=context.trace_id if context else None,
    )


def _traced(
    step: Step, ports: Ports, request: Request, event: Event, accepts: Collection[str] | None
) -> Answer:
    start = ports.clock()
    try:
        reply = _carried_out(step, ports, event, accepts)
    except Exception as error:
        reply = _failed(_name(step), ports, request, event, error)
    if ports.spans:
        name, end = _name(step), ports.clock()
        span = traces.span_of(name, event, start=start, end=end, status=reply.status)
        if span:
            ports.spans(span)
    return reply


def _incident(event: Event) -> str | None:
    """Return the incident that the event is about; a fault comes before there is one."""
    found = keys.INCIDENT_ID.fullmatch(event.subject or "")
    return found[0] if found else None


def _handshake(request: Request) -> Answer:
    """Say that events may be sent here (cloudevents/spec: http-webhook.md, 4)."""
    headers = {"allow": "POST, OPTIONS"}
    if any(name.lower() == "webhook-request-origin" for name in request.headers):
        headers |= {"webhook-allowed-origin": "*", "webhook-allowed-rate": "*"}
    return Answer(200, headers, b"")


def _carried_out(step: Step, ports: Ports, event: Event, accepts: Collection[str] | None) -> Answer:
    if accepts is not None and event.type not in accepts:
        raise NotAllowed(f"expected {', '.join(sorted(accepts))}, got {event.type[:120]}")
    event = wire.resolve(event, ports.incidents.store.get)
    effect = step(event, replace(ports, incidents=ports.incidents.recalling()))
    reply = to_broker(Outcome.DONE) if effect is None else _reply(effect, ports)
    what = "nothing to say" if effect is None else effect.type
    fields = _fields(_name(step), event, reply.status)
    if effect is not None and fields["incident"] is None:
        fields["incident"] = _incident(effect)
    log.info("%s: %s", event.type, what, extra=fields)
    return reply


def _reply(effect: Event, ports: Ports) -> Answer:
    """Return the effect as a binary event. If it is none, that is our bug, not the sender's."""
    store, day = ports.incidents.store, ports.clock().date()
    try:
        headers, body = wire.encode_fitting(effect, lambda k, data: put_once(store, k, data), day)
    except Rejected as error:
        raise RuntimeError(f"the step's own reply is no event: {error}") from error
    # without a content type, frameworks put one of their own there
    return Answer(200, {"content-type": wire.JSON} | headers, body)


def _failed(
    name: str, ports: Ports, request: Request, event: Event | None, error: Exception
) -> Answer:
    if is_final(error):
        try:
            _park(name, ports, request, event, error)
        except Exception as worse:
            log.warning("could not park the event: %s", reason(worse), extra=_fields(name, event))
            error = worse
    reply = to_broker(error)
    known = is_final(error) or isinstance(error, TryAgain)
    log.log(
        logging.WARNING if known else logging.ERROR,
        "%s: %s",
        type(error).__name__,
        reason(error),
        exc_info=None if known else error,
        extra=_fields(name, event, reply.status),
    )
    return reply


def _park(name: str, ports: Ports, request: Request, event: Event | None, error: Exception) -> None:
    """Put the event on file, with the reason; if it cannot be read, the message as it came."""
    if event is None:
        digest = hashlib.sha256(repr(sorted(request.headers.items())).encode() + request.body)
        key_name, what = f"unreadable-{digest.hexdigest()[:16]}", {"raw": _raw(request)}
    else:
        key_name, what = event.id, {"event": to_json(event)}
    if key_name in (".", ".."):  # legal as an id, not as a key
        key_name = f"id-{key_name}"
    record = {"reason": reason(error), "by": name, **what}
    park(
        ports.incidents.store, ports.clock().date(), key_name, json.dumps(record, indent=2).encode()
    )


def park(store: Store, day: dt.date, name: str, record: bytes) -> None:
    """Put a record under `parked/`, once. Another one under the same name gets a name of its own:
    who uses one id for two events loses neither.
    """
    key = keys.parked(day, name)
    if not put_once(store, key, record) and _about(store.get(key)) != _about(record):
        digest = hashlib.sha256(record).hexdigest()[:8]
        put_once(store, keys.parked(day, f"{name}-{digest}"), record)


def _about(record: bytes) -> list[Any]:
    """Return what a parked event says, whoever parked it and why."""
    found = json.loads(record)
    event = found.get("event", found)
    return [event.get(name) for name in ("source", "type", "data", "data_base64", "raw")]


def _raw(request: Request) -> dict[str, Any]:
    """Return what was sent: only headers that describe the event, never credentials."""
    told = {k.lower(): v for k, v in request.headers.items()}
    kept = {k: v for k, v in told.items() if k.startswith("ce-") or k == "content-type"}
    body = request.body[: limits.event_read_bytes_max]
    return {"headers": kept, "body_base64": base64.b64encode(body).decode("ascii")}


def _name(step: Step) -> str:
    return getattr(step, "__name__", type(step).__name__)


def _fields(name: str, event: Event | None, status: int = 0) -> dict[str, Any]:
    if event is None:
        return {"step": name, "status": status}
    return {
        "step": name,
        "incident": _incident(event),
        "subject": event.subject,
        "event": event.type,
        "event_id": event.id,
        "status": status,
    }


class EventFunction:
    """A step as an ASGI application, and as the instance that func-python asks `new()` for."""

    def __init__(self, step: Step, ports: Ports, *, accepts: Collection[str] | None = None) -> None:
        self.step, self.ports, self.accepts = step, ports, accepts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self.handle(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request. The step runs in a thread: probes are answered meanwhile."""
        body = await _read(receive)
        if body is None:
            return
        request = Request(scope["method"], scope["path"], _joined(scope["headers"]), body)
        status, headers, data = await asyncio.to_thread(
            answer, self.step, self.ports, request, accepts=self.accepts
        )
        told = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
        if status != 204:
            told.append((b"content-length", str(len(data)).encode("ascii")))
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": data})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        phase = (await receive())["type"]
        await send({"type": f"{phase}.complete"})
        if phase == "lifespan.shutdown":
            return


async def _read(receive: Receive) -> bytes | None:
    """Read the body, keeping at most one byte over the limit; None if the client went away.

    What is over the limit is read on for a while and dropped: who is still sending when the
    connection closes may never see the answer, and a Broker would try again in vain.
    """
    kept, seen, more = b"", 0, True
    while more and seen <= limits.MIB:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")
        kept += piece[: limits.event_read_bytes_max + 1 - len(kept)]
        seen += len(piece)
        more = message.get("more_body", False)
    return kept


def _joined(headers: Collection[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers as WSGI does: one that came twice is joined by a comma."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined
