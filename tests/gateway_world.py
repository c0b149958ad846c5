"""A gateway on loopback, in front of a store, and a cluster that knows whose a token is."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import uvicorn

from faultline.bridge.gate import Gate, serve_config
from faultline.gateway.app import Gateway, app

ACCOUNT = "system:serviceaccount:faultline-agents:agent"
POD_NAME = "authentication.kubernetes.io/pod-name"


class Served:
    """A gateway behind HTTP, as `faultline gateway` serves it."""

    def __init__(self, gateway: Gateway) -> None:
        bound = socket.create_server(("127.0.0.1", 0))
        self.port = bound.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = uvicorn.Server(serve_config(Gate(app(gateway)), "127.0.0.1", 0))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [bound]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(15)


class Cluster(ThreadingHTTPServer):
    """An API server that answers TokenReviews: tokens by text, each with its pod and audience."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Reviews)
        self.pods: dict[str, tuple[str, str]] = {}  # token -> pod, audience
        self.account, self.token = ACCOUNT, ""
        self.asked: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def review(self, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        """Answer as authentication.k8s.io/v1 has it."""
        self.asked.append(spec)
        pod, audience = self.pods.get(spec["token"], ("", ""))
        if kind != "TokenReview" or audience not in spec["audiences"]:
            return {"kind": kind, "status": {"user": {}, "error": "invalid bearer token"}}
        user = {"username": self.account, "uid": "1", "extra": {POD_NAME: [pod]}}
        status = {"authenticated": True, "user": user, "audiences": [audience]}
        return {"kind": kind, "status": status}


class _Reviews(BaseHTTPRequestHandler):
    server: Cluster

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        fine = self.path == "/apis/authentication.k8s.io/v1/tokenreviews"
        said = json.dumps(self.server.review(body["kind"], body["spec"]) if fine else {}).encode()
        self.send_response(201 if fine else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        pass
