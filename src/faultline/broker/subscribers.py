"""Who takes deliveries: a function in this process, or an address on the network.

Both are `Request -> Answer`, so that what is sent is the same bytes either way. What an answer
means: `delivery.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx

from faultline.answers import Answer
from faultline.broker.triggers import Destination
from faultline.errors import Unavailable
from faultline.limits import event_read_bytes_max
from faultline.serve import Request

Subscriber = Callable[[Request], Answer]

_BODY_MAX = event_read_bytes_max + 1  # one byte more than a reply may have, so that it is refused


def find(
    where: Destination,
    subscribers: Mapping[str, Subscriber],
    client: httpx.Client,
    timeout_s: float | None,
) -> Subscriber:
    """Return the subscriber at a destination. One that nobody provides raises Unavailable when it
    is called, as a name that does not resolve would."""
    if where.name is None:
        return over_http(where.uri, client, timeout_s)
    return subscribers.get(where.name) or _nobody(where)


def over_http(address: str, client: httpx.Client, timeout_s: float | None) -> Subscriber:
    """Return a subscriber that posts to an address; it raises Unavailable if nobody answers."""

    def post(request: Request) -> Answer:
        try:
            with client.stream(
                request.method,
                address,
                headers=dict(request.headers),
                content=request.body,
                timeout=timeout_s,
            ) as response:
                body = b""
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > _BODY_MAX:
                        break
                return Answer(response.status_code, dict(response.headers), body[:_BODY_MAX])
        except httpx.HTTPError as error:
            raise Unavailable(f"expected an answer, got {type(error).__name__}") from None

    return post


def _nobody(where: Destination) -> Subscriber:
    def refuse(request: Request) -> Answer:
        raise Unavailable(f"expected somebody at {where.address}, there is nobody")

    return refuse
