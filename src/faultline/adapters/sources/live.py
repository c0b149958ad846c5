"""The cluster itself, asked over its API: the same `Cluster` that a recorded folder is.

Reads only: GET of objects, events and logs. Secrets are never asked for, whatever the Role allows.
Whole lists are read as plain JSON, which is twenty times quicker than the client's models. A kind
that is not installed has no objects; one that we may not see is said in `permissions.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from urllib.parse import quote

from faultline.adapters.apiserver import Get, Object, by_others, connect, parsed
from faultline.adapters.sources.lookout import CLUSTER_WIDE, EVERYWHERE
from faultline.errors import Rejected, Unavailable
from faultline.limits import context_file_bytes_max, log_lines_per_container

LIST_MAX = 500

# kind -> (group and version, plural); which have no namespace says CLUSTER_WIDE
KINDS = {
    "Pod": ("api/v1", "pods"),
    "Service": ("api/v1", "services"),
    "Endpoints": ("api/v1", "endpoints"),
    "ConfigMap": ("api/v1", "configmaps"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "PersistentVolume": ("api/v1", "persistentvolumes"),
    "ResourceQuota": ("api/v1", "resourcequotas"),
    "LimitRange": ("api/v1", "limitranges"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Node": ("api/v1", "nodes"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "DaemonSet": ("apis/apps/v1", "daemonsets"),
    "ControllerRevision": ("apis/apps/v1", "controllerrevisions"),
    "Job": ("apis/batch/v1", "jobs"),
    "CronJob": ("apis/batch/v1", "cronjobs"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Ingress": ("apis/networking.k8s.io/v1", "ingresses"),
    "IngressClass": ("apis/networking.k8s.io/v1", "ingressclasses"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "EndpointSlice": ("apis/discovery.k8s.io/v1", "endpointslices"),
    "StorageClass": ("apis/storage.k8s.io/v1", "storageclasses"),
    "Namespace": ("api/v1", "namespaces"),
    "APIService": ("apis/apiregistration.k8s.io/v1", "apiservices"),
    "GatewayClass": ("apis/gateway.networking.k8s.io/v1", "gatewayclasses"),
    "Gateway": ("apis/gateway.networking.k8s.io/v1", "gateways"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "GRPCRoute": ("apis/gateway.networking.k8s.io/v1", "grpcroutes"),
    "Certificate": ("apis/cert-manager.io/v1", "certificates"),
    "AdminNetworkPolicy": ("apis/policy.networking.k8s.io/v1alpha1", "adminnetworkpolicies"),
    "ClusterNetworkPolicy": ("apis/policy.networking.k8s.io/v1alpha2", "clusternetworkpolicies"),
    "CiliumNetworkPolicy": ("apis/cilium.io/v2", "ciliumnetworkpolicies"),
    "CiliumClusterwideNetworkPolicy": ("apis/cilium.io/v2", "ciliumclusterwidenetworkpolicies"),
    "CalicoNetworkPolicy": ("apis/crd.projectcalico.org/v1", "networkpolicies"),
    "GlobalNetworkPolicy": ("apis/crd.projectcalico.org/v1", "globalnetworkpolicies"),
    "Rollout": ("apis/argoproj.io/v1alpha1", "rollouts"),
    "Application": ("apis/argoproj.io/v1alpha1", "applications"),
    "Kustomization": ("apis/kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "HelmRelease": ("apis/helm.toolkit.fluxcd.io/v2", "helmreleases"),
    "GitRepository": ("apis/source.toolkit.fluxcd.io/v1", "gitrepositories"),
    "Revision": ("apis/serving.knative.dev/v1", "revisions"),
    "Trigger": ("apis/eventing.knative.dev/v1", "triggers"),
    "Broker": ("apis/eventing.knative.dev/v1", "brokers"),
    "VerticalPodAutoscaler": ("apis/autoscaling.k8s.io/v1", "verticalpodautoscalers"),
}


class LiveCluster:
    """Implements `cluster.Cluster` over the API server; connects when first asked."""

    name = "live"

    def __init__(self, get: Get | None = None) -> None:
        self._given = get

    @cached_property
    def _get(self) -> Get:
        return self._given or connect()

    def objects(self, kind: str, namespace: str = "") -> Sequence[Object]:
        if kind == "Secret":
            raise Rejected("Secrets are never read")
        if kind not in KINDS:
            return []
        prefix, plural = KINDS[kind]
        if (kind in CLUSTER_WIDE) == bool(namespace):
            return []
        one = namespace not in ("", EVERYWHERE)
        where = f"namespaces/{_part(namespace)}/" if one else ""
        version = prefix.partition("/")[2]
        return [
            {"apiVersion": version, "kind": kind} | item
            for item in self._list(f"/{prefix}/{where}{plural}", f"{kind}s")
        ]

    def one(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object; None if there is none of that name."""
        if kind == "Secret":
            raise Rejected("Secrets are never read")
        prefix, plural = KINDS[kind]
        where = "" if kind in CLUSTER_WIDE else f"namespaces/{_part(namespace)}/"
        status, body = self._get(f"/{prefix}/{where}{plural}/{_part(name)}", {})
        if status == 404:
            return None
        _check(status, f"{kind} {name}")
        return {"apiVersion": prefix.partition("/")[2], "kind": kind} | parsed(body)

    def events(self, namespace: str) -> Sequence[Object]:
        path = f"/api/v1/namespaces/{_part(namespace or 'default')}/events"
        found = by_others(self._list(path, "Events"))
        return [{"apiVersion": "v1", "kind": "Event"} | event for event in found]

    def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool,
        lines: int = log_lines_per_container,
    ) -> str | None:
        where = "/".join((_part(namespace), "pods", _part(pod), "log"))
        asked = {
            "previous": str(previous).lower(),
            "tailLines": str(lines),
            "limitBytes": str(context_file_bytes_max),
        } | ({"container": container} if container else {})
        status, body = self._get(f"/api/v1/namespaces/{where}", asked)
        if status in (400, 404):  # not started yet, or no earlier container
            return None
        _check(status, f"logs of {pod}")
        return body[-context_file_bytes_max:].decode("utf-8", "replace")

    def series(self, namespace: str, workload: str) -> Sequence[Object]:
        return []  # Prometheus has them: `prometheus.py`

    def version(self) -> Object:
        status, body = self._get("/version", {})
        _check(status, "the version")
        return {"serverVersion": parsed(body)}

    def changes(self) -> Object:
        return {}

    def runbook(self, alert: str) -> bytes | None:
        return None

    def _list(self, path: str, what: str) -> list[Object]:
        found: list[Object] = []
        asked = {"limit": str(LIST_MAX)}
        while len(found) < 10 * LIST_MAX:
            status, body = self._get(path, asked)
            if status == 404:
                return []  # this kind is not installed here
            _check(status, what)
            page = parsed(body)
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                break
            asked = asked | {"continue": token}
        return found


def _part(name: str) -> str:
    """Return a name as one part of a path. Raises Rejected for one that would lead elsewhere."""
    if not name.strip("."):  # httpx folds dots, an empty name asks for the list
        raise Rejected(f"expected the name of an object, got {name!r}")
    return quote(name, safe="")


def _check(status: int, what: str) -> None:
    if status in (401, 403):
        raise Rejected(f"{what}: this service account may not read that")
    if status != 200:
        raise Unavailable(f"{what}: the API server answered {status}")
