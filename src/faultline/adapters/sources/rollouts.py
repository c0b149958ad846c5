"""What was changed shortly before the fault: the templates of a workload's revisions, compared.

Pure. ReplicaSets keep the templates of a Deployment, ControllerRevisions those of StatefulSets and
DaemonSets. Field paths are those of `fields.py`, from the workload's root.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

Object = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"
ROLLOUTS_MAX = 5
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_MADE = {"pod-template-hash", "controller-revision-hash"}  # labels that every revision has anew


def revision_of(value: Object) -> int:
    """Return the revision of a ReplicaSet or ControllerRevision; 0 if it does not say."""
    noted = (value["metadata"].get("annotations") or {}).get(REVISION)
    said = str(value.get("revision") or noted or "")
    return int(said) if said.isdecimal() else 0


def template_of(value: Object) -> Any:
    """Return the pod template that a revision keeps."""
    holder = value.get("data") if value.get("kind") == "ControllerRevision" else value
    return ((holder or {}).get("spec") or {}).get("template") or {}


def rollouts(workload: str, revisions: Sequence[Object]) -> list[Object]:
    """Return the rollouts of a workload, newest first: what each changed, and when it began."""
    ordered = sorted((r for r in revisions if revision_of(r)), key=revision_of)
    pairs = list(itertools.pairwise(ordered))
    return [
        {
            "workload": workload,
            "revision": revision_of(after),
            "previous": revision_of(before),
            "at": _began(before, after),
            "differences": list(differences(template_of(before), template_of(after))),
        }
        for before, after in reversed(pairs[-ROLLOUTS_MAX:])
    ]


def _began(before: Object, after: Object) -> str | None:
    """Return when the later revision was made; nothing for a rollback, which reuses an old one."""
    made = [str(r["metadata"].get("creationTimestamp", "")) for r in (before, after)]
    return made[1] if made[1] and made[1] >= made[0] else None


def differences(before: Any, after: Any, path: str = "spec.template") -> Iterator[Object]:
    """Yield each field that differs; list items are matched by their `name`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(k for k in after if k not in before)]:
            if key not in _MADE:
                yield from differences(before.get(key), after.get(key), _child(path, key))
    elif _by_name(before) and _by_name(after):
        named_before, named_after = ({i["name"]: i for i in side} for side in (before, after))
        for name in [*named_before, *(n for n in named_after if n not in named_before)]:
            here = f"{path}[name={name}]"
            yield from differences(named_before.get(name), named_after.get(name), here)
    elif before != after:
        yield {"field": path, "before": before, "after": after}


def _child(path: str, key: str) -> str:
    return f"{path}.{key}" if _PLAIN.fullmatch(key) else f'{path}["{key}"]'


def _by_name(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(i, dict) and "name" in i for i in value):
        return False
    return len({i["name"] for i in value}) == len(value)
