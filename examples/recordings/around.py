"""What stands around a workload: its Service with the endpoints, and the nodes of the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recordings.objects import LATEST, NAMESPACE, NODES, Object, ending, number, owned, thing
from recordings.workloads import App


def service(app: App, *, selector: Object | None = None, port: Any = "http") -> list[Object]:
    """Return the Service of a workload and its endpoints: the pods that it selects."""
    meta = {"labels": app.selector | {"app.kubernetes.io/part-of": NAMESPACE}}
    made = thing("Service", app.name, metadata=meta)
    made["spec"] = {
        "clusterIP": f"172.20.14.{number(app.name) % 250}",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": port}],
        "selector": selector or app.selector,
        "type": "ClusterIP",
    }
    made["status"] = {"loadBalancer": {}}
    reached = [] if selector or port != "http" else _endpoints(app)
    labels = {"kubernetes.io/service-name": app.name}
    labels |= {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    piece = thing(
        "EndpointSlice",
        f"{app.name}-{ending(5, app.name, 'slice')}",
        api="discovery.k8s.io/v1",
        metadata={"labels": app.selector | labels, "ownerReferences": owned(made)},
    )
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}] if reached else None
    return [made, piece | {"addressType": "IPv4", "endpoints": reached, "ports": ports}]


def _endpoints(app: App) -> list[Object]:
    found = []
    for value in app.objects():
        address = value.get("status", {}).get("podIP") if value["kind"] == "Pod" else None
        if address:
            ready = any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in value["status"]["conditions"]
            )
            target = {"kind": "Pod", "name": value["metadata"]["name"], "namespace": NAMESPACE}
            states = {"ready": ready, "serving": ready, "terminating": False}
            found.append(
                {"addresses": [address], "conditions": states, "targetRef": target}
                | {"nodeName": value["spec"]["nodeName"]}
            )
    return found


def node(
    name: str,
    *,
    labels: Object | None = None,
    taints: Sequence[Object] = (),
    lost: bool = False,
    cpu: str = "1930m",
    memory: str = "7097716Ki",
) -> Object:
    zone = f"eu-west-1{'ab'[name == NODES[1]]}"
    usual = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "m6i.large",
        "topology.kubernetes.io/zone": zone,
    }
    made = thing("Node", name, metadata={"labels": usual | (labels or {})})
    made["spec"] = {"providerID": f"aws:///{zone}/i-{number(name) % 16**17:017x}"}
    if lost:
        taints = [
            {"key": "node.kubernetes.io/unreachable", "effect": e}
            for e in ("NoExecute", "NoSchedule")
        ]
    if taints:
        made["spec"]["taints"] = list(taints)
    gives = {"cpu": cpu, "memory": memory, "pods": "29", "ephemeral-storage": "76224326324"}
    info = {"architecture": "amd64", "kubeletVersion": "v1.33.1", "operatingSystem": "linux"}
    info |= {"containerRuntimeVersion": "containerd://1.7.27", "osImage": "Amazon Linux 2023"}
    made["status"] = {"allocatable": gives, "capacity": gives, "nodeInfo": info}
    made["status"]["conditions"] = [_node_condition(lost, *c) for c in _CONDITIONS]
    return made


_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "is posting ready status"),
)


def _node_condition(lost: bool, kind: str, status: str, reason: str, words: str) -> Object:
    said = {"type": kind, "status": status, "reason": reason, "message": f"kubelet {words}"}
    said |= {"lastHeartbeatTime": LATEST, "lastTransitionTime": "2026-10-30T04:12:55Z"}
    if lost:
        said |= {"status": "Unknown", "reason": "NodeStatusUnknown"}
        said |= {"message": "Kubelet stopped posting node status."}
        said |= {"lastHeartbeatTime": "2026-11-20T09:36:58Z"}
        said |= {"lastTransitionTime": "2026-11-20T09:38:07Z"}
    return said
