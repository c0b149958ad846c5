"""The command against a real `faultline dev`: an alert sent, a run stopped, an event sent again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from line_process import ROOT, LineProcess, until

from faultline.model import RunStatus

ALERT = ROOT / "examples/alerts/crash-looping.json"


class Person:
    """Someone at a shell, with the line's settings in the environment."""

    def __init__(self, line: LineProcess) -> None:
        self.line = line
        self.environment = os.environ | {
            "FAULTLINE_STORE": line.store, "PORT": str(line.port), "FAULTLINE_CLUSTER": "prod-a",
        }  # fmt: skip

    def types(self, *words: str, code: int = 0, given: bytes = b"") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "faultline", *words],
            cwd=self.line.folder, env=self.environment, input=given,
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return (done.stdout if code == 0 else done.stderr).decode()

    def sees(self, *words: str) -> Any:
        return json.loads(self.types(*words, "--json"))


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    line = LineProcess(
        tmp_path / "line", scenario="healthy-1", FAULTLINE_NUDGE_AFTER="60",
        FAULTLINE_ENGINE="command",
        AGENT_RUNTIME_COMMAND=f"{sys.executable} -c 'import time; time.sleep(600)'",
    )  # fmt: skip
    try:
        line.start()
        yield Person(line)
    finally:
        line.dispose()


@pytest.mark.covers("S1-073", "S2-20", "S3-16", "S3-74")
def test_from_an_alert_to_its_closing_by_hand(person: Person) -> None:
    said = person.types("send", "alert", str(ALERT))
    assert "taken on" in said

    (row,) = until(lambda: person.sees("incidents", "--status", "investigating"))
    id = row["incident"]
    console = f"http://127.0.0.1:{person.line.port}/"  # is in that process
    until(lambda: f'href="/incidents/{id}"' in httpx.get(console).text)
    assert id in json.dumps(person.sees("show", "last"))
    assert "still going" in person.types("retry", "last", code=1)

    person.types("cancel", "last")
    told = person.types("tail", "last", "--until", "packaged")
    assert id in told
    stopped = person.line.incidents().result(id, 1)
    assert stopped is not None
    assert stopped.status is RunStatus.CANCELLED

    assert person.sees("retry", "last") == {"incident": id, "run": 2}
    until(lambda: person.sees("incidents", "--status", "investigating"))
    assert person.sees("close", "last", "--note", "known") == {"incident": id, "because": "person"}
    assert id in person.types("tail", "--until", "closed")
    assert "is closed" in person.types("retry", "last", code=1)
    assert [each["status"] for each in person.sees("incidents")] == ["closed"]


def test_a_resolved_alert_closes_and_what_is_parked_can_be_sent_again(person: Person) -> None:
    person.types("send", "alert", str(ALERT))
    until(lambda: person.sees("incidents", "--status", "investigating"))
    person.types("send", "alert", str(ALERT), "--resolved")
    person.types("tail", "last", "--until", "closed")

    strange = {
        "specversion": "1.0", "id": "strange-1", "source": "/test", "subject": "x",
        "type": "dev.faultline.incident.opened.v1", "datacontenttype": "application/json",
        "data": {},
    }  # fmt: skip
    person.types("send", "event", "-", given=json.dumps(strange).encode(), code=1)
    (refused,) = person.sees("parked")
    assert "expected a fault event from outside" in refused["reason"]

    url = f"http://127.0.0.1:{person.line.port}/broker/faultline/faultline"
    _post(url, strange)
    letters = until(lambda: [each for each in person.sees("parked") if each["type"]])
    letter = letters[0]
    assert "expected an incident id" in letter["reason"]
    assert "sent again" in person.types("resend", letter["key"])


def _post(url: str, event: dict[str, Any]) -> None:
    import httpx

    kind = {"content-type": "application/cloudevents+json"}
    assert httpx.post(url, content=json.dumps(event), headers=kind).status_code == 202


def test_a_broker_that_is_not_there_is_named(person: Person) -> None:
    nowhere = "http://127.0.0.1:9"

    assert "did not answer" in person.types("send", "alert", str(ALERT), "--to", nowhere, code=1)
    assert "unknown" in person.types("show", "20261121-api-5c1e9b2a", code=1)
