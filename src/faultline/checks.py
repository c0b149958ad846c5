"""What a proposed change meets in the cluster: is it whole, and does it fit what is there?

Pure, over paths and the objects of a capsule. Which fields may change is `changes.py`; the
sentences are put into the pull request by `proposal.py`.
"""

from __future__ import annotations

from typing import Any

from faultline import fields
from faultline.fields import Match, Path

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")


def whole_of(path: Path) -> Path | None:
    """Return the variable or probe that a field is a part of; None if it is part of neither."""
    for depth, step in enumerate(path):
        if step in PROBES:
            return path[: depth + 1]
        if isinstance(step, Match) and path[depth - 1] == "env":
            return path[: depth + 1]
    return None


def incomplete(path: Path, value: Any) -> str:
    """Return `<rule>: <reason>` if a variable or probe is not one that a cluster takes, else ""."""
    if not isinstance(value, dict):
        return ""
    return _probe(path, value) if path[-1] in PROBES else _variable(path, value)


def _probe(path: Path, probe: dict[str, Any]) -> str:
    asked = [name for name in _HANDLERS if probe.get(name)]
    if len(asked) != 1:
        what = " and ".join(asked) or "nothing that it asks"
        return f"probe: expected one thing that {fields.text(path[-1:])} asks, found {what}"
    needs_port = asked[0] != "exec" and not _part(probe, asked[0]).get("port")
    return f"probe: expected a port in {path[-1]}.{asked[0]}, found none" if needs_port else ""


def _variable(path: Path, variable: dict[str, Any]) -> str:
    name = variable.get("name")
    if "value" in variable and "valueFrom" in variable:
        return f"variable: {name} would have both a value and a reference"
    for kind in ("configMapKeyRef", "secretKeyRef"):
        reference = _part(_part(variable, "valueFrom"), kind)
        lacking = [key for key in ("name", "key") if not reference.get(key)]
        if reference and lacking:
            return f"variable: the {kind} of {name} would have no {lacking[0]}"
    return ""


def _part(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}
