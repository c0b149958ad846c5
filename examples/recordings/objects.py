"""Objects as an API server returns them: defaults filled in, owners, statuses of controllers.

Pure; names, uids and addresses are computed from what they belong to. A `Sight` is how one
container of a pod looks to its kubelet.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, replace
from typing import Any

Object = dict[str, Any]

NAMESPACE = "shop"
BORN = "2026-08-03T11:20:41Z"
BEFORE = "2026-11-17T13:45:02Z"  # the revision before
ROLLED = "2026-11-20T09:31:07Z"  # the revision that is out now
LATEST = "2026-11-20T09:46:40Z"  # the last thing that was seen
NODES = ("ip-10-4-17-23.eu-west-1.compute.internal", "ip-10-4-31-9.eu-west-1.compute.internal")
LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of names that Kubernetes makes up

CLUSTER_WIDE = {
    "APIService",
    "GatewayClass",
    "IngressClass",
    "Namespace",
    "Node",
    "PersistentVolume",
    "StorageClass",
}

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def number(*parts: str) -> int:
    return int(hashlib.sha256("/".join(parts).encode()).hexdigest(), 16)


def ending(length: int, *parts: str) -> str:
    """Return letters as Kubernetes ends generated names with."""
    left, made = number(*parts), ""
    for _ in range(length):
        left, at = divmod(left, len(LETTERS))
        made += LETTERS[at]
    return made


def uid(*parts: str) -> str:
    digits = hashlib.sha256(("uid/" + "/".join(parts)).encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def thing(kind: str, name: str, *, api: str = "v1", **fields: Any) -> Object:
    """Return an object with the metadata that every object has. `metadata` adds to it."""
    extra = fields.pop("metadata", {})
    scope = {} if kind in CLUSTER_WIDE else {"namespace": NAMESPACE}
    meta = {
        "creationTimestamp": BORN,
        "name": name,
        "resourceVersion": str(80_000_000 + number(kind, name) % 1_000_000),
        "uid": uid(kind, name),
    }
    return {"apiVersion": api, "kind": kind, "metadata": meta | scope | extra, **fields}


def owned(by: Object) -> list[Object]:
    return [
        {
            "apiVersion": by["apiVersion"],
            "blockOwnerDeletion": True,
            "controller": True,
            "kind": by["kind"],
            "name": by["metadata"]["name"],
            "uid": by["metadata"]["uid"],
        }
    ]


# pod templates


def _probe(probe: Object) -> Object:
    full = {"failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1}
    get = {"httpGet": {"scheme": "HTTP"} | probe["httpGet"]} if "httpGet" in probe else {}
    return full | probe | get


def _container(written: Object) -> Object:
    full = {
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    } | written
    full |= {name: _probe(written[name]) for name in _PROBES if name in written}
    if "ports" in full:
        full["ports"] = [{"protocol": "TCP"} | port for port in full["ports"]]
    return full


def defaulted(written: Object) -> Object:
    """Fill in what the API server fills into a pod's specification."""
    full = {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    } | copy.deepcopy(written)
    full["containers"] = [_container(c) for c in full["containers"]]
    if "serviceAccountName" in full:
        full["serviceAccount"] = full["serviceAccountName"]
    return full


# pods


@dataclass(frozen=True)
class Sight:
    """How a pod looks: its container's status, and what differs from a pod that was placed."""

    status: Object
    phase: str = "Running"
    node: str = NODES[0]  # "": no node took it
    unplaced: str = ""  # the scheduler's reason
    evicted: str = ""  # the kubelet's reason
    lost: bool = False  # its node does not report any more
    created: str = ""  # if not with its revision

    @property
    def ready(self) -> bool:
        return bool(self.status.get("ready")) and not self.lost

    @property
    def initializing(self) -> bool:
        waiting = (self.status.get("state") or {}).get("waiting") or {}
        return waiting.get("reason") == "PodInitializing"


def well(since: str = ROLLED, restarts: int = 0, last: Object | None = None, **more: Any) -> Sight:
    """Running and ready; `last` is how the container before it ended."""
    state = {"running": {"startedAt": since}}
    status = {"state": state, "lastState": last or {}, "ready": True, "restartCount": restarts}
    return Sight(status | {"started": True}, **more)


def unready(since: str = ROLLED, restarts: int = 0, last: Object | None = None) -> Sight:
    sight = well(since, restarts, last)
    return replace(sight, status=sight.status | {"ready": False})


def waits(
    reason: str, message: str = "", *, restarts: int = 0, last: Object | None = None
) -> Sight:
    """Waiting for something before it can start."""
    waiting = {"reason": reason} | ({"message": message} if message else {})
    status = {"state": {"waiting": waiting}, "lastState": last or {}, "ready": False}
    phase = "Running" if restarts else "Pending"
    return Sight(status | {"restartCount": restarts, "started": False}, phase)


def loops(pod: str, last: Object, restarts: int = 7) -> Sight:
    said = f"back-off 5m0s restarting failed container=app pod={pod}_{NAMESPACE}({uid('Pod', pod)})"
    return waits("CrashLoopBackOff", said, restarts=restarts, last=last)


def unplaced(message: str) -> Sight:
    return Sight({}, "Pending", "", unplaced=message)


def evicted(message: str, created: str = "") -> Sight:
    end = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None}
    end |= {
        "finishedAt": None,
        "message": "The container could not be located when the pod was terminated",
    }
    status = {"state": {"terminated": end}, "lastState": {}, "ready": False, "restartCount": 0}
    return Sight(status, "Failed", evicted=message, created=created)


def died(code: int, at: str, reason: str = "Error", **more: Any) -> Sight:
    """A pod that is over: of a Job, which does not start a container again."""
    status = {"state": ended(code, reason, at), "lastState": {}, "ready": False, "restartCount": 0}
    return Sight(status | {"started": False}, "Failed" if code else "Succeeded", **more)


def ended(code: int, reason: str, at: str, *, began: str = ROLLED, message: str = "") -> Object:
    """Return the state of a container that is over."""
    end = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": at}
    return {"terminated": end | ({"message": message} if message else {})}


def pod(
    name: str,
    owner: Object,
    template: Object,
    sight: Sight,
    created: str,
    labels: Object | None = None,
) -> Object:
    """Return a pod as the kubelet reports it; `labels` are those that its controller adds."""
    since = sight.created or created
    labels = template["metadata"]["labels"] | (labels or {})
    meta = {"creationTimestamp": since, "labels": labels, "ownerReferences": owned(owner)}
    if sight.lost:
        meta |= {"deletionGracePeriodSeconds": 30, "deletionTimestamp": "2026-11-20T09:43:12Z"}
    made = thing("Pod", name, metadata=meta) | {"spec": _placed(name, template, sight)}
    return made | {"status": _status(name, made, sight)}


def _placed(name: str, template: Object, sight: Sight) -> Object:
    spec = copy.deepcopy(template["spec"])
    token = f"kube-api-access-{ending(5, name, 'token')}"
    mount = {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": token}
    for container in spec["containers"]:
        container.setdefault("volumeMounts", []).append(mount | {"readOnly": True})
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
    ]
    spec.setdefault("volumes", []).append(
        {"name": token, "projected": {"defaultMode": 420, "sources": sources}}
    )
    gone = [
        {"effect": "NoExecute", "key": f"node.kubernetes.io/{what}", "operator": "Exists"}
        | {"tolerationSeconds": 300}
        for what in ("not-ready", "unreachable")
    ]
    spec["tolerations"] = [*spec.get("tolerations", ()), *gone]
    placed = {"nodeName": sight.node} if sight.node else {}
    return spec | placed | {"enableServiceLinks": True, "priority": 0}


def _status(name: str, made: Object, sight: Sight) -> Object:
    created = made["metadata"]["creationTimestamp"]
    if not sight.node:
        refused = {"reason": "Unschedulable", "message": sight.unplaced, "status": "False"}
        conditions = [_condition("PodScheduled", created) | refused]
        return {"conditions": conditions, "phase": "Pending", "qosClass": "Burstable"}
    status = {"phase": sight.phase, "qosClass": "Burstable", "startTime": created}
    status["conditions"] = _conditions(created, sight)
    if sight.evicted:
        status |= {"reason": "Evicted", "message": sight.evicted}
    else:
        address = f"10.4.{16 + number(name) % 16}.{number(name, 'ip') % 250}"
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    address = sight.node.removeprefix("ip-").split(".")[0].replace("-", ".")
    statuses = [_container_status(name, c, sight) for c in made["spec"]["containers"]]
    before = [_container_status(name, c, _first(created, sight))
              for c in made["spec"].get("initContainers", ())]  # fmt: skip
    status |= {"initContainerStatuses": before} if before else {}
    return status | {"hostIP": address, "containerStatuses": statuses}


def _first(created: str, sight: Sight) -> Sight:
    """How an init container looks: over, or under way while the others wait for it."""
    state = ended(0, "Completed", created, began=created)
    if sight.initializing:
        state = {"running": {"startedAt": created}}
    ready = {"ready": not sight.initializing, "started": sight.initializing}
    return Sight({"state": state, "lastState": {}, "restartCount": 0} | ready)


def _conditions(created: str, sight: Sight) -> list[Object]:
    wrong = {
        "status": "False",
        "reason": "ContainersNotReady",
        "message": "containers with unready status: [app]",
    }
    ready = _condition("Ready", created) | ({} if sight.ready else wrong)
    if sight.lost:
        ready |= {"status": "False", "lastTransitionTime": "2026-11-20T09:38:07Z"}
        ready = {k: v for k, v in ready.items() if k not in ("reason", "message")}
    containers = _condition("ContainersReady", created) | (
        {} if sight.status.get("ready") else wrong
    )
    plain = [_condition(t, created) for t in ("PodReadyToStartContainers", "Initialized")]
    if sight.initializing:
        plain[1] |= {"status": "False", "reason": "ContainersNotInitialized"}
    return [*plain, ready, containers, _condition("PodScheduled", created)]


def _condition(kind: str, at: str) -> Object:
    return {"lastProbeTime": None, "lastTransitionTime": at, "status": "True", "type": kind}


def _container_status(name: str, container: Object, sight: Sight) -> Object:
    image = container["image"]
    started = "running" in sight.status["state"] or sight.status["lastState"]
    known = {"containerID": f"containerd://{number(name, 'container'):064x}"} if started else {}
    digest = f"{image.rsplit(':', 1)[0]}@sha256:{number(image):064x}" if started else ""
    named = {"name": container["name"], "image": image, "imageID": digest}
    return {**named, **known, **sight.status}
