"""The built-in loop: a model on loopback asks, answers, fails, and never ends."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from loop_world import ANSWER, KEY, Time, laid_out, run
from model_fake import ModelFake

from faultline import keys
from faultline.adapters.runners.job import JobTemplate, job
from faultline.agent.attempt import secrets_of
from faultline.agent.backends import prices, service
from faultline.agent.outcome import judge, parse_diagnosis, read
from faultline.agent.process import Exit
from faultline.bootstrap import model as told_of_model
from faultline.errors import Rejected
from faultline.limits import loop_steps_max
from faultline.model import Run, RunStatus
from faultline.settings import load

LOGS = ("logs", {"namespace": "shop", "pod": "checkout-vxn7njk876-zv8zp", "previous": True})
SAYS = json.dumps(ANSWER)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return laid_out(tmp_path / "run")


@pytest.mark.covers("S3-34")
@pytest.mark.parametrize("provider", ["compatible", "openai", "groq", "anthropic", "ollama"])
def test_a_model_asks_and_answers_in_its_dialect(workspace: Path, provider: str) -> None:
    model = ModelFake([[LOGS, ("events", {"namespace": "shop"})], SAYS])

    ran = run(workspace, model, provider=provider)

    assert ran.code == 0, ran.output
    found = parse_diagnosis(ran.left("diagnosis.json"))
    assert found is not None
    assert (found.root_cause, found.witty_line) == (ANSWER["root_cause"], ANSWER["witty_line"])
    assert [entry["outcome"] for entry in ran.asked] == ["answered", "answered"]
    assert "garbage collection" in json.dumps(model.asked[1])
    assert ran.last["tokens"] == 220


@pytest.mark.parametrize("provider", ["compatible", "anthropic", "ollama"])
def test_a_report_of_seven_sections_is_made_of_the_answer(workspace: Path, provider: str) -> None:
    ran = run(workspace, ModelFake([[LOGS], SAYS]), provider=provider)

    said = read("loop", ran.output.encode().split(b"\n"))
    report = ran.left("investigation.md")
    judged = judge(Exit(0), said, report=report, diagnosis=ran.left("diagnosis.json"))
    assert judged == (RunStatus.SUCCESS, "")
    assert b"1 of 1 quotes stand" in report
    assert b'logs {"namespace": "shop", "pod": "checkout-vxn7njk876-zv8zp"' in report


@pytest.mark.covers("S3-35")
def test_chat_completions_offer_tools_and_ask_for_json_without_them(workspace: Path) -> None:
    model = ModelFake(["no answer", SAYS])

    run(workspace, model)

    first, second = model.asked
    assert [tool["function"]["name"] for tool in first["tools"]][:3] == [
        "list_files", "read_file", "grep",
    ]  # fmt: skip
    assert "response_format" not in first
    assert second["response_format"] == {"type": "json_object"}
    assert "tools" not in second
    assert model.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.covers("S3-36")
def test_a_local_model_without_tools_answers_from_the_evidence_alone(workspace: Path) -> None:
    def llama3(number: int, body: dict[str, Any]) -> str | int:
        return 400 if "tools" in body else SAYS

    model = ModelFake(llama3)

    ran = run(workspace, model, provider="ollama", FAULTLINE_MODEL_KEY="")

    assert ran.code == 0
    assert model.asked[1]["format"] == "json"
    assert model.asked[1]["stream"] is False
    assert "Authorization" not in model.headers[0]
    assert "garbage collection" in model.told


def test_anthropic_gets_answers_in_one_message_and_tools_to_the_end(workspace: Path) -> None:
    model = ModelFake([[LOGS, ("list_files", {})], "none", SAYS])

    run(workspace, model, provider="anthropic")

    first, second, last = model.asked
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "user"]
    assert [b["type"] for b in second["messages"][2]["content"]] == ["tool_result"] * 2
    assert (first["tool_choice"], last["tool_choice"]) == ({"type": "auto"}, {"type": "none"})
    assert last["tools"] == first["tools"]
    assert model.headers[0]["x-api-key"] == KEY


@pytest.mark.covers("S3-37", "S3-44")
def test_a_provider_has_an_address_and_a_model_of_its_own_and_the_environment_decides() -> None:
    groq = service({"FAULTLINE_MODEL_PROVIDER": "groq", "FAULTLINE_MODEL_KEY": "k"})
    local = service({"FAULTLINE_MODEL_PROVIDER": "ollama"})
    mine = {"FAULTLINE_MODEL_URL": "http://vllm.ai.svc:8000/v1/", "FAULTLINE_MODEL_KEY": "k"}
    named = service(mine, "qwen")

    assert groq.url.startswith("https://api.groq.com/")
    assert groq.model
    assert (local.model, local.dialect.path, local.dialect.timeout_s) == (
        "llama3",
        "/api/chat",
        180,
    )
    assert (named.url, named.model) == ("http://vllm.ai.svc:8000/v1", "qwen")
    assert groq.dialect.timeout_s == 60


def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")

    found = service(
        {"FAULTLINE_MODEL_PROVIDER": "openai", "FAULTLINE_MODEL_KEY_FILE": f"{tmp_path}/key"}
    )

    assert found.key == "from-a-file"


def test_a_job_is_told_where_its_model_is_and_never_the_key() -> None:
    settings, _ = load(
        {"FAULTLINE_MODEL_PROVIDER": "compatible", "FAULTLINE_MODEL_URL": "http://vllm.ai.svc/v1",
         "FAULTLINE_MODEL_KEY": KEY, "FAULTLINE_MODEL_PRICES": "m=1/2"}
    )  # fmt: skip
    told = tuple(told_of_model(settings, key=False).items())
    template = JobTemplate("image", "agents", "s3://s", "http://broker", model=told)
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    made = Run(incident_id="20261121-api-5c1e9b2a", number=1, engine="loop", deadline_s=10,
               capsule_sha256="", created_at=moment, cause={})  # fmt: skip

    text = json.dumps(job(made, template))

    assert "http://vllm.ai.svc/v1" in text
    assert KEY not in text
    assert told_of_model(settings, key=True)["FAULTLINE_MODEL_KEY"] == KEY


def test_a_key_in_a_file_is_known_to_redaction(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")

    found = secrets_of({"FAULTLINE_MODEL_KEY_FILE": f"{tmp_path}/key", "A_TOKEN": "t", "X": "y"})

    assert found == [KEY, "t"]


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"FAULTLINE_MODEL_PROVIDER": "bard"}, "expected groq, openai"),
        ({"FAULTLINE_MODEL_PROVIDER": "groq"}, "FAULTLINE_MODEL_KEY"),
        ({}, "FAULTLINE_MODEL_URL and AGENT_MODEL"),
        ({"FAULTLINE_MODEL_URL": "ftp://x"}, "expected http://"),
        ({"FAULTLINE_MODEL_URL": "https://user:pw@x"}, "no password"),
        ({"FAULTLINE_MODEL_URL": "http://x.example", "FAULTLINE_MODEL_KEY": "k"}, "https://"),
        ({"FAULTLINE_MODEL_URL": "http://x", "FAULTLINE_MODEL_PRICES": "cheap"}, "model=in/out"),
        ({"FAULTLINE_MODEL_URL": "http://x", "FAULTLINE_MODEL_KEY_FILE": "/nowhere"}, "a file"),
    ],
)
def test_a_service_that_cannot_work_is_refused_and_its_address_is_not_said(
    environment: dict[str, str], says: str
) -> None:
    with pytest.raises(Rejected, match=says) as caught:
        service(environment, "" if says.startswith("FAULTLINE_MODEL_URL and") else "m")

    assert "x.example" not in str(caught.value)
    assert "user:pw" not in str(caught.value)


@pytest.mark.covers("S3-49")
def test_its_last_line_says_it_with_a_joke(workspace: Path) -> None:
    said = ANSWER | {"title": "add memory limit 256Mi"}

    ran = run(workspace, ModelFake([json.dumps(said)]))

    assert ran.last["message"] == (
        "AI says: add memory limit 256Mi — *This pod crashed harder than my hopes for Monday.*"
    )


def test_what_it_costs_is_known_by_a_table_and_zero_is_said_where_it_is_not(
    workspace: Path,
) -> None:
    model = ModelFake([SAYS], tokens=(1_000_000, 500_000))

    ran = run(workspace, model, FAULTLINE_MODEL_PRICES="other=9/9, m1=0.5/2")

    assert (ran.last["cost_usd"], ran.last["cost_known"]) == (1.5, True)
    assert prices("") == {}


def test_without_a_price_the_cost_is_nothing_and_that_is_said(workspace: Path) -> None:
    ran = run(workspace, ModelFake([SAYS]))

    assert (ran.last["cost_usd"], ran.last["cost_known"]) == (0.0, False)


@pytest.mark.covers("S3-41")
@pytest.mark.parametrize(
    "bad",
    ["I think it is the memory.", json.dumps(ANSWER | {"root_cause": ""}), "{", "[]",
     json.dumps(ANSWER | {"severity": "P1"})],
)  # fmt: skip
def test_what_is_no_answer_is_asked_for_once_more_and_then_it_has_failed(
    tmp_path: Path, bad: str
) -> None:
    mended = ModelFake([bad, SAYS])
    never = ModelFake([bad])

    good, failed = run(laid_out(tmp_path / "a"), mended), run(laid_out(tmp_path / "b"), never)

    assert (good.code, len(mended.asked)) == (0, 2)
    assert (failed.code, failed.last["error"], len(never.asked)) == (1, "bad_diagnosis", 2)
    assert not (failed.workspace / keys.DIAGNOSIS).exists()


def test_an_answer_in_a_code_block_is_an_answer_and_proved_is_not_for_it_to_say(
    workspace: Path,
) -> None:
    said = json.dumps(ANSWER | {"certainty": "proved"})

    ran = run(workspace, ModelFake([f"```json\n{said}\n```"]))

    found = parse_diagnosis(ran.left("diagnosis.json"))
    assert found is not None
    assert found.certainty is None


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_what_may_pass_is_tried_once_more_after_the_time_that_it_asks_for(
    workspace: Path, status: int
) -> None:
    model, time = ModelFake([status, SAYS]), Time()
    model.retry_after = "7"

    ran = run(workspace, model, time=time)

    assert ran.code == 0
    assert time.slept == 7


@pytest.mark.parametrize(
    ("status", "reason", "times"),
    [(401, "auth", 1), (403, "auth", 1), (402, "quota", 1), (429, "quota", 2), (404, "no_model", 1),
     (529, "overloaded", 2), (500, "unreachable", 2), (422, "engine_error", 1)],
)  # fmt: skip
def test_what_a_service_refuses_is_named_and_neither_key_nor_address_are(
    workspace: Path, status: int, reason: str, times: int
) -> None:
    model = ModelFake([status])

    ran = run(workspace, model)

    assert (ran.code, ran.last["error"], len(model.asked)) == (1, reason, times)
    said = read("loop", ran.output.encode().split(b"\n"))
    assert said is not None
    assert said.error == reason
    assert KEY not in ran.output
    assert str(model.server_port) not in ran.output


def test_a_service_that_is_not_there_is_unreachable(workspace: Path) -> None:
    ran = run(workspace, FAULTLINE_MODEL_URL="http://127.0.0.1:9")

    assert (ran.code, ran.last["error"]) == (1, "unreachable")
    assert "127.0.0.1" not in ran.output


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"null", b'{"choices": []}', b'{"choices": [{}]}', b"<html>", b"[" * 99_999,
     b'{"choices": [{"message": {"tool_calls": [{"id": 1}]}}]}', b"x" * (5 << 20)],
    ids=range(9),
)  # fmt: skip
def test_an_answer_that_is_none_of_the_api_is_an_error_of_the_engine(
    workspace: Path, answer: bytes
) -> None:
    ran = run(workspace, ModelFake([answer]))

    assert (ran.code, ran.last["error"]) == (1, "engine_error")


@pytest.mark.covers("STM-07")
@pytest.mark.parametrize(
    ("argv", "tokens", "step", "reason", "most"),
    [
        ((), (0, 0), 0.0, "bad_diagnosis", loop_steps_max),
        (("--tokens", "1000"), (300, 0), 0.0, "max_tokens", 4),
        ((), (1, 1), 160.0, "deadline", 3),
    ],
    ids=["turns", "tokens", "time"],
)
def test_a_model_that_never_answers_stops_at_every_cap(
    workspace: Path, argv: tuple[str, ...], tokens: tuple[int, int], step: float, reason: str,
    most: int,
) -> None:  # fmt: skip
    def asks(number: int, body: dict[str, Any]) -> list[tuple[str, Any]]:
        return [("grep", {"text": f"word {number}"})]

    model = ModelFake(asks, tokens=tokens)

    ran = run(workspace, model, argv=("--capsule", *argv), time=Time(step))

    assert (ran.code, ran.last["error"]) == (1, reason)
    assert len(model.asked) <= most
    if "--tokens" in argv:
        assert ran.last["tokens"] <= 1000 + sum(tokens)  # at most the call that went over
    if reason == "bad_diagnosis":
        assert "tools" not in model.asked[-1]  # it was told to answer, twice
        assert len(model.asked) == loop_steps_max


def test_before_its_last_steps_it_is_told_to_answer_and_may_still_do_so(workspace: Path) -> None:
    def asks(number: int, body: dict[str, Any]) -> Any:
        return [("grep", {"text": f"word {number}"})] if "tools" in body else SAYS

    model = ModelFake(asks)

    ran = run(workspace, model)

    assert ran.code == 0
    assert len(model.asked) == loop_steps_max - 1
    assert "Answer now" in model.asked[-1]["messages"][-1]["content"]


def test_a_service_that_counts_no_tokens_is_counted_by_characters(workspace: Path) -> None:
    ran = run(workspace, ModelFake([SAYS], tokens=(0, 0)))

    assert ran.last["tokens"] > 1_000


def test_the_question_holds_what_is_known_and_is_the_same_for_every_provider(
    workspace: Path,
) -> None:
    model = ModelFake([SAYS])

    run(workspace, model)

    question = model.asked[0]["messages"][1]["content"]
    for heading in ("Workload Under Investigation", "Resource Usage (Prometheus)", "Pod States",
                    "Kubernetes Events", "Recent Logs"):  # fmt: skip
        assert f"## {heading}" in question
    assert "| Time | Type | Reason | Object | Message |" in question
    assert "OOMKilled" in question


@pytest.mark.covers("S3-40")
def test_the_end_of_a_log_in_the_question_has_at_most_3000_characters(tmp_path: Path) -> None:
    log = "==> checkout-1/app (current) <==\n" + "".join(f"line {n:05}\n" for n in range(2_000))
    model = ModelFake([SAYS])

    run(laid_out(tmp_path / "run", more={"context/logs.txt": log.encode()}), model)

    question = model.asked[0]["messages"][1]["content"]
    shown = question.split("--- checkout-1/app\n")[1].split("\n<<<end")[0]
    mark, _, end = shown.partition("\n")
    assert mark == "...[truncated]..."
    assert len(end) == 3_000
    assert end.endswith("line 01999")
    for heading in ("Workload Under Investigation", "Resource Usage (Prometheus)", "Pod States",
                    "Kubernetes Events"):  # fmt: skip
        assert f"## {heading}" in question


@pytest.mark.covers("S3-38")
def test_the_system_prompt_demands_strict_json_and_says_what_may_change() -> None:
    from faultline.agent.briefing import system

    text = system()

    for rule in ("one JSON object", "strict", "No image changes", "resources", "env", "probes",
                 "replicas", "witty_line", "120 characters"):  # fmt: skip
        assert rule in text


def test_only_the_process_of_the_agent_loads_an_http_client() -> None:
    code = (
        "import sys, faultline.cli, faultline.bootstrap, faultline.agent.built_in, "
        "faultline.agent.attempt; print([m for m in ('httpx', 'kubernetes') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
