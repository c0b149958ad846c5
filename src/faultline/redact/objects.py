"""Take secrets out of objects by their structure: what a Secret holds, what a name tells.

Pure. Keys, sizes and references stay, for they are evidence; values of Secrets, of variables with
telling names, of kubeconfigs and registry credentials go, and so does the annotation that repeats a
whole object. Text inside is left to the function that is passed in.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any

from faultline.redact.documents import dump_yaml, load_yaml

Mark = Callable[[str, str], str]  # kind, secret -> what stands for it
Scan = Callable[[str], str]  # text -> text without secrets

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_TELLING = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase)?|pwd|(?<!^)secret|token|credentials?|api[_-]?key|"
    r"(?:access|secret|private|signing|encryption|master|account|shared|deploy)[_-]?key|"
    r"client-key-data|key-data|dsn|connection[_-]?string|\.dockercfg|dockerconfigjson|"
    r"tls\.key|htpasswd|webhook[_-]?url|^auth|basic[_-]?auth|bearer|cookie)s?[0-9]?$"
)
_INNOCENT = re.compile(
    r"(?i)(?:max|min|num|count|expir\w*|ttl|by|per|of)[_-]?tokens?$|next_?page_?token|^continue"
)
_FLAG = re.compile(
    r"(?i)--?[\w.-]*(?:pass(?:word|wd|phrase)?|secret|token|api-?key|credentials?|dsn)"
)
_DOCUMENT = re.compile(r"(?m)^(?:apiVersion|kind|users|auths|data|stringData)\s*:")
# what this module leaves in place of a value, and the size that stands for a Secret's value
_DONE = re.compile(r"\[REDACTED:[a-z-]{2,24}:[0-9a-f]{4}\](?: [0-9]+ bytes)?|[0-9]+ bytes")
_FIELD_NAME = re.compile(r"\[name=([^\]]+)\]\.value$|([\w-]+)$")  # of a changed field
_REFERENCE = re.compile(r"\$\([A-Za-z_][\w.-]*\)|\$\{[A-Za-z_]\w*\}|")


class Structure:
    """One walk through an object. `mark` stands in for a secret, `scan` cleans any other text."""

    def __init__(self, mark: Mark, scan: Scan) -> None:
        self._mark = mark
        self._scan = scan

    def clean(self, node: Any) -> Any:
        """Return the node without its secrets; the node itself is not touched."""
        if isinstance(node, dict):
            return self._mapping(node)
        if isinstance(node, list):
            return self._sequence(node)
        return self._text(node) if isinstance(node, str) else node

    def _mapping(self, node: dict[Any, Any]) -> dict[Any, Any]:
        if node.get("kind") == "SecretList" and isinstance(node.get("items"), list):
            node = node | {"items": [_as_secret(item) for item in node["items"]]}
        if node.get("kind") == "Secret":
            node = {k: self._sealed(k, v) if k in ("data", "stringData") else v
                    for k, v in node.items()}  # fmt: skip
        hidden = _told_by_sibling(node)
        return {
            self._key(key): self._field(key, value, key in hidden) for key, value in node.items()
        }

    def _key(self, key: Any) -> Any:
        return self._scan(key) if isinstance(key, str) and len(key) >= 20 else key

    def _field(self, key: Any, value: Any, told: bool) -> Any:
        if key == LAST_APPLIED:
            return self._out("last-applied", value)
        if isinstance(value, (dict, list)):
            return self.clean(value)
        if told or (isinstance(key, str) and _tells(key)):
            return self._out("value", value)
        if key == "release" and isinstance(value, str) and value.startswith(("H4sI", "SDRzS")):
            return self._out("helm-release", value)
        return self.clean(value)

    def _out(self, kind: str, value: Any) -> Any:
        """Replace a scalar; nothing, booleans and references to variables tell no secret."""
        if value is None or isinstance(value, (bool, dict, list)):
            return self.clean(value) if isinstance(value, (dict, list)) else value
        text = str(value)
        if _DONE.fullmatch(text) or _REFERENCE.fullmatch(text):
            return text
        return f"{self._mark(kind, text)} {len(text.encode('utf-8', 'replace'))} bytes"

    def _sealed(self, field: str, values: Any) -> Any:
        """Values of a Secret: out, with their size; `data` is counted decoded."""
        if not isinstance(values, dict):
            return self._out("secret-data", values if isinstance(values, str) else str(values))
        return {key: self._sealed_value(field, value) for key, value in values.items()}

    def _sealed_value(self, field: str, value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        if _DONE.fullmatch(text):
            return text
        size = _decoded_size(text) if field == "data" else len(text.encode("utf-8", "replace"))
        return f"{self._mark('secret-data', text)} {size} bytes"

    def _sequence(self, node: list[Any]) -> list[Any]:
        cleaned = [self.clean(item) for item in node]
        for index in range(len(node) - 1):
            flag, value = node[index], node[index + 1]
            if isinstance(flag, str) and isinstance(value, str) and _FLAG.fullmatch(flag):
                cleaned[index + 1] = self._out("argument", value)
        return cleaned

    def _text(self, text: str) -> str:
        """Text that is a document itself is parsed; everything else is scanned."""
        if _DONE.fullmatch(text):
            return text
        if text[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]"):
            return self._inner_json(text)
        if "\n" in text and _DOCUMENT.search(text):
            return self._inner_yaml(text)
        return self._scan(text)

    def _inner_json(self, text: str) -> str:
        try:
            value = json.loads(text)
        except ValueError:
            return self._scan(text)
        cleaned = self.clean(value)
        return text if cleaned == value else json.dumps(cleaned, ensure_ascii=False)

    def _inner_yaml(self, text: str) -> str:
        try:
            documents = load_yaml(text)
        except ValueError:
            return self._scan(text)
        cleaned = [self.clean(document) for document in documents]
        return self._scan(text) if cleaned == documents else dump_yaml(*cleaned)


def _as_secret(item: Any) -> Any:
    """An API server leaves out of the items of a list what kind they are."""
    return {"kind": "Secret"} | item if isinstance(item, dict) else item


def _told_by_sibling(node: dict[Any, Any]) -> tuple[str, ...]:
    """Return the fields that hold a secret because another one says so: `name` of a variable's
    `value`, `field` of a change's `before` and `after`."""
    name, path = node.get("name"), node.get("field")
    if isinstance(name, str) and _tells(name):
        return ("value",)
    if isinstance(path, str) and (match := _FIELD_NAME.search(path)):
        return ("before", "after") if _tells(match[1] or match[2]) else ()
    return ()


def _tells(name: str) -> bool:
    """Say whether a name says that its value is secret."""
    return _TELLING.search(name) is not None and _INNOCENT.search(name) is None


def _decoded_size(text: str) -> int:
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return len(text.encode("utf-8", "replace"))
