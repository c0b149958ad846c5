"""A loopback proxy before an S3 server that fails as told, and counts what reached the server."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERROR = "<Error><Code>{}</Code><Message>planned</Message></Error>"
CODES = {409: "ConditionalRequestConflict", 412: "PreconditionFailed", 503: "SlowDown"}


class FaultyS3(ThreadingHTTPServer):
    """Passes requests on, but this share of them meets `trouble`.

    409, 412, 503: answered so, not passed on. "lost": passed on, the reply is lost. "hang": taken,
    never answered. "slow": passed on after a while. "refused": the connection breaks.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, upstream: str, seed: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream.removeprefix("http://")
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.chance = random.Random(seed)
        self.trouble: int | str | None = None
        self.share = 1.0
        self.slow_s = 0.15
        self.met: Counter[int | str] = Counter()
        self.writes: list[str] = []  # paths of the PUTs that the server took
        self.over = threading.Event()

    def troubled(self) -> int | str | None:
        trouble = self.trouble
        if trouble is None or self.chance.random() >= self.share:
            return None
        self.met[trouble] += 1
        return trouble

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up, or were killed, are the point."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def do_PUT(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        trouble = self.server.troubled()
        if trouble == 412 and self.headers.get("if-none-match") is None:
            trouble = None  # nobody asked for a condition
        if isinstance(trouble, int):
            self._answer(trouble, {}, ERROR.format(CODES[trouble]).encode())
        elif trouble in ("hang", "refused"):
            self.server.over.wait(30 if trouble == "hang" else 0)
            self.close_connection = True
        else:
            time.sleep(self.server.slow_s if trouble == "slow" else 0)
            self._pass_on(body, lost=trouble == "lost")

    def _pass_on(self, body: bytes, *, lost: bool) -> None:
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=20)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        if self.command == "PUT" and answer.status == 200:
            self.server.writes.append(self.path)
        if lost:
            self.close_connection = True
        else:
            self._answer(answer.status, dict(answer.getheaders()), content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def before(upstream: str, seed: int = 1) -> Iterator[FaultyS3]:
    """Serve the proxy before this server."""
    proxy = FaultyS3(upstream, seed)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        proxy.shutdown()
        thread.join()
        proxy.server_close()
