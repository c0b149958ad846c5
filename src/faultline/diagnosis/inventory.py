"""What a capsule knows of what is there, what is not, and whether it knows all of a kind.

A capsule holds what matters, not everything: that an object is not in it says nothing by itself.
`context/cluster-info.json` names what was looked for and is not there, `context/permissions.json`
how many of each kind there were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import items, json_items, mapping, text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.workloads import Around
from faultline.model import Evidence

INFO = "context/cluster-info.json"
PERMISSIONS = "context/permissions.json"


def find(facts: Around, kind: str, namespace: str, name: str) -> Object | None:
    """Return one object; without a namespace, of a kind that has none."""
    return next(
        (o for o in facts.of(kind) if o.name == name and o.namespace in (namespace, "")), None
    )


def within(facts: Around, kind: str, namespace: str) -> list[Object]:
    return [o for o in facts.of(kind) if o.namespace == namespace]


def absent(facts: Facts, kind: str, namespace: str, name: str) -> Evidence | None:
    """Cite the record that an object was looked for and is not there; None if nobody looked."""
    if find(facts, kind, namespace, name):
        return None
    source = facts.source(INFO)
    for told, start, end in json_items(source, "involvedResources"):
        named = (told.get("kind"), told.get("name")) == (kind, name)
        here = text(told.get("namespace")) in (namespace, "")
        if told.get("missing") is True and named and here:
            return source.find(json.dumps(name), start, end)
    return None


def count(facts: Facts, kind: str, namespace: str = "") -> int | None:
    """Return how many objects of a kind there were, in a namespace or at all; None: not known."""
    try:
        seen = mapping(json.loads(facts.source(PERMISSIONS).text or "{}").get("seen"))
    except (ValueError, RecursionError, AttributeError):
        return None
    if not namespace or namespace == own_namespace(facts):
        found = seen.get(kind)
    else:
        found = seen.get(f"{kind} in {namespace}")
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def knows_all(facts: Facts, kind: str, namespace: str) -> bool:
    """Say whether the capsule has every object of this kind in this namespace."""
    told = count(facts, kind, namespace)
    return told is not None and told <= len(within(facts, kind, namespace))


def own_namespace(facts: Facts) -> str:
    """Return the namespace that the incident is about."""
    fault = mapping(facts.incident.get("fault"))
    named = text(mapping(fault.get("resource")).get("namespace"))
    return named or next((w.object.namespace for w in facts.workloads), "")


def ready(pod: Object) -> bool:
    """Say whether a pod takes requests: its containers are ready, or its condition says so."""
    states = items(pod.get("status.containerStatuses"))
    if text(pod.get("status.conditions[type=Ready].status")) in ("False", "Unknown"):
        return False
    return bool(states) and all(s.get("ready") is True for s in states)


def alive(pods: Iterable[Object]) -> Iterator[Object]:
    """Yield the pods that have not come to an end."""
    return (p for p in pods if p.get("status.phase") not in ("Succeeded", "Failed"))
