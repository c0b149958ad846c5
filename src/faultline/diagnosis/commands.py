"""Programs that cannot be executed: not in the image, not allowed, built for another machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from faultline.diagnosis.documents import listed, text
from faultline.diagnosis.facts import Ended, Part, Waiting, Was
from faultline.diagnosis.wording import becomes_ready, finding, one_line, proved_if, restore
from faultline.model import Change, Evidence, Finding

_NO_COMMAND = re.compile(
    r'exec: \\?"(?P<a>[^"\\]+)\\?": (?:executable file not found|stat |permission denied|no such)'
    r"|executable file `(?P<b>[^`]+)` not found"
    r"|exec: (?P<c>/[^:\s]+): (?:not found|no such file|permission denied)"
)
_SHELL_SAYS = re.compile(
    r"(?:ba|da|a)?sh: (?:(?:line )?\d+: )?(?P<a>[\w./-]+): (?:command )?not found"
)


_FIELDS = ("command", "args")


def said(part: Part, pattern: re.Pattern[str]) -> Iterator[tuple[str, Evidence | None]]:
    """What the kubelet says about starting it, where the pattern stands in it."""
    states: tuple[Waiting | Ended, ...] = (*part.waiting, *part.ended)
    for state in states:
        if match := pattern.search(state.message):
            yield first(match), state.cite("message")
    for happening in part.happenings("Failed", "BackOff"):
        if match := pattern.search(happening.message):
            yield first(match), happening.cite()


def first(match: re.Match[str]) -> str:
    """Return the group that matched, where a pattern has one for each wording."""
    return next((g for g in match.groups() if g), "")


def no_command(part: Part) -> Iterator[Finding]:
    """Say which program cannot be executed, by the runtime's or a shell's word."""
    for name, cited in said(part, _NO_COMMAND):
        yield _command_finding(part, name, cited)
    if any(e.exit_code == 127 for e in part.ended) and (found := part.logs(_SHELL_SAYS)):
        yield _command_finding(part, first(found[0]), found[1])


def _command_finding(part: Part, name: str, said: Evidence | None) -> Finding:
    # proved because: the runtime says that it cannot execute this name, and the object (its
    # command, or an image that the rollout changed) is where the name comes from.
    fields = [f for f in _FIELDS if any(_names(name, word) for word in listed(part.get(f)))]
    changed = [(f, w) for f in fields or _FIELDS if (w := part.was(f))]
    image = part.was("image")
    blamed = changed or ([("image", image)] if image else [])
    before = "".join(f" Revision {w.revision} had {f} {_spoken(w.value)}." for f, w in blamed[:1])
    return finding(
        "crash_loop.command-missing",
        proved_if(fields or image),
        f"{part.name} cannot start: {name} cannot be executed",
        f"{part} cannot start: {one_line(name)} cannot be executed in its image.{before}",
        [said, *(part.cite(f) for f in fields), *(w.evidence for _, w in blamed)],
        rules_out=("probes",),
        actions=[
            restore(
                f"Name an executable that the image has, not {name}.", becomes_ready(part.workload)
            )
        ],
        changes=[c for f, w in blamed for c in _back(part, f, w)],
    )


def _names(name: str, word: Any) -> bool:
    return bool(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", text(word)))


def _spoken(value: Any) -> str:
    return one_line(" ".join(map(text, value)) if isinstance(value, list) else value or "its own")


def _back(part: Part, field: str, was: Was) -> Iterator[Change]:
    """Go back to the earlier value; of a list, only in the one place that differs."""
    now, why = part.get(field), f"as in revision {was.revision}"
    pairs = _pairs(now, was.value)
    if len(pairs) == 1:
        yield part.change(f"{field}[{pairs[0][0]}]", pairs[0][1], why)
    else:
        yield part.change(field, was.value, why)


def _pairs(now: Any, before: Any) -> list[tuple[int, Any]]:
    if not isinstance(now, list) or not isinstance(before, list) or len(now) != len(before):
        return []
    return [(i, b) for i, (a, b) in enumerate(zip(now, before, strict=True)) if a != b]
