"""A run behind the gateway, which is a process, as the runtime is another without credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_world import Cluster
from kube_api import kubeconfig
from loop_line import Line
from model_fake import ModelFake, serving
from ports import free_port

from faultline import keys
from faultline.event import RUN_FINISHED, Event
from faultline.model import RunStatus, Status
from faultline.wire import decode


class Broker(ThreadingHTTPServer):
    """Takes events, and keeps them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Ingress)
        self.events: list[Event] = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class _Ingress(BaseHTTPRequestHandler):
    server: Broker

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.events.append(decode(dict(self.headers), body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Behind:
    """A line whose agent reaches the gateway alone."""

    def __init__(self, folder: Path) -> None:
        self.line, self.cluster, self.broker = Line(folder), Cluster(), Broker()
        self.tokens = folder / "tokens"
        self.tokens.mkdir()
        for name in ("token", "model-token"):
            (self.tokens / name).write_text(f"{name} of this pod\n")
        self._environment = {
            "PATH": os.environ["PATH"],
            "FAULTLINE_STORE": self.line.store,
            "K_SINK": self.broker.url,
            "KUBECONFIG": str(kubeconfig(folder, self.cluster)),
        }
        self.url = ""

    def knows(self, pod: str) -> None:
        """The cluster knows these tokens to be this pod's."""
        for name, audience in (("token", "faultline-gateway"), ("model-token", "faultline-model")):
            self.cluster.pods[f"{name} of this pod"] = pod, audience

    def serve(self, port: int, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "faultline", "gateway", "--port", str(port)]
        process = subprocess.Popen(command, env=self._environment | environment)
        self.url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while not self._ready():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        return process

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/readiness", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def told(self) -> dict[str, str]:
        """What the Job tells the runtime."""
        return {
            "FAULTLINE_STORE": f"gateway+{self.url}",
            "FAULTLINE_GATEWAY": self.url,
            "FAULTLINE_GATEWAY_TOKENS": str(self.tokens),
            "K_SINK": f"{self.url}/events",
        }


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    made = Behind(tmp_path)
    with serving(made.broker):
        process = made.serve(free_port())
        yield made
        process.terminate()
        process.wait(15)
    made.cluster.stop()


@pytest.mark.covers("ISO-03")
def test_a_run_without_credentials_reads_its_evidence_writes_its_results_and_says_so(
    behind: Behind,
) -> None:
    line = behind.line
    run_id = line.asked("rules")
    behind.knows(f"{run_id}-x7k2p")

    result = line.do(run_id, ModelFake([]), **behind.told)

    assert result.status is RunStatus.SUCCESS, line.said
    assert line.left(keys.INVESTIGATION).startswith(b"# ")
    assert line.world.status() is Status.PACKAGED
    (event,) = behind.broker.events
    assert (event.type, event.subject) == (RUN_FINISHED, line.world.only)
    assert event.data == json.loads(line.left(keys.RESULT))


@pytest.mark.covers("ISO-12")
def test_the_tokens_of_another_pod_open_nothing_of_this_run(behind: Behind) -> None:
    line = behind.line
    run_id = line.asked("rules")
    behind.knows("20261121-other-00000000-1-x7k2p")
    before = list(line.world.store.list(""))

    with pytest.raises(AssertionError, match="expected a key below"):
        line.do(run_id, ModelFake([]), **behind.told)

    assert list(line.world.store.list("")) == before
    assert behind.broker.events == []
