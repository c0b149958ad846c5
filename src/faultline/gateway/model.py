"""The door to the models: which calls a run may make, and the way there with our key.

A service of models runs more than a model: it searches, fetches addresses, runs code, calls other
servers, keeps files. Whatever a run could reach through it would be a way out, so a call is read
before it goes on: exact paths, and of the tools only those that the client runs itself. What is
sent is written anew from what was read. The key and the address are ours, and nothing of how the
client said who it is goes on. Pure, but for the file that holds a key; `forward.py` sends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faultline import strict_json
from faultline.adapters.trust import check_address
from faultline.errors import NotAllowed, Rejected, TooLarge
from faultline.limits import gateway_body_bytes_max

Json = dict[str, Any]

# Where the services are and what they speak


@dataclass(frozen=True)
class Upstream:
    """One service of models: its address, our key, and the header that carries it."""

    name: str
    url: str
    key: str = field(repr=False)
    header: str  # authorization, x-api-key or x-goog-api-key
    dialect: str  # messages, openai, gemini; of `service` also chat, ollama

    def credentials(self) -> dict[str, str]:
        """Return the header with the key; none if the service wants none."""
        bearer = "Bearer " if self.header == "authorization" else ""
        return {self.header: f"{bearer}{self.key}"} if self.key else {}


_VENDORS = {  # variable of the key, of the address, its default, header of the key, dialect
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://api.anthropic.com",
                  "x-api-key", "messages"),
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com",
               "authorization", "openai"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL",
               "https://generativelanguage.googleapis.com", "x-goog-api-key", "gemini"),
}  # fmt: skip
PROVIDERS = {  # of the built-in loop: address, dialect, whether it needs a key
    "groq": ("https://api.groq.com/openai/v1", "chat", True),
    "openai": ("https://api.openai.com/v1", "chat", True),
    "compatible": ("", "chat", False),
    "anthropic": ("https://api.anthropic.com", "messages", True),
    "ollama": ("http://localhost:11434", "ollama", False),
}


def upstreams(environment: Mapping[str, str]) -> dict[str, Upstream]:
    """Return the services that the environment has a key for, by name; `service` is the loop's.

    Raises Rejected, without saying it, for an address that a key must not travel to.
    """
    found = [_service(environment), *(_vendor(name, environment) for name in _VENDORS)]
    return {each.name: each for each in found if each}


def _vendor(name: str, environment: Mapping[str, str]) -> Upstream | None:
    key_name, url_name, usual, header, dialect = _VENDORS[name]
    key = environment.get(key_name, "")
    # OpenAI's clients have the version in their base address, Anthropic's and Google's have not.
    url = (environment.get(url_name) or usual).rstrip("/").removesuffix("/v1")
    if not key:
        return None
    check_address(url_name, url, key)
    return Upstream(name, url, key, header, dialect)


def _service(environment: Mapping[str, str]) -> Upstream | None:
    provider = environment.get("FAULTLINE_MODEL_PROVIDER") or "compatible"
    if provider not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise Rejected(f"FAULTLINE_MODEL_PROVIDER: expected {known}, got {provider[:40]!r}")
    usual, dialect, needs_key = PROVIDERS[provider]
    url, key = (environment.get("FAULTLINE_MODEL_URL") or usual).rstrip("/"), _key(environment)
    if not url or (needs_key and not key):
        return None
    check_address("FAULTLINE_MODEL_URL", url, key)
    header = "x-api-key" if dialect == "messages" else "authorization"
    return Upstream("service", url, key, header, dialect)


def _key(environment: Mapping[str, str]) -> str:
    if file := environment.get("FAULTLINE_MODEL_KEY_FILE"):
        try:
            return Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise Rejected("FAULTLINE_MODEL_KEY_FILE names a file that cannot be read") from None
    return environment.get("FAULTLINE_MODEL_KEY", "")


# Which calls may be made


@dataclass(frozen=True)
class Asked:
    """A call that may be made, as it goes on: `path` and `query` below the service's address."""

    upstream: Upstream
    method: str
    path: str
    query: str
    model: str  # empty where none is named
    body: bytes
    works: bool  # a model works for it, so it has a usage


@dataclass(frozen=True)
class _Call:
    """A call that a service offers; `path` and `query` are whole expressions."""

    method: str
    path: str
    query: str = ""
    works: bool = True


_MESSAGES = _Call("POST", "v1/messages", r"(beta=true)?")
_MODEL = r"v1beta/models/(?P<model>[A-Za-z0-9][\w.-]{0,99})"
CALLS: dict[str, tuple[_Call, ...]] = {
    "messages": (
        _MESSAGES,
        _Call("POST", "v1/messages/count_tokens", r"(beta=true)?", works=False),
    ),
    "openai": (
        _Call("POST", "v1/responses"),
        _Call("POST", "v1/chat/completions"),
        _Call("GET", "v1/models", r"(client_version=[\w.+-]{1,40})?", works=False),
    ),
    "gemini": (
        _Call("POST", f"{_MODEL}:generateContent"),
        _Call("POST", f"{_MODEL}:streamGenerateContent", r"(alt=sse)?"),
        _Call("POST", f"{_MODEL}:countTokens", works=False),
    ),
    "chat": (_Call("POST", "chat/completions"),),
    "ollama": (_Call("POST", "api/chat"),),
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}")
# Models that search or run code on their own, without a tool being named. Whoever lists one among
# the models that may be used has decided for it.
_REACHES_OUT = re.compile(r"(^|[-/_:])(search|compound|deep-research|sonar|online)", re.IGNORECASE)
# Fields of a body that make a service reach out, go on without us, take up what lies with it, or
# choose another model. All services in one list: none uses such a name for anything else.
_REFUSED = {
    "mcpservers", "container", "background", "previousresponseid", "conversation", "prompt",
    "websearchoptions", "searchparameters", "searchsettings", "compoundcustom", "plugins",
    "enablesearch", "cachedcontent", "models", "fallbacks",
}  # fmt: skip
_KEPT_THERE = {"fileid", "fileuri", "fileurl"}
_ADDRESSES = {"url", "imageurl", "videourl", "audiourl"}
_SOURCES = ("base64", "text", "content")
_REFERENCES = ("item_reference", "container_upload")
# Schemas of tools, what a tool was asked and what it said: a service reads no names in there.
_DATA = {
    "inputschema", "parameters", "parametersjsonschema", "schema", "responseschema",
    "responsejsonschema", "format", "arguments", "args", "response", "metadata",
}  # fmt: skip


def allowed(
    upstream: Upstream,
    method: str,
    path: str,
    query: str,
    body: bytes,
    *,
    models: Collection[str] = (),
) -> Asked:
    """Return the call as it may go on. `models` are those that may be asked; none: any.

    `path` has no leading slash, `query` no question mark; neither is decoded here. Raises
    NotAllowed for another path or for what reaches out, Rejected for what is no such call, and
    TooLarge.
    """
    if len(body) > gateway_body_bytes_max:
        raise TooLarge(f"expected at most {gateway_body_bytes_max} bytes, got {len(body)}")
    call, found = _call(upstream, method, path, query)
    if method == "GET":
        return Asked(upstream, method, path, query, "", b"", call.works)
    given = _read(body)
    model = found.groupdict().get("model") or given.get("model")
    _check_model(model, models)
    _check_body(given, upstream.dialect)
    _settle(given, upstream.dialect, path)
    sent = strict_json.dumps(given)
    return Asked(upstream, method, path, query, str(model), sent, call.works)


def _call(upstream: Upstream, method: str, path: str, query: str) -> tuple[_Call, re.Match[str]]:
    for call in CALLS[upstream.dialect]:
        found = re.fullmatch(call.path, path, re.ASCII)
        if found and method == call.method and re.fullmatch(call.query, query, re.ASCII):
            return call, found
    known = ", ".join(f"{call.method} {call.path}" for call in CALLS[upstream.dialect])
    raise NotAllowed(f"{upstream.name}: expected one of {known}, and no other query")


def _read(body: bytes) -> Json:
    try:
        given = strict_json.loads(body)
    except ValueError as error:
        raise Rejected(f"expected a JSON object as the body: {error}") from None
    if not isinstance(given, dict):
        raise Rejected("expected a JSON object as the body")
    if len({_folded(name) for name in given}) != len(given):
        raise Rejected("expected each field of the body once, however it is written")
    return given


def _folded(name: str) -> str:
    """Return a name as the most lenient service reads it: protobuf's JSON takes snake and camel
    case, Go's takes any case."""
    return name.replace("_", "").lower()


def _check_model(model: object, models: Collection[str]) -> None:
    if not isinstance(model, str) or not _NAME.fullmatch(model):
        raise Rejected("expected the name of a model")
    if models and model not in models:
        raise NotAllowed(f"expected a model among {', '.join(models)}, got {model!r}")
    if not models and _REACHES_OUT.search(model):
        raise NotAllowed(f"{model!r} reaches out on its own: name it among the models, or another")


def _check_body(given: Json, dialect: str) -> None:
    """Raise NotAllowed for whatever makes the service reach out. No recursion: it is as deep as the
    client likes."""
    if refused := [name for name in given if _folded(name) in _REFUSED and given[name]]:
        raise NotAllowed(f"expected no {refused[0]}: the service would reach out, or go back")
    todo: list[Any] = [given]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            for name, value in item.items():
                _check_field(_folded(name), value, dialect)
            todo += [value for name, value in item.items() if not _is_data(name, value)]
        elif isinstance(item, list):
            todo += item


def _is_data(name: str, value: object) -> bool:
    # `input`: of a tool's call an object, of a question to OpenAI a list
    return _folded(name) in _DATA or (name == "input" and isinstance(value, dict))


def _check_field(name: str, value: Any, dialect: str) -> None:
    if name == "tools" and value is not None:
        _check_tools(value, dialect)
    if name in _KEPT_THERE and value:
        raise NotAllowed("expected content in the call itself, got a reference to a file")
    if name in _ADDRESSES and isinstance(value, str) and not value.startswith("data:"):
        raise NotAllowed("expected content in the call itself, got an address to fetch it from")
    if name == "source" and isinstance(value, dict) and value.get("type") not in _SOURCES:
        raise NotAllowed(f"expected a source of type {', '.join(_SOURCES)}")
    if name == "type" and value in _REFERENCES:
        raise NotAllowed("expected content in the call itself, got a reference to what lies there")


def _check_tools(tools: object, dialect: str) -> None:
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Rejected("expected a list of objects as tools")
    for tool in tools:
        if not _RUNS_AT_THE_CLIENT[dialect](tool):
            kind = tool.get("type") or ", ".join(tool)
            raise NotAllowed(
                f"expected tools that the client runs itself, got {str(kind)[:80]!r}: it is the "
                "service that would reach out"
            )


def _messages_tool(tool: Json) -> bool:
    """Anthropic: the client's own, and its shell and editor, which the client runs as well.
    Computer, search, fetch, code execution and MCP are other types, as is whatever will come."""
    kind = tool.get("type", "custom")
    return kind == "custom" or bool(re.fullmatch(r"(bash|text_editor)_\d{8}", str(kind)))


def _openai_tool(tool: Json) -> bool:
    """OpenAI: the client's own, plain or grouped in a `namespace`, whose tools are looked at too.
    `local_shell` is only ever run by the client; `shell` may name a container of theirs, and
    `tool_search` is theirs unless it says otherwise."""
    kind = tool.get("type")
    if kind == "tool_search":
        return tool.get("execution") == "client"
    return kind in ("function", "custom", "local_shell", "namespace")


def _function(tool: Json) -> bool:
    return tool.get("type") == "function"


def _gemini_tool(tool: Json) -> bool:
    return {_folded(name) for name in tool} == {"functiondeclarations"}


_RUNS_AT_THE_CLIENT: dict[str, Callable[[Json], bool]] = {
    "messages": _messages_tool,
    "openai": _openai_tool,
    "chat": _openai_tool,
    "ollama": _function,
    "gemini": _gemini_tool,
}


def _settle(given: Json, dialect: str, path: str) -> None:
    """Ask for the usage where a stream would not tell it, and let nothing lie at the service, for
    another run to go on from: it cannot be named (`previous_response_id`), so nobody misses it."""
    if path.endswith("chat/completions") and given.get("stream"):
        options = given.get("stream_options")
        given["stream_options"] = (options if isinstance(options, dict) else {}) | {
            "include_usage": True
        }
    if dialect == "openai":
        given["store"] = False
