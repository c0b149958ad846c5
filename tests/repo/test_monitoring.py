"""Our own alerts: rules that fire in time, a page for each, and commands that exist."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from faultline.cli import parser
from faultline.metrics import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "infra/monitoring/rules.yaml"
RUNBOOKS = ROOT / "docs/runbooks"
PROMTOOL = shutil.which("promtool")
HISTOGRAM = ("_bucket", "_count", "_sum")
OTHERS = {"kubectl", "curl"}  # tools that an operator has

ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    for rule in group["rules"]
}
PAGES = {path.stem: path.read_text("utf-8") for path in RUNBOOKS.glob("*.md")}


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(found.choices)


def said(page: str) -> list[str]:
    """Return every command line of a page: indented ones, and those in backquotes."""
    lines = re.findall(r"^ {4}(\S.*)$", page, re.MULTILINE)
    quoted = re.findall(r"`((?:faultline|kubectl|curl) [^`]+)`", page)
    return lines + quoted


@pytest.mark.real
@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
@pytest.mark.covers("OBS-04", "OBS-08")
def test_each_alert_fires_within_twice_its_window_and_none_while_all_is_well() -> None:
    tested = yaml.safe_load((RULES.parent / "rules_test.yaml").read_text("utf-8"))["tests"]
    firing = {
        case["alertname"]
        for test in tested
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    quiet = {case["alertname"] for case in tested[-1]["alert_rule_test"]}

    ran = subprocess.run(
        [str(PROMTOOL), "test", "rules", "rules_test.yaml"],
        cwd=RULES.parent, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (ran.returncode, ran.stdout + ran.stderr) == (0, ran.stdout)
    assert firing == quiet == set(ALERTS)


def test_rules_ask_for_families_that_exist() -> None:
    used = {
        name
        for rule in ALERTS.values()
        for name in re.findall(r"\b(?:faultline|agent_runtime)_\w+", rule["expr"])
    }
    known = set(FAMILIES) | {name + end for name in FAMILIES for end in HISTOGRAM}

    assert used
    assert used <= known


def test_our_alerts_say_that_they_are_ours_so_no_agent_looks_into_them() -> None:
    assert {rule["labels"]["part_of"] for rule in ALERTS.values()} == {"faultline"}
    assert {rule["labels"]["severity"] for rule in ALERTS.values()} <= {
        "critical",
        "warning",
        "info",
    }


@pytest.mark.covers("OBS-07", "S1-136")
@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_has_a_page_and_every_command_on_it_exists(alert: str) -> None:
    page = PAGES[alert]

    assert ALERTS[alert]["annotations"]["runbook"] == f"docs/runbooks/{alert}.md"
    assert all(f"\n## {part}\n" in page for part in ("Meaning", "Look", "Mend"))
    assert said(page)
    for line in said(page):
        program, *rest = line.split()
        assert program == "faultline" or program in OTHERS, line
        if program == "faultline":
            wants = commands()[rest[0]]
            wants.parse_args(["".join(word) for word in rest[1:]])


@pytest.mark.covers("S1-118", "S1-136")
def test_operators_are_told_the_threshold_of_every_alert_and_which_are_about_resources() -> None:
    text = (ROOT / "docs/observe.md").read_text("utf-8")
    row = r"^\| \[`(\w+)`\]\(runbooks/\1\.md\) \| ([^|]+) \| (\w+) \| (\w+) \|$"
    rows = re.findall(row, text, re.MULTILINE)
    told = {name: (hold, severity) for name, _, hold, severity in rows}
    used_up = {name for name, when, *_ in rows if when.startswith("**resource**")}

    assert told == {
        name: (rule["for"], rule["labels"]["severity"]) for name, rule in ALERTS.items()
    }
    for name in used_up:
        assert re.search(r"queue|waiting|budget|size", ALERTS[name]["expr"]), name
    assert len(used_up) == 4


def test_no_page_is_without_its_alert() -> None:
    assert set(PAGES) == set(ALERTS)


def test_pages_name_files_and_variables_that_exist() -> None:
    from faultline import settings

    variables = {variable for variable, _ in settings.fields().values()}
    text = "\n".join(PAGES.values())

    assert set(re.findall(r"\bFAULTLINE_[A-Z_]+\b", text)) <= variables
    for name in re.findall(r"\b(?:infra|examples)/[\w./-]*\w", text):
        assert (ROOT / name).exists(), name


@pytest.mark.covers("S1-136")
def test_every_family_is_explained_to_operators_with_its_labels() -> None:
    text = (ROOT / "docs/observe.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", text, re.MULTILINE)
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}

    assert told == {name: (family.kind, family.labels) for name, family in FAMILIES.items()}


def manifests(*kinds: str) -> list[dict]:
    found = [
        document
        for path in (ROOT / "infra/knative").glob("*.yaml")
        for document in yaml.safe_load_all(path.read_text("utf-8"))
    ]
    return [document for document in found if document and document["kind"] in kinds]


@pytest.mark.covers("CE-05")
def test_every_trigger_has_patience_a_dead_letter_sink_and_someone_who_is_told() -> None:
    limits = {
        service["metadata"]["name"]: service["spec"]["template"]["spec"]["timeoutSeconds"]
        for service in manifests("Service")
        if service["apiVersion"].startswith("serving.knative.dev")
    }
    triggers = manifests("Trigger", "Subscription")

    assert triggers
    for trigger in triggers:
        delivery = trigger["spec"]["delivery"]
        sink = delivery["deadLetterSink"]
        assert (sink["ref"]["name"], sink["uri"]) == ("bridge", "/parked")
        assert delivery["retry"] >= 10
        assert (delivery["backoffPolicy"], delivery["backoffDelay"]) == ("exponential", "PT1S")
        handler = limits[trigger["spec"]["subscriber"]["ref"]["name"]]
        assert int(delivery["timeout"].removeprefix("PT").removesuffix("S")) >= handler
    assert "faultline_events_dead_lettered_total" in ALERTS["FaultlineDeadLetters"]["expr"]


def test_the_service_monitor_selects_services_that_are_there() -> None:
    text = (ROOT / "infra/monitoring/service-monitor.yaml").read_text("utf-8")
    spec = yaml.safe_load(text)["spec"]
    (wanted,) = spec["selector"]["matchExpressions"]
    services = {
        service["metadata"]["labels"][wanted["key"]]: service["spec"]["ports"]
        for service in manifests("Service")
        if service["apiVersion"] == "v1"
    }

    for name in wanted["values"]:
        assert [port["name"] for port in services[name]] == [spec["endpoints"][0]["port"]]
