"""Evidence: a quote with its place in a capsule, and whether it really stands there. Pure.

Offsets count bytes of the file as it is in the capsule; lines count from 1. What evidence says is
for `diagnosis` and people; the form is `model.Evidence`.
"""

from __future__ import annotations

from typing import Protocol

from faultline.model import Evidence


class Readable(Protocol):
    """A capsule, as far as it matters here (`capsule.Capsule`)."""

    def read(self, name: str) -> bytes:
        """Return one file; empty bytes if there is none."""
        ...


def quote(capsule: Readable, file: str, text: str, *, after: int = 0) -> Evidence | None:
    """Return evidence for `text` in `file`, at the first place from byte `after` on.

    None if it does not stand there to the byte, or is empty.
    """
    data, wanted = capsule.read(file), text.encode("utf-8", "surrogatepass")
    start = data.find(wanted, max(0, after)) if wanted else -1
    return _placed(data, file, text, start, start + len(wanted)) if start >= 0 else None


def check(capsule: Readable, evidence: Evidence) -> Evidence | None:
    """Return the evidence with line and offsets filled in if its quote stands there, else None.

    With offsets it must stand exactly between them; with a line it must begin on it; with neither
    the first place counts.
    """
    if evidence.start >= 0 or evidence.end >= 0:
        data, wanted = capsule.read(evidence.file), evidence.quote.encode("utf-8", "surrogatepass")
        if not wanted or data[max(0, evidence.start) : evidence.end] != wanted:
            return None
        placed = _placed(data, evidence.file, evidence.quote, evidence.start, evidence.end)
        return placed if evidence.line in (0, placed.line) else None
    after = _start_of(capsule.read(evidence.file), evidence.line)
    found = quote(capsule, evidence.file, evidence.quote, after=after)
    return found if found and evidence.line in (0, found.line) else None


def _placed(data: bytes, file: str, text: str, start: int, end: int) -> Evidence:
    line = data.count(b"\n", 0, start) + 1
    return Evidence(file=file, quote=text, line=line, start=start, end=end)


def _start_of(data: bytes, line: int) -> int:
    """Return where a line begins; 0 if none was said."""
    start = 0
    for _ in range(line - 1):
        start = data.find(b"\n", start) + 1
        if start == 0:
            return len(data)
    return start
