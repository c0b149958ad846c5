"""No address that a message names is asked for anything, by any part of the line.

There is no switch that turns following on, so there is no resolver to fool either. Every name that
is looked up and every connection is counted by Python itself (`sys.addaudithook`).
"""

from __future__ import annotations

import ast
import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from world import World

import faultline
from faultline.adapters.sources.runbooks import RunbookSource

META = "169.254.169.254"
HOSTS = [
    META, "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "169.254.43518", "[::ffff:a9fe:a9fe]",
    f"[::ffff:{META}]", "[fe80::a9fe:a9fe]", "metadata.google.internal", "127.0.0.1", "127.1", "0",
    "[::1]", "localhost", f"{META}.nip.io", "rebind.example", "xn--localhst-7za.example",
    "kubernetes.default.svc", f"example.com@{META}", f"{META}#@example.com",
]  # fmt: skip
PATHS = ["/latest/meta-data/iam/", ":80/redirect?to=http://169.254.169.254/", "/../..//%00"]
ADDRESSES = [f"http://{host}{path}" for host in HOSTS for path in PATHS]
# who may speak to a network, each to an address that the operator has set
SPEAKERS = {
    "adapters/github.py", "adapters/github_app.py", "adapters/otlp.py", "adapters/posting.py",
    "adapters/sink.py", "adapters/sources/live.py", "adapters/sources/prometheus.py",
    "bridge/gate.py", "bridge/session.py", "bridge/stream.py", "broker/subscribers.py",
    "cli/writing.py", "broker/broker.py", "demo.py", "adapters/apiserver.py",
    "adapters/kubeconfig.py", "agent/backends.py", "adapters/outlets/email.py",
    "agent/mcp_client.py", "adapters/trust.py", "adapters/stores/gateway.py",
    "gateway/forward.py",
}  # fmt: skip
NETWORKS = {
    "httpx",
    "socket",
    "http.client",
    "urllib.request",
    "requests",
    "aiohttp",
    "ftplib",
    "smtplib",
}

_asked: list[str] | None = None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _asked is not None and event in ("socket.connect", "socket.getaddrinfo"):
        _asked.append(f"{event} {arguments[:2]}")


sys.addaudithook(_hear)


@pytest.fixture
def asked() -> Iterator[list[str]]:
    global _asked
    _asked = []
    yield _asked
    _asked = None


@pytest.mark.covers("INB-04")
def test_sixty_hostile_addresses_are_carried_to_the_report_and_never_asked(
    asked: list[str], tmp_path: Path
) -> None:
    world = World(
        wrap=lambda ports: replace(ports, sources=[*ports.sources, RunbookSource(tmp_path)])
    )
    message = json.loads((world.scenario / "alert.json").read_bytes())
    (alert, *_) = message["alerts"]
    message["alerts"] = [
        alert
        | {
            "fingerprint": f"{number:016x}",
            "generatorURL": address,
            "annotations": alert["annotations"]
            | {"runbook_url": address, "dashboard_url": address, "description": f"see {address}"},
        }
        for number, address in enumerate(ADDRESSES)
    ]
    message["externalURL"] = ADDRESSES[0]

    world.alert(json.dumps(message).encode()).settle()

    assert len(ADDRESSES) == 60
    assert len(world.incidents.faults(world.only)) == 60
    assert len(world.chat.messages) == 1
    assert asked == []


def test_a_connection_and_a_name_that_is_looked_up_would_be_heard(asked: list[str]) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname()).close()
    server.close()

    assert [line.split()[0] for line in asked] == ["socket.getaddrinfo", "socket.connect"]


@pytest.mark.covers("INB-04")
def test_only_those_who_ask_an_operators_address_can_ask_at_all() -> None:
    root = Path(faultline.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if NETWORKS & set(_imports(ast.parse(path.read_text("utf-8"))))
    }

    assert found <= SPEAKERS, "who speaks to a network is on the list, with whose address it asks"


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
