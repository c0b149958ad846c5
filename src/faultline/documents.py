"""YAML files read strictly, with the position of everything in them.

Duplicate keys, unknown tags, bombs of aliases and deep nests are refused: what parsers disagree
on must not be judged (YAML 1.1, pyyaml; the objects are Kubernetes'). Nothing is written here;
see `splice.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from faultline.errors import Rejected
from faultline.limits import manifest_bytes_max
from faultline.model import Target

nodes_max = 100_000  # aliases counted as often as they are used
depth_max = 64
_C_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INDENTED = re.compile(r"^[ \t?:-]{32}", re.MULTILINE)  # a list may stand at its key's own column


@dataclass(frozen=True)
class Document:
    """One document of a file: its nodes, with marks into `text`, and what they mean."""

    text: str  # of the whole file
    root: Node
    value: Any
    uses: Counter[int]  # id of a node -> how often it is used; 2 and more by aliases


@dataclass(frozen=True)
class Object:
    """A Kubernetes object in a file. `inside` leads to it from the document's root."""

    document: Document
    number: int  # of the document in its file, from 0
    node: MappingNode | SequenceNode
    value: Any  # a mapping, unless lists were asked for
    inside: tuple[str | int, ...] = ()

    @property
    def source(self) -> str:
        return self.document.text[self.node.start_mark.index : self.node.end_mark.index]

    @property
    def kind(self) -> str:
        return str(self.value.get("kind", "")) if isinstance(self.value, dict) else ""

    @property
    def name(self) -> str:
        return str(_metadata(self.value).get("name", ""))

    @property
    def namespace(self) -> str:
        return str(_metadata(self.value).get("namespace") or "")


def deeper_than(levels: int, text: str) -> bool:
    """Say whether YAML is nested deeper than that, without building anything.

    To be asked before a loader in C: that one follows a nest on the C stack, and the process dies.
    Every level takes a bracket of its own, or a column of the indentation.
    """
    if text.count("[") + text.count("{") <= levels and not _INDENTED.search(text):
        return False
    depth = 0
    for event in yaml.parse(text, Loader=_C_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > levels:
            return True
    return False


def read(content: bytes) -> list[Document]:
    """Return a file's documents, empty ones as null. Raises Rejected, with the reason."""
    if len(content) > manifest_bytes_max:
        raise Rejected(f"expected at most {manifest_bytes_max} bytes, got {len(content)}")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Rejected(f"expected UTF-8, found another encoding at byte {error.start}") from None
    try:
        if deeper_than(depth_max, text):
            raise Rejected(f"expected at most {depth_max} levels")
        return list(_documents(text))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise Rejected(f"expected YAML, line {line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Rejected(f"expected YAML, got something else ({type(error).__name__})") from None


def objects(documents: list[Document], *, lists: bool = False) -> Iterator[Object]:
    """Yield the Kubernetes objects of a file, those inside of a List too.

    `lists`: yield what is a list as it is, such as the operations of a JSON patch.
    """
    for number, document in enumerate(documents):
        if isinstance(document.root, MappingNode) and isinstance(document.value, dict):
            yield from _objects(Object(document, number, document.root, document.value))
        elif lists and isinstance(document.root, SequenceNode):
            yield Object(document, number, document.root, document.value)


def find(documents: list[Document], target: Target) -> list[Object]:
    """Return the objects of that kind and name. The namespace is left to the caller."""
    wanted = (target.kind, target.name)
    return [found for found in objects(documents) if (found.kind, found.name) == wanted]


def child(node: Node, key: str) -> tuple[ScalarNode, Node] | None:
    """Return a mapping's key and value nodes; None if it has no such key of its own."""
    if isinstance(node, MappingNode):
        for name, value in node.value:
            if isinstance(name, ScalarNode) and name.value == key:
                return name, value
    return None


def merges(node: Node) -> bool:
    """Say whether a mapping takes keys from elsewhere (`<<`)."""
    return isinstance(node, MappingNode) and any(
        name.tag == "tag:yaml.org,2002:merge" for name, _ in node.value
    )


def _documents(text: str) -> Iterator[Document]:
    # libyaml is several times faster and places everything alike, but skips a BOM, and takes tabs
    # where pyyaml does not.
    loader = (yaml.SafeLoader if "\ufeff" in text or "\t" in text else _C_LOADER)(text)
    try:
        while loader.check_node():
            root = loader.get_node()
            if root is None:
                continue
            uses: Counter[int] = Counter()
            _check(root, uses, {}, 0)
            yield Document(text, root, _construct(root), uses)
    finally:
        loader.dispose()


def _construct(root: Node) -> Any:
    """Build the value from a copy: pyyaml writes merged keys into the nodes it is given."""
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(_copy(root, {}))
    finally:
        loader.dispose()


def _copy(node: Node, made: dict[int, Node]) -> Node:
    if id(node) in made or not isinstance(node, MappingNode | SequenceNode):
        return made.get(id(node), node)
    new = made[id(node)] = type(node)(node.tag, [], node.start_mark, node.end_mark)
    if isinstance(node, MappingNode):
        new.value = [(_copy(key, made), _copy(value, made)) for key, value in node.value]
    else:
        new.value = [_copy(item, made) for item in node.value]
    return new


def _check(node: Node, uses: Counter[int], sizes: dict[int, int], depth: int) -> int:
    """Count nodes as if aliases were written out. Raises Rejected for what we do not read."""
    uses[id(node)] += 1
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise Rejected("expected a tree, found an alias inside of its own anchor")
        return sizes[id(node)]
    if depth > depth_max:
        raise Rejected(f"expected at most {depth_max} levels")
    sizes[id(node)] = 0
    size = 1 + sum(_check(part, uses, sizes, depth + 1) for part in _parts(node))
    if size > nodes_max:
        raise Rejected(f"expected at most {nodes_max} values, aliases counted as they are used")
    sizes[id(node)] = size
    return size


def _parts(node: Node) -> list[Node]:
    if isinstance(node, SequenceNode):
        return list(node.value)
    if not isinstance(node, MappingNode):
        return []
    names = Counter(name.value for name, _ in node.value if isinstance(name, ScalarNode))
    for name, times in names.items():
        if times > 1:
            line = node.start_mark.line + 1
            raise Rejected(f"expected each key once, found {name!r} twice in line {line} and below")
    return [part for pair in node.value for part in pair]


def _objects(candidate: Object) -> Iterator[Object]:
    items = child(candidate.node, "items")
    if not candidate.kind.endswith("List") or items is None:
        yield candidate
        return
    for index, node in enumerate(items[1].value if isinstance(items[1], SequenceNode) else ()):
        value = candidate.value["items"][index]
        if isinstance(node, MappingNode) and isinstance(value, dict):
            inside = ("items", index)
            yield Object(candidate.document, candidate.number, node, value, inside)


def _metadata(value: Any) -> dict[str, Any]:
    metadata = value.get("metadata") if isinstance(value, dict) else None
    return metadata if isinstance(metadata, dict) else {}
