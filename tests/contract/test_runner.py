"""One contract for every runner: the comments of `ports.Runner`, as tests."""

import os
import sys
import time
from datetime import UTC, datetime

import pytest

from faultline import keys
from faultline.adapters.runners.memory import InlineRunner
from faultline.adapters.runners.subprocess import SubprocessRunner
from faultline.adapters.stores import open_store
from faultline.capsule import seal
from faultline.errors import Rejected
from faultline.event import CONTEXT_READY, RUN_FINISHED, Event, to_json
from faultline.incidents import Incidents, content
from faultline.model import JobState, Result, Run, RunStatus

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
CAUSE = Event(id="e1", source="/faultline/context", type=CONTEXT_READY)


def a_run(number):
    return Run(
        incident_id="20261121-api-5c1e9b2a",
        number=number,
        engine="command",
        command=(sys.executable, "-I", "-c", "import time; time.sleep(60)"),
        deadline_s=60,
        capsule_sha256="",
        created_at=NOW,
        cause=to_json(CAUSE),
    )


class Inline:
    def __init__(self, tmp_path):
        self.runner = InlineRunner()

    def ready(self, number):
        return a_run(number)

    def end(self, run):
        self.runner.lose(run)


class Subprocess:
    """Real processes, over a directory as store."""

    def __init__(self, tmp_path):
        url = f"file://{tmp_path}/store"
        self.incidents = Incidents(open_store(url))
        self.started = []
        self.runner = SubprocessRunner(
            tmp_path / "runs",
            store_url=url,
            sink_url="",
            grace_s=0.2,
            env={"PATH": os.environ["PATH"]},
        )

    def ready(self, number):
        prompt = {keys.PROMPT: b"# Look\n"}
        run = a_run(number)
        self.incidents.record(run.incident_id, keys.PROMPT, prompt[keys.PROMPT])
        self.incidents.record(run.incident_id, keys.INDEX, content(seal(prompt.items(), {}, {})))
        sha256 = self.incidents.capsule(run.incident_id).sha256
        run = run.model_copy(update={"capsule_sha256": sha256})
        self.incidents.record(run.incident_id, keys.run_record(number, keys.RUN), run)
        self.started.append(run)
        return run

    def end(self, run):
        self.incidents.record(run.incident_id, keys.run_record(run.number, keys.CANCEL), b"{}\n")
        deadline = time.monotonic() + 20
        while self.runner.state(run) is JobState.LIVE:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture(params=[Inline, Subprocess], ids=["memory", "subprocess"])
def place(request, tmp_path):
    made = request.param(tmp_path)
    yield made
    for run in getattr(made, "started", []):
        made.runner.cancel(run)
        if made.runner.state(run) is JobState.LIVE:
            made.end(run)


@pytest.mark.covers("S1-008")
def test_a_run_is_absent_then_live_then_ended(place):
    run = place.ready(1)
    before = place.runner.state(run)

    place.runner.start(run)
    during = place.runner.state(run)
    place.end(run)

    assert (before, during) == (JobState.ABSENT, JobState.LIVE)
    assert place.runner.state(run) is JobState.ENDED


def test_a_run_is_started_once_even_after_it_has_ended(place):
    run = place.ready(1)

    place.runner.start(run)
    place.runner.start(run)
    assert list(place.runner.live()) == [run.id]
    place.end(run)
    place.runner.start(run)

    assert place.runner.state(run) is JobState.ENDED
    assert list(place.runner.live()) == []


def test_live_names_the_runs_that_live(place):
    first, second = place.ready(1), place.ready(2)
    assert list(place.runner.live()) == []

    place.runner.start(first)
    place.runner.start(second)
    assert sorted(place.runner.live()) == [first.id, second.id]
    place.end(first)

    assert list(place.runner.live()) == [second.id]


def test_cancelling_what_is_not_there_does_nothing(place):
    run = place.ready(1)

    place.runner.cancel(run)
    assert place.runner.state(run) is JobState.ABSENT
    place.runner.start(run)
    place.end(run)
    place.runner.cancel(run)

    assert place.runner.state(run) is JobState.ENDED


def test_a_store_that_a_child_cannot_reach_is_refused(tmp_path):
    with pytest.raises(Rejected, match="file://"):
        SubprocessRunner(tmp_path, store_url="memory:", sink_url="")


def test_a_test_may_end_an_inline_run_with_a_result():
    runner, incidents, run = InlineRunner(), Incidents(open_store("memory:")), a_run(1)
    runner.start(run)
    result = Result(
        incident_id=run.incident_id,
        run=1,
        status=RunStatus.SUCCESS,
        started_at=NOW,
        completed_at=NOW,
    )

    event = runner.finish(result, incidents)

    assert incidents.result(run.incident_id, 1) == result
    assert (event.type, event.subject) == (RUN_FINISHED, run.incident_id)
    assert event.data == result.model_dump(mode="json")
    assert runner.state(run) is JobState.ENDED
