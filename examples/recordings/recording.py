"""One recorded cluster: a workload in trouble, what is around it, what was said, and the truth.

`Recording.files()` is the folder as `docs/capsule.md` describes it, with the manifests in Git, the
alert and `truth.json` beside.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from recordings.around import node, service
from recordings.objects import (
    LATEST,
    NAMESPACE,
    NODES,
    ROLLED,
    Object,
    Sight,
    number,
    thing,
    uid,
)
from recordings.workloads import App, run_of

_API = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1"}
_PLURALS = {
    "EndpointSlice": "endpointslices",
    "Ingress": "ingresses",
    "NetworkPolicy": "networkpolicies",
    "StorageClass": "storageclasses",
}
_SPEAKERS = {
    "FailedScheduling": "default-scheduler",
    "Scheduled": "default-scheduler",
    "ProvisioningFailed": "persistentvolume-controller",
    "FailedAttachVolume": "attachdetach-controller",
    "FailedGetResourceMetric": "horizontal-pod-autoscaler",
    "FailedComputeMetricsReplicas": "horizontal-pod-autoscaler",
    "NodeNotReady": "node-controller",
    "TaintManagerEviction": "taint-eviction-controller",
    "ScalingReplicaSet": "deployment-controller",
}
_VERSION = {"major": "1", "minor": "33", "gitVersion": "v1.33.1"}


@dataclass
class Recording:
    """What a case puts together. `around` are objects of the cluster, `git` those in Git too."""

    app: App
    alert: Object
    truth: Object
    around: list[Object] = field(default_factory=list)
    git: list[Object] = field(default_factory=list)  # manifests beside the workload's
    events: list[Object] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    series: dict[str, Object] = field(default_factory=dict)
    commits: list[Object] = field(default_factory=list)
    nodes: list[Object] = field(default_factory=list)

    # what is said

    def says(
        self,
        reason: str,
        message: str,
        *,
        pod: int = 0,
        about: tuple[str, str] | None = None,
        times: int = 1,
        first: str = ROLLED,
        last: str = LATEST,
        normal: bool = False,
    ) -> Recording:
        """Add an event about a pod of the workload, or about (kind, name)."""
        kind, name = about or ("Pod", self.app.pods[pod])
        speaker = _SPEAKERS.get(reason) or _speaker(kind, reason)
        inside = kind == "Pod" and speaker == "kubelet" and reason not in _OF_POD
        target = {"kind": kind, "name": name, "namespace": NAMESPACE, "uid": uid(kind, name)}
        target |= {"apiVersion": _API.get(kind, "apps/v1" if kind == "ReplicaSet" else "v1")}
        made = f"{name}.{number(name, reason, message) % 16**16:016x}"
        meta = {"creationTimestamp": first, "name": made, "namespace": NAMESPACE}
        self.events.append(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": meta | {"uid": uid("Event", made)},
                "involvedObject": target
                | ({"fieldPath": "spec.containers{app}"} if inside else {}),
                "reason": reason,
                "message": message,
                "count": times,
                "firstTimestamp": first,
                "lastTimestamp": last,
                "eventTime": None,
                "reportingComponent": speaker,
                "reportingInstance": NODES[0] if speaker == "kubelet" else "",
                "source": {"component": speaker},
                "type": "Normal" if normal else "Warning",
            }
        )
        return self

    def log(self, *lines: str, pod: int = 0, previous: bool = False) -> Recording:
        ends = "previous.log" if previous else "log"
        path = f"logs/{NAMESPACE}/{self.app.pods[pod]}/app.{ends}"
        self.logs[path] = "".join(f"{line}\n" for line in lines)
        return self

    def memory(self, pod: str, start: str, mib: Sequence[float], every_s: int = 60) -> Recording:
        """Add what a pod's container used of memory, in Mi, from a time on."""
        began = int(dt.datetime.fromisoformat(start.replace("Z", "+00:00")).timestamp())
        points = [[began + every_s * i, str(int(m * 1024 * 1024))] for i, m in enumerate(mib)]
        labels = {"__name__": "container_memory_working_set_bytes", "container": "app"}
        labels |= {"namespace": NAMESPACE, "pod": pod}
        query = f'container_memory_working_set_bytes{{namespace="{NAMESPACE}", pod=~"'
        empty = {"name": "memory_working_set", "query": f'{query}{self.app.name}-.*"}}'}
        empty |= {"unit": "bytes", "answer": {"status": "success"}}
        empty["answer"]["data"] = {"resultType": "matrix", "result": []}
        made = self.series.setdefault("memory", empty)
        made["answer"]["data"]["result"].append({"metric": labels, "values": points})
        return self

    def commit(self, title: str, at: str = "2026-11-20T09:28:44Z") -> Recording:
        id_ = f"{number(title) % 16**10:010x}"
        self.commits.append(
            {"at": at, "author": "shop", "id": id_, "repository": "shop/manifests", "title": title}
        )
        return self

    def with_(self, *objects: Object) -> Recording:
        self.around += objects
        return self

    # the folder

    def files(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        by_kind: dict[str, list[Object]] = {}
        for value in self._objects():
            by_kind.setdefault(value["kind"], []).append(value)
        for kind, values in by_kind.items():
            plural = _PLURALS.get(kind, f"{kind.lower()}s")
            found[f"objects/{plural}.yaml"] = _yaml(_list(values))
        found["events.json"] = _json(_list([*_noise(), *self._trail(), *self.events]))
        found["version.json"] = _json({"clientVersion": _VERSION, "serverVersion": _VERSION})
        found["alert.json"] = _json(self.alert)
        found["truth.json"] = _json(self.truth)
        found |= {f"metrics/{name}.json": _json(s) for name, s in self.series.items()}
        found |= {path: text.encode() for path, text in self.logs.items()}
        if self.commits:
            found["changes.json"] = _json({"commits": self.commits})
        return found | dict(self._manifests())

    def _objects(self) -> Iterator[Object]:
        yield from self.app.objects()
        there = {(o["kind"], o["metadata"]["name"]) for o in self.around}
        if (
            self.app.kind in ("Deployment", "StatefulSet")
            and ("Service", self.app.name) not in there
        ):
            yield from service(self.app)
        yield thing("ServiceAccount", "default")
        yield from self.nodes or [node(name) for name in NODES]
        yield from self.around

    def _trail(self) -> Iterator[Object]:
        """Events of an ordinary rollout: what was made, placed and started."""
        trail = Recording(self.app, {}, {})
        app, maker = self.app, {"Deployment": "ReplicaSet", "CronJob": "Job"}
        owner = (maker.get(app.kind, app.kind), app.revision)
        for at, sight in enumerate(app.sights):
            since = sight.created or app.rolled
            if since < "2026-11-20T08":
                continue  # events are kept for an hour
            name = {"normal": True, "first": since, "last": since}
            trail.says("SuccessfulCreate", f"Created pod: {app.pods[at]}", about=owner, **name)
            if sight.node:
                placed = f"Successfully assigned {NAMESPACE}/{app.pods[at]} to {sight.node}"
                trail.says("Scheduled", placed, pod=at, **name)
            if _has_started(sight):
                trail.says("Created", "Created container: app", pod=at, **name)
                trail.says("Started", "Started container app", pod=at, **name)
        return iter(trail.events)

    def _manifests(self) -> Iterator[tuple[str, bytes]]:
        app = self.app
        written = [_written(app), *([_service_written(app)] if _is_served(app) else []), *self.git]
        documents = {(d["kind"], d["metadata"]["name"]): d for d in written}
        head = f"# {app.about or app.name}\n"
        text = head + "---\n".join(_dump(d, sort=False) for d in documents.values())
        yield f"manifests/{app.name}.yaml", text.encode()
        note = "# Everything of team shop. Applied by the pipeline with `kubectl apply -k`.\n"
        whole = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
        whole |= {"namespace": NAMESPACE, "resources": [f"{app.name}.yaml"]}
        yield "manifests/kustomization.yaml", (note + _dump(whole, sort=False)).encode()


_OF_POD = {"FailedMount", "FailedToRetrieveImagePullSecret", "Evicted", "FailedCreatePodSandBox"}


def _speaker(kind: str, reason: str) -> str:
    makes = reason in ("FailedCreate", "SuccessfulCreate")
    return f"{kind.lower()}-controller" if makes else "kubelet"


def _has_started(sight: Sight) -> bool:
    state = sight.status.get("state") or {}
    ran = bool(sight.status.get("lastState")) or sight.phase in ("Failed", "Succeeded")
    return "running" in state or ran


def _is_served(app: App) -> bool:
    return app.kind in ("Deployment", "StatefulSet")


def _noise() -> list[Object]:
    """Return what else happened in the namespace: somebody else's rollout."""
    other = Recording(App("newsletter", {}), {}, {})
    at = {"first": "2026-11-20T09:12:40Z", "last": "2026-11-20T09:12:40Z", "normal": True}
    said = "Scaled up replica set newsletter-6b8f9d4c7 from 0 to 1"
    return other.says("ScalingReplicaSet", said, about=("Deployment", "newsletter"), **at).events


def alert(
    app: App,
    name: str,
    summary: str,
    description: str,
    *,
    pod: bool = False,
    kind: str = "",
    severity: str = "warning",
    at: str = "2026-11-20T09:47:30.412Z",
) -> Object:
    """Return AlertManager's message about the workload, or about its first pod."""
    about = (
        {"pod": app.pods[0], "container": "app"} if pod else {kind or app.kind.lower(): app.name}
    )
    labels = {"alertname": name, "cluster": "prod-a", "job": "kube-state-metrics"}
    labels |= {"namespace": NAMESPACE, "prometheus": "monitoring/k8s", "severity": severity} | about
    notes = {"summary": summary, "description": description}
    notes["runbook_url"] = f"https://runbooks.shop.example/{name.lower()}"
    group = {"alertname": name, "namespace": NAMESPACE}
    one = {
        "status": "firing",
        "labels": labels,
        "annotations": notes,
        "startsAt": at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.shop.example/graph?g0.expr=ALERTS&g0.tab=1",
        "fingerprint": f"{number(name, app.name) % 16**16:016x}",
    }
    return {
        "receiver": "faultline",
        "status": "firing",
        "alerts": [one],
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": notes,
        "externalURL": "http://alertmanager.shop.example",
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{name}", namespace="{NAMESPACE}"}}',
        "truncatedAlerts": 0,
    }


# the truth


def truth(
    app: App,
    title: str,
    condition: str,
    words: Sequence[str],
    field_: str = "",
    *,
    before: Any = None,
    after: Any = None,
    target: tuple[str, str] | None = None,
    proved: bool = True,
) -> Object:
    """Return `truth.json`; a field that begins with `.` is one of the workload's container."""
    family, _, name = condition.partition(".")
    kind, of = target or (app.kind, app.name)
    said: Object = {"title": title, "family": family, "condition": name, "root_cause": [*words]}
    said["target"] = {"kind": kind, "namespace": NAMESPACE, "name": of}
    if field_:
        start = "spec.jobTemplate." if app.kind == "CronJob" and not target else ""
        path = field_ if target else f"{start}spec.template.{field_}"
        if field_.startswith("."):
            path = f"{start}spec.template.spec.containers[name=app]{field_}"
        said |= {"field": path, "before": before, "after": after}
    return said if proved else said | {"proved": False}


def healthy(title: str) -> Object:
    return {"healthy": True, "title": title}


# what people wrote


def _written(app: App) -> Object:
    template = {
        "metadata": {
            "labels": app.selector | {"app.kubernetes.io/part-of": NAMESPACE} | app.labels
        },
        "spec": app.now,
    }
    meta = {"name": app.name, "labels": app.selector | {"app.kubernetes.io/part-of": NAMESPACE}}
    if app.kind == "CronJob":
        spec = {"schedule": "*/30 * * * *", "concurrencyPolicy": "Forbid", **app.extra}
        run = {"restartPolicy": "Never"} | app.now
        spec["jobTemplate"] = {"spec": run_of(app) | {"template": template | {"spec": run}}}
        return {"apiVersion": "batch/v1", "kind": app.kind, "metadata": meta, "spec": spec}
    count = {} if app.kind == "DaemonSet" else {"replicas": app.replicas}
    named = {"serviceName": app.service or app.name} if app.kind == "StatefulSet" else {}
    spec = {**count, **named, **app.extra, "selector": {"matchLabels": app.selector}}
    spec["template"] = template
    return {"apiVersion": "apps/v1", "kind": app.kind, "metadata": meta, "spec": spec}


def _service_written(app: App) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app.name},
        "spec": {
            "selector": app.selector,
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def written(value: Object) -> Object:
    """Return an object of the cluster as it stands in Git: without what the server added."""
    meta = {k: v for k, v in value["metadata"].items() if k in ("name", "labels", "annotations")}
    rest = {k: v for k, v in value.items() if k not in ("metadata", "status")}
    return {
        "apiVersion": rest.pop("apiVersion"),
        "kind": rest.pop("kind"),
        "metadata": meta,
        **rest,
    }


def _list(items: Sequence[Object]) -> Object:
    return {
        "apiVersion": "v1",
        "items": list(items),
        "kind": "List",
        "metadata": {"resourceVersion": ""},
    }


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _yaml(value: Any) -> bytes:
    return _dump(value, sort=True).encode()


def _dump(value: Any, *, sort: bool) -> str:
    whole = json.loads(
        json.dumps(copy.deepcopy(value))
    )  # without what YAML would write as *aliases
    fast = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the same bytes
    return str(yaml.dump(whole, Dumper=fast, sort_keys=sort, width=10_000, allow_unicode=True))
