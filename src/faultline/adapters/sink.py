"""Post an event to an address such as `K_SINK`, with patience. Binary CloudEvents over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faultline.adapters.trust import trust
from faultline.errors import Busy, Rejected, Unavailable
from faultline.event import Event
from faultline.wire import encode

WAITS_S = (0.2, 0.5, 1.0, 2.0)  # between attempts; a broker's own retries come on top


class HttpSink:
    """A sink behind HTTP: a Broker's ingress, or ours."""

    def __init__(
        self,
        url: str,
        *,
        sleep: Callable[[float], None],
        client: Any = None,
        timeout_s: float = 30,
        bearer: Callable[[], str] | None = None,
    ) -> None:
        """`bearer` returns the token to send along, if the other side wants one."""
        self._bearer = bearer
        self._url, self._sleep, self._timeout_s = url, sleep, timeout_s
        self._client = client  # made at the first use: most processes that could send never do

    def send(self, event: Event) -> None:
        """Return once the other side answered 2xx. Raises Rejected, Busy or Unavailable."""
        for wait_s in (*WAITS_S, None):
            try:
                return self._send(event)
            except (Busy, Unavailable):
                if wait_s is None:
                    raise
                self._sleep(wait_s)
        return None

    def _send(self, event: Event) -> None:
        import httpx

        if self._client is None:
            self._client = httpx.Client(
                verify=trust(self._url), timeout=self._timeout_s, follow_redirects=False
            )
        headers, body = encode(event)
        if self._bearer:
            headers["authorization"] = f"Bearer {self._bearer()}"
        try:
            answer = self._client.post(self._url, headers=headers, content=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._url} did not answer: {error}") from None
        code = answer.status_code
        if code == 429:
            raise Busy(f"{self._url} has no room now")
        if code >= 500 or code in (404, 408, 409):
            raise Unavailable(f"{self._url} answered {code}")
        if not 200 <= code < 300:
            raise Rejected(f"{self._url} answered {code} to {event.type}: expected 2xx")
