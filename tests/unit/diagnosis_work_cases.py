"""Guilty worlds of placing pods, of sets, jobs and what scales or evicts: see diagnosis_cases."""

from __future__ import annotations

from typing import Any

from diagnosis_cases import case, old
from diagnosis_more_cases import _claims, _evicted, _node, _pending, _scaler
from diagnosis_world import World, at

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NO_MATCH = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."


# placing


def _node_affinity(w: World, *expressions: dict[str, Any]) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"nodeAffinity": {REQUIRED: terms}}


def _zones(w: World) -> None:
    _node(w, "node-1", zone="eu-1a", disktype="ssd")
    _node(w, "node-2", zone="eu-1b")


TERM = f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions"


@case("scheduling.node-affinity", lambda w: {f"{TERM}[key=zone].values[0]": "eu-1a"})
def node_affinity_with_a_typo(w: World) -> None:
    rule = {"key": "zone", "operator": "In", "values": ["eu-1a1"]}
    w.spec["affinity"] = _node_affinity(w, rule)
    _zones(w)
    _pending(w, NO_MATCH)


@case("scheduling.node-affinity", lambda w: {f"{TERM}[key=disktyp].key": "disktype"})
def node_affinity_to_a_label_with_a_typo(w: World) -> None:
    w.spec["affinity"] = _node_affinity(w, {"key": "disktyp", "operator": "Exists"})
    _zones(w)
    _pending(w, NO_MATCH)


@case("scheduling.node-affinity", lambda w: {f"{TERM}[key=zone].values[0]": "eu-1b"})
def node_affinity_that_the_rollout_changed(w: World) -> None:
    assert w.previous is not None
    rule = {"key": "zone", "operator": "In"}
    w.spec["affinity"] = _node_affinity(w, rule | {"values": ["us-7"]})
    w.previous["affinity"] = _node_affinity(w, rule | {"values": ["eu-1b"]})
    _zones(w)
    _pending(w, NO_MATCH)


@case("scheduling.node-affinity")
def node_affinity_that_no_node_meets_together(w: World) -> None:
    here = {"key": "zone", "operator": "In", "values": ["eu-1b"]}
    w.spec["affinity"] = _node_affinity(w, here, {"key": "disktype", "operator": "Exists"})
    _zones(w)
    _pending(w, NO_MATCH)


def _apart(w: World) -> None:
    labels = {"matchLabels": {"app": w.name}}
    rule = {"labelSelector": labels, "topologyKey": "kubernetes.io/hostname"}
    w.spec["affinity"] = {"podAntiAffinity": {REQUIRED: [rule]}}
    for name in ("node-1", "node-2"):
        _node(w, name, **{"kubernetes.io/hostname": name})


CROWDED = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."


@case("scheduling.anti-affinity")
def anti_affinity_with_more_pods_than_nodes(w: World) -> None:
    w.workload_spec = {"replicas": 3}
    _apart(w)
    _pending(w, CROWDED)


@case("scheduling.anti-affinity")
def anti_affinity_with_a_rollout_that_adds_first(w: World) -> None:
    rolling = {"maxUnavailable": 0, "maxSurge": 1}
    w.workload_spec = {"replicas": 2, "strategy": {"rollingUpdate": rolling}}
    _apart(w)
    _earlier_pod(w, f"{w.name}-{w.old_hash}-aaaaa")
    _pending(w, CROWDED)


@case("scheduling.anti-affinity", proved=False)
def anti_affinity_with_enough_nodes(w: World) -> None:
    w.workload_spec = {"replicas": 2}
    _apart(w)
    _pending(w, CROWDED)


def _earlier_pod(w: World, name: str, **status: Any) -> None:
    kind, maker = w.maker
    maker = maker.replace(w.hash, w.old_hash)
    owner = {"kind": kind, "name": maker, "controller": True}
    meta = {"labels": w.pod_labels(w.old_hash), "ownerReferences": [owner]}
    well = {"name": w.container, "ready": True, "state": {"running": {}}}
    w.add("Pod", name, metadata=meta, status=status or {"containerStatuses": [well]})


@case("scheduling.host-port")
def host_port_with_more_pods_than_nodes(w: World) -> None:
    w.workload_spec = {"replicas": 2}
    w.main["ports"] = old(w)["ports"] = [
        {"name": "http", "containerPort": 8080, "hostPort": 8080}
    ]
    _node(w, "node-1")
    said = "1 node(s) didn't have free ports for the requested pod ports."
    _pending(w, f"0/1 nodes are available: {said}")


BESIDE = f"affinity.podAffinity.{REQUIRED}[0].labelSelector.matchLabels.app"


@case("scheduling.pod-affinity", lambda w: {BESIDE: "cache-main"})
def pod_affinity_with_a_typo(w: World) -> None:
    labels = {"matchLabels": {"app": "cache-mian"}}
    rule = {"labelSelector": labels, "topologyKey": "zone"}
    w.spec["affinity"] = {"podAffinity": {REQUIRED: [rule]}}
    _zones(w)
    w.add("Pod", "cache-main-0", metadata={"labels": {"app": "cache-main"}})
    _pending(w, "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.")


@case("scheduling.pod-affinity", proved=False)
def pod_affinity_to_pods_that_are_not_there(w: World) -> None:
    labels = {"matchLabels": {"app": "search-index"}}
    rule = {"labelSelector": labels, "topologyKey": "zone"}
    w.spec["affinity"] = {"podAffinity": {REQUIRED: [rule]}}
    _zones(w)
    _pending(w, "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.")


def _spread(w: World, key: str, **more: Any) -> None:
    labels = {"matchLabels": {"app": w.name}}
    rule = {"topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}
    w.spec["topologySpreadConstraints"] = [rule | {"labelSelector": labels} | more]
    _zones(w)


UNEVEN = "0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints"
SPREAD = "topologySpreadConstraints[topologyKey=zones].topologyKey"


@case("scheduling.topology-spread", lambda w: {SPREAD: "zone"})
def spreading_over_a_label_with_a_typo(w: World) -> None:
    _spread(w, "zones")
    _pending(w, f"{UNEVEN} (missing required label).")


@case("scheduling.topology-spread")
def spreading_over_more_zones_than_there_are(w: World) -> None:
    _spread(w, "zone", minDomains=3)
    _pending(w, f"{UNEVEN}.")


@case("scheduling.topology-spread", proved=False)
def spreading_that_would_be_uneven(w: World) -> None:
    _spread(w, "zone")
    _pending(w, f"{UNEVEN}.")


@case("scheduling.too-many-pods", proved=False)
def nodes_that_hold_no_more_pods(w: World) -> None:
    w.add("Node", "node-1", status={"allocatable": {"cpu": "4", "pods": "110"}})
    _pending(w, "0/1 nodes are available: 1 Too many pods.")


def _gate(w: World) -> None:
    w.spec["schedulingGates"] = [{"name": "example.com/quota"}]
    said = "Scheduling is blocked due to non-empty scheduling gates"
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    w.pod_status = {"phase": "Pending", "conditions": [gated | {"message": said}]}
    w.status = {"name": w.container, "ready": False, "state": {}}


@case("scheduling.gated")
def gate_that_the_rollout_brought(w: World) -> None:
    _gate(w)


@case("scheduling.gated", proved=False)
def gate_that_always_was_there(w: World) -> None:
    _gate(w)
    assert w.previous is not None
    w.previous["schedulingGates"] = w.spec["schedulingGates"]


def _zonal_volume(w: World, zone: str) -> None:
    _claims(w, "data")
    w.add("PersistentVolumeClaim", "data", spec={"volumeName": "pv-1"}, status={"phase": "Bound"})
    rule = {"key": "zone", "operator": "In", "values": [zone]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    w.add("PersistentVolume", "pv-1", spec={"nodeAffinity": {"required": terms}})
    _zones(w)


ELSEWHERE = "1 node(s) had volume node affinity conflict"


@case("volumes.other-zone")
def volume_of_a_zone_without_nodes(w: World) -> None:
    _zonal_volume(w, "eu-1c")
    _pending(w, "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity.")


@case("volumes.other-zone")
def volume_in_the_zone_that_the_rollout_left(w: World) -> None:
    _zonal_volume(w, "eu-1a")
    assert w.previous is not None
    w.spec["nodeSelector"], w.previous["nodeSelector"] = {"zone": "eu-1b"}, {"zone": "eu-1a"}
    no_match = "1 node(s) didn't match Pod's node affinity/selector"
    _pending(w, f"0/2 nodes are available: {ELSEWHERE}, {no_match}.")
