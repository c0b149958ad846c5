"""What the page FaultlineDeadLetters tells an operator to do, done: list, mend, send again."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from world import World

from faultline.adapters.stores import open_store
from faultline.answers import Answer
from faultline.bridge.gate import serve_config
from faultline.broker.ingress import Ingress
from faultline.cli import main
from faultline.model import Status
from faultline.serve import Request


class Broken(World):
    """A world whose context step does not answer until it is mended."""

    mended = False

    def _subscriber(self, name: str) -> Callable[[Request], Any]:
        inner = super()._subscriber(name)

        def answered(request: Request) -> Any:
            if name == "context" and not self.mended:
                return Answer(503, {}, b"")
            return inner(request)

        return answered


@pytest.fixture
def world(tmp_path: Path) -> Broken:
    return Broken(store=open_store(f"file://{tmp_path}/store"))


@pytest.fixture
def port(world: World) -> Iterator[int]:
    """Serve the world's broker where the command line looks for it."""
    ingress = Ingress(world.broker, namespace="faultline", name="faultline")

    async def below(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].removeprefix("/broker")
        await ingress({**scope, "path": path}, receive, send)

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(serve_config(below, "127.0.0.1", 0))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    yield int(listening.getsockname()[1])
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.mark.covers("OBS-07")
def test_a_dead_letter_is_listed_mended_and_sent_again(
    world: Broken, port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", f"file://{tmp_path}/store"]
    world.alert().settle()
    before, came = world.status(), world.clock()

    assert main(["parked", "--json", *store]) == 0
    (letter,) = json.loads(capsys.readouterr().out)
    world.mended = True
    assert main(["resend", letter["key"], "--port", str(port), *store]) == 0
    world.settle()

    assert before is Status.OPEN
    assert letter["type"] == "dev.faultline.incident.opened.v1"
    assert world.status() is Status.PACKAGED
    assert (world.clock() - came).total_seconds() < 300
    assert world.forge.made == 1
