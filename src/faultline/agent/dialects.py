"""What the model services say over HTTP, and how it becomes one form. Pure; `backends.py` sends it.

Three dialects: chat completions (OpenAI, Groq, vLLM and others like them), Anthropic's messages,
Ollama's chat. A request offers tools, or asks for one JSON object, never both: Groq and others
refuse the two together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ANSWER_TOKENS_MAX = 8_192  # of one answer, where a service lets us say so
_CONTEXT_TOKENS = 16_384  # Ollama's own default cuts the question off without a word

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A tool that the model wants to use. `arguments` is whatever it sent, perhaps no object."""

    id: str
    name: str
    arguments: Any


@dataclass(frozen=True)
class Turn:
    """A part of the talk: `user`, `assistant` (with its calls), or `tool` (the answer to one)."""

    role: str
    text: str
    calls: tuple[Call, ...] = ()
    call: Call | None = None


@dataclass(frozen=True)
class Reply:
    """What the model answered, and the tokens that it took."""

    text: str
    calls: tuple[Call, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True)
class Tool:
    """A tool as it is offered: a name, a sentence, a JSON Schema of its arguments."""

    name: str
    says: str
    schema: Json


@dataclass(frozen=True)
class Dialect:
    """How one kind of service is spoken to."""

    path: str
    timeout_s: float
    headers: Callable[[str], dict[str, str]]
    body: Callable[[str, str, Sequence[Turn], Sequence[Tool], bool], Json]
    reply: Callable[[Json], Reply]


@dataclass(frozen=True)
class Provider:
    """A service by its name: where it is, what it speaks, its model if none is named."""

    url: str
    model: str
    dialect: Dialect
    needs_key: bool = True


# chat completions: OpenAI and those like it


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _chat(
    model: str, system: str, talk: Sequence[Turn], tools: Sequence[Tool], json_only: bool
) -> Json:
    messages = [{"role": "system", "content": system}, *map(_chat_message, talk)]
    body: Json = {"model": model, "messages": messages, "max_completion_tokens": ANSWER_TOKENS_MAX}
    if json_only:
        return body | {"response_format": {"type": "json_object"}}
    return body | {"tools": [_function(tool) for tool in tools], "tool_choice": "auto"}


def _chat_message(turn: Turn) -> Json:
    if turn.call:
        return {"role": "tool", "tool_call_id": turn.call.id, "content": turn.text}
    if not turn.calls:
        return {"role": turn.role, "content": turn.text}
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for call in turn.calls
    ]
    return {"role": turn.role, "content": turn.text or None, "tool_calls": calls}


def _function(tool: Tool) -> Json:
    told = {"name": tool.name, "description": tool.says, "parameters": tool.schema}
    return {"type": "function", "function": told}


def _chat_reply(answer: Json) -> Reply:
    message = answer["choices"][0]["message"]
    usage = answer.get("usage") or {}
    return Reply(
        text=message.get("content") or "",
        calls=tuple(
            Call(str(call.get("id") or n), call["function"]["name"], _parsed(call["function"]))
            for n, call in enumerate(message.get("tool_calls") or ())
        ),
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
    )


def _parsed(function: Json) -> Any:
    """Return the arguments of a call; they travel as text, and may be anything."""
    given = function.get("arguments")
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given or "{}")
    except (ValueError, RecursionError):
        return given


# Anthropic's messages


def _anthropic_headers(key: str) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


def _messages(
    model: str, system: str, talk: Sequence[Turn], tools: Sequence[Tool], json_only: bool
) -> Json:
    """Answers to tools go together into one message, and the tools stay named to the end."""
    messages: list[Json] = []
    for turn in talk:
        role = "assistant" if turn.role == "assistant" else "user"
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += _blocks(turn)
        else:
            messages.append({"role": role, "content": _blocks(turn)})
    offered = [
        {"name": tool.name, "description": tool.says, "input_schema": tool.schema} for tool in tools
    ]
    return {
        "model": model,
        "max_tokens": ANSWER_TOKENS_MAX,
        "system": system,
        "messages": messages,
        "tools": offered,
        "tool_choice": {"type": "none" if json_only else "auto"},
    }


def _blocks(turn: Turn) -> list[Json]:
    if turn.call:
        return [{"type": "tool_result", "tool_use_id": turn.call.id, "content": turn.text}]
    text = [{"type": "text", "text": turn.text}] if turn.text else []
    return text + [
        {
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": call.arguments if isinstance(call.arguments, dict) else {},
        }
        for call in turn.calls
    ]


def _messages_reply(answer: Json) -> Reply:
    blocks, usage = answer["content"], answer.get("usage") or {}
    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
    return Reply(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        calls=tuple(
            Call(block["id"], block["name"], block.get("input"))
            for block in blocks
            if block["type"] == "tool_use"
        ),
        tokens_in=_count(usage, "input_tokens", *cached),
        tokens_out=_count(usage, "output_tokens"),
    )


# Ollama


def _ollama(
    model: str, system: str, talk: Sequence[Turn], tools: Sequence[Tool], json_only: bool
) -> Json:
    messages = [{"role": "system", "content": system}, *map(_ollama_message, talk)]
    options = {"num_ctx": _CONTEXT_TOKENS, "num_predict": ANSWER_TOKENS_MAX, "temperature": 0.3}
    body: Json = {"model": model, "messages": messages, "stream": False, "options": options}
    return body | (
        {"format": "json"} if json_only else {"tools": [_function(tool) for tool in tools]}
    )


def _ollama_message(turn: Turn) -> Json:
    if turn.call:
        return {"role": "tool", "tool_name": turn.call.name, "content": turn.text}
    calls = [{"function": {"name": call.name, "arguments": call.arguments}} for call in turn.calls]
    return {"role": turn.role, "content": turn.text} | ({"tool_calls": calls} if calls else {})


def _ollama_reply(answer: Json) -> Reply:
    message = answer["message"]
    return Reply(
        text=message.get("content") or "",
        calls=tuple(
            Call(str(n), call["function"]["name"], _parsed(call["function"]))
            for n, call in enumerate(message.get("tool_calls") or ())
        ),
        tokens_in=_count(answer, "prompt_eval_count"),
        tokens_out=_count(answer, "eval_count"),
    )


def _count(usage: Mapping[str, Any], *names: str) -> int:
    """Return the sum of these counts; what is no count is none."""
    found = (usage.get(name) for name in names)
    return sum(n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0)


CHAT = Dialect("/chat/completions", 60.0, _bearer, _chat, _chat_reply)
MESSAGES = Dialect("/v1/messages", 60.0, _anthropic_headers, _messages, _messages_reply)
OLLAMA = Dialect("/api/chat", 180.0, _bearer, _ollama, _ollama_reply)

PROVIDERS: dict[str, Provider] = {
    "groq": Provider("https://api.groq.com/openai/v1", "llama-3.3-70b-versatile", CHAT),
    "openai": Provider("https://api.openai.com/v1", "gpt-4.1-mini", CHAT),
    "compatible": Provider("", "", CHAT, needs_key=False),
    "anthropic": Provider("https://api.anthropic.com", "claude-sonnet-4-5", MESSAGES),
    "ollama": Provider("http://localhost:11434", "llama3", OLLAMA, needs_key=False),
}
