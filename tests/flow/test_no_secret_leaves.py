"""Canaries wherever a secret can stand; afterwards a look wherever one could end up."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from world import World, example

from faultline.agent.attempt import Attempt
from faultline.bridge.app import Doors
from faultline.bridge.intake import Intake
from faultline.doors import bridge_readings
from faultline.errors import Unavailable
from faultline.logs import JsonFormatter
from faultline.metrics import Metrics
from faultline.metrics.records import Records
from faultline.model import Incident, Policy, Status
from faultline.ports import Ports
from faultline.redact import redact
from faultline.serve import Request
from faultline.traces import Span

CANARIES = {
    "annotation": "Zk38dPqwLm27Vx",
    "label": "ghp_" + "k3Jd8sLq2Wm9Zx7Tb5Rv1Yc6Nf4Hg0Ap3UeQ",
    "log": "tR9vXe2KqLz71w",
    "variable": "Wq71mzPLk39Xcv",
    "secret object": "Pb84kLzQx62Mwn",
    "event": "mF3kQz8LxW7cVb2Nn5Rt9Yp1",
    "config map": "AKIAQ3EGRZ5XK7MTWB2N",
    "argument": "vN8xKq3LzP72Wm",
    "runbook": "xoxb-" + "281936450172-738264915037-kZq8LwXc3VbN7mRt5YpQ2sDf",
    "error": "Lx92WqzKm47Pvb",
    "link": "qZ7LkW3xPv91Mn",
    "agent output": "Kc62XzqLw83Pvm",
    "investigation": "sk-ant-" + "api03-Jd83kLqZx7Wm2Vb9Nn5Rt1Yp6Qc4Hg0Ap3Ue",
    "diagnosis": "hT5kXz9LqW21vB",
    "artifact": "glpat-" + "Zx83kLqW7m2Vb9Nn5Rt1",
    "model key": "our-model-key-93kLqZx71WmVb",
}


def forms(secret: str) -> set[bytes]:
    """Return how a secret may be written: as it is, in base64 wherever it begins, in a URL, hex."""
    plain = secret.encode()
    middles = {base64.b64encode(b"x" * shift + plain)[(0, 2, 3)[shift] : -4] for shift in (0, 1, 2)}
    return {plain, quote(secret, safe="").encode(), plain.hex().encode(), *middles}


def found_in(text: bytes) -> set[str]:
    """Return which canaries stand in a text, in any form and any case of hex."""
    low = text.lower()
    return {
        name
        for name, secret in CANARIES.items()
        if any(form in text for form in forms(secret)) or secret.encode().hex().encode() in low
    }


class Leaky:
    """A context source whose cluster is full of secrets."""

    name = "leaky"

    def collect(self, incident: Incident) -> Iterator[tuple[str, bytes]]:
        c, b64 = CANARIES, base64.b64encode(CANARIES["secret object"].encode()).decode()
        yield "context/logs.txt", f"connecting to postgres://app:{c['log']}@db:5432/shop\n".encode()
        yield (
            "context/objects/deployment/a.yaml",
            (
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: shop}\n"
                "spec:\n  template:\n    spec:\n      containers:\n      - name: a\n"
                f"        args: ['--api-key={c['argument']}']\n"
                f"        env: [{{name: DB_PASSWORD, value: {c['variable']}}}]\n"
            ).encode(),
        )
        yield (
            "context/objects/secret/s.yaml",
            (
                f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {{password: {b64}}}\n"
            ).encode(),
        )
        yield (
            "context/objects/configmap/c.yaml",
            (
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
                f"data: {{id: {c['config map']}}}\n"
            ).encode(),
        )
        said = f"request had Authorization: Bearer {c['event']}"
        yield "context/k8s-events.json", json.dumps([{"message": said}]).encode()
        yield "context/runbook.md", f"# Runbook\n\nUse token {c['runbook']} for Slack.\n".encode()
        raise Unavailable(f"login failed: password={c['error']}")


AGENT = """
import base64, json, os, pathlib, sys
c = json.loads(pathlib.Path(sys.argv[1]).read_text())
print("export DB_PASSWORD=" + c["agent output"])
key = c["model key"].encode()
print(key.decode(), base64.b64encode(key).decode(), key.hex())
out = pathlib.Path("output"); (out / "artifacts").mkdir(parents=True, exist_ok=True)
(out / "artifacts" / "notes.txt").write_text("token " + c["artifact"] + chr(10))
sections = json.loads(sys.argv[2])
(out / "investigation.md").write_text((chr(10) * 2).join(
    s + chr(10) * 2 + "The key is " + c["investigation"] + ", use it with care." for s in sections))
(out / "diagnosis.json").write_text(json.dumps({
    "title": "It leaks", "root_cause": "password: " + c["diagnosis"], "summary": "s",
    "changes": [{"target": {"kind": "Deployment", "name": "a", "namespace": "shop"},
                 "field": "spec.replicas", "after": "password=" + c["diagnosis"]}]}))
"""


class Leaking(World):
    """A world whose requests between steps are kept, as bytes."""

    def __init__(self, agent: list[str]) -> None:
        self.wire: list[bytes] = []
        self.spans: list[Span] = []
        policy = Policy(engine="command", command=tuple(agent))
        super().__init__("healthy-1", policy=policy, wrap=self._leaky)

    def _leaky(self, ports: Ports) -> Ports:
        sources = [*ports.sources[:1], Leaky()]
        return dataclasses.replace(ports, sources=sources, spans=self.spans.append)

    def _subscriber(self, name: str) -> Callable[[Request], Any]:
        inner = super()._subscriber(name)

        def tapped(request: Request) -> Any:
            reply = inner(request)
            self.wire += [repr(request).encode(), request.body, repr(reply).encode(), reply.body]
            return reply

        return tapped


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    written, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(written), root.level
    handler.setFormatter(JsonFormatter(known=[CANARIES["model key"]]))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


def the_alert() -> bytes:
    body = json.loads((example("healthy-1") / "alert.json").read_bytes())
    (first, *_) = body["alerts"]
    first["annotations"]["description"] = f"password={CANARIES['annotation']} does not work"
    first["annotations"]["runbook_url"] = f"https://wiki.test/page?token={CANARIES['link']}"
    first["labels"]["note"] = CANARIES["label"]
    return json.dumps(body).encode()


@pytest.mark.covers("RED-08")
def test_no_canary_leaves_its_place(tmp_path: Path, logged: io.StringIO) -> None:
    from faultline.agent.outcome import SECTIONS

    script, secrets = tmp_path / "agent.py", tmp_path / "secrets.json"
    script.write_text(AGENT)
    secrets.write_text(json.dumps(CANARIES))
    world = Leaking([sys.executable, str(script), str(secrets), json.dumps(SECTIONS)])
    world.clock.now = dt.datetime.now(dt.UTC)  # as the attempt's, which is the machine's
    intake = Intake(sink=world.broker.sink(), store=world.store, cluster="prod-a",
                    clock=world.clock, clean=redact, spans=world.spans.append)  # fmt: skip

    intake.alertmanager(the_alert())
    world.settle()
    (run,) = world.jobs.started.values()
    environment = {"PATH": os.environ["PATH"], "WORKSPACE_ROOT": str(tmp_path / "runs"),
                   "MODEL_API_KEY": CANARIES["model key"]}  # fmt: skip
    result = Attempt(run, world.incidents, environment, threading.Event()).finish()
    world.jobs.ended.add(run.id)
    world.pass_time(3600).ping().settle()

    assert (result.status, world.status()) == ("success", Status.PACKAGED)
    originals = [key for key in world.keys("") if key.startswith("payloads/")]
    assert found_in(b"".join(map(world.store.get, originals))) == {"annotation", "label", "link"}
    assert {key: found for key in world.keys("") if key not in originals
            and (found := found_in(key.encode() + world.store.get(key)))} == {}  # fmt: skip
    assert found_in(b"\n".join(world.wire)) == set()
    assert found_in(logged.getvalue().encode()) == set()
    reports = [report.model_dump_json() for report in world.forge.pull_requests.values()]
    assert len(reports) == len(world.chat.messages) == 1
    assert found_in("\n".join(reports + world.chat.messages).encode()) == set()
    assert found_in(repr(world.spans).encode()) == set()
    page = Metrics(
        lambda: bridge_readings(Doors(intake), []),
        Records(world.incidents, clock=world.clock, monotonic=time.monotonic),
    ).text()
    assert b"faultline_redactions_total" in page
    assert found_in(page) == set()
    assert found_in(b"".join(p.read_bytes() for p in tmp_path.rglob("*.wrapper.log"))) == set()


def test_the_search_finds_every_form() -> None:
    for name, secret in CANARIES.items():
        plain = secret.encode()
        for text in (plain, plain.hex().upper().encode(), quote(secret, safe="").encode()):
            assert name in found_in(b"before " + text + b" after")
        for shift in range(3):
            assert name in found_in(base64.b64encode(b"a" * shift + plain + b" and more"))


# a process, with secrets of its own


TOKENS = {
    "FAULTLINE_WEBHOOK_TOKEN": "hook-token-48Xq,second-hook-71Zw",
    "FAULTLINE_WEBHOOK_HMAC": "hmac-secret-93Lk",
    "FAULTLINE_CONSOLE_TOKEN": "console-token-27Vm",
}


def started(tmp_path: Path, *command: str, **environment: str) -> subprocess.Popen[bytes]:
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LOG_LEVEL": "debug"}
    return subprocess.Popen(
        [sys.executable, "-m", "faultline", *command], cwd=tmp_path, env=clean | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.covers("RED-10", "S1-130")
def test_a_process_tells_no_token_whatever_happens_and_logs_only_json(tmp_path: Path) -> None:
    whole = ["hook-token-48Xq", "second-hook-71Zw", "hmac-secret-93Lk", "console-token-27Vm"]
    line = started(tmp_path, "dev", "--port", "0", **TOKENS)
    try:
        assert line.stdout is not None
        first = line.stdout.readline()
        url = next(word for word in first.decode().split() if word.startswith("http"))
        body = (example("memory") / "alert.json").read_bytes()
        for token in ("hook-token-48Xq", "wrong"):
            httpx.post(f"{url}/alertmanager", content=body,
                       headers={"authorization": f"Bearer {token}"})  # fmt: skip
        httpx.get(f"{url}/?token=console-token-27Vm")
        end = time.monotonic() + 20
        while "incidents_open 1.0" not in (page := httpx.get(f"{url}/metrics").text):
            assert time.monotonic() < end
            time.sleep(0.2)
    finally:
        line.terminate()
        out, err = line.communicate(timeout=20)
    dump = started(tmp_path, "config", "check", **TOKENS)
    dumped = b"".join(dump.communicate(timeout=20))
    refused = started(tmp_path, "bridge", **TOKENS, PORT="no port")
    complaint = b"".join(refused.communicate(timeout=20))

    said = (first + out + err + dumped + complaint).decode() + page
    lines = [json.loads(text) for text in err.decode().splitlines()]
    assert [token for token in whole if token in said] == []
    assert refused.returncode != 0
    assert all(
        {"timestamp", "level", "component", "event", "cluster"} <= line.keys() for line in lines
    )
    assert {line["component"] for line in lines} >= {"serve", "bridge"}
    assert [line for line in lines if line["incident_id"] and line["trace_id"]]
    assert 'faultline_events_rejected_total{reason="unknown_sender"} 1.0' in page
