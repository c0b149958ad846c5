"""Parsed files of a capsule whose every field knows where it stands.

Paths are those of `fields.py`, `spec.containers[name=app].ports[0].name`: the same one reads a
value, cites its line and names the field that a change is for. Reading never raises: what is
missing, or of another type than expected, is None or empty.

What the objects mean is `facts.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import yaml

from faultline import fields
from faultline.documents import deeper_than
from faultline.errors import Rejected
from faultline.fields import Path, Step
from faultline.model import Evidence

DEPTH_MAX = 40  # nested deeper, an object is not one that a cluster would take
QUOTE_CHARS_MAX = 600
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def child(path: str, key: str) -> str:
    """Return the path of `key` below `path`, quoted where it has to be."""
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f'{path}["{key}"]'


def item(path: str, by: str, value: str) -> str:
    """Return the path of the list item whose field `by` is `value`."""
    return f"{path}[{by}={value}]"


@lru_cache(maxsize=4096)
def steps(path: str) -> Path | None:
    """Take a path apart; None if it is not one."""
    try:
        return fields.parse(path)
    except Rejected:
        return None


def at(value: Any, path: str) -> Any:
    """Return what stands at `path` in a plain value; None if nothing does."""
    way = steps(path)
    for step in way or ():
        if isinstance(step, tuple):
            value = next((i for i in items(value) if str(i.get(step[0])) == step[1]), None)
        elif isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return None
    return value if way else None


def items(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; nothing for what is no list."""
    return [i for i in value if isinstance(i, dict)] if isinstance(value, list) else []


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """Return a scalar as text; "" for what is none."""
    return str(value) if isinstance(value, str | int | float) and value is not True else ""


def number(value: Any) -> int:
    """Return an integer; 0 for what is none. Sizes beyond any cluster's count as none."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and abs(value) < 1 << 62 else 0


@dataclass(frozen=True)
class Source:
    """One file of the capsule as text, cited by character offsets."""

    file: str
    text: str

    @cached_property
    def _ascii(self) -> bool:
        return self.text.isascii()

    def cite(self, start: int, end: int) -> Evidence:
        """Return the evidence for `text[start:end]`, cut to what a quote may be."""
        end = min(end, start + QUOTE_CHARS_MAX)
        quote = self.text[start:end].rstrip()
        first = start if self._ascii else len(self.text[:start].encode())
        return Evidence(
            file=self.file,
            quote=quote,
            line=self.text.count("\n", 0, start) + 1,
            start=first,
            end=first + len(quote.encode()),
        )

    def find(self, wanted: str, start: int = 0, end: int | None = None) -> Evidence | None:
        """Cite the first place of `wanted` in the range; None if it is not there."""
        place = self.text.find(wanted, start, len(self.text) if end is None else end)
        return self.cite(place, place + len(wanted)) if wanted and place >= 0 else None


@dataclass(frozen=True)
class Document:
    """One YAML object: its plain value, and the place of each field."""

    source: Source
    value: Any
    _root: yaml.Node | None

    @classmethod
    def parse(cls, source: Source) -> Document:
        """Parse; a file that is no YAML, or nested beyond reason, is an empty document."""
        try:
            if deeper_than(DEPTH_MAX, source.text):
                return cls(source, None, None)
            root = yaml.compose(source.text, Loader=_Loader)
            return cls(source, _plain(root, 0, {}) if root else None, root)
        except (yaml.YAMLError, ValueError, RecursionError):
            return cls(source, None, None)

    def cite(self, path: str) -> Evidence | None:
        """Quote the field at `path` with its key, as it stands in the file."""
        node, start = self._root, -1
        for step in steps(path) or ():
            if node is None:
                return None
            node, start = _below(node, step)
        if node is None or start < 0:
            return None
        return self.source.cite(start, _end_of(node))


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _end_of(node: yaml.Node) -> int:
    """A block's end mark stands before the next key; its last scalar ends where it ends."""
    while isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _below(node: yaml.Node, step: Step) -> tuple[yaml.Node | None, int]:
    if isinstance(step, str):
        for key, value in _pairs(node):
            if key.value == step:
                return value, int(key.start_mark.index)
        return None, -1
    nodes = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(step, int):
        found = nodes[step] if step < len(nodes) else None
    else:
        found = next((n for n in nodes if _has(n, *step)), None)
    return (found, int(found.start_mark.index)) if found is not None else (None, -1)


def _pairs(node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        yield from node.value


def _has(node: yaml.Node, key: str, value: str) -> bool:
    return any(k.value == key and v.value == value for k, v in _pairs(node))


def _plain(node: yaml.Node, depth: int, done: dict[int, Any]) -> Any:
    """Return the node's value. An alias is the same value, not a copy: nothing can grow."""
    if depth > DEPTH_MAX:
        raise ValueError("nested too deeply")
    if id(node) not in done:
        done[id(node)] = _value(node, depth + 1, done)
    return done[id(node)]


def _value(node: yaml.Node, depth: int, done: dict[int, Any]) -> Any:
    if isinstance(node, yaml.MappingNode):
        pairs = ((k, v) for k, v in node.value if isinstance(k, yaml.ScalarNode))
        return {k.value: _plain(v, depth, done) for k, v in pairs}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(n, depth, done) for n in node.value]
    return _scalar(node.tag.rsplit(":", 1)[-1], str(node.value))


def _scalar(tag: str, value: str) -> Any:
    if tag == "null":
        return None
    if tag == "bool":
        return value.lower() in ("true", "yes", "on")
    try:
        return int(value) if tag == "int" else float(value) if tag == "float" else value
    except ValueError:
        return value  # 0x1F, 1_000 and the like: as it was written


def json_items(source: Source, key: str) -> list[tuple[dict[str, Any], int, int]]:
    """Return the objects in the list under `key` of a JSON file, each with its place."""
    match = re.search(rf'"{re.escape(key)}"\s*:\s*\[', source.text)
    decoder, found = json.JSONDecoder(), []
    position = match.end() if match else len(source.text)
    while position < len(source.text):
        start = _skip(source.text, position)
        try:
            value, position = decoder.raw_decode(source.text, start)
        except (ValueError, RecursionError):
            break  # the list's end, or no JSON from here on
        if isinstance(value, dict):
            found.append((value, start, position))
    return found


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n,":
        position += 1
    return position
