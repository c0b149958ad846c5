"""What can be said without proof and without a model: the analyzers' suspicions, as an answer.

For the engine `rules`, and for `launch` where no agent may be asked. It proposes no change.
"""

from __future__ import annotations

from faultline.limits import title_chars_max
from faultline.model import (
    Action,
    Certainty,
    Confidence,
    Diagnosis,
    Evidence,
    Finding,
    Incident,
    Severity,
    Verdict,
)
from faultline.views.render import environment

_FACTS_MAX = 12
_PRIORITY = {Severity.CRITICAL: "P1", Severity.WARNING: "P3", Severity.INFO: "P4"}


def suspicion(verdict: Verdict, *, no_agent: str = "") -> Diagnosis:
    """Return the diagnosis of a verdict that proves nothing. It proposes no change.

    `no_agent` says why none was asked, if one should have been.
    """
    found = ranked(verdict)
    added = f" No agent was asked: {no_agent}." if no_agent else ""
    if not found:
        return Diagnosis(
            title="No cause found",
            summary="The analyzers have no suspicion that fits the evidence.",
            root_cause=f"Not proved, and no suspicion: the evidence shows nothing we know.{added}",
        )
    best = found[0]
    return Diagnosis(
        title=f"Not proved: {best.title}"[:title_chars_max],
        summary=best.statement,
        root_cause=f"Not proved. Most likely: {best.statement}{added}",
        confidence=_confidence(best),
        certainty=best.certainty,
        evidence=facts(found),
        alternatives=tuple(f"{f.title} ({f.certainty.value}): {f.statement}" for f in found[1:]),
        actions=actions(found),
    )


def ranked(verdict: Verdict) -> list[Finding]:
    """Return the findings, most certain first, without what another one rules out."""
    out = ruled_out(verdict)
    left = [finding for finding in verdict.findings if finding.analyzer not in out]
    return sorted(left, key=lambda finding: -finding.certainty.rank)


def ruled_out(verdict: Verdict) -> list[str]:
    return sorted({name for finding in verdict.findings for name in finding.rules_out})


def facts(findings: list[Finding]) -> tuple[Evidence, ...]:
    quotes = (evidence for finding in findings for evidence in finding.evidence)
    return tuple(dict.fromkeys(quotes))[:_FACTS_MAX]


def actions(findings: list[Finding]) -> tuple[Action, ...]:
    return tuple(dict.fromkeys(a for finding in findings for a in finding.actions))


def investigation(incident: Incident, verdict: Verdict) -> str:
    """Return the report with its seven sections."""
    found = ranked(verdict)
    resource = incident.fault.resource
    return (
        environment(html=False)
        .get_template("suspected.md.j2")
        .render(
            incident=incident,
            priority=_PRIORITY[incident.fault.severity],
            where="/".join(filter(None, (resource.namespace, resource.kind, resource.name)))
            if resource
            else "",
            findings=found,
            best=found[0] if found else None,
            others=found[1:],
            confidence=(_confidence(found[0]) if found else Confidence.LOW).value.title(),
            facts=facts(found),
            actions=actions(found),
            ruled_out=ruled_out(verdict),
        )
    )


def _confidence(finding: Finding) -> Confidence:
    return Confidence.LOW if finding.certainty is Certainty.HINT else Confidence.MEDIUM
