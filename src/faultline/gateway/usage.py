"""What the runs have used of the models: tokens, read off the answers as they pass, and calls.

The meter knows what this process has seen, of the runs of late; it is no account book. What an
answer does not say, or was cut off before it did, is estimated: hanging up early saves nothing.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

from faultline.errors import Busy
from faultline.limits import (
    gateway_model_calls_at_once,
    gateway_model_calls_max,
    gateway_runs_max,
    model_answer_bytes_max,
)

log = logging.getLogger(__name__)

_BYTES_OF_A_TOKEN = 4  # in English; fewer in JSON, so it counts rather too little than too much
_LINES = ("text/event-stream", "application/x-ndjson", "application/jsonl")

# Anthropic, OpenAI's responses (the first name of Anthropic's), chat completions, Gemini, Ollama.
# A service may say it under two names at once: the largest sum counts.
_IN = (
    ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    ("prompt_tokens",),
    ("promptTokenCount", "toolUsePromptTokenCount"),
    ("prompt_eval_count",),
)
_OUT = (
    ("output_tokens",),
    ("completion_tokens",),
    ("candidatesTokenCount", "thoughtsTokenCount"),
    ("eval_count",),
)


class Usage(NamedTuple):
    """Tokens that a model was given and has made."""

    tokens_in: int = 0
    tokens_out: int = 0


class Counter:
    """Reads the usage off one answer: JSON, an event stream, or JSON by the line.

    It takes the answer in any pieces and keeps no more than a line of it, or a whole JSON text, up
    to a limit. Counts in a stream are totals so far, in all dialects: the largest is the last.
    """

    def __init__(self, content_type: str) -> None:
        self._by_line = content_type.partition(";")[0].strip().lower() in _LINES
        self._rest = bytearray()
        self._size = self._events = 0
        self._most: dict[str, int] = {}

    def take(self, chunk: bytes) -> None:
        """Look at the next piece of the answer."""
        self._size += len(chunk)
        for piece in chunk.splitlines(keepends=True) if self._by_line else (chunk,):
            if len(self._rest) + len(piece) <= model_answer_bytes_max:
                self._rest += piece
            if self._by_line and piece.endswith((b"\n", b"\r")):
                self._read()

    def usage(self, asked_bytes: int, *, whole: bool) -> Usage:
        """Return what was used: as the answer says; if it does not say or is not whole, at least
        an estimate from the sizes of question and answer."""
        self._read()
        said = Usage(self._sum(_IN), self._sum(_OUT))
        if whole and any(said):
            return said
        made = self._events if self._by_line else self._size // _BYTES_OF_A_TOKEN
        return Usage(
            max(said.tokens_in, asked_bytes // _BYTES_OF_A_TOKEN), max(said.tokens_out, made)
        )

    def _read(self) -> None:
        text = bytes(self._rest).strip().removeprefix(b"data:")
        self._rest.clear()
        self._events += text.startswith((b"{", b" {"))
        if b"usage" not in text and b"eval_count" not in text:
            return
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return
        for event in said if isinstance(said, list) else [said]:
            self._see(event)

    def _see(self, event: Any) -> None:
        inner = [_part(event, name) for name in ("message", "response")]
        usages = [_part(part, "usage") for part in (event, *inner)]
        for place in (event, *usages, _part(event, "usageMetadata")):
            for name, count in place.items() if isinstance(place, dict) else ():
                if isinstance(count, int) and not isinstance(count, bool):
                    self._most[name] = max(count, self._most.get(name, 0))

    def _sum(self, families: tuple[tuple[str, ...], ...]) -> int:
        return max(sum(self._most.get(name, 0) for name in family) for family in families)


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


@dataclass
class _Spent:
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    at_once: int = 0
    told: bool = False  # the log has said that its bound is reached


class Meter:
    """Counts the calls and tokens of each run and says when it has had enough. Thread-safe.

    Which run had no call for the longest time is forgotten first, once there are too many.
    """

    def __init__(
        self, *, calls_max: int = gateway_model_calls_max, runs_max: int = gateway_runs_max
    ) -> None:
        self._calls_max, self._runs_max = calls_max, runs_max
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, _Spent] = OrderedDict()

    def begin(self, run: str, tokens_max: int) -> str:
        """Begin a call; return "", or why there is none: its bound. `tokens_max` 0: no bound.

        Each call that has begun must `end`. Raises Busy while too many of this run are under way.
        """
        with self._lock:
            spent = self._of(run)
            if why := self._spent_up(spent, tokens_max):
                first, spent.told = not spent.told, True
            elif spent.at_once >= gateway_model_calls_at_once:
                raise Busy(
                    f"expected at most {gateway_model_calls_at_once} calls of a run at once",
                    retry_after_s=1,
                )
            else:
                spent.calls += 1
                spent.at_once += 1
                return ""
        if first:
            log.warning("%s gets no further answer of a model: %s", run, why, extra={"run": run})
        return why

    def end(self, run: str, usage: Usage) -> None:
        """End a call that has begun, with what it used."""
        with self._lock:
            spent = self._of(run)
            spent.at_once = max(0, spent.at_once - 1)
            spent.tokens_in += usage.tokens_in
            spent.tokens_out += usage.tokens_out

    def calls(self, run: str) -> int:
        """Return how many calls a run has begun."""
        with self._lock:
            return self._runs.get(run, _Spent()).calls

    def usage(self, run: str) -> Usage:
        """Return the tokens of a run so far."""
        with self._lock:
            spent = self._runs.get(run, _Spent())
            return Usage(spent.tokens_in, spent.tokens_out)

    def _spent_up(self, spent: _Spent, tokens_max: int) -> str:
        if spent.calls >= self._calls_max:
            return f"expected at most {self._calls_max} calls of a run, and it has made them"
        tokens = spent.tokens_in + spent.tokens_out
        if tokens_max and tokens >= tokens_max:
            return f"expected at most {tokens_max} tokens of this run, and it has used {tokens}"
        return ""

    def _of(self, run: str) -> _Spent:
        spent = self._runs.setdefault(run, _Spent())
        self._runs.move_to_end(run)
        if len(self._runs) > self._runs_max:
            idle = (name for name, old in self._runs.items() if not old.at_once and name != run)
            self._runs.pop(next(idle, ""), None)
        return spent
