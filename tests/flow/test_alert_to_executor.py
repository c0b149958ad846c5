"""A webhook of AlertManager on the running line: kept, judged, and carried out by who fits.

Two workloads break. The cause of one is proved from the evidence, so no agent is asked; of the
other nothing is known, so an agent in a process of its own looks into it, with the alert in hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from line_process import ROOT, LineProcess, alert, disposed, message, until

from faultline import keys
from faultline.adapters.stores import open_store
from faultline.model import Status

AGENT = """#!/bin/sh
cp PROMPT.md context/event.json context/incident.json output/artifacts/
exec {fake}
"""


@pytest.fixture
def line(tmp_path: Path) -> Iterator[LineProcess]:
    agent = tmp_path / "agent"
    agent.write_text(AGENT.format(fake=ROOT / "examples/fake-agent"))
    agent.chmod(0o700)
    made = LineProcess(tmp_path / "line", AGENT_RUNTIME_COMMAND=str(agent))
    with disposed(made):
        yield made.start()


@pytest.mark.covers("S2-17", "S2-18", "S2-19")
def test_each_alert_is_kept_and_its_incident_goes_to_the_executor_that_fits(
    line: LineProcess,
) -> None:
    known, unknown = alert("CheckoutDown"), alert("QueueGrows", workload="mailer")
    unknown["labels"]["queue"] = "outbox-7"
    unknown["annotations"]["summary"] = "The outbox has 40,000 mails"
    body = message([known, unknown])

    answer = httpx.post(f"http://127.0.0.1:{line.port}/alertmanager", content=body)
    incidents = line.incidents()

    def packaged() -> bool:
        ids = list(incidents.ids())
        return len(ids) == 2 and all(incidents.status(id) is Status.PACKAGED for id in ids)

    until(packaged, 40, "both are packaged")

    assert answer.status_code == 202
    store = open_store(line.seen)
    assert [store.get(key) for key in store.list("payloads/")] == [body]
    by_name = {incidents.incident(id).fault.name: id for id in incidents.ids()}
    ran = {name: incidents.result(id, 1) for name, id in by_name.items()}
    assert {name: (str(r.status), r.engine) for name, r in ran.items() if r} == {
        "CheckoutDown": ("success", "analyzers"), "QueueGrows": ("success", "command"),
    }  # fmt: skip
    [branch] = line.branches()
    assert by_name["CheckoutDown"][-8:] in branch
    id = by_name["QueueGrows"]

    def seen(name: str) -> str:
        record = keys.run_record(1, f"output/artifacts/{name}")
        return incidents.read(id, record).decode()

    assert (
        f"looking at incident {id}"
        in incidents.read(id, keys.run_record(1, keys.AGENT_LOG)).decode()
    )
    assert json.loads(seen("event.json")) == json.loads(body)
    fault = json.loads(seen("incident.json"))["fault"]
    assert fault["labels"] == unknown["labels"]
    assert fault["annotations"] == unknown["annotations"]
    assert '"queue": "outbox-7"' in seen("PROMPT.md")
    assert "The outbox has 40,000 mails" in seen("PROMPT.md")
