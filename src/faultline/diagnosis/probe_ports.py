"""Probes that ask a port where nothing listens, or one that has no such name."""

from __future__ import annotations

import re
from typing import Any

from faultline.diagnosis.documents import items, text
from faultline.diagnosis.facts import Part
from faultline.diagnosis.probe_facts import Cause, Failing
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import one_line

LISTENS = re.compile(
    r"(?i)(?:listen\w*|serv\w*|start\w*|bound|running|accept\w*|http)\b.{0,80}?(?:[:\s]|port\D{0,3})(\d{2,5})\b(?![.\d:-])"
)


def named_port(failing: Failing) -> Cause | None:
    # proved because: the kubelet could not read the port as a number, and no port has that name.
    field, port = f"{failing.kind}.port", failing.get(f"{failing.kind}.port")
    names = [text(p.get("name")) for p in items(failing.part.get("ports"))]
    if (
        not isinstance(port, str)
        or port.isdigit()
        or port in names
        or "invalid syntax" not in failing.message
    ):
        return None
    was = failing.was(field)
    better = was.value if was and was.value in names else nearest(port, names) or None
    why = f"the container's ports are named {', '.join(filter(None, names)) or 'nothing'}"
    words = f"asks for a port named {one_line(port)}, which the container does not have"
    return Cause(
        failing, "port-name", field, words, better, why, (was.evidence if was else None,), True
    )


def port(failing: Failing) -> Cause | None:
    # proved because: the connection is refused there, and the container says that it listens
    # elsewhere, or the rollout moved the probe and not the container.
    field = f"{failing.kind}.port"
    port = _number(failing.part, failing.get(field))
    if "connection refused" not in failing.message or port is None:
        return None
    logged = failing.part.logs(LISTENS)
    listens = int(logged[0][1]) if logged else None
    if listens == port:
        return None  # it listens where it is asked: too early, or it died; see probe_answers.slow
    was = failing.was(field)
    declared = [p.get("containerPort") for p in items(failing.part.get("ports"))]
    words = f"asks port {port}, where nothing listens"
    if logged and _is_its_own(listens, declared, logged[0][0]):
        return Cause(
            failing,
            "port",
            field,
            words,
            listens,
            f"the container says that it listens on {listens}",
            (logged[1], was.evidence if was else None),
            True,
        )
    if (
        was
        and not failing.part.was("ports")
        and (_number(failing.part, was.value) in declared or not declared)
    ):
        why = f"revision {was.revision} asked port {was.value}"
        return Cause(
            failing, "port", field, words, was.value, why, (was.evidence,), port not in declared
        )
    if declared and port not in declared:
        better = declared[0] if len(declared) == 1 else None
        return Cause(
            failing,
            "port",
            field,
            words,
            better,
            f"the container declares {declared[0]}",
            (failing.part.cite("ports[0].containerPort"),),
        )
    return None


def elsewhere(failing: Failing) -> Cause | None:
    """It says that it listens, on a port that nobody declared. Its way there is not known."""
    field = f"{failing.kind}.port"
    port = _number(failing.part, failing.get(field))
    logged = failing.part.logs(LISTENS) if "connection refused" in failing.message else None
    if not logged or "listen" not in logged[0][0].lower() or port in (None, int(logged[0][1])):
        return None
    why = f"the container says that it listens on {logged[0][1]}"
    words = f"asks port {port}, where nothing listens"
    return Cause(failing, "port", field, words, None, why, (logged[1],))


def _is_its_own(port: int | None, declared: list[Any], said: str) -> bool:
    """Say whether the port in a log line is one that the container itself serves."""
    return port in declared if declared else "listen" in said.lower()


def _number(part: Part, port: Any) -> int | None:
    named = next(
        (p.get("containerPort") for p in items(part.get("ports")) if p.get("name") == port), port
    )
    digits = text(named)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else None
