"""Containers killed for their memory: limits against use, before and after the rollout."""

from __future__ import annotations

from collections.abc import Iterable

from faultline.diagnosis import usage
from faultline.diagnosis.facts import Ended, Facts, Part, Was
from faultline.diagnosis.memory_limits import LIMIT, remedy
from faultline.diagnosis.quantities import clock, mebibytes, quantity
from faultline.diagnosis.records import Series
from faultline.diagnosis.usage import Peak
from faultline.diagnosis.wording import LIKELY, finding, proved_if
from faultline.model import Finding

NEAR = 0.9  # of the limit: the kernel kills between two measurements, so the last one is below


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why containers were killed for memory."""
    for part in facts.parts:
        kill = next((e for e in part.ended if e.reason == "OOMKilled"), None)
        if kill and part.fresh:
            limit = quantity(part.get(LIMIT))
            yield _beyond_limit(part, kill, limit) if limit else _node_full(part, kill)


def _beyond_limit(part: Part, kill: Ended, limit: float) -> Finding:
    was = part.was(LIMIT)
    earlier = quantity(was.value) if was else None
    lowered = was if was and earlier and earlier > limit else None
    used, peak = usage.peak(part, before=True), usage.peak(part, before=False)
    leak = None if lowered else usage.grows(part, limit)
    # proved because: the kernel killed it for its limit, and either the rollout set the limit below
    # what it used before, or the measurements since reach the limit and nothing else was changed.
    by_rollout = lowered and used and limit < used.size <= (earlier or 0)
    same_program = part.workload.differences <= {"resources"}
    at_limit = peak and peak.size >= NEAR * limit and not leak and same_program
    seen = used if lowered else peak
    leaked = leak.cite(0) if leak else None
    return finding(
        "memory.leak" if leak else "memory.limit-exceeded",
        proved_if(by_rollout or (at_limit and not leak)),
        f"{part.name} is killed for exceeding its memory limit of {part.get(LIMIT)}",
        _statement(part, lowered, used, peak) + _leaking(leak),
        [
            kill.cite("reason"),
            part.cite(LIMIT),
            lowered.evidence if lowered else None,
            seen.evidence if seen else None,
            leaked,
        ],
        rules_out=("crash_loop.exit", "probes"),
        **remedy(part, limit, lowered, peak if at_limit else None, bool(leak)),
    )


def _statement(part: Part, lowered: Was | None, used: Peak | None, peak: Peak | None) -> str:
    workload = part.workload
    said = f"{part} is killed for exceeding its memory limit of {part.get(LIMIT)}"
    if lowered:
        number = workload.current.revision if workload.current else lowered.revision + 1
        when = f" at {clock(workload.changed_at)}" if workload.changed_at else ""
        said += f"; revision {number} lowered it from {lowered.value}{when}"
        return said + (f"; before that it used up to {mebibytes(used.size)}." if used else ".")
    return said + (f"; it was measured using {mebibytes(peak.size)}." if peak else ".")


def _leaking(leak: Series | None) -> str:
    return (
        " Its use grows without resting, so a higher limit would only delay this." if leak else ""
    )


def _node_full(part: Part, kill: Ended) -> Finding:
    return finding(
        "memory.no-limit",
        LIKELY,
        f"{part.name} is killed for memory without having a limit",
        f"{part} has no memory limit and was killed for memory: its node, or a limit around the "
        "pod, ran out.",
        [kill.cite("reason")],
        rules_out=("crash_loop.exit",),
    )
