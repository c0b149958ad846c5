"""The built-in loop on the whole line: an alert, a model that asks, a branch; and once more."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from api_fake import ApiFake, rule
from events_fake import EventsFake
from loop_line import ASKS, MINE, POD, Line, git
from loop_world import APP, KEY
from model_fake import ModelFake, serving
from world import example

from faultline import keys
from faultline.adapters.outlets.kubernetes_events import EventsOutlet
from faultline.agent.record import broken, entries
from faultline.model import Result, RunStatus, Status


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Line, Result, ModelFake]:
    line = Line(tmp_path_factory.mktemp("line"))
    model = ModelFake([ASKS, [("events", {"namespace": "shop"})], json.dumps(MINE)])
    return line, line.run("loop-capsule", model), model


@pytest.mark.covers("S3-82")
def test_an_alert_a_model_that_asks_and_a_branch(
    answered: tuple[Line, Result, ModelFake],
) -> None:
    line, result, model = answered

    assert (result.status, result.reason) == (RunStatus.SUCCESS, "")
    assert (result.model, result.tokens, result.cost_usd) == ("m1", 330, pytest.approx(0.33))
    assert line.world.status() is Status.PACKAGED
    (branch,) = git(line.gitops, "branch", "--list", "faultline/*").split()
    changed = git(line.gitops, "diff", "main", branch)
    added = [line.split() for line in changed.splitlines() if line[0] == "+" and "Mi" in line]
    assert [words[:3] for words in added] == [["+", "memory:", "192Mi"]]
    assert model.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.covers("S3-42")
def test_a_service_that_fails_twice_is_asked_twice_and_its_error_is_an_event_in_the_cluster(
    tmp_path: Path,
) -> None:
    line, api, model = Line(tmp_path), EventsFake(), ModelFake([503])
    events = EventsOutlet("prod-a", clock=line.world.clock, write=api.write())
    outlets = [*line.world.ports.outlets, events]
    line.world.ports = dataclasses.replace(line.world.ports, outlets=outlets)

    result = line.run("loop-capsule", model)

    assert len(model.asked) == 2
    assert (result.status, result.reason) == (RunStatus.FAILED, "overloaded")
    told = api.events[-1]
    assert (told["reason"], told["type"]) == ("DiagnosisFailed", "Warning")
    assert "overloaded" in told["note"]
    assert told["regarding"]["name"] == POD


def test_what_it_asked_and_was_told_is_on_record_and_the_key_and_the_address_are_nowhere(
    answered: tuple[Line, Result, ModelFake],
) -> None:
    line, _, model = answered

    record = line.left(keys.TOOLS)
    assert broken(record) == ""
    assert broken(line.left(keys.TRANSCRIPT)) == ""
    asked = [(entry["tool"], entry["outcome"]) for entry in entries(record)]
    assert asked == [("logs", "answered"), ("get_object", "answered"), ("get_object", "answered"),
                     ("events", "answered")]  # fmt: skip
    everything = b"".join(line.world.store.get(key) for key in line.world.store.list(""))
    for secret in (KEY, model.url, model.url.removeprefix("http://")):
        assert secret.encode() not in everything
        assert secret not in line.said
        assert secret not in model.told


def replayed(line: Line, engine: str, **environment: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "faultline", "replay", line.world.only, "--engine", engine]
    told: Mapping[str, str] = {
        "PATH": os.environ["PATH"], "FAULTLINE_STORE": line.store, "HOME": str(line.folder),
        "AGENT_MODEL": "m2", **environment,
    }  # fmt: skip
    done = subprocess.run(
        [*command, "--json", "--keep", str(line.folder / engine)], env=dict(told),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_a_replay_gives_the_same_answer_byte_for_byte_without_a_model(
    answered: tuple[Line, Result, ModelFake],
) -> None:
    line, _, model = answered
    asked = len(model.asked)

    found = replayed(line, "loop-recorded")

    assert found["identical"] == [keys.DIAGNOSIS, keys.INVESTIGATION]
    assert (found["same_changes"], found["not_recorded"], found["reason"]) == (True, 0, "")
    assert len(model.asked) == asked
    [log] = (line.folder / "loop-recorded").glob("store/incidents/*/runs/1/output/agent.log")
    assert '"drifted": 0' in log.read_text()  # each question was the one that was answered then


def test_another_model_gets_the_recorded_answers_and_no_others(
    answered: tuple[Line, Result, ModelFake],
) -> None:
    line, _, _ = answered
    other = [*ASKS[:1], ("events", {"namespace": "kube-system"}), ("grep", {"text": "memory"})]
    model = ModelFake([other, json.dumps(MINE)])

    with serving(model):
        found = replayed(
            line, "loop", FAULTLINE_MODEL_PROVIDER="ollama", FAULTLINE_MODEL_URL=model.url
        )

    told = [m["content"] for m in model.asked[1]["messages"] if m["role"] == "tool"]
    assert "garbage collection" in told[0]
    assert "not recorded" in told[1]
    assert "context/" in told[2]  # the evidence itself is there, whoever asks
    assert (found["same_changes"], found["not_recorded"]) == (True, 1)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiFake]:
    server = ApiFake(example("memory"))
    with serving(server):
        yield server


def test_a_live_cluster_is_asked_once_its_account_is_found_to_be_a_reader(
    tmp_path: Path, api: ApiFake
) -> None:
    line = Line(tmp_path)
    path = api.kubeconfig(tmp_path)

    result = line.run("loop", ModelFake([ASKS, json.dumps(MINE)]), KUBECONFIG=str(path))

    assert result.status is RunStatus.SUCCESS, line.left(keys.AGENT_LOG)
    outcomes = [entry["outcome"] for entry in entries(line.left(keys.TOOLS))]
    assert outcomes == ["answered", "answered", "refused"]
    methods = [method for method, _, _ in api.asked]
    assert methods == sorted(methods, reverse=True)  # the reviews come first
    assert [p for _, p, _ in api.asked if "secrets" in p] == []


@pytest.mark.covers("TOOL-06")
def test_an_account_that_may_more_stops_the_run_before_a_model_is_asked(
    tmp_path: Path, api: ApiFake
) -> None:
    line = Line(tmp_path)
    api.rules.append(rule("get", "secrets"))
    model = ModelFake([json.dumps(MINE)])

    result = line.run("loop", model, KUBECONFIG=str(api.kubeconfig(tmp_path)))

    assert (result.status, result.reason) == (RunStatus.FAILED, "start")
    assert b"this account may get secrets" in line.left(keys.AGENT_LOG)
    assert model.asked == []


def test_the_fields_that_a_model_proposes_are_judged_like_any(
    answered: tuple[Line, Result, ModelFake],
) -> None:
    proposal = answered[0].world.incidents.proposal(answered[0].world.only, 2)

    assert proposal is not None
    assert [change.field for change in proposal.accepted] == [f"{APP}.resources.limits.memory"]
