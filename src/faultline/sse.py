"""Bytes to server-sent events, by the rules of the WHATWG HTML standard, section 9.2. Pure.

The result never depends on where the bytes were cut. Connections, statuses and waiting are
`bridge/stream.py`'s. There is no limit on a line, but one on what an event may hold in memory.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from faultline.errors import TooLarge
from faultline.limits import sse_event_bytes_max

_LINE_END = re.compile(rb"\r\n|\r|\n")
# an event as nearly every server writes it, whole: read at once, with the same outcome
_USUAL = re.compile(rb"(?:id: ?(.*+)\n)?+(?:event: ?(.*+)\n)?+data: ?(.*+)\n\n")
_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event: its type (`message` when none was named), data, and the last id at that moment."""

    type: str
    data: str
    id: str


class Parser:
    """Feed it the body of one answer. `last_id` is what a reconnect sends; empty: no header."""

    def __init__(
        self,
        *,
        last_id: str = "",
        retry_ms: int | None = None,
        bytes_max: int = sse_event_bytes_max,
    ) -> None:
        self.last_id = last_id
        self.retry_ms = retry_ms
        self._bytes_max = bytes_max
        self._partial: list[bytes] = []  # the line that has not ended
        self._partial_bytes = 0
        self._after_cr = False  # a LF that comes next belongs to the CR before it
        self._first_line = True
        self._too_large = False
        self._reset()

    def _reset(self) -> None:
        self._id = self.last_id
        self._type = ""
        self._data: list[str] = []
        self._bytes = 0

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that this chunk completes, in order.

        Raises TooLarge once an unfinished event exceeds the limit; what was complete before it in
        the same chunk is returned first. After that the parser is of no more use.
        """
        if self._too_large:
            raise self._refusal()
        events: list[ServerSentEvent] = []
        start = 0
        if self._after_cr and chunk:
            self._after_cr = False
            start = 1 if chunk[0] == 0x0A else 0
        plain = b"\r" not in chunk
        while not self._too_large:
            if plain and not (self._bytes or self._partial or self._first_line):
                start = self._usual(chunk, start, events)
            end, following = _line_end(chunk, start, plain)
            if end < 0:
                self._keep(chunk[start:])
                break
            line = self._take(chunk[start:end])
            start = following
            self._after_cr = start == len(chunk) and chunk[-1] == 0x0D
            if event := self._line(line):
                events.append(event)
        if self._too_large and not events:
            raise self._refusal()
        return events

    def _usual(self, chunk: bytes, start: int, events: list[ServerSentEvent]) -> int:
        """Read the events that are whole and usual, one after the other; return where they end."""
        while usual := _USUAL.match(chunk, start, start + self._bytes_max):
            id, type, data = usual.groups()
            if id is not None:
                if b"\0" in id:
                    break
                self.last_id = self._id = id.decode("utf-8", "replace")
            name = type.decode("utf-8", "replace") if type else "message"
            events.append(ServerSentEvent(name, data.decode("utf-8", "replace"), self.last_id))
            start = usual.end()
        return start

    def end(self) -> list[ServerSentEvent]:
        """The stream is over: an unfinished event is discarded, with its id."""
        self._partial, self._partial_bytes = [], 0
        self._reset()
        return []

    def _refusal(self) -> TooLarge:
        return TooLarge(
            f"expected an event of at most {self._bytes_max} bytes, got more without an end; "
            "the stream is read anew"
        )

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._partial.append(rest)
            self._partial_bytes += len(rest)
            if len(self._partial) >= 1024:  # byte by byte: do not keep an object for each
                self._partial = [b"".join(self._partial)]
        self._too_large |= self._bytes + self._partial_bytes > self._bytes_max

    def _take(self, rest: bytes) -> bytes:
        if self._partial:
            rest = b"".join((*self._partial, rest))
            self._partial, self._partial_bytes = [], 0
        if self._first_line:
            self._first_line = False
            rest = rest.removeprefix(_BOM)
        return rest

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        if line[0] == 0x3A:  # a comment
            return None
        name, _, value = line.partition(b":")
        self._bytes += len(line)
        if self._bytes > self._bytes_max:
            self._too_large = True
            return None
        self._field(name, value.removeprefix(b" ").decode("utf-8", "replace"))
        return None

    def _field(self, name: bytes, value: str) -> None:
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value
        elif name == b"id" and "\0" not in value:
            self._id = value
        elif name == b"retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value) if len(value) <= 15 else 10**15

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_id = self._id
        event = None
        if self._data:
            event = ServerSentEvent(self._type or "message", "\n".join(self._data), self.last_id)
        self._reset()
        return event


def _line_end(chunk: bytes, start: int, plain: bool) -> tuple[int, int]:
    """Return where the line ends and where the next one begins; -1 if it does not end here."""
    if plain:  # no carriage return anywhere: much faster than a pattern
        end = chunk.find(b"\n", start)
        return end, end + 1
    match = _LINE_END.search(chunk, start)
    return match.span() if match else (-1, -1)
