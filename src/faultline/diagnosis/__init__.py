"""Diagnosis without a model: what a capsule proves by itself.

`ANALYZERS` are pure functions from facts to findings, one file per family; what each proves, and by
which evidence, is `docs/analyzers.md`. `diagnose` weighs their findings. What they cannot prove
goes to an agent, as ranked suspicions. Facts are `facts.py`, the text for people is `render.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from faultline.capsule import Capsule
from faultline.diagnosis import configuration, crash_loop, image_pull, memory, probes
from faultline.diagnosis.facts import Facts
from faultline.model import Certainty, Confidence, Diagnosis, Evidence, Finding, Verdict

Analyzer = Callable[[Facts], Iterable[Finding]]

ANALYZERS: tuple[Analyzer, ...] = (
    crash_loop.analyze,
    configuration.analyze,
    memory.analyze,
    image_pull.analyze,
    probes.analyze,
)


def diagnose(capsule: Capsule) -> Verdict:
    """Return what the analyzers say of a capsule: findings, most certain first, and the cause.

    There is a cause only if exactly one is proved and no likely finding speaks for another.
    """
    facts = Facts(capsule)
    own = list(_findings(facts, capsule))
    other = [_elsewhere(f) for f in _findings(facts.elsewhere, capsule)]
    own.sort(key=_order)
    other.sort(key=_order)
    return Verdict(findings=tuple(own + other), diagnosis=_cause(own))


def _order(finding: Finding) -> tuple[int, str, str]:
    return -finding.certainty.rank, finding.analyzer, finding.statement


def _findings(facts: Facts, capsule: Capsule) -> Iterator[Finding]:
    """Return the findings whose every citation stands in the capsule."""
    for analyze in ANALYZERS:
        for finding in _said(analyze, facts):
            if finding.evidence and all(_stands(capsule, e) for e in finding.evidence):
                yield finding


def _stands(capsule: Capsule, cited: Evidence) -> bool:
    return capsule.read(cited.file)[cited.start : cited.end] == cited.quote.encode()


def _said(analyze: Analyzer, facts: Facts) -> Iterator[Finding]:
    """Return an analyzer's findings. One that stumbles over an odd object says no more."""
    try:
        yield from analyze(facts)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        return


def _elsewhere(finding: Finding) -> Finding:
    """What is wrong with another workload may matter; it is no answer to this incident."""
    title = f"Elsewhere: {finding.title}"[:120]
    return finding.model_copy(update={"certainty": Certainty.HINT, "title": title, "changes": ()})


def _cause(findings: list[Finding]) -> Diagnosis | None:
    proved = [f for f in findings if f.certainty is Certainty.PROVED]
    if len(proved) != 1:
        return None
    cause, ruled_out = proved[0], set(proved[0].rules_out)
    rivals = [f for f in findings if f.certainty is Certainty.LIKELY]
    if any(not {f.analyzer, f.analyzer.split(".")[0]} & ruled_out for f in rivals):
        return None
    return Diagnosis(
        title=cause.title,
        summary=cause.statement,
        root_cause=cause.statement,
        confidence=Confidence.HIGH,
        certainty=Certainty.PROVED,
        evidence=cause.evidence,
        alternatives=tuple(_not_this(f) for f in findings if f is not cause)[:5],
        actions=cause.actions,
        changes=cause.changes,
        witty_line="",
    )


def _not_this(finding: Finding) -> str:
    return f"{finding.title}: {finding.certainty.value} only, and explained by the cause."
