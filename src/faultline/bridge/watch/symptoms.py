"""What the detectors share: symptoms, the rules of an operator, and reading objects. Pure.

A symptom is what one object shows now. Whether it has lasted long enough to be a fault, and whether
that is over, is `board.py`'s to say.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from faultline.bridge.events import name_or_nothing, shortened
from faultline.correlate import owner_of
from faultline.event import parse_time
from faultline.limits import statement_chars_max, watch_payload_bytes_max
from faultline.model import Fault, Resource, Severity

Object = Mapping[str, Any]
ORIGIN = "kube-watch"


class Rules(NamedTuple):
    """How long and how often until a symptom is a fault, in seconds and in number."""

    hold_s: int = 300  # pending, not ready, unavailable
    short_hold_s: int = 60  # a node that is not ready; warnings that repeat
    clear_s: int = 300  # healthy again
    restarts: int = 3
    restart_window_s: int = 1_800


@dataclass(frozen=True)
class Symptom:
    """Something that an object shows. `name` and `part` tell it from the object's others."""

    name: str
    summary: str
    part: str = ""  # a container, or the type of a condition
    severity: Severity = Severity.WARNING
    message: str = ""
    since: dt.datetime | None = None  # as the object says; None: it keeps no such time
    edge: bool = False  # it happened at `since`; else it is a state, and lasts
    well_since: dt.datetime | None = None  # it still shows, and is past: a kill that was survived
    hold_s: float = 0
    clear_s: float = 0  # at least so long healthy, where the rule's time is too short
    opens: bool = True  # False: not enough for a fault, too much to call one over
    progress: str = ""  # while this changes the hold begins anew: a roll-out moves on
    labels: Mapping[str, str] = field(default_factory=dict)


# reading an object; whatever is not of the kind that is expected counts as missing


def mapping(value: Any, *names: str) -> Mapping[str, Any]:
    """Return the object within objects, or an empty one."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def items(value: Any, name: str) -> Iterator[Mapping[str, Any]]:
    found = value.get(name) if isinstance(value, dict) else None
    yield from (item for item in (found if isinstance(found, list) else []) if mapping(item))


def text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def number(value: Any, name: str, default: int = 0) -> int:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def time(value: Any, name: str) -> dt.datetime | None:
    try:
        return parse_time(text(value, name))
    except ValueError:
        return None


def latest(*times: dt.datetime | None) -> dt.datetime | None:
    return max((at for at in times if at), default=None)


def condition(obj: Object, type: str) -> Mapping[str, Any]:
    """Return the condition of this type in the object's status, or an empty one."""
    return next((c for c in items(obj.get("status"), "conditions") if c.get("type") == type), {})


def changed(found: Mapping[str, Any]) -> dt.datetime | None:
    return time(found, "lastTransitionTime")


def created(obj: Object) -> dt.datetime | None:
    return time(obj.get("metadata"), "creationTimestamp")


def is_current(obj: Object) -> bool:
    """Has the controller seen the latest specification? Until then its status says nothing."""
    wanted = number(obj.get("metadata"), "generation")
    return number(obj.get("status"), "observedGeneration", wanted) >= wanted


# who it is


def resource_of(kind: str, obj: Object) -> Resource:
    """Return what a fault of this object names, with the workload that owns it.

    The owner follows from the object alone: its controller; for a ReplicaSet of a Deployment the
    name without the hash that the pod's labels tell. Else the name says it (`correlate.owner_of`).
    """
    metadata = mapping(obj, "metadata")
    named = Resource(
        kind=kind,
        name=name_or_nothing(metadata.get("name")) or "unknown",
        namespace=name_or_nothing(metadata.get("namespace")),
        api_version=text(obj, "apiVersion"),
        uid=text(metadata, "uid"),
    )
    return named.model_copy(update={"owner": _owner(metadata)})


_HASHES = ("pod-template-hash", "rollouts-pod-template-hash")


def _owner(metadata: Object) -> str:
    owners = list(items(metadata, "ownerReferences"))
    owner: Mapping[str, Any] = next((o for o in owners if o.get("controller") is True), {})
    kind, name = text(owner, "kind"), name_or_nothing(owner.get("name"))
    if not name or kind == "Node":  # a static pod names the node that runs it
        return ""
    if kind == "ReplicaSet":
        labels = mapping(metadata, "labels")
        ending = next((f"-{text(labels, h)}" for h in _HASHES if text(labels, h)), "")
        return name.removesuffix(ending)
    return owner_of(Resource(kind=kind, name=name))


def condition_of(kind: str, uid: str, symptom: Symptom) -> str:
    """Return the name of a condition: the same from every bridge, and after every restart."""
    return "/".join(("watch", kind, uid, symptom.name, symptom.part))


def fault_of(
    symptom: Symptom, resource: Resource, condition: str, *, cluster: str, starts_at: dt.datetime
) -> Fault:
    labels = {"namespace": resource.namespace} if resource.namespace else {}
    message = shortened(symptom.message)
    return Fault(
        name=symptom.name,
        summary=symptom.summary[:statement_chars_max],
        severity=symptom.severity,
        cluster=cluster,
        resource=resource,
        labels=labels | {k: v for k, v in symptom.labels.items() if v},
        annotations={"message": message} if message else {},
        starts_at=starts_at,
        condition=condition,
        origin=ORIGIN,
    )


def payload_of(kind: str, obj: Object) -> bytes:
    """Return what goes on file as the message: who it is and its status, no specification.

    What an operator wrote into a specification, such as the values of variables, is not needed.
    """
    metadata = {
        name: value
        for name, value in mapping(obj, "metadata").items()
        if name not in ("annotations", "managedFields")
    }
    rest = {k: v for k, v in obj.items() if k not in ("metadata", "spec", "apiVersion", "kind")}
    found = {"apiVersion": text(obj, "apiVersion"), "kind": kind, "metadata": metadata} | rest
    data = json.dumps(found, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace")
    if len(data) <= watch_payload_bytes_max:
        return data
    short = {"kind": kind, "metadata": {k: metadata.get(k) for k in ("name", "namespace", "uid")}}
    return json.dumps(short).encode("utf-8", "replace")
