"""Paths of fields, as changes name them: parsed, read and set on plain objects.

`spec.template.spec.containers[name=api].resources.limits.memory`, `args[0]`,
`metadata.annotations["example.com/owner"]`. Which fields may change is `changes.py`; where one
stands in a file is `splice.py`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from faultline.errors import Rejected

path_chars_max = 512
path_steps_max = 32


class Match(NamedTuple):
    """The one item of a list whose `key` is `value`."""

    key: str
    value: str


Step = str | int | Match
GROWING = ("env",)  # lists that may get a new item, by its key
Path = tuple[Step, ...]


class Missing:
    """What `get` returns where nothing stands; null is a value."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()

_STEP = re.compile(
    r"""
    (?P<dot>\.)?(?P<word>[A-Za-z0-9_][A-Za-z0-9_/-]*)
  | \[ (?P<index>[0-9]{1,4}) \]
  | \[ (?P<quote>["']) (?P<quoted>[^"'\\\x00-\x1f]+) (?P=quote) \]
  | \[ (?P<key>[A-Za-z][A-Za-z0-9]*) = (?P<q2>["']?) (?P<value>[^"'\\\]\[\x00-\x1f]+) (?P=q2) \]
    """,
    re.VERBOSE,
)


def parse(text: str) -> Path:
    """Take a field's path apart. Raises Rejected, with the place where it stops making sense."""
    if len(text) > path_chars_max:
        raise Rejected(f"expected a field's path of at most {path_chars_max} characters")
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        dotted = match is not None and match["dot"] is not None
        if match is None or (match["word"] and dotted != bool(steps)):
            raise Rejected(
                f"expected a path such as spec.containers[name=api].image, got {text[:120]!r}, "
                f"which stops making sense at character {position + 1}"
            )
        steps.append(_step(match))
        position = match.end()
    if not steps or len(steps) > path_steps_max or not isinstance(steps[0], str):
        raise Rejected(f"expected a path of 1 to {path_steps_max} names, got {text[:120]!r}")
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["word"] or match["quoted"]:
        return match["word"] or match["quoted"]
    if match["index"]:
        return int(match["index"])
    return Match(match["key"], match["value"])


def text(path: Path) -> str:
    """Write a path down; `parse` reads it back."""
    written = ""
    for step in path:
        if isinstance(step, Match):
            written += f"[{step.key}={step.value}]"
        elif isinstance(step, int):
            written += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_/-]*", step):
            written += f".{step}" if written else step
        else:
            written += f'["{step}"]'
    return written


def get(value: Any, path: Path) -> Any:
    """Return what stands at `path`, or MISSING. Raises Rejected where several items match."""
    for step in path:
        place = _place(value, step)
        if place is None:
            return MISSING
        value = value[place]
    return value


def counted(value: Any, path: Path) -> Path:
    """Return a path with the numbers of items that `value` has; the rest stays as it is."""
    made: list[Step] = []
    for step in path:
        place = _place(value, step)
        made.append(step if place is None else place)
        value = None if place is None else value[place]
    return tuple(made)


def named(value: Any, path: Path) -> Path:
    """Return a path with names of items instead of numbers, where `value` has such items."""
    made: list[Step] = []
    for depth, step in enumerate(path):
        item = get(value, path[: depth + 1]) if isinstance(step, int) else None
        name = item.get("name") if isinstance(item, dict) else None
        made.append(Match("name", name) if isinstance(name, str) else step)
    return tuple(made)


def replaced(value: Any, path: Path, new: Any) -> Any:
    """Return a copy of `value` with `new` at `path`; missing mappings on the way are made, and a
    missing item of a list in GROWING.

    Raises Rejected where a list has no such item.
    """
    return _replaced(value, path, new, "")


def _replaced(value: Any, path: Path, new: Any, above: Step) -> Any:
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if not isinstance(value, dict | None):
            raise Rejected(f"expected a mapping that can hold {step!r}, got a {kind(value)}")
        inner = dict(value or {})
        inner[step] = _replaced(inner.get(step), rest, new, step)
        return inner
    items = list(value) if isinstance(value, list) else []
    place = _place(value, step)
    if place is not None:
        items[place] = _replaced(items[place], rest, new, step)
        return items
    if not isinstance(step, Match) or above not in GROWING or not isinstance(value, list | None):
        raise Rejected(f"expected a list with {text((step,))}, found no such item")
    return [*items, _replaced({step.key: step.value}, rest, new, step)]


def differ_only(before: list[Any], after: list[Any], old: Any, new: Any) -> bool:
    """Say whether two lists differ in nothing but the one `old` of the first, which became `new`.

    Types count, the order of keys does not.
    """
    plain = [_plain(value) for value in before]
    if plain.count(_plain(old)) == 1:
        plain[plain.index(_plain(old))] = _plain(new)
    return plain == [_plain(value) for value in after]


def _plain(value: Any) -> Any:
    """Return a value as text in which the order of keys does not show, and types do."""
    if isinstance(value, dict):
        return sorted((repr(key), _plain(inner)) for key, inner in value.items())
    return [_plain(item) for item in value] if isinstance(value, list) else repr(value)


def kind(value: Any) -> str:
    """Say in a word what a value is, for messages."""
    if isinstance(value, dict):
        return "mapping"
    return "list" if isinstance(value, list) else "single value"


def _place(value: Any, step: Step) -> Any:
    """Return the key or index of `step` in `value`; None if it is not there."""
    if isinstance(step, str):
        return step if isinstance(value, dict) and step in value else None
    if not isinstance(value, list):
        return None
    if isinstance(step, int):
        return step if step < len(value) else None
    found = [i for i, item in enumerate(value) if _is(item, step)]
    if len(found) > 1:
        raise Rejected(f"expected one item with {step.key}={step.value}, found {len(found)}")
    return found[0] if found else None


def _is(item: Any, step: Match) -> bool:
    return isinstance(item, dict) and str(item.get(step.key)) == step.value
