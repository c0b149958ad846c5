"""Guilty worlds of the families around a pod: nodes, volumes, services, quotas, names."""

from __future__ import annotations

from typing import Any

from diagnosis_cases import case, of, old
from diagnosis_world import World


def _pending(w: World, message: str) -> World:
    w.pod_status = {"phase": "Pending"}
    w.status = {"name": w.container, "ready": False, "state": {}}
    return w.event("FailedScheduling", message, of_container=False)


def _node(w: World, name: str, *, cpu: str = "4", memory: str = "16Gi", **labels: str) -> None:
    capacity = {"cpu": cpu, "memory": memory}
    w.add("Node", name, metadata={"labels": labels}, status={"allocatable": capacity})


# scheduling


@case("scheduling.request-too-large", of("resources.requests.memory", "128Mi"))
def request_larger_than_any_node(w: World) -> None:
    w.main["resources"]["requests"]["memory"] = "128Gi"
    _node(w, "node-1")
    _node(w, "node-2", memory="32Gi")
    _pending(
        w, "0/2 nodes are available: 2 Insufficient memory. preemption: 0/2 nodes are available"
    )


@case("scheduling.node-selector", lambda w: {"nodeSelector.disktype": "ssd"})
def node_selector_with_a_typo(w: World) -> None:
    w.spec["nodeSelector"] = {"disktype": "sdd"}
    _node(w, "node-1", disktype="ssd")
    _node(w, "node-2", disktype="hdd-old")
    _pending(w, "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.")


TOLERATION = [{"key": "dedicated", "operator": "Exists"}]


@case("scheduling.taint", lambda w: {"tolerations": TOLERATION})
def toleration_that_the_rollout_removed(w: World) -> None:
    assert w.previous is not None
    w.previous["tolerations"] = TOLERATION
    _pending(w, "0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: shop}.")


@case("scheduling.taint", proved=False)
def taint_that_was_always_in_the_way(w: World) -> None:
    _pending(w, "0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: shop}.")


@case("scheduling.no-room", proved=False)
def nodes_that_are_full(w: World) -> None:
    _node(w, "node-1")
    _pending(w, "0/1 nodes are available: 1 Insufficient cpu.")


# volumes


def _claims(w: World, name: str) -> None:
    w.spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]


@case(
    "volumes.claim-missing",
    lambda w: {"volumes[name=data].persistentVolumeClaim.claimName": "ledger-data"},
)
def claim_with_a_typo(w: World) -> None:
    _claims(w, "ledgr-data")
    w.add("PersistentVolumeClaim", "ledger-data", status={"phase": "Bound"})
    _pending(w, '0/1 nodes are available: persistentvolumeclaim "ledgr-data" not found.')


@case(
    "volumes.class-missing", lambda w: {"PersistentVolumeClaim spec.storageClassName": "fast-ssd"}
)
def storage_class_with_a_typo(w: World) -> None:
    _claims(w, "data")
    w.add("StorageClass", "fast-ssd")
    spec = {"storageClassName": "fast-sdd"}
    w.add("PersistentVolumeClaim", "data", spec=spec, status={"phase": "Pending"})
    _pending(w, "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
    said = 'storageclass.storage.k8s.io "fast-sdd" not found'
    w.event("ProvisioningFailed", said, kind="PersistentVolumeClaim", name="data")


@case("volumes.held-elsewhere", proved=False)
def volume_that_another_node_has(w: World) -> None:
    said = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other'
    _pending(w, "assigned").event("FailedAttachVolume", said, of_container=False)


# services


@case("selectors.no-pods", lambda w: {"Service spec.selector.app": w.name})
def selector_with_a_typo(w: World) -> None:
    w.add("Service", w.name, spec={"selector": {"app": w.name + "s"}, "ports": [{"port": 80}]})
    labels = {"kubernetes.io/service-name": w.name}
    w.add("EndpointSlice", f"{w.name}-abcde", metadata={"labels": labels}, endpoints=[])


@case("selectors.no-port", lambda w: {"Service spec.ports[0].targetPort": "http"})
def target_port_with_a_typo(w: World) -> None:
    ports = [{"port": 80, "targetPort": "htpp"}]
    w.add("Service", "front", spec={"selector": {"app": w.name}, "ports": ports})


# quota


def _refused(w: World, said: str) -> None:
    message = f'Error creating: pods "{w.pod_name}" is forbidden: {said}'
    kind, name = w.maker
    w.event("FailedCreate", message, kind=kind, name=name)


@case("quota.exceeded", of("resources.limits.memory", "256Mi"))
def quota_that_the_rollout_exceeds(w: World) -> None:
    w.main["resources"]["limits"]["memory"] = "2Gi"
    _refused(
        w,
        "exceeded quota: team, requested: limits.memory=2Gi, used: limits.memory=3584Mi, "
        "limited: limits.memory=4Gi",
    )
    w.add("ResourceQuota", "team", spec={"hard": {"limits.memory": "4Gi"}})


@case("quota.limit-range", of("resources.limits.memory", "256Mi"))
def limit_above_the_limit_range(w: World) -> None:
    w.main["resources"]["limits"]["memory"] = "2Gi"
    _refused(w, "maximum memory usage per Container is 1Gi, but limit is 2Gi")


@case("quota.limit-range", of("resources.limits.memory", "1Gi"))
def limit_that_always_was_above_the_limit_range(w: World) -> None:
    w.main["resources"]["limits"]["memory"] = old(w)["resources"]["limits"]["memory"] = "2Gi"
    _refused(w, "maximum memory usage per Container is 1Gi, but limit is 2Gi")


@case("quota.not-specified")
def quota_that_wants_a_limit(w: World) -> None:
    _refused(w, "failed quota: team: must specify limits.ephemeral-storage for: app")


# admission


@case("admission.account-missing", lambda w: {"serviceAccountName": "payments"})
def account_that_the_rollout_renamed(w: World) -> None:
    assert w.previous is not None
    w.spec["serviceAccountName"], w.previous["serviceAccountName"] = "payer", "payments"
    _refused(
        w, f'error looking up service account {w.namespace}/payer: serviceaccount "payer" not found'
    )


@case("admission.pod-security")
def pod_that_the_standard_refuses(w: World) -> None:
    _refused(
        w,
        'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container '
        '"app" must set securityContext.allowPrivilegeEscalation=false)',
    )


@case("admission.webhook")
def webhook_without_pods(w: World) -> None:
    _refused(
        w,
        'Internal error occurred: failed calling webhook "mutate.example.com": failed to call '
        'webhook: Post "https://hook.system.svc:443/": no endpoints available for service "hook"',
    )


@case("admission.runs-as-root")
def image_that_would_run_as_root(w: World) -> None:
    w.spec["securityContext"] = {"runAsNonRoot": True}
    said = 'container has runAsNonRoot and image will run as root (pod: "x", container: app)'
    w.waits("CreateContainerConfigError", said)


# names


@case("names.unknown-host", of("env[name=DB_HOST].value", "tcp://database:5432"))
def host_with_a_typo(w: World) -> None:
    w.main["env"].append({"name": "DB_HOST", "value": "tcp://databse:5432"})
    w.add("Service", "database", spec={"selector": {"app": "database"}, "ports": [{"port": 5432}]})
    w.unready().log(
        "error: dial tcp: lookup databse on 10.96.0.10:53: no such host", previous=False
    )


@case("names.unknown-host", of("env[name=DB_HOST].value", "db.data.svc"))
def host_that_the_rollout_changed(w: World) -> None:
    w.main["env"].append({"name": "DB_HOST", "value": "pg.nowhere.svc"})
    old(w)["env"].append({"name": "DB_HOST", "value": "db.data.svc"})
    w.loops(1).log("getaddrinfo ENOTFOUND pg.nowhere.svc")


# eviction


def _evicted(w: World, message: str) -> None:
    w.pod_status = {"phase": "Failed", "reason": "Evicted", "message": message, "nodeName": "n"}
    w.status = {"name": w.container, "ready": False, "state": {}}


@case("eviction.own-disk", of("resources.limits.ephemeral-storage", "2Gi"))
def disk_limit_that_the_rollout_lowered(w: World) -> None:
    w.main["resources"]["limits"]["ephemeral-storage"] = "1Gi"
    old(w)["resources"]["limits"]["ephemeral-storage"] = "2Gi"
    _evicted(w, f'Container {w.container} exceeded its local ephemeral storage limit "1Gi". ')


@case("eviction.node-pressure", proved=False)
def node_that_was_low_on_memory(w: World) -> None:
    _evicted(w, "The node was low on resource: memory. Threshold quantity: 100Mi, available: 90Mi.")


# autoscaling


def _scaler(w: World, *conditions: dict[str, Any]) -> None:
    target = {"kind": w.kind, "name": w.name}
    spec = {"scaleTargetRef": target, "maxReplicas": 5}
    w.add("HorizontalPodAutoscaler", w.name, spec=spec, status={"conditions": list(conditions)})


@case("autoscaling.no-request", of("resources.requests.cpu", "100m"))
def request_that_the_autoscaler_needs(w: World) -> None:
    del w.main["resources"]["requests"]["cpu"]
    said = f"failed to get cpu: missing request for cpu in container {w.container} of Pod x"
    _scaler(w, {"type": "ScalingActive", "status": "False", "message": said})


@case("autoscaling.at-maximum", proved=False)
def autoscaler_at_its_maximum(w: World) -> None:
    _scaler(w, {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"})


# conditions


@case("conditions.rollout-stuck", proved=False)
def rollout_past_its_deadline(w: World) -> None:
    bad = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    w.deployment_status = {"conditions": [bad]}


@case("conditions.gitops-not-ready", proved=False)
def kustomization_that_is_not_ready(w: World) -> None:
    bad = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "no such file"}
    w.add("Kustomization", "apps", status={"conditions": [bad]})


@case("conditions.knative-not-ready", proved=False)
def trigger_that_is_not_ready(w: World) -> None:
    bad = {"type": "Ready", "status": "False", "reason": "BrokerDoesNotExist"}
    w.add("Trigger", "triage", status={"conditions": [bad]})
