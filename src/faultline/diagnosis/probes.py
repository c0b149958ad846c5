"""Probes that fail although the container runs: port, name, path, scheme, time, start, command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from faultline.diagnosis import probe_answers, probe_ports
from faultline.diagnosis.documents import mapping
from faultline.diagnosis.facts import Facts, Part
from faultline.diagnosis.probe_facts import Cause, Failing
from faultline.diagnosis.wording import becomes_ready, finding, one_line, proved_if, restore
from faultline.model import Finding

_FAILED = re.compile(
    r"^(?P<which>Liveness|Readiness|Startup) probe (?:failed|errored)", re.IGNORECASE
)
_KINDS = ("httpGet", "tcpSocket", "grpc", "exec")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what is wrong with the failing probes of a container, once for each kind of cause."""
    for part in facts.parts:
        found: dict[str, list[Cause]] = {}
        for failing in _failing(part):
            if cause := next((c for condition in _CONDITIONS if (c := condition(failing))), None):
                found.setdefault(cause.name, []).append(cause)
        for causes in found.values():
            proved = [c for c in causes if c.proved and c.failing.steady]
            yield _finding(part, proved or causes)


def _failing(part: Part) -> Iterable[Failing]:
    killed = any("probe, will be restarted" in h.message for h in part.happenings("Killing"))
    if part.ready and not killed:
        return
    seen = set()
    for happening in part.happenings("Unhealthy"):
        match = _FAILED.match(happening.message)
        which = match["which"].lower() if match else ""
        probe = mapping(part.get(f"{which}Probe"))
        if which and probe and which not in seen:
            seen.add(which)
            yield Failing(part, which, next((k for k in _KINDS if k in probe), ""), happening)


def _finding(part: Part, causes: list[Cause]) -> Finding:
    # proved because: each condition says its rule; here, that the container does not end by itself.
    first = causes[0]
    which = " and ".join(sorted(c.failing.which for c in causes)) + " probe"
    better = [
        (f"{c.failing.path}.{c.field}", c.better, c.why) for c in causes if c.better is not None
    ]
    evidence = [
        e
        for c in causes
        for e in (c.failing.happening.cite(), part.cite(f"{c.failing.path}.{c.field}"), *c.evidence)
    ]
    step = " and ".join(f"{field} to {one_line(value)}" for field, value, _ in better)
    return finding(
        f"probes.{first.name}",
        proved_if(first.proved and first.failing.steady),
        f"The {which} of {part.name} {first.words}",
        f"The {which} of {part.phrase} {first.words}" + (f"; {first.why}." if first.why else "."),
        evidence,
        actions=[
            restore(
                f"Set {step}." if step else f"Correct {first.failing.path}.{first.field}.",
                becomes_ready(part.workload),
            )
        ],
        changes=[part.change(*change) for change in better],
    )


_CONDITIONS: tuple[Callable[[Failing], Cause | None], ...] = (
    probe_ports.named_port,
    probe_answers.command,
    probe_answers.scheme,
    probe_answers.path,
    probe_ports.port,
    probe_answers.timeout,
    probe_answers.slow,
    probe_ports.elsewhere,  # last: many programs log a port of their metrics first
)
