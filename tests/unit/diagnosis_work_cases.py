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


@case("scheduling.anti-affinity")
def anti_affinity_with_a_node_that_is_closed(w: World) -> None:
    w.workload_spec = {"replicas": 3}
    _apart(w)
    _node(w, "control", **{"kubernetes.io/hostname": "control"})
    taint = "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }"
    crowded = "2 node(s) didn't match pod anti-affinity rules."
    _pending(w, f"0/3 nodes are available: {taint}, {crowded}")


@case("scheduling.anti-affinity", proved=False)
def anti_affinity_with_enough_nodes(w: World) -> None:
    w.workload_spec = {"replicas": 2}
    _apart(w)
    _pending(w, CROWDED)


def _earlier_pod(w: World, name: str, priority: int = 0, **status: Any) -> None:
    kind, maker = w.maker
    maker = maker.replace(w.hash, w.old_hash).replace("29735615", "29735600")
    owner = {"kind": kind, "name": maker, "controller": True}
    meta = {"labels": w.pod_labels(w.old_hash), "ownerReferences": [owner]}
    well = {"name": w.container, "ready": True, "state": {"running": {}}}
    status = status or {"containerStatuses": [well]}
    w.add("Pod", name, metadata=meta, spec={"priority": priority}, status=status)


@case("scheduling.host-port")
def host_port_with_more_pods_than_nodes(w: World) -> None:
    w.workload_spec = {"replicas": 2}
    w.main["ports"] = old(w)["ports"] = [{"name": "http", "containerPort": 8080, "hostPort": 8080}]
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
    w.workload_spec = {"replicas": 3}
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


# sets


@case("volumes.class-missing", kind="StatefulSet")
def storage_class_of_a_claim_template(w: World) -> None:
    template = {"metadata": {"name": "data"}, "spec": {"storageClassName": "fast-sdd"}}
    w.workload_spec = {"volumeClaimTemplates": [template]}
    w.spec["volumes"] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{w.name}-0"}}
    ]
    w.add("StorageClass", "fast-ssd")
    spec, name = {"storageClassName": "fast-sdd"}, f"data-{w.name}-0"
    w.add("PersistentVolumeClaim", name, spec=spec, status={"phase": "Pending"})
    _pending(w, "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
    said = 'storageclass.storage.k8s.io "fast-sdd" not found'
    w.event("ProvisioningFailed", said, kind="PersistentVolumeClaim", name=name)


def _headless(w: World) -> None:
    w.workload_spec = {"serviceName": f"{w.name}-headles"}
    w.gone("Service", f"{w.name}-headles")
    w.add("Service", f"{w.name}-headless", spec={"clusterIP": "None"})


@case("statefulsets.service-missing", kind="StatefulSet")
def headless_service_with_a_typo(w: World) -> None:
    _headless(w)
    host = f"{w.name}-0.{w.name}-headles.{w.namespace}.svc.cluster.local"
    w.loops(1).log(f"fatal: lookup {host} on 10.96.0.10:53: no such host")


@case("statefulsets.service-missing", kind="StatefulSet", proved=False)
def headless_service_that_nobody_asks_for(w: World) -> None:
    _headless(w)


@case("statefulsets.waits-for-old-pod", kind="StatefulSet")
def update_that_waits_for_a_broken_pod(w: World) -> None:
    w.spec["containers"][0]["image"] += "-put-right"
    loop = {"waiting": {"reason": "CrashLoopBackOff"}}
    broken = {"name": w.container, "ready": False, "state": loop}
    _earlier_pod(w, f"{w.name}-1", containerStatuses=[broken])


@case("statefulsets.pods-left-behind", kind="StatefulSet", proved=False)
def partition_that_leaves_pods_behind(w: World) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    w.workload_spec = {"replicas": 2, "updateStrategy": strategy}
    _earlier_pod(w, f"{w.name}-1")


@case("statefulsets.pods-left-behind", kind="DaemonSet", proved=False)
def pods_that_somebody_has_to_delete(w: World) -> None:
    w.workload_spec = {"updateStrategy": {"type": "OnDelete"}}
    _earlier_pod(w, f"{w.name}-aaaaa")


# jobs


def _about(w: World, reason: str, message: str) -> None:
    w.event(reason, message, kind=w.kind, name=w.name)


@case("cronjobs.schedule", kind="CronJob")
def schedule_with_an_hour_that_is_none(w: World) -> None:
    w.workload_spec = {"schedule": "0 24 * * *"}
    said = 'unparseable schedule: "0 24 * * *" : end of range (24) above maximum (23): 24'
    _about(w, "UnparseableSchedule", said)


@case("cronjobs.schedule", kind="CronJob", proved=False)
def schedule_of_four_fields(w: World) -> None:
    w.workload_spec = {"schedule": "0 4 * *"}


@case("cronjobs.time-zone", kind="CronJob")
def time_zone_with_a_typo(w: World) -> None:
    w.workload_spec = {"timeZone": "Europe/Zurch"}
    _about(w, "UnknownTimeZone", "invalid timeZone: Europe/Zurch: unknown time zone Europe/Zurch")


@case("cronjobs.suspended", kind="CronJob", proved=False)
def cron_job_that_is_suspended(w: World) -> None:
    w.workload_spec = {"suspend": True}


@case("cronjobs.starting-deadline", kind="CronJob")
def runs_that_may_hardly_be_late(w: World) -> None:
    w.workload_spec = {"startingDeadlineSeconds": 5}
    _about(w, "MissSchedule", f"Missed scheduled time to start a job: {w.name}")


@case("cronjobs.starting-deadline", kind="CronJob", proved=False)
def runs_that_are_late_for_another_reason(w: World) -> None:
    w.workload_spec = {"startingDeadlineSeconds": 600}
    _about(w, "MissSchedule", f"Missed scheduled time to start a job: {w.name}")


def _run(w: World, number: int, start: str, **fields: Any) -> None:
    """A Job of the CronJob."""
    owner = {"kind": w.kind, "name": w.name, "controller": True}
    status = {"startTime": at(start)} | fields.pop("status", {})
    meta = {"ownerReferences": [owner]}
    w.add("Job", f"{w.name}-{number}", metadata=meta, status=status, spec=fields)


@case("cronjobs.still-running", kind="CronJob", proved=False)
def run_that_does_not_end(w: World) -> None:
    w.workload_spec = {"concurrencyPolicy": "Forbid"}
    w.deployment_status = {"active": [{"kind": "Job", "name": f"{w.name}-29735615"}]}
    _run(w, 29735615, "08:00")
    said = "Not starting job because prior execution is running and concurrency policy is Forbid"
    _about(w, "JobAlreadyActive", said)


def _over(reason: str) -> dict[str, Any]:
    failed = {"type": "Failed", "status": "True", "reason": reason, "message": "Job has failed"}
    return {"conditions": [failed], "failed": 7}


@case("jobs.failed", kind="Job", proved=False)
def job_whose_pods_are_gone(w: World) -> None:
    w.workload_spec = {"backoffLimit": 6}
    w.deployment_status = _over("BackoffLimitExceeded")


def _deadlines(w: World, before: int) -> None:
    w.workload_spec = {"jobTemplate": {"spec": {"activeDeadlineSeconds": 60}}}
    done = {"conditions": [{"type": "Complete", "status": "True"}], "completionTime": at("09:04")}
    _run(w, 29735600, "09:00", activeDeadlineSeconds=before, status=done)
    _run(w, 29735615, "10:00", activeDeadlineSeconds=60, status=_over("DeadlineExceeded"))


DEADLINE = "CronJob spec.jobTemplate.spec.activeDeadlineSeconds"


@case("jobs.deadline", lambda w: {DEADLINE: 600}, kind="CronJob")
def deadline_that_was_shortened(w: World) -> None:
    _deadlines(w, 600)


@case("jobs.deadline", kind="Job", proved=False)
def deadline_that_no_run_ever_met(w: World) -> None:
    w.workload_spec = {"activeDeadlineSeconds": 60}
    w.deployment_status = _over("DeadlineExceeded")


@case("jobs.suspended", kind="Job", proved=False)
def job_that_is_suspended(w: World) -> None:
    w.workload_spec = {"suspend": True}
    w.deployment_status = {"conditions": [{"type": "Suspended", "status": "True"}]}


# what scales, and what may leave


TARGET = "HorizontalPodAutoscaler spec.scaleTargetRef.name"


@case("autoscaling.target-missing", lambda w: {TARGET: w.name})
def autoscaler_of_a_name_with_a_typo(w: World) -> None:
    said = f'deployments/scale.apps "{w.name}s" not found'
    lost = {"type": "AbleToScale", "status": "False", "reason": "FailedGetScale", "message": said}
    _scaler(w, lost)
    w.extra[-1]["spec"]["scaleTargetRef"]["name"] = w.name + "s"


NO_API = (
    "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch "
    "metrics from resource metrics API: the server could not find the requested resource "
    "(get pods.metrics.k8s.io)"
)


@case("autoscaling.no-metrics")
def autoscaler_without_a_metrics_server(w: World) -> None:
    reason = {"reason": "FailedGetResourceMetric", "message": NO_API}
    _scaler(w, {"type": "ScalingActive", "status": "False"} | reason)


@case("autoscaling.two-masters", proved=False)
def autoscalers_of_both_directions(w: World) -> None:
    _scaler(w)
    w.extra[-1]["spec"]["metrics"] = [{"type": "Resource", "resource": {"name": "cpu"}}]
    target = {"kind": w.kind, "name": w.name}
    w.add("VerticalPodAutoscaler", w.name, spec={"targetRef": target})


@case("autoscaling.at-maximum", proved=False)
def autoscaler_that_would_need_more(w: World) -> None:
    _scaler(w, {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"})
    aim = {"type": "Utilization", "averageUtilization": 70}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": aim}}
    now = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 140}}}
    w.extra[-1]["spec"]["metrics"] = [metric]
    w.extra[-1]["status"]["currentMetrics"] = [now]


def _budget(w: World, pods: int, **rule: Any) -> None:
    status = {"disruptionsAllowed": 0, "expectedPods": pods, "currentHealthy": pods}
    selector = {"selector": {"matchLabels": {"app": w.name}}}
    w.add("PodDisruptionBudget", w.name, spec=selector | rule, status=status)


def _drained(w: World) -> None:
    w.spec["nodeName"] = "node-1"
    assert w.previous is not None
    w.previous["nodeName"] = "node-1"
    w.add("Node", "node-1", spec={"unschedulable": True})


@case("budgets.deadlock", lambda w: {"PodDisruptionBudget spec.minAvailable": 1})
def budget_that_keeps_every_pod(w: World) -> None:
    _drained(w)
    _budget(w, 2, minAvailable=2)


@case("budgets.deadlock", lambda w: {"PodDisruptionBudget spec.maxUnavailable": 1})
def budget_that_lets_none_be_missing(w: World) -> None:
    _drained(w)
    _budget(w, 3, maxUnavailable=0)


@case("budgets.deadlock")
def budget_of_a_single_pod(w: World) -> None:
    _drained(w)
    _budget(w, 1, minAvailable="50%")


@case("budgets.allows-nothing", proved=False)
def budget_that_allows_nothing_now(w: World) -> None:
    _budget(w, 2, minAvailable=2)


# evictions


@case("eviction.empty-dir", lambda w: {"volumes[name=cache].emptyDir.sizeLimit": "2Gi"})
def volume_that_the_rollout_made_smaller(w: World) -> None:
    assert w.previous is not None
    w.spec["volumes"] = [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}]
    w.previous["volumes"] = [{"name": "cache", "emptyDir": {"sizeLimit": "2Gi"}}]
    _evicted(w, 'Usage of EmptyDir volume "cache" exceeds the limit "1Gi". ')


@case("eviction.pod-disk")
def pod_that_used_more_than_all_its_limits(w: World) -> None:
    for spec in (w.main, old(w)):
        spec["resources"]["limits"]["ephemeral-storage"] = "1Gi"
    _evicted(w, "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ")


@case(
    "eviction.over-request",
    lambda w: {f"containers[name={w.container}].resources.requests.ephemeral-storage": "6Gi"},
    proved=False,
)
def pod_that_was_ranked_first(w: World) -> None:
    w.main["resources"]["requests"]["ephemeral-storage"] = "1Gi"
    old(w)["resources"]["requests"]["ephemeral-storage"] = "6Gi"
    low = (
        "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 9Mi."
    )
    used = f"Container {w.container} was using 5Gi, request is 1Gi"
    _evicted(w, f"{low} {used}, has larger consumption of ephemeral-storage. ")


PREEMPTED = "default-scheduler: preempting to accommodate a higher priority pod"


def _preempted(w: World) -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    w.pod_status = {"phase": "Failed", "conditions": [target | {"message": PREEMPTED}]}
    w.status = {"name": w.container, "ready": False, "state": {}}


@case("eviction.preempted", lambda w: {"priorityClassName": "shop-critical"})
def priority_that_the_rollout_lowered(w: World) -> None:
    assert w.previous is not None
    w.spec["priorityClassName"], w.spec["priority"] = "shop-batch", 10
    w.previous["priorityClassName"] = "shop-critical"
    _earlier_pod(w, f"{w.name}-{w.old_hash}-aaaaa", priority=1000)
    _preempted(w)


@case("eviction.preempted", proved=False)
def pods_that_made_room(w: World) -> None:
    _preempted(w)


# starting and ending


def _init(w: World, name: str, **more: Any) -> None:
    assert w.previous is not None
    first = {"name": name, "image": "busybox:1.36"} | more
    w.spec["initContainers"] = w.previous["initContainers"] = [first]
    running = {"running": {"startedAt": at("10:02")}}
    status = {"name": name, "ready": False, "started": not more, "state": running}
    w.pod_status = {"phase": "Pending", "initContainerStatuses": [status]}
    w.waits("PodInitializing")


@case("starting.blocked", proved=False)
def init_container_that_waits(w: World) -> None:
    _init(w, "wait-for-db")


@case("starting.blocked", proved=False)
def sidecar_that_does_not_start(w: World) -> None:
    _init(w, "proxy", restartPolicy="Always")


@case("starting.hook", proved=False)
def hook_that_fails(w: World) -> None:
    hook = {"postStart": {"exec": {"command": ["/warm"]}}}
    w.main["lifecycle"] = old(w)["lifecycle"] = hook
    w.waits("PostStartHookError").event("FailedPostStartHook", "PostStartHook failed")


@case("starting.no-sandbox", proved=False)
def sandbox_that_cannot_be_made(w: World) -> None:
    said = 'failed to setup network for sandbox: plugin type="calico" failed (add)'
    w.waits("ContainerCreating").event("FailedCreatePodSandBox", said, of_container=False)


@case("starting.does-not-end", proved=False)
def pod_with_a_finalizer_that_stays(w: World) -> None:
    w.pod_meta = {"deletionTimestamp": at("09:00"), "finalizers": ["example.com/drain"]}


@case("conditions.node-not-ready", proved=False)
def node_that_is_silent(w: World) -> None:
    _drained(w)
    unknown = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}
    said = "Kubelet stopped posting node status."
    w.extra[-1] |= {"spec": {}, "status": {"conditions": [unknown | {"message": said}]}}


@case("conditions.node-pressure", proved=False)
def node_under_disk_pressure(w: World) -> None:
    _drained(w)
    full = {"type": "DiskPressure", "status": "True", "reason": "KubeletHasDiskPressure"}
    w.extra[-1] |= {"spec": {}, "status": {"conditions": [full | {"message": "no space"}]}}
