"""A server of the Model Context Protocol (2025-06-18, streamable HTTP), asked for tools alone.

One request, one answer, as JSON or in a stream of events. What a server says unasked is not heard,
what it asks is not answered. Nothing is followed, no proxy of the environment is asked, and an
answer has a limit of time and of bytes. What may be asked is `mcp_tools.py`'s.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from faultline import __version__, strict_json
from faultline.adapters.trust import trust
from faultline.errors import Unavailable
from faultline.limits import mcp_pages_max, tool_read_bytes_max
from faultline.sse import Parser
from faultline.views import neutral

PROTOCOL = "2025-06-18"
_SPOKEN = (PROTOCOL, "2025-03-26")  # the older one asks nothing else of us
_BYE_S = 2.0
_SESSION = re.compile(r"[\x21-\x7e]{1,1024}")

Json = dict[str, Any]


class SessionLost(Unavailable):
    """The server does not know our session any more."""


class Server:
    """One server. A session begins with the first request, and once more when it was lost."""

    def __init__(self, url: str, token: str = "") -> None:
        import httpx

        who = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            headers={"Accept-Encoding": "identity", "User-Agent": "faultline"} | who,
            verify=trust(url),
            follow_redirects=False,
            trust_env=False,
        )
        self._url, self._number = url, 0
        self._session: dict[str, str] = {}  # headers that name it; empty: there is none

    def ask(self, method: str, params: Json, seconds: float) -> Json:
        """Return the result of a request. Raises Unavailable if there is none in time."""
        until = time.monotonic() + seconds
        if not self._session:
            self._begin(until)
        try:
            return self._request(method, params, until)
        except SessionLost:
            self._begin(until)
            return self._request(method, params, until)

    def tools(self, seconds: float) -> list[Json]:
        """Return the tools that the server has, page after page, as it tells of them."""
        until, found = time.monotonic() + seconds, list[Json]()
        cursor: Any = None
        for _ in range(mcp_pages_max):
            params = {"cursor": cursor} if cursor else {}
            page = self.ask("tools/list", params, until - time.monotonic())
            listed, cursor = page.get("tools"), page.get("nextCursor")
            if isinstance(listed, list):
                found += [one for one in listed if isinstance(one, dict)]
            if not isinstance(cursor, str) or not cursor:
                break
        return found

    def close(self) -> None:
        """Tell the server that the session is over; it need not hear that."""
        import httpx

        session, self._session = self._session, {}
        if session:
            bye = self._http.stream("DELETE", self._url, headers=session, timeout=_BYE_S)
            with suppress(httpx.HTTPError), bye:
                pass
        self._http.close()

    def _begin(self, until: float) -> None:
        self._session = {}
        client = {"name": "faultline", "version": __version__}
        about = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client}
        headers, result = self._sent(self._message("initialize", about), until)
        spoken = (result or {}).get("protocolVersion")
        if spoken not in _SPOKEN:
            raise Unavailable(f"expected a server of MCP {PROTOCOL}, it speaks another version")
        named = headers.get("mcp-session-id", "")
        session = {"mcp-session-id": named} if _SESSION.fullmatch(named) else {}
        self._session = {"mcp-protocol-version": spoken} | session
        self._sent({"jsonrpc": "2.0", "method": "notifications/initialized"}, until)

    def _request(self, method: str, params: Json, until: float) -> Json:
        return self._sent(self._message(method, params), until)[1] or {}

    def _message(self, method: str, params: Json) -> Json:
        self._number += 1
        return {"jsonrpc": "2.0", "id": f"q{self._number}", "method": method, "params": params}

    def _sent(self, message: Json, until: float) -> tuple[Any, Json | None]:
        """Post a message; return the headers of the answer and, for a request, its result."""
        import httpx

        seconds = until - time.monotonic()
        if seconds <= 0:
            raise Unavailable("the time for this answer is used up")
        asked = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
        }
        try:
            with self._http.stream(
                "POST",
                self._url,
                content=strict_json.dumps(message),
                headers=asked | self._session,
                timeout=seconds,
            ) as answer:
                self._check(answer.status_code)
                if "id" not in message:
                    return answer.headers, None
                kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
                chunks = bounded(answer.iter_raw(), until)
                return answer.headers, _result(kind, chunks, message["id"])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"the MCP server did not answer: {type(error).__name__}") from None

    def _check(self, status: int) -> None:
        if status == 404 and "mcp-session-id" in self._session:
            raise SessionLost("the MCP server does not know the session")
        if status not in (200, 202, 204):
            raise Unavailable(f"the MCP server answered {status}")


def bounded(chunks: Iterable[bytes], until: float) -> Iterator[bytes]:
    """Yield an answer as it comes. Raises Unavailable if it is too large, or takes too long."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > tool_read_bytes_max:
            raise Unavailable(f"an answer over {tool_read_bytes_max} bytes; ask for less")
        if time.monotonic() > until:
            raise Unavailable("the MCP server had no whole answer in time")
        yield chunk


def events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the data of server-sent events, each once it is whole."""
    parser = Parser(bytes_max=tool_read_bytes_max)
    for chunk in chunks:
        yield from (event.data.encode() for event in parser.feed(chunk))


def _result(kind: str, chunks: Iterable[bytes], wanted: str) -> Json:
    """Return the result in an answer to this request. Raises Unavailable for an error."""
    if kind not in ("application/json", "text/event-stream"):
        raise Unavailable("expected JSON or a stream of events from the MCP server")
    texts = events(chunks) if kind == "text/event-stream" else [b"".join(chunks)]
    for text in texts:
        message = _parsed(text)
        if message.get("id") == wanted and "method" not in message:
            return _told(message)
    raise Unavailable("expected an answer to what the MCP server was asked, there is none")


def _parsed(text: bytes) -> Json:
    try:
        message = strict_json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _told(message: Json) -> Json:
    error, result = message.get("error"), message.get("result")
    if isinstance(result, dict) and error is None:
        return result
    words = error.get("message") if isinstance(error, dict) else ""
    raise Unavailable(f"the MCP server says: {neutral.one_line(str(words))}")
