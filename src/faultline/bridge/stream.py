"""A stream of server-sent events over HTTP: opening it, and reading it without losing its bounds.

A thread reads bytes into a short queue: whoever is slow with the events slows the socket, nothing
is dropped and nothing piles up. Redirects stay within the origin. `../sse.py` parses, `session.py`
speaks MCP over this, `follow.py` waits and tries again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.utils
import queue
import socket
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import httpx

from faultline.adapters.trust import trust
from faultline.errors import Rejected, Unavailable

redirects_max = 5
chunks_max = 64  # of at most 64 KiB each
_REDIRECTS = (301, 302, 303, 307, 308)


class Timing(NamedTuple):
    """How long to wait for what, in seconds."""

    connect_s: float = 10.0
    answer_s: float = 15.0  # for the answer to one request
    silence_s: float = 90.0  # without a byte, a stream counts as dead
    ping_s: float = 30.0  # between two signs of life that we ask for


T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Decoder(Protocol[T_co]):
    """Turns the bytes of an answer into what it says, wherever they are cut."""

    def feed(self, chunk: bytes) -> Sequence[T_co]:
        """Return what this chunk completes. Raises TooLarge."""
        ...

    def end(self) -> object:
        """The answer is over: what is unfinished is discarded."""
        ...


class StreamEnded(Unavailable):
    """The server ended the stream, as it may."""


class SourceStopped(Rejected):
    """The server says for good that nothing more will come (204)."""


class Refused(Unavailable):
    """The server answered, but not with what was asked for."""

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


def http_client(url: str, timing: Timing, token: str = "") -> httpx.Client:
    """Return a client that follows nothing by itself and asks no proxy of the environment."""
    headers = {"accept-encoding": "identity", "user-agent": "faultline"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    timeout = httpx.Timeout(timing.answer_s, connect=timing.connect_s)
    return httpx.Client(
        headers=headers, timeout=timeout, verify=trust(url), follow_redirects=False, trust_env=False
    )


def origin_of(url: httpx.URL) -> tuple[str, str, int]:
    """Return scheme, host and port: where credentials may go."""
    port = url.port or {"https": 443}.get(url.scheme, 80)
    return (url.scheme, url.host, port)


def open_stream(
    http: httpx.Client, url: httpx.URL, headers: dict[str, str], timing: Timing
) -> httpx.Response:
    """GET an event stream and return the open answer.

    Raises SourceStopped for 204, Refused for any other answer that is no event stream, Unavailable
    if there is none.
    """
    timeout = httpx.Timeout(timing.silence_s, connect=timing.connect_s)
    named = {"accept": "text/event-stream", "cache-control": "no-store"} | headers
    asked = [(name.encode(), value.encode()) for name, value in named.items()]
    for _ in range(redirects_max + 1):
        try:
            request = http.build_request("GET", url, headers=asked, timeout=timeout)
            response = http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise Unavailable(f"no answer from {shown(url)}: {type(error).__name__}") from None
        if response.status_code not in _REDIRECTS:
            return _checked(response, url)
        response.close()
        url = _redirected(url, response)
    raise Refused(f"{shown(url)}: more than {redirects_max} redirects", status=302)


def _redirected(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    try:
        target = url.join(response.headers.get("location", ""))
    except (httpx.InvalidURL, ValueError):
        target = httpx.URL("")
    if origin_of(target) != origin_of(url) or "location" not in response.headers:
        raise Refused(
            f"{shown(url)}: redirected to another origin, which is not followed; "
            "configure that address if it is right",
            status=response.status_code,
        )
    return target


def _checked(response: httpx.Response, url: httpx.URL) -> httpx.Response:
    status = response.status_code
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    encoded = response.headers.get("content-encoding", "identity").lower() != "identity"
    if status == 200 and kind == "text/event-stream" and not encoded:
        return response
    response.close()
    if status == 204:
        raise SourceStopped(f"{shown(url)}: the server ended the stream for good (204)")
    raise refused(response, url)


def refused(response: httpx.Response, url: httpx.URL) -> Refused:
    """Return what an unexpected answer means, with the time that it asks to wait."""
    status = response.status_code
    kind = response.headers.get("content-type", "")[:60]
    advice = {
        200: f"expected content type text/event-stream, got {kind!r}: is this the right address?",
        401: "not authorised: check the token",
        403: "not allowed: check the token's rights",
        404: "nothing there: check the path",
        405: "this server has no stream: a stateless MCP server cannot be followed",
    }
    return Refused(
        f"{shown(url)}: {status}, {advice.get(status, 'expected an event stream')}",
        status=status,
        retry_after_s=retry_after(response.headers),
    )


def retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds of `Retry-After`, given as seconds or as a date; None if it says none."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with contextlib.suppress(TypeError, ValueError):
        until = email.utils.parsedate_to_datetime(text)
        sent = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - sent) / dt.timedelta(seconds=1))
    return None


def shown(url: httpx.URL) -> str:
    """Return an address for logs: without user, password and query, which may hold secrets."""
    return str(url.copy_with(username=None, password=None, query=None))


class EventStream(Generic[T]):
    """What one open answer says. Read from one thread; `close` wakes it."""

    def __init__(self, response: httpx.Response, parser: Decoder[T]) -> None:
        self.parser = parser
        self.bytes_seen = 0
        self._response = response
        self._ready: deque[T] = deque()
        self._chunks: queue.Queue[bytes | Exception] = queue.Queue(chunks_max)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name="faultline-stream", daemon=True)
        self._thread.start()

    def next(self, timeout_s: float) -> T | None:
        """Return the next event, or None if none came within the time.

        Raises StreamEnded when the stream is over and everything it brought has been returned,
        Unavailable if it broke, and TooLarge for an event over the limit.
        """
        while not self._ready:
            try:
                chunk = self._chunks.get(timeout=timeout_s)
            except queue.Empty:
                return None
            if isinstance(chunk, Exception):
                self.parser.end()
                raise chunk
            self.bytes_seen += len(chunk)
            self._ready.extend(self.parser.feed(chunk))
            if not self._ready:
                return None  # a comment, or a part: the caller looks at its clock
        return self._ready.popleft()

    def close(self) -> None:
        """End the stream and its thread."""
        self._closing.set()
        with contextlib.suppress(Exception):
            network: Any = self._response.extensions["network_stream"]
            network.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        with contextlib.suppress(Exception):
            self._response.close()

    def _read(self) -> None:
        end: Exception = StreamEnded("the stream ended")
        try:
            for chunk in self._response.iter_raw():
                if not self._hand_on(chunk):
                    return
        except httpx.ReadTimeout:
            end = Unavailable("the stream was silent for too long")
        except Exception as error:
            end = Unavailable(f"the stream broke: {type(error).__name__}")
        self._hand_on(end)

    def _hand_on(self, what: bytes | Exception) -> bool:
        while not self._closing.is_set():
            with contextlib.suppress(queue.Full):
                self._chunks.put(what, timeout=0.2)
                return True
        return False
