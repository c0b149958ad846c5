"""What workloads, nodes, volume claims, k8s events and GitOps objects show. Pure.

Fields and meanings: kubernetes/api (apps/v1, batch/v1, core/v1), argoproj/argo-cd
(Application, v1alpha1), fluxcd/kustomize-controller (Kustomization, v1).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from faultline.bridge.watch.symptoms import (
    Object,
    Rules,
    Symptom,
    changed,
    condition,
    created,
    is_current,
    latest,
    mapping,
    number,
    text,
    time,
)
from faultline.model import Severity


def _name(obj: Object) -> str:
    return text(obj.get("metadata"), "name")


def deployment(obj: Object, rules: Rules) -> Iterator[Symptom]:
    """A roll-out that still moves on is no fault; one that has stopped, or pods that went, are."""
    if not is_current(obj) or mapping(obj, "spec").get("paused") is True:
        return
    status, progressing = obj.get("status"), condition(obj, "Progressing")
    missing = number(status, "unavailableReplicas")
    available = condition(obj, "Available")
    if missing > 0:
        yield Symptom(
            name="UnavailableReplicas",
            summary=f"{missing} of {number(status, 'replicas')} replicas of Deployment "
            f"{_name(obj)} are not available",
            message=text(available, "message"),
            since=latest(
                changed(available) if available.get("status") == "False" else None,
                None if _rolled_out(progressing) else time(progressing, "lastUpdateTime"),
            ),
            hold_s=rules.hold_s,
            progress=str(number(status, "updatedReplicas")),
        )
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        yield Symptom(
            name="DeploymentFailure",
            severity=Severity.CRITICAL,
            summary=f"The roll-out of Deployment {_name(obj)} does not move on",
            message=text(progressing, "message"),
            since=changed(progressing),
        )
    refused = condition(obj, "ReplicaFailure")
    if refused.get("status") == "True":
        yield Symptom(
            name="FailedCreate",
            summary=f"Pods of Deployment {_name(obj)} cannot be made",
            message=text(refused, "message"),
            since=changed(refused),
            hold_s=rules.short_hold_s,
        )


def _rolled_out(progressing: Object) -> bool:
    return progressing.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded")


def deployment_recovered_at(obj: Object) -> dt.datetime | None:
    available = condition(obj, "Available")
    return changed(available) if available.get("status") == "True" else None


def stateful_set(obj: Object, rules: Rules) -> Iterator[Symptom]:
    status = obj.get("status")
    wanted = number(obj.get("spec"), "replicas", 1)
    updated = number(status, "updatedReplicas")
    yield from _unready("StatefulSet", obj, wanted, number(status, "readyReplicas"), updated, rules)


def daemon_set(obj: Object, rules: Rules) -> Iterator[Symptom]:
    status = obj.get("status")
    wanted = number(status, "desiredNumberScheduled")
    updated = number(status, "updatedNumberScheduled")
    yield from _unready("DaemonSet", obj, wanted, number(status, "numberReady"), updated, rules)


def _unready(
    kind: str, obj: Object, wanted: int, ready: int, updated: int, rules: Rules
) -> Iterator[Symptom]:
    """Neither keeps the time of it, so the hold begins when it is first seen."""
    if is_current(obj) and ready < wanted:
        yield Symptom(
            name=f"{kind}Unready",
            summary=f"{ready} of {wanted} pods of {kind} {_name(obj)} are ready",
            hold_s=rules.hold_s,
            progress=str(updated),
        )


def job(obj: Object, rules: Rules) -> Iterator[Symptom]:
    failed = condition(obj, "Failed")
    if failed.get("status") != "True":
        return
    reason = text(failed, "reason")
    yield Symptom(
        name="JobFailure",
        severity=Severity.CRITICAL if reason == "BackoffLimitExceeded" else Severity.WARNING,
        summary=f"Job {_name(obj)} failed: {reason or 'no reason given'}",
        message=text(failed, "message"),
        since=changed(failed),
        labels={"reason": reason},
    )


_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


def node(obj: Object, rules: Rules) -> Iterator[Symptom]:
    """A node that people took out of service is not a fault."""
    if mapping(obj, "spec").get("unschedulable") is True:
        return
    ready = condition(obj, "Ready")
    status = text(ready, "status")
    if status in ("False", "Unknown"):
        yield Symptom(
            name="NodeUnhealthy",
            part="Ready",
            severity=Severity.CRITICAL if status == "False" else Severity.WARNING,
            summary=f"Node {_name(obj)} is not ready",
            message=text(ready, "message"),
            since=changed(ready),
            hold_s=rules.short_hold_s,
            labels={"node": _name(obj), "reason": text(ready, "reason")},
        )
    for type in _PRESSURES:
        found = condition(obj, type)
        if found.get("status") == "True":
            yield Symptom(
                name="NodePressure",
                part=type,
                summary=f"Node {_name(obj)} reports {type}",
                message=text(found, "message"),
                since=changed(found),
                hold_s=rules.short_hold_s,
                labels={"node": _name(obj), "reason": type},
            )


def node_recovered_at(obj: Object) -> dt.datetime | None:
    ready = condition(obj, "Ready")
    return changed(ready) if ready.get("status") == "True" else None


_PROVISIONERS = (
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
)


def volume_claim(obj: Object, rules: Rules) -> Iterator[Symptom]:
    """A claim that waits for its first consumer is pending by design: nobody provisions it yet."""
    phase = text(obj.get("status"), "phase")
    asked = mapping(obj, "metadata", "annotations")
    if phase == "Lost":
        yield Symptom(name="ClaimLost", summary=f"Volume claim {_name(obj)} has lost its volume")
    if phase == "Pending" and any(name in asked for name in _PROVISIONERS):
        yield Symptom(
            name="ClaimPending",
            summary=f"Volume claim {_name(obj)} gets no volume",
            since=created(obj),
            hold_s=rules.hold_s,
        )


# Reasons of warnings that no object's own status tells, and after how many seconds of silence it is
# over: the senders repeat it, in steps that grow (kubelet to minutes, controllers to 1,000 s).
EVENTS = {
    "FailedMount": 900,
    "FailedAttachVolume": 900,
    "FailedCreatePodSandBox": 900,
    "FailedCreate": 2_000,
    "ProvisioningFailed": 2_000,
}


def event(obj: Object, rules: Rules) -> Iterator[Symptom]:
    """A warning that repeats is a symptom of the object that it is about."""
    reason, about = text(obj, "reason"), mapping(obj, "involvedObject")
    if text(obj, "type") != "Warning" or reason not in EVENTS:
        return
    first = time(obj, "firstTimestamp") or time(obj, "eventTime") or created(obj)
    series = time(mapping(obj, "series"), "lastObservedTime")
    last = latest(series, time(obj, "lastTimestamp"), first)
    if first is None or last is None:
        return
    yield Symptom(
        name=reason,
        summary=f"{reason} of {text(about, 'kind')} {text(about, 'name')}",
        message=text(obj, "message"),
        since=first,
        well_since=last,
        edge=True,
        clear_s=EVENTS[reason],
        opens=(last - first).total_seconds() >= rules.short_hold_s,
        labels={"reason": reason},
    )


def application(obj: Object, rules: Rules) -> Iterator[Symptom]:
    """Argo CD: a sync that failed, or an application that it says is degraded."""
    status = obj.get("status")
    operation, health = mapping(status, "operationState"), mapping(status, "health")
    if text(operation, "phase") in ("Failed", "Error"):
        yield Symptom(
            name="SyncFailed",
            summary=f"Argo CD could not sync Application {_name(obj)}",
            message=text(operation, "message"),
            since=time(operation, "finishedAt"),
            labels={"reason": text(operation, "phase")},
        )
    if text(health, "status") == "Degraded":
        yield Symptom(
            name="Degraded",
            summary=f"Argo CD says that Application {_name(obj)} is degraded",
            message=text(health, "message"),
            since=time(health, "lastTransitionTime"),
            hold_s=rules.short_hold_s,
        )


def kustomization(obj: Object, rules: Rules) -> Iterator[Symptom]:
    """Flux: not ready. Unknown means that it is at work."""
    ready = condition(obj, "Ready")
    if ready.get("status") == "False" and mapping(obj, "spec").get("suspend") is not True:
        yield Symptom(
            name="NotReady",
            summary=f"Flux could not apply Kustomization {_name(obj)}",
            message=text(ready, "message"),
            since=changed(ready),
            labels={"reason": text(ready, "reason")},
        )
