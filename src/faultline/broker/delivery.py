"""What becomes of a delivery: done, again after a wait, or given up. Pure.

The status table is section 5.2 of our platform notes, taken from
knative/specs:specs/eventing/data-plane.md; brokers differ in waits and in what they make of a body
that is no event, so there are two modes: `mt`, Knative's own channel broker, and `kafka`. Who
carries a verdict out: `broker.py`.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Literal

from faultline import wire
from faultline.answers import Answer
from faultline.broker.triggers import Delivery
from faultline.errors import Rejected
from faultline.event import Event, parse_time
from faultline.serve import Request

Mode = Literal["mt", "kafka"]

ARRIVAL = "knativearrivaltime"
TTL = "knativebrokerttl"
ERROR_DEST, ERROR_CODE, ERROR_DATA = "knativeerrordest", "knativeerrorcode", "knativeerrordata"
ERROR_DATA_MAX = 1024

_DOUBLINGS_MAX = 1_000  # beyond them a float ends
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_AGAIN = frozenset({404, 408, 409, 429})


class Kind(enum.Enum):
    """What to do next with a delivery."""

    DONE = "done"
    RETRY = "retry"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means."""

    kind: Kind
    reason: str = ""
    code: int | None = None  # None: nobody answered
    body: bytes = b""  # of a refusal, for the dead letter
    reply: Event | None = None
    retry_after_s: float | None = None  # what the subscriber asked for


def judge(answer: Answer, mode: Mode, now: float) -> Verdict:
    """Say what an answer to a delivery means. `now`: seconds since the epoch, for Retry-After."""
    code = answer.status
    if 200 <= code < 300:
        return _delivered(answer, mode)
    kind = Kind.RETRY if _retriable(code) else Kind.GIVE_UP
    asked = _retry_after(answer.headers, now) if code in (429, 503) else None
    return Verdict(kind, f"answered {code}", code, answer.body, retry_after_s=asked)


def no_answer(reason: str) -> Verdict:
    """Return the verdict when the subscriber could not be reached, broke off, or was too late."""
    return Verdict(Kind.RETRY, reason)


def _retriable(code: int) -> bool:
    """Say whether to try again; codes that the specification does not name are tried again."""
    return code in _AGAIN or not 100 <= code < 500


def _delivered(answer: Answer, mode: Mode) -> Verdict:
    code = answer.status
    if not answer.body and not _is_event(answer.headers):
        return Verdict(Kind.DONE, code=code)
    try:
        reply = wire.decode(answer.headers, answer.body)
    except Rejected as error:
        reason = f"answered {code} with a body that is no CloudEvent: {error}"
        if mode == "mt":  # its filter turns such an answer into a bad gateway
            return Verdict(Kind.RETRY, reason, 502, answer.body)
        return Verdict(Kind.GIVE_UP, reason, code, answer.body)
    return Verdict(Kind.DONE, code=code, reply=reply if code == 200 else None)  # never of a 202


def _is_event(headers: Mapping[str, str]) -> bool:
    names = {name.lower(): value for name, value in headers.items()}
    return "ce-specversion" in names or names.get("content-type", "").lower().startswith(
        "application/cloudevents"
    )


def wait_s(policy: Delivery, failed: int, mode: Mode, asked_s: float | None = None) -> float:
    """Return the seconds to wait after the `failed`-th attempt (1, 2, …) before the next.

    `asked_s`, the subscriber's Retry-After, counts only up to the Delivery's `retry_after_max_s`.
    """
    n = min(failed - 1 if mode == "mt" else failed, _DOUBLINGS_MAX)
    if policy.policy == "exponential":
        backoff = policy.delay_s * 2.0**n
    elif policy.policy == "linear":
        backoff = policy.delay_s * n
    else:
        backoff = 0.0
    if asked_s is None or not policy.retry_after_max_s:
        return backoff
    return max(backoff, min(asked_s, policy.retry_after_max_s))


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    text = {name.lower(): value for name, value in headers.items()}.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def request(event: Event, policy: Delivery, path: str, namespace: str) -> Request:
    """Return the delivery as it goes over the wire: the hop count stays in the broker."""
    headers, body = wire.encode(without(event, TTL), structured=policy.format == "json")
    headers |= {"prefer": "reply", "kn-namespace": namespace}
    trace = event.extensions.get("traceparent")  # the attribute stays as it is
    if isinstance(trace, str) and _TRACE.fullmatch(trace):
        headers["traceparent"] = trace
    return Request("POST", path, headers, body)


def without(event: Event, *names: str) -> Event:
    """Return the event without some extensions."""
    kept = {name: value for name, value in event.extensions.items() if name not in names}
    return replace(event, extensions=kept)


def hops_left(event: Event, default: int) -> int:
    """Return how often the event may still pass through the broker, this time included.

    An event that was never here has `default`; one that comes back has one less than it left with.
    """
    value = event.extensions.get(TTL)
    try:
        return int(value) - 1 if value is not None else default
    except ValueError:
        return default


def stamp(event: Event, now: float, hops: int) -> Event:
    """Return the event as the broker keeps it: with the time it first came and the hops left."""
    came = dt.datetime.fromtimestamp(now, dt.UTC).isoformat().replace("+00:00", "Z")
    return replace(event, extensions={ARRIVAL: came} | event.extensions | {TTL: hops})


def age_s(body: bytes | None, now: float) -> float:
    """Return how long ago an event first came to the broker; 0 if there is none that says so."""
    try:
        came = wire.from_bytes(body or b"").extensions.get(ARRIVAL)
        return max(0.0, now - parse_time(str(came)).timestamp())
    except (Rejected, ValueError):
        return 0.0


def inherit(reply: Event, cause: Event) -> Event:
    """Return a reply with the hop count of the event it answers: loops come to an end."""
    extensions = without(reply, TTL).extensions
    return replace(reply, extensions=extensions | {TTL: cause.extensions.get(TTL, 1)})


def dead_letter(event: Event, destination: str, verdict: Verdict, mode: Mode) -> Event:
    """Return what the dead letter sink gets: the event, and who refused it with which words.

    The words are base64: `mt` cuts the encoded text to 1024, `kafka` the bytes before encoding.
    """
    errors: dict[str, str | int | bool] = {ERROR_DEST: destination}
    if verdict.code is not None or mode == "mt":
        errors[ERROR_CODE] = 500 if verdict.code is None else verdict.code
    if verdict.body:
        errors[ERROR_DATA] = _base64(verdict.body, mode)
    old = without(event, TTL, ERROR_DEST, ERROR_CODE, ERROR_DATA)
    return replace(old, extensions=old.extensions | errors)


def _base64(body: bytes, mode: Mode) -> str:
    if mode == "mt":
        return base64.b64encode(body[:ERROR_DATA_MAX]).decode("ascii")[:ERROR_DATA_MAX]
    return base64.b64encode(body[:ERROR_DATA_MAX]).decode("ascii")
