"""Post to the address of a webhook. The address is a secret itself and stands in no message.

One attempt, no redirect; what fails becomes Busy, Unavailable or Rejected. For `outlets/`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

from faultline.adapters.trust import trust
from faultline.errors import Busy, FaultlineError, Rejected, Unavailable
from faultline.model import Receipt, Report

TIMEOUT_S = 10.0
WAIT_S_MAX = 3_600


def client(url: str) -> Any:
    """Return an HTTP client for an address; it follows no redirect."""
    import httpx

    return httpx.Client(verify=trust(url), timeout=TIMEOUT_S, follow_redirects=False)


def receipt(outlet: str, report: Report, made_at: dt.datetime, reference: str = "") -> Receipt:
    """Return the receipt of a message that cannot be edited: which incident and run it told of."""
    id = report.incident.id
    details = {"run": str(report.run), "incident": id}
    return Receipt(outlet=outlet, reference=reference or id, made_at=made_at, details=details)


def send(
    http: Any, method: str, url: str, *, to: str, fine: tuple[int, ...] = (), **what: Any
) -> Any:
    """Make one request; return the answer if it is 2xx or in `fine`.

    `to` names the other side in errors. Raises Busy, Unavailable, Rejected.
    """
    import httpx

    try:
        answer = http.request(method, url, **what)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{to} did not answer: {type(error).__name__}") from None
    if 200 <= answer.status_code < 300 or answer.status_code in fine:
        return answer
    raise failure(answer, to)


def failure(answer: Any, to: str) -> FaultlineError:
    """Return what an answer that is not 2xx means."""
    code = answer.status_code
    if code == 429:
        wait_s = wait(answer.headers.get("retry-after", ""))
        return Busy(f"{to} has no room for us: wait {wait_s} s", retry_after_s=wait_s)
    if code >= 500 or code in (408, 409, 425):
        return Unavailable(f"{to} answered {code}")
    return Rejected(f"{to} answered {code}, expected 2xx: is the address still right?")


def wait(text: str) -> int:
    """Return the seconds of a `Retry-After`, at least 1; a minute if it says nothing."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return 60
    return min(max(1, math.ceil(float(text))), WAIT_S_MAX)
