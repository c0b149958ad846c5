"""The models' door without a network: which services, which calls, what they used."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from faultline import strict_json
from faultline.agent import dialects
from faultline.errors import Busy, NotAllowed, Rejected, TooLarge
from faultline.gateway.model import CALLS, PROVIDERS, Upstream, allowed, upstreams
from faultline.gateway.usage import Counter, Meter, Usage
from faultline.limits import (
    gateway_body_bytes_max,
    gateway_model_calls_at_once,
    model_answer_bytes_max,
)

KEY = "sk-of-the-gateway-0123456789"
PATHS = {
    "messages": "v1/messages",
    "openai": "v1/responses",
    "gemini": "v1beta/models/gemini-2.5-pro:generateContent",
    "chat": "chat/completions",
    "ollama": "api/chat",
}
TOOL = {"name": "look", "description": "looks", "input_schema": {"type": "object"}}
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
ASKED = {
    "messages": {"messages": [{"role": "user", "content": "why?"}], "max_tokens": 9},
    "openai": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "why?"}]}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "why?"}]}]},
    "chat": {"messages": [{"role": "user", "content": "why?"}]},
    "ollama": {"messages": [{"role": "user", "content": "why?"}]},
}


def an_upstream(dialect: str) -> Upstream:
    return Upstream("name", "https://models.example", KEY, "authorization", dialect)


def ask(dialect: str, *, path: str = "", query: str = "", models=(), method="POST", **fields):
    """Ask with a body that is fine but for `fields`."""
    named = {} if dialect == "gemini" else {"model": "m-1"}
    body = json.dumps(named | ASKED[dialect] | fields).encode()
    where = path or PATHS[dialect]
    return allowed(an_upstream(dialect), method, where, query, body, models=models)


# which services


@pytest.mark.covers("ISO-03")
def test_every_service_with_a_key_is_there_and_no_other():
    keys = {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o", "GEMINI_API_KEY": "g"}

    found = upstreams(keys)

    assert {name: (u.url, u.credentials()) for name, u in found.items()} == {
        "anthropic": ("https://api.anthropic.com", {"x-api-key": "a"}),
        "openai": ("https://api.openai.com", {"authorization": "Bearer o"}),
        "gemini": ("https://generativelanguage.googleapis.com", {"x-goog-api-key": "g"}),
    }
    assert upstreams({}) == {}
    assert upstreams({"ANTHROPIC_BASE_URL": "https://x.example"}) == {}
    assert "key" not in repr(found["openai"])


def test_an_address_of_the_operators_own_is_taken_with_or_without_the_version():
    found = upstreams(
        {
            "OPENAI_API_KEY": "o",
            "OPENAI_BASE_URL": "https://proxy.example/openai/v1/",
            "ANTHROPIC_API_KEY": "a",
            "ANTHROPIC_BASE_URL": "http://models.ai.svc:8080/",
        }
    )

    assert found["openai"].url == "https://proxy.example/openai"
    assert found["anthropic"].url == "http://models.ai.svc:8080"


@pytest.mark.parametrize(
    ("environment", "url", "dialect", "credentials"),
    [
        ({"FAULTLINE_MODEL_PROVIDER": "groq", "FAULTLINE_MODEL_KEY": "k"},
         "https://api.groq.com/openai/v1", "chat", {"authorization": "Bearer k"}),
        ({"FAULTLINE_MODEL_PROVIDER": "anthropic", "FAULTLINE_MODEL_KEY": "k"},
         "https://api.anthropic.com", "messages", {"x-api-key": "k"}),
        ({"FAULTLINE_MODEL_URL": "http://vllm.ai.svc/v1"}, "http://vllm.ai.svc/v1", "chat", {}),
        ({"FAULTLINE_MODEL_PROVIDER": "ollama"}, "http://localhost:11434", "ollama", {}),
    ],
)  # fmt: skip
def test_the_loops_service_is_the_one_of_its_provider(environment, url, dialect, credentials):
    found = upstreams(environment)["service"]

    assert (found.url, found.dialect, found.credentials()) == (url, dialect, credentials)


def test_the_loops_key_may_lie_in_a_file(tmp_path: Path):
    (tmp_path / "key").write_text(f"{KEY}\n")
    told = {"FAULTLINE_MODEL_PROVIDER": "groq", "FAULTLINE_MODEL_KEY_FILE": f"{tmp_path}/key"}

    assert upstreams(told)["service"].key == KEY
    assert upstreams({"FAULTLINE_MODEL_PROVIDER": "groq"}) == {}
    with pytest.raises(Rejected, match="cannot be read"):
        upstreams(told | {"FAULTLINE_MODEL_KEY_FILE": f"{tmp_path}/none"})


@pytest.mark.parametrize(
    "environment",
    [
        {"FAULTLINE_MODEL_PROVIDER": "bard"},
        {"FAULTLINE_MODEL_URL": "http://models.example", "FAULTLINE_MODEL_KEY": KEY},
        {"OPENAI_BASE_URL": "http://models.example", "OPENAI_API_KEY": KEY},
        {"ANTHROPIC_BASE_URL": f"https://user:{KEY}@models.example", "ANTHROPIC_API_KEY": KEY},
        {"GOOGLE_GEMINI_BASE_URL": "models.example", "GEMINI_API_KEY": KEY},
    ],
)
def test_a_key_travels_to_no_address_where_others_could_read_it(environment):
    with pytest.raises(Rejected, match="expected") as caught:
        upstreams(environment)

    assert KEY not in str(caught.value)


def test_the_door_and_the_loop_know_the_same_providers_and_paths():
    of_the_loop = {
        name: (p.url, p.needs_key, p.dialect.path.lstrip("/"), set(p.dialect.headers("k")))
        for name, p in dialects.PROVIDERS.items()
    }
    of_the_door = {}
    for name, (url, dialect, needs_key) in PROVIDERS.items():
        told = {"FAULTLINE_MODEL_PROVIDER": name, "FAULTLINE_MODEL_KEY": "k"}
        service = upstreams(told | {"FAULTLINE_MODEL_URL": url or "http://x"})["service"]
        [path] = {call.path for call in CALLS[dialect] if call.works}
        header = {"authorization": "Authorization"}.get(service.header, service.header)
        more = {"anthropic-version"} if dialect == "messages" else set()
        of_the_door[name] = (url, needs_key, path, {header} | more)

    assert of_the_door == of_the_loop


@pytest.mark.parametrize("name", list(dialects.PROVIDERS))
@pytest.mark.parametrize("last", [False, True])
def test_what_the_loop_asks_goes_on_as_it_is(name, last):
    provider = dialects.PROVIDERS[name]
    tools = [dialects.Tool("look", "looks", {"type": "object", "properties": {"url": {}}})]
    call = dialects.Call("c1", "look", {"url": "http://a", "tools": 1})
    talk = [
        dialects.Turn("user", "why?"),
        dialects.Turn("assistant", "", (call,)),
        dialects.Turn("tool", "because", call=call),
    ]
    body = provider.dialect.body("m-1", "be brief", talk, tools, last)
    path = provider.dialect.path.lstrip("/")

    asked = allowed(an_upstream(PROVIDERS[name][1]), "POST", path, "", strict_json.dumps(body))

    assert json.loads(asked.body) == body
    assert asked.model == "m-1"


# which calls


@pytest.mark.parametrize(
    ("dialect", "method", "path", "query", "works"),
    [
        ("messages", "POST", "v1/messages", "", True),
        ("messages", "POST", "v1/messages", "beta=true", True),
        ("messages", "POST", "v1/messages/count_tokens", "beta=true", False),
        ("openai", "POST", "v1/responses", "", True),
        ("openai", "POST", "v1/chat/completions", "", True),
        ("openai", "GET", "v1/models", "", False),
        ("openai", "GET", "v1/models", "client_version=0.169.0", False),
        ("gemini", "POST", "v1beta/models/gemini-2.5-pro:generateContent", "", True),
        ("gemini", "POST", "v1beta/models/gemini-2.5-pro:streamGenerateContent", "alt=sse", True),
        ("gemini", "POST", "v1beta/models/gemini-2.5-pro:countTokens", "", False),
        ("chat", "POST", "chat/completions", "", True),
        ("ollama", "POST", "api/chat", "", True),
    ],
)
def test_the_calls_that_an_engine_makes_are_allowed(dialect, method, path, query, works):
    asked = ask(dialect, method=method, path=path, query=query)

    assert (asked.method, asked.path, asked.query, asked.works) == (method, path, query, works)
    names = {"gemini": "gemini-2.5-pro"}
    assert asked.model == ("" if method == "GET" else names.get(dialect, "m-1"))


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize(
    ("dialect", "method", "path", "query"),
    [
        ("messages", "GET", "v1/messages", ""),
        ("messages", "POST", "/v1/messages", ""),
        ("messages", "POST", "v1/messages/", ""),
        ("messages", "POST", "v1/Messages", ""),
        ("messages", "POST", "v1/messages\n", ""),
        ("messages", "POST", "v1/messages/batches", ""),
        ("messages", "POST", "v1/files", ""),
        ("messages", "POST", "v1/messages/../files", ""),
        ("messages", "POST", "v1/messages%2f..%2ffiles", ""),
        ("messages", "POST", "v1/messages", "beta=true&x=1"),
        ("messages", "POST", "v1/messages", "beta=false"),
        ("messages", "POST", "chat/completions", ""),
        ("openai", "DELETE", "v1/models", ""),
        ("openai", "GET", "v1/responses", ""),
        ("openai", "GET", "v1/responses/resp_1", ""),
        ("openai", "POST", "v1/responses/compact", ""),
        ("openai", "GET", "v1/files", ""),
        ("openai", "POST", "v1/files", ""),
        ("openai", "POST", "v1/vector_stores", ""),
        ("openai", "POST", "v1/fine_tuning/jobs", ""),
        ("openai", "GET", "v1/models", "client_version=1&x=http://a"),
        ("gemini", "POST", "v1beta/models/gemini-2.5-pro:generateContent", "key=abc"),
        ("gemini", "POST", "v1beta/models/a/b:generateContent", ""),
        ("gemini", "POST", "v1beta/models/..:generateContent", ""),
        ("gemini", "POST", "v1beta/models/gemini-2.5-pro:batchGenerateContent", ""),
        ("gemini", "POST", "v1beta/cachedContents", ""),
        ("gemini", "POST", "upload/v1beta/files", ""),
        ("gemini", "POST", "v1beta/tunedModels/x:generateContent", ""),
        ("chat", "POST", "v1/responses", ""),
        ("chat", "GET", "models", ""),
        ("ollama", "POST", "api/pull", ""),
        ("ollama", "POST", "api/create", ""),
        ("ollama", "DELETE", "api/delete", ""),
    ],
)
def test_every_other_path_method_or_query_is_refused(dialect, method, path, query):
    with pytest.raises(NotAllowed, match="expected one of"):
        ask(dialect, method=method, path=path, query=query)


HOSTED = {
    "messages": [
        {"type": "web_search_20250305", "name": "web_search"},
        {"type": "web_fetch_20250910", "name": "web_fetch"},
        {"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "computer_20250124", "name": "computer"},
        {"type": "mcp_toolset", "mcp_server_name": "x"},
        {"type": "tool_search_tool_regex_20251119", "name": "t"},
        {"type": "bash_20250124x", "name": "bash"},
        {"type": "text_editor", "name": "edit"},
        {"type": None, "name": "x"},
        {"type": ["custom"], "name": "x"},
        {"type": "something_new", "name": "x"},
    ],
    "openai": [
        {"type": "web_search"},
        {"type": "web_search", "external_web_access": False},
        {"type": "web_search_preview_2025_03_11"},
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "computer_use_preview", "environment": "browser"},
        {"type": "mcp", "server_label": "x", "server_url": "https://x.example"},
        {"type": "image_generation"},
        {"type": "shell", "environment": {"type": "container_auto"}},
        {"type": "shell"},
        {"type": "tool_search"},
        {"type": "tool_search", "execution": "server"},
        {"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]},
        {"name": "no type"},
        {},
    ],
    "gemini": [
        {"googleSearch": {}},
        {"google_search": {}},
        {"googleSearchRetrieval": {}},
        {"urlContext": {}},
        {"codeExecution": {}},
        {"fileSearch": {}},
        {"googleMaps": {}},
        {"computerUse": {}},
        {"mcpServers": [{}]},
        {"functionDeclarations": [], "googleSearch": {}},
        {},
    ],
    "ollama": [{"type": "web_search"}, {}],
}
HOSTED["chat"] = HOSTED["openai"]


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize(
    ("dialect", "tool"), [(name, tool) for name, tools in HOSTED.items() for tool in tools], ids=str
)
def test_a_tool_that_the_service_runs_is_refused(dialect, tool):
    fine = {"gemini": {"functionDeclarations": []}, "messages": TOOL}.get(dialect, FUNCTION)
    with pytest.raises(NotAllowed, match="tools that the client runs"):
        ask(dialect, tools=[fine, tool])
    ask(dialect, tools=[fine])


@pytest.mark.parametrize(
    ("dialect", "tool"),
    [
        ("messages", TOOL),
        ("messages", TOOL | {"type": "custom"}),
        ("messages", {"type": "bash_20250124", "name": "bash"}),
        ("messages", {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}),
        ("openai", {"type": "function", "name": "look", "parameters": {"type": "object"}}),
        ("openai", {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}}),
        ("openai", {"type": "local_shell"}),
        ("openai", {"type": "namespace", "name": "n", "tools": [{"type": "function"}]}),
        ("openai", {"type": "tool_search", "execution": "client"}),
        ("gemini", {"functionDeclarations": [{"name": "look"}]}),
        ("gemini", {"function_declarations": [{"name": "look"}]}),
        ("ollama", FUNCTION),
    ],
    ids=str,
)
def test_a_tool_that_the_client_runs_goes_on(dialect, tool):
    assert json.loads(ask(dialect, tools=[tool]).body)["tools"] == [tool]


@pytest.mark.parametrize("tools", [{}, {"googleSearch": {}}, "web_search", [["web_search"]], [1]])
@pytest.mark.parametrize("dialect", list(PATHS))
def test_tools_that_are_no_list_of_objects_are_refused(dialect, tools):
    with pytest.raises(Rejected):
        ask(dialect, tools=tools)


def content(dialect: str, part: dict) -> dict:
    """Return the fields of a question with a part of content."""
    said = {"role": "user", "content": [part]}
    if dialect == "gemini":
        return {"contents": [{"role": "user", "parts": [part]}]}
    return {"input": [said]} if dialect == "openai" else {"messages": [said]}


OUTSIDE = [
    ("messages", {"mcp_servers": [{"type": "url", "url": "https://x.example", "name": "x"}]}),
    ("messages", {"container": {"skills": [{"type": "anthropic", "skill_id": "pdf"}]}}),
    ("messages", {"container": "container_1"}),
    ("openai", {"background": True}),
    ("openai", {"previous_response_id": "resp_1"}),
    ("openai", {"conversation": "conv_1"}),
    ("openai", {"prompt": {"id": "pmpt_1"}}),
    ("openai", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
    ("openai", {"input": [{"type": "tool_search_output", "tools": [{"type": "web_search"}]}]}),
    ("chat", {"web_search_options": {}, "plugins": [{"id": "web"}]}),
    ("chat", {"search_parameters": {"mode": "on"}}),
    ("chat", {"models": ["another"]}),
    ("gemini", {"cachedContent": "cachedContents/1"}),
    ("gemini", {"cached_content": "cachedContents/1"}),
    ("messages", {"system": [{"type": "text", "source": {"type": "url", "url": "http://a"}}]}),
    *(
        (dialect, content(dialect, part))
        for dialect, part in [
            ("messages", {"type": "image", "source": {"type": "url", "url": "http://a/x.png"}}),
            ("messages", {"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
            ("messages", {"type": "document", "source": {"type": "something_new"}}),
            ("messages", {"type": "container_upload", "file_id": "file_1"}),
            ("messages", {"type": "tool_result", "tool_use_id": "t", "content": [
                {"type": "image", "source": {"type": "url", "url": "https://a/x.png"}}]}),
            ("openai", {"type": "input_image", "image_url": "https://a/x.png"}),
            ("openai", {"type": "input_image", "file_id": "file_1"}),
            ("openai", {"type": "input_file", "file_url": "https://a/x.pdf"}),
            ("openai", {"type": "input_file", "file_id": "file_1"}),
            ("chat", {"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}),
            ("chat", {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
            ("chat", {"type": "video_url", "video_url": {"url": "https://a/x.mp4"}}),
            ("chat", {"type": "file", "file": {"file_id": "file_1"}}),
            ("gemini", {"fileData": {"fileUri": "gs://a/x", "mimeType": "text/plain"}}),
            ("gemini", {"file_data": {"file_uri": "https://a/x"}}),
            ("gemini", {"functionResponse": {"name": "f", "response": {}, "parts": [
                {"fileData": {"fileUri": "https://a/x"}}]}}),
        ]
    ),
]  # fmt: skip


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize(("dialect", "fields"), OUTSIDE, ids=str)
def test_what_makes_a_service_reach_out_or_back_is_refused(dialect, fields):
    with pytest.raises(NotAllowed, match="expected"):
        ask(dialect, **fields)


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("messages", {"tools": [TOOL | {"input_schema": {"url": "x", "tools": {}}}]}),
        ("messages", content("messages", {"type": "tool_use", "id": "t", "name": "fetch",
                                          "input": {"url": "http://a", "tools": "all"}})),
        ("messages", content("messages", {"type": "image", "source": {
            "type": "base64", "media_type": "image/png", "data": "aGk="}})),
        ("messages", {"mcp_servers": [], "container": None, "tools": None}),
        ("openai", content("openai", {"type": "input_image", "image_url": "data:image/png,"})),
        ("openai", {"background": False, "previous_response_id": None, "conversation": None}),
        ("openai", {"text": {"format": {"type": "json_schema", "schema": {
            "properties": {"source": {"type": "string"}}}}}}),
        ("gemini", content("gemini", {"functionCall": {"name": "f", "args": {"fileUri": "x"}}})),
        ("gemini", content("gemini", {"inlineData": {"mimeType": "image/png", "data": "aGk="}})),
        ("ollama", {"format": {"properties": {"source": {"type": "string"}}}}),
    ],
    ids=str,
)  # fmt: skip
def test_what_only_looks_like_it_goes_on(dialect, fields):
    sent = json.loads(ask(dialect, **fields).body)

    assert {name: sent[name] for name in fields} == fields


def test_only_the_models_of_the_list_are_asked():
    assert ask("messages", models=["m-1", "m-2"]).model == "m-1"
    with pytest.raises(NotAllowed, match="m-2"):
        ask("messages", models=["m-2"])
    with pytest.raises(NotAllowed, match="flash"):
        ask("gemini", models=["gemini-2.5-flash"])


@pytest.mark.parametrize(
    "model",
    ["gpt-4o-search-preview", "gpt-5-search-api", "groq/compound", "compound-beta", "sonar-pro",
     "o3-deep-research", "openai/gpt-4o:online"],
)  # fmt: skip
def test_a_model_that_searches_by_itself_has_to_be_named_by_the_operator(model):
    with pytest.raises(NotAllowed, match="on its own"):
        ask("chat", model=model)
    assert ask("chat", model=model, models=[model]).model == model


@pytest.mark.parametrize(
    "model", ["nousresearch/hermes-3:70b", "llama3:8b", "claude-sonnet-4-5", "org/m@1+x"]
)
def test_a_model_of_another_name_is_asked(model):
    assert ask("chat", model=model).model == model


@pytest.mark.parametrize("model", [None, "", 1, ["m"], "a b", "m\n", "x" * 300, "-m", "mödel"])
def test_what_is_no_name_of_a_model_is_refused(model):
    with pytest.raises(Rejected, match="name of a model"):
        ask("messages", model=model)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{", b'{"a":1,"a":2}', b'{"model":"m","Model":"n"}', b"\xff{}",
     b'{"model":"m","mod_el":"n"}', b'{"x":NaN}', b'{"m":' + b"[" * 100_000, b"model=m"],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(Rejected, match="expected"):
        allowed(an_upstream("messages"), "POST", "v1/messages", "", body)


def test_a_body_over_the_limit_is_refused_unread():
    body = b"x" * (gateway_body_bytes_max + 1)

    with pytest.raises(TooLarge):
        allowed(an_upstream("messages"), "POST", "v1/messages", "", body)


def test_deep_content_is_looked_at_to_the_bottom():
    part = {"type": "image", "source": {"type": "url", "url": "http://a"}}
    for _ in range(300):
        part = {"type": "tool_result", "content": [part]}

    with pytest.raises(NotAllowed):
        ask("messages", **content("messages", part))


def test_a_stream_of_chat_completions_is_asked_to_tell_its_usage():
    for dialect, path in (("chat", "chat/completions"), ("openai", "v1/chat/completions")):
        sent = json.loads(ask(dialect, path=path, messages=[], stream=True).body)
        assert sent["stream_options"] == {"include_usage": True}
        options = {"include_usage": False, "x": 1}
        sent = json.loads(ask(dialect, path=path, stream=True, stream_options=options).body)
        assert sent["stream_options"] == {"include_usage": True, "x": 1}
        assert "stream_options" not in json.loads(ask(dialect, path=path, stream=False).body)
    assert "stream_options" not in json.loads(ask("openai", stream=True).body)


def test_nothing_is_left_lying_at_the_service():
    assert json.loads(ask("openai").body)["store"] is False
    assert json.loads(ask("openai", store=True).body)["store"] is False


# what was used


def sse(*events: dict, names: bool = True) -> bytes:
    said = [f"event: {e.get('type')}\n" * names + f"data: {json.dumps(e)}\n\n" for e in events]
    return "".join(said).encode()


START = {"type": "message_start", "message": {"usage": {
    "input_tokens": 20, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 75,
    "output_tokens": 1}}}  # fmt: skip
DELTA = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": 'no "usage": {"'}}
ANSWERS = {
    "messages": (
        "text/event-stream; charset=utf-8",
        sse(START, DELTA, {"type": "message_delta", "usage": {"output_tokens": 10}}),
    ),
    "messages, plain": (
        "application/json",
        json.dumps({"usage": START["message"]["usage"] | {"output_tokens": 10}}).encode(),
    ),
    "responses": (
        "text/event-stream",
        sse({"type": "response.created", "response": {"usage": None}}, DELTA,
            {"type": "response.completed", "response": {"output": [], "usage": {
                "input_tokens": 100, "output_tokens": 10, "total_tokens": 110,
                "input_tokens_details": {"cached_tokens": 90}}}}),
    ),
    "chat": (
        "text/event-stream",
        sse({"choices": [{"delta": {"content": "é usage"}}], "usage": None},
            {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}, names=False)
        + b"data: [DONE]\n\n",
    ),
    "chat, CRLF and no space": (
        "text/event-stream",
        b': hello\r\n\r\ndata:{"usage":{"prompt_tokens":100,"completion_tokens":10}}\r\n\r\n',
    ),
    "chat, CR alone": (
        "text/event-stream",
        b'data: {"x":1}\rdata: {"usage":{"prompt_tokens":100,"completion_tokens":10}}\r\r',
    ),
    "chat, plain and spread over lines": (
        "application/json",
        json.dumps({"usage": {"prompt_tokens": 100, "completion_tokens": 10}}, indent=2).encode(),
    ),
    "gemini": (
        "text/event-stream",
        sse({"usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 1}},
            {"usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 4,
                               "thoughtsTokenCount": 6, "totalTokenCount": 110}}, names=False),
    ),
    "gemini, an array": (
        "application/json; charset=UTF-8",
        json.dumps([{"usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 1}},
                    {"usageMetadata": {"promptTokenCount": 90, "toolUsePromptTokenCount": 10,
                                       "candidatesTokenCount": 10}}], indent=1)
        .encode(),
    ),
    "ollama": (
        "application/x-ndjson",
        b'{"message":{"content":"a"},"done":false}\n'
        b'{"done":true,"prompt_eval_count":100,"eval_count":10}\n',
    ),
    "ollama, plain": ("application/json", b'{"prompt_eval_count":100,"eval_count":10}'),
}  # fmt: skip
EXPECTED = {"gemini, an array": Usage(110, 10)}


@pytest.mark.parametrize("name", list(ANSWERS))
def test_the_usage_is_found_however_the_answer_is_cut_into_pieces(name):
    kind, answer = ANSWERS[name]
    pieces = [(answer[:n], answer[n:]) for n in range(len(answer) + 1)]
    pieces.append(tuple(answer[n : n + 1] for n in range(len(answer))))

    for parts in pieces:
        counter = Counter(kind)
        for part in parts:
            counter.take(part)
        assert counter.usage(4_000, whole=True) == EXPECTED.get(name, Usage(100, 10))


def test_an_answer_that_was_cut_off_is_counted_by_what_is_known_and_by_its_size():
    counter = Counter("text/event-stream")
    counter.take(sse(START, *[DELTA] * 40))

    assert counter.usage(40, whole=False) == Usage(100, 41)

    counter = Counter("text/event-stream")
    counter.take(sse(*[DELTA] * 7))
    assert counter.usage(400, whole=False) == Usage(100, 7)


def test_an_answer_that_tells_no_usage_is_counted_by_its_size():
    for kind in ("application/json", "text/html", ""):
        counter = Counter(kind)
        counter.take(b"x" * 40)
        assert counter.usage(400, whole=True) == Usage(100, 10)


def test_a_line_without_end_is_not_kept():
    counter = Counter("text/event-stream")
    for _ in range(6):
        counter.take(b'data: {"usage"' + b" " * (model_answer_bytes_max // 4))

    assert len(counter._rest) <= model_answer_bytes_max
    counter.take(b"\n" + sse({"usage": {"prompt_tokens": 3, "completion_tokens": 2}}))
    assert counter.usage(0, whole=True) == Usage(3, 2)


@pytest.mark.parametrize("count", [-1, True, "9", 1.5, None, [9], {"a": 1}])
def test_what_is_no_count_is_not_counted(count):
    counter = Counter("application/json")
    counter.take(json.dumps({"usage": {"prompt_tokens": 7, "completion_tokens": count}}).encode())

    assert counter.usage(0, whole=True) == Usage(7, 0)


# the bounds of a run


def test_after_its_tokens_a_run_gets_no_further_call_and_the_log_says_so_once(caplog):
    meter = Meter()
    for _ in range(2):
        assert meter.begin("r-1", 100) == ""
        meter.end("r-1", Usage(40, 10))

    with caplog.at_level(logging.WARNING):
        assert [meter.begin("r-1", 100) for _ in range(3)] == [
            "expected at most 100 tokens of this run, and it has used 100"
        ] * 3
    assert [record.run for record in caplog.records] == ["r-1"]
    assert meter.begin("r-2", 100) == ""
    assert meter.begin("r-1", 0) == ""
    assert meter.usage("r-1") == Usage(80, 20)


def test_after_its_calls_a_run_gets_no_further_one():
    meter = Meter(calls_max=2)
    for _ in range(2):
        assert meter.begin("r-1", 0) == ""
        meter.end("r-1", Usage())

    assert "at most 2 calls" in meter.begin("r-1", 0)
    assert meter.calls("r-1") == 2


def test_a_run_has_so_many_calls_at_once():
    meter = Meter()
    for _ in range(gateway_model_calls_at_once):
        meter.begin("r-1", 0)

    with pytest.raises(Busy, match="at once"):
        meter.begin("r-1", 0)
    meter.end("r-1", Usage())
    assert meter.begin("r-1", 0) == ""


def test_the_run_without_a_call_for_the_longest_time_is_forgotten_first():
    meter = Meter(runs_max=3)
    meter.begin("under way", 0)
    for run in ("old", "young", "old", "new"):
        meter.begin(run, 0)
        meter.end(run, Usage(1, 1))

    assert [meter.calls(run) for run in ("under way", "old", "young", "new")] == [1, 2, 0, 1]
    assert meter.usage("old") == Usage(2, 2)
    assert meter.usage("young") == Usage()


def test_calls_at_the_same_time_are_all_counted():
    meter = Meter(calls_max=10_000)

    def work():
        for _ in range(500):
            assert meter.begin("r-1", 0) == ""
            meter.end("r-1", Usage(1, 2))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (meter.calls("r-1"), meter.usage("r-1")) == (2_000, Usage(2_000, 4_000))
