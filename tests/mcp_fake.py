"""An MCP server on loopback (streamable HTTP, 2025-06-18) with the tools of kubernetes-mcp-server.

The names, hints and arguments are those of containers/kubernetes-mcp-server (Apache-2.0); the
sentences are ours. `answers` says what a tool answers: a text, a list of content parts, a whole
result, an exception for a JSON-RPC error, or a function of the arguments to one of these. What was
asked is kept.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


def tool(name: str, takes: str = "", *, reads: bool = True, says: str = "") -> Json:
    """Return a tool as a server lists it; `takes` names its arguments, `*` marks one it needs."""
    words = takes.split()
    named = {w.rstrip("*"): {"type": "string", "description": f"The {w}"} for w in words}
    return {
        "name": name,
        "description": says or f"What {name} does.",
        "annotations": {"readOnlyHint": reads, "destructiveHint": False},
        "inputSchema": {
            "type": "object",
            "properties": named,
            "required": [word[:-1] for word in words if word.endswith("*")],
        },
    }


READS = [
    tool("events_list", "namespace"),
    tool("helm_list", "namespace"),
    tool("namespaces_list"),
    tool("nodes_top", "name"),
    tool("pods_get", "name* namespace"),
    tool("pods_list", "labelSelector"),
    tool("pods_list_in_namespace", "namespace*"),
    tool("pods_log", "name* namespace"),
    tool("pods_top", "name namespace"),
    tool("resources_get", "apiVersion* kind* name* namespace"),
    tool("resources_list", "apiVersion* kind* namespace"),
]
HINTED = [  # they say that they only read
    tool("configuration_view", "minified"),
    tool("configuration_contexts_list"),
    tool("nodes_log", "name* query*"),
    tool("nodes_stats_summary", "name*"),
]
WRITES = [
    tool("helm_install", "chart*", reads=False),
    tool("helm_uninstall", "name*", reads=False),
    tool("pods_delete", "name*", reads=False),
    tool("pods_exec", "name* command*", reads=False),
    tool("pods_run", "image*", reads=False),
    tool("resources_create_or_update", "resource*", reads=False),
    tool("resources_delete", "kind* name*", reads=False),
    tool("resources_scale", "kind* name* scale*", reads=False),
]
UNKNOWN = [tool("cluster_insight", "question*")]  # new, and it says that it only reads
TOOLS = [*READS, *HINTED, *WRITES, *UNKNOWN]


class McpFake(ThreadingHTTPServer):
    """One server. `calls` are the tools that were called, `asked` the methods, `headers` of all."""

    daemon_threads = True

    def __init__(self, answers: Json | None = None, *, tools: list[Json] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.tools = answers or {}, TOOLS if tools is None else tools
        self.page, self.streams, self.token = 7, False, ""
        self.stateless = False  # a server that knows no sessions
        self.status, self.location = 0, ""  # of every answer, if it is set
        self.endless: Callable[[], bytes] | None = None  # what an answer is made of, for ever
        self.asked: list[str] = []
        self.headers: list[Json] = []
        self.calls: list[tuple[str, Any]] = []
        self.sessions: set[str] = set()
        self.begun = 0
        self.lock = threading.Lock()

    def handle_error(self, *_: Any) -> None:
        """Whoever asked may have hung up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mcp"

    def forget(self) -> None:
        """Lose every session, as a server does that was started again."""
        self.sessions.clear()

    def result(self, method: str, params: Json) -> Json:
        """Return the result of a request, or raise what the server would not do."""
        if method == "initialize":
            about = {"name": "fake", "version": "1"}
            return {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": about}
        if method == "tools/list":
            start = int(params.get("cursor", "0"))
            end = start + self.page
            more = {"nextCursor": str(end)} if end < len(self.tools) else {}
            return {"tools": self.tools[start:end]} | more
        name, given = params["name"], params["arguments"]
        self.calls.append((name, given))
        said = self.answers.get(name, f"{name} of the server")
        said = said(given) if callable(said) else said
        if isinstance(said, Exception):
            raise said
        if isinstance(said, str):
            said = [{"type": "text", "text": said}]
        return said if isinstance(said, dict) else {"content": said}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: McpFake

    def do_POST(self) -> None:
        fake = self.server
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = message["method"]
        with fake.lock:
            fake.asked.append(method)
            fake.headers.append({k.lower(): v for k, v in self.headers.items()})
        refused = self._refused(method)
        if refused or "id" not in message:
            self._say(refused or 202, b"", {"Location": fake.location})
        elif method == "tools/call" and fake.endless:
            self._go_on(fake.endless)
        else:
            self._answer(self._message(message["id"], method, message.get("params", {})), method)

    def _refused(self, method: str) -> int:
        fake, session = self.server, self.headers.get("mcp-session-id")
        if fake.status:
            return fake.status
        if fake.token and self.headers.get("authorization") != f"Bearer {fake.token}":
            return 401
        known = method == "initialize" or session in fake.sessions or fake.stateless
        return 0 if known else 404

    def _message(self, number: Any, method: str, params: Json) -> Json:
        answer: Json = {"jsonrpc": "2.0", "id": number}
        try:
            return answer | {"result": self.server.result(method, params)}
        except Exception as error:
            return answer | {"error": {"code": -32602, "message": str(error)}}

    def do_DELETE(self) -> None:
        self.server.asked.append("DELETE")
        self.server.sessions.discard(self.headers.get("mcp-session-id", ""))
        self._say(200, b"")

    def _begin(self) -> str:
        self.server.begun += 1
        session = f"session-{self.server.begun}"
        self.server.sessions.add(session)
        return session

    def _answer(self, answer: Json, method: str) -> None:
        begins = method == "initialize" and not self.server.stateless
        more = {"Mcp-Session-Id": self._begin()} if begins else {}
        kind, data = "application/json", json.dumps(answer).encode()
        if self.server.streams:
            kind, data = "text/event-stream; charset=utf-8", _streamed(answer)
        self._say(200, data, more | {"Content-Type": kind})

    def _say(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _go_on(self, chunk: Callable[[], bytes]) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            self.wfile.write(chunk())

    def log_message(self, *_: Any) -> None:
        pass


def _streamed(answer: Json) -> bytes:
    """Return the answer as an event, behind what a server may say before it."""
    notice = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "hi"}}
    ping = {"jsonrpc": "2.0", "id": answer["id"], "method": "ping"}
    before = [json.dumps(message).encode() for message in (notice, ping)]
    lines = json.dumps(answer, indent=1).encode().split(b"\n")  # `data` of several lines
    event = b"id: 7\n" + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
    return b": hello\r\n\r\n" + b"".join(b"data: " + m + b"\r\n\r\n" for m in before) + event
