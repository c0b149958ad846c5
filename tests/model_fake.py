"""A model's service on loopback, in any of the three dialects: it says what the test's script says.

A script is a list of replies, or a function from the number of the request and its body to one.
A reply is text, or a list of (tool, arguments); a number is an HTTP status, bytes are a whole body.
What was asked is kept.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Said = str | int | bytes | list[tuple[str, Any]]
Script = list[Said] | Callable[[int, dict[str, Any]], Said]


class ModelFake(ThreadingHTTPServer):
    """One service. `asked` holds the bodies of the requests, `headers` their headers."""

    daemon_threads = True

    def __init__(self, script: Script, *, tokens: tuple[int, int] = (100, 10)) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.tokens = script, tokens
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.retry_after = ""
        self.lock = threading.Lock()

    def handle_error(self, *_: Any) -> None:
        """Whoever asked may have hung up: an answer can be too long for it."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next(self, body: dict[str, Any]) -> Said:
        number = len(self.asked)
        self.asked.append(body)
        if callable(self.script):
            return self.script(number, body)
        return self.script[min(number, len(self.script) - 1)]

    @property
    def told(self) -> str:
        """Everything that the model was ever told."""
        return json.dumps(self.asked, ensure_ascii=False)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelFake

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.headers.append(dict(self.headers))
            said = self.server.next(body)
        if isinstance(said, bytes):
            data = said
        elif isinstance(said, int):
            data = json.dumps({"error": {"message": f"status {said}, tools"}}).encode()
        else:
            data = json.dumps(DIALECTS[self.path](said, *self.server.tokens)).encode()
        self.send_response(said if isinstance(said, int) else 200)
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _chat(said: str | list[tuple[str, Any]], asked: int, answered: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if isinstance(said, list):
        calls = [
            {"id": f"c{n}", "type": "function",
             "function": {"name": name, "arguments": json.dumps(given)}}
            for n, (name, given) in enumerate(said)
        ]  # fmt: skip
        message = {"role": "assistant", "content": None, "tool_calls": calls}
    usage = {"prompt_tokens": asked, "completion_tokens": answered}
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


def _messages(said: str | list[tuple[str, Any]], asked: int, answered: int) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": said}]
    if isinstance(said, list):
        blocks = [
            {"type": "tool_use", "id": f"c{n}", "name": name, "input": given}
            for n, (name, given) in enumerate(said)
        ]
    usage = {"input_tokens": asked, "output_tokens": answered}
    return {"role": "assistant", "content": blocks, "usage": usage}


def _ollama(said: str | list[tuple[str, Any]], asked: int, answered: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if isinstance(said, list):
        calls = [{"function": {"name": name, "arguments": given}} for name, given in said]
        message = {"role": "assistant", "content": "", "tool_calls": calls}
    return {"message": message, "prompt_eval_count": asked, "eval_count": answered}


DIALECTS = {"/chat/completions": _chat, "/v1/messages": _messages, "/api/chat": _ollama}


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Let a server answer for as long as this lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
