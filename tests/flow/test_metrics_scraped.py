"""A real Prometheus scrapes `faultline dev`, and `bridge` and `web` as processes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import free_port

from faultline.dev import Line
from faultline.settings import Settings

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
CONFIG = """
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}
scrape_configs: [{job_name: faultline, static_configs: [{targets: ["%s"]}]}]
rule_files: ["%s"]
"""


def until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        try:
            if value := found():
                return value
        except httpx.HTTPError:
            pass
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def line(tmp_path: Path, root: Path) -> Iterator[Line]:
    settings = Settings(
        store=f"file://{tmp_path}/store", journal=f"{tmp_path}/journal.sqlite", port=0,
        cluster="prod-a", recorded_cluster=str(root / "examples/clusters/memory"),
    )  # fmt: skip
    line = Line(settings, console=io.StringIO())
    line.start()
    yield line
    line.stop()


@pytest.fixture
def prometheus(line: Line, tmp_path: Path, root: Path) -> Iterator[str]:
    """Start a Prometheus that scrapes the line and has our rules; return its address."""
    config, port = tmp_path / "prometheus.yml", free_port()
    rules = root / "infra/monitoring/rules.yaml"
    config.write_text(CONFIG % (line.url.removeprefix("http://"), rules))
    process = subprocess.Popen(
        [
            str(PROMETHEUS), f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.mark.real
@pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus on this machine")
@pytest.mark.covers("S1-104", "S3-32")
def test_prometheus_reads_what_became_of_an_alert(line: Line, prometheus: str, root: Path) -> None:
    def asked(query: str) -> list[Any]:
        answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=5)
        ready = answer.status_code == 200  # it says 503 in plain words while it starts
        return list(answer.json()["data"]["result"]) if ready else []

    def value(query: str) -> float:
        return sum(float(sample["value"][1]) for sample in asked(query))

    until(lambda: value('up{job="faultline"}') == 1)
    alert = (root / "examples/clusters/memory/alert.json").read_bytes()
    assert httpx.post(f"{line.url}/alertmanager", content=alert).status_code < 300

    until(lambda: value('faultline_incidents{status="packaged"}') == 1)
    until(lambda: value('faultline_events_received_total{source="alertmanager"}') >= 1)
    assert value("faultline_proved_total") == 1
    assert value("faultline_store_up") == 1
    assert value('faultline_webhook_duration_seconds_count{sender="alertmanager"}') == 1
    assert value('faultline_broker_deliveries_total{outcome="delivered"}') >= 4
    (target,) = httpx.get(f"{prometheus}/api/v1/targets").json()["data"]["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")


@pytest.mark.real
@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
def test_the_page_of_a_whole_line_is_clean(line: Line, root: Path) -> None:
    alert = (root / "examples/clusters/memory/alert.json").read_bytes()
    httpx.post(f"{line.url}/alertmanager", content=alert)
    httpx.post(f"{line.url}/alertmanager", content=b"no message")
    page = until(lambda: httpx.get(f"{line.url}/metrics"))

    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=page.content, capture_output=True, timeout=30
    )

    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'faultline_events_rejected_total{reason="invalid"} 1.0' in page.content
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_metrics_are_asked_for_by_address_and_only_read(line: Line) -> None:
    named = httpx.get(f"{line.url}/metrics", headers={"host": "10.0.0.7:8080"})
    posted = httpx.post(f"{line.url}/metrics", content=b"x")

    assert named.status_code == 200
    assert posted.status_code == 405
    assert httpx.get(f"{line.url}/", headers={"host": "10.0.0.7:8080"}).status_code == 400


@pytest.mark.parametrize("command", ["bridge", "web"])
def test_web_shows_what_the_store_says_and_the_bridge_what_it_took_in(
    command: str, line: Line, tmp_path: Path, root: Path
) -> None:
    alert = (root / "examples/clusters/memory/alert.json").read_bytes()
    httpx.post(f"{line.url}/alertmanager", content=alert)
    until(lambda: b'incidents{status="packaged"} 1.0' in httpx.get(f"{line.url}/metrics").content)
    port = free_port()
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "faultline", command],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        env=clean | {"FAULTLINE_STORE": line.settings.store, "PORT": str(port)},
    )  # fmt: skip
    try:
        page = until(lambda: httpx.get(f"http://127.0.0.1:{port}/metrics")).text
    finally:
        process.terminate()
        logged = process.communicate(timeout=15)[1]

    assert "faultline_store_up 1.0" in page
    assert ('faultline_proved_total{cluster="prod-a"} 1.0' in page) is (command == "web")
    assert ('faultline_incidents{status="packaged"} 1.0' in page) is (command == "web")
    assert ("faultline_events_deduplicated_total 0.0" in page) is (command == "bridge")
    assert [json.loads(line) for line in logged.decode().splitlines()]
