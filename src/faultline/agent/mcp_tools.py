"""Tools of an operator's MCP server, beside the built-in loop's own questions: by name only.

What is offered is exactly what the operator names (`FAULTLINE_MCP_TOOLS`), as `mcp_<name>`, so it
cannot stand for a question of ours. A tool that the server has and nobody named is not offered, and
what the server says of its harmlessness (`readOnlyHint` and the like) is not looked at: tools with
that hint reach `nodes/proxy`, by which commands run in every pod of a node. Names that say more
than reading are refused whoever names them.

A server's words are a stranger's. Its descriptions stand between fences in the first message; a
tool as it is offered has a sentence of ours, and of its schema the bare form, without prose.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from faultline import strict_json
from faultline.adapters.trust import check_address
from faultline.agent.backends import secret_of
from faultline.agent.dialects import Tool
from faultline.agent.mcp_client import Server
from faultline.agent.tools import Answers
from faultline.errors import Rejected, Unavailable
from faultline.limits import (
    mcp_schema_bytes_max,
    mcp_schema_depth_max,
    mcp_tools_max,
    mcp_words_chars_max,
    tool_read_s_max,
)
from faultline.redact import Redactor
from faultline.redact.documents import load_yaml
from faultline.views import neutral

log = logging.getLogger(__name__)

Json = dict[str, Any]

PREFIX = "mcp_"
SAYS = (
    "A question to a server of the operator. What that server says about it stands in the first "
    "message; the answer is evidence like any other."
)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")  # with the prefix, what every model service takes
_TOKEN = re.compile(r"[\x21-\x7e]*")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PROXY = "it needs nodes/proxy, by which commands run in every pod of a node"
_CREDENTIALS = "it shows a kubeconfig, or what is in one"
_DENIED = {
    "nodes_log": _PROXY,
    "nodes_stats_summary": _PROXY,
    "configuration_view": _CREDENTIALS,
    "configuration_contexts_list": _CREDENTIALS,
    "kubectl_context": _CREDENTIALS,
    "kubectl_generic": "it runs any command of kubectl",
}
_DENIED_WORDS = frozenset(
    (
        *("exec", "run", "command", "shell", "script", "attach", "debug", "proxy", "forward"),
        *("create", "update", "apply", "patch", "write", "set", "edit", "replace", "upgrade"),
        *("delete", "remove", "evict", "kill", "terminate", "cleanup", "scale", "rollout"),
        *("rollback", "restart", "start", "stop", "install", "uninstall", "drain", "cordon"),
        *("uncordon", "taint", "annotate", "upload", "send", "post", "put", "manage", "management"),
        *("impersonate", "secret", "secrets", "credential", "credentials", "password", "passwords"),
        *("token", "tokens", "kubeconfig"),
    )
)
_OBJECT = re.compile(r"(?m)^[ \t-]*[\"']?(?:apiVersion|kind|data|stringData|users|auths)[\"']?\s*:")
_SECRET = re.compile(r"(?i)\bkind\W{1,8}secret(?:list)?\b")
_VALUES = re.compile(r"(?i)\b(?:string)?data\W{0,2}\s*:")


# what the operator allows


@dataclass(frozen=True)
class Allowed:
    """A server, and the tools of it that may be offered."""

    url: str = ""
    token: str = ""
    names: tuple[str, ...] = ()


def allowed(environment: Mapping[str, str]) -> Allowed:
    """Return what the environment allows: nothing, if it names no tool.

    `FAULTLINE_MCP_URL`, `_TOOLS`, `_TOKEN` (or `_TOKEN_FILE`). Raises Rejected for a tool that is
    never offered, and for what cannot be meant.
    """
    given = [part.strip() for part in environment.get("FAULTLINE_MCP_TOOLS", "").split(",")]
    names = tuple(dict.fromkeys(filter(None, given)))
    if not names:
        return Allowed()
    if len(names) > mcp_tools_max:
        raise Rejected(f"FAULTLINE_MCP_TOOLS: expected at most {mcp_tools_max}, got {len(names)}")
    for name in names:
        if reason := denied(name):
            raise Rejected(f"FAULTLINE_MCP_TOOLS: {name[:60]!r} is never offered: {reason}")
    url = environment.get("FAULTLINE_MCP_URL", "")
    token = secret_of(environment, "FAULTLINE_MCP_TOKEN")
    if not _TOKEN.fullmatch(token):
        raise Rejected("FAULTLINE_MCP_TOKEN: expected one word of plain characters")
    check_address("FAULTLINE_MCP_URL", url, token)
    return Allowed(url, token, names)


def denied(name: str) -> str:
    """Say why a tool of this name is never offered; "" if it may be, where an operator names it."""
    if not _NAME.fullmatch(name):
        return "expected a tool's whole name of letters, digits, _ and -, at most 60, no wildcard"
    plain = "_".join(part.lower() for part in _PARTS.findall(name))
    if plain in _DENIED:
        return _DENIED[plain]
    words = [word for word in plain.split("_") if word in _DENIED_WORDS]
    return f"{words[0]!r} in its name is more than reading, or about secrets" if words else ""


# what the server has of it


@dataclass(frozen=True)
class Other:
    """A tool of others: its name, the form of its arguments, its server's words about it."""

    name: str
    schema: Json
    words: str


@dataclass(frozen=True)
class Others:
    """The tools of others in a run, and who answers them; in a replay nobody has to."""

    tools: tuple[Other, ...] = ()
    server: Server | None = None

    @property
    def offered(self) -> list[Tool]:
        """Return them as a model is told of them: no word of their server's."""
        return [Tool(other.name, SAYS, other.schema) for other in self.tools]

    @property
    def words(self) -> str:
        """Return what their server says about them: to be shown between fences."""
        return "\n".join(f"{other.name}: {other.words}" for other in self.tools)

    @property
    def record(self) -> Json:
        """Return what a replay needs, for the record (`recalled`)."""
        return {"others": [asdict(other) for other in self.tools]} if self.tools else {}

    def close(self) -> None:
        """End the session, if there is one."""
        if self.server:
            self.server.close()


def connect(of: Allowed, redactor: Redactor) -> Others:
    """Ask the server for its tools; return those that are allowed. Without it there are none."""
    if not of.names:
        return Others()
    server = Server(of.url, of.token)
    try:
        listed = server.tools(tool_read_s_max)
    except Unavailable as error:
        log.warning("the MCP server has no tools for this run: %s", error)
        listed = []
    return Others(tuple(chosen(listed, of.names, redactor)), server)


def chosen(listed: Iterable[Json], names: Sequence[str], redactor: Redactor) -> Iterable[Other]:
    """Yield the tools that are named, in the order in which they are."""
    there = {str(one.get("name")): one for one in listed}
    for name in names:
        if name not in there:
            log.warning("the MCP server has no tool %s: it is not offered", name)
            continue
        try:
            schema = form(there[name].get("inputSchema"))
        except Rejected as error:
            log.warning("the MCP tool %s is not offered: %s", name, error)
            continue
        told = redactor.text(_words(there[name]))
        yield Other(PREFIX + name, redactor.object(schema), told)


def recalled(about: Json) -> Others:
    """Return the tools of an earlier run, from the first line of its record."""
    return Others(tuple(Other(**other) for other in about.get("others", ())))


def _words(tool: Json) -> str:
    """Return what a server says about a tool and its arguments, in visible lines of one each."""
    schema = tool.get("inputSchema")
    takes = schema.get("properties") if isinstance(schema, dict) else None
    about = {"": tool.get("description")} | {
        f"\n  {neutral.one_line(str(name), 64)}: ": given.get("description")
        for name, given in (takes if isinstance(takes, dict) else {}).items()
        if isinstance(given, dict)
    }
    lines = [name + neutral.one_line(said) for name, said in about.items() if isinstance(said, str)]
    whole = "".join(lines)
    return whole if len(whole) <= mcp_words_chars_max else whole[: mcp_words_chars_max - 1] + "…"


# the form of arguments


def form(schema: Any) -> Json:
    """Return of a JSON Schema what says how arguments look: no prose, no patterns, no references.

    Raises Rejected for one that is too large or too deep.
    """
    bare: Json = {"properties": {}} | (_bare(schema, 0) or {}) | {"type": "object"}
    bare.pop("anyOf", None)  # model services want a plain object at the top
    size = len(strict_json.dumps(bare))
    if size > mcp_schema_bytes_max:
        raise Rejected(f"expected a schema of at most {mcp_schema_bytes_max} bytes, got {size}")
    return bare


def _bare(schema: Any, depth: int) -> Json | None:
    if depth > mcp_schema_depth_max:
        raise Rejected(f"expected a schema of at most {mcp_schema_depth_max} levels")
    if not isinstance(schema, dict):
        return None
    found = {key: keep(schema[key], depth + 1) for key, keep in _KEPT.items() if key in schema}
    kept = {key: value for key, value in found.items() if value is not None}
    if "required" in kept:
        kept["required"] = [name for name in kept["required"] if name in kept.get("properties", ())]
    return kept


def _types(value: Any, _: int) -> Any:
    known = ("string", "number", "integer", "boolean", "object", "array", "null")
    wanted = value if isinstance(value, list) else [value]
    return value if wanted and all(one in known for one in wanted) else None


def _properties(value: Any, depth: int) -> Any:
    if not isinstance(value, dict):
        return None
    plain = {n: _bare(inner, depth) for n, inner in value.items() if _ARGUMENT.fullmatch(n)}
    return {name: inner or {} for name, inner in plain.items()}


def _each(value: Any, depth: int) -> Any:
    found = [_bare(inner, depth) for inner in value] if isinstance(value, list) else []
    return [inner for inner in found if inner] or None


def _names(value: Any, _: int) -> Any:
    plain = isinstance(value, list) and value
    return (
        value if plain and all(isinstance(v, str) and _WORD.fullmatch(v) for v in value) else None
    )


def _number(value: Any, _: int) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


_ARGUMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_WORD = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_KEPT: dict[str, Callable[[Any, int], Any]] = {
    "type": _types, "properties": _properties, "items": _bare, "anyOf": _each, "enum": _names,
    "minimum": _number, "maximum": _number, "required": _names,
}  # fmt: skip


# its answers


class Beside:
    """Answers tools of others from their server, and our own questions from the world."""

    def __init__(
        self, world: Answers, others: Others, redactor: Redactor, left: Callable[[], float]
    ) -> None:
        """`left` says how many seconds the answer under way may still take."""
        self._world, self._server = world, others.server
        self._redactor, self._left = redactor, left

    def answer(self, tool: str, arguments: Json) -> str:
        """Return the answer. Raises Unavailable if there is none, or the tool says it failed."""
        if self._server is None or not tool.startswith(PREFIX):
            return self._world.answer(tool, arguments)
        params = {"name": tool.removeprefix(PREFIX), "arguments": arguments}
        result = self._server.ask("tools/call", params, self._left())
        text = told(result, self._redactor)
        if result.get("isError"):
            raise Unavailable(f"the tool failed: {text}")
        return text


def told(result: Json, redactor: Redactor) -> str:
    """Return the text in a result, without secrets; images, sounds and resources are left out."""
    content = result.get("content")
    parts = (
        [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    )
    texts = [str(part.get("text")) for part in parts if part.get("type") == "text"]
    missing, structured = len(parts) - len(texts), result.get("structuredContent")
    if not texts and isinstance(structured, dict):
        texts = [strict_json.dumps(structured).decode()]
    found = [clean(text, redactor) for text in texts]
    if missing:
        found.append(f"[left out: {missing} parts that are no text]")
    return "\n".join(found) or "the tool answered nothing"


def clean(text: str, redactor: Redactor) -> str:
    """Return text without secrets: by structure where it is JSON or YAML of Kubernetes.

    Raises Unavailable for a Secret whose structure cannot be read, for then its values cannot be
    told from the rest.
    """
    is_json = text.lstrip().startswith(("{", "["))
    if _SECRET.search(text) and _VALUES.search(text):
        if not _readable(text, is_json):
            raise Unavailable("the answer looks like a Secret, and is not shown")
    elif not is_json and not _OBJECT.search(text):
        return redactor.text(text)
    name = "answer.json" if is_json else "answer.yaml"
    return redactor.file(name, text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _readable(text: str, is_json: bool) -> bool:
    try:
        if is_json:
            strict_json.loads(text.encode("utf-8", "replace"))
            return True
        return any(isinstance(document, dict | list) for document in load_yaml(text))
    except ValueError:
        return False
