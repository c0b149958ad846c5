"""What is gathered around a workload besides what it refers to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_sources_recorded import incident, record, thing

from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.capsule import Capsule
from faultline.diagnosis import diagnose
from faultline.diagnosis.facts import Facts
from faultline.diagnosis.inventory import absent
from faultline.model import Resource


def gathered(folder: Path, kind: str, name: str = "checkout") -> Capsule:
    resource = Resource(kind=kind, name=name, namespace="shop")
    return Capsule(dict(ClusterSource(RecordedCluster(folder)).collect(incident(resource))))


def named(capsule: Capsule) -> set[str]:
    start = "context/objects/"
    return {n.removeprefix(start).removesuffix(".yaml") for n in capsule.names() if start in n}


def elsewhere(kind: str, name: str, namespace: str, **fields: Any) -> dict[str, Any]:
    return thing(kind, name, metadata={"namespace": namespace}, **fields)


def test_the_service_that_names_a_set_is_looked_for_and_its_absence_is_evidence(
    tmp_path: Path,
) -> None:
    record(
        tmp_path,
        thing("StatefulSet", spec={"serviceName": "checkout-headles"}),
        thing("Service", "payments"),
        thing("Service", "checkout-headless"),
    )

    capsule = gathered(tmp_path, "StatefulSet")

    assert {"service/checkout-headless"} == {n for n in named(capsule) if "service" in n}
    gone = absent(Facts(capsule), "Service", "shop", "checkout-headles")
    assert gone is not None
    assert capsule.text(gone.file)[gone.start : gone.end] == '"checkout-headles"'
    assert absent(Facts(capsule), "Service", "shop", "payments") is None


def test_a_pod_for_each_label_value_is_shown_where_one_waits_to_stand_beside_it(
    tmp_path: Path,
) -> None:
    term = {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "zone"}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    spec = {"containers": [{"name": "a"}], "affinity": {"podAffinity": required}}
    others = [
        thing("Pod", f"other-{i}", metadata={"labels": {"app": f"other-{i % 2}"}}) for i in range(4)
    ]
    record(
        tmp_path,
        thing("StatefulSet", spec={"template": {"spec": spec}}),
        thing("Pod", "checkout-0", ("StatefulSet", "checkout"), spec=spec),
        *others,
    )

    pods = {n for n in named(gathered(tmp_path, "StatefulSet")) if n.startswith("pod/")}

    assert pods == {"pod/checkout-0", "pod/other-0", "pod/other-1"}


def test_an_autoscaler_that_misses_its_target_by_a_letter_is_gathered(tmp_path: Path) -> None:
    lost = {"conditions": [{"type": "AbleToScale", "status": "False", "reason": "FailedGetScale"}]}

    def scaler(name: str, target: str, status: dict[str, Any]) -> dict[str, Any]:
        spec = {"scaleTargetRef": {"kind": "Deployment", "name": target}}
        return thing("HorizontalPodAutoscaler", name, spec=spec, status=status)

    record(
        tmp_path,
        thing("Deployment"),
        scaler("a", "chekout", lost),
        scaler("b", "billing", lost),
        scaler("c", "chekout", {}),
    )

    found = {n for n in named(gathered(tmp_path, "Deployment")) if "autoscaler" in n}

    assert found == {"horizontalpodautoscaler/a"}


@pytest.mark.parametrize("kind", ["Deployment", "Revision"])
def test_a_workload_of_knative_comes_with_its_revisions_triggers_and_broker(
    tmp_path: Path, kind: str
) -> None:
    label = {"labels": {"serving.knative.dev/service": "checkout"}}
    to = {"ref": {"kind": "Service", "name": "checkout"}}
    other = {"ref": {"kind": "Service", "name": "other"}}
    record(
        tmp_path,
        thing("Revision", "checkout-00002", ("Configuration", "checkout"), metadata=label),
        thing("Revision", "other-00001"),
        thing("Deployment", "checkout-00002-deployment", ("Revision", "checkout-00002"),
              metadata=label),
        thing("Trigger", "orders", spec={"broker": "defualt", "subscriber": to}),
        thing("Trigger", "others", spec={"broker": "default", "subscriber": other}),
        thing("Broker", "default"),
    )  # fmt: skip
    name = {"Deployment": "checkout-00002-deployment", "Revision": "checkout-00002"}[kind]

    capsule = gathered(tmp_path, kind, name)

    assert named(capsule) == {
        "deployment/checkout-00002-deployment",
        "revision/checkout-00002",
        "trigger/orders",
        "broker/default",
    }
    assert absent(Facts(capsule), "Broker", "shop", "defualt") is not None


def test_what_delivers_a_workload_is_found_in_its_own_namespace(tmp_path: Path) -> None:
    labels = {
        "kustomize.toolkit.fluxcd.io/name": "apps",
        "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    }
    notes = {"argocd.argoproj.io/tracking-id": "team_shop:apps/Deployment:shop/checkout"}
    failed = {"type": "Ready", "status": "False", "reason": "GitOperationFailed", "message": "auth"}
    source = {"sourceRef": {"kind": "GitRepository", "name": "fleet"}}
    record(
        tmp_path,
        thing("Deployment", metadata={"labels": labels, "annotations": notes}),
        elsewhere("Application", "shop", "argocd"),
        elsewhere("Kustomization", "apps", "flux-system", spec=source),
        elsewhere("GitRepository", "fleet", "flux-system", status={"conditions": [failed]}),
        elsewhere("GitRepository", "fleet", "other"),
    )

    capsule = gathered(tmp_path, "Deployment")

    assert {
        "application/argocd~shop",
        "kustomization/flux-system~apps",
        "gitrepository/flux-system~fleet",
    } < named(capsule)
    seen = json.loads(capsule.read("context/permissions.json"))["seen"]
    assert seen["GitRepository in flux-system"] == 1
    first = diagnose(capsule).findings[0]
    assert (first.analyzer, first.certainty.value) == ("gitops.source-failed", "likely")


def test_the_revisions_of_a_set_are_what_it_was_before(tmp_path: Path) -> None:
    def spec(limit: str) -> dict[str, Any]:
        resources = {"limits": {"memory": limit}}
        return {"template": {"spec": {"containers": [{"name": "a", "resources": resources}]}}}

    def revision(number: int, limit: str) -> dict[str, Any]:
        owner = ("StatefulSet", "checkout")
        data = {"spec": spec(limit)}
        return thing("ControllerRevision", f"checkout-r{number}", owner, revision=number, data=data)

    record(
        tmp_path,
        thing("StatefulSet", spec=spec("64Mi"), status={"updateRevision": "checkout-r3"}),
        revision(1, "512Mi"),
        revision(2, "256Mi"),
        revision(3, "64Mi"),
    )

    (workload,) = Facts(gathered(tmp_path, "StatefulSet")).workloads

    was = workload.parts[0].was("resources.limits.memory")
    assert was is not None
    assert (was.value, was.revision) == ("256Mi", 2)
    assert was.evidence is not None
    assert was.evidence.quote == "memory: 256Mi"
