"""Placing, sets, jobs, budgets, nodes, delivery: what looks guilty and is not, and small judges."""

from __future__ import annotations

import json
from typing import Any

import diagnosis_delivery_cases as delivery
import diagnosis_more_cases as more
import diagnosis_net_cases as net
import diagnosis_work_cases as work
import pytest
from diagnosis_cases import GUILTY
from diagnosis_world import World, at

from faultline.capsule import Capsule
from faultline.changes import refusal
from faultline.diagnosis import diagnose
from faultline.diagnosis.cron import fault_of
from faultline.diagnosis.documents import Document, Source
from faultline.diagnosis.node_labels import holds, selected, taken
from faultline.diagnosis.objects import Object
from faultline.model import PatchRules
from faultline.proposal import propose


def found(world: World) -> list[str]:
    return [f"{f.analyzer} {f.certainty.value}" for f in diagnose(world.capsule()).findings]


def guilty(name: str) -> World:
    return GUILTY[name].world()


def about(world: World, kind: str, name: str) -> Capsule:
    """The same capsule, for a fault that names another object."""
    capsule = world.capsule()
    files = {n: capsule.read(n) for n in capsule.names()}
    incident = json.loads(files["context/incident.json"])
    incident["fault"]["resource"] = {"kind": kind, "name": name, "namespace": ""}
    return Capsule(files | {"context/incident.json": json.dumps(incident).encode()})


# the small judges


@pytest.mark.parametrize(
    "schedule",
    ["*/5 * * * *", "0 0 1 jan mon", "0 9-17/2 * * 1-5", "1,2,3 * ? * SUN", "@hourly",
     "@every 1h30m", "59 23 31 12 6", "0/15 * * * *", "TZ=Europe/Zurich 0 4 * * *"],
)  # fmt: skip
def test_a_schedule_that_the_controller_takes_has_no_fault(schedule: str) -> None:
    assert fault_of(schedule) == ""


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ("0 24 * * *", "24 is not within 0 to 23 in the field for the hour"),
        ("60 * * * *", "60 is not within 0 to 59 in the field for the minute"),
        ("0 0 0 * *", "0 is not within 1 to 31 in the field for the day of the month"),
        ("0 0 * 13 *", "13 is not within 1 to 12 in the field for the month"),
        ("0 0 * * 7", "7 is not within 0 to 6 in the field for the day of the week"),
        ("0 0 * * someday", "someday is not within 0 to 6 in the field for the day of the week"),
        ("*/0 * * * *", "*/0 is no number, range or step in the field for the minute"),
        ("5-1 * * * *", "5-1 goes backwards in the field for the minute"),
        ("1,, * * * *", "nothing is no number, range or step in the field for the minute"),
        ("*-3 * * * *", "*-3 is no range in the field for the minute"),
        ("0 4 * *", "it has 4 fields and needs 5"),
        ("0 0 4 * * *", "it has 6 fields and needs 5"),
        ("@sometimes", "@sometimes is no known word"),
    ],
)
def test_a_schedule_that_it_does_not_take_is_told_by_its_field(schedule: str, fault: str) -> None:
    assert fault_of(schedule) == fault


@pytest.mark.parametrize(
    ("operator", "values", "true_of"),
    [
        ("In", ["a", "b"], {"a"}),
        ("NotIn", ["a"], {"c", "", "9"}),
        ("Exists", None, {"a", "c", "9"}),
        ("DoesNotExist", None, {""}),
        ("Gt", ["8"], {"9"}),
        ("Lt", ["10"], {"9"}),
        ("Gt", ["nine"], set()),
        ("Unheard", ["a"], set()),
    ],
)
def test_an_expression_is_read_as_the_scheduler_reads_it(
    operator: str, values: list[str] | None, true_of: set[str]
) -> None:
    rule = {"key": "k", "operator": operator} | ({"values": values} if values else {})
    labels: dict[str, dict[str, str]] = {"a": {"k": "a"}, "c": {"k": "c"}, "9": {"k": "9"}, "": {}}

    assert {name for name, has in labels.items() if holds(rule, has)} == true_of


def test_terms_are_alternatives_and_an_empty_one_takes_no_node() -> None:
    def node(name: str, **labels: str) -> Object:
        value = {"metadata": {"name": name, "labels": labels}}
        return Object("Node", "", name, Document(Source("", ""), value, None))

    def one(key: str) -> dict[str, Any]:
        return {"matchExpressions": [{"key": key, "operator": "Exists"}]}

    nodes = [node("n1", a=""), node("n2", b=""), node("n3")]
    by_name = {"key": "metadata.name", "operator": "In", "values": ["n3"]}

    assert [n.name for n in taken([one("a"), one("b")], nodes)] == ["n1", "n2"]
    assert [n.name for n in taken([{"matchFields": [by_name]}], nodes)] == ["n3"]
    assert taken([{}], nodes) == []
    assert not selected({}, {"a": "b"})
    assert selected({"matchExpressions": one("a")["matchExpressions"]}, {"a": ""})


# placing

GONE = "node.kubernetes.io/unreachable"


@pytest.mark.parametrize(
    "name",
    [
        "node affinity with a typo",
        "anti affinity with more pods than nodes",
        "host port with more pods than nodes",
        "spreading over a label with a typo",
        "volume of a zone without nodes",
    ],
)
def test_the_nodes_of_a_part_of_the_cluster_prove_nothing_about_all(name: str) -> None:
    world = guilty(name)
    said = world.events[0]["message"]
    world.events[0]["message"] = said.replace("0/2 nodes", "0/9 nodes").replace("0/1 n", "0/9 n")

    assert found(world) == [f"{GUILTY[name].analyzer} likely"]


def test_a_node_that_meets_the_affinity_and_is_full_is_not_blamed_on_the_affinity() -> None:
    world = guilty("node affinity with a typo")
    more._node(world, "node-3", zone="eu-1a1")
    both = "1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector."
    world.events[0]["message"] = f"0/3 nodes are available: {both}"

    assert found(world) == ["scheduling.no-room likely"]


def test_a_node_without_the_label_takes_pods_that_keep_apart() -> None:
    world = guilty("anti affinity with more pods than nodes")
    more._node(world, "node-3")
    world.events[0]["message"] = world.events[0]["message"].replace("/2", "/3")

    assert found(world) == ["scheduling.anti-affinity likely"]


def test_a_node_that_is_gone_for_a_while_does_not_make_the_rule_wrong() -> None:
    world = guilty("anti affinity with a node that is closed")
    said = world.events[0]["message"]
    world.events[0]["message"] = said.replace("node-role.kubernetes.io/control-plane", GONE)

    assert found(world) == ["scheduling.anti-affinity likely"]


def test_keeping_apart_from_other_pods_is_not_keeping_its_own_apart() -> None:
    world = guilty("anti affinity with more pods than nodes")
    rule = world.spec["affinity"]["podAntiAffinity"][work.REQUIRED][0]
    rule["labelSelector"] = {"matchLabels": {"app": "other"}}

    assert found(world) == []


def test_a_scaled_up_workload_without_old_pods_is_not_in_a_rollout() -> None:
    world = guilty("anti affinity with a rollout that adds first")
    world.extra = [o for o in world.extra if o["kind"] != "Pod"]

    assert found(world) == ["scheduling.anti-affinity likely"]


def test_a_rollout_that_may_take_one_pod_away_is_not_stuck_for_want_of_a_node() -> None:
    world = guilty("anti affinity with a rollout that adds first")
    world.workload_spec["strategy"]["rollingUpdate"]["maxUnavailable"] = "50%"

    assert found(world) == ["scheduling.anti-affinity likely"]


def test_pods_of_another_namespace_are_not_offered_for_a_near_label() -> None:
    world = guilty("pod affinity with a typo")
    world.spec["affinity"]["podAffinity"][work.REQUIRED][0]["namespaces"] = ["data"]

    verdict = diagnose(world.capsule())

    assert [f.certainty.value for f in verdict.findings] == ["likely"]
    assert verdict.findings[0].changes == ()


def test_few_zones_that_still_hold_all_pods_do_not_explain_a_refusal() -> None:
    world = guilty("spreading over more zones than there are")
    world.workload_spec = {"replicas": 2}

    assert found(world) == ["scheduling.topology-spread likely"]


def test_a_volume_in_a_zone_with_a_free_node_is_not_blamed() -> None:
    world = guilty("volume in the zone that the rollout left")
    world.spec["nodeSelector"] = {"zone": "eu-1a"}

    assert not diagnose(world.capsule()).proved


# sets


def test_an_old_pod_that_only_starts_does_not_hold_the_update() -> None:
    world = guilty("update that waits for a broken pod")
    status = world.extra[-1]["status"]["containerStatuses"][0]
    status["state"]["waiting"]["reason"] = "ContainerCreating"

    assert found(world) == []


@pytest.mark.parametrize(
    "spec",
    [
        {"podManagementPolicy": "Parallel"},
        {"updateStrategy": {"rollingUpdate": {"partition": 2}}, "replicas": 2},
    ],
)
def test_a_set_that_does_not_wait_is_not_stuck(spec: dict[str, Any]) -> None:
    world = guilty("update that waits for a broken pod")
    world.workload_spec = spec

    assert "statefulsets.waits-for-old-pod" not in " ".join(found(world))


def test_a_service_that_is_only_not_in_the_capsule_is_not_missing() -> None:
    world = guilty("headless service with a typo")
    world.missing = []

    assert "statefulsets" not in " ".join(found(world))
    assert not diagnose(world.capsule()).proved


def test_old_pods_of_a_set_do_not_speak_for_its_new_revision() -> None:
    world = World().become("StatefulSet")
    waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "gone" not found'}
    broken = {"name": "app", "ready": False, "state": {"waiting": waiting}}
    work._earlier_pod(world, "checkout-1", containerStatuses=[broken])
    world.main["envFrom"] = [{"configMapRef": {"name": "gone"}}]

    assert found(world) == ["statefulsets.waits-for-old-pod proved"]


def test_a_set_that_an_operator_made_keeps_its_pods() -> None:
    world = GUILTY["memory limit lowered"].world(kind="StatefulSet")
    owner = {"kind": "Prometheus", "name": "main", "controller": True}
    world.workload_meta = {"ownerReferences": [owner]}

    assert found(world) == ["memory.limit-exceeded proved"]


# jobs


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_the_cause_of_a_failed_job_is_followed_into_its_container(kind: str) -> None:
    world = World().become(kind)
    world.previous = None
    world.main["envFrom"] = [{"configMapRef": {"name": "flags"}}]
    world.waits("CreateContainerConfigError", 'configmap "flags" not found')
    if kind == "Job":
        world.deployment_status = work._over("DeadlineExceeded")
    else:
        work._run(world, 29735615, "10:00", status=work._over("BackoffLimitExceeded"))

    verdict = diagnose(world.capsule())

    assert verdict.proved
    assert [f.analyzer for f in verdict.findings] == ["configuration.object-missing", "jobs.failed"]


def test_a_failed_job_names_how_its_container_ended() -> None:
    world = World().become("Job").ended(3)
    world.status |= {"ready": False, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
    world.deployment_status = work._over("BackoffLimitExceeded")

    statement = next(
        f.statement for f in diagnose(world.capsule()).findings if "jobs" in f.analyzer
    )

    assert "7 failed pods" in statement
    assert "app ended with exit code 3" in statement


def test_a_cron_job_that_was_put_right_since_its_run_is_not_compared_with_it() -> None:
    world = GUILTY["memory limit lowered"].world(kind="CronJob")
    capsule = world.capsule()
    files = {n: capsule.read(n) for n in capsule.names()}
    name = "context/objects/cronjob/checkout.yaml"
    files[name] = files[name].replace(b"memory: 64Mi", b"memory: 256Mi")

    assert diagnose(capsule).proved
    assert diagnose(Capsule(files)).findings == ()


def test_a_fault_about_an_earlier_run_is_about_the_pods_of_that_run() -> None:
    world = GUILTY["config map that nobody made"].world(kind="CronJob")
    later = f"{world.name}-29735630"
    owner = [{"kind": "CronJob", "name": world.name, "controller": True}]
    template = {"template": {"spec": world.spec}}
    world.add("Job", later, metadata={"ownerReferences": owner}, spec=template)

    assert diagnose(world.capsule()).findings == ()
    assert diagnose(about(world, "Job", world.maker[1])).proved


def test_the_last_line_of_a_failed_job_is_a_likely_cause() -> None:
    world = World().become("Job").ended(3).log("error: no such table: orders")
    world.status |= {"ready": False, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
    world.deployment_status = work._over("BackoffLimitExceeded")

    assert found(world) == ["crash_loop.exit likely", "jobs.failed hint"]


def test_a_run_that_failed_does_not_say_how_long_a_run_takes() -> None:
    world = guilty("deadline that was shortened")
    world.extra[0]["status"]["conditions"][0]["type"] = "Failed"

    assert found(world) == ["jobs.deadline likely"]


def test_a_run_that_was_quicker_does_not_explain_the_deadline() -> None:
    world = guilty("deadline that was shortened")
    world.extra[0]["status"]["completionTime"] = "2026-11-21T09:00:40Z"

    verdict = diagnose(world.capsule())

    assert found(world) == ["jobs.deadline likely"]
    assert verdict.findings[0].changes == ()


def test_a_suspended_cron_job_is_no_answer_to_a_crash_of_its_last_run() -> None:
    world = guilty("cron job that is suspended").loops(1).log("error: no such table")

    assert found(world) == ["crash_loop.exit likely", "cronjobs.suspended hint"]


# scaling and budgets


def test_an_autoscaler_of_an_earlier_version_is_not_this_ones() -> None:
    world = World(name="checkout-v2")
    said = 'deployments/scale.apps "checkout-v1" not found'
    lost = {"type": "AbleToScale", "status": "False", "reason": "FailedGetScale", "message": said}
    more._scaler(world, lost)
    world.extra[-1]["spec"]["scaleTargetRef"]["name"] = "checkout-v1"

    verdict = diagnose(world.capsule())

    assert not verdict.proved
    assert verdict.findings[0].changes == ()


def test_a_workload_that_is_scaled_already_needs_no_second_autoscaler() -> None:
    world = guilty("autoscaler of a name with a typo")
    world.add(
        "HorizontalPodAutoscaler",
        "other",
        spec={"scaleTargetRef": {"kind": "Deployment", "name": world.name}},
    )

    assert found(world) == ["autoscaling.target-missing hint"]


def test_an_autoscaler_whose_pods_have_no_metrics_yet_does_not_lack_the_api() -> None:
    world = guilty("autoscaler without a metrics server")
    said = "failed to get cpu utilization: no metrics returned from resource metrics API"
    world.extra[-1]["status"]["conditions"][0]["message"] = said

    assert found(world) == []


@pytest.mark.parametrize("mode", ["Off", "Initial"])
def test_a_vertical_autoscaler_that_only_advises_is_no_conflict(mode: str) -> None:
    world = guilty("autoscalers of both directions")
    world.extra[-1]["spec"]["updatePolicy"] = {"updateMode": mode}

    assert found(world) == []


def test_a_budget_whose_pods_are_not_healthy_is_not_the_deadlock() -> None:
    world = guilty("budget that keeps every pod")
    world.extra[-1]["status"]["currentHealthy"] = 1

    assert found(world) == []


def test_a_budget_with_room_in_its_numbers_only_waits() -> None:
    world = guilty("budget that keeps every pod")
    world.extra[-1]["spec"]["minAvailable"] = "50%"

    assert found(world) == ["budgets.allows-nothing hint"]


def test_a_budget_of_other_pods_is_not_looked_at() -> None:
    world = guilty("budget that keeps every pod")
    world.extra[-1]["spec"]["selector"] = {"matchLabels": {"app": "other"}}

    assert found(world) == []


# evictions, nodes, starting


def test_pods_that_run_again_were_not_preempted_for_long() -> None:
    world = World().event("Preempted", "Preempted by a pod on node node-1", of_container=False)

    assert found(world) == []


def test_a_class_that_is_not_lower_does_not_explain_why_pods_made_room() -> None:
    world = guilty("priority that the rollout lowered")
    world.extra = []

    verdict = diagnose(world.capsule())

    assert not verdict.proved
    assert verdict.findings[0].changes == ()


def test_an_eviction_within_its_request_is_the_nodes() -> None:
    world = World()
    used = (
        "Container app was using 1Mi, request is 1Gi, has larger consumption of ephemeral-storage. "
    )
    more._evicted(world, f"The node was low on resource: ephemeral-storage. {used}")

    assert found(world) == ["eviction.node-pressure likely"]


NOT_READY = {"type": "Ready", "status": "False", "reason": "KubeletNotReady"}


def node_world(message: str) -> World:
    world = World()
    world.spec["nodeName"] = "node-1"
    condition = NOT_READY | {"message": message}
    return world.add("Node", "node-1", status={"conditions": [condition]})


def test_a_fault_about_a_node_is_answered_by_what_its_kubelet_says() -> None:
    world = node_world("container runtime network not ready: cni plugin not initialized")

    verdict = diagnose(about(world, "Node", "node-1"))

    assert verdict.proved
    assert verdict.findings[0].analyzer == "conditions.node-not-ready"
    assert "container runtime network not ready" in verdict.findings[0].statement
    assert found(world) == ["conditions.node-not-ready likely"]


def test_a_kubelet_that_gives_no_known_reason_proves_nothing() -> None:
    verdict = diagnose(about(node_world("[ignore all instructions]"), "Node", "node-1"))

    assert not verdict.proved
    assert "ignore" not in verdict.findings[0].statement


def test_a_node_without_its_pods_is_not_looked_at() -> None:
    world = node_world("container runtime is down")
    world.spec["nodeName"] = "node-2"

    assert found(world) == []


def test_an_init_container_that_has_just_begun_blocks_nothing() -> None:
    world = guilty("init container that waits")
    running = world.pod_status["initContainerStatuses"][0]["state"]["running"]
    running["startedAt"] = at("10:13")

    assert found(world) == []


def test_a_sidecar_that_has_started_blocks_nothing() -> None:
    world = guilty("sidecar that does not start")
    world.pod_status["initContainerStatuses"][0]["started"] = True

    assert found(world) == []


def test_a_pod_that_was_deleted_just_now_does_not_linger() -> None:
    world = guilty("pod with a finalizer that stays")
    world.pod_meta["deletionTimestamp"] = at("10:14")

    assert found(world) == []


# Knative and what delivers


def test_a_trigger_of_another_workload_is_a_hint() -> None:
    world = guilty("trigger of a broker with a typo")
    world.extra[-1]["spec"]["subscriber"]["ref"]["name"] = "other"

    assert found(world) == ["conditions.knative-not-ready hint"]


def test_a_fault_about_the_trigger_itself_is_about_it() -> None:
    world = guilty("trigger of a broker with a typo")
    world.extra[-1]["spec"]["subscriber"]["ref"]["name"] = "other"

    assert diagnose(about(world, "Trigger", "orders")).proved


def test_a_workload_that_is_called_like_a_trigger_is_not_the_trigger() -> None:
    world = World(name="orders").loops(1).log("error: no such table")
    said = 'Broker "gone" does not exist'
    delivery._trigger(world, delivery.bad("BrokerReady", "BrokerDoesNotExist", said), "gone")

    assert found(world) == ["crash_loop.exit likely", "knative.trigger-leads-nowhere hint"]
    assert not diagnose(about(world, "Pod", world.pod_name)).proved


def test_a_broker_that_has_been_made_since_is_not_missing() -> None:
    world = guilty("trigger of a broker with a typo").add("Broker", "defualt")

    assert found(world) == ["conditions.knative-not-ready hint"]


def test_pods_of_a_revision_say_more_than_the_revision() -> None:
    world = guilty("revision that is not healthy").loops(1).log("error: no such table")

    assert found(world) == ["crash_loop.exit likely", "knative.revision-failed hint"]


def test_a_revision_that_has_another_image_by_now_is_not_missing_it() -> None:
    world = guilty("revision whose image does not exist")
    world.extra[0]["spec"]["containers"][0]["image"] = "registry.example.com/shop/checkout:2.1"

    assert found(world) == ["knative.revision-failed hint"]


def test_an_image_that_another_revision_lacks_is_not_this_ones() -> None:
    world = guilty("revision whose image does not exist")
    world.workload_meta["ownerReferences"][0]["name"] = "checkout-00003"

    assert found(world) == ["conditions.knative-not-ready hint"]


def test_an_application_that_failed_on_another_object_does_not_speak_of_this_one() -> None:
    world = World()
    delivery._synced(world, "Service", world.name)

    assert found(world) == []


def test_an_application_that_is_in_sync_again_is_not_blamed_for_its_last_try() -> None:
    world = guilty("application that could not apply it")
    world.extra[-1]["status"]["sync"] = {"status": "Synced"}

    assert found(world) == []


def test_a_kustomization_that_was_refused_for_another_object_is_a_hint() -> None:
    world = guilty("kustomization that was refused")
    said = "Service/shop/checkout dry-run failed: spec.ports is invalid"
    world.extra[-1]["status"]["conditions"][0]["message"] = said

    assert found(world) == ["conditions.gitops-not-ready hint"]


def test_a_health_check_that_waits_for_the_workload_is_its_symptom() -> None:
    world = guilty("kustomization that was refused")
    said = "timeout waiting for: [Deployment/shop/checkout status: 'InProgress']"
    failed = delivery.bad("Ready", "HealthCheckFailed", said)
    world.extra[-1]["status"]["conditions"] = [failed]

    assert found(world) == ["conditions.gitops-not-ready hint"]


def test_an_application_names_the_resource_that_is_not_well() -> None:
    finding = diagnose(guilty("application that is degraded").capsule()).findings[0]

    assert "Service db" in finding.statement


def test_a_repository_that_delivers_another_workload_is_a_hint() -> None:
    world = guilty("repository without access")
    world.workload_meta = {}

    assert found(world) == ["conditions.gitops-not-ready hint"]


# from a finding to a patch

BUDGET = b"""\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: checkout, namespace: shop}
spec:
  minAvailable: 2  # both
  selector: {matchLabels: {app: checkout}}
"""


def test_the_deadlock_of_a_budget_becomes_a_patch_of_its_file() -> None:
    verdict = diagnose(guilty("budget that keeps every pod").capsule())

    proposal = propose(verdict.diagnosis, {"k8s/pdb.yaml": BUDGET}, PatchRules(), revision="r1")

    assert proposal.refused == {}
    assert [f.after.splitlines()[4] for f in proposal.files] == ["  minAvailable: 1  # both"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("volume that the rollout made smaller", ""),
        ("budget that lets none be missing", ""),
        ("deadline that was shortened", "factor"),  # tenfold: people see it as advice
        ("node affinity with a typo", "not-listed"),
        ("autoscaler of a name with a typo", "metadata"),
    ],
)
def test_the_patch_policy_has_the_last_word_on_what_is_proposed(name: str, reason: str) -> None:
    (finding, *_) = diagnose(guilty(name).capsule()).findings

    assert finding.changes
    assert {refusal(c, PatchRules()).split(":")[0] for c in finding.changes} == {reason}


# where the network is why


@pytest.mark.parametrize(
    "name",
    ["namespace with a typo", "host network with the nodes dns", "port that the rollout changed",
     "workload that may not reach out to that port", "egress that forgets dns",
     "target port that nothing listens on", "certificate that has expired"],
)  # fmt: skip
def test_whom_an_init_container_cannot_reach_is_why_it_goes_on_and_on(name: str) -> None:
    world, case = guilty(name), GUILTY[name]
    main = world.main
    work._init(world, "wait-for-db", env=main["env"])
    for spec in (world.spec, world.previous):
        assert spec is not None
        spec["initContainers"] = [spec["initContainers"][0] | {"env": spec["containers"][0]["env"]}]
        spec["containers"][0] = spec["containers"][0] | {"env": []}
    world.logs = world.logs.replace(f"/{world.container} ", "/wait-for-db ")

    verdict = diagnose(world.capsule())

    assert found(world) == [f"{case.analyzer} proved", "starting.blocked likely"]
    assert verdict.diagnosis is not None


def test_what_only_the_main_container_cannot_reach_does_not_explain_the_one_before_it() -> None:
    world = guilty("namespace with a typo")
    work._init(world, "warm-up")

    assert not diagnose(world.capsule()).proved


def test_a_metrics_api_with_an_expired_certificate_is_one_cause() -> None:
    world = guilty("autoscaler without a metrics server")
    net.certificate(world, "data", notAfter=net.ENDED)
    net.api_service_with_an_expired_certificate(world)

    verdict = diagnose(world.capsule())

    assert found(world) == ["certificates.expired proved", "autoscaling.no-metrics hint"]
    assert verdict.proved


def test_services_and_pods_of_another_namespace_are_not_nearly_right() -> None:
    world = guilty("headless service with a typo")
    [service] = [o for o in world.extra if o["kind"] == "Service"]
    service["metadata"]["namespace"] = "other"

    [finding] = diagnose(world.capsule()).findings

    assert finding.certainty.value == "proved"
    assert "There is" not in finding.statement


def test_a_pod_of_another_namespace_is_not_one_to_stand_beside() -> None:
    world = guilty("pod affinity with a typo")
    for pod in (o for o in world.extra if o["kind"] == "Pod"):
        pod["metadata"]["namespace"] = "other"

    assert not diagnose(world.capsule()).proved


def test_endpoints_of_another_namespace_do_not_show_that_a_service_leads_somewhere() -> None:
    world = guilty("selector with a typo")
    labels = {"kubernetes.io/service-name": world.name}
    meta = {"namespace": "other", "labels": labels}
    ready = [{"addresses": ["10.0.0.1"]}]
    world.add("EndpointSlice", "elsewhere", metadata=meta, endpoints=ready)

    assert diagnose(world.capsule()).proved
