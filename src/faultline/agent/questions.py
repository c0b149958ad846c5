"""The tools of the built-in loop: what may be asked, with which arguments. Pure.

An allow-list over parsed arguments: a tool, an argument or a kind that is not named here is refused
with the reason. There is no shell, no command, no path of an API and no way to follow or to write.
Who answers is `tools.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from faultline import strict_json
from faultline.adapters.sources.live import KINDS
from faultline.agent.dialects import Tool
from faultline.errors import Rejected
from faultline.limits import (
    mcp_arguments_bytes_max,
    mcp_arguments_depth_max,
    tool_answer_bytes_max,
    tool_log_lines_max,
)

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*"  # RFC 1123 subdomain, as Kubernetes has it
_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]{0,314}[A-Za-z0-9])?"
_SELECTOR = rf"(?:{_KEY}=[-A-Za-z0-9_.]{{0,63}}(?:,(?=.)|\Z))*"
_SECRET = re.compile(r"(?i)\s*(?:v1/)?secrets?(?:\.v1\.?|/.*)?\s*")  # as a kind is written
_LINE = r"[^\n\r\x00]{1,200}"
_SHORT = {
    "po": "Pod", "svc": "Service", "ep": "Endpoints", "cm": "ConfigMap", "no": "Node",
    "pvc": "PersistentVolumeClaim", "pv": "PersistentVolume", "quota": "ResourceQuota",
    "limits": "LimitRange", "sa": "ServiceAccount", "deploy": "Deployment", "rs": "ReplicaSet",
    "sts": "StatefulSet", "ds": "DaemonSet", "cj": "CronJob", "hpa": "HorizontalPodAutoscaler",
    "pdb": "PodDisruptionBudget", "ing": "Ingress", "netpol": "NetworkPolicy",
    "sc": "StorageClass",
}  # fmt: skip
_NAMES = dict(_SHORT)
_NAMES |= {kind.lower(): kind for kind in (*KINDS, "Secret")}
_NAMES |= {plural: kind for kind, (_, plural) in KINDS.items()} | {"secrets": "Secret"}


@dataclass(frozen=True)
class Given:
    """An argument: its type, its form, and its bounds."""

    says: str
    type: str = "string"  # string, integer, boolean
    form: str = ""  # what a string has to match, whole
    least: int = 0
    most: int = 0
    needed: bool = False

    def schema(self) -> dict[str, Any]:
        bounds = {"minimum": self.least, "maximum": self.most} if self.type == "integer" else {}
        return {"type": self.type, "description": self.says} | bounds


_TYPES = {"string": "str", "integer": "int", "boolean": "bool"}
_NAMESPACE = Given("namespace; leave it out for kinds without one, such as Node", form=_LABEL)
_KIND = Given("kind, such as Pod, Deployment, ConfigMap, Node", form="[A-Za-z]{1,40}", needed=True)
_OBJECT = {
    "kind": _KIND,
    "name": Given("the object's name", form=_NAME, needed=True),
    "namespace": _NAMESPACE,
}
_FILE = Given("a file as list_files names it", form=r"[^\x00-\x1f]{1,300}", needed=True)

QUESTIONS: dict[str, tuple[str, dict[str, Given]]] = {
    "list_files": (
        "List the files of evidence that were gathered when the fault was reported.",
        {"under": Given("only names that begin so", form=r"[^\x00-\x1f]{1,300}")},
    ),
    "read_file": (
        "Read a file of the evidence, or a part of it.",
        {
            "file": _FILE,
            "offset": Given("first byte", "integer", most=1 << 30),
            "bytes": Given("how many bytes", "integer", least=1, most=tool_answer_bytes_max),
        },
    ),
    "grep": (
        "Find lines in the evidence. Plain text, upper or lower case alike; | separates several.",
        {
            "text": Given("what to look for", form=_LINE, needed=True),
            "file": Given("only in this file", form=r"[^\x00-\x1f]{1,300}"),
        },
    ),
    "list_objects": (
        "List the objects of a kind, one a line, with their state.",
        {
            "kind": _KIND,
            "namespace": _NAMESPACE,
            "selector": Given("labels, such as app=api,tier=web", form=_SELECTOR),
        },
    ),
    "get_object": ("Show one object as YAML.", _OBJECT),
    "describe_object": ("Show one object as YAML, and the events about it.", _OBJECT),
    "logs": (
        "Show the last lines of a container's log.",
        {
            "namespace": Given("the pod's namespace", form=_LABEL, needed=True),
            "pod": Given("the pod's name", form=_NAME, needed=True),
            "container": Given("the container; needed if there are several", form=_LABEL),
            "previous": Given("of the container before the last restart", "boolean"),
            "lines": Given("how many", "integer", least=1, most=tool_log_lines_max),
            "contains": Given("only lines with this text", form=_LINE),
        },
    ),
    "events": (
        "Show the Kubernetes Events of a namespace, newest first.",
        {
            "namespace": Given("the namespace", form=_LABEL, needed=True),
            "kind": Given("only about this kind", form="[A-Za-z]{1,40}"),
            "name": Given("only about the object of this name", form=_NAME),
        },
    ),
}


def offered() -> tuple[Tool, ...]:
    """Return the tools as a model is told of them."""
    return tuple(
        Tool(
            name,
            says,
            {
                "type": "object",
                "properties": {key: given.schema() for key, given in takes.items()},
                "required": [key for key, given in takes.items() if given.needed],
                "additionalProperties": False,
            },
        )
        for name, (says, takes) in QUESTIONS.items()
    )


def checked(tool: str, arguments: Any, others: Sequence[str] = ()) -> dict[str, Any]:
    """Return the arguments of a question that may be put. Raises Rejected, with the reason.

    `others` are the tools of others that are offered: their server knows the form of what they
    take, here it is bounded in size and depth.
    """
    if tool not in QUESTIONS and tool not in others:
        known = ", ".join([*QUESTIONS, *others])
        raise Rejected(f"expected one of {known}; nothing else can be done here")
    if not isinstance(arguments, dict):
        raise Rejected("expected the arguments as one JSON object")
    if tool in others:
        return _bounded(arguments)
    takes = QUESTIONS[tool][1]
    if unknown := sorted(str(key) for key in arguments if key not in takes):
        raise Rejected(f"{tool} takes {', '.join(takes)}, and no {unknown[0][:60]!r}")
    present = {key: value for key, value in arguments.items() if value not in (None, "")}
    if missing := [key for key, given in takes.items() if given.needed and key not in present]:
        raise Rejected(f"{tool} needs {missing[0]}: {takes[missing[0]].says}")
    found = {key: _value(key, takes[key], value) for key, value in present.items()}
    return found | ({"kind": _kind(found["kind"])} if "kind" in found else {})


def _bounded(arguments: dict[str, Any]) -> dict[str, Any]:
    size, depth = len(strict_json.dumps(arguments)), _depth(arguments)
    if size > mcp_arguments_bytes_max or depth > mcp_arguments_depth_max:
        raise Rejected(
            f"expected arguments of at most {mcp_arguments_bytes_max} bytes and "
            f"{mcp_arguments_depth_max} levels, got {size} and {depth}"
        )
    if _names_secret(arguments):
        raise Rejected("no Secret is asked for: you need to know that a key is missing, no more")
    return arguments


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, _inner(value)), default=0) if isinstance(value, dict | list) else 0


def _names_secret(value: Any) -> bool:
    named = isinstance(value, str) and _SECRET.fullmatch(value)
    return bool(named) or any(map(_names_secret, _inner(value)))


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _value(name: str, given: Given, value: Any) -> Any:
    if type(value).__name__ != _TYPES[given.type]:
        raise Rejected(f"{name}: expected {given.type}, got {type(value).__name__}")
    if given.type == "integer" and not given.least <= value <= given.most:
        raise Rejected(f"{name}: expected {given.least} to {given.most}, got {value}")
    if given.form and not re.fullmatch(given.form, value):
        raise Rejected(f"{name}: {given.says}; not {value[:60]!r}")
    return value


def _kind(name: str) -> str:
    kind = _NAMES.get(name.lower())
    if kind is None:
        raise Rejected(f"kind: expected one of {', '.join(KINDS)}, got {name!r}")
    return kind
