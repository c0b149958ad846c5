"""What an agent asked and was told, line by line, in a chain of hashes: `tools.jsonl`. Pure but for
the file it writes; and the model's own answers, `model.jsonl`.

Every line holds the hash of the one before it and its own, over everything else in it; the last one
says how many there were. So a byte that was changed, and a line that is missing, is noticed
(`broken`). A record is also something to answer from: `Recorded` gives the answers again, in order,
and invents none.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from faultline import strict_json
from faultline.errors import Rejected

Json = dict[str, Any]

ANSWERED, REFUSED, REPEATED = "answered", "refused", "repeated"
LIMITED, FAILED, UNRECORDED = "limited", "failed", "not recorded"
NOT_RECORDED = "not recorded: nobody asked this when the record was made"
_FIRST = hashlib.sha256(b"faultline tools").hexdigest()


class Chain:
    """Writes lines to a file, each tied to the one before. `close` writes the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before, self.lines, self.bytes = _FIRST, 0, 0

    def add(self, entry: Mapping[str, Any]) -> None:
        line = {"n": self.lines + 1, **entry, "previous": self._before}
        line["sha256"] = self._before = _digest(line)
        data = strict_json.dumps(line) + b"\n"
        with self._path.open("ab") as file:
            file.write(data)
        self.lines += 1
        self.bytes += len(data)

    def close(self) -> None:
        self.add({"closed": self.lines})


def broken(data: bytes) -> str:
    """Say what is wrong with a record; "" if it is whole: every line as written, and the last."""
    before, number, line = _FIRST, 0, Json()
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            line = strict_json.loads(raw)
            said = line["sha256"]
            whole = {name: value for name, value in line.items() if name != "sha256"}
            right = strict_json.dumps(line) == raw and said == _digest(whole)
        except (ValueError, LookupError, TypeError, AttributeError):
            right = False
        if not right or line["previous"] != before or line["n"] != number:
            return f"line {number} is not as it was written"
        before = line["sha256"]
    if line.get("closed") != number - 1 or not data.endswith(b"\n"):
        return "its end is missing"
    return ""


def entries(data: bytes) -> Iterator[Json]:
    """Yield the lines of a record, the last one not. Raises Rejected unless it is whole."""
    if reason := broken(data):
        raise Rejected(f"expected a record as an agent left it, but {reason}")
    lines = [strict_json.loads(raw) for raw in data.splitlines()]
    yield from lines[:-1]


def key(tool: str, arguments: Any) -> str:
    """Return what makes two questions the same one."""
    return json.dumps([tool, arguments], sort_keys=True, ensure_ascii=True, default=str)


class Recorded:
    """The answers of a record, by question. What was not asked then has none, and is counted."""

    def __init__(self, data: bytes) -> None:
        self._answers: dict[str, deque[Json]] = defaultdict(deque)
        self.unrecorded = 0
        for entry in entries(data):
            if entry["outcome"] not in (ANSWERED, FAILED):
                continue  # rules decided that, and decide it again
            self._answers[key(entry["tool"], entry["arguments"])].append(entry)

    def answer(self, tool: str, arguments: Any) -> tuple[str, str]:
        """Return the outcome and the answer; the last answer to a question is kept for ever."""
        found = self._answers.get(key(tool, arguments))
        if not found:
            self.unrecorded += 1
            return UNRECORDED, NOT_RECORDED
        entry = found.popleft() if len(found) > 1 else found[0]
        return str(entry["outcome"]), str(entry["answer"])


def _digest(line: Mapping[str, Any]) -> str:
    return hashlib.sha256(strict_json.dumps(line)).hexdigest()
