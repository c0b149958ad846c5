"""A small cluster as a capsule, for tests of the analyzers: one workload, two revisions, a pod.

It is a Deployment unless it becomes something else, before anything is broken.

Everything is named by the arguments, so that a test can rename all of it. Objects are written as
the context source writes them: YAML files, `k8s-events.json`, `logs.txt`, `metrics.json`.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import yaml

from faultline.adapters.sources.lookout import CLUSTER_WIDE
from faultline.capsule import Capsule

DAY = "2026-11-21"


def at(clock: str) -> str:
    return f"{DAY}T{clock}:00Z"


class World:
    def __init__(
        self, name: str = "checkout", namespace: str = "shop", container: str = "app"
    ) -> None:
        self.name, self.namespace, self.container = name, namespace, container
        self.hash, self.old_hash = "7d9f6c5b4", "5c8b7d6f9"
        self.kind = "Deployment"
        self.pod_name = f"{name}-{self.hash}-x2x9z"
        self.spec: dict[str, Any] = {
            "containers": [
                {
                    "name": container,
                    "image": f"registry.example.com/{namespace}/{name}:1.4.2",
                    "command": ["/app/server"],
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "LOG_LEVEL", "value": "info"}],
                    "resources": {
                        "limits": {"memory": "256Mi", "cpu": "500m"},
                        "requests": {"memory": "128Mi", "cpu": "100m"},
                    },
                }
            ],
        }
        self.previous: dict[str, Any] | None = copy.deepcopy(self.spec)
        self.status: dict[str, Any] = {
            "name": container,
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": at("10:02")}},
            "lastState": {},
        }
        self.events: list[dict[str, Any]] = []
        self.logs = ""
        self.series: list[dict[str, Any]] = []
        self.extra: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.pod_status: dict[str, Any] = {"phase": "Running"}
        self.deployment_status: dict[str, Any] = {}
        self.workload_spec: dict[str, Any] = {}  # beside replicas, selector and template
        self.workload_meta: dict[str, Any] = {}
        self.pod_meta: dict[str, Any] = {}
        self.fault_labels: dict[str, str] = {}
        self.shuffle: int | None = None
        self.missing: list[dict[str, Any]] = []  # looked for, and not there
        self.seen: dict[str, int] = {}  # how many of a kind there were

    def become(self, kind: str) -> World:
        """Be a workload of another kind, whose pods are called and owned accordingly."""
        self.kind = kind
        ends = {"StatefulSet": "0", "DaemonSet": "x2x9z", "Job": "x2x9z"}
        ends |= {"CronJob": "29735615-x2x9z", "Deployment": f"{self.hash}-x2x9z"}
        self.pod_name = f"{self.name}-{ends[kind]}"
        return self

    @property
    def maker(self) -> tuple[str, str]:
        """Kind and name of the object that makes the pods."""
        if self.kind == "Deployment":
            return "ReplicaSet", f"{self.name}-{self.hash}"
        return (
            ("Job", f"{self.name}-29735615") if self.kind == "CronJob" else (self.kind, self.name)
        )

    # what is wrong

    @property
    def main(self) -> dict[str, Any]:
        """The container of the current revision."""
        return self.spec["containers"][0]

    def waits(self, reason: str, message: str = "") -> World:
        self.status.update(ready=False, started=False)
        self.status["state"] = {"waiting": {"reason": reason, "message": message}}
        return self

    def ended(
        self, code: int, reason: str = "Error", message: str = "", restarts: int = 5
    ) -> World:
        end = {"exitCode": code, "reason": reason, "finishedAt": at("10:10")}
        self.status["lastState"] = {"terminated": end | ({"message": message} if message else {})}
        self.status["restartCount"] = restarts
        return self

    def loops(self, code: int, reason: str = "Error", message: str = "") -> World:
        back_off = (
            f"back-off 2m40s restarting failed container={self.container} pod={self.pod_name}"
        )
        self.waits("CrashLoopBackOff", back_off)
        return self.ended(code, reason, message)

    def unready(self) -> World:
        self.status["ready"] = False
        return self

    def event(
        self, reason: str, message: str, *, count: int = 3, kind: str = "Pod", **more: Any
    ) -> World:
        about: dict[str, Any] = {"kind": kind, "name": more.pop("name", self.pod_name)}
        if kind == "Pod" and more.pop("of_container", True):
            about["fieldPath"] = f"spec.containers{{{self.container}}}"
        self.events.append(
            {
                "metadata": {"name": f"event-{len(self.events)}", "namespace": self.namespace},
                "type": more.pop("type", "Warning"),
                "reason": reason,
                "message": message,
                "count": count,
                "involvedObject": about | {"namespace": self.namespace},
                "lastTimestamp": more.pop("at", at("10:11")),
            }
        )
        return self

    def log(self, *lines: str, previous: bool = True) -> World:
        which = "previous" if previous else "current"
        self.logs += f"==> {self.pod_name}/{self.container} ({which}) <==\n"
        self.logs += "".join(f"{line}\n" for line in lines)
        return self

    def memory(self, *points: tuple[str, float], unit: str = "bytes") -> World:
        """Give measurements in Mi, as (clock, Mi)."""
        import datetime as dt

        scale = 1024 * 1024 if unit == "bytes" else 1
        values = [
            [dt.datetime.fromisoformat(at(c).replace("Z", "+00:00")).timestamp(), m * scale]
            for c, m in points
        ]
        labels = {"pod": self.pod_name, "container": self.container}
        self.series.append(
            {
                "name": "memory_working_set",
                "query": "",
                "unit": unit,
                "labels": labels,
                "points": values,
            }
        )
        return self

    def add(self, kind: str, name: str, **fields: Any) -> World:
        meta = {"name": name, "namespace": self.namespace} | fields.pop("metadata", {})
        if kind in CLUSTER_WIDE:
            meta.pop("namespace")
        self.extra.append({"kind": kind, "metadata": meta, **fields})
        return self

    def gone(self, kind: str, name: str, namespace: str = "") -> World:
        """Note that it was looked for and is not there."""
        space = "" if kind in CLUSTER_WIDE else namespace or self.namespace
        self.missing.append({"kind": kind, "namespace": space, "name": name, "missing": True})
        return self

    def counted(self, *kinds: str) -> World:
        """Note how many of these there are, as a source does that has read every list."""
        for value in self.objects():
            space = value["metadata"].get("namespace", self.namespace)
            told = value["kind"] if space == self.namespace else f"{value['kind']} in {space}"
            self.seen[told] = self.seen.get(told, 0) + (value["kind"] in kinds)
        self.seen |= {kind: self.seen.get(kind, 0) for kind in kinds}
        return self

    # the capsule

    def objects(self) -> list[dict[str, Any]]:
        found = [self._workload(), self._pod(), *self.extra]
        if self.kind in ("Deployment", "StatefulSet", "DaemonSet"):
            found.append(self._revision(self.hash, 7, self.spec, "10:02"))
            if self.previous is not None:
                found.append(self._revision(self.old_hash, 6, self.previous, "08:00"))
        if self.kind == "CronJob":
            found += self._runs({o["metadata"]["name"] for o in found})
        return found

    def _runs(self, there: set[str]) -> list[dict[str, Any]]:
        """The newest run of a CronJob, and one before, where a test has not made its own."""
        owner = [{"kind": "CronJob", "name": self.name, "controller": True}]
        specs = {f"{self.name}-29735600": self.previous, self.maker[1]: self.spec}
        return [
            {
                "kind": "Job",
                "metadata": self._meta(name, ownerReferences=owner),
                "spec": {"template": self._template(spec)},
            }
            for name, spec in specs.items()
            if name not in there and spec is not None
        ]

    def _meta(self, name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "namespace": self.namespace, **more}

    def _template(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": {"labels": {"app": self.name}}, "spec": spec}

    def _workload(self) -> dict[str, Any]:
        annotations = {"deployment.kubernetes.io/revision": "7"}
        spec: dict[str, Any] = {"template": self._template(self.spec)}
        if self.kind == "CronJob":
            spec = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": spec}}
        elif self.kind != "Job":
            spec["selector"] = {"matchLabels": {"app": self.name}}
            spec |= {} if self.kind == "DaemonSet" else {"replicas": 1}
        revision = {"annotations": annotations} if self.kind == "Deployment" else {}
        sets = {"StatefulSet": {"updateRevision": f"{self.name}-{self.hash}"}}
        return {
            "apiVersion": "batch/v1" if "Job" in self.kind else "apps/v1",
            "kind": self.kind,
            "metadata": self._meta(self.name, generation=7, **revision, **self.workload_meta),
            "spec": _merged(spec, self.workload_spec),
            "status": sets.get(self.kind, {}) | self.deployment_status,
        }

    def _revision(
        self, hash_: str, revision: int, spec: dict[str, Any], clock: str
    ) -> dict[str, Any]:
        meta = self._meta(
            f"{self.name}-{hash_}",
            annotations={"deployment.kubernetes.io/revision": str(revision)},
            creationTimestamp=at(clock),
            ownerReferences=[{"kind": self.kind, "name": self.name, "controller": True}],
        )
        template = self._template(spec)
        if self.kind == "Deployment":
            return {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": meta,
                "spec": {"template": template},
            }
        meta.pop("annotations")
        return {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": meta,
            "revision": revision,
            "data": {"spec": {"template": {"$patch": "replace", **template}}},
        }

    def pod_labels(self, hash_: str) -> dict[str, str]:
        made = {"Deployment": ("pod-template-hash", hash_)}
        made["StatefulSet"] = ("controller-revision-hash", f"{self.name}-{hash_}")
        made["DaemonSet"] = ("controller-revision-hash", hash_)
        return {"app": self.name} | dict([made[self.kind]] if self.kind in made else [])

    def _pod(self) -> dict[str, Any]:
        kind, name = self.maker
        owner = {"kind": kind, "name": name, "controller": True}
        labels = self.pod_labels(self.hash)
        meta = self._meta(self.pod_name, labels=labels, ownerReferences=[owner], **self.pod_meta)
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta,
            "spec": self._pod_spec(),
            "status": {**self.pod_status, "containerStatuses": [self.status]},
        }

    def _pod_spec(self) -> dict[str, Any]:
        return copy.deepcopy(self.spec)

    def capsule(self) -> Capsule:
        chance = random.Random(self.shuffle)
        files = dict(self.files)
        for value in self.objects():
            name = f"context/objects/{value['kind'].lower()}/{value['metadata']['name']}.yaml"
            value = _shuffled(value, chance) if self.shuffle is not None else value
            files[name] = yaml.safe_dump(value, sort_keys=self.shuffle is None).encode()
        if self.shuffle is not None:
            chance.shuffle(self.events)
        files["context/k8s-events.json"] = json.dumps({"items": self.events}, indent=1).encode()
        files["context/logs.txt"] = self.logs.encode()
        files["context/metrics.json"] = json.dumps({"series": self.series}).encode()
        info = {"involvedResources": self.missing}
        files["context/cluster-info.json"] = json.dumps(info, indent=1).encode()
        files["context/permissions.json"] = json.dumps({"seen": self.seen}).encode()
        files["context/incident.json"] = json.dumps(self._incident()).encode()
        return Capsule(files)

    def _incident(self) -> dict[str, Any]:
        resource = {"kind": self.kind, "name": self.name, "namespace": self.namespace}
        fault = {"name": "KubePodCrashLooping", "resource": resource, "labels": self.fault_labels}
        return {"id": "x", "fault": fault, "opened_at": at("10:15")}


def _merged(value: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return a value with more laid over it, mapping by mapping."""
    both = {k for k in value.keys() & more.keys() if isinstance(value[k], dict)}
    return value | more | {k: _merged(value[k], more[k]) for k in both}


def _shuffled(value: Any, chance: random.Random) -> Any:
    """Return the same object with keys and list items in another order, but arguments in theirs."""
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {k: _shuffled(value[k], chance) for k in keys}
    if isinstance(value, list) and all(isinstance(v, dict) for v in value):
        mixed = [_shuffled(v, chance) for v in value]
        chance.shuffle(mixed)
        return mixed
    return value
