"""Pods that may not be made or started: quotas, limit ranges, accounts, standards, webhooks."""

from __future__ import annotations

from recordings.objects import BEFORE, NODES, Object, thing, uid, waits, well
from recordings.placing import stuck
from recordings.recording import Recording, alert, truth
from recordings.workloads import App, program, task


def _refused(name: str, words: str) -> str:
    return f'pods "{name}" is forbidden: {words}'


def _recorded(app: App, told: Object, *, times: int = 17) -> Recording:
    """A rollout whose pods the API server refuses."""
    made = Recording(app, stuck(app), told)
    owner = ("ReplicaSet" if app.kind == "Deployment" else app.kind, app.revision)
    return made.says("FailedCreate", f"Error creating: {app.refused}", about=owner, times=times)


def _quota(name: str, hard: Object, used: Object) -> Object:
    status = {"hard": hard, "used": used}
    return thing("ResourceQuota", name, spec={"hard": hard}, status=status)


# numbers


def quota_exceeded() -> Recording:
    def limit(memory: str) -> Object:
        return {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": memory}}

    before, now = (program("pricing", "9.1.0", resources=limit(m)) for m in ("1Gi", "3Gi"))
    app = App("pricing", now, before, old=[well(BEFORE), well(BEFORE, node=NODES[1])])
    words = (
        "exceeded quota: team-shop, requested: limits.memory=3Gi, used: limits.memory=13824Mi, "
        "limited: limits.memory=16Gi"
    )
    app = App(
        "pricing",
        now,
        before,
        old=app.old,
        about="pricing: what things cost today.",
        refused=_refused(app.pods[0], words),
    )
    told = truth(
        app,
        "New pods exceed the namespace's quota since a rollout tripled their limit",
        "quota.exceeded",
        ["quota", "team-shop", "limits.memory"],
        ".resources.limits.memory",
        before="3Gi",
        after="1Gi",
    )
    quota = _quota("team-shop", {"limits.memory": "16Gi"}, {"limits.memory": "13824Mi"})
    return _recorded(app, told).with_(quota).commit("pricing: more memory, to be safe")


def limit_range() -> Recording:
    def limit(memory: str) -> Object:
        return {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": memory}}

    before, now = (program("vouchers", "2.2.0", resources=limit(m)) for m in ("768Mi", "1536Mi"))
    name = App("vouchers", now, before).pods[0]
    words = "maximum memory usage per Container is 1Gi, but limit is 1536Mi"
    app = App(
        "vouchers",
        now,
        before,
        old=[well(BEFORE), well(BEFORE)],
        about="vouchers: codes and what they are worth.",
        refused=_refused(name, words),
    )
    told = truth(
        app,
        "A memory limit above what the namespace allows",
        "quota.limit-range",
        ["1536Mi", "1Gi", "maximum"],
        ".resources.limits.memory",
        before="1536Mi",
        after="768Mi",
    )
    bounds = thing(
        "LimitRange",
        "containers",
        spec={
            "limits": [{"type": "Container", "max": {"memory": "1Gi"}, "min": {"memory": "16Mi"}}],
        },
    )
    return _recorded(app, told).with_(bounds).commit("vouchers: double the memory")


def quota_not_specified() -> Recording:
    asks = {"requests": {"cpu": "100m", "memory": "128Mi"}}
    now = program("banners", "1.0.0", resources=asks)
    name = App("banners", now).pods[0]
    words = "failed quota: team-shop: must specify limits.memory for: app"
    app = App("banners", now, about="banners: new today.", refused=_refused(name, words))
    told = truth(
        app,
        "The quota wants a memory limit, and the container has none",
        "quota.not-specified",
        ["quota", "limits.memory"],
    )
    quota = _quota("team-shop", {"limits.memory": "16Gi"}, {"limits.memory": "7296Mi"})
    return _recorded(app, told).with_(quota).commit("banners: begin")


# other reasons


def account_missing() -> Recording:
    def runs_as(account: str) -> Object:
        return program("payouts", "3.0.0", spec={"serviceAccountName": account})

    name = App("payouts", runs_as("payout")).pods[0]
    words = 'error looking up service account shop/payout: serviceaccount "payout" not found'
    app = App(
        "payouts",
        runs_as("payout"),
        runs_as("payouts"),
        old=[well(BEFORE), well(BEFORE)],
        about="payouts: money to sellers, on Fridays.",
        refused=_refused(name, words),
    )
    told = truth(
        app,
        "The pods run as a ServiceAccount that does not exist",
        "admission.account-missing",
        ["payout", "serviceaccount"],
        "spec.serviceAccountName",
        before="payout",
        after="payouts",
    )
    return _recorded(app, told).with_(thing("ServiceAccount", "payouts")).commit("payouts 3.0.0")


def pod_security() -> Recording:
    now = program("parcel-labels", "0.9.0")
    name = App("parcel-labels", now).pods[0]
    words = (
        'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container '
        '"app" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities '
        '(container "app" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != '
        'true (pod or container "app" must set securityContext.runAsNonRoot=true), seccompProfile '
        '(pod or container "app" must set securityContext.seccompProfile.type to "RuntimeDefault" '
        'or "Localhost")'
    )
    app = App(
        "parcel-labels", now, about="parcel-labels: what to glue on.", refused=_refused(name, words)
    )
    told = truth(
        app,
        "Pods are refused by the pod security standard of the namespace",
        "admission.pod-security",
        ["PodSecurity", "restricted"],
    )
    return _recorded(app, told).commit("labels: into this namespace")


def pod_security_of_an_agent() -> Recording:
    logs = {"volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}], "hostNetwork": True}
    now = task(
        "log-shipper",
        "5.5.0",
        spec=logs,
        volumeMounts=[{"name": "logs", "mountPath": "/var/log", "readOnly": True}],
    )
    name = App("log-shipper", now, kind="DaemonSet").pods[0]
    words = (
        'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true), hostPath '
        'volumes (volume "logs")'
    )
    app = App(
        "log-shipper",
        now,
        kind="DaemonSet",
        about="log-shipper: on each node.",
        refused=_refused(name, words),
    )
    told = truth(
        app,
        "A DaemonSet's pods are refused by the pod security standard",
        "admission.pod-security",
        ["PodSecurity", "baseline"],
    )
    return _recorded(app, told)


def webhook() -> Recording:
    words = (
        'Internal error occurred: failed calling webhook "injector.mesh.example": failed to call '
        'webhook: Post "https://mesh-injector.mesh-system.svc:443/inject?timeout=10s": no '
        'endpoints available for service "mesh-injector"'
    )
    before, now = program("returns", "2.1.0"), program("returns", "2.1.1")
    app = App(
        "returns",
        now,
        before,
        old=[well(BEFORE), well(BEFORE)],
        refused=words,
        about="returns: parcels that come back.",
    )
    told = truth(
        app,
        "A webhook without pods keeps new pods from being made",
        "admission.webhook",
        ["webhook", "mesh-injector", "endpoints"],
    )
    return _recorded(app, told).commit("returns 2.1.1")


def runs_as_root() -> Recording:
    safe = {"securityContext": {"runAsNonRoot": True}}
    before, now = (program("stickers", t, spec=safe) for t in ("1.8.0", "1.9.0"))
    name = App("stickers", now).pods[0]
    said = (
        "container has runAsNonRoot and image will run as root (pod: "
        f'"{name}_shop({uid("Pod", name)})", container: app)'
    )
    app = App(
        "stickers",
        now,
        before,
        sights=[waits("CreateContainerConfigError", said)],
        old=[well(BEFORE), well(BEFORE)],
        about="stickers: for laptops.",
    )
    told = truth(
        app,
        "The image would run as root, which the pod forbids",
        "admission.runs-as-root",
        ["runAsNonRoot", "root"],
    )
    what = "pod/stickers in namespace shop on container app has been in waiting state."
    made = Recording(
        app, alert(app, "KubeContainerWaiting", "Pod container waiting.", what, pod=True), told
    )
    return made.says("Failed", f"Error: {said}", times=71).commit("stickers 1.9.0, new base image")


CASES = {
    "quota-exceeded": quota_exceeded,
    "quota-not-specified": quota_not_specified,
    "limit-range": limit_range,
    "account-missing": account_missing,
    "pod-security": pod_security,
    "pod-security-daemonset": pod_security_of_an_agent,
    "webhook": webhook,
    "runs-as-root": runs_as_root,
}
