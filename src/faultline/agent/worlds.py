"""Who answers the questions of the built-in loop: the evidence, and a cluster, dead or alive.

`Evidence` is the capsule in memory: a name is looked up among those it has, so there is no path to
leave it by. The cluster is the capsule's own objects, events and logs, or the API server through
the read-only client of `adapters/sources/live.py`. Everything that goes out is redacted here.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from faultline.adapters.apiserver import connect
from faultline.adapters.sources.cluster import bare
from faultline.adapters.sources.live import LiveCluster
from faultline.adapters.sources.lookout import CLUSTER_WIDE
from faultline.capsule import Capsule
from faultline.errors import Rejected
from faultline.limits import tool_answer_bytes_max
from faultline.observability import sections
from faultline.redact import Redactor
from faultline.redact.documents import dump_yaml

Object = dict[str, Any]

_HITS_MAX, _HIT_CHARS_MAX, _ROWS_MAX = 200, 500, 300


class Cluster(Protocol):
    """A cluster that can be asked for objects, events, logs (`LiveCluster`, `CapsuleCluster`)."""

    def objects(self, kind: str, namespace: str = "") -> Sequence[Object]: ...
    def one(self, kind: str, name: str, namespace: str = "") -> Object | None: ...
    def events(self, namespace: str) -> Sequence[Object]: ...
    def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int = ...
    ) -> str | None: ...


class World:
    """Answers every tool: files from the evidence, the rest from the cluster."""

    local = frozenset(("list_files", "read_file", "grep"))

    def __init__(self, files: Mapping[str, bytes], cluster: Cluster, redactor: Redactor) -> None:
        self._files, self._cluster, self._redactor = files, cluster, redactor
        self._by_tool: dict[str, Callable[..., str]] = {
            "list_files": self._list_files,
            "read_file": self._read_file,
            "grep": self._grep,
            "list_objects": self._list_objects,
            "get_object": self._get_object,
            "describe_object": self._describe_object,
            "logs": self._logs,
            "events": self._events,
        }

    def answer(self, tool: str, arguments: dict[str, Any]) -> str:
        """Return the answer. `arguments` have passed `questions.checked`."""
        return self._by_tool[tool](**arguments)

    # the evidence

    def _list_files(self, under: str = "") -> str:
        found = [f"{n}  {len(d)} bytes" for n, d in self._files.items() if n.startswith(under)]
        return "\n".join(found) or "no file begins so"

    def _read_file(self, file: str, offset: int = 0, bytes: int = tool_answer_bytes_max) -> str:
        data = self._named(file)
        part = data[offset : offset + bytes]
        whole = len(part) == len(data)
        told = "" if whole else f"[bytes {offset} to {offset + len(part)} of {len(data)}]\n"
        return told + part.decode("utf-8", "replace")

    def _grep(self, text: str, file: str = "") -> str:
        wanted = [part.lower() for part in text.split("|") if part]
        files = {file: self._named(file)} if file else self._files
        hits = [hit for name, data in files.items() for hit in _hits(name, data, wanted)]
        more = f"\n[{len(hits) - _HITS_MAX} more]" if len(hits) > _HITS_MAX else ""
        return "\n".join(hits[:_HITS_MAX]) + more or "no line has that"

    def _named(self, file: str) -> bytes:
        if file not in self._files:
            raise Rejected(f"there is no file {file!r}; list_files names those there are")
        return self._files[file]

    # the cluster

    def _list_objects(self, kind: str, namespace: str = "", selector: str = "") -> str:
        _check_scope(kind, namespace)
        wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
        found = [o for o in self._cluster.objects(kind, namespace) if _has(o, wanted)]
        rows = [f"{_name(o)}  {_state(o)}".rstrip() for o in found[:_ROWS_MAX]]
        more = (
            f"\n[{len(found) - _ROWS_MAX} more; use a selector]" if len(found) > len(rows) else ""
        )
        return "\n".join(rows) + more or f"no {kind} there"

    def _get_object(self, kind: str, name: str, namespace: str = "") -> str:
        _check_scope(kind, namespace)
        found = self._cluster.one(kind, name, namespace)
        if found is None:
            return f"there is no {kind} {name}" + (f" in {namespace}" if namespace else "")
        shown = found if kind == "Secret" else bare(found)  # of Secrets a capsule has only sizes
        return dump_yaml(self._redactor.object(shown))

    def _describe_object(self, kind: str, name: str, namespace: str = "") -> str:
        events = self._events(namespace or "default", kind, name)
        return f"{self._get_object(kind, name, namespace)}\nEvents about it:\n{events}"

    def _logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        previous: bool = False,
        lines: int = 200,
        contains: str = "",
    ) -> str:
        log = self._cluster.log(namespace, pod, container, previous=previous, lines=lines)
        if log is None:
            return "there is no such log: no such container, not started yet, or no earlier one"
        clean = self._redactor.text(log).splitlines()  # before searching: a search tells, too
        return "\n".join(line for line in clean if contains in line) or "no line"

    def _events(self, namespace: str, kind: str = "", name: str = "") -> str:
        about = [
            event
            for event in self._cluster.events(namespace)
            if _concerns(event.get("involvedObject") or {}, kind, name)
        ]
        about.sort(key=_when, reverse=True)
        return "\n".join(map(event_row, about[:_ROWS_MAX])) or "no events"


def event_row(event: Object) -> str:
    """Return one k8s event in one line."""
    told = event.get("involvedObject") or {}
    counted = event.get("count") or (event.get("series") or {}).get("count") or 1
    about = f"{told.get('kind')}/{told.get('name')}"
    words = (_when(event), event.get("type"), event.get("reason"), about, f"x{counted}")
    return "  ".join(map(str, words)) + f"  {' '.join(str(event.get('message') or '').split())}"


def _check_scope(kind: str, namespace: str) -> None:
    namespaced = kind not in CLUSTER_WIDE
    if namespaced and not namespace:
        raise Rejected(f"{kind} lives in a namespace: say which")
    if namespace and not namespaced:
        raise Rejected(f"{kind} has no namespace: leave it out")


def _hits(name: str, data: bytes, wanted: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if any(part in line.lower() for part in wanted):
            yield f"{name}:{number}: {line[:_HIT_CHARS_MAX]}"


def _has(value: Object, labels: Mapping[str, str]) -> bool:
    there = (value.get("metadata") or {}).get("labels") or {}
    return all(there.get(key) == wanted for key, wanted in labels.items())


def _name(value: Object) -> str:
    return str((value.get("metadata") or {}).get("name"))


def _state(value: Object) -> str:
    """Say in a few words how an object is: a pod's containers, a workload's replicas."""
    spec, status = value.get("spec") or {}, value.get("status") or {}
    if value.get("kind") == "Pod":
        return pod_state(value)
    if "replicas" in status or "replicas" in spec:
        return f"{status.get('readyReplicas', 0)} of {spec.get('replicas', 1)} ready"
    bad = [c["type"] for c in status.get("conditions") or () if c.get("status") != "True"]
    return str(status.get("phase") or "") + (f" not: {', '.join(bad)}" if bad else "")


def pod_state(pod: Object) -> str:
    """Return a pod's phase, and of each container whether it is ready, why not, and restarts."""
    status = pod.get("status") or {}
    found = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return "  ".join([str(status.get("phase") or "Unknown"), *map(_container, found)])


def _container(status: Object) -> str:
    now, before = status.get("state") or {}, status.get("lastState") or {}
    reasons = [
        f"{word}{state[which].get('reason') or which}"
        + (f" exit {state[which]['exitCode']}" if "exitCode" in state[which] else "")
        for word, state in (("", now), ("last ", before))
        for which in ("waiting", "terminated")
        if state.get(which)
    ]
    ready = "ready" if status.get("ready") else "not ready"
    told = ", ".join([ready, *reasons, f"{status.get('restartCount', 0)} restarts"])
    return f"{status.get('name')}: {told}"


def _concerns(told: Object, kind: str, name: str) -> bool:
    same_kind = not kind or str(told.get("kind", "")).lower() == kind.lower()
    return same_kind and (not name or told.get("name") == name)


def _when(event: Object) -> str:
    last = (event.get("series") or {}).get("lastObservedTime")
    names = ("lastTimestamp", "eventTime", "firstTimestamp")
    return str(last or next((event[n] for n in names if event.get(n)), ""))


class CapsuleCluster:
    """The objects, events and logs of a capsule, asked like a cluster. Secrets have no values."""

    def __init__(self, capsule: Capsule, objects: Sequence[Object]) -> None:
        self._objects = objects
        self._k8s_events = _items(capsule.read("context/k8s-events.json"))
        found = sections(capsule.text("context/logs.txt"))
        self._logs = {(one.pod, one.container, one.state): one.text for one in found}

    def objects(self, kind: str, namespace: str = "") -> Sequence[Object]:
        return [
            o
            for o in self._objects
            if o.get("kind") == kind and (o.get("metadata") or {}).get("namespace", "") == namespace
        ]

    def one(self, kind: str, name: str, namespace: str = "") -> Object | None:
        return next((o for o in self.objects(kind, namespace) if _name(o) == name), None)

    def events(self, namespace: str) -> Sequence[Object]:
        return [
            event
            for event in self._k8s_events
            if (event.get("involvedObject") or {}).get("namespace", "") in (namespace, "")
        ]

    def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int = 50
    ) -> str | None:
        which = "previous" if previous else "current"
        found = [
            text
            for (of, name, state), text in self._logs.items()
            if of == pod and state == which and name == (container or name)
        ]
        return "\n".join(deque(found[0].splitlines(), maxlen=lines)) if found else None


def _items(data: bytes) -> list[Object]:
    try:
        found = json.loads(data or b"{}").get("items", [])
    except (ValueError, AttributeError):
        return []
    return [item for item in found if isinstance(item, dict)]


def live(left: Callable[[], float]) -> Cluster:
    """Return the cluster itself; `left` says how many seconds an answer may still take."""
    return LiveCluster(connect(left))
