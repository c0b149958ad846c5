"""What is said on a stream, by kind: plain events, MCP over streamable HTTP, MCP over legacy SSE.

A session is connected again and again by `follow.py`; here is one life of it: open, subscribe,
yield messages, notice that it is dead. The order of an MCP subscriber matters: without an open
stream the first notification cancels the subscription, without `setLevel` nothing is ever sent.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httpx

from faultline.bridge import mcp
from faultline.bridge.events import strict_json
from faultline.bridge.share import Share
from faultline.bridge.stream import (
    EventStream,
    Refused,
    Timing,
    http_client,
    open_stream,
    origin_of,
    refused,
    shown,
)
from faultline.errors import Rejected, TooLarge, Unavailable
from faultline.limits import sse_event_bytes_max
from faultline.sse import Parser, ServerSentEvent

USUAL = Timing()
waiting_max = 10_000  # messages that may come before the answer to a request of ours


class Session(Protocol):
    """One stream, whatever is spoken on it."""

    origin: str

    def connect(self) -> None:
        """Open it anew, up to the point where messages flow."""
        ...

    def messages(self) -> Iterator[str | None]:
        """Yield what is said; None now and then when nothing is. Raises when the stream is over."""
        ...

    def retry_s(self) -> float | None:
        """How long the server wants to be left alone before the next connect, if it said so."""
        ...

    def close(self) -> None:
        """End it. May be connected again."""
        ...


class RawSession:
    """Plain server-sent events; resumes by the last id, if the server gives ids."""

    origin = "sse"

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timing: Timing = USUAL,
        monotonic: Callable[[], float] = time.monotonic,
        bytes_max: int = sse_event_bytes_max,
        share: Share | None = None,
    ) -> None:
        """`share` is what its thread may use of the processor; None: all of it."""
        self.url = httpx.URL(url)
        self.timing = timing
        self.share = share
        self.monotonic = monotonic
        self.http = http_client(url, timing, token)
        self.bytes_max = bytes_max
        self.parser = Parser(bytes_max=bytes_max)
        self.stream: EventStream[ServerSentEvent] | None = None
        self.seen_at = monotonic()  # last sign of life

    def connect(self) -> None:
        self.close()
        self._open(self.url, _resume(self.parser.last_id))

    def _open(self, url: httpx.URL, headers: dict[str, str]) -> None:
        response = open_stream(self.http, url, headers, self.timing)
        last, retry = self.parser.last_id, self.parser.retry_ms
        self.parser = Parser(last_id=last, retry_ms=retry, bytes_max=self.bytes_max)
        self.stream = EventStream(response, self.parser)
        self.seen_at = self.monotonic()

    def messages(self) -> Iterator[str | None]:
        while True:
            event = self._next(min(1.0, self.timing.ping_s))
            yield event.data if event else None

    def _next(self, timeout_s: float) -> ServerSentEvent | None:
        if self.stream is None:
            raise Unavailable("the stream is not open")
        if self._rest(timeout_s):
            return None
        before = self.stream.bytes_seen
        event = self.stream.next(timeout_s)
        if self.stream.bytes_seen > before:
            self.seen_at = self.monotonic()
        return event

    def _rest(self, most_s: float) -> bool:
        """Sleep, if the thread has used more than its share."""
        if owed_s := self.share.debt_s() if self.share else 0.0:
            time.sleep(min(owed_s, most_s))
        return owed_s > 0

    def retry_s(self) -> float | None:
        return None if self.parser.retry_ms is None else self.parser.retry_ms / 1000

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None


def _resume(last_id: str) -> dict[str, str]:
    """Return the header that resumes. An id that cannot stand in a header is not sent."""
    if not last_id or any(c in last_id for c in "\r\n\0"):
        return {}
    return {"last-event-id": last_id}


class McpSession(RawSession):
    """What both transports of MCP share: the handshake, the subscription, and looking after it."""

    origin = "mcp"
    protocol = mcp.PROTOCOL

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__(url, **more)
        self.subscription = ""
        self.heard: deque[str] = deque()
        self._id = 0

    def connect(self) -> None:
        self.close()
        self.heard.clear()
        self._handshake()
        self.ask(mcp.set_level(self._next_id()))
        self._subscribe()

    def _handshake(self) -> None:
        raise NotImplementedError

    def _post(self, message: dict[str, Any], wanted: int | None) -> dict[str, Any] | None:
        raise NotImplementedError

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its result. Raises Rejected if the server says no."""
        answer = self._post(message, message["id"])
        self.seen_at = self.monotonic()
        return mcp.result_of(answer or {})

    def tell(self, message: dict[str, Any]) -> None:
        """Send a notification or an answer: nothing comes back."""
        self._post(message, None)

    def messages(self) -> Iterator[str | None]:
        asked_at = self.monotonic()
        while True:
            while self.heard:
                yield self.heard.popleft()
            event = self._next(min(1.0, self.timing.ping_s))
            if event and event.type == "message" and self._is_for_others(event.data):
                yield event.data
            elif not self.heard:
                yield None
            if self.monotonic() - asked_at >= self.timing.ping_s:
                asked_at = self.monotonic()
                self._look_after()

    def _is_for_others(self, text: str) -> bool:
        """Answer what the server asks and see to errors of our subscription; else pass it on."""
        try:
            message = strict_json(text)
        except Rejected:
            return True  # whoever reads it puts it on file
        if not isinstance(message, dict):
            return True
        if reply := mcp.answer_to(message):
            self.tell(reply)
            return False
        params = message.get("params")
        if isinstance(params, dict) and params.get("logger") == mcp.SUBSCRIPTION_ERROR:
            self._subscribe()
            return False
        return True

    def _subscribe(self) -> None:
        try:
            result = self.ask(mcp.subscribe(self._next_id()))
        except Rejected as error:
            raise Rejected(
                f"{shown(self.url)}: no fault subscription here ({error}); "
                "poll this server (mcp-poll+http…) or use another source"
            ) from None
        self.subscription = str(mcp.object_in(mcp.text_of(result)).get("subscriptionId", ""))

    def _look_after(self) -> None:
        """Ask for a sign of life, and whether our subscription is still there."""
        self.ask(mcp.ping(self._next_id()))
        listing = mcp.text_of(self.ask(mcp.list_subscriptions(self._next_id())))
        if not mcp.is_subscribed(mcp.object_in(listing), self.subscription):
            self._subscribe()

    def _hear(self, text: str) -> None:
        if len(self.heard) >= waiting_max:
            raise Unavailable("the server talks without answering")
        if self._is_for_others(text):
            self.heard.append(text)

    def _next_id(self) -> int:
        self._id += 1
        return self._id

    def _sent(self, url: httpx.URL, message: dict[str, Any], headers: dict[str, str]) -> Any:
        asked = {"accept": "application/json, text/event-stream"} | headers
        try:
            request = self.http.build_request("POST", url, json=message, headers=asked)
            return self.http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise Unavailable(f"no answer from {shown(url)}: {type(error).__name__}") from None


class StreamableSession(McpSession):
    """MCP over streamable HTTP: answers come on the POST, notifications on a standing GET."""

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__(url, **more)
        self.headers: dict[str, str] = {}

    def _handshake(self) -> None:
        self.headers = {}
        result = self.ask(mcp.initialize(self._next_id(), self.protocol))
        self.headers["mcp-protocol-version"] = str(result.get("protocolVersion", self.protocol))
        self.tell(mcp.initialized())
        self._open(self.url, self.headers | _resume(self.parser.last_id))

    def _post(self, message: dict[str, Any], wanted: int | None) -> dict[str, Any] | None:
        response = self._sent(self.url, message, self.headers)
        try:
            if response.status_code not in (200, 202, 204):
                raise refused(response, self.url)
            if session := response.headers.get("mcp-session-id"):
                self.headers["mcp-session-id"] = session
            return None if wanted is None else self._answer(response, wanted)
        except httpx.HTTPError as error:
            raise Unavailable(f"the answer broke off: {type(error).__name__}") from None
        finally:
            response.close()

    def _answer(self, response: httpx.Response, wanted: int) -> dict[str, Any]:
        """Read the answer with this id: as JSON, or as events with notifications before it."""
        kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind == "text/event-stream":
            parser = Parser(bytes_max=self.bytes_max)
            for chunk in self._in_time(response):
                for event in parser.feed(chunk):
                    if found := _answering(event.data, wanted):
                        return found
                    self._hear(event.data)
            raise Unavailable("the server's answer ended without a result")
        body = b""
        for chunk in self._in_time(response):
            body += chunk
            if len(body) > self.bytes_max:
                raise TooLarge(f"expected an answer of at most {self.bytes_max} bytes")
        if kind != "application/json" or not (found := _answering(body, wanted)):
            raise Refused(f"expected a JSON-RPC answer, got {kind[:60]!r}", status=200)
        return found

    def _in_time(self, response: httpx.Response) -> Iterator[bytes]:
        """Yield the body. Raises Unavailable for one that goes on for longer than an answer may."""
        until = self.monotonic() + self.timing.answer_s
        for chunk in response.iter_raw():
            yield chunk
            self._rest(1.0)
            if self.monotonic() >= until:
                raise Unavailable("the server's answer went on for too long")


class PollSession(StreamableSession):
    """MCP without a subscription: the warnings of `events_list`, asked for again and again."""

    def connect(self) -> None:
        self.close()
        self.heard.clear()
        self.headers = {}
        result = self.ask(mcp.initialize(self._next_id(), self.protocol))
        self.headers["mcp-protocol-version"] = str(result.get("protocolVersion", self.protocol))
        self.tell(mcp.initialized())

    def messages(self) -> Iterator[str | None]:
        before: set[str] = set()
        while True:
            text = mcp.text_of(self.ask(mcp.call(self._next_id(), "events_list")))
            now = {json.dumps(fault, sort_keys=True) for fault in mcp.listed_faults(text)}
            yield from sorted(now - before)
            before = now
            due = self.monotonic() + self.timing.ping_s
            while self.monotonic() < due:
                yield None
                time.sleep(min(1.0, self.timing.ping_s))


class LegacySession(McpSession):
    """MCP over legacy SSE: the stream names where to post, and brings every answer itself."""

    protocol = mcp.LEGACY_PROTOCOL

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__(url, **more)
        self.endpoint = self.url

    def _handshake(self) -> None:
        self._open(self.url, {})
        self.endpoint = self._endpoint()
        self.ask(mcp.initialize(self._next_id(), self.protocol))
        self.tell(mcp.initialized())

    def _endpoint(self) -> httpx.URL:
        event = self._awaited(lambda event: event.type == "endpoint")
        try:
            endpoint = self.url.join(event.data.strip())
        except (httpx.InvalidURL, ValueError):
            raise Rejected("expected a path in the endpoint event") from None
        if origin_of(endpoint) != origin_of(self.url):
            raise Rejected("expected an endpoint of the same origin, got another")
        return endpoint

    def _post(self, message: dict[str, Any], wanted: int | None) -> dict[str, Any] | None:
        response = self._sent(self.endpoint, message, {})
        response.close()
        if response.status_code not in (200, 202, 204):
            raise refused(response, self.endpoint)
        if wanted is None:
            return None
        event = self._awaited(lambda event: _answering(event.data, wanted) is not None)
        return _answering(event.data, wanted)

    def _awaited(self, is_it: Callable[[ServerSentEvent], bool]) -> ServerSentEvent:
        until = self.monotonic() + self.timing.answer_s
        while (left := until - self.monotonic()) > 0:
            event = self._next(left)
            if event and is_it(event):
                return event
            if event and event.type == "message":
                self._hear(event.data)
        raise Unavailable("the server did not answer in time")


def _answering(text: str | bytes, wanted: int) -> dict[str, Any] | None:
    try:
        message = strict_json(text)
    except Rejected:
        return None
    if not isinstance(message, dict) or message.get("id") != wanted or "method" in message:
        return None
    return message


def session_of(endpoint: str, **more: Any) -> Session:
    """Return the session for an endpoint.

    `mcp+https://…` is MCP over streamable HTTP, `mcp-sse+https://…` over legacy SSE,
    `mcp-poll+https://…` MCP that is asked, `sse+https://…` plain events. Without such a prefix a
    path that ends in `/mcp` is the first, one in `/sse` the second, every other the last.
    """
    prefix, plus, url = endpoint.partition("+")
    if not plus or "/" in prefix:
        path = httpx.URL(endpoint).path.rstrip("/")
        prefix = {"mcp": "mcp", "sse": "mcp-sse"}.get(path.rsplit("/", 1)[-1], "sse")
        url = endpoint
    kinds: dict[str, type[RawSession]] = {
        "mcp": StreamableSession,
        "mcp-sse": LegacySession,
        "mcp-poll": PollSession,
        "sse": RawSession,
    }
    if prefix not in kinds or not url.startswith(("http://", "https://")):
        raise Rejected(f"expected an http(s) address of a stream, got {endpoint[:80]!r}")
    return kinds[prefix](url, **more)
