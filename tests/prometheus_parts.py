"""A real Prometheus and real AlertManagers as child processes, on loopback, in folders of tests."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from line_process import until
from ports import free_port

PROMETHEUS = shutil.which("prometheus")
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
MISSING = [
    name
    for name, found in (("Prometheus", PROMETHEUS), ("AlertManager", ALERTMANAGER))
    if not found
]
WHY = f"no {' and no '.join(MISSING)} on this machine: tools/install-real-parts.sh installs them"
TOKEN = "test-token"


def http(url: str, body: bytes | None = None, method: str = "") -> tuple[int, bytes]:
    """Return status and body; (0, b"") if nobody answered."""
    headers = {"content-type": "application/json"} if body is not None else {}
    request = urllib.request.Request(url, body, headers, method=method or None)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


class _Child:
    """A process that is started, killed and started again on the same folder and port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(lambda: http(f"{self.url}/-/ready")[0] == 200, 20, f"{type(self).__name__} is ready")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(15)

    @contextmanager
    def running(self) -> Iterator[Any]:
        try:
            self.start()
            yield self
        finally:
            self.end(signal.SIGKILL)


class AlertManager(_Child):
    """One AlertManager that gossips with nobody."""

    def __init__(
        self,
        folder: Path,
        target: str,
        *,
        group_by: str = "alertname",
        group_interval: str = "1s",
        repeat_interval: str = "1h",
        max_alerts: int = 0,
    ) -> None:
        super().__init__(folder)
        route = {
            "receiver": "faultline", "group_by": [group_by], "group_wait": "200ms",
            "group_interval": group_interval, "repeat_interval": repeat_interval,
        }  # fmt: skip
        webhook = {
            "url": target, "send_resolved": True, "max_alerts": max_alerts,
            "http_config": {
                "follow_redirects": False,
                "authorization": {"type": "Bearer", "credentials": TOKEN},
            },
        }  # fmt: skip
        config = {
            "route": route,
            "receivers": [{"name": "faultline", "webhook_configs": [webhook]}],
        }
        (folder / "alertmanager.yml").write_text(json.dumps(config))

    def command(self) -> list[str]:
        return [
            str(ALERTMANAGER), f"--config.file={self.folder}/alertmanager.yml",
            f"--storage.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]  # fmt: skip

    def tell(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """Post alerts as Prometheus does."""
        status, said = http(f"{self.url}/api/v2/alerts", json.dumps(list(alerts)).encode())
        assert status == 200, said

    def silence(self, name: str, seconds: float) -> None:
        now = dt.datetime.now(dt.UTC)
        matcher = {"name": "alertname", "value": name, "isRegex": False, "isEqual": True}
        body = {
            "matchers": [matcher], "createdBy": "a person", "comment": "a test",
            "startsAt": now.isoformat(),
            "endsAt": (now + dt.timedelta(seconds=seconds)).isoformat(),
        }  # fmt: skip
        status, said = http(f"{self.url}/api/v2/silences", json.dumps(body).encode())
        assert status == 200, said


BEGAN = dt.datetime.now(dt.UTC).replace(microsecond=0) - dt.timedelta(minutes=5)


def reported(
    name: str, *, over: bool = False, began: dt.datetime = BEGAN, **labels: str
) -> dict[str, Any]:
    """One alert as Prometheus posts it; critical and about checkout unless said otherwise."""
    plain = {"severity": "critical", "namespace": "shop", "deployment": "checkout"}
    end = {"endsAt": dt.datetime.now(dt.UTC).isoformat()} if over else {}
    return {
        "labels": plain | {"alertname": name, "cluster": "prod-a"} | labels,
        "annotations": {"summary": f"{name} is down"},
        "startsAt": began.isoformat(),
        **end,
    }


class Prometheus(_Child):
    """Scrapes one gauge and fires one rule while it is above zero."""

    def __init__(self, folder: Path, target: str, alertmanager: str) -> None:
        super().__init__(folder)
        host = target.removeprefix("http://")
        rule = {
            "alert": "CheckoutDown", "expr": "demo_down > 0",
            "labels": {"severity": "critical", "namespace": "shop", "deployment": "checkout"},
            "annotations": {"summary": "Checkout is down"},
        }  # fmt: skip
        config = {
            "global": {
                "scrape_interval": "1s", "evaluation_interval": "1s",
                "external_labels": {"cluster": "prod-a"},
            },
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [
                {"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}
            ]},
            "scrape_configs": [{"job_name": "demo", "static_configs": [{"targets": [host]}]}],
        }  # fmt: skip
        (folder / "prometheus.yml").write_text(json.dumps(config))
        (folder / "rules.yml").write_text(
            json.dumps({"groups": [{"name": "demo", "rules": [rule]}]})
        )

    def command(self) -> list[str]:
        return [
            str(PROMETHEUS), f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data", f"--web.external-url={self.url}/",
            f"--web.listen-address=127.0.0.1:{self.port}", "--rules.alert.resend-delay=2s",
        ]  # fmt: skip


class Gauge(ThreadingHTTPServer):
    """A program that Prometheus scrapes: `demo_down`, 0 or 1."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Metrics)
        self.value = 0
        self.url = f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def serving(self) -> Iterator[Gauge]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Metrics(BaseHTTPRequestHandler):
    server: Gauge

    def do_GET(self) -> None:
        body = f"demo_down {self.server.value}\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
