"""Spans on their way to a collector: a real HTTP server, one that is down, and none at all."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from faultline import bootstrap
from faultline.adapters.otlp import LogSpans, OtlpSpans
from faultline.dev import Line
from faultline.errors import Rejected
from faultline.settings import Settings
from faultline.traces import Span


class Collector(ThreadingHTTPServer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Take)
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[dict[str, Any]]:
        resources = [r for _, body in self.requests for r in body["resourceSpans"]]
        return [span for r in resources for s in r["scopeSpans"] for span in s["spans"]]


class Take(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, json.loads(body)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_line_sends_the_spans_of_an_incident(
    collector: Collector, tmp_path: Path, root: Path
) -> None:
    scenario = root / "examples/clusters/memory"
    settings = Settings(
        store=f"file://{tmp_path}/store", journal=f"{tmp_path}/journal.sqlite", port=0,
        recorded_cluster=str(scenario), traces=f"otlp:{collector.url}",
    )  # fmt: skip
    line = Line(settings, console=io.StringIO())
    line.start()
    try:
        body = (scenario / "alert.json").read_bytes()
        assert httpx.post(f"{line.url}/alertmanager", content=body).status_code == 202
        end = time.monotonic() + 20
        while "package" not in {span["name"] for span in collector.spans}:
            assert time.monotonic() < end, "no span came"
            time.sleep(0.1)
    finally:
        line.stop()

    opening = next(s for s in collector.spans if s["name"] == "context")["traceId"]
    ours = [span for span in collector.spans if span["traceId"] == opening]
    assert {path for path, _ in collector.requests} == {"/v1/traces"}
    assert {s["name"] for s in ours} >= {"receive", "triage", "context", "launch", "package"}
    assert all(int(s["endTimeUnixNano"]) >= int(s["startTimeUnixNano"]) for s in ours)


def test_a_collector_that_is_down_costs_spans_and_nothing_else() -> None:
    moment = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
    spans = OtlpSpans("http://127.0.0.1:9")

    for number in range(5_000):
        spans(Span(f"{number}", "a" * 32, "b" * 16, "", moment, moment))

    assert spans.dropped >= 2_000


def test_tracing_is_what_the_setting_says() -> None:
    assert bootstrap.spans(Settings()) is None
    assert isinstance(bootstrap.spans(Settings(traces="log:")), LogSpans)
    for wrong in ("yes", "otlp:", "otlp:ftp://x", "log:file"):
        with pytest.raises(Rejected, match="traces: expected"):
            bootstrap.spans(Settings(traces=wrong))
