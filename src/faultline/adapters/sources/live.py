"""The cluster itself, asked over its API: the same `Cluster` that a recorded folder is.

Reads only: GET of objects, events and logs. Secrets are never asked for, whatever the Role allows.
Whole lists are read as plain JSON, which is twenty times quicker than the client's models. A kind
that is not installed has no objects; one that we may not see is said in `permissions.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import quote

from faultline.adapters import kubeconfig
from faultline.adapters.sources.lookout import EVERYWHERE
from faultline.errors import Rejected, Unavailable
from faultline.limits import context_file_bytes_max, log_lines_per_container

Object = dict[str, Any]
Get = Callable[[str, dict[str, str]], kubeconfig.Answer]  # path and query -> status and body

LIST_MAX = 500

# kind -> (group and version, plural, has it a namespace)
KINDS = {
    "Pod": ("api/v1", "pods", True),
    "Service": ("api/v1", "services", True),
    "Endpoints": ("api/v1", "endpoints", True),
    "ConfigMap": ("api/v1", "configmaps", True),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims", True),
    "PersistentVolume": ("api/v1", "persistentvolumes", False),
    "ResourceQuota": ("api/v1", "resourcequotas", True),
    "LimitRange": ("api/v1", "limitranges", True),
    "ServiceAccount": ("api/v1", "serviceaccounts", True),
    "Node": ("api/v1", "nodes", False),
    "Deployment": ("apis/apps/v1", "deployments", True),
    "ReplicaSet": ("apis/apps/v1", "replicasets", True),
    "StatefulSet": ("apis/apps/v1", "statefulsets", True),
    "DaemonSet": ("apis/apps/v1", "daemonsets", True),
    "ControllerRevision": ("apis/apps/v1", "controllerrevisions", True),
    "Job": ("apis/batch/v1", "jobs", True),
    "CronJob": ("apis/batch/v1", "cronjobs", True),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers", True),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets", True),
    "Ingress": ("apis/networking.k8s.io/v1", "ingresses", True),
    "IngressClass": ("apis/networking.k8s.io/v1", "ingressclasses", False),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies", True),
    "EndpointSlice": ("apis/discovery.k8s.io/v1", "endpointslices", True),
    "StorageClass": ("apis/storage.k8s.io/v1", "storageclasses", False),
    "Namespace": ("api/v1", "namespaces", False),
    "APIService": ("apis/apiregistration.k8s.io/v1", "apiservices", False),
    "GatewayClass": ("apis/gateway.networking.k8s.io/v1", "gatewayclasses", False),
    "Gateway": ("apis/gateway.networking.k8s.io/v1", "gateways", True),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes", True),
    "GRPCRoute": ("apis/gateway.networking.k8s.io/v1", "grpcroutes", True),
    "Certificate": ("apis/cert-manager.io/v1", "certificates", True),
    "AdminNetworkPolicy": ("apis/policy.networking.k8s.io/v1alpha1", "adminnetworkpolicies", False),
    "ClusterNetworkPolicy": (
        "apis/policy.networking.k8s.io/v1alpha2",
        "clusternetworkpolicies",
        False,
    ),
    "CiliumNetworkPolicy": ("apis/cilium.io/v2", "ciliumnetworkpolicies", True),
    "CiliumClusterwideNetworkPolicy": (
        "apis/cilium.io/v2",
        "ciliumclusterwidenetworkpolicies",
        False,
    ),
    "CalicoNetworkPolicy": ("apis/crd.projectcalico.org/v1", "networkpolicies", True),
    "GlobalNetworkPolicy": ("apis/crd.projectcalico.org/v1", "globalnetworkpolicies", False),
    "Rollout": ("apis/argoproj.io/v1alpha1", "rollouts", True),
    "Application": ("apis/argoproj.io/v1alpha1", "applications", True),
    "Kustomization": ("apis/kustomize.toolkit.fluxcd.io/v1", "kustomizations", True),
    "HelmRelease": ("apis/helm.toolkit.fluxcd.io/v2", "helmreleases", True),
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
        prefix, plural, namespaced = KINDS[kind]
        if namespaced != bool(namespace):
            return []
        one = namespaced and namespace != EVERYWHERE
        where = f"namespaces/{quote(namespace, safe='')}/" if one else ""
        version = prefix.partition("/")[2]
        return [
            {"apiVersion": version, "kind": kind} | item
            for item in self._list(f"/{prefix}/{where}{plural}", f"{kind}s")
        ]

    def events(self, namespace: str) -> Sequence[Object]:
        path = f"/api/v1/namespaces/{quote(namespace or 'default', safe='')}/events"
        return [{"apiVersion": "v1", "kind": "Event"} | e for e in self._list(path, "Events")]

    def log(self, namespace: str, pod: str, container: str, *, previous: bool) -> str | None:
        where = "/".join(quote(part, safe="") for part in (namespace, "pods", pod, "log"))
        asked = {
            "container": container,
            "previous": str(previous).lower(),
            "tailLines": str(log_lines_per_container),
            "limitBytes": str(context_file_bytes_max),
        }
        status, body = self._get(f"/api/v1/namespaces/{where}", asked)
        if status in (400, 404):  # not started yet, or no earlier container
            return None
        _check(status, f"logs of {pod}")
        return body.decode("utf-8", "replace")

    def series(self, namespace: str, workload: str) -> Sequence[Object]:
        return []  # Prometheus has them: `prometheus.py`

    def version(self) -> Object:
        status, body = self._get("/version", {})
        _check(status, "the version")
        return {"serverVersion": _object(body)}

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
            page = _object(body)
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                break
            asked = asked | {"continue": token}
        return found


def _check(status: int, what: str) -> None:
    if status in (401, 403):
        raise Rejected(f"{what}: this service account may not read that")
    if status != 200:
        raise Unavailable(f"{what}: the API server answered {status}")


def _object(body: bytes) -> Object:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable("expected a JSON object from the API server")
    return found


def connect() -> Get:
    """Return GET on the cluster that this process runs in, or of KUBECONFIG."""
    return kubeconfig.api().get
