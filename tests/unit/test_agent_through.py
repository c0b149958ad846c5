"""Where the engines find their model, with a gateway and without, and who sees which token."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from model_fake import ModelFake, serving

from faultline.agent import engines
from faultline.agent.__main__ import NEVER
from faultline.agent.attempt import secrets_of
from faultline.agent.backends import HttpModel, service
from faultline.agent.dialects import Turn
from faultline.agent.through import through
from faultline.errors import Rejected
from faultline.model import Run

URL = "http://gateway.faultline.svc"
STORE_TOKEN, MODEL_TOKEN = "eyJ-of-the-store", "eyJ-of-the-models"
BEFORE = {
    "FAULTLINE_MODEL_KEY": "k1",
    "ANTHROPIC_API_KEY": "k2",
    "CLAUDE_API_KEY": "k3",
    "OPENAI_API_KEY": "k4",
    "GEMINI_API_KEY": "k5",
    "GOOGLE_API_KEY": "k6",
    "FAULTLINE_MODEL_PROVIDER": "anthropic",
    "FAULTLINE_MODEL_URL": "https://models.example",
    "ANTHROPIC_BASE_URL": "https://models.example",
    "FAULTLINE_STORE": f"gateway+{URL}",
    "LOG_LEVEL": "debug",
}


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "token").write_text(f"{STORE_TOKEN}\n")
    (tmp_path / "model-token").write_text(f"{MODEL_TOKEN}\n")
    return BEFORE | {"FAULTLINE_GATEWAY": f"{URL}/", "FAULTLINE_GATEWAY_TOKENS": str(tmp_path)}


def a_run(engine):
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    return Run(incident_id="20261121-api-5c1e9b2a", number=1, engine=engine, deadline_s=10,
               capsule_sha256="", created_at=moment, cause={}, command=("true",))  # fmt: skip


def test_without_a_gateway_the_environment_stays_as_it_is():
    assert through(BEFORE) == BEFORE
    assert through(BEFORE) is not BEFORE
    assert through(BEFORE | {"FAULTLINE_GATEWAY": ""})["ANTHROPIC_API_KEY"] == "k2"


@pytest.mark.covers("ISO-03")
def test_with_a_gateway_every_engine_finds_it_and_the_pods_token_instead_of_a_key(
    environment, tmp_path
):
    found = through(environment)

    assert found == {
        "FAULTLINE_GATEWAY": f"{URL}/",
        "FAULTLINE_GATEWAY_TOKENS": str(tmp_path),
        "FAULTLINE_STORE": f"gateway+{URL}",
        "LOG_LEVEL": "debug",
        "FAULTLINE_MODEL_PROVIDER": "anthropic",
        "FAULTLINE_MODEL_URL": f"{URL}/model/service",
        "FAULTLINE_MODEL_KEY_FILE": f"{tmp_path}/model-token",
        "ANTHROPIC_BASE_URL": f"{URL}/model/anthropic",
        "ANTHROPIC_API_KEY": MODEL_TOKEN,
        "OPENAI_BASE_URL": f"{URL}/model/openai/v1",
        "OPENAI_API_KEY": MODEL_TOKEN,
        "GOOGLE_GEMINI_BASE_URL": f"{URL}/model/gemini",
        "GEMINI_API_KEY": MODEL_TOKEN,
    }
    assert environment["ANTHROPIC_API_KEY"] == "k2"


def test_the_loop_takes_the_address_and_the_token(environment):
    found = service(through(environment))

    assert (found.url, found.key) == (f"{URL}/model/service", MODEL_TOKEN)


def test_the_loop_says_the_token_that_the_kubelet_has_renewed(environment, tmp_path):
    model = ModelFake(["yes"])
    with serving(model):
        there = replace(service(through(environment), "m"), url=model.url)
        asking = HttpModel(there, sleep=lambda _: None)
        for token in ("renewed", ""):
            asking.ask("", [Turn("user", "?")], [], last=True)
            (tmp_path / "model-token").write_text(token)
        (tmp_path / "model-token").unlink()
        asking.ask("", [Turn("user", "?")], [], last=True)

    said = [headers["x-api-key"] for headers in model.headers]
    assert said == [MODEL_TOKEN, "renewed", MODEL_TOKEN]


def test_codex_is_told_the_address_on_its_command_line_and_searches_nothing(environment):
    run = a_run("codex")

    argv = engines.command(engines.engine(run), run, through(environment))
    usual = engines.command(engines.engine(run), run, {})

    assert f"model_providers.direct.base_url={URL}/model/openai/v1" in argv
    assert "model_providers.direct.base_url=https://api.openai.com/v1" in usual
    assert "web_search=disabled" in argv
    assert MODEL_TOKEN not in " ".join(argv)


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize("name", list(engines._table(None)))
def test_no_engine_sees_a_key_or_the_stores_token_or_where_it_lies(environment, tmp_path, name):
    run = a_run(name)
    ours = through(environment)

    seen = engines.clean_environment(engines.engine(run), run, tmp_path / "w", ours)

    hidden = {"FAULTLINE_GATEWAY", "FAULTLINE_GATEWAY_TOKENS", "FAULTLINE_STORE"}
    assert not hidden & seen.keys()
    assert not {f"k{n}" for n in range(1, 7)} & set(seen.values())
    assert STORE_TOKEN not in str(seen)
    assert f"{tmp_path}/token" not in seen.values()


@pytest.mark.covers("ISO-03")
def test_both_tokens_are_known_to_redaction_and_the_folders_name_is_no_secret(
    environment, tmp_path
):
    known = secrets_of(through(environment))

    assert {STORE_TOKEN, MODEL_TOKEN} <= set(known)
    assert str(tmp_path) not in known


def test_a_token_that_is_not_there_ends_the_attempt_for_good(tmp_path):
    told = {"FAULTLINE_GATEWAY": URL, "FAULTLINE_GATEWAY_TOKENS": str(tmp_path)}

    with pytest.raises(Rejected, match=r"expected this pod's token in .*/model-token"):
        through(told)
    with pytest.raises(Rejected, match="/var/run/secrets/faultline/model-token"):
        through({"FAULTLINE_GATEWAY": URL})

    path = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    agent = subprocess.run(
        [sys.executable, "-m", "faultline.agent"],
        env=path | BEFORE | told,
        capture_output=True,
        text=True,
    )
    assert agent.returncode == NEVER
    assert "expected this pod's token in" in agent.stderr
