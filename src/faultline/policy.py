"""Is this fault worth an incident? Pure; answers say why. Room for runs is `admission.py`'s."""

from __future__ import annotations

import datetime as dt

from faultline.event import Event, parse_time
from faultline.model import Decision, DecisionKind, Fault, Policy

ANALYZERS = "analyzers"  # the engine of a run that `launch` concludes itself: no Job, no tokens


def judge(fault: Fault, policy: Policy, *, cleared: bool, stale: str = "") -> Decision:
    """Decide what triage does with a fault.

    `cleared`: is this occurrence known to be over? `stale`: why its event comes too late.
    """
    if cleared:
        return Decision(
            kind=DecisionKind.ALREADY_CLEARED, reason="this occurrence was over before we looked"
        )
    if stale:
        return Decision(kind=DecisionKind.STALE, reason=stale)
    if fault.severity.rank < policy.severity_threshold.rank:
        reason = f"severity {fault.severity} is below the threshold {policy.severity_threshold}"
        return Decision(kind=DecisionKind.TOO_MINOR, reason=reason)
    for silence in policy.silences:
        if silence and all(_value(fault, k) == v for k, v in silence.items()):
            matchers = ", ".join(f"{k}={v}" for k, v in sorted(silence.items()))
            return Decision(kind=DecisionKind.SILENCED, reason=f"silenced by {matchers}")
    return Decision(kind=DecisionKind.OPEN, reason="firing, and severe enough")


def staleness(event: Event, now: dt.datetime, policy: Policy) -> str:
    """Say why the event comes too late to open anything; "" if it does not.

    Whoever sends a fault that is still there sends it again. `expirytime` is the extension of
    CloudEvents (cloudevents/spec: extensions/expirytime.md). One from the future is not believed.
    """
    expiry = event.extensions.get("expirytime")
    if expiry and parse_time(str(expiry)) < now:
        return f"the event expired at {expiry}"
    apart = abs((now - parse_time(event.time)).total_seconds()) if event.time else 0.0
    if apart > policy.stale_after_s:
        return f"the event is of {event.time}, more than {policy.stale_after_s} s from now"
    return ""


def _value(fault: Fault, label: str) -> str | None:
    named = {"alertname": fault.name, "cluster": fault.cluster}
    if fault.resource:
        named |= {"namespace": fault.resource.namespace}
    return fault.labels.get(label, named.get(label))


def about_ourselves(fault: Fault, policy: Policy) -> bool:
    """Is this fault about a part of ours? No agent looks into it: it might be what broke.

    Ours is what lies in a namespace of ours, what our own rules say, and what the bridge misses.
    """
    if not policy.own_namespaces:
        return False
    namespace = fault.resource.namespace if fault.resource else fault.labels.get("namespace")
    ours = (fault.origin, fault.labels.get("part_of"))
    return namespace in policy.own_namespaces or "faultline" in ours


def engine_for(fault: Fault, policy: Policy, *, proved: bool) -> str:
    """Return the engine of a run that nobody chose one for: no agent for what needs none."""
    return ANALYZERS if proved or about_ourselves(fault, policy) else policy.engine
