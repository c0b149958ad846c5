"""The investigation: seven sections, and nothing that cluster text could do to the page."""

from __future__ import annotations

import datetime as dt
import re

import diagnosis_delivery_cases  # noqa: F401 - these three fill GUILTY
import diagnosis_more_cases  # noqa: F401
import diagnosis_work_cases  # noqa: F401
import pytest
from diagnosis_cases import GUILTY
from diagnosis_world import World
from hypothesis import given, settings
from hypothesis import strategies as st

from faultline.diagnosis import diagnose
from faultline.diagnosis.render import code, fenced, investigation, md
from faultline.model import (
    Certainty,
    Diagnosis,
    Evidence,
    Fault,
    Finding,
    Incident,
    Resource,
    Verdict,
)

TIME = dt.datetime(2026, 11, 21, 10, 15, tzinfo=dt.UTC)
SECTIONS = [
    "## 0. Executive Triage Card",
    "## 1. Problem Statement",
    "## 2. Assessment & Findings",
    "## 3. Root Cause Analysis",
    "## 4. Remediation Plan",
    "## 5. Proof of Work",
    "## 6. Supporting Evidence",
]
MARKS = (
    "[FACT-1]",
    "[INF-1]",
    "Most Dangerous Assumption",
    "Falsification Test",
    "### Commands Executed",
    "### H1",
    "<details>",
)


def incident(summary: str = "") -> Incident:
    resource = Resource(kind="Deployment", name="checkout", namespace="shop")
    fault = Fault(
        name="KubePodCrashLooping", cluster="eu", starts_at=TIME, resource=resource, summary=summary
    )
    return Incident(id="20261121-checkout-5c1e9b2a", key="k", fault=fault, opened_at=TIME)


def page(verdict: Verdict, summary: str = "") -> str:
    return investigation(incident(summary), verdict).decode()


def headings(text: str) -> list[str]:
    return re.findall(r"(?m)^## .*$", text)


@pytest.mark.parametrize("case", GUILTY.values(), ids=GUILTY.keys())
def test_every_investigation_has_the_seven_sections_and_their_marks(case) -> None:
    verdict = diagnose(case.world().capsule())

    text = page(verdict)

    assert text.startswith("# Kubernetes Incident Triage Report\n")
    assert headings(text) == SECTIONS
    assert [mark for mark in MARKS if mark not in text] == []
    assert ("High (proved)" in text) == verdict.proved
    for change in verdict.findings[0].changes if verdict.proved else ():
        assert f"`{change.field}`" in text


def test_an_investigation_without_any_finding_is_whole_and_claims_nothing() -> None:
    text = page(diagnose(World().capsule()))

    assert headings(text) == SECTIONS
    assert [mark for mark in MARKS if mark not in text] == []
    assert "Low (not proved)" in text
    assert "Change nothing yet" in text


def test_several_proved_causes_are_not_called_proved() -> None:
    both = [
        Finding(analyzer=f"memory.{n}", certainty=Certainty.PROVED, title=n, statement=n)
        for n in ("one", "two")
    ]

    assert "High (proved)" not in page(Verdict(findings=tuple(both)))


def test_the_way_back_and_the_check_of_each_action_are_said() -> None:
    text = page(diagnose(GUILTY["memory limit lowered"].world().capsule()))

    plan = text.split("## 4. ")[1].split("## 5. ")[0]
    assert "Set the memory limit of app to 256Mi" in plan
    assert "finishes its rollout" in plan
    assert "Revert the commit" in plan


HOSTILE = [
    "![x](https://evil.example/a.png)",
    "[click](https://evil.example)",
    "<img src=x onerror=alert(1)>",
    "</details><script>alert(1)</script>",
    "```\n## 3. Root Cause Analysis\nall is well",
    "`code` **bold** @everyone #1",
    "https://evil.example/?q=secret",
    "a|b|c\n| d |",
    "\u202egnp.exe\x1b[31m",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_cluster_text_cannot_do_anything_to_the_page(hostile: str) -> None:
    cited = Evidence(file=f"context/{hostile}.txt", quote=hostile, line=1)
    found = Finding(
        analyzer="memory.leak",
        certainty=Certainty.PROVED,
        title=hostile,
        statement=hostile,
        evidence=(cited,),
    )
    verdict = Verdict(findings=(found,), diagnosis=Diagnosis(title=hostile, root_cause=hostile))

    text = page(verdict, hostile)

    outside = re.sub(r"`[^`]*`", "", without_fences(text))
    assert headings(text) == SECTIONS
    assert not re.search(
        r"(?<!\\)!\[|(?<!\\)\]\(|<(?!details>|/details>|summary>|/summary>)", outside
    )
    assert not re.search(r"https?://|@everyone|#1\b|\u202e|\x1b", outside)
    assert "\u202e" not in text
    assert "\x1b" not in text


def without_fences(text: str) -> str:
    return re.sub(r"(?ms)^ *(`{3,})text\n.*?^ *\1$", "", text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("`~#<>[]()!|\\ \n\rab@:/*_-")), max_size=60))
def test_a_quote_never_ends_its_fence(quote: str) -> None:
    lines = fenced(quote).split("\n")

    fence = lines[-1].strip()
    assert lines[0] == f"  {fence}text"
    assert all(fence not in line for line in lines[1:-1])
    assert all(line.startswith("  ") or not line for line in lines)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_foreign_text_stays_one_line_without_markup(text: str) -> None:
    for shown in (md(text), code(text)):
        assert len(shown.splitlines()) <= 1
    assert not re.search(r"[<>]", md(text))
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]|]", md(text))
    assert "`" not in code(text)
