"""Is this fault worth an incident, and is there room for a run? Pure; answers say why."""

from __future__ import annotations

from collections.abc import Sequence

from faultline.model import Decision, DecisionKind, Fault, Policy, Run

ANALYZERS = "analyzers"  # the engine of a run that `launch` concludes itself: no Job, no tokens


def judge(fault: Fault, policy: Policy, *, cleared: bool) -> Decision:
    """Decide what triage does with a fault. `cleared`: is this occurrence known to be over?"""
    if cleared:
        return Decision(
            kind=DecisionKind.ALREADY_CLEARED, reason="this occurrence was over before we looked"
        )
    if fault.severity.rank < policy.severity_threshold.rank:
        reason = f"severity {fault.severity} is below the threshold {policy.severity_threshold}"
        return Decision(kind=DecisionKind.TOO_MINOR, reason=reason)
    for silence in policy.silences:
        if silence and all(_value(fault, k) == v for k, v in silence.items()):
            matchers = ", ".join(f"{k}={v}" for k, v in sorted(silence.items()))
            return Decision(kind=DecisionKind.SILENCED, reason=f"silenced by {matchers}")
    return Decision(kind=DecisionKind.OPEN, reason="firing, and severe enough")


def _value(fault: Fault, label: str) -> str | None:
    named = {"alertname": fault.name, "cluster": fault.cluster}
    if fault.resource:
        named |= {"namespace": fault.resource.namespace}
    return fault.labels.get(label, named.get(label))


def room(run: Run, live: Sequence[Run], started_this_hour: int, policy: Policy) -> str:
    """Say why there is no room for another agent now; "" if there is. Caps: decision G-12."""
    others = [other for other in live if other.id != run.id]
    in_cluster = sum(other.cluster == run.cluster for other in others)
    if len(others) >= policy.slots:
        return f"{len(others)} agents are running, {policy.slots} may"
    if in_cluster >= policy.slots_per_cluster:
        cap = policy.slots_per_cluster
        return f"{in_cluster} agents are running for cluster {run.cluster}, {cap} may"
    if started_this_hour >= policy.runs_per_hour:
        return f"{started_this_hour} runs began within an hour, {policy.runs_per_hour} may"
    return ""
