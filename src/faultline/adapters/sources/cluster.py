"""What a cluster knows about a fault: objects, events, log excerpts, series, rollouts.

`ClusterSource` asks a `Cluster`, which may be recorded (`recorded.py`) or live; it only reads.
Which objects matter is `surroundings.py`, what a rollout changed `rollouts.py`. Nothing is redacted
here, but values of Secrets are dropped at once: only keys and sizes go on.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol

from faultline import keys
from faultline.adapters.sources.excerpts import excerpt
from faultline.adapters.sources.lookout import Lookout, name_of, space_of
from faultline.adapters.sources.rollouts import rollouts
from faultline.adapters.sources.surroundings import Surroundings, surroundings
from faultline.errors import FaultlineError
from faultline.limits import (
    context_bytes_max,
    context_file_bytes_max,
    context_files_max,
    k8s_events_max,
    log_lines_per_container,
)
from faultline.model import Incident
from faultline.observability import CUT
from faultline.redact.documents import dump_json, dump_yaml

Object = dict[str, Any]

OTHER_FILES = 16  # of a capsule: everything that is not an object
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_POINT = re.compile(r"\[\s+([0-9.eE+-]+),\s+([0-9.eE+-]+)\s+\]")  # of a series: on one line
_NODE_STATUS = ("allocatable", "capacity", "conditions", "nodeInfo")


class Cluster(Protocol):
    """A cluster that can be asked. Every method raises Rejected if we may not see that, and
    Unavailable if the cluster did not answer."""

    name: str

    def objects(self, kind: str, namespace: str = "") -> Sequence[Object]:
        """Return the objects of a kind in one namespace, or of a kind without namespaces.

        With `*` (lookout.EVERYWHERE) those of all namespaces.
        """
        ...

    def events(self, namespace: str) -> Sequence[Object]:
        """Return the core/v1 Events of a namespace."""
        ...

    def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int
    ) -> str | None:
        """Return the end of a container's log, at least so many lines; None: there is none."""
        ...

    def series(self, namespace: str, workload: str) -> Sequence[Object]:
        """Return series of the workload's pods: name, query, unit, labels, points."""
        ...

    def version(self) -> Object:
        """Return what `kubectl version -o json` prints."""
        ...

    def changes(self) -> Object:
        """Return what else is known to have changed, such as commits."""
        ...

    def runbook(self, alert: str) -> bytes | None:
        """Return the runbook of an alert, if one lies beside the cluster."""
        ...


class ClusterSource:
    """Gathers a capsule's files from a cluster."""

    name = "cluster"

    def __init__(self, cluster: Cluster, *, log_lines: int = log_lines_per_container) -> None:
        self._cluster, self._log_lines = cluster, log_lines

    def collect(self, incident: Incident) -> Iterator[tuple[str, bytes]]:
        """Yield everything the cluster knows. Raises NotFound if the fault names nothing there."""
        resource = incident.fault.resource
        look = Lookout(self._cluster, resource.namespace if resource else "")
        log = functools.cache(self._log)  # read twice: for whom they talk to, and shown
        around = surroundings(incident, look, lambda pods: _heard(pods, look, log))
        omitted = yield from _object_files(around)
        yield _json("cluster-info", self._info(incident, around, look, omitted))
        name = name_of(around.workload)
        for file, make in (
            ("k8s-events.json", lambda: {"items": self._events(around, look)}),
            ("metrics.json", lambda: _series(self._cluster.series(look.namespace, name))),
            ("changes.json", lambda: self._changes(around, name)),
            ("logs.txt", lambda: _logs(around.pods, look.namespace, log)),
        ):
            try:
                made = make()
                if made is not None:
                    yield _file(file, made)
            except FaultlineError as error:
                look.refused[file] = str(error)
        if runbook := self._cluster.runbook(incident.fault.name):
            yield "context/runbook.md", runbook
        said = (("seen", look.seen), ("not_seen", look.refused))
        sorted_ = {key: dict(sorted(values.items())) for key, values in said}
        yield _json("permissions", {"cluster": self._cluster.name} | sorted_)

    def _log(self, namespace: str, pod: str, container: str, *, previous: bool) -> str | None:
        """Return the last lines of a container's log under a heading; None: there is none."""
        lines = self._log_lines
        log = self._cluster.log(namespace, pod, container, previous=previous, lines=lines)
        state = "previous" if previous else "current"
        return excerpt(f"{pod}/{container} ({state})", log, lines) if log else None

    def _info(
        self, incident: Incident, around: Surroundings, look: Lookout, omitted: list[str]
    ) -> Object:
        server = (self._cluster.version().get("serverVersion") or {}).get("gitVersion", "")
        kubelets = {n["status"]["nodeInfo"]["kubeletVersion"] for n in around.of("Node")
                    if "nodeInfo" in (n.get("status") or {})}  # fmt: skip
        there = [
            _involved(o, around.roles[o["kind"], space_of(o), name_of(o)]) for o in around.objects
        ]
        gone = [{"kind": k, "namespace": s, "name": n, "role": r, "missing": True}
                for k, s, n, r in around.missing if look.saw(k, s)]  # fmt: skip
        return {
            "clusterName": incident.fault.cluster,
            "namespace": look.namespace,
            "versions": {"kubernetes": server, "kubelets": sorted(kubelets)},
            "involvedResources": there + gone,
        } | ({"omitted": omitted} if omitted else {})

    def _events(self, around: Surroundings, look: Lookout) -> list[Object]:
        """Return events about the objects around, and about pods that are gone, newest first."""
        own = ("", look.namespace)
        named = [(k, n) for k, s, n in (*around.roles, *(m[:3] for m in around.missing))
                 if s in own]  # fmt: skip
        about = set(named)
        owners = tuple(f"{n}-" for k, n in named if k in ("ReplicaSet", "Job"))
        if around.workload["kind"] in ("StatefulSet", "DaemonSet"):
            owners += (f"{name_of(around.workload)}-",)
        found = []
        for event in self._cluster.events(look.namespace):
            told = event.get("involvedObject") or {}
            kind, name = str(told.get("kind")), str(told.get("name"))
            if (kind, name) in about or (kind == "Pod" and owners and name.startswith(owners)):
                found.append(bare(event))
        found.sort(key=lambda e: (_when(e), str(e["metadata"].get("name"))), reverse=True)
        return found[:k8s_events_max]

    def _changes(self, around: Surroundings, name: str) -> Object:
        revisions = around.of("ReplicaSet") + around.of("ControllerRevision")
        return {**self._cluster.changes(), "rollouts": rollouts(name, revisions)}


Log = Callable[..., str | None]  # namespace, pod, container, previous=


def _heard(pods: Sequence[Object], look: Lookout, log: Log) -> str:
    """What the pods say of whom they talk to; nothing where logs cannot be read."""
    try:
        return _logs(pods, look.namespace, log)
    except FaultlineError:
        return ""  # said once, where the logs themselves are asked for


def _logs(pods: Sequence[Object], namespace: str, log: Log) -> str:
    return "".join(
        text
        for pod in pods
        for container in _containers(pod)
        for previous in (False, True)
        if (text := log(namespace, name_of(pod), container["name"], previous=previous))
    )


def _series(found: Sequence[Object]) -> Object | None:
    """Return what the file of series holds; None where this cluster has none: others may."""
    return {"series": list(found)} if found else None


def _object_files(around: Surroundings) -> Generator[tuple[str, bytes], None, list[str]]:
    """Yield a file per object; return the names of those that the limits of a capsule left out."""
    omitted, size = [], 0
    own = ("", space_of(around.workload))
    for count, value in enumerate(around.objects):
        kind, name = str(value["kind"]).lower(), name_of(value)
        name = name if space_of(value) in own else f"{space_of(value)}~{name}"
        data = dump_yaml(bare(value)).encode("utf-8", "replace")
        size += len(data)
        if (
            len(data) > context_file_bytes_max
            or size > context_bytes_max // 2
            or count >= context_files_max - OTHER_FILES
        ):
            omitted.append(f"{kind}/{name}")
            continue
        yield f"context/objects/{keys.part(kind)}/{keys.part(name)}.yaml", data
    return omitted


def bare(value: Object) -> Object:
    """Return an object without what only machines read, and a Secret without its values."""
    meta = {k: v for k, v in value["metadata"].items() if k not in ("managedFields", "selfLink")}
    if "annotations" in meta:
        notes = {k: v for k, v in (meta["annotations"] or {}).items() if k != LAST_APPLIED}
        meta = {k: v for k, v in (meta | {"annotations": notes}).items() if v != {}}
    bare = value | {"metadata": meta}
    if value.get("kind") == "Secret":
        fields = ("data", "stringData")
        bare |= {f: {k: _size(f, v) for k, v in value[f].items()} for f in fields if value.get(f)}
    if value.get("kind") == "Node":
        status = {k: v for k, v in (value.get("status") or {}).items() if k in _NODE_STATUS}
        bare |= {"status": status}
    return bare


def _size(field: str, value: Any) -> str:
    raw = str(value).encode("utf-8", "replace")
    try:
        return f"{len(base64.b64decode(raw, validate=True) if field == 'data' else raw)} bytes"
    except (binascii.Error, ValueError):
        return f"{len(raw)} bytes"


def _involved(value: Object, role: str) -> Object:
    meta = value["metadata"]
    told = {"kind": value["kind"], "namespace": meta.get("namespace", ""), "name": meta["name"]}
    return told | ({"uid": meta["uid"]} if meta.get("uid") else {}) | {"role": role}


def _when(event: Object) -> str:
    names = ("lastTimestamp", "eventTime", "firstTimestamp")
    last = (event.get("series") or {}).get("lastObservedTime")
    made = event["metadata"].get("creationTimestamp")
    return str(last or next((event[n] for n in names if event.get(n)), made) or "")


def _containers(pod: Object) -> list[Object]:
    spec = pod.get("spec") or {}
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _json(name: str, value: Object) -> tuple[str, bytes]:
    return _file(f"{name}.json", value)


def _file(name: str, value: Object | str) -> tuple[str, bytes]:
    """Return a file of the capsule; one that is too large is cut, lists from their end."""
    text = value if isinstance(value, str) else _POINT.sub(r"[\1, \2]", dump_json(value))
    while not isinstance(value, str) and len(text.encode()) > context_file_bytes_max:
        value = {k: v[: len(v) // 2] if isinstance(v, list) else v for k, v in value.items()}
        text = _POINT.sub(r"[\1, \2]", dump_json(value | {"truncated": CUT}))
    data = text.encode("utf-8", "replace")
    if len(data) > context_file_bytes_max:
        data = data[: context_file_bytes_max - 64] + f"\n{CUT}\n".encode()
    return f"context/{name}", data
