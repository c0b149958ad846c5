"""What an operator sets of caps and budgets arrives, and `faultline budgets` shows it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from faultline import bootstrap, cli
from faultline.adapters.stores import open_store
from faultline.errors import Rejected
from faultline.incidents import Incidents
from faultline.ledger import admit
from faultline.model import Amount, JobState, Policy, Severity, Wish
from faultline.settings import load


def wish(name: str, at: dt.datetime) -> Wish:
    return Wish(
        incident_id=f"{at:%Y%m%d}-{name}-5c1e9b2a", number=1, cluster="prod-a", namespace="shop",
        key=name, engine="claude", since=at, severity=Severity.CRITICAL,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> str:
    """One run under way, one that waits for it."""
    url, now = f"file://{tmp_path}/store", dt.datetime.now(dt.UTC)
    incidents = Incidents(open_store(url))
    policy = Policy(budgets=bootstrap.budgets(load({})[0]))
    for name in ("api", "db"):
        admit(wish(name, now), incidents, lambda _: JobState.LIVE, policy, now)
    return url


def test_every_limit_that_is_set_reaches_the_policy() -> None:
    scopes = ("run", "incident", "namespace", "day", "month", "total")
    environment = {}
    for number, scope in enumerate(scopes, 1):
        environment[f"FAULTLINE_BUDGET_{scope.upper()}_TOKENS"] = str(number * 100)
        environment[f"FAULTLINE_BUDGET_{scope.upper()}_USD"] = str(number / 4)
    policy = bootstrap.policy(load(environment)[0])

    found = {scope: getattr(policy.budgets, scope) for scope in scopes}

    assert found == {s: Amount(tokens=n * 100, usd=n / 4) for n, s in enumerate(scopes, 1)}


def test_caps_that_are_set_reach_the_policy() -> None:
    environment = {"FAULTLINE_RUNS_PER_WORKLOAD": "3", "FAULTLINE_WAIT_MAX": "90"}
    policy = bootstrap.policy(load(environment)[0])

    assert (policy.runs_per_workload, policy.wait_max_s) == (3, 90)


def test_budgets_have_a_section_of_their_own_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "faultline.yaml"
    file.write_text("slots: 2\nbudgets:\n  day_tokens: 1000\n", "utf-8")
    settings, origins = load({}, file=file)

    assert settings.budgets.day_tokens == 1000
    assert origins["budgets.day_tokens"] == f"file {file}"


def test_a_limit_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "faultline.yaml"
    file.write_text("budgets:\n  week_tokens: 1000\n", "utf-8")

    with pytest.raises(Rejected, match=r"unknown setting budgets\.week_tokens"):
        load({}, file=file)


def test_budgets_prints_what_is_reserved_who_waits_and_why(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULTLINE_BUDGET_DAY_TOKENS", "500000")

    assert cli.main(["budgets", "--store", store]) == 0

    shown = capsys.readouterr().out
    assert "200,000      500,000" in shown
    assert "namespace/prod-a/shop/" in shown
    assert "1 running, 1 waiting" in shown
    assert "-db-5c1e9b2a-1  critical" in shown
    assert "1 agents are running for cluster prod-a, 1 may" in shown


def test_budgets_says_the_same_to_machines(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["budgets", "--store", store, "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    total = next(row for row in found["budgets"] if row["scope"] == "total")
    assert total["used"] == {"tokens": 200_000, "usd": 1.0}
    assert found["running"] == 1
    assert [w["incident_id"].split("-")[1] for w in found["waiting"]] == ["db"]
    assert found["breakers"] == [
        {"engine": "claude", "state": "closed", "failures": 0, "reason": ""}
    ]
