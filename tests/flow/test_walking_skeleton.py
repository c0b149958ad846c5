"""The shortest way through all of it: one command, one stream, one fault, one result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from line_process import until
from ports import free_port
from stream_servers import Scripted, events

from faultline import keys
from faultline.adapters.stores import open_store
from faultline.event import (
    CONTEXT_READY,
    FAULT_DETECTED,
    INCIDENT_OPENED,
    INCIDENT_PACKAGED,
    PREFIX,
    RUN_FINISHED,
)
from faultline.incidents import Incidents
from faultline.model import Fault, Result, Status

FAULT = {
    "cluster_id": "prod",
    "namespace": "shop",
    "resource_type": "Pod",
    "resource_name": "api-0",
    "severity": "critical",
    "message": "CrashLoopBackOff",
    "timestamp": "2026-11-21T09:00:00Z",
    "logs": "panic: no such file",
}
CHAIN = [
    f"{FAULT_DETECTED}: {INCIDENT_OPENED}",
    f"{INCIDENT_OPENED}: {CONTEXT_READY}",
    f"{CONTEXT_READY}: nothing to say",  # the run says it, when it has ended
    f"{RUN_FINISHED}: {INCIDENT_PACKAGED}",
]
AT_WORK = ("workspace made", "engine started", "engine ended", "run finished")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.covers("S0-12", "S0-14", "S0-16", "S0-24", "S0-25")
@pytest.mark.covers("S0-27", "S0-28", "S0-30", "S1-109")
def test_with_nothing_but_the_address_of_a_stream_a_fault_becomes_a_result(tmp_path: Path) -> None:
    server = Scripted(events(b"data: " + json.dumps(FAULT).encode() + b"\n\n", hang=True))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(tmp_path),
        "PORT": str(free_port()),
        "FAULTLINE_ENGINE": "stub",
        "AGENT_RUNTIME_CLEANUP": "keep",
    }
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(
        [sys.executable, "-m", "faultline", "dev", "--sse-endpoint", server.url + "/events"],
        cwd=tmp_path, env=environment, stdout=log, stderr=log,
    ) as process:  # fmt: skip
        try:
            memory = Incidents(open_store(f"file://{tmp_path}/.faultline/store"))
            id = until(lambda: next(iter(memory.ids()), ""), 30)
            until(lambda: memory.status(id) is Status.PACKAGED, 30)
            process.send_signal(signal.SIGTERM)
            process.wait(15)
        finally:
            process.kill()
            server.stop()

    workspace = tmp_path / ".faultline/runs" / f"{id}-1"
    event = json.loads((workspace / "event.json").read_text("utf-8"))
    fault = Fault.model_validate(event["data"])
    assert fault.resource is not None
    assert (fault.cluster, fault.resource.namespace, fault.resource.name) == (
        "prod", "shop", "api-0",
    )  # fmt: skip
    assert json.loads((workspace / "context/event.json").read_text("utf-8")) == FAULT
    result = Result.model_validate_json(memory.read(id, keys.run_record(1, keys.RESULT)))
    assert (result.exit_code, str(result.status)) == (0, "success")
    said = f"Processing incident: {id}\n"
    assert (workspace / keys.AGENT_LOG).read_text("utf-8") == said

    dev = lines((tmp_path / "log").read_text("utf-8"))
    (sent,) = [line for line in dev if line["message"] == "event sent"]
    assert (sent["level"], sent["event"]) == ("info", event["type"])
    assert sent["event_id"] == event["id"]
    run = lines((tmp_path / f".faultline/runs/{id}-1.wrapper.log").read_text("utf-8"))
    told = [line for line in run if line["message"].startswith(AT_WORK)]
    assert len(told) == len(AT_WORK)
    assert all(line["message"].startswith(word) for line, word in zip(told, AT_WORK, strict=True))
    assert {line["incident_id"] for line in told} == {id}
    assert [line["timestamp"] for line in told] == sorted(line["timestamp"] for line in told)
    assert [line["message"] for line in dev if line["message"].startswith(PREFIX)] == CHAIN
