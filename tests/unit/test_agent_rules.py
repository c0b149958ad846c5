"""The built-in engine: what it says when nothing is proved."""

from datetime import UTC, datetime

import pytest

from faultline.agent import outcome, rules
from faultline.model import (
    Action,
    Certainty,
    Change,
    Confidence,
    Diagnosis,
    Evidence,
    Fault,
    Finding,
    Incident,
    Resource,
    Severity,
    Target,
    Verdict,
)


def a_finding(name, certainty, **rest):
    return Finding(
        analyzer=name,
        certainty=certainty,
        title=f"Title of {name}",
        statement=f"Statement of {name}.",
        evidence=(Evidence(file="context/logs.txt", line=3, quote=f"quote of {name}"),),
        **rest,
    )


LIKELY = a_finding(
    "memory.limit",
    Certainty.LIKELY,
    rules_out=("probes.port",),
    actions=(Action(action="Raise the limit", check="no restarts", way_back="lower it"),),
    changes=(Change(target=Target(kind="Deployment", name="api"), field="spec.x", after=1),),
)
HINT = a_finding("quota.near", Certainty.HINT)
OUT = a_finding("probes.port", Certainty.LIKELY)


@pytest.fixture
def incident():
    fault = Fault(
        name="KubePodCrashLooping",
        summary="`api` [restarts](http://evil.example) <b>often</b>",
        severity=Severity.CRITICAL,
        cluster="kind",
        resource=Resource(kind="Pod", name="api-1", namespace="shop"),
        starts_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
    )
    return Incident(
        id="20261121-api-5c1e9b2a",
        key="k",
        fault=fault,
        opened_at=datetime(2026, 11, 21, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "findings", [(), (HINT,), (HINT, LIKELY, OUT)], ids=["none", "a hint", "some"]
)
def test_the_report_is_whole_whatever_was_found(incident, findings):
    report = rules.investigation(incident, Verdict(findings=findings))

    assert outcome.report_reason(report.encode()) == ""
    assert report.startswith("# Kubernetes Incident Triage Report\n")
    telling = ("[FACT-1]", "[INF-1]", "Most Dangerous Assumption", "Falsification Test")
    assert all(word in report for word in (*telling, "### Commands Executed"))
    assert "Nothing is proved" in report


def test_suspicions_are_ranked_and_what_is_ruled_out_is_named_as_such(incident):
    report = rules.investigation(incident, Verdict(findings=(HINT, OUT, LIKELY)))

    assert report.index("### H1: Title of memory.limit") < report.index(
        "### H2: Title of quota.near"
    )
    assert "H3" not in report
    assert "Ruled out: `probes.port`." in report
    assert "P1" in report


def test_text_of_the_cluster_acts_nowhere_in_the_report(incident):
    report = rules.investigation(incident, Verdict(findings=(LIKELY,)))

    assert "://" not in report
    assert "<b>" not in report.replace("\\<b", "")


def test_the_diagnosis_says_that_it_is_not_proved_and_proposes_no_change():
    diagnosis = rules.suspicion(Verdict(findings=(HINT, OUT, LIKELY)))

    assert diagnosis.root_cause == "Not proved. Most likely: Statement of memory.limit."
    assert (diagnosis.confidence, diagnosis.certainty) == (Confidence.MEDIUM, Certainty.LIKELY)
    assert diagnosis.changes == ()
    assert [action.action for action in diagnosis.actions] == ["Raise the limit"]
    assert diagnosis.alternatives == ("Title of quota.near (hint): Statement of quota.near.",)
    assert [evidence.quote for evidence in diagnosis.evidence] == [
        "quote of memory.limit",
        "quote of quota.near",
    ]


def test_a_hint_alone_is_said_with_low_confidence():
    assert rules.suspicion(Verdict(findings=(HINT,))).confidence is Confidence.LOW


def test_without_any_suspicion_it_says_so():
    diagnosis = rules.suspicion(Verdict())

    assert diagnosis.title == "No cause found"
    assert diagnosis.root_cause.startswith("Not proved")


def test_the_two_files_are_left_in_the_workspace(incident, tmp_path, capsys):
    (tmp_path / "output").mkdir()
    (tmp_path / "incident.json").write_text(incident.model_dump_json())
    (tmp_path / "findings.json").write_text(Verdict(findings=(LIKELY,)).model_dump_json())

    assert rules.main(tmp_path) == 0

    left = (tmp_path / "output/diagnosis.json").read_bytes()
    assert outcome.parse_diagnosis(left) == rules.suspicion(Verdict(findings=(LIKELY,)))
    assert isinstance(outcome.parse_diagnosis(left), Diagnosis)
    assert "### H1" in (tmp_path / "output/investigation.md").read_text()
    assert capsys.readouterr().out == "Not proved: Title of memory.limit\n"
