"""Secrets out, before anything is written: the one gate in front of events, records and messages.

A secret becomes `[REDACTED:<kind>:<4 hex>]`. Within one incident the same secret has the same four
digits, in another incident others; what has passed the gate passes it again unchanged. If the gate
itself fails, nothing passes: the content is replaced by a marker (fails closed).

Where secrets stand in text is found by `text.py` with the shapes of `shapes.toml`; which fields of
an object are secret is known by `objects.py`. Public certificates, digests, UIDs, names and
addresses stay: without them the evidence is worthless.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from faultline.redact import text as finder
from faultline.redact.blocks import Span
from faultline.redact.documents import dump_json, dump_yaml, load_yaml
from faultline.redact.objects import Structure

SUPPRESSED = "[REDACTED:suppressed:0000] the content could not be checked for secrets"

# with the size that structure leaves beside it: it is no secret either
_MARKER = re.compile(rb"\[REDACTED:[a-z-]{2,24}:[0-9a-f]{4}\](?: [0-9]+ bytes)?")
_ROUNDS_MAX = 8
_SHORT, _SEEN_MAX = 256, 4_096  # texts of objects, which say the same again and again


class Redactor:
    """Takes secrets out of everything that belongs to one incident.

    `salt` is the incident's id. `known` are secrets of our own: they go wherever they stand, plain,
    in base64, percent-encoded or in hex. `suppressed` counts what had to be left out.
    """

    def __init__(
        self,
        salt: str = "",
        *,
        known: Iterable[str] = (),
        rules: Sequence[finder.Rule] | None = None,
    ) -> None:
        self._salt = b"faultline\n" + salt.encode("utf-8", "surrogatepass")
        self._known = tuple(
            sorted({f for k in known if len(k) >= 6 for f in _forms(k)}, key=len)[::-1]
        )
        self._rules = rules
        self._seen: dict[str, str] = {}
        self.suppressed = 0

    def text(self, text: str) -> str:
        """Return the text without secrets."""
        try:
            return self._text(text)
        except Exception:  # whatever it was: nothing passes
            self.suppressed += 1
            return SUPPRESSED

    def data(self, data: bytes) -> bytes:
        """Return UTF-8 text without secrets; what is not UTF-8 in it is replaced."""
        return self.text(data.decode("utf-8", "replace")).encode("utf-8", "replace")

    def object(self, value: Any) -> Any:
        """Return a JSON value without secrets: by Kubernetes' structure, and text."""
        try:
            return Structure(self._mark, self._again).clean(value)
        except Exception:
            self.suppressed += 1
            return SUPPRESSED

    def file(self, name: str, data: bytes) -> bytes:
        """Return a file of a capsule without secrets: JSON and YAML by structure, the rest as text.

        A file without secrets comes back byte for byte. One that says it is JSON or YAML and is not
        is read as text.
        """
        text = data.decode("utf-8", "replace")
        try:
            return self._file(name, text).encode("utf-8", "replace")
        except Exception:
            self.suppressed += 1
            return SUPPRESSED.encode()

    def _file(self, name: str, text: str) -> str:
        ending = name.rsplit(".", 1)[-1].lower()
        if ending in ("json", "yaml", "yml"):
            try:
                values = [json.loads(text)] if ending == "json" else load_yaml(text)
            except ValueError:
                return self._text(text)
            cleaned = [Structure(self._mark, self._again).clean(value) for value in values]
            if cleaned == values:
                return text
            return dump_json(cleaned[0]) if ending == "json" else dump_yaml(*cleaned)
        if ending == "jsonl":
            return "".join(self._line(line) for line in text.splitlines(keepends=True))
        return self._text(text)

    def _line(self, line: str) -> str:
        try:
            value = json.loads(line)
        except ValueError:
            return self._text(line)
        cleaned = Structure(self._mark, self._again).clean(value)
        return line if cleaned == value else json.dumps(cleaned, ensure_ascii=False) + "\n"

    def _again(self, text: str) -> str:
        """Do `_text`; of short texts the answers are kept."""
        if len(text) > _SHORT:
            return self._text(text)
        known = self._seen.get(text)
        if known is None:
            if len(self._seen) >= _SEEN_MAX:
                self._seen.clear()
            known = self._seen[text] = self._text(text)
        return known

    def _text(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        for secret in self._known:
            data = data.replace(secret, self._stamp("known", secret))
        where: finder.Places | None = None
        for _ in range(_ROUNDS_MAX):
            done, where = self._round(data, where)
            if done == data:
                return text if done == text.encode("utf-8", "surrogatepass") else _decode(done)
            data = done
        raise RuntimeError("expected redaction to come to rest")

    def _round(self, data: bytes, where: finder.Places | None) -> tuple[bytes, finder.Places]:
        """Replace what is found once. Markers are blind spots: nothing in them is a secret."""
        marked = b"[REDACTED:" in data
        markers = [match.span() for match in _MARKER.finditer(data)] if marked else []
        visible = _MARKER.sub(lambda match: b"\0" * len(match[0]), data) if markers else data
        where = finder.places(visible, self._rules) if where is None else where
        parts, position, cuts = [], 0, []
        for start, end, kind in _outside(finder.find(visible, self._rules, where), markers):
            stamp = self._stamp(kind, data[start:end])
            parts += [data[position:start], stamp]
            cuts.append((start, end, len(stamp)))
            position = end
        return b"".join([*parts, data[position:]]), finder.moved(where, cuts)

    def _mark(self, kind: str, secret: str) -> str:
        return self._stamp(kind, secret.encode("utf-8", "surrogatepass")).decode("ascii")

    def _stamp(self, kind: str, secret: bytes) -> bytes:
        digest = hmac.new(self._salt, secret, hashlib.sha256).hexdigest()[:4]
        return f"[REDACTED:{kind}:{digest}]".encode("ascii")


def redact(text: str) -> str:
    """Return the text without secrets, with an empty salt."""
    return Redactor().text(text)


def redact_bytes(data: bytes) -> bytes:
    """Return UTF-8 text without secrets, with an empty salt."""
    return Redactor().data(data)


def redact_object(value: Any) -> Any:
    """Return a JSON value without secrets, with an empty salt."""
    return Redactor().object(value)


def redact_file(name: str, data: bytes) -> bytes:
    """Return a file of a capsule without secrets, with an empty salt."""
    return Redactor().file(name, data)


def tally(data: bytes) -> Counter[str]:
    """Count the markers in a text, by kind: what was taken out of it, once it passed the gate."""
    return Counter(marker.split(b":")[1].decode("ascii") for marker in _MARKER.findall(data))


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _forms(secret: str) -> Iterable[bytes]:
    plain = secret.encode("utf-8", "surrogatepass")
    encoded = base64.b64encode(plain)
    return (plain, encoded, encoded.rstrip(b"="), base64.urlsafe_b64encode(plain),
            plain.hex().encode(), quote(secret, safe="").encode())  # fmt: skip


def _outside(spans: Sequence[Span], markers: Sequence[tuple[int, int]]) -> Iterable[Span]:
    """Yield the parts of spans that no marker covers. Both are sorted."""
    index = 0
    for start, end, kind in spans:
        while index < len(markers) and markers[index][1] <= start:
            index += 1
        at, here = start, index
        while here < len(markers) and markers[here][0] < end:
            if markers[here][0] > at:
                yield at, markers[here][0], kind
            at, here = max(at, markers[here][1]), here + 1
        if end > at:
            yield at, end, kind
