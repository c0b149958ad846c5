"""What happened, as an HTTP answer: one table per sender, because the senders disagree.

A Broker tries 404, 408, 409, 429 and 5xx again and gives up on every other 4xx (knative/specs:
specs/eventing/data-plane.md). AlertManager tries only 5xx again soon; after any 4xx it waits a
whole group interval (prometheus/alertmanager: notify/util.go). No table ever says 3xx.

Pure. `errors.py` has what can go wrong; `serve.py` and `bridge/app.py` send what is said here.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from pydantic import ValidationError

from faultline.errors import AlreadyExists, Busy, NotAllowed, Rejected, TooLarge, TryAgain


class Answer(NamedTuple):
    """An HTTP answer: status, headers with lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Outcome(Enum):
    """What can be said of a request that was not an error, and its status."""

    DONE = 204  # or done before: a duplicate
    ACCEPTED = 202  # taken on, will be passed on
    NOT_A_POST = 405
    UNKNOWN_SENDER = 401  # it did not say who it is


_STATUS: dict[type[Exception], int] = {  # the first that fits; anything else is a bug of ours
    AlreadyExists: 204,
    TooLarge: 413,
    NotAllowed: 403,
    Rejected: 400,
    ValidationError: 400,
    Busy: 429,
    TryAgain: 503,
}


def to_broker(what: Outcome | BaseException) -> Answer:
    """Answer a Broker. Bodies are empty: brokers copy them into dead letters."""
    return Answer(_status(what), _headers(what), b"")


def to_alertmanager(what: Outcome | BaseException) -> Answer:
    """Answer AlertManager, and people who post by hand: a 4xx says in one line what to do.

    "No room" is 503 here: a 429 would cost a whole group interval, and `retry-after` is not read.
    """
    status, headers, _ = to_broker(what)
    if not 400 <= status < 500:
        return Answer(status, headers, b"")
    if isinstance(what, Busy):
        return Answer(503, headers, b"")
    kind = {"content-type": "text/plain; charset=utf-8"}
    return Answer(status, headers | kind, _line(what).encode())


def is_final(what: BaseException) -> bool:
    """Say whether sending it again cannot help: what a Broker would give up on."""
    return isinstance(what, Rejected | ValidationError)


def reason(error: BaseException) -> str:
    """Say in one line what was wrong, without the values that came: they may hold secrets."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())[:400] or type(error).__name__
    found = error.errors(include_url=False, include_context=False, include_input=False)
    places = (f"{'.'.join(map(str, each['loc'])) or 'data'}: {each['msg']}" for each in found)
    return " ".join("; ".join(places).split())[:400]


def _status(what: Outcome | BaseException) -> int:
    if isinstance(what, Outcome):
        return what.value
    return next((status for kind, status in _STATUS.items() if isinstance(what, kind)), 500)


def _headers(what: Outcome | BaseException) -> dict[str, str]:
    if isinstance(what, Busy):
        return {"retry-after": str(what.retry_after_s)}
    return {"allow": "POST, OPTIONS"} if what is Outcome.NOT_A_POST else {}


_SAID = {
    Outcome.NOT_A_POST: "expected POST, got another method: send the message as a POST's body",
    Outcome.UNKNOWN_SENDER: "expected credentials, got none that are known: send the token that "
    "the operator gave you as `authorization: Bearer ...`",
}


def _line(what: Outcome | BaseException) -> str:
    return (_SAID.get(what, "") if isinstance(what, Outcome) else reason(what)) + "\n"
