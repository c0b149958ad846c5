"""A service that tells jokes and breaks on purpose: something for Faultline to find.

Environment, by chance: ERROR_RATE (.20: answers 500), PANIC_RATE (.05: the process dies with code
2), OOM_RATE (.02: it takes memory until the kernel kills it).

For certain, if set: REQUIRED (names of variables without which it does not start), JOKES_HOST (a
host that it has to resolve), JOKES (a file with one joke a line), START_AFTER and READY_AFTER
(seconds until it listens, and until it is ready), HANG_AFTER (until it answers no more), EXIT_AFTER
and EXIT_CODE (until it ends), LEAK_MIB_PER_S, FILL_MIB_PER_S and FILL_DIR (memory and disk that it
takes and keeps). PORT is 8080. Python's standard library only.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MIB = 1024 * 1024
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


def amount(name: str) -> float:
    """Read a number of seconds or MiB; 0 if it is not set. Exits with 1 if it is none."""
    text = os.environ.get(name, "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        sys.exit(f"FATAL {name}: expected a number of at least 0, got {text!r}")
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
        hoard.append(bytearray(4 * MIB))
        print(f"WARN  joke cache holds {4 * len(hoard)} MiB", flush=True)
        time.sleep(0.02)


# what goes wrong for certain


def check() -> None:
    """End with 1 if something is missing that we were told to need."""
    for name in filter(None, os.environ.get("REQUIRED", "").split(",")):
        if name not in os.environ:
            sys.exit(f"FATAL required environment variable {name} is not set")
    if host := os.environ.get("JOKES_HOST"):
        try:
            socket.getaddrinfo(host, 80)
        except OSError:
            sys.exit(f"FATAL could not resolve host: {host}")


def leak(mib_per_s: float) -> None:
    """Keep a MiB more and more, without ever resting."""
    hoard = []
    while True:
        hoard.append(bytearray(MIB))
        if len(hoard) % 8 == 0:
            print(f"INFO  {len(hoard)} MiB of laughter kept", flush=True)
        time.sleep(1 / mib_per_s)


def fill(mib_per_s: float) -> None:
    """Write a MiB more and more to the disk."""
    folder = os.environ.get("FILL_DIR") or tempfile.gettempdir()
    path = Path(folder) / f"jokes-{os.getpid()}.log"
    try:
        with path.open("wb") as file:
            while True:
                file.write(bytes(MIB))
                file.flush()
                time.sleep(1 / mib_per_s)
    except OSError as error:
        print(f"FATAL cannot write {path}: {error.strerror}", flush=True)
        os._exit(1)


def leave(after_s: float) -> None:
    time.sleep(after_s)
    print("FATAL the book of jokes has a page too many: checksum mismatch", flush=True)
    os._exit(int(amount("EXIT_CODE")) or 1)


def begin(mode: Callable[[float], None], name: str) -> None:
    """Let a mode run beside the service, if its variable is set."""
    if value := amount(name):
        threading.Thread(target=mode, args=(value,), daemon=True).start()


class Teller(BaseHTTPRequestHandler):
    """GET /joke, /healthz and /ready."""

    told = jokes()
    errors, panics, ooms = (
        rate("ERROR_RATE", ".20"),
        rate("PANIC_RATE", ".05"),
        rate("OOM_RATE", ".02"),
    )
    ready_after_s, hang_after_s = amount("READY_AFTER"), amount("HANG_AFTER")

    def do_GET(self) -> None:
        if self.hang_after_s and time.monotonic() - STARTED >= self.hang_after_s:
            time.sleep(3600)  # accepted, and never answered
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
    check()
    port = int(os.environ.get("PORT", "8080"))
    if delay := amount("START_AFTER"):
        print(f"INFO  reading the book of jokes, {delay:g} s", flush=True)
        time.sleep(delay)
    for mode, name in ((leak, "LEAK_MIB_PER_S"), (fill, "FILL_MIB_PER_S"), (leave, "EXIT_AFTER")):
        begin(mode, name)
    server = ThreadingHTTPServer(("", port), Teller)
    print(f"INFO  listening on :{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
