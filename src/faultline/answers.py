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
    """What can be said of a request that was not an error."""

    DONE = "done"  # or done before: a duplicate
    ACCEPTED = "accepted"  # taken on, will be passed on
    NOT_A_POST = "not a POST"
    UNKNOWN_SENDER = "unknown sender"  # it did not say who it is


_STATUS = {
    Outcome.DONE: 204,
    Outcome.ACCEPTED: 202,
    Outcome.NOT_A_POST: 405,
    Outcome.UNKNOWN_SENDER: 401,
}


def to_broker(what: Outcome | BaseException) -> Answer:
    """Answer a Broker. Bodies are empty: brokers copy them into dead letters."""
    return Answer(_status(what), _headers(what), b"")


def to_alertmanager(what: Outcome | BaseException) -> Answer:
    """Answer AlertManager, and people who post by hand: a 4xx says in one line what to do.

    "No room" is 503 here: a 429 would cost a whole group interval, and `retry-after` is not read.
    """
    status = 503 if isinstance(what, Busy) else _status(what)
    headers = _headers(what)
    if not 400 <= status < 500:
        return Answer(status, headers, b"")
    return Answer(
        status, headers | {"content-type": "text/plain; charset=utf-8"}, _line(what).encode()
    )


def is_final(what: BaseException) -> bool:
    """Say whether sending it again cannot help: what a Broker would give up on."""
    return isinstance(what, Rejected | ValidationError)


def reason(error: BaseException) -> str:
    """Say in one line what was wrong, without the values that came: they may hold secrets."""
    if isinstance(error, ValidationError):
        places = (
            f"{'.'.join(map(str, each['loc'])) or 'data'}: {each['msg']}"
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        )
        text = "; ".join(places)
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())[:400]


def _status(what: Outcome | BaseException) -> int:
    match what:
        case Outcome():
            return _STATUS[what]
        case AlreadyExists():
            return 204
        case TooLarge():
            return 413
        case NotAllowed():
            return 403
        case Rejected() | ValidationError():
            return 400
        case Busy():
            return 429
        case TryAgain():
            return 503
        case _:
            return 500


def _headers(what: Outcome | BaseException) -> dict[str, str]:
    if isinstance(what, Busy):
        return {"retry-after": str(what.retry_after_s)}
    return {"allow": "POST, OPTIONS"} if what is Outcome.NOT_A_POST else {}


_SAID = {
    Outcome.NOT_A_POST: "expected POST, got another method: send the message as the body of a POST",
    Outcome.UNKNOWN_SENDER: "expected credentials, got none that are known: send the token that "
    "the operator gave you as `authorization: Bearer ...`",
}


def _line(what: Outcome | BaseException) -> str:
    return (_SAID[what] if isinstance(what, Outcome) else reason(what)) + "\n"
