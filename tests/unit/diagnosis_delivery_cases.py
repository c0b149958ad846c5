"""Guilty worlds of Knative and of what delivers: Argo CD and Flux. See diagnosis_cases."""

from __future__ import annotations

from typing import Any

from diagnosis_cases import case
from diagnosis_world import World

SERVICE = "serving.knative.dev/service"


def bad(condition: str, reason: str, message: str = "") -> dict[str, Any]:
    said = {"type": condition, "status": "False", "reason": reason}
    return said | ({"message": message} if message else {})


def _revision(w: World, name: str, tag: str, *conditions: dict[str, Any]) -> None:
    image = f"registry.example.com/{w.namespace}/{w.name}:{tag}"
    meta = {"labels": {SERVICE: w.name}}
    spec = {"containers": [{"name": w.container, "image": image}]}
    w.add("Revision", name, metadata=meta, spec=spec, status={"conditions": list(conditions)})


def _of_knative(w: World) -> None:
    """The Deployment is a revision's."""
    owner = {"kind": "Revision", "name": f"{w.name}-00002", "controller": True}
    w.workload_meta = {"ownerReferences": [owner], "labels": {SERVICE: w.name}}


@case("knative.image-missing")
def revision_whose_image_does_not_exist(w: World) -> None:
    _of_knative(w)
    image = f"registry.example.com/{w.namespace}/{w.name}:2.0"
    said = f'Unable to fetch image "{image}": failed to resolve image to digest: 404 Not Found'
    failed = bad("ContainerHealthy", "ContainerMissing", said)
    _revision(w, f"{w.name}-00002", "2.0", failed, bad("Ready", "ContainerMissing", said))
    _revision(w, f"{w.name}-00001", "1.9", {"type": "Ready", "status": "True"})


@case("knative.revision-failed", proved=False)
def revision_that_is_not_healthy(w: World) -> None:
    _of_knative(w)
    _revision(w, f"{w.name}-00002", "2.0", bad("Ready", "ExitCode1", "Container failed with: x"))


def _trigger(w: World, condition: dict[str, Any], broker: str = "default") -> None:
    ref = {"ref": {"kind": "Service", "name": w.name}}
    conditions = [condition, bad("Ready", condition["reason"])]
    spec = {"broker": broker, "subscriber": ref}
    w.add("Trigger", "orders", spec=spec, status={"conditions": conditions})


@case("knative.trigger-leads-nowhere")
def trigger_of_a_broker_with_a_typo(w: World) -> None:
    w.add("Broker", "default")
    said = 'Broker "defualt" does not exist'
    _trigger(w, bad("BrokerReady", "BrokerDoesNotExist", said), "defualt")


@case("knative.trigger-leads-nowhere")
def trigger_of_a_subscriber_that_is_gone(w: World) -> None:
    said = f'services.serving.knative.dev "{w.name}" not found'
    _trigger(w, bad("SubscriberResolved", "Unable to get the Subscriber's URI", said))


@case("conditions.knative-not-ready", proved=False)
def broker_that_is_not_ready(w: World) -> None:
    w.add("Broker", "default", status={"conditions": [bad("Ready", "ExchangeFailure")]})


# Argo CD and Flux


def _synced(w: World, kind: str, name: str) -> None:
    refused = {"kind": kind, "name": name, "namespace": w.namespace, "status": "SyncFailed"}
    result = {"revision": "5c1e9b2a", "resources": [refused | {"message": "field is immutable"}]}
    state = {"phase": "Failed", "message": "one or more objects failed", "syncResult": result}
    w.add("Application", "shop", status={"operationState": state})


@case("gitops.not-applied")
def application_that_could_not_apply_it(w: World) -> None:
    _synced(w, w.kind, w.name)


@case("gitops.cannot-deliver", proved=False)
def application_that_cannot_make_manifests(w: World) -> None:
    w.workload_meta = {"labels": {"argocd.argoproj.io/instance": "shop"}}
    said = {"type": "ComparisonError", "message": "failed to generate manifest: exit status 1"}
    w.add("Application", "shop", status={"conditions": [said]})


@case("conditions.gitops-not-ready", proved=False)
def application_that_is_degraded(w: World) -> None:
    ill = {"kind": "Service", "name": "db", "health": {"status": "Degraded"}}
    status = {"health": {"status": "Degraded"}, "resources": [ill]}
    w.add("Application", "shop", status=status)


def _flux(w: World, kind: str, group: str, condition: dict[str, Any]) -> None:
    w.workload_meta = {"labels": {f"{group}.toolkit.fluxcd.io/name": "apps"}}
    status = {"conditions": [condition], "lastAttemptedRevision": "main@sha1:5c1e9b2a"}
    source = {"sourceRef": {"kind": "GitRepository", "name": "fleet"}}
    w.add(kind, "apps", spec=source, status=status)


@case("gitops.not-applied")
def kustomization_that_was_refused(w: World) -> None:
    said = f"{w.kind}/{w.namespace}/{w.name} dry-run failed (Invalid): spec.selector is immutable"
    _flux(w, "Kustomization", "kustomize", bad("Ready", "ReconciliationFailed", said))


@case("gitops.cannot-deliver", proved=False)
def kustomization_that_does_not_build(w: World) -> None:
    said = "kustomize build failed: accumulating resources: no such file"
    _flux(w, "Kustomization", "kustomize", bad("Ready", "BuildFailed", said))


@case("gitops.not-applied")
def release_that_could_not_be_upgraded(w: World) -> None:
    said = f'Helm upgrade failed for release x: cannot patch "{w.name}" with kind {w.kind}: invalid'
    _flux(w, "HelmRelease", "helm", bad("Ready", "UpgradeFailed", said))


@case("gitops.source-failed", proved=False)
def repository_without_access(w: World) -> None:
    _flux(w, "Kustomization", "kustomize", {"type": "Ready", "status": "True"})
    said = "failed to checkout and determine revision: authentication required"
    w.add(
        "GitRepository", "fleet", status={"conditions": [bad("Ready", "GitOperationFailed", said)]}
    )
