"""What controllers do or leave: affinities, schedules, deadlines, budgets, sets, delivery.

They come among the examples (`make_clusters.CASES`) with the analyzers that prove them; until
then a test holds that nobody is wrong about them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recordings.around import node
from recordings.objects import (
    BEFORE,
    NODES,
    Object,
    died,
    ended,
    evicted,
    loops,
    owned,
    thing,
    unplaced,
    waits,
    well,
)
from recordings.placing import NOT_HELPFUL, class_missing_of_a_set, not_ready, stuck
from recordings.reaching import steady
from recordings.recording import Recording, alert, truth, written
from recordings.running import looping
from recordings.workloads import App, program, task

ZONE = "topology.kubernetes.io/zone"


# placing


def _in_zone(zone: str) -> Object:
    rule = {"key": ZONE, "operator": "In", "values": [zone]}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return {"affinity": {"nodeAffinity": required}}


def affinity() -> Recording:
    said = (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. "
        f"{NOT_HELPFUL}"
    )
    app = App(
        "seatmap",
        program("seatmap", "2.2.0", spec=_in_zone("eu-west-1d")),
        program("seatmap", "2.1.0", spec=_in_zone("eu-west-1a")),
        sights=[unplaced(said)],
        old=[well(BEFORE), well(BEFORE)],
        about="seatmap: near its data.",
    )
    field = (
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
        f"nodeSelectorTerms[0].matchExpressions[key={ZONE}].values[0]"
    )
    told = truth(
        app,
        "A node affinity asks for a zone that has no nodes",
        "scheduling.node-affinity",
        ["eu-west-1d", "zone", "affinity"],
        field,
        before="eu-west-1d",
        after="eu-west-1a",
    )
    made = Recording(app, stuck(app), told).commit("seatmap 2.2.0, move zones")
    return made.says("FailedScheduling", said, times=4)


# jobs


def schedule() -> Recording:
    app = App(
        "price-import",
        task("price-import", "1.1.0"),
        kind="CronJob",
        extra={"schedule": "0 24 * * *"},
        about="price-import: new prices, each night.",
    )
    said = 'unparseable schedule: "0 24 * * *" : end of range (24) above maximum (23): 24'
    told = truth(
        app,
        "A CronJob's schedule has an hour that does not exist",
        "cronjobs.schedule",
        ["schedule", "24"],
    )
    what = "CronJob shop/price-import has not run since it was changed."
    made = Recording(app, alert(app, "CronJobNotRunning", "A CronJob does not run.", what), told)
    made.says("UnparseableSchedule", said, about=("CronJob", "price-import"), times=9)
    return made.commit("price-import: at midnight")


def deadline() -> Recording:
    app = App(
        "reconcile",
        task("reconcile", "2.0.0"),
        kind="CronJob",
        sights=[died(143, "2026-11-20T09:31:00Z")],
        deadline=60,
        about="reconcile: the till against the bank.",
    )
    told = truth(
        app,
        "A CronJob's runs are ended by a deadline that somebody shortened",
        "jobs.deadline",
        ["deadline", "60"],
        "activeDeadlineSeconds",
        before=60,
        after=600,
    )
    told["field"] = "spec.jobTemplate.spec.activeDeadlineSeconds"
    what = f"Job shop/{app.revision} failed to complete."
    made = Recording(app, alert(app, "KubeJobFailed", "Job failed to complete.", what), told)
    whole = app.objects()[0]
    begun, done = "2026-11-20T09:00:00Z", "2026-11-20T09:04:12Z"
    complete = {"type": "Complete", "status": "True", "reason": "CompletionsReached"}
    status = {
        "startTime": begun,
        "completionTime": done,
        "succeeded": 1,
        "conditions": [complete | {"lastTransitionTime": done}],
    }
    meta = {"creationTimestamp": begun, "ownerReferences": owned(whole)}
    spec = {"activeDeadlineSeconds": 600, "backoffLimit": 3, "completions": 1, "parallelism": 1}
    before = thing(
        "Job", "reconcile-29394300", api="batch/v1", metadata=meta, status=status, spec=spec
    )
    return made.with_(before).commit("reconcile: a minute has to do")


# sets


def headless_service() -> Recording:
    app = App(
        "raft",
        program("raft", "1.0.0"),
        kind="StatefulSet",
        service="raft-headles",
        about="raft: three that agree.",
    )
    last = ended(1, "Error", "2026-11-20T09:46:12Z", began="2026-11-20T09:46:10Z")
    app = replace(app, sights=[loops(app.pods[0], last)])
    told = truth(
        app,
        "A StatefulSet names a headless Service that does not exist",
        "statefulsets.service-missing",
        ["raft-headles", "Service"],
    )
    host = "raft-0.raft-headles.shop.svc.cluster.local"
    made = looping(app, told)
    headless = thing(
        "Service",
        "raft-headless",
        spec={
            "clusterIP": "None",
            "selector": app.selector,
            "ports": [{"name": "peer", "port": 8300, "protocol": "TCP", "targetPort": 8300}],
        },
    )
    made.with_(headless)
    made.git = [written(headless)]
    made.log(f"FATAL lookup {host} on 172.20.0.10:53: no such host", previous=True)
    return made.commit("raft: begin")


# what scales, and what may leave


def budget_deadlock() -> Recording:
    app = steady("profiles", "4.4.0", "profiles: who people are.")
    told = truth(
        app,
        "A disruption budget lets no pod go, and a node cannot be drained",
        "budgets.deadlock",
        ["minAvailable", "2", "drain"],
        "spec.minAvailable",
        before=2,
        after=1,
        target=("PodDisruptionBudget", "profiles"),
    )
    spec = {"minAvailable": 2, "selector": {"matchLabels": app.selector}}
    status = {"currentHealthy": 2, "desiredHealthy": 2, "disruptionsAllowed": 0, "expectedPods": 2}
    budget = thing("PodDisruptionBudget", "profiles", api="policy/v1", spec=spec, status=status)
    what = f"Node {NODES[0]} waits for pods of shop/profiles."
    made = Recording(app, alert(app, "NodeDrainBlocked", "A node cannot be drained.", what), told)
    away = node(NODES[0])
    away["spec"] |= {
        "unschedulable": True,
        "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}],
    }
    made.nodes = [away, node(NODES[1])]
    made.git = [written(budget)]
    return made.with_(budget)


def autoscaler_of_nobody() -> Recording:
    app = steady("homepage", "8.1.0", "homepage: the first thing that people see.")
    told = truth(
        app,
        "An autoscaler scales a Deployment that does not exist",
        "autoscaling.target-missing",
        ["homepgae", "not found"],
        "spec.scaleTargetRef.name",
        before="homepgae",
        after="homepage",
        target=("HorizontalPodAutoscaler", "homepage"),
    )
    said = (
        "the HPA controller was unable to get the target's current scale: deployments.apps "
        '"homepgae" not found'
    )
    condition = {"type": "AbleToScale", "status": "False", "reason": "FailedGetScale"}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "homepgae"}
    usage = {"target": {"type": "Utilization", "averageUtilization": 70}, "name": "cpu"}
    spec = {
        "minReplicas": 2,
        "maxReplicas": 6,
        "scaleTargetRef": target,
        "metrics": [{"type": "Resource", "resource": usage}],
    }
    scaler = thing(
        "HorizontalPodAutoscaler",
        "homepage",
        api="autoscaling/v2",
        spec=spec,
        status={"conditions": [condition | {"message": said}], "currentReplicas": 0},
    )
    what = "CPU of shop/homepage is at 95 %, and nobody scales it."
    made = Recording(app, alert(app, "CPUHigh", "A workload needs more pods.", what), told)
    made.git = [written(scaler)]
    return made.with_(scaler)


def empty_dir() -> Recording:
    def holds(size: str) -> Object:
        return {"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": size}}]}

    mount = [{"name": "cache", "mountPath": "/cache"}]
    said = 'Usage of EmptyDir volume "cache" exceeds the limit "256Mi". '
    app = App(
        "images",
        program("images", "3.1.0", spec=holds("256Mi"), volumeMounts=mount),
        program("images", "3.0.9", spec=holds("1Gi"), volumeMounts=mount),
        sights=[
            evicted(said, "2026-11-20T09:31:07Z"),
            well("2026-11-20T09:44:02Z", created="2026-11-20T09:43:58Z"),
            well("2026-11-20T09:45:31Z", created="2026-11-20T09:45:27Z"),
        ],
        about="images: pictures, and a cache of them.",
    )
    told = truth(
        app,
        "Evicted because a volume is fuller than the bound that a rollout lowered",
        "eviction.empty-dir",
        ["cache", "256Mi", "evicted"],
        "spec.volumes[name=cache].emptyDir.sizeLimit",
        before="256Mi",
        after="1Gi",
    )
    what = "Pods of shop/images were evicted."
    made = Recording(app, alert(app, "PodsEvicted", "Pods are evicted.", what), told)
    return made.says("Evicted", said, last="2026-11-20T09:43:57Z").commit("images 3.1.0")


# starting


def blocked() -> Recording:
    wait = {
        "name": "wait-for-db",
        "image": "busybox:1.36",
        "command": ["sh", "-c", "until nc -z guests-db 5432; do sleep 2; done"],
    }
    now = program("guests", "1.0.0", spec={"initContainers": [wait]})
    app = App("guests", now, sights=[waits("PodInitializing")] * 2, about="guests: who comes.")
    told = truth(
        app,
        "A container that has to end first does not end",
        "starting.blocked",
        ["wait-for-db", "init"],
        proved=False,
    )
    return Recording(app, not_ready(app), told).commit("guests: begin")


def waits_for_old() -> Recording:
    broken = ended(1, "Error", "2026-11-20T09:46:12Z", began="2026-11-20T09:46:10Z")
    app = App(
        "outbox",
        program("outbox", "1.3.2"),
        program("outbox", "1.3.1"),
        kind="StatefulSet",
        about="outbox: what has to be told.",
    )
    first = app.pod_names(app.before or {}, 1)[0]
    app = replace(app, old=[loops(first, broken, 31), well(BEFORE, node=NODES[1])])
    title = "A StatefulSet's update waits for a pod of the revision before, which cannot start"
    told = truth(app, title, "statefulsets.waits-for-old-pod", ["outbox-0", "revision"])
    what = "StatefulSet shop/outbox update has not been rolled out."
    name = "KubeStatefulSetUpdateNotRolledOut"
    made = Recording(app, alert(app, name, "StatefulSet update not rolled out.", what), told)
    path = f"logs/shop/{first}/app.previous.log"
    made.logs[path] = "2026-11-20T09:46:12.001Z FATAL queue file is of a newer version: 7\n"
    back = f"Back-off restarting failed container app in pod {first}_shop"
    made.says("BackOff", back, about=("Pod", first), times=66)
    return made.commit("outbox 1.3.2: mend the start")


# delivery


def flux_refused() -> Recording:
    flux = "kustomize.toolkit.fluxcd.io"
    marks = {f"{flux}/name": "shop", f"{flux}/namespace": "flux-system"}
    app = steady("giftwrap", "2.0.0", "giftwrap: paper and ribbons.", marks=marks)
    said = (
        'Deployment/shop/giftwrap dry-run failed (Invalid): Deployment.apps "giftwrap" is '
        "invalid: spec.selector: Invalid value: field is immutable"
    )
    told = truth(
        app,
        "Flux cannot apply the manifest: a field that may not be changed was",
        "gitops.not-applied",
        ["selector", "immutable", "Flux"],
    )
    ready = {"type": "Ready", "status": "False", "reason": "ReconciliationFailed"}
    ready |= {"message": said, "lastTransitionTime": "2026-11-20T09:31:40Z"}
    delivery = thing(
        "Kustomization", "shop", api=f"{flux}/v1", metadata={"namespace": "flux-system"}
    )
    delivery["spec"] = {
        "interval": "1m0s",
        "path": "./",
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": "manifests"},
    }
    delivery["status"] = {"conditions": [ready], "lastAttemptedRevision": "main@sha1:5c1e9b2a"}
    what = "What stands in Git for shop/giftwrap is not what runs."
    made = Recording(app, alert(app, "DeliveryFailed", "A manifest is not applied.", what), told)
    return made.with_(delivery).commit("giftwrap: another selector")


def trigger_to_nowhere() -> Recording:
    app = steady(
        "parcel-events",
        "1.0.0",
        "parcel-events: hears where parcels are.",
        marks={"serving.knative.dev/service": "parcel-events"},
    )
    told = truth(
        app,
        "A Knative trigger names a broker that does not exist",
        "knative.trigger-leads-nowhere",
        ["defualt", "broker"],
    )
    lost = {
        "type": "BrokerReady",
        "status": "False",
        "reason": "BrokerDoesNotExist",
        "message": 'Broker "defualt" does not exist',
    }
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "BrokerDoesNotExist",
        "message": 'Broker "defualt" does not exist',
    }
    reference = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "parcel-events"}
    api = "eventing.knative.dev/v1"
    trigger = thing("Trigger", "parcel-events", api=api)
    trigger["spec"] = {"broker": "defualt", "subscriber": {"ref": reference}}
    trigger["status"] = {"conditions": [lost, ready]}
    well_ = {"conditions": [{"type": "Ready", "status": "True"}]}
    what = "shop/parcel-events has heard nothing for 15 minutes."
    made = Recording(app, alert(app, "NoEvents", "A consumer hears nothing.", what), told)
    made.git = [written(trigger)]
    return made.with_(trigger, thing("Broker", "default", api=api, status=well_))


CASES: dict[str, Any] = {
    "scheduling-affinity": affinity,
    "cronjob-schedule": schedule,
    "cronjob-deadline": deadline,
    "volume-class-statefulset": class_missing_of_a_set,
    "statefulset-service": headless_service,
    "statefulset-old-pod": waits_for_old,
    "gitops-flux": flux_refused,
    "knative-trigger": trigger_to_nowhere,
    "budget-deadlock": budget_deadlock,
    "autoscaler-target": autoscaler_of_nobody,
    "eviction-emptydir": empty_dir,
    "start-blocked": blocked,
}
