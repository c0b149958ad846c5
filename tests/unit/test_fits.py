"""The arithmetic of quotas, limit ranges, autoscalers, budgets and nodes, as tables."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from faultline.amounts import shown
from faultline.fits import judge
from faultline.model import Change, Diagnosis, PatchRules, Target
from faultline.proposal import propose

API = Target(kind="Deployment", name="api", namespace="shop")
SCALER = Target(kind="HorizontalPodAutoscaler", name="api", namespace="shop")
CONTAINER = "spec.template.spec.containers[name=api].resources."
LIMIT, REQUEST = CONTAINER + "limits.memory", CONTAINER + "requests.memory"


def workload(
    requests: dict[str, str], limits: dict[str, str], replicas: int = 3, **spec: Any
) -> dict[str, Any]:
    container = {"name": "api", "resources": {"requests": requests, "limits": limits}}
    template = {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [container]}}
    return named("Deployment", "api", {"replicas": replicas, "template": template} | spec)


def named(
    kind: str, name: str, spec: dict[str, Any], status: dict[str, Any] | None = None
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop"}
    return {"kind": kind, "metadata": metadata, "spec": spec, "status": status or {}}


def quota(used: dict[str, str], hard: dict[str, str], **spec: Any) -> dict[str, Any]:
    return named("ResourceQuota", "team", {"hard": hard} | spec, {"hard": hard, "used": used})


def limits(**item: Any) -> dict[str, Any]:
    return named("LimitRange", "sizes", {"limits": [{"type": "Container"} | item]})


def scaler(least: int, most: int) -> dict[str, Any]:
    reference = {"kind": "Deployment", "name": "api"}
    spec = {"minReplicas": least, "maxReplicas": most, "scaleTargetRef": reference}
    return named("HorizontalPodAutoscaler", "api", spec)


def budget(**spec: Any) -> dict[str, Any]:
    return named("PodDisruptionBudget", "api", {"selector": {"matchLabels": {"app": "api"}}} | spec)


def node(name: str, **allocatable: str) -> dict[str, Any]:
    return {"kind": "Node", "metadata": {"name": name}, "status": {"allocatable": allocatable}}


def change(field: str, after: Any, target: Target = API) -> Change:
    return Change(target=target, field=field, after=after)


SMALL = workload({"memory": "64Mi"}, {"memory": "128Mi"})
NO_SURGE = workload(
    {"memory": "64Mi"},
    {"memory": "128Mi"},
    strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
)
RECREATED = workload({"memory": "64Mi"}, {"memory": "128Mi"}, strategy={"type": "Recreate"})
# three pods of 128Mi use 384Mi, others 128Mi
USED = {"limits.memory": "512Mi"}


@pytest.mark.parametrize(
    ("live", "around", "wanted", "refused", "said"),
    [
        # quotas
        (SMALL, quota(USED, {"limits.memory": "2Gi"}), change(LIMIT, "256Mi"), "",
         "limits.memory of 3 pods is 768Mi; ResourceQuota team has room for 1.9Gi."),
        (SMALL, quota(USED, {"limits.memory": "768Mi"}), change(LIMIT, "256Mi"),
         "quota: limits.memory of 3 pods is 768Mi; ResourceQuota team has room for 640Mi.", ""),
        (SMALL, quota(USED, {"limits.memory": "1000Mi"}), change(LIMIT, "256Mi"),
         "quota: limits.memory of 3 pods is 768Mi, and 1Gi while they are replaced; "
         "ResourceQuota team has room for 872Mi.", ""),
        (NO_SURGE, quota(USED, {"limits.memory": "1000Mi"}), change(LIMIT, "256Mi"), "",
         "limits.memory of 3 pods is 768Mi; ResourceQuota team has room for 872Mi."),
        (RECREATED, quota(USED, {"limits.memory": "896Mi"}), change(LIMIT, "256Mi"), "",
         "limits.memory of 3 pods is 768Mi; ResourceQuota team has room for 768Mi."),
        (SMALL, quota({"memory": "192Mi"}, {"memory": "256Mi"}), change(REQUEST, "128Mi"),
         "quota: requests.memory of 3 pods is 384Mi; ResourceQuota team has room for 256Mi.", ""),
        (SMALL, quota({"pods": "4"}, {"pods": "5"}), change("spec.replicas", 5),
         "quota: 5 pods are wanted; ResourceQuota team has room for 4.", ""),
        (SMALL, quota({"pods": "4"}, {"pods": "9"}), change("spec.replicas", 5), "",
         "5 pods are wanted; ResourceQuota team has room for 8."),
        (SMALL, quota(USED, {"limits.memory": "1Mi"}, scopes=["Terminating"]),
         change(LIMIT, "256Mi"), "", "ResourceQuota team is for some pods: not judged."),
        (SMALL, quota({"requests.memory": "192Mi"}, {"requests.memory": "1Gi"}),
         change(LIMIT, "256Mi"), "", ""),
        (SMALL, quota({"requests.memory": "192Mi"}, {"requests.memory": "192Mi"}),
         change(LIMIT, "256Mi"),
         "quota: requests.memory of 3 pods is 192Mi, and 256Mi while they are replaced; "
         "ResourceQuota team has room for 192Mi.", ""),
        (SMALL, quota({"count/secrets": "1"}, {"count/secrets": "1"}), change(LIMIT, "256Mi"),
         "", ""),
        (SMALL, quota(USED, {"limits.memory": "1Mi"}),
         change("spec.template.spec.containers[name=api].readinessProbe.timeoutSeconds", 5),
         "", ""),
        # limit ranges
        (SMALL, limits(max={"memory": "256Mi"}), change(LIMIT, "256Mi"), "",
         "limits.memory of container api is 256Mi; LimitRange sizes allows 256Mi at most."),
        (SMALL, limits(max={"memory": "256Mi"}), change(LIMIT, "512Mi"),
         "limit-range: limits.memory of container api is 512Mi; LimitRange sizes allows 256Mi "
         "at most.", ""),
        (SMALL, limits(min={"memory": "64Mi"}), change(REQUEST, "32Mi"),
         "limit-range: requests.memory of container api is 32Mi; LimitRange sizes asks for 64Mi "
         "at least.", ""),
        (SMALL, limits(maxLimitRequestRatio={"memory": "2"}), change(LIMIT, "256Mi"),
         "limit-range: limits.memory of container api is 4 times its request; LimitRange sizes "
         "allows 2 times at most.", ""),
        (SMALL, limits(type="Pod", max={"memory": "128Mi"}), change(LIMIT, "256Mi"),
         "limit-range: limits.memory of the pod is 256Mi; LimitRange sizes allows 128Mi at most.",
         ""),
        (SMALL, limits(type="PersistentVolumeClaim", max={"memory": "1Mi"}),
         change(LIMIT, "256Mi"), "", ""),
        # autoscalers
        (SMALL, scaler(2, 4), change("spec.replicas", 4), "",
         "HorizontalPodAutoscaler api keeps replicas from 2 to 4; 4 fit."),
        (SMALL, scaler(2, 4), change("spec.replicas", 6),
         "autoscaler: HorizontalPodAutoscaler api keeps replicas from 2 to 4; 6 does not fit.", ""),
        # budgets
        (SMALL, budget(minAvailable=2), change("spec.replicas", 4), "",
         "PodDisruptionBudget api does not hold up a rolling update; of 4 pods 2 may be evicted "
         "at a time."),
        (SMALL, budget(minAvailable="50%"), change(LIMIT, "256Mi"), "",
         "PodDisruptionBudget api does not hold up a rolling update; of 3 pods 1 may be evicted "
         "at a time."),
        (SMALL, budget(minAvailable=2), change("spec.replicas", 2),
         "disruption-budget: PodDisruptionBudget api does not hold up a rolling update; of 2 pods "
         "0 may be evicted at a time.", ""),
        (SMALL, budget(minAvailable=9, selector={"matchLabels": {"app": "web"}}),
         change("spec.replicas", 2), "", ""),
        # nodes
        (SMALL, node("n1", memory="1Gi"), change(REQUEST, "512Mi"), "",
         "requests.memory of a pod is 512Mi; node n1, the largest that we know, can give 1Gi."),
        (SMALL, node("n1", memory="256Mi"), change(REQUEST, "512Mi"),
         "node: requests.memory of a pod is 512Mi; node n1, the largest that we know, can give "
         "256Mi.", ""),
    ],
)  # fmt: skip
def test_a_change_is_held_against_what_is_around_it(
    live: dict[str, Any], around: dict[str, Any], wanted: Change, refused: str, said: str
) -> None:
    found = judge([wanted], [around, live])

    assert (list(found.refused.values()), list(found.said)) == (
        [refused] if refused else [],
        [said] if said else [],
    )


def test_all_changes_of_a_workload_count_together() -> None:
    both = [change(LIMIT, "256Mi"), change("spec.replicas", 6)]
    around = quota(USED, {"limits.memory": "2Gi"})

    assert "limits.memory of 6 pods is 1.5Gi" in judge(both, [SMALL, around]).said[0]


def test_the_most_replicas_of_an_autoscaler_have_to_fit_the_quota() -> None:
    wanted = change("spec.maxReplicas", 8, SCALER)
    around = [SMALL, scaler(2, 4), quota(USED, {"limits.memory": "1Gi"})]

    assert "limits.memory of 8 pods is 1Gi; ResourceQuota team has room for 896Mi" in str(
        judge([wanted], around).refused
    )


def test_defaults_of_a_limit_range_count_where_a_container_says_nothing() -> None:
    bare = workload({}, {})
    defaults = limits(default={"memory": "256Mi"}, defaultRequest={"memory": "128Mi"})
    around = [bare, defaults, quota({"requests.memory": "384Mi"}, {"requests.memory": "512Mi"})]

    found = judge([change("spec.replicas", 4)], around)

    assert "requests.memory of 4 pods is 512Mi" in str(found)


def test_init_containers_ask_for_room_too() -> None:
    live = workload({"memory": "64Mi"}, {})
    live["spec"]["template"]["spec"]["initContainers"] = [
        {"name": "once", "resources": {"requests": {"memory": "512Mi"}}},
        {"name": "stays", "restartPolicy": "Always", "resources": {"requests": {"memory": "1Mi"}}},
    ]

    found = judge([change(REQUEST, "128Mi")], [live, node("n1", memory="1Gi")])

    assert found.said[0].startswith("requests.memory of a pod is 512Mi")


def test_another_namespace_and_a_cluster_that_says_nothing_are_not_judged() -> None:
    other = quota(USED, {"limits.memory": "1Mi"})
    other["metadata"]["namespace"] = "test"

    assert judge([change(LIMIT, "256Mi")], [SMALL, other]) == ({}, ())
    assert judge([change(LIMIT, "256Mi")], []) == ({}, ())


@pytest.mark.parametrize(
    ("number", "resource", "text"),
    [("0.25", "cpu", "250m"), ("2", "cpu", "2"), ("0", "memory", "0"), ("7", "pods", "7"),
     (str(3 * 2**29), "memory", "1.5Gi"), (str(640 * 2**20), "memory", "640Mi")],
)  # fmt: skip
def test_numbers_are_written_as_people_write_them(number: str, resource: str, text: str) -> None:
    assert shown(Decimal(number), resource) == text


def test_what_does_not_fit_refuses_the_patch_with_its_numbers() -> None:
    manifest = Path(__file__).parents[1] / "fixtures" / "manifests" / "deploy/api/deployment.yaml"
    wanted = Change(target=API, field=LIMIT, before="64Mi", after="256Mi")
    diagnosis = Diagnosis(title="memory", root_cause="too little", changes=(wanted,))
    files = {"api.yaml": manifest.read_bytes()}
    live = workload({"memory": "64Mi"}, {"memory": "64Mi"}, 2)
    room, none = (quota({"limits.memory": "128Mi"}, {"limits.memory": m}) for m in ("2Gi", "256Mi"))

    fits = propose(diagnosis, files, PatchRules(), revision="a", objects=[live, room])
    not_ = propose(diagnosis, files, PatchRules(), revision="a", objects=[live, none])

    assert (
        fits.checks[-1] == "limits.memory of 2 pods is 512Mi; ResourceQuota team has room for 2Gi."
    )
    assert not_.empty
    assert "has room for 256Mi" in not_.refused["Deployment/api quota"]
