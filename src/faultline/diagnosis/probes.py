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
    """Say what is wrong with each failing probe, once per field."""
    for part in facts.parts:
        said = set()
        for failing in _failing(part):
            cause = next((c for c in (condition(failing) for condition in _CONDITIONS) if c), None)
            if cause and (cause.name, cause.better) not in said:
                said.add((cause.name, cause.better))
                yield _finding(failing, cause)


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


def _finding(failing: Failing, cause: Cause) -> Finding:
    part, path = failing.part, f"{failing.path}.{cause.field}"
    changes = [part.change(path, cause.better, cause.why)] if cause.better is not None else []
    return finding(
        f"probes.{cause.name}",
        proved_if(cause.proved),
        f"The {failing.which} probe of {part.name} {cause.words}",
        f"The {failing.which} probe of {str(part)[0].lower() + str(part)[1:]} {cause.words}"
        + (f"; {cause.why}." if cause.why else "."),
        [failing.happening.cite(), part.cite(path), *cause.evidence],
        actions=[restore(_advice(failing, cause), becomes_ready(part.workload))],
        changes=changes,
    )


def _advice(failing: Failing, cause: Cause) -> str:
    field = f"{failing.path}.{cause.field}"
    return (
        f"Set {field} to {one_line(cause.better)}."
        if cause.better is not None
        else f"Correct {field}."
    )


_CONDITIONS: tuple[Callable[[Failing], Cause | None], ...] = (
    probe_ports.named_port,
    probe_answers.command,
    probe_answers.scheme,
    probe_answers.path,
    probe_ports.port,
    probe_answers.timeout,
    probe_answers.slow,
)
