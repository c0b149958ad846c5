"""Find secrets that no keyword leads to: tokens by their digits, keys and Secrets as blocks.

Pure, like `text.py`, which asks for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int, str]  # start, end, kind

_HEX40 = re.compile(rb"[0-9a-fA-F]{40}(?![0-9A-Za-z])")
_HEX = bytes.maketrans(b"0123456789abcdefABCDEF", b"0" * 22)


def mixed_hex(data: bytes) -> Iterator[Span]:
    """40 hex digits in both cases at once: a token. Commits and digests keep to one case."""
    if b"0" * 40 not in data.translate(_HEX):
        return
    for match in _HEX40.finditer(data):
        text = match[0]
        before = data[max(0, match.start() - 1) : match.start()]
        if text.lower() != text and text.upper() != text and not before.isalnum():
            yield (*match.span(), "secret")


_KEY_BEGIN = re.compile(rb"-----BEGIN[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----")
_KEY_END = re.compile(rb"KEY(?: BLOCK)?-----")
_KEY_REST = re.compile(rb"(?:[A-Za-z0-9+/=]{16,}|[\s:,\"'|-]|\\{1,4}[rn])*+")


def private_keys(data: bytes) -> Iterator[Span]:
    """Private keys in PEM, whole; what is left of one that was cut off, as far as it looks so."""
    if b"PRIVATE KEY" not in data:
        return
    position = 0
    while begin := _KEY_BEGIN.search(data, position):
        end = _KEY_END.search(data, begin.end())
        if end is None and (rest := _KEY_REST.match(data, begin.end())):
            end = rest
        position = end.end() if end else begin.end()
        yield (begin.start(), position, "private-key")


_SECRET_KIND = re.compile(
    rb"(?i)\bkind(?:\\*[\"'])?:(?:[\s\"']|\\{1,4}[ntr\"']){0,12}+secret(?![a-z])"
)
_SECRET_DATA = re.compile(rb"(?i)(?<![a-z])(?:string)?data(?:\\*[\"'])?:")
_SECRET_PAIR = re.compile(
    rb"(?P<name>[\w.-]{1,253}(?:\\*[\"'])?:(?:[\s\"']|\\{1,4}[ntr\"']){0,24}+)"
    rb"(?P<s>\{\{[^{}]{1,80}\}\}|[A-Za-z0-9+/]{2,}={0,3})"
)
_MANIFEST_BYTES = 16 * 1024
_BOUNDARY = re.compile(rb"\n---|(?i:\bkind)(?:\\*[\"'])?:")


def secret_manifests(data: bytes) -> Iterator[Span]:
    """Values under `data:` where a text holds a Secret as somebody printed it.

    An object reaches from its neighbour's `kind` or a document's end to the next such.
    """
    lower = data.lower()
    if b"kind" not in lower or b"secret" not in lower or b"data" not in lower:
        return
    marks = [match.span() for match in _BOUNDARY.finditer(data)]
    for before, (start, end), after in zip(
        [(0, 0), *marks], marks, [*marks[1:], (len(data), len(data))], strict=False
    ):
        if _SECRET_KIND.match(data, start):
            yield from _manifest_values(data, max(before[1], start - _MANIFEST_BYTES), start)
            yield from _manifest_values(data, end, min(after[0], end + _MANIFEST_BYTES))


def _manifest_values(data: bytes, start: int, end: int) -> Iterator[Span]:
    opening = _SECRET_DATA.search(data, start, end)
    if opening is None:
        return
    for pair in _SECRET_PAIR.finditer(data, opening.end(), end):
        line = data[pair.start("name") : pair.end("name")].lower()
        if not line.startswith((b"name", b"kind", b"apiversion", b"type", b"metadata", b"uid")):
            yield (*pair.span("s"), "secret-data")
