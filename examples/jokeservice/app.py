"""A service that tells jokes and breaks on purpose: something for Faultline to find.

Environment: PORT (8080), ERROR_RATE (.20: answers 500), PANIC_RATE (.05: the process dies with code
2), OOM_RATE (.02: it takes memory until the kernel kills it), READY_AFTER seconds (0), JOKES (a
file with one joke a line; required if set). Python's standard library only.
"""

from __future__ import annotations

import os
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

OWN_JOKES = (
    "I told my pod a joke about limits. It could not take it and was killed.",
    "Why did the probe knock twice? Nobody was listening on the port.",
    "A ConfigMap walks into a cluster. Nobody had the key.",
)
STARTED = time.monotonic()


def rate(name: str, default: str) -> float:
    """Read a rate between 0 and 1. Exits with 1, saying what was expected, if it is none."""
    text = os.environ.get(name, default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        sys.exit(f"FATAL {name}: expected a rate between 0 and 1, got {text!r}")
    return value


def jokes() -> list[str]:
    path = os.environ.get("JOKES")
    if path is None:
        return list(OWN_JOKES)
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        sys.exit(f"FATAL cannot read JOKES={path}: {error.strerror}")
    return [line.strip() for line in lines if line.strip()]


def panic() -> None:
    print("panic: the joke was too good", flush=True)
    os._exit(2)


def eat() -> None:
    """Take memory, slowly enough to be seen in metrics, until someone stops us."""
    hoard = []
    while True:
        hoard.append(bytearray(4 * 1024 * 1024))
        print(f"WARN  joke cache holds {4 * len(hoard)} MiB", flush=True)
        time.sleep(0.02)


class Teller(BaseHTTPRequestHandler):
    """GET /joke, /healthz and /ready."""

    told = jokes()
    errors, panics, ooms = (
        rate("ERROR_RATE", ".20"),
        rate("PANIC_RATE", ".05"),
        rate("OOM_RATE", ".02"),
    )
    ready_after_s = float(os.environ.get("READY_AFTER", "0"))

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._say(200, "ok")
        elif self.path == "/ready":
            ready = time.monotonic() - STARTED >= self.ready_after_s
            self._say(200 if ready else 503, "ready" if ready else "warming up")
        elif self.path == "/joke":
            self._joke()
        else:
            self._say(404, "no such joke")

    def _joke(self) -> None:
        dice = random.random()
        if dice < self.panics:
            panic()
        elif dice < self.panics + self.ooms:
            eat()
        elif dice < self.panics + self.ooms + self.errors:
            self._say(500, "that one was not funny")
        else:
            self._say(200, random.choice(self.told))

    def _say(self, status: int, text: str) -> None:
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *values: object) -> None:
        print("INFO ", form % values, flush=True)


def main() -> None:
    port = int(os.environ.get("PORT", "8080"))
    server = ThreadingHTTPServer(("", port), Teller)
    print(f"INFO  listening on :{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
