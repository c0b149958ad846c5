"""Is this fault worth an incident? Pure; the answer carries its reason."""

from __future__ import annotations

from faultline.model import Decision, DecisionKind, Fault, Policy


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
