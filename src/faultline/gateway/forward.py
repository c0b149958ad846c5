"""The way to a model and back: our key, no redirect, and the answer in pieces as it comes.

Of the client's headers those few go on that say how to answer; of the service's those come back
that a client needs. One line of the log for each call says who used how much, and nothing of what
was said.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from faultline.adapters.trust import trust
from faultline.errors import Unavailable
from faultline.gateway.model import Asked, Upstream
from faultline.gateway.usage import Counter, Meter, Usage
from faultline.limits import gateway_model_answer_s_max, gateway_model_silence_s_max

log = logging.getLogger(__name__)

_PASSED_ON = ("accept", "anthropic-version", "anthropic-beta", "openai-beta", "user-agent")
_HANDED_BACK = ("content-type", "retry-after", "request-id", "x-request-id")
_CONNECT_S = 10.0


@dataclass(frozen=True)
class Forwarded:
    """An answer: status, headers with lower-case names, and the body, piece by piece.

    Whoever does not read it to its end closes or drops it: the call ends with it. Reading it raises
    Unavailable if the service falls silent or takes too long; what came until then is not the whole
    answer and must not look like it.
    """

    status: int
    headers: dict[str, str]
    body: Generator[bytes, None, None]


class Streamed(StreamingResponse):
    """An answer on its way to the client. The call ends with it, also if the client hangs up; an
    answer that breaks off is left unfinished, so that the client sees it."""

    def __init__(self, answer: Forwarded) -> None:
        super().__init__(answer.body, answer.status, answer.headers)
        self._end = answer.body.close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Unavailable as error:
            log.warning("an answer was cut off: %s", error)
        finally:
            self._end()


class Forwarder:
    """Sends calls on. Thread-safe; the connections are kept for the next call."""

    def __init__(
        self,
        meter: Meter,
        *,
        whole_s: float = gateway_model_answer_s_max,
        silence_s: float = gateway_model_silence_s_max,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meter, self._clock = meter, clock
        self._whole_s, self._silence_s = whole_s, silence_s
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def forward(
        self, asked: Asked, headers: Mapping[str, str], *, run: str, tokens_max: int
    ) -> Forwarded:
        """Make a call for a run and return the answer once its head is there, whatever it says.

        `headers` are the client's, with lower-case names; `tokens_max` is the run's bound, 0: none.
        429 if the run has used up its own, 502 for a redirect. Raises Unavailable, or Busy if the
        run has too many calls under way.
        """
        passed_on = _passed_on(headers, asked)
        if why := self._meter.begin(run, tokens_max):
            # OpenAI's and Anthropic's clients would try a 429 again and again, but for this header.
            return _said(429, why, {"x-should-retry": "false"})
        exchange = self._exchange(asked, passed_on, run)
        head = next(exchange)
        if 300 <= head.status_code < 400:
            exchange.close()
            return _said(502, f"{asked.upstream.name} answered {head.status_code}, expected no 3xx")
        found = {name: head.headers[name] for name in _HANDED_BACK if name in head.headers}
        return Forwarded(head.status_code, found, exchange)

    def close(self) -> None:
        """Close the connections that are kept; calls under way end."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _exchange(
        self, asked: Asked, headers: dict[str, str], run: str
    ) -> Generator[Any, None, None]:
        """Yield the answer's head, then the pieces of its body. Begun once, it ends in any case:
        read to the end, closed, or dropped."""
        import httpx

        name, began = asked.upstream.name, self._clock()
        status, counter, whole = 0, Counter(""), False
        try:
            with self._stream(asked, headers) as answer:
                status = answer.status_code
                counter = Counter(answer.headers.get("content-type", ""))
                yield answer
                for piece in answer.iter_bytes():
                    counter.take(piece)
                    if self._clock() - began > self._whole_s:
                        raise Unavailable(f"{name} gave no whole answer in {self._whole_s:.0f} s")
                    yield piece
                whole = True
        except httpx.HTTPError as error:
            raise Unavailable(f"{name} did not answer: {type(error).__name__}") from None
        finally:
            paid = asked.works and 200 <= status < 300  # a refusal costs nothing
            used = counter.usage(len(asked.body), whole=whole) if paid else Usage()
            self._meter.end(run, used)
            _note(asked, run, status, used, self._clock() - began)

    def _stream(self, asked: Asked, headers: dict[str, str]) -> Any:
        query = f"?{asked.query}" if asked.query else ""
        url = f"{asked.upstream.url}/{asked.path}{query}"
        client = self._client(asked.upstream)
        return client.stream(asked.method, url, content=asked.body, headers=headers)

    def _client(self, upstream: Upstream) -> Any:
        """Return the client of a service: it asks the environment for nothing, no proxy either."""
        import httpx

        with self._lock:
            if upstream.name not in self._clients:
                self._clients[upstream.name] = httpx.Client(
                    verify=trust(upstream.url),
                    timeout=httpx.Timeout(self._silence_s, connect=_CONNECT_S),
                    follow_redirects=False,
                    trust_env=False,
                )
            return self._clients[upstream.name]


def _passed_on(headers: Mapping[str, str], asked: Asked) -> dict[str, str]:
    """Return the headers of our request: few of the client's, our own, and the key."""
    plain = {n: headers[n] for n in _PASSED_ON if n in headers and _is_plain(headers[n])}
    ours = {"accept-encoding": "identity"}
    if asked.body:
        ours["content-type"] = "application/json"
    return plain | ours | asked.upstream.credentials()


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and len(value) <= 1_000


def _said(status: int, text: str, headers: Mapping[str, str] | None = None) -> Forwarded:
    kind = {"content-type": "text/plain; charset=utf-8"}
    return Forwarded(status, kind | dict(headers or {}), (line.encode() for line in [f"{text}\n"]))


def _note(asked: Asked, run: str, status: int, used: Usage, seconds: float) -> None:
    about = {
        "event": "model.called",
        "run": run,
        "upstream": asked.upstream.name,
        "model": asked.model or None,
        "status": status,  # 0: it did not answer
        **used._asdict(),
        "seconds": round(seconds, 3),
    }
    log.info("%s called %s: %d", run, asked.upstream.name, status, extra=about)
