"""Runs whose starter was killed: they live on, are seen, are not started twice, and are heard."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from line_process import LineProcess, alert, disposed, until, until_settled
from ports import free_port

from faultline import keys
from faultline.adapters.runners.processes import Known
from faultline.adapters.runners.subprocess import SubprocessRunner
from faultline.adapters.stores import open_store
from faultline.capsule import seal
from faultline.event import CONTEXT_READY, Event, to_json
from faultline.incidents import Incidents, content
from faultline.model import JobState, Run, RunStatus, Status

FAKE_AGENT = Path(__file__).parents[2] / "examples/fake-agent"


def engine(folder: Path) -> str:
    """A command that says that it began, waits to be let go, and then answers."""
    script = folder / "engine.sh"
    script.write_text(
        f"#!/bin/sh\necho $$ >> {folder}/began\n"
        f"until [ -e {folder}/go ]; do sleep 0.05; done\nexec {FAKE_AGENT}\n"
    )
    script.chmod(0o755)
    return str(script)


def test_a_run_that_outlives_a_killed_line_is_seen_by_the_next_and_its_answer_is_told(
    tmp_path: Path,
) -> None:
    began, command = tmp_path / "began", engine(tmp_path)
    line = LineProcess(tmp_path / "line", AGENT_RUNTIME_COMMAND=command, FAULTLINE_NUDGE_AFTER="1")
    with disposed(line):
        line.start().insist([alert("Odd", workload="unknown")])
        until(began.exists, 20, "the engine began")
        line.kill()
        (agent,) = [Known.read(path) for path in line.runs.glob("*.pid")]
        assert agent is not None
        assert agent.alive

        line.start()
        time.sleep(3)  # several sweeps, each of which may think that the run is lost
        assert line.starts() == dict.fromkeys(line.starts(), 1)
        assert list(line.incidents().ids()) != []
        (tmp_path / "go").touch()
        census = until_settled(line, ["Odd"])

        (incident_id,) = census.status
        result = line.incidents().result(incident_id, 1)
        assert result is not None
        assert result.status is RunStatus.SUCCESS
        assert len(began.read_text().split()) == 1
        assert census.doubled(line) == []


def test_a_run_that_ends_while_nobody_is_there_is_found_afterwards(tmp_path: Path) -> None:
    with disposed(LineProcess(tmp_path / "line", AGENT_RUNTIME_COMMAND=engine(tmp_path))) as line:
        line.start().insist([alert("Odd", workload="unknown")])
        until((tmp_path / "began").exists, 20, "the engine began")
        line.kill()
        (tmp_path / "go").touch()
        incidents = line.incidents()
        (incident_id,) = incidents.ids()
        until(lambda: incidents.result(incident_id, 1), 20, "the result is in the store")
        assert incidents.status(incident_id) is Status.INVESTIGATED

        census = until_settled(line.start(), ["Odd"])

        assert census.status == {incident_id: Status.PACKAGED}
        assert census.doubled(line) == []


# the runner alone


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "runs"
    yield folder
    for path in folder.glob("*.kept"):
        if known := Known.read(path):
            known.signal(9, group=True)


def runner(folder: Path, store_url: str) -> SubprocessRunner:
    """A runner as a process has it that knows nothing of those before it."""
    environment = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "x", "HOME": str(folder)}
    environment["AWS_SECRET_ACCESS_KEY"] = "y"
    return SubprocessRunner(folder, store_url=store_url, sink_url="", grace_s=0.2, env=environment)


def a_run(incidents: Incidents, seconds: float) -> Run:
    prompt = {keys.PROMPT: b"# Look\n"}
    run = Run(
        incident_id="20261121-api-5c1e9b2a",
        number=1,
        engine="command",
        command=(sys.executable, "-I", "-c", f"import time; time.sleep({seconds})"),
        deadline_s=60,
        capsule_sha256="",
        created_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
        cause=to_json(Event(id="e1", source="/faultline/context", type=CONTEXT_READY)),
    )
    incidents.record(run.incident_id, keys.PROMPT, prompt[keys.PROMPT])
    incidents.record(run.incident_id, keys.INDEX, content(seal(prompt.items(), {}, {})))
    sha256 = incidents.capsule(run.incident_id).sha256
    run = run.model_copy(update={"capsule_sha256": sha256})
    incidents.record(run.incident_id, keys.run_record(1, keys.RUN), run)
    return run


def ended(made: SubprocessRunner, run: Run) -> Callable[[], bool]:
    return lambda: made.state(run) is not JobState.LIVE


def test_a_run_whose_starter_died_before_noting_its_number_is_alive_and_not_started_again(
    runs: Path, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/store"
    run = a_run(Incidents(open_store(url)), seconds=60)
    runner(runs, url).start(run)
    (runs / f"{run.id}.pid").rename(runs / f"{run.id}.kept")  # as if it had never been written

    later = runner(runs, url)
    at_once = later.state(run)
    later.start(run)

    assert (at_once, later.state(run)) == (JobState.LIVE, JobState.LIVE)
    assert later.live() == [run.id]
    assert not (runs / f"{run.id}.pid").exists()  # it has started nothing


def test_a_run_that_gave_up_because_the_store_did_not_answer_may_be_started_once_more(
    runs: Path, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/store"
    run = a_run(Incidents(open_store(url)), seconds=0)
    away = runner(runs, f"s3://bucket/x?endpoint=http://127.0.0.1:{free_port()}&region=us-east-1")
    away.start(run)
    until(ended(away, run), 30, "the run gave up")
    gave_up = away.state(run)

    back = runner(runs, url)
    back.start(run)
    until(ended(back, run), 30, "the run ended")

    assert (gave_up, back.state(run)) == (JobState.ABSENT, JobState.ENDED)
    assert Incidents(open_store(url)).result(run.incident_id, 1) is not None
