"""Change one field of one object in the bytes of its file, and nothing else.

Comments, quotes, anchors, line ends, order and other documents stay as people wrote them. Both
versions are parsed, and their difference must be exactly the change. Whether the field may change
is `changes.py`; where it is said is `kustomize.py`; what is read at all is `documents.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from faultline import documents, fields, kustomize
from faultline.errors import Rejected
from faultline.fields import Match, Path
from faultline.kustomize import Place
from faultline.model import Change, Target

Scalar = str | int | float | bool

_PLAIN = re.compile(r"[A-Za-z0-9/_.][A-Za-z0-9/_.@+:-]*")
# what YAML 1.1 or 1.2 could take for something other than text
_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9][0-9a-fA-FoOxX_.,:+-]*|\.(inf|nan)", re.IGNORECASE)
_LIKE_A_WORD = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null", "~"})


class _Edit(NamedTuple):
    """Put `new` in place of the characters from `start` to `end`."""

    start: int
    end: int
    new: str


def apply(files: Mapping[str, bytes], change: Change) -> Mapping[str, bytes]:
    """Return the files that differ once the field has its new value: one, or none.

    Raises Rejected if there is not exactly one place that decides the field, or if it cannot be
    changed there without touching anything else.
    """
    after = change.after
    if not isinstance(after, Scalar):
        raise Rejected(f"expected a single new value for {change.field}, got {after!r:.80}")
    found = kustomize.place(files, change.target, fields.parse(change.field))
    wanted = _wanted(found, after)
    if same(fields.get(found.object.value, found.at), wanted):
        return {}
    text = found.object.document.text
    edit = _edit(found, wanted)
    changed = (text[: edit.start] + edit.new + text[edit.end :]).encode()
    _check(changed, found, wanted)
    return {found.file: changed}


def locate(files: Mapping[str, bytes], target: Target) -> list[str]:
    """Return the files that hold an object, for messages."""
    return kustomize.candidates(files, target)


def current(files: Mapping[str, bytes], change: Change) -> Any:
    """Return what the files say of the field now; MISSING if nothing. Raises Rejected."""
    found = kustomize.place(files, change.target, fields.parse(change.field))
    value = fields.get(found.object.value, found.at)
    if found.at[0] == "images" and isinstance(change.before, str):
        return f"{kustomize.repository_of(change.before)}:{value}"
    return value


def same(left: Any, right: Any) -> bool:
    """Compare two parsed values; 1, 1.0, true and "1" all differ, and the order of keys counts."""
    return repr(left) == repr(right)


def _wanted(found: Place, after: Scalar) -> Scalar:
    """Return the new value as this place says it: the images transformer knows tags only."""
    if found.at[0] != "images":
        return after
    name, image = found.at[1], str(after)
    tag = kustomize.tag_of(image)
    if not tag or not isinstance(name, Match) or kustomize.repository_of(image) != name.value:
        raise Rejected(f"expected another tag of the same image for {found.file}, got {image!r}")
    return tag


def _check(after: bytes, found: Place, wanted: Scalar) -> None:
    """Parse what was made. Raises Rejected unless it differs in this field and nowhere else."""
    old = [document.value for document in found.documents]
    new = [document.value for document in documents.read(after)]
    path = (*found.object.inside, *found.at)
    expected = list(old)
    expected[found.object.number] = fields.replaced(old[found.object.number], path, wanted)
    if not same(expected, new):
        raise Rejected(
            f"expected only {fields.text(found.at)} to change in {found.file}, more would change"
        )


def _edit(found: Place, wanted: Scalar) -> _Edit:
    node: Node = found.object.node
    uses, text = found.object.document.uses, found.object.document.text
    key: Node = node  # the key before `node`; its column says how deep we are
    flow = bool(found.object.node.flow_style)
    for depth, step in enumerate(found.at):
        if uses[id(node)] > 1:
            raise Rejected(f"expected a place of its own, but {step} is shared by an alias")
        following = _step(node, step)
        if following is None:
            return _insertion(found, node, key, found.at[depth:], wanted)
        key, node = following
        flow = flow or bool(getattr(node, "flow_style", False))
    if uses[id(node)] > 1:
        raise Rejected(f"expected a value of its own, but {found.at[-1]} is shared by an alias")
    return _replacement(text, node, wanted, flow=flow)


def _step(node: Node, step: fields.Step) -> tuple[Node, Node] | None:
    """Go one step down: the key's node and the value's. None if it is not there."""
    if isinstance(step, str):
        return documents.child(node, step)
    items = node.value if isinstance(node, SequenceNode) else []
    if isinstance(step, int):
        return (items[step], items[step]) if step < len(items) else None
    for item in items:
        pair = documents.child(item, step.key)
        if pair is not None and pair[1].value == step.value:
            return item, item
    return None


def _replacement(text: str, node: Node, wanted: Scalar, *, flow: bool) -> _Edit:
    start, end = node.start_mark.index, node.end_mark.index
    if not isinstance(node, ScalarNode):
        raise Rejected("expected a single value in the file, found a mapping or a list")
    if node.style in ("|", ">") or node.start_mark.line != node.end_mark.line:
        raise Rejected("expected a value in one line, found one over several lines")
    anchor = re.match(r"(?:&\S+\s+)?", text[start:end])
    start += anchor.end() if anchor else 0
    if text[start:end].startswith(("!", "&")):
        raise Rejected("expected a plain value, found one with a tag or an anchor of its own")
    if start == end:  # `key:` and nothing
        return _Edit(start, end, " " + _scalar(wanted, "", flow=flow))
    return _Edit(start, end, _scalar(wanted, node.style or "", flow=flow))


def _insertion(found: Place, node: Node, key: Node, rest: Path, wanted: Scalar) -> _Edit:
    text, indent = found.object.document.text, _indent(found.object.node)
    names = [step for step in rest if isinstance(step, str)]
    if len(names) < len(rest):
        raise Rejected(f"expected {fields.text(rest)} in the file, found no such item")
    if documents.merges(node):
        raise Rejected(f"expected {names[0]} in the file, but it may come from a merge key")
    if isinstance(node, ScalarNode) and node.value == "" and not node.style:
        return _below(text, node, key.start_mark.column + indent, indent, names, wanted)
    if not isinstance(node, MappingNode):
        raise Rejected(f"expected a mapping that can take {names[0]}, found something else")
    if node.flow_style or not node.value:
        return _in_braces(text, node, names, wanted)
    column = node.value[0][0].start_mark.column
    return _new_lines(text, _end(text, _last(node)), column, indent, names, wanted)


def _below(
    text: str, node: ScalarNode, column: int, indent: int, names: list[str], wanted: Scalar
) -> _Edit:
    """Insert under `key:` that has nothing yet."""
    if node.start_mark.index != node.end_mark.index:
        raise Rejected(f"expected a mapping that can take {names[0]}, found an anchor or a tag")
    return _new_lines(text, node.end_mark.index, column, indent, names, wanted)


def _new_lines(
    text: str, end: int, column: int, indent: int, names: list[str], wanted: Scalar
) -> _Edit:
    """Insert lines after the one that holds `end`, as the file ends its lines."""
    line_end = text.find("\n", end)
    newline = "\r\n" if text[: line_end + 1].endswith("\r\n") else "\n"
    lines = [
        " " * (column + depth * indent) + f"{_scalar(name, '')}:"
        for depth, name in enumerate(names)
    ]
    lines[-1] += " " + _scalar(wanted, "")
    if line_end < 0:
        return _Edit(len(text), len(text), newline + newline.join(lines))
    return _Edit(line_end + 1, line_end + 1, newline.join(lines) + newline)


def _in_braces(text: str, node: MappingNode, names: list[str], wanted: Scalar) -> _Edit:
    """Insert into `{…}`."""
    new = _scalar(wanted, "", flow=True)
    for name in reversed(names[1:]):
        new = f"{{{_scalar(name, '')}: {new}}}"
    new = f"{_scalar(names[0], '')}: {new}"
    if node.value:
        key, value = node.value[-1]
        _refuse_alias(key, value)
        end = _end(text, value)
        return _Edit(end, end, ", " + new)
    start = text.index("{", node.start_mark.index) + 1
    return _Edit(start, node.end_mark.index - 1, new)


def _last(node: Node) -> Node:
    """Return the last value that stands in a block."""
    if not isinstance(node, MappingNode | SequenceNode) or node.flow_style or not node.value:
        return node
    key, value = node.value[-1] if isinstance(node, MappingNode) else (node, node.value[-1])
    _refuse_alias(key, value)
    return _last(value)


def _refuse_alias(before: Node, value: Node) -> None:
    if value.start_mark.index < before.start_mark.index:
        raise Rejected("expected a place after the last value, found an alias there")


def _end(text: str, node: Node) -> int:
    """Return where a value's characters end; marks of blocks include the blank lines below."""
    start = node.start_mark.index
    return start + len(text[start : node.end_mark.index].rstrip())


def _indent(node: MappingNode) -> int:
    """Return by how many columns the people who wrote an object go in; 2 if it does not show."""
    for key, value in node.value:
        if isinstance(value, MappingNode) and value.value and not value.flow_style:
            columns: int = value.value[0][0].start_mark.column - key.start_mark.column
            return max(1, columns)
    return 2


def _scalar(value: Scalar, style: str, *, flow: bool = False) -> str:
    """Write a value so that every YAML parser reads it alike, in the quotes that stood there."""
    if not isinstance(value, str):
        return json.dumps(value)
    if any(ord(c) < 32 or 0x7F <= ord(c) <= 0x9F or c in "\u2028\u2029\ufeff" for c in value):
        raise Rejected("expected a value in one line without control characters")
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    if style == '"' or not _is_plain(value, flow=flow):
        return json.dumps(value, ensure_ascii=False)
    return value


def _is_plain(value: str, *, flow: bool) -> bool:
    looks_safe = _PLAIN.fullmatch(value) is not None and not value.endswith(":")
    if not looks_safe or (flow and ":" in value):
        return False
    if _LIKE_A_NUMBER.fullmatch(value) or value.lower() in _LIKE_A_WORD:
        return False
    return bool(yaml.safe_load(value) == value)
