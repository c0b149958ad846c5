"""From a live object to the directory it is delivered from."""

from __future__ import annotations

from typing import Any

import pytest

from faultline.capsule import Capsule, objects
from faultline.delivery import hints
from faultline.hints import Hints
from faultline.model import Target

API = Target(kind="Deployment", name="api", namespace="shop")


def deployment(**metadata: dict[str, str]) -> dict[str, Any]:
    named = {"name": "api", "namespace": "shop"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": named | metadata}


def application(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": spec,
    }


def kustomization(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "shop", "namespace": "flux-system"},
        "spec": spec,
    }


TRACKED = deployment(
    annotations={"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/api"}
)
LABELLED = deployment(labels={"app.kubernetes.io/instance": "shop"})
ANYWHERE = deployment(annotations={"argocd.argoproj.io/tracking-id": "team_shop:apps/Deployment:x"})
FLUX = deployment(labels={"kustomize.toolkit.fluxcd.io/name": "shop"})
ARGO = Hints(by="Application shop", directories=("deploy/prod",), release="shop")


@pytest.mark.parametrize("live", [TRACKED, LABELLED, ANYWHERE])
@pytest.mark.parametrize(
    "spec",
    [
        {"source": {"repoURL": "https://git.example/shop", "path": "deploy/prod"}},
        {"source": {"path": "./deploy/prod/", "kustomize": {"commonLabels": {"a": "b"}}}},
        {"sources": [{"ref": "values"}, {"path": "deploy/prod"}]},
        {"sources": [{"chart": "redis"}, {"path": "deploy/prod"}]},
    ],
)
def test_an_application_leads_to_its_path(live: dict[str, Any], spec: dict[str, Any]) -> None:
    assert hints([application(**spec), live], API) == ARGO


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"sources": [{"path": "a"}, {"path": "b"}]}, "found 2 of them"),
        ({"source": {"chart": "redis", "repoURL": "x"}}, "installs the chart redis"),
        ({"source": {"path": "a", "kustomize": {"images": ["a:1"]}}}, "sets images itself"),
        ({"source": {"path": "a", "helm": {"parameters": [{}]}}}, "sets parameters itself"),
        ({"source": {"path": "a", "plugin": {"name": "x"}}}, "sets plugin itself"),
        ({"source": {"path": "../up"}}, "inside the repository"),
        ({}, "found none"),
    ],
)
def test_an_application_that_leads_nowhere_says_why(spec: dict[str, Any], reason: str) -> None:
    found = hints([TRACKED, application(**spec)], API)

    assert (found.by, found.directories) == ("Application shop", ())
    assert reason in found.refusal


def test_a_kustomization_of_flux_leads_to_its_path() -> None:
    found = hints([FLUX, kustomization(path="./clusters/prod")], API)

    assert found == Hints(by="Kustomization shop", directories=("clusters/prod",))
    assert hints([FLUX, kustomization()], API).directories == ("",)
    assert (
        "sets patches itself" in hints([FLUX, kustomization(path="a", patches=[{}])], API).refusal
    )


def test_a_release_of_flux_is_refused_and_values_files_of_argo_are_named() -> None:
    release = deployment(labels={"helm.toolkit.fluxcd.io/name": "shop"})
    charts = application(
        source={"path": "charts/shop", "helm": {"valueFiles": ["values-prod.yaml"]}}
    )

    assert "the values of HelmRelease shop do" in hints([release], API).refusal
    assert hints([TRACKED, charts], API).values == ("values-prod.yaml",)


def test_the_origin_that_kustomize_notes_leads_to_the_file() -> None:
    origin = "config.kubernetes.io/origin"
    local = deployment(annotations={origin: "path: ../../base/api.yaml\n"})
    remote = deployment(annotations={origin: "path: api.yaml\nrepo: https://x\nref: v1\n"})
    broken = deployment(annotations={origin: "{"})

    assert hints([local], API) == Hints(files=("base/api.yaml",))
    assert hints([remote], API) == hints([broken], API) == Hints()


@pytest.mark.covers("S3-51")
def test_the_file_that_a_person_names_comes_before_the_one_that_kustomize_noted() -> None:
    notes = {
        "faultline.dev/manifest": "/apps/shop/../api.yaml",
        "config.kubernetes.io/origin": "path: base/api.yaml\n",
    }

    assert hints([deployment(annotations=notes)], API) == Hints(files=("apps/api.yaml",))


def test_nothing_is_known_of_an_object_that_says_nothing() -> None:
    others = [application(source={"path": "a"}), kustomization(path="a")]

    assert hints([deployment(), *others], API) == Hints()
    assert hints(others, API) == Hints()


def test_the_objects_of_a_capsule_are_read_and_what_is_unreadable_is_left_out() -> None:
    capsule = Capsule(
        {
            "context/objects/deployment/api.yaml": b"kind: Deployment\n",
            "context/objects/pod/broken.yaml": b"a: [",
            "context/objects/pod/list.yaml": b"[1]",
            "context/k8s-events.json": b"{}",
        }
    )

    assert objects(capsule) == ({"kind": "Deployment"},)
