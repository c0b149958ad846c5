"""A failing probe, and what may be wrong with it: the words of `probes.py` and its conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faultline.diagnosis.facts import Part, Was
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import one_line
from faultline.model import Evidence


@dataclass(frozen=True)
class Failing:
    """A probe that fails, and what the kubelet says of it."""

    part: Part
    which: str  # liveness, readiness, startup
    kind: str  # httpGet, tcpSocket, grpc, exec
    happening: Happening

    @property
    def path(self) -> str:
        return f"{self.which}Probe"

    @property
    def kills(self) -> bool:
        """The kubelet has ended the container for this probe."""
        mark = f"failed {self.which} probe, will be restarted"
        return any(mark in h.message for h in self.part.happenings("Killing"))

    @property
    def steady(self) -> bool:
        """The container has not ended by itself; a probe of one that has proves nothing."""
        killed = any(
            "probe, will be restarted" in h.message for h in self.part.happenings("Killing")
        )
        return killed or not self.part.ended

    @property
    def message(self) -> str:
        return self.happening.message

    def get(self, field: str) -> Any:
        return self.part.get(f"{self.path}.{field}")

    def was(self, field: str) -> Was | None:
        """What a field of this probe was, if the probe was there before."""
        was = self.part.was(f"{self.path}.{field}")
        return was if was and was.value is not None else None


@dataclass(frozen=True)
class Cause:
    """What is wrong with a probe: the field, and what it should be, if that is known."""

    failing: Failing
    name: str
    field: str
    words: str
    better: Any = None
    why: str = ""
    evidence: tuple[Evidence | None, ...] = ()
    proved: bool = False


def before(
    failing: Failing, name: str, field: str, words: str, was: Was | None, proved: bool
) -> Cause:
    if not was:
        return Cause(failing, name, field, words)
    why = f"revision {was.revision} had {one_line(was.value)}"
    return Cause(failing, name, field, words, was.value, why, (was.evidence,), proved)
