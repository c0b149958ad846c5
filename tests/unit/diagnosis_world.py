"""A small cluster as a capsule, for tests of the analyzers: one Deployment, two revisions, a pod.

Everything is named by the arguments, so that a test can rename all of it. Objects are written as
the context source writes them: YAML files, `k8s-events.json`, `logs.txt`, `metrics.json`.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import yaml

from faultline.capsule import Capsule

DAY = "2026-11-21"
CLUSTER_WIDE = (
    *("Node", "StorageClass", "PersistentVolume", "Namespace"),
    *("IngressClass", "GatewayClass", "APIService"),
)


def at(clock: str) -> str:
    return f"{DAY}T{clock}:00Z"


class World:
    def __init__(
        self, name: str = "checkout", namespace: str = "shop", container: str = "app"
    ) -> None:
        self.name, self.namespace, self.container = name, namespace, container
        self.hash, self.old_hash = "7d9f6c5b4", "5c8b7d6f9"
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
        self.fault_labels: dict[str, str] = {}
        self.shuffle: int | None = None
        self.missing: list[dict[str, Any]] = []
        self.seen: dict[str, int] = {}

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
        current = self._replicas(self.hash, 7, self.spec, "10:02")
        found = [self._deployment(), current, self._pod(), *self.extra]
        if self.previous is not None:
            found.append(self._replicas(self.old_hash, 6, self.previous, "08:00"))
        return found

    def _meta(self, name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "namespace": self.namespace, **more}

    def _deployment(self) -> dict[str, Any]:
        annotations = {"deployment.kubernetes.io/revision": "7"}
        template = {"metadata": {"labels": {"app": self.name}}, "spec": self.spec}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self._meta(self.name, annotations=annotations, generation=7),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": self.name}},
                "template": template,
            },
            "status": self.deployment_status,
        }

    def _replicas(
        self, hash_: str, revision: int, spec: dict[str, Any], clock: str
    ) -> dict[str, Any]:
        meta = self._meta(
            f"{self.name}-{hash_}",
            annotations={"deployment.kubernetes.io/revision": str(revision)},
            creationTimestamp=at(clock),
            ownerReferences=[{"kind": "Deployment", "name": self.name, "controller": True}],
        )
        template = {"metadata": {"labels": {"app": self.name}}, "spec": spec}
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": meta,
            "spec": {"template": template},
        }

    def _pod(self) -> dict[str, Any]:
        owner = {"kind": "ReplicaSet", "name": f"{self.name}-{self.hash}", "controller": True}
        labels = {"app": self.name, "pod-template-hash": self.hash}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self._meta(self.pod_name, labels=labels, ownerReferences=[owner]),
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
        resource = {"kind": "Deployment", "name": self.name, "namespace": self.namespace}
        fault = {"name": "KubePodCrashLooping", "resource": resource, "labels": self.fault_labels}
        return {"id": "x", "fault": fault, "opened_at": at("10:15")}


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
