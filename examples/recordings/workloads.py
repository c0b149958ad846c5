"""Workloads of each kind, with their revisions and pods and what controllers say of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from recordings.objects import (
    BEFORE,
    LATEST,
    NAMESPACE,
    ROLLED,
    Object,
    Sight,
    defaulted,
    ending,
    owned,
    pod,
    thing,
)


@dataclass(frozen=True)
class App:
    """A workload as people wrote it: pod specification now and before, and how its pods look."""

    name: str
    now: Object
    before: Object | None = None
    sights: Sequence[Sight] = ()  # of the pods of the revision that is out now
    old: Sequence[Sight] = ()  # of those of the revision before
    kind: str = "Deployment"
    replicas: int = 2
    about: str = ""  # a comment for the head of its manifest
    labels: Object = field(default_factory=dict)  # of its pods, beside the usual ones
    marks: Object = field(default_factory=dict)  # labels of its own: who delivered it
    extra: Object = field(default_factory=dict)  # of its specification
    refused: str = ""  # the API server's reason to make no pods
    rolled: str = ROLLED
    service: str = ""  # a StatefulSet's, if not called like it
    deadline: int = 0  # of a CronJob's runs, in seconds

    @property
    def selector(self) -> Object:
        return {"app.kubernetes.io/name": self.name}

    def template(self, written: Object) -> Object:
        labels = self.selector | {"app.kubernetes.io/part-of": NAMESPACE} | self.labels
        return {"metadata": {"labels": labels}, "spec": defaulted(written)}

    def hash(self, written: Object) -> str:
        return ending(10, self.name, str(written))

    def pod_names(self, written: Object, count: int) -> list[str]:
        if self.kind == "StatefulSet":  # the highest is made anew first
            first = len(self.old) if written is self.now else 0
            return [f"{self.name}-{first + i}" for i in range(count)]
        start, salt = self.name, ""
        if self.kind == "Deployment":
            start += f"-{self.hash(written)}"
        if self.kind == "DaemonSet":
            salt = self.hash(written)
        if self.kind == "CronJob":
            start += f"-{_tick(self)}"
        return [f"{start}-{ending(5, start + salt, str(i))}" for i in range(count)]

    def revised(self, written: Object) -> Object:
        """Return the labels by which controllers know the revision of a pod."""
        hash_ = self.hash(written)
        return {
            "Deployment": {"pod-template-hash": hash_},
            "StatefulSet": {"controller-revision-hash": f"{self.name}-{hash_}"},
            "DaemonSet": {"controller-revision-hash": hash_},
        }.get(self.kind, {})

    @property
    def pods(self) -> list[str]:
        """Names of the pods of the revision that is out now."""
        return self.pod_names(self.now, max(len(self.sights), 2))

    @property
    def revision(self) -> str:
        """Name of what makes its pods: a ReplicaSet, the object itself, or a Job."""
        if self.kind == "Deployment":
            return f"{self.name}-{self.hash(self.now)}"
        return f"{self.name}-{_tick(self)}" if self.kind == "CronJob" else self.name

    def objects(self) -> list[Object]:
        """Return the workload, its revisions and its pods."""
        return _KINDS[self.kind](self)


def _tick(app: App) -> str:
    return (
        "29394330"  # minutes since 1970 of 2026-11-20T09:30:00Z, as the CronJob controller counts
    )


def _labelled(app: App) -> Object:
    return app.selector | {"app.kubernetes.io/part-of": NAMESPACE}


def _pods(
    app: App, owner: Object, written: Object, sights: Sequence[Sight], at: str
) -> list[Object]:
    names = app.pod_names(written, len(sights))
    template = app.template(written)
    labels = app.revised(written)
    made = [pod(n, owner, template, s, at, labels) for n, s in zip(names, sights, strict=True)]
    for one, claim in itertools.product(made, app.extra.get("volumeClaimTemplates", ())):
        name = claim["metadata"]["name"]
        source = {"claimName": f"{name}-{one['metadata']['name']}"}
        one["spec"]["volumes"].insert(0, {"name": name, "persistentVolumeClaim": source})
    return made


def _all_pods(app: App, owner: Object) -> list[Object]:
    found = _pods(app, owner, app.now, app.sights, app.rolled)
    return found + (_pods(app, owner, app.before, app.old, BEFORE) if app.before else [])


# Deployment


def _deployment(app: App) -> list[Object]:
    meta = {
        "annotations": {"deployment.kubernetes.io/revision": "4"},
        "generation": 7,
        "labels": _labelled(app) | {"app.kubernetes.io/managed-by": "kustomize"} | app.marks,
    }
    whole = thing("Deployment", app.name, api="apps/v1", metadata=meta)
    whole["spec"] = {
        "progressDeadlineSeconds": 600,
        "replicas": app.replicas,
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": app.selector},
        "strategy": {
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
            "type": "RollingUpdate",
        },
        "template": app.template(app.now),
    } | app.extra
    whole["status"] = _deployment_status(app)
    now = _replicaset(app, whole, app.now, 4, app.rolled, app.sights)
    found = [whole, now, *_pods(app, now, app.now, app.sights, app.rolled)]
    if app.before is not None:
        old = _replicaset(app, whole, app.before, 3, BEFORE, app.old)
        found += [old, *_pods(app, old, app.before, app.old, BEFORE)]
    return found


def _live(sights: Sequence[Sight]) -> list[Sight]:
    return [s for s in sights if s.phase not in ("Failed", "Succeeded") and not s.lost]


def _deployment_status(app: App) -> Object:
    new, all_ = _live(app.sights), [*_live(app.sights), *_live(app.old)]
    ready = sum(s.ready for s in all_)
    done = ready >= app.replicas and not app.old
    short = ready < app.replicas - app.replicas // 4
    conditions = [
        {
            "type": "Available",
            "status": "False" if short else "True",
            "reason": "MinimumReplicasUnavailable" if short else "MinimumReplicasAvailable",
            "message": "Deployment does not have minimum availability."
            if short
            else "Deployment has minimum availability.",
        },
        _progress(app, done),
    ]
    if app.refused:
        failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
        conditions.append(failure | {"message": app.refused})
    counts = {
        "replicas": len(all_),
        "updatedReplicas": len(new),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(app.replicas, len(all_)) - ready,
    }
    status: Object = {k: v for k, v in counts.items() if v}
    at = {"lastTransitionTime": app.rolled, "lastUpdateTime": app.rolled}
    return status | {"observedGeneration": 7, "conditions": [at | c for c in conditions]}


def _progress(app: App, done: bool) -> Object:
    name = f'ReplicaSet "{app.revision}"'
    if done or app.before is None or not (app.old or app.refused):
        said = {
            "reason": "NewReplicaSetAvailable",
            "message": f"{name} has successfully progressed.",
        }
        return {"type": "Progressing", "status": "True"} | said
    late = {"reason": "ProgressDeadlineExceeded", "message": f"{name} has timed out progressing."}
    return {"type": "Progressing", "status": "False"} | late


def _replicaset(
    app: App, whole: Object, written: Object, revision: int, at: str, sights: Sequence[Sight]
) -> Object:
    hash_ = app.hash(written)
    meta = {
        "annotations": {
            "deployment.kubernetes.io/desired-replicas": str(app.replicas),
            "deployment.kubernetes.io/max-replicas": str(app.replicas + 1),
            "deployment.kubernetes.io/revision": str(revision),
        },
        "creationTimestamp": at,
        "generation": 2,
        "labels": _labelled(app) | {"pod-template-hash": hash_},
        "ownerReferences": owned(whole),
    }
    made = thing("ReplicaSet", f"{app.name}-{hash_}", api="apps/v1", metadata=meta)
    template = app.template(written)
    template["metadata"]["labels"]["pod-template-hash"] = hash_
    live = _live(sights)
    wanted = max(len(live), 1 if app.refused and revision == 4 else 0)
    selector = {"matchLabels": app.selector | {"pod-template-hash": hash_}}
    made["spec"] = {"replicas": wanted, "selector": selector, "template": template}
    counts = {"replicas": len(live), "readyReplicas": sum(s.ready for s in live)}
    made["status"] = {k: v for k, v in counts.items() if v or k == "replicas"}
    made["status"] |= {"observedGeneration": 2}
    if app.refused and revision == 4:
        failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
        failure |= {"lastTransitionTime": at, "message": app.refused}
        made["status"]["conditions"] = [failure]
    return made


# StatefulSet and DaemonSet: their revisions are ControllerRevisions


def _statefulset(app: App) -> list[Object]:
    whole = thing("StatefulSet", app.name, api="apps/v1", metadata={"labels": _labelled(app)})
    whole["spec"] = {
        "podManagementPolicy": "OrderedReady",
        "replicas": app.replicas,
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": app.selector},
        "serviceName": app.service or app.name,
        "template": app.template(app.now),
        "updateStrategy": {"rollingUpdate": {"partition": 0}, "type": "RollingUpdate"},
    } | app.extra
    everyone = [*app.sights, *app.old]
    ready = sum(s.ready for s in everyone)
    whole["status"] = {
        "availableReplicas": ready,
        "collisionCount": 0,
        "currentReplicas": len(app.old) if app.before else len(app.sights),
        "currentRevision": f"{app.name}-{app.hash(app.before or app.now)}",
        "observedGeneration": 5,
        "readyReplicas": ready,
        "replicas": len(everyone),
        "updateRevision": f"{app.name}-{app.hash(app.now)}",
        "updatedReplicas": len(app.sights),
    }
    return [whole, *_history(app, whole), *_all_pods(app, whole)]


def _daemonset(app: App) -> list[Object]:
    whole = thing("DaemonSet", app.name, api="apps/v1", metadata={"labels": _labelled(app)})
    whole["spec"] = {
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": app.selector},
        "template": app.template(app.now),
        "updateStrategy": {
            "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            "type": "RollingUpdate",
        },
    }
    everyone = [*app.sights, *app.old]
    ready = sum(s.ready for s in everyone)
    whole["status"] = {
        "currentNumberScheduled": len(everyone),
        "desiredNumberScheduled": app.replicas,
        "numberAvailable": ready,
        "numberMisscheduled": 0,
        "numberReady": ready,
        "numberUnavailable": app.replicas - ready,
        "observedGeneration": 5,
        "updatedNumberScheduled": len(app.sights),
    }
    return [whole, *_history(app, whole), *_all_pods(app, whole)]


def _history(app: App, whole: Object) -> list[Object]:
    found = []
    for revision, written, at in ((3, app.before, BEFORE), (4, app.now, app.rolled)):
        if written is None:
            continue
        template = {"$patch": "replace"} | app.template(written)
        name = f"{app.name}-{app.hash(written)}"
        meta = {"creationTimestamp": at, "labels": _labelled(app), "ownerReferences": owned(whole)}
        made = thing("ControllerRevision", name, api="apps/v1", metadata=meta)
        found.append(made | {"data": {"spec": {"template": template}}, "revision": revision})
    return found


# CronJob


def _cronjob(app: App) -> list[Object]:
    whole = thing("CronJob", app.name, api="batch/v1", metadata={"labels": _labelled(app)})
    template = app.template({"restartPolicy": "Never"} | app.now)
    whole["spec"] = {
        "concurrencyPolicy": "Forbid",
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {"spec": run_of(app) | {"template": template}},
        "schedule": "*/30 * * * *",
        "successfulJobsHistoryLimit": 3,
        "suspend": False,
    } | app.extra
    whole["status"] = {"lastScheduleTime": "2026-11-20T09:30:00Z"}
    if not app.sights:
        return [whole]
    meta = {"creationTimestamp": "2026-11-20T09:30:00Z", "ownerReferences": owned(whole)}
    meta |= {"labels": _labelled(app)}
    job = thing("Job", app.revision, api="batch/v1", metadata=meta)
    job["spec"] = run_of(app) | {"completions": 1, "parallelism": 1, "template": template}
    job["status"] = _job_status(app)
    whole["status"]["active"] = (
        [{"apiVersion": "batch/v1", "kind": "Job", "name": app.revision, "namespace": NAMESPACE}]
        if job["status"].get("active")
        else []
    )
    names = app.pod_names(app.now, len(app.sights))
    made = [
        pod(n, job, template, s, "2026-11-20T09:30:00Z")
        for n, s in zip(names, app.sights, strict=True)
    ]
    return [whole, job, *made]


def run_of(app: App) -> Object:
    return {"backoffLimit": 3} | ({"activeDeadlineSeconds": app.deadline} if app.deadline else {})


def _job_status(app: App) -> Object:
    sights = app.sights
    counts = {
        "active": sum(s.phase in ("Pending", "Running") for s in sights),
        "failed": sum(s.phase == "Failed" for s in sights),
        "succeeded": sum(s.phase == "Succeeded" for s in sights),
    }
    status: Object = {k: v for k, v in counts.items() if v} | {"startTime": "2026-11-20T09:30:00Z"}
    if counts["failed"] and app.deadline:
        over = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
        over |= {"message": "Job was active longer than specified deadline"}
        status["conditions"] = [over | {"lastTransitionTime": "2026-11-20T09:31:00Z"}]
    if counts["succeeded"]:
        done = {"type": "Complete", "status": "True", "reason": "CompletionsReached"}
        status["conditions"] = [done | {"lastTransitionTime": LATEST}]
        status["completionTime"] = LATEST
    return status


_KINDS = {
    "Deployment": _deployment,
    "StatefulSet": _statefulset,
    "DaemonSet": _daemonset,
    "CronJob": _cronjob,
}


def program(name: str, tag: str, *, spec: Object | None = None, **container: object) -> Object:
    """Return a pod specification as people write it: one container that serves on port 8080.

    Keywords are fields of the container, `spec` those of the pod; None leaves one out.
    """
    usual: Object = {
        "name": "app",
        "image": f"registry.shop.example/{NAMESPACE}/{name}:{tag}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "LOG_LEVEL", "value": "info"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": "http"},
            "initialDelaySeconds": 10,
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "256Mi"},
        },
    }
    written = {k: v for k, v in (usual | container).items() if v is not None}
    return {"containers": [written], **(spec or {})}


def task(name: str, tag: str, *, spec: Object | None = None, **container: object) -> Object:
    """Return one that serves nobody: what a CronJob or an agent on each node runs."""
    silent = {"ports": None, "readinessProbe": None, "livenessProbe": None}
    return program(name, tag, spec=spec, **(silent | container))
