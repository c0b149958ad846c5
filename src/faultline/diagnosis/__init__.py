"""Diagnosis without a model: what a capsule proves by itself.

`ANALYZERS` are pure functions from facts to findings, one file per family; what each proves, and by
which evidence, is `docs/analyzers.md`. `diagnose` weighs their findings. What they cannot prove
goes to an agent, as ranked suspicions. Facts are `facts.py`, the text for people is `render.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from faultline import evidence
from faultline.capsule import Capsule
from faultline.diagnosis import (
    admission,
    autoscaling,
    certificates,
    conditions,
    configuration,
    crash_loop,
    dns,
    eviction,
    gateway,
    image_pull,
    ingress,
    memory,
    names,
    network_policy,
    probes,
    quota,
    root_user,
    scheduling,
    selectors,
    services,
    volumes,
)
from faultline.diagnosis.facts import Facts
from faultline.model import Certainty, Confidence, Diagnosis, Finding, Verdict

Analyzer = Callable[[Facts], Iterable[Finding]]

ANALYZERS: tuple[Analyzer, ...] = (
    crash_loop.analyze,
    configuration.analyze,
    memory.analyze,
    image_pull.analyze,
    probes.analyze,
    scheduling.analyze,
    volumes.analyze,
    selectors.analyze,
    quota.analyze,
    admission.analyze,
    root_user.analyze,
    names.analyze,
    dns.analyze,
    services.analyze,
    network_policy.analyze,
    ingress.analyze,
    gateway.analyze,
    certificates.analyze,
    eviction.analyze,
    autoscaling.analyze,
    conditions.analyze,
)


def diagnose(capsule: Capsule) -> Verdict:
    """Return what the analyzers say of a capsule: findings, most certain first, and the cause.

    There is a cause only if exactly one is proved and no likely finding speaks for another.
    """
    facts = Facts(capsule)
    own = sorted(_findings(facts, capsule), key=_order)
    said = {f.statement for f in own}
    elsewhere = _findings(facts.elsewhere, capsule) if facts.elsewhere.workloads else ()
    other = sorted((_elsewhere(f) for f in elsewhere if f.statement not in said), key=_order)
    cause = _cause(own, alone=len(facts.workloads) == 1)
    return Verdict(findings=tuple(own + other), diagnosis=cause)


def _order(finding: Finding) -> tuple[int, str, str]:
    return -finding.certainty.rank, finding.analyzer, finding.statement


def _findings(facts: Facts, capsule: Capsule) -> Iterator[Finding]:
    """Return the findings whose every citation stands in the capsule."""
    for analyze in ANALYZERS:
        for finding in _said(analyze, facts):
            if finding.evidence and all(evidence.check(capsule, e) for e in finding.evidence):
                yield finding


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


def _cause(findings: list[Finding], *, alone: bool) -> Diagnosis | None:
    """Return the one proved cause. It explains its own consequences, not another workload's."""
    proved = [f for f in findings if f.certainty is Certainty.PROVED]
    if len(proved) != 1:
        return None
    cause, explained = proved[0], set(proved[0].rules_out if alone else ())
    rivals = [f for f in findings if f.certainty is Certainty.LIKELY]
    if any(not {f.analyzer, f.analyzer.split(".")[0]} & explained for f in rivals):
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
