"""An API server's Jobs of batch/v1 on loopback: names, a quota, answers that the test chooses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

JOBS = "/apis/batch/v1/namespaces/faultline-agents/jobs"


class ApiServer(ThreadingHTTPServer):
    """Jobs by name; `answers` can make the next request fail."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.jobs: dict[str, dict] = {}
        self.answers: list[tuple[int, str]] = []
        self.lose_next = False
        self.quota: int | None = None  # of count/jobs.batch
        self.refused: list[str] = []  # names of Jobs for which there was no room

    def full(self, name: str) -> bool:
        """Say whether the quota refuses one more Job."""
        if self.quota is None or name in self.jobs or len(self.jobs) < self.quota:
            return False
        self.refused.append(name)
        return True

    def end(self, name: str, condition: str = "Complete") -> None:
        self.jobs[name]["status"] = {"conditions": [{"type": condition, "status": "True"}]}


class Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["metadata"]["name"]
        if self._fails():
            return
        if self.server.full(name):
            used = f"used: count/jobs.batch={self.server.quota}, limited: ..."
            why = f"exceeded quota: agents, requested: count/jobs.batch=1, {used}"
            self._say(
                403, {"reason": "Forbidden", "message": f'jobs.batch "{name}" is forbidden: {why}'}
            )
            return
        known = name in self.server.jobs
        self.server.jobs.setdefault(name, body)
        if self.server.lose_next:
            self.server.lose_next = False
            self.connection.close()
        else:
            self._say(409 if known else 201, {"reason": "AlreadyExists"} if known else body)

    def do_GET(self) -> None:
        if self._fails():
            return
        path = urlsplit(self.path).path
        if path == JOBS:
            self._say(200, {"kind": "JobList", "items": list(self.server.jobs.values())})
        else:
            found = self.server.jobs.get(path.rsplit("/", 1)[1])
            self._say(200 if found else 404, found or {"reason": "NotFound"})

    def do_DELETE(self) -> None:
        name = urlsplit(self.path).path.rsplit("/", 1)[1]
        if self._fails():
            return
        gone = self.server.jobs.pop(name, None)
        self._say(200 if gone else 404, {"kind": "Status"})

    def _fails(self) -> bool:
        if not self.server.answers:
            return False
        status, body = self.server.answers.pop(0)
        self._say(status, {"reason": body, "message": body})
        return True

    def _say(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving() -> Iterator[ApiServer]:
    server = ApiServer()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
