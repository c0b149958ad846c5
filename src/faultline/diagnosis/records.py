"""What happened, as the capsule tells it: events, log excerpts, series, rollouts, to be cited.

Files: `context/k8s-events.json`, and beside it `logs.txt`, `metrics.json` and `changes.json`. A
record of another shape than expected is left out. Objects are `facts.py`.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from faultline.diagnosis.documents import (
    QUOTE_CHARS_MAX,
    Source,
    at,
    items,
    json_items,
    mapping,
    number,
    text,
)
from faultline.diagnosis.quantities import MIB, when
from faultline.model import Evidence

EVENTS = "context/k8s-events.json"
LOGS = "context/logs.txt"
METRICS = "context/metrics.json"
CHANGES = "context/changes.json"

_SECTION = re.compile(r"^==> ([^/\n ]+)/([^\n ]+) \((current|previous)\) <==[^\n]*\n", re.MULTILINE)
_UNIT = {
    "": 1,
    "b": 1,
    "byte": 1,
    "bytes": 1,
    "kib": 1024,
    "mib": MIB,
    "gib": 1024 * MIB,
    "mb": 1e6,
}


@dataclass(frozen=True)
class Happening:
    """A Kubernetes Event. We say happening, because an event of ours is something else."""

    source: Source
    span: tuple[int, int]
    reason: str
    message: str
    kind: str  # of the object it is about
    name: str
    field_path: str  # such as spec.containers{app}
    type: str  # Normal, Warning
    count: int
    at: dt.datetime | None

    def cite(self) -> Evidence | None:
        """Quote the message as the file writes it."""
        for ascii_only in (False, True):
            written = json.dumps(self.message, ensure_ascii=ascii_only)[1:-1][:QUOTE_CHARS_MAX]
            if found := self.source.find(written, *self.span):
                return found
        return None


def happenings(source: Source) -> Iterator[Happening]:
    for value, start, end in json_items(source, "items"):
        about = mapping(value.get("involvedObject") or value.get("regarding"))
        times = ("lastTimestamp", "eventTime", "firstTimestamp")
        yield Happening(
            source=source,
            span=(start, end),
            reason=text(value.get("reason")),
            message=text(value.get("message") or value.get("note")),
            kind=text(about.get("kind")),
            name=text(about.get("name")),
            field_path=text(about.get("fieldPath")),
            type=text(value.get("type")),
            count=max(number(value.get("count")), number(at(value, "series.count")), 1),
            at=next((t for t in (when(value.get(k)) for k in times) if t), None),
        )


@dataclass(frozen=True)
class LogSection:
    """The excerpt of one container."""

    source: Source
    pod: str
    container: str
    previous: bool
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def search(self, pattern: re.Pattern[str]) -> tuple[re.Match[str], Evidence] | None:
        """Return the last line that matches, with its evidence: the whole line."""
        found = None
        place = self.start
        for line in self.text.splitlines(keepends=True):
            if match := pattern.search(line[:2000].rstrip()):
                found = match, place, place + len(line.rstrip())
            place += len(line)
        return (found[0], self.source.cite(found[1], found[2])) if found else None


def sections(source: Source) -> Iterator[LogSection]:
    heads = list(_SECTION.finditer(source.text))
    ends = [*(head.start() for head in heads[1:]), len(source.text)]
    for head, end in zip(heads, ends, strict=False):
        yield LogSection(source, head[1], head[2], head[3] == "previous", head.end(), end)


@dataclass(frozen=True)
class Series:
    """One series of measurements; sizes in bytes whatever the file's unit."""

    source: Source
    span: tuple[int, int]
    name: str
    labels: dict[str, Any]
    points: tuple[tuple[float, float], ...]  # Unix time, value
    raw: tuple[str, ...]  # the values as the file has them

    @property
    def is_memory(self) -> bool:
        name = self.name.lower()
        return "memory" in name and not re.search(r"limit|request|node|fail|quota", name)

    def cite(self, index: int) -> Evidence | None:
        """Quote the point with this index."""
        begin, end = self.span
        pattern = re.compile(rf'\[\s*([0-9.eE+]+)\s*,\s*"?{re.escape(self.raw[index])}"?\s*\]')
        for match in pattern.finditer(self.source.text, begin, end):
            if float(match[1]) == self.points[index][0]:
                return self.source.cite(match.start(), match.end())
        return None


def series(source: Source) -> Iterator[Series]:
    for value, start, end in json_items(source, "series"):
        factor = _UNIT.get(text(value.get("unit")).strip().lower(), 1)
        raw = [p for p in value.get("points") or () if _is_point(p)] if _listed(value) else []
        raw.sort(key=lambda p: float(p[0]))
        yield Series(
            source=source,
            span=(start, end),
            name=text(value.get("name")) or text(value.get("query")),
            labels=mapping(value.get("labels")),
            points=tuple((float(p[0]), float(p[1]) * factor) for p in raw),
            raw=tuple(p[1] if isinstance(p[1], str) else json.dumps(p[1]) for p in raw),
        )


def _listed(value: dict[str, Any]) -> bool:
    return isinstance(value.get("points"), list)


def _is_point(value: Any) -> bool:
    try:
        return len(value) == 2 and all(math.isfinite(float(v)) for v in value)
    except (TypeError, ValueError, OverflowError):
        return False


@dataclass(frozen=True)
class Difference:
    """One field that a rollout changed."""

    source: Source
    span: tuple[int, int]
    field: str
    before: Any
    after: Any

    def cite(self) -> Evidence | None:
        return self.source.find(json.dumps(self.field, ensure_ascii=False)[1:-1], *self.span)


@dataclass(frozen=True)
class Rollout:
    """A workload's template became another one."""

    workload: str
    revision: int
    previous: int
    at: dt.datetime | None
    differences: tuple[Difference, ...]


def rollouts(source: Source) -> Iterator[Rollout]:
    for value, start, end in json_items(source, "rollouts"):
        yield Rollout(
            workload=text(value.get("workload")) or text(at(value, "workload.name")),
            revision=_revision(value.get("revision")),
            previous=_revision(value.get("previous")),
            at=when(value.get("at")),
            differences=tuple(
                Difference(
                    source, (start, end), text(d.get("field")), d.get("before"), d.get("after")
                )
                for d in items(value.get("differences"))
            ),
        )


def _revision(value: Any) -> int:
    digits = text(value)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
