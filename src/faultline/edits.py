"""Put one value into the text of a YAML object, as an edit of its characters.

Comments, quotes, anchors, line ends, order and indentation stay as people wrote them. What is
missing on the way is made: mappings anywhere, and a new item in a list of `fields.GROWING`. That
nothing else changes is checked by `splice.py`, which parses the result.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from faultline import documents, fields
from faultline.documents import Document, Object
from faultline.errors import Rejected
from faultline.fields import Match, Path

Scalar = str | int | float | bool

_PLAIN = re.compile(r"[A-Za-z0-9/_.][A-Za-z0-9/_.@+:-]*")
# what YAML 1.1 or 1.2 could take for something other than text
_LIKE_A_NUMBER = re.compile(r"[-+.]?[0-9][0-9a-fA-FoOxX_.,:+-]*|\.(inf|nan)", re.IGNORECASE)
_LIKE_A_WORD = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null", "~"})


class Edit(NamedTuple):
    """Put `new` in place of the characters from `start` to `end`."""

    start: int
    end: int
    new: str

    def applied(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]


def in_block(document: Document, at: Path, inner: Edit) -> Edit:
    """Return an edit of a block of text inside of a document as an edit of the whole text.

    Raises Rejected unless the block is a literal one (`|`), whose lines are only indented.
    """
    node: Node = document.root
    for step in at:
        following = _step(node, step)
        if following is None or document.uses[id(node)] > 1:
            raise Rejected(f"expected a block of text at {fields.text(at)}, found none of its own")
        node = following[1]
    text, start = document.text, text_start(document.text, node)
    lines = text[start : node.end_mark.index].split("\n")
    value = str(node.value)
    told = next((n for n, line in enumerate(value.split("\n")) if line.strip()), 0)
    indent = len(lines[told].rstrip("\r")) - len(value.split("\n")[told])
    starts = [start + sum(len(line) + 1 for line in lines[:n]) for n in range(len(lines) + 1)]

    def outer(offset: int, *, shift: int) -> int:
        line, column = value.count("\n", 0, offset), offset - (value.rfind("\n", 0, offset) + 1)
        return starts[line] + shift + column

    pad, newline = " " * indent, "\r\n" if lines[0].endswith("\r") else "\n"
    new = inner.new.replace("\n", newline + pad)
    if not inner.new.endswith("\n"):
        return Edit(outer(inner.start, shift=indent), outer(inner.end, shift=indent), new)
    place = outer(inner.start, shift=0)  # whole lines, before a line that stays
    return Edit(place, place, pad + new.removesuffix(pad))


def text_start(text: str, node: Node) -> int:
    """Return where the first line of a literal block begins. Raises Rejected for other styles."""
    if not isinstance(node, ScalarNode) or node.style != "|":
        raise Rejected("expected a patch in a file or in a block (`|`), found another style")
    return text.index("\n", node.start_mark.index) + 1


class _Style(NamedTuple):
    """How the people who wrote an object indent."""

    mapping: int = 2  # columns from a key to the keys below it
    sequence: int = 0  # columns from a key to the dashes below it
    dash: int = 2  # columns from a dash to what it holds


def edit(found: Object, at: Path, wanted: Scalar) -> Edit:
    """Return the edit that puts `wanted` at a path of an object.

    Raises Rejected where that cannot be done without touching anything else.
    """
    node: Node = found.node
    uses, text = found.document.uses, found.document.text
    key: Node = node  # the key before `node`; its column says how deep we are
    flow = bool(found.node.flow_style)
    for depth, step in enumerate(at):
        if uses[id(node)] > 1:
            raise Rejected(f"expected a place of its own, but {step} is shared by an alias")
        following = _step(node, step)
        if following is None:
            return _insertion(found, node, key, at[depth:], at[:depth], wanted)
        key, node = following
        flow = flow or bool(getattr(node, "flow_style", False))
    if uses[id(node)] > 1:
        raise Rejected(f"expected a value of its own, but {at[-1]} is shared by an alias")
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


def _replacement(text: str, node: Node, wanted: Scalar, *, flow: bool) -> Edit:
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
        return Edit(start, end, " " + scalar(wanted, "", flow=flow))
    return Edit(start, end, scalar(wanted, node.style or "", flow=flow))


def _insertion(
    found: Object, node: Node, key: Node, rest: Path, before: Path, wanted: Scalar
) -> Edit:
    text, style = found.document.text, _style(found.node)
    _refuse_unknown_items(rest, before)
    name = fields.text(rest[:1]) if isinstance(rest[0], str) else f"item {fields.text(rest[:1])}"
    if documents.merges(node):
        raise Rejected(f"expected {name} in the file, but it may come from a merge key")
    if isinstance(node, ScalarNode) and node.value == "" and not node.style:
        if node.start_mark.index != node.end_mark.index:
            raise Rejected(f"expected a mapping that can take {name}, found an anchor or a tag")
        if key.start_mark.index == node.start_mark.index:  # `-` and nothing
            raise Rejected(f"expected a mapping that can take {name}, found an empty item")
        column = key.start_mark.column + _deeper(rest[0], style)
        return _new_lines(text, node.end_mark.index, _block(rest, wanted, column, style))
    if not isinstance(node, SequenceNode if isinstance(rest[0], Match) else MappingNode):
        raise Rejected(f"expected a place that can take {name}, found something else")
    if node.flow_style or not node.value:
        return _in_brackets(text, node, rest, wanted)
    return _new_lines(text, _end(text, _last(node)), _block(rest, wanted, _column(node), style))


def _refuse_unknown_items(rest: Path, before: Path) -> None:
    """Raise Rejected where a list would get a new item that it must not get."""
    above = before[-1] if before else ""
    for step in rest:
        grows = isinstance(step, Match) and above in fields.GROWING
        if not isinstance(step, str) and not grows:
            raise Rejected(f"expected {fields.text(rest)} in the file, found no such item")
        above = step


def _column(node: Node) -> int:
    """Return the column of a block's keys or dashes."""
    first = node.value[0][0] if isinstance(node, MappingNode) else node
    column: int = first.start_mark.column
    return column


def _deeper(step: fields.Step, style: _Style) -> int:
    return style.mapping if isinstance(step, str) else style.sequence


def _block(rest: Path, wanted: Scalar, column: int, style: _Style) -> list[str]:
    """Return the lines that say `wanted` at `rest`, in block style."""
    pad, (step, *more) = " " * column, rest
    if isinstance(step, Match):
        item = f"{pad}-{' ' * (style.dash - 1)}{scalar(step.key, '')}: {scalar(step.value, '')}"
        return [item, *_block(tuple(more), wanted, column + style.dash, style)]
    if not more:
        return [f"{pad}{scalar(str(step), '')}: {scalar(wanted, '')}"]
    inner = _block(tuple(more), wanted, column + _deeper(more[0], style), style)
    return [f"{pad}{scalar(str(step), '')}:", *inner]


def _flow(rest: Path, wanted: Scalar) -> str:
    """Return what stands between the brackets to say `wanted` at `rest`, in flow style."""
    step, *more = rest
    if isinstance(step, Match):
        name = f"{scalar(step.key, '')}: {scalar(step.value, '', flow=True)}"
        return f"{{{name}, {_flow(tuple(more), wanted)}}}"
    if not more:
        return f"{scalar(str(step), '')}: {scalar(wanted, '', flow=True)}"
    inner = _flow(tuple(more), wanted)
    brackets = "{}" if isinstance(more[0], str) else "[]"
    return f"{scalar(str(step), '')}: {brackets[0]}{inner}{brackets[1]}"


def _new_lines(text: str, end: int, lines: list[str]) -> Edit:
    """Insert lines after the one that holds `end`, as the file ends its lines."""
    line_end = text.find("\n", end)
    newline = "\r\n" if text[: line_end + 1].endswith("\r\n") else "\n"
    if line_end < 0:
        return Edit(len(text), len(text), newline + newline.join(lines))
    return Edit(line_end + 1, line_end + 1, newline.join(lines) + newline)


def _in_brackets(text: str, node: Node, rest: Path, wanted: Scalar) -> Edit:
    """Insert into `{…}` or `[…]`."""
    new = _flow(rest, wanted)
    if isinstance(node, MappingNode | SequenceNode) and node.value:
        end = _end(text, _last_of(node))
        return Edit(end, end, ", " + new)
    opening = "{" if isinstance(node, MappingNode) else "["
    start = text.index(opening, node.start_mark.index) + 1
    return Edit(start, node.end_mark.index - 1, new)


def _last(node: Node) -> Node:
    """Return the last value that stands in a block."""
    if not isinstance(node, MappingNode | SequenceNode) or node.flow_style or not node.value:
        return node
    return _last(_last_of(node))


def _last_of(node: MappingNode | SequenceNode) -> Node:
    """Return the last value of a mapping or list. Raises Rejected if it stands elsewhere."""
    before: Node
    value: Node
    if isinstance(node, MappingNode):
        before, value = node.value[-1]
    else:
        before, value = (node, *node.value)[-2:]
    if value.start_mark.index < before.start_mark.index or value is before:
        raise Rejected("expected a place after the last value, found an alias there")
    return value


def _end(text: str, node: Node) -> int:
    """Return where a value's characters end; marks of blocks include the blank lines below."""
    start = node.start_mark.index
    return start + len(text[start : node.end_mark.index].rstrip())


def _style(node: Node) -> _Style:
    """Return how an object is indented; the usual where it does not show."""
    style, seen = _Style(), set[str]()
    for key, value in _pairs(node):
        if value.flow_style or not value.value:
            continue
        columns = _column(value) - key.start_mark.column
        if isinstance(value, SequenceNode):
            width = value.value[0].start_mark.column - _column(value)
            if "sequence" not in seen:
                style = style._replace(sequence=max(0, columns), dash=max(2, width))
            seen.add("sequence")
        elif "mapping" not in seen:
            style = style._replace(mapping=max(1, columns))
            seen.add("mapping")
    return style


def _pairs(node: Node) -> Iterator[tuple[Node, MappingNode | SequenceNode]]:
    """Yield the keys that hold a mapping or a list, outermost first, in order."""
    waiting = deque([node])
    while waiting:
        holder = waiting.popleft()
        pairs = holder.value if isinstance(holder, MappingNode) else []
        items = holder.value if isinstance(holder, SequenceNode) else []
        found = [(k, v) for k, v in pairs if isinstance(v, MappingNode | SequenceNode)]
        yield from (pair for pair in found if _is_below(*pair))
        waiting.extend(value for _, value in found)
        waiting.extend(items)


def _is_below(key: Node, value: Node) -> bool:
    """Say whether a value stands below its key, not at an anchor elsewhere."""
    return bool(value.start_mark.line > key.start_mark.line)


def scalar(value: Scalar, style: str, *, flow: bool = False) -> str:
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
