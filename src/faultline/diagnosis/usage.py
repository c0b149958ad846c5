"""What a container used of memory, by the capsule's measurements."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from faultline.correlate import owner_of
from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Part
from faultline.diagnosis.records import Series
from faultline.model import Evidence, Resource

POINTS_MIN = 6  # fewer measurements say nothing about growth


@dataclass(frozen=True)
class Peak:
    size: float
    evidence: Evidence | None


def _of(part: Part) -> list[Series]:
    """The memory series of this container, in any pod of its workload."""
    return [
        s
        for s in part.workload.facts.series
        if s.is_memory
        and text(s.labels.get("container")) in ("", part.name)
        and _is_of(part, text(s.labels.get("pod")))
    ]


def _is_of(part: Part, pod: str) -> bool:
    """Say whether a pod, perhaps gone by now, is the workload's. A sum over pods is of none."""
    pods = {p.name for p in part.workload.pods}
    if not pod:
        return len(pods) == 1
    return pod in pods or owner_of(Resource(kind="Pod", name=pod)) == part.workload.object.name


def peak(part: Part, *, before: bool) -> Peak | None:
    """The highest use before the rollout, or since."""
    changed = part.workload.changed_at
    cut = changed.timestamp() if changed else float("-inf")
    found = [
        (size, s, i)
        for s in _of(part)
        for i, (time, size) in enumerate(s.points)
        if (time < cut) == before
    ]
    size, of, index = max(found, key=lambda f: f[0], default=(0.0, None, 0))
    return Peak(size, of.cite(index)) if of else None


def grows(part: Part, limit: float) -> Series | None:
    """The series that climbs through most of the limit without ever resting: a leak's picture."""
    for series in _of(part):
        sizes = [size for _, size in series.points]
        rises = [b - a for a, b in pairwise(sizes) if b > a]
        steady = len(rises) >= max(POINTS_MIN, 0.8 * (len(sizes) - 1))
        if steady and max(rises) < limit / 3 and max(sizes) - min(sizes) > limit / 3:
            return series
    return None
