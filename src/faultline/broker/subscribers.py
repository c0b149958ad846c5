"""Who takes deliveries: a function in this process, or an address on the network.

Both are `Request -> Answer`, so that what is sent is the same bytes either way. What an answer
means: `delivery.py`. When a delivery is made, and what follows: `broker.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from faultline.adapters.trust import authorities
from faultline.answers import Answer
from faultline.broker import delivery
from faultline.broker.delivery import Kind, Mode, Verdict
from faultline.broker.triggers import Destination, Trigger
from faultline.errors import Rejected, TryAgain, Unavailable
from faultline.event import Event
from faultline.limits import event_read_bytes_max
from faultline.serve import Request

if TYPE_CHECKING:
    import httpx

Subscriber = Callable[[Request], Answer]

_BODY_MAX = event_read_bytes_max + 1  # one byte more than a reply may have, so that it is refused

_log = logging.getLogger(__name__)


class Post:
    """Carries one event to one subscriber and says what came of it."""

    def __init__(
        self,
        subscribers: Mapping[str, Subscriber],
        mode: Mode,
        now: Callable[[], float],
        client: httpx.Client | None = None,
    ) -> None:
        """`subscribers` maps names of Services to functions; `client` posts to addresses."""
        self._subscribers = dict(subscribers)
        self._mode: Mode = mode
        self._now = now
        self._client = client

    def deliver(self, trigger: Trigger, event: Event, *, dead: bool) -> Verdict:
        """Attempt a delivery once, to the Trigger's subscriber or its dead letter sink."""
        where, policy = trigger.destination(dead), trigger.delivery
        try:
            request = delivery.request(event, policy, where.path, trigger.namespace)
        except Rejected as error:
            return Verdict(Kind.GIVE_UP, f"could not be sent: {error}")
        started = self._now()
        try:
            answer = self._find(where, policy.timeout_s)(request)
        except Exception as error:  # whatever it is, nobody has answered
            level = logging.INFO if isinstance(error, TryAgain) else logging.ERROR
            _log.log(level, "no answer from %s for event %s: %r", where.address, event.id, error)
            return delivery.no_answer(type(error).__name__)
        if policy.timeout_s is not None and self._now() - started > policy.timeout_s:
            return delivery.no_answer(f"answered later than after {policy.timeout_s} s")
        return delivery.judge(answer, self._mode, self._now())

    def _find(self, where: Destination, timeout_s: float | None) -> Subscriber:
        if where.name is not None:
            return self._subscribers.get(where.name) or _nobody(where)
        if self._client is None:
            import httpx  # only where an address is posted to

            self._client = httpx.Client(verify=authorities(), trust_env=False)
        return over_http(where.uri, self._client, timeout_s)


def over_http(address: str, client: httpx.Client, timeout_s: float | None) -> Subscriber:
    """Return a subscriber that posts to an address; it raises Unavailable if nobody answers."""

    import httpx

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
