"""How a run ended, from its exit, the engine's own last words and the files it left. Pure.

An exit code alone is never believed: an agent CLI may say 0 after an error, and be killed before
its last line. Success needs exit 0, no error in the stream, an `investigation.md` with its seven
sections and a `diagnosis.json` that is one. Recorded streams: `tests/fixtures/agent-streams/`.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from faultline import strict_json
from faultline.agent.process import CANCELLED, TIMEOUT, Exit
from faultline.limits import diagnosis_bytes_max, report_bytes_min
from faultline.model import Diagnosis, Ended, RunStatus

SECTIONS = (
    "## 0. Executive Triage Card",
    "## 1. Problem Statement",
    "## 2. Assessment & Findings",
    "## 3. Root Cause Analysis",
    "## 4. Remediation Plan",
    "## 5. Proof of Work",
    "## 6. Supporting Evidence",
)
REPORT_NAMES = ("output/investigation.md", "output/final-report.md", "output/report.md")


@dataclass(frozen=True)
class Said:
    """What an engine said of itself in its stream."""

    final: bool = False  # was there a last line? Without one it was cut off
    error: str = ""  # our word for what went wrong: auth, quota, overloaded, max_turns, …
    message: str = ""  # its answer, or its complaint
    model: str = ""
    tokens: int = 0
    cost_usd: float = 0.0


def judge(
    ended: Exit,
    said: Said | None,
    *,
    report: bytes | None,
    diagnosis: bytes | None,
    writes_report: bool = True,
) -> tuple[Ended, str]:
    """Return the run's status, and the reason if it is not success.

    `said` is None for engines whose output is plain text. An engine that writes no report is judged
    by its exit code alone.
    """
    if ended.stopped == CANCELLED:
        return RunStatus.CANCELLED, "cancelled"
    complaint = said.error if said else ""
    if ended.stopped == TIMEOUT:
        return RunStatus.TIMEOUT, complaint or "deadline"
    reason = ended.stopped or complaint or exit_reason(ended)
    if not reason and said and not said.final:
        reason = "cut_off"
    if not reason and writes_report:
        reason = report_reason(report) or diagnosis_reason(diagnosis)
    return (RunStatus.FAILED, reason) if reason else (RunStatus.SUCCESS, "")


def exit_reason(ended: Exit) -> str:
    """Say what an exit code means; empty for 0. 126 and 127 are start failures, as for shells."""
    code = ended.code
    if ended.error or code is None or code in (126, 127):
        return "start"
    number = -code if code < 0 else code - 128
    try:
        return "" if code == 0 else signal.Signals(number).name.lower()
    except ValueError:
        return "exit"


def report_reason(report: bytes | None) -> str:
    """Say what is wrong with an investigation; empty if it has what it must have."""
    if report is None or len(report.strip()) < report_bytes_min:
        return "empty_report"
    lines = {line.strip() for line in report.decode("utf-8", "replace").splitlines()}
    return "" if lines.issuperset(SECTIONS) else "incomplete_report"


def diagnosis_reason(diagnosis: bytes | None) -> str:
    return "bad_diagnosis" if diagnosis is None or parse_diagnosis(diagnosis) is None else ""


def parse_diagnosis(data: bytes) -> Diagnosis | None:
    """Read an engine's `diagnosis.json`; None for anything that is not exactly one.

    Strictly: JSON as RFC 8259 has it, no key that we do not know, no text where a number belongs.
    What pydantic would ignore or turn into something else comes out different from what came in.
    """
    if len(data) > diagnosis_bytes_max:
        return None
    try:
        came = strict_json.loads(data)
        found = Diagnosis.model_validate(came)
        taken = found.model_dump(mode="json", exclude_unset=True)
        return found if _same(taken, came) else None
    except (ValueError, ValidationError, RecursionError):
        return None


def _same(one: Any, other: Any) -> bool:
    """Are these the same JSON? For Python, 1 and true are equal."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


# what the engines say


def read(stream: str, lines: Iterable[bytes]) -> Said | None:
    """Read an engine's output by its kind; None if that is plain text."""
    reader = READERS.get(stream)
    return reader(_objects(lines)) if reader else None


def hopeless(stream: str, line: bytes, tools: frozenset[str] = frozenset()) -> str:
    """Name the reason if this line says that going on is in vain, or unsafe; else "".

    That is a key that was refused, and an engine that has more tools than the `tools` it was given.
    """
    telling = (b"authentication_failed", b'"init"')
    if stream != "claude" or not any(word in line for word in telling):
        return ""
    for item in _objects([line]):
        if item.get("subtype") == "api_retry" and item.get("error") == "authentication_failed":
            return "auth"
        if (
            item.get("subtype") == "init"
            and tools
            and not tools.issuperset(_texts(item.get("tools")))
        ):
            return "unexpected_tools"
    return ""


def _objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.lstrip().startswith(b"{"):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue  # a warning of some program, or a line that was cut
            yield value


def _claude(objects: Iterable[dict[str, Any]]) -> Said:
    """Only `is_error` tells: `subtype` says success after an error of the API, too."""
    said = Said()
    for item in objects:
        if item.get("subtype") == "init":
            said = replace(said, model=_text(item.get("model")))
        elif item.get("subtype") == "api_retry":
            said = replace(said, error=_retry_reason(item))
        elif item.get("type") == "assistant" and not item.get("isSynthetic"):
            said = replace(said, error="")  # it got through after all
        elif item.get("type") == "result":
            said = _claude_result(said, item)
    return said


def _claude_result(said: Said, item: dict[str, Any]) -> Said:
    error = ""
    if item.get("is_error"):
        subtype = _text(item.get("subtype"))
        status = item.get("api_error_status")
        error = _api_reason(status, _text(item.get("result")))
        if subtype.startswith("error_"):
            error = subtype.removeprefix("error_")
    return replace(
        said,
        final=True,
        error=error,
        message=_text(item.get("result")),
        tokens=_sum(item.get("usage"), "input_tokens", "output_tokens", *_CACHED),
        cost_usd=_number(item.get("total_cost_usd")),
    )


_CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens")


def _codex(objects: Iterable[dict[str, Any]]) -> Said:
    """An item of type `error` is a warning; `turn.failed` and `error` of the stream are errors."""
    said = Said()
    for item in objects:
        kind = item.get("type")
        inner = _mapping(item.get("item"))
        if kind == "item.completed" and inner.get("type") == "agent_message":
            said = replace(said, message=_text(inner.get("text")))
        elif kind == "turn.completed":
            tokens = _sum(item.get("usage"), "input_tokens", "output_tokens")
            said = replace(said, final=True, error="", tokens=said.tokens + tokens)
        elif kind in ("turn.failed", "error"):
            message = _text(_mapping(item.get("error")).get("message") or item.get("message"))
            said = replace(said, error=_api_reason(None, message), message=message)
    return said


def _gemini(objects: Iterable[dict[str, Any]]) -> Said:
    said = Said()
    for item in objects:
        kind = item.get("type")
        if kind == "init":
            said = replace(said, model=_text(item.get("model")))
        elif kind == "message" and item.get("role") == "assistant":
            said = replace(said, message=said.message + _text(item.get("content")))
        elif kind == "result":
            message = _text(_mapping(item.get("error")).get("message"))
            failed = item.get("status") != "success"
            said = replace(
                said,
                final=True,
                error=_api_reason(None, message) if failed else "",
                message=message or said.message,
                tokens=_sum(item.get("stats"), "total_tokens"),
            )
    return said


def _loop(objects: Iterable[dict[str, Any]]) -> Said:
    """Ours: the first line names the model, the last one says how it ended and what it took."""
    said = Said()
    for item in objects:
        if item.get("type") == "init":
            said = replace(said, model=_text(item.get("model")))
        elif item.get("type") == "result":
            said = replace(
                said,
                final=True,
                error="" if item.get("status") == "success" else _text(item.get("error")) or "?",
                message=_text(item.get("message")),
                model=_text(item.get("model")) or said.model,
                tokens=_sum(item, "tokens"),
                cost_usd=_number(item.get("cost_usd")),
            )
    return said


READERS: dict[str, Callable[[Iterable[dict[str, Any]]], Said]] = {
    "claude": _claude,
    "codex": _codex,
    "gemini": _gemini,
    "loop": _loop,
}

_BY_STATUS = {401: "auth", 403: "auth", 402: "quota", 429: "quota", 529: "overloaded"}
_BY_WORDS = (
    ("auth", ("api key", "unauthorized", "authentication", "permission denied", "401", "403")),
    ("quota", ("quota", "rate limit", "credit", "billing", "usage limit", "429")),
    ("overloaded", ("overloaded", "529", "503")),
)


def _api_reason(status: object, message: str) -> str:
    """Put a provider's error into one of our few words."""
    if isinstance(status, int) and status in _BY_STATUS:
        return _BY_STATUS[status]
    lower = message.lower()
    for reason, telling in _BY_WORDS:
        if any(word in lower for word in telling):
            return reason
    return "engine_error"


def _retry_reason(item: dict[str, Any]) -> str:
    status, error = item.get("error_status"), _text(item.get("error"))
    return "unreachable" if status is None else _api_reason(status, error)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    """Return a list of words; of anything else one word that nobody knows."""
    return [str(part) for part in value] if isinstance(value, list) else ["?"]


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e9 else 0.0


def _sum(usage: object, *names: str) -> int:
    return int(sum(_number(_mapping(usage).get(name)) for name in names))
