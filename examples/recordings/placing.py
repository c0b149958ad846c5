"""Pods without a place: nodes that do not take them, volumes that are not there, evictions."""

from __future__ import annotations

from recordings.around import node
from recordings.objects import BEFORE, NODES, evicted, thing, unplaced, waits, well
from recordings.recording import Recording, alert, truth, written
from recordings.workloads import App, program

NOT_HELPFUL = "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
NO_VICTIMS = "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
STUCK = ("KubeDeploymentRolloutStuck", "Deployment rollout is not progressing.")


def stuck(app: App) -> dict[str, object]:
    kind = app.kind.lower()
    return alert(app, *STUCK, f"Rollout of {kind} shop/{app.name} is not progressing.")


def not_ready(app: App) -> dict[str, object]:
    said = f"Pod shop/{app.pods[0]} has been in a non-ready state for longer than 15 minutes."
    return alert(app, "KubePodNotReady", "Pod has been in a non-ready state.", said, pod=True)


# scheduling


def request_too_large() -> Recording:
    said = f"0/2 nodes are available: 2 Insufficient cpu. {NO_VICTIMS}"

    def asks(cpu: str) -> dict[str, object]:
        return {"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"memory": "2Gi"}}

    app = App(
        "search",
        about="search: the index of all products, in memory.",
        before=program("search", "8.3.0", resources=asks("1500m")),
        now=program("search", "8.3.0", resources=asks("15")),
        sights=[unplaced(said)],
        old=[well(BEFORE), well(BEFORE, node=NODES[1])],
    )
    title = "A request that no node can give: 15 cores instead of 1500m"
    told = truth(
        app,
        title,
        "scheduling.request-too-large",
        ["15", "cpu", "node"],
        ".resources.requests.cpu",
        before="15",
        after="1500m",
    )
    made = Recording(app, stuck(app), told).commit("search: whole cores, as agreed")
    return made.says("FailedScheduling", said, times=4)


def request_too_large_of_a_set() -> Recording:
    said = f"0/2 nodes are available: 2 Insufficient memory. {NO_VICTIMS}"

    def asks(memory: str) -> dict[str, object]:
        return {"requests": {"cpu": "500m", "memory": memory}, "limits": {"cpu": "1"}}

    app = App(
        "ledger",
        kind="StatefulSet",
        about="ledger: every booking, kept for ten years.",
        before=program("ledger", "5.1.2", resources=asks("3Gi")),
        now=program("ledger", "5.1.2", resources=asks("30Gi")),
        sights=[unplaced(said)],
        old=[well(BEFORE, node=NODES[1])],
    )
    title = "A StatefulSet asks for more memory than any node has"
    told = truth(
        app,
        title,
        "scheduling.request-too-large",
        ["30Gi", "memory", "node"],
        ".resources.requests.memory",
        before="30Gi",
        after="3Gi",
    )
    return Recording(app, not_ready(app), told).says("FailedScheduling", said, times=4)


def node_selector() -> Recording:
    said = (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. "
        f"{NOT_HELPFUL}"
    )
    app = App(
        "thumbnails",
        about="thumbnails: small pictures of products, from a fast disk.",
        before=program("thumbnails", "2.0.4", spec={"nodeSelector": {"disk": "nvme"}}),
        now=program("thumbnails", "2.0.5", spec={"nodeSelector": {"disk": "nmve"}}),
        sights=[unplaced(said)],
        old=[well(BEFORE), well(BEFORE)],
    )
    told = truth(
        app,
        "A node selector with a typing error",
        "scheduling.node-selector",
        ["nmve", "nvme", "node"],
        "spec.nodeSelector.disk",
        before="nmve",
        after="nvme",
    )
    made = Recording(app, stuck(app), told).commit("thumbnails 2.0.5")
    made.nodes = [node(NODES[0], labels={"disk": "nvme"}), node(NODES[1], labels={"disk": "ssd"})]
    return made.says("FailedScheduling", said, times=4)


def taint() -> Recording:
    said = (
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
        f"1 node(s) had untolerated taint {{dedicated: media}}. {NOT_HELPFUL}"
    )
    pool = {"nodeSelector": {"pool": "media"}}
    tolerated = [
        {"key": "dedicated", "operator": "Equal", "value": "media", "effect": "NoSchedule"}
    ]
    app = App(
        "transcoder",
        about="transcoder: videos of products, on nodes of its own.",
        before=program("transcoder", "1.12.0", spec=pool | {"tolerations": tolerated}),
        now=program("transcoder", "1.13.0", spec=pool),
        sights=[unplaced(said)],
        old=[well(BEFORE), well(BEFORE)],
    )
    told = truth(
        app,
        "The tolerations for a tainted pool went missing with a rollout",
        "scheduling.taint",
        ["dedicated", "toleration"],
        "spec.tolerations",
        before=None,
        after=tolerated,
    )
    made = Recording(app, stuck(app), told).commit("transcoder 1.13.0, tidy up")
    mine = {"key": "dedicated", "value": "media", "effect": "NoSchedule"}
    made.nodes = [node(NODES[0], labels={"pool": "media"}, taints=[mine]), node(NODES[1])]
    return made.says("FailedScheduling", said, times=4)


# volumes


def _mounts(claim: str) -> dict[str, object]:
    return {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}


DATA = [{"name": "data", "mountPath": "/var/lib/data"}]


def claim_missing() -> Recording:
    said = (
        f'0/2 nodes are available: persistentvolumeclaim "invoice-archive" not found. {NOT_HELPFUL}'
    )
    app = App(
        "invoices",
        about="invoices: writes them, and keeps a copy of each.",
        before=program("invoices", "3.4.0", spec=_mounts("invoices-archive"), volumeMounts=DATA),
        now=program("invoices", "3.5.0", spec=_mounts("invoice-archive"), volumeMounts=DATA),
        sights=[unplaced(said)],
        old=[well(BEFORE), well(BEFORE, node=NODES[1])],
    )
    told = truth(
        app,
        "The pod mounts a volume claim that is not there",
        "volumes.claim-missing",
        ["invoice-archive", "not found", "invoices-archive"],
        "spec.volumes[name=data].persistentVolumeClaim.claimName",
        before="invoice-archive",
        after="invoices-archive",
    )
    claim = thing(
        "PersistentVolumeClaim",
        "invoices-archive",
        spec={
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "200Gi"}},
            "storageClassName": "efs",
            "volumeName": "pvc-0f4c1a52",
            "volumeMode": "Filesystem",
        },
        status={"phase": "Bound", "accessModes": ["ReadWriteMany"]},
    )
    made = Recording(app, stuck(app), told).with_(claim).commit("invoices 3.5.0")
    made.git = [written(claim)]
    return made.says("FailedScheduling", said, times=4)


def class_missing() -> Recording:
    said = (
        f"0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. {NOT_HELPFUL}"
    )
    app = App(
        "reviews",
        replicas=1,
        about="reviews: what customers say, new today.",
        now=program("reviews", "0.1.0", spec=_mounts("reviews-data"), volumeMounts=DATA),
        sights=[unplaced(said)],
    )
    told = truth(
        app,
        "A volume claim asks for a storage class that does not exist",
        "volumes.class-missing",
        ["gp3-encrypetd", "storage class"],
        "spec.storageClassName",
        before="gp3-encrypetd",
        after="gp3-encrypted",
        target=("PersistentVolumeClaim", "reviews-data"),
    )
    claim = thing(
        "PersistentVolumeClaim",
        "reviews-data",
        spec={
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "20Gi"}},
            "storageClassName": "gp3-encrypetd",
            "volumeMode": "Filesystem",
        },
        status={"phase": "Pending"},
    )
    classes = [
        thing("StorageClass", name, api="storage.k8s.io/v1", provisioner="ebs.csi.aws.com")
        for name in ("gp2", "gp3-encrypted")
    ]
    made = Recording(app, not_ready(app), told).with_(claim, *classes).commit("reviews: begin")
    made.git = [written(claim)]
    missing = 'storageclass.storage.k8s.io "gp3-encrypetd" not found'
    made.says(
        "ProvisioningFailed", missing, times=62, about=("PersistentVolumeClaim", "reviews-data")
    )
    return made.says("FailedScheduling", said, times=4)


def class_missing_of_a_set() -> Recording:
    said = (
        f"0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. {NOT_HELPFUL}"
    )
    template = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "50Gi"}},
            "storageClassName": "gp3-encrypetd",
        },
    }
    app = App(
        "events-db",
        kind="StatefulSet",
        replicas=1,
        about="events-db: what happened in the shop, new today.",
        now=program("events-db", "0.2.0", volumeMounts=DATA),
        extra={"volumeClaimTemplates": [template]},
        sights=[unplaced(said)],
    )
    told = truth(
        app,
        "A StatefulSet's claims ask for a storage class that does not exist",
        "volumes.class-missing",
        ["gp3-encrypetd", "storage class"],
    )
    claim = thing(
        "PersistentVolumeClaim",
        "data-events-db-0",
        spec=template["spec"],
        status={"phase": "Pending"},
    )
    class_ = thing(
        "StorageClass", "gp3-encrypted", api="storage.k8s.io/v1", provisioner="ebs.csi.aws.com"
    )
    made = Recording(app, not_ready(app), told).with_(claim, class_)
    made.says(
        "ProvisioningFailed",
        'storageclass.storage.k8s.io "gp3-encrypetd" not found',
        times=62,
        about=("PersistentVolumeClaim", "data-events-db-0"),
    )
    return made.says("FailedScheduling", said, times=4)


def held_elsewhere() -> Recording:
    app = App(
        "wishlist",
        replicas=1,
        about="wishlist: one pod with one disk.",
        before=program("wishlist", "1.2.0", spec=_mounts("wishlist-data"), volumeMounts=DATA),
        now=program("wishlist", "1.2.1", spec=_mounts("wishlist-data"), volumeMounts=DATA),
        sights=[waits("ContainerCreating")],
        old=[well(BEFORE, node=NODES[1])],
    )
    told = truth(
        app,
        "A disk that the pod of the revision before still holds, on another node",
        "volumes.held-elsewhere",
        ["attached", "pvc-7b1d9c44"],
        proved=False,
    )
    claim = thing(
        "PersistentVolumeClaim",
        "wishlist-data",
        spec={
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "20Gi"}},
            "storageClassName": "gp3",
            "volumeName": "pvc-7b1d9c44",
        },
        status={"phase": "Bound"},
    )
    made = Recording(app, stuck(app), told).with_(claim).commit("wishlist 1.2.1")
    said = f"Volume is already used by pod(s) {app.pod_names(app.before or {}, 1)[0]}"
    return made.says("FailedAttachVolume", f'Multi-Attach error for volume "pvc-7b1d9c44" {said}')


# eviction, nodes


def own_disk() -> Recording:
    def disk(limit: str) -> dict[str, object]:
        return {
            "requests": {"cpu": "200m", "memory": "256Mi", "ephemeral-storage": "256Mi"},
            "limits": {"memory": "512Mi", "ephemeral-storage": limit},
        }

    said = 'Container app exceeded its local ephemeral storage limit "512Mi". '
    app = App(
        "exporter",
        about="exporter: the day's orders as a file, on the pod's own disk.",
        before=program("exporter", "4.0.1", resources=disk("2Gi")),
        now=program("exporter", "4.0.1", resources=disk("512Mi")),
        sights=[
            evicted(said, "2026-11-20T09:31:07Z"),
            evicted(said, "2026-11-20T09:37:40Z"),
            well("2026-11-20T09:44:02Z", created="2026-11-20T09:43:58Z"),
            well("2026-11-20T09:45:31Z", created="2026-11-20T09:45:27Z"),
        ],
    )
    told = truth(
        app,
        "Evicted for using more disk than its limit, which a rollout lowered",
        "eviction.own-disk",
        ["ephemeral", "512Mi", "evicted"],
        ".resources.limits.ephemeral-storage",
        before="512Mi",
        after="2Gi",
    )
    what = "Pods of shop/exporter were evicted twice within 15 minutes."
    made = Recording(app, alert(app, "PodsEvicted", "Pods are evicted.", what), told)
    return made.commit("Right-size disks").says("Evicted", said, last="2026-11-20T09:43:57Z")


def node_pressure() -> Recording:
    said = (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 71Mi. "
        "Container app was using 248Mi, request is 128Mi, has larger consumption of memory. "
    )
    app = App(
        "ratings",
        about="ratings: stars.",
        now=program("ratings", "6.6.0"),
        rolled=BEFORE,
        sights=[
            evicted(said, BEFORE),
            well("2026-11-20T09:41:20Z", node=NODES[1], created="2026-11-20T09:41:15Z"),
            well(BEFORE, node=NODES[1]),
        ],
    )
    told = truth(
        app,
        "Evicted because its node ran out of memory",
        "eviction.over-request",
        ["node", "memory", "evicted"],
        proved=False,
    )
    made = Recording(
        app,
        alert(app, "PodsEvicted", "Pods are evicted.", "A pod of shop/ratings was evicted."),
        told,
    )
    return made.says("Evicted", said, last="2026-11-20T09:41:14Z")


def node_not_ready() -> Recording:
    app = App(
        "basket",
        about="basket: what people are about to buy.",
        now=program("basket", "7.0.0"),
        rolled=BEFORE,
        sights=[
            well(BEFORE, lost=True),
            unplaced(
                "0/2 nodes are available: 1 Insufficient cpu, 1 "
                "node(s) had untolerated taint {node.kubernetes.io/unreachable: }. preemption: 0/2 "
                "nodes are available: 1 No preemption victims found for incoming pod, 1 "
                "Preemption is not helpful for scheduling."
            ),
        ],
    )
    told = truth(
        app,
        "The node under a pod does not report any more",
        "conditions.node-not-ready",
        ["node", NODES[0]],
        proved=False,
    )
    made = Recording(app, not_ready(app), told)
    made.nodes = [node(NODES[0], lost=True), node(NODES[1])]
    made.says(
        "NodeNotReady",
        "Node is not ready",
        first="2026-11-20T09:38:07Z",
        last="2026-11-20T09:38:07Z",
    )
    made.says(
        "TaintManagerEviction",
        f"Marking for deletion Pod shop/{app.pods[0]}",
        normal=True,
        first="2026-11-20T09:43:12Z",
        last="2026-11-20T09:43:12Z",
    )
    return made.says(
        "FailedScheduling", app.sights[1].unplaced, pod=1, times=2, first="2026-11-20T09:43:13Z"
    )


CASES = {
    "scheduling-request": request_too_large,
    "scheduling-request-statefulset": request_too_large_of_a_set,
    "scheduling-selector": node_selector,
    "scheduling-taint": taint,
    "volume-claim": claim_missing,
    "volume-class": class_missing,
    "volume-held": held_elsewhere,
    "eviction-disk": own_disk,
    "eviction-node": node_pressure,
    "node-not-ready": node_not_ready,
}
