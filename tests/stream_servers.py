"""Servers that a follower meets: plain event streams by script, and an MCP server with faults.

They listen on loopback. What they do wrong is said by the test; what they were asked is kept.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVENTS = {"Content-Type": "text/event-stream"}
Answer = Callable[["Handler"], None]


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        raw = self.rfile.read(length)
        body = json.loads(raw) if raw else None
        headers = {k.lower(): v for k, v in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.server.requests.append(request)
        try:
            self.server.answer(self, request)
        except OSError:
            self.close_connection = True

    def say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self) -> None:
        """Begin an event stream that ends with the connection."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, handler: Handler, request: Request) -> None:
        raise NotImplementedError

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    def stop(self) -> None:
        self.ended.set()
        self.shutdown()
        self._thread.join(5)
        self.server_close()


class Scripted(Server):
    """Gives these answers in turn; the last one for ever."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        super().__init__()

    def answer(self, handler: Handler, request: Request) -> None:
        self.script[min(len(self.requests), len(self.script)) - 1](handler)


def status(code: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.say(code, named)


def events(*chunks: bytes, hang: bool = False) -> Answer:
    """A stream of these bytes that then ends, or stays open in silence."""

    def answer(handler: Handler) -> None:
        handler.begin()
        for chunk in chunks:
            handler.wfile.write(chunk)
            handler.wfile.flush()
        if hang:
            handler.server.ended.wait(20)

    return answer


def endless(chunk: bytes, times: int) -> Answer:
    """So much of one thing; whether it all went is up to the reader."""

    def answer(handler: Handler) -> None:
        handler.begin()
        for _ in range(times):
            handler.wfile.write(chunk)

    return answer


@dataclass
class McpState:
    """One session of the MCP server."""

    stream: queue.Queue[str | None] | None = None
    level: bool = False
    subscribed: list[str] = field(default_factory=list)


class McpServer(Server):
    """Speaks MCP over streamable HTTP, with fault subscriptions, as strictly as the real one.

    Without `setLevel` a fault is dropped in silence; without an open stream it cancels the
    subscription; nothing is replayed.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, McpState] = {}
        self.names = 0
        self.lock = threading.Lock()
        self.deaf = False  # answers nothing any more, without closing anything
        super().__init__()

    @property
    def methods(self) -> list[str]:
        """What was asked, in order, without pings."""
        return [method_of(request) for request in self.requests if method_of(request) != "ping"]

    def answer(self, handler: Handler, request: Request) -> None:
        if self.deaf:
            self.ended.wait(20)
        elif request.method == "GET":
            self._stream(handler, request)
        else:
            self._post(handler, request)

    def _session(self, request: Request) -> McpState | None:
        return self.sessions.get(request.headers.get("mcp-session-id", ""))

    def _stream(self, handler: Handler, request: Request) -> None:
        session = self._session(request)
        if session is None:
            return handler.say(404, {}, b"session not found")
        if session.stream is not None:
            return handler.say(409, {}, b"stream ID conflicts with ongoing stream")
        mine: queue.Queue[str | None] = queue.Queue()
        handler.begin()
        handler.wfile.write(b": ok\n\n")
        handler.wfile.flush()
        session.stream = mine
        while (text := mine.get()) is not None:
            handler.wfile.write(f"event: message\ndata: {text}\n\n".encode())
            handler.wfile.flush()
        return None

    def _post(self, handler: Handler, request: Request) -> None:
        message = request.body
        if message["method"] == "initialize":
            with self.lock:
                self.names += 1
                name = f"session-{self.names}"
                self.sessions[name] = McpState()
            result = {"protocolVersion": "2025-06-18", "capabilities": {}}
            return self._reply(handler, message, {"result": result}, {"Mcp-Session-Id": name})
        session = self._session(request)
        if session is None:
            return handler.say(404, {}, b"session not found")
        if "id" not in message:
            return handler.say(202)
        return self._reply(handler, message, self._result(session, message), {})

    def _result(self, session: McpState, message: dict[str, Any]) -> dict[str, Any]:
        if message["method"] == "logging/setLevel":
            session.level = True
        if message["method"] != "tools/call":
            return {"result": {}}
        if message["params"]["name"] == "events_subscribe":
            session.subscribed = [f"sub-{len(self.requests)}"]
            made = {"subscriptionId": session.subscribed[0], "status": "active"}
            text = f"# Subscribed\n\n{json.dumps(made)}\n\nYou will be notified."
        else:
            listed = [{"subscriptionId": s, "degraded": False} for s in session.subscribed]
            text = "# Subscriptions\n\n" + json.dumps({"subscriptions": listed})
        return {"result": {"content": [{"type": "text", "text": text}]}}

    def _reply(
        self, handler: Handler, message: dict[str, Any], said: dict[str, Any], more: dict[str, str]
    ) -> None:
        text = json.dumps({"jsonrpc": "2.0", "id": message["id"], **said})
        handler.say(200, EVENTS | more, f"event: message\ndata: {text}\n\n".encode())

    def send(self, text: str) -> bool:
        """Send a message on every stream whose client would hear it."""
        heard = False
        for session in list(self.sessions.values()):
            if session.stream is None:
                session.subscribed = []
            elif session.level and session.subscribed:
                session.stream.put(text)
                heard = True
        return heard

    def fault(self, **data: Any) -> bool:
        return self.send(json.dumps(notification(fault_data(**data))))

    def restart(self) -> None:
        """Forget every session and close every stream."""
        sessions, self.sessions = self.sessions, {}
        for session in sessions.values():
            if session.stream is not None:
                session.stream.put(None)

    def stop(self) -> None:
        self.restart()
        super().stop()


def method_of(request: Request) -> str:
    if request.method == "GET":
        return "GET"
    name = request.body.get("params", {}).get("name")
    return str(name or request.body["method"])


def fault_data(name: str = "api-7d9f6c5b4-x2x9z", at: str = "2026-11-21T10:00:00Z") -> Any:
    return {
        "subscriptionId": "sub-1",
        "cluster": "",
        "faultId": f"id-{name}",
        "faultType": "CrashLoop",
        "severity": "critical",
        "resource": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": "shop"},
        "context": "Container entered CrashLoopBackOff state, restart count: 4",
        "timestamp": at,
    }


def notification(data: Any, logger: str = "kubernetes/faults") -> Any:
    params = {"level": "warning", "logger": logger, "data": data}
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": params}
