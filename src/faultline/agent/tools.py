"""Answers to what a model asks: over the capsule's objects, a live cluster, or a record of one.

Every question is counted, checked (`questions.py`), answered, redacted, made visible, cut and put
on record, in this order, whatever the model says. The answer is text between fences that carry the
run's own nonce. Nothing here writes but to the record.
"""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from faultline.agent import record
from faultline.agent.dialects import Call, Tool
from faultline.agent.questions import checked, offered
from faultline.errors import FaultlineError, Rejected
from faultline.limits import (
    tool_answer_bytes_max,
    tool_calls_max,
    tool_calls_per_minute,
    tool_read_s_max,
    tool_repeats_max,
    tools_record_bytes_max,
)
from faultline.redact import Redactor
from faultline.views import neutral

_MINUTE_S = 60.0
_STUCK = 4  # questions in a row that were asked before: it goes in circles
_CHARS_MAX = 2_000  # of one string among the arguments, on record
_DEPTH_MAX = 6
_MARK_BYTES = 100  # of what stands for the part that was cut out


class Answers(Protocol):
    """Who knows. Raises Rejected for what may not be seen, Unavailable for what does not answer."""

    def answer(self, tool: str, arguments: dict[str, Any]) -> str:
        """Return the answer as text, without secrets."""
        ...


class Tools:
    """The only way for a model to learn more. `clock` counts seconds, `sleep` waits some."""

    def __init__(
        self,
        answers: Answers,
        chain: record.Chain,
        redactor: Redactor,
        nonce: str,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        recorded: record.Recorded | None = None,
        local: frozenset[str] = frozenset(),
        others: Sequence[Tool] = (),
    ) -> None:
        """`recorded` answers for whoever knows; `local` are tools that need no record.

        `others` are tools beside our own questions (`mcp_tools.py`).
        """
        self._answers, self._chain, self._redactor, self._nonce = answers, chain, redactor, nonce
        self._clock, self._sleep = clock, sleep
        self._recorded, self._local = recorded, local
        self._others = [tool.name for tool in others]
        self.offered = (*offered(), *others)
        self._asked: Counter[str] = Counter()
        self._times: deque[float] = deque(maxlen=tool_calls_per_minute)
        self._circling = 0
        self._began = 0.0
        self.calls = 0
        self.asked: list[str] = []  # what was answered, for the report
        self.outcomes: Counter[str] = Counter()

    @property
    def exhausted(self) -> bool:
        """Is there no sense in asking on? Then the model has to answer."""
        return (
            self.calls >= tool_calls_max
            or self._circling >= _STUCK
            or self._chain.bytes >= tools_record_bytes_max
        )

    def left(self) -> float:
        """Return the seconds that the answer under way may still take."""
        return self._began + tool_read_s_max - self._clock()

    def ask(self, call: Call) -> str:
        """Put one question of the model; return what it gets to read, between fences."""
        self._pace()
        self._began = self._clock()
        self.calls += 1
        arguments = self._redactor.object(plain(call.arguments))
        outcome, text = self._answered(call.name, arguments)
        shown = neutral.fenced_by(self._nonce, self._redactor.text(text))
        entry = {
            "at": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds"),
            "tool": neutral.one_line(call.name, 80),
            "arguments": arguments,
            "outcome": outcome,
            "answer": cut(shown),
        }
        entry = self._redactor.object(entry)  # as the gate of the results will see it once more
        self._chain.add(entry)
        self.outcomes[outcome] += 1
        if outcome == record.ANSWERED:
            words = json.dumps(entry["arguments"], ensure_ascii=False, sort_keys=True)
            self.asked.append(f"{entry['tool']} {words}")
        known = any(call.name == tool.name for tool in self.offered)
        origin = call.name if known else "no tool of ours"
        return fenced(self._nonce, f"{origin}: {outcome}", entry["answer"])

    def _pace(self) -> None:
        if len(self._times) == tool_calls_per_minute:
            wait_s = self._times[0] + _MINUTE_S - self._clock()
            if wait_s > 0:
                self._sleep(wait_s)
        self._times.append(self._clock())

    def _answered(self, tool: str, arguments: Any) -> tuple[str, str]:
        if self.calls > tool_calls_max or self._chain.bytes >= tools_record_bytes_max:
            return record.LIMITED, "no more questions: this run has used up its answers"
        question = record.key(tool, arguments)
        self._asked[question] += 1
        if self._asked[question] > tool_repeats_max:
            self._circling += 1
            return record.REPEATED, "asked before: the answer stands above and will not change"
        self._circling = 0
        try:
            wanted = checked(tool, arguments, self._others)
        except Rejected as error:
            return record.REFUSED, f"refused: {error}"
        if self._recorded and tool not in self._local:
            return self._recorded.answer(tool, arguments)
        try:
            return record.ANSWERED, self._answers.answer(tool, wanted)
        except Rejected as error:
            return record.REFUSED, f"refused: {error}"
        except FaultlineError as error:
            return record.FAILED, f"no answer: {error}"


def fenced(nonce: str, origin: str, text: str) -> str:
    """Return text of others as a block that it cannot leave; `text` holds no such fence."""
    return f"<<<untrusted {nonce} {origin}>>>\n{text}\n<<<end {nonce}>>>"


def cut(text: str, most: int = tool_answer_bytes_max) -> str:
    """Return at most this many bytes of text: its beginning and its end, and what is missing."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return text
    room = most - _MARK_BYTES  # so that what was cut once is not cut again in a replay
    head, tail = data[: room // 4], data[-(room - room // 4) :]
    missing = len(data) - len(head) - len(tail)
    mark = f"\n...[cut: {missing} of {len(data)} bytes left out here; ask for less at once]...\n"
    return head.decode("utf-8", "ignore") + mark + tail.decode("utf-8", "ignore")


def plain(value: Any, depth: int = 0) -> Any:
    """Return what a model sent as a JSON value that is safe to keep: visible, finite, not deep."""
    if depth > _DEPTH_MAX:
        return "…"
    if isinstance(value, dict):
        return {neutral.one_line(str(k), 80): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in value[:100]]
    if isinstance(value, str):
        return neutral.visible(value[:_CHARS_MAX])
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
