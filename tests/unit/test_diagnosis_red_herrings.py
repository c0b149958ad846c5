"""Healthy worlds, worlds that only look guilty, and objects that no cluster would have."""

from __future__ import annotations

import json
from typing import Any

import diagnosis_delivery_cases  # noqa: F401 - these four fill GUILTY
import diagnosis_more_cases  # noqa: F401
import diagnosis_net_cases  # noqa: F401
import diagnosis_work_cases  # noqa: F401
import pytest
import yaml
from diagnosis_cases import GUILTY, http, old
from diagnosis_world import World, at
from hypothesis import given, settings
from hypothesis import strategies as st

from faultline.capsule import Capsule
from faultline.diagnosis import ANALYZERS, diagnose
from faultline.diagnosis.facts import Facts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)


def found(world: World) -> list[str]:
    return [f"{f.analyzer} {f.certainty.value}" for f in diagnose(world.capsule()).findings]


@pytest.mark.parametrize("analyze", ANALYZERS, ids=lambda a: a.__module__.split(".")[-1])
def test_a_healthy_workload_yields_nothing(analyze: Any) -> None:
    world = World().memory(("10:03", 90), ("10:10", 95))
    world.main.update(readinessProbe=http(), livenessProbe=http("http"))
    world.log("listening on :8080", "GET /healthz 200", previous=False)
    world.event("Pulled", "Successfully pulled image", type="Normal")
    world.add("ConfigMap", "settings", data={"a": "b"})

    assert list(analyze(Facts(world.capsule()))) == []


def test_an_empty_capsule_yields_nothing() -> None:
    assert diagnose(Capsule({})).findings == ()
    assert not diagnose(Capsule({})).proved


def test_a_kill_for_memory_of_last_week_says_nothing_about_a_ready_container() -> None:
    world = World().ended(137, "OOMKilled", restarts=1)
    world.status["lastState"]["terminated"]["finishedAt"] = "2026-11-14T10:00:00Z"

    assert found(world) == []


def test_a_lowered_limit_that_nothing_exceeds_is_no_finding() -> None:
    world = World().memory(("09:00", 180), ("10:05", 40))
    world.main["resources"]["limits"]["memory"] = "64Mi"

    assert found(world) == []


def test_a_failed_probe_while_starting_says_nothing_about_a_ready_container() -> None:
    world = World().event("Unhealthy", "Readiness probe failed: connect: connection refused")
    world.main["readinessProbe"] = http(9999)

    assert found(world) == []


def test_error_lines_of_a_container_that_runs_are_not_a_crash() -> None:
    world = World().log("error: KeyError: 'DATABASE_URL' is not set", previous=False)

    assert found(world) == []


def test_a_pull_that_failed_for_another_image_is_not_taken_for_this_one() -> None:
    world = World().waits("ImagePullBackOff", "Back-off pulling image")
    world.event("Failed", 'Failed to pull image "other:1": not found')

    assert found(world) == []


def test_a_config_map_that_exists_by_now_is_not_missing() -> None:
    world = World().waits("CreateContainerConfigError", 'configmap "flags" not found')
    world.main["envFrom"] = [{"configMapRef": {"name": "flags"}}]
    world.add("ConfigMap", "flags", data={})

    assert found(world) == []


def test_a_missing_name_that_the_workload_does_not_refer_to_is_not_its_cause() -> None:
    world = World().waits("CreateContainerConfigError", 'configmap "flags" not found')

    assert found(world) == []


def test_two_names_equally_near_are_no_suggestion() -> None:
    world = World().waits("CreateContainerConfigError", 'configmap "flag-x" not found')
    world.main["envFrom"] = [{"configMapRef": {"name": "flag-x"}}]
    world.add("ConfigMap", "flag-a", data={}).add("ConfigMap", "flag-b", data={})

    verdict = diagnose(world.capsule())

    assert verdict.proved
    assert verdict.diagnosis is not None
    assert verdict.diagnosis.changes == ()


def test_a_limit_lowered_below_nothing_that_was_used_is_not_proved() -> None:
    world = World().loops(137, "OOMKilled").memory(("09:30", 30), ("10:05", 20))
    world.main["resources"]["limits"]["memory"] = "64Mi"

    assert found(world) == ["memory.limit-exceeded likely"]


def test_use_at_the_limit_is_not_proved_when_the_program_changed_too() -> None:
    world = World().loops(137, "OOMKilled").memory(("10:05", 240), ("10:06", 255))
    world.main["image"] = "registry.example.com/shop/checkout:2.0.0"

    assert found(world) == ["memory.limit-exceeded likely"]


def test_a_kill_that_is_not_for_memory_is_not_called_so() -> None:
    world = World().loops(137, "Error").memory(("10:05", 255))

    assert found(world) == ["crash_loop.exit hint"]


def test_a_restart_by_a_probe_is_not_called_a_crash() -> None:
    world = World().loops(137, "Error").log("error: nothing to do with it")
    world.event("Killing", "Container app failed liveness probe, will be restarted", type="Normal")

    assert found(world) == []


def test_a_variable_that_is_set_is_not_missing() -> None:
    world = World().loops(1).log("KeyError: 'LOG_LEVEL'")

    assert not diagnose(world.capsule()).proved


def test_a_redacted_value_is_never_proposed() -> None:
    world = World().loops(1).log("KeyError: 'API_TOKEN'")
    old(world)["env"].append({"name": "API_TOKEN", "value": "[REDACTED:token]"})

    verdict = diagnose(world.capsule())

    assert verdict.proved
    assert verdict.findings[0].changes == ()


def test_both_probes_on_the_same_wrong_port_are_one_cause() -> None:
    world = World().unready()
    for which in ("liveness", "readiness"):
        world.main[f"{which}Probe"], old(world)[f"{which}Probe"] = http(8081), http(8080)
        said = "dial tcp 10.0.0.5:8081: connect: connection refused"
        world.event("Unhealthy", f"{which.capitalize()} probe failed: {said}")

    verdict = diagnose(world.capsule())

    assert verdict.proved
    assert [c.after for c in verdict.findings[0].changes] == [8080, 8080]


def test_two_containers_without_the_same_config_map_are_one_cause() -> None:
    world = World().waits("CreateContainerConfigError", 'configmap "flags" not found')
    refers = {"envFrom": [{"configMapRef": {"name": "flags"}}]}
    world.main.update(refers)
    world.spec["containers"].append({"name": "side", "image": "side:1", **refers})

    assert found(world) == ["configuration.object-missing proved"]


def test_a_likely_rival_makes_the_verdict_abstain() -> None:
    world = World().waits("CreateContainerConfigError", 'configmap "flags" not found')
    world.main["envFrom"] = [{"configMapRef": {"name": "flags"}}]
    world.main["readinessProbe"] = old(world)["readinessProbe"] = http()
    alone = diagnose(world.capsule())
    world.memory(("10:05", 255)).ended(137, "OOMKilled")

    verdict = diagnose(world.capsule())

    assert alone.proved
    assert not verdict.proved


def test_pods_of_the_old_revision_do_not_speak_for_the_new_one() -> None:
    world = World()
    owner = {"kind": "ReplicaSet", "name": f"{world.name}-{world.old_hash}", "controller": True}
    waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "gone" not found'}
    status = {"name": "app", "ready": False, "state": {"waiting": waiting}}
    spec = {"containers": [{"name": "app", "envFrom": [{"configMapRef": {"name": "gone"}}]}]}
    world.add(
        "Pod",
        "checkout-old",
        metadata={"ownerReferences": [owner]},
        spec=spec,
        status={"containerStatuses": [status]},
    )

    assert found(world) == []


def test_without_a_named_workload_every_workload_is_looked_at() -> None:
    world = GUILTY["memory limit lowered"].world()
    files = {n: world.capsule().read(n) for n in world.capsule().names()}
    files["context/incident.json"] = (
        b'{"fault": {"name": "TargetDown"}, "opened_at": "2026-11-21T10:15:00Z"}'
    )

    assert diagnose(Capsule(files)).proved


def test_an_incident_about_the_pod_is_about_its_workload() -> None:
    world = GUILTY["memory limit lowered"].world()
    files = {n: world.capsule().read(n) for n in world.capsule().names()}
    incident = json.loads(files["context/incident.json"])
    incident["fault"]["resource"] = {"kind": "Pod", "name": world.pod_name, "namespace": "shop"}
    files["context/incident.json"] = json.dumps(incident).encode()

    verdict = diagnose(Capsule(files))

    assert verdict.diagnosis is not None
    assert verdict.diagnosis.changes[0].target.kind == "Deployment"


def test_changes_on_record_serve_where_the_old_replica_set_is_gone() -> None:
    world = GUILTY["memory limit lowered"].world()
    world.previous = None
    field = "spec.template.spec.containers[name=app].resources.limits.memory"
    difference = {"field": field, "before": "256Mi", "after": "64Mi"}
    rollout = {"workload": "checkout", "revision": 7, "previous": 6, "at": at("10:02")}
    changes = {"rollouts": [rollout | {"differences": [difference]}]}
    world.files["context/changes.json"] = json.dumps(changes).encode()

    verdict = diagnose(world.capsule())

    assert verdict.proved
    assert verdict.findings[0].changes[0].after == "256Mi"
    assert "lowered it from 256Mi at 10:02 UTC" in verdict.findings[0].statement


def test_measurements_in_mebibytes_count_the_same() -> None:
    world = World().loops(137, "OOMKilled")
    world.main["resources"]["limits"]["memory"] = "64Mi"
    world.memory(("09:30", 180), ("10:05", 60), unit="MiB")

    assert found(world) == ["memory.limit-exceeded proved"]


def test_a_service_with_a_near_name_may_be_another_workloads() -> None:
    world = World(name="api")
    spec = {"selector": {"app": "app"}, "ports": [{"port": 80}]}
    world.add("Service", "app", spec=spec)
    labels = {"kubernetes.io/service-name": "app"}
    world.add("EndpointSlice", "app-x", metadata={"labels": labels}, endpoints=[])

    assert not diagnose(world.capsule()).proved


def test_a_service_with_endpoints_is_not_blamed() -> None:
    world = World().add("Service", "checkout", spec={"selector": {"app": "chekout"}})
    labels = {"kubernetes.io/service-name": "checkout"}
    ready = [{"addresses": ["10.0.0.1"]}]
    world.add("EndpointSlice", "checkout-x", metadata={"labels": labels}, endpoints=ready)

    assert not diagnose(world.capsule()).proved


def test_a_refusal_is_over_when_the_pods_are_there() -> None:
    world = GUILTY["limit above the limit range"].world()
    world.deployment_status = {"readyReplicas": 1, "updatedReplicas": 1}

    assert found(world) == []


def test_a_refusal_is_not_over_while_only_pods_of_the_revision_before_are_ready() -> None:
    world = GUILTY["limit above the limit range"].world()
    world.deployment_status = {"readyReplicas": 1, "replicas": 1}

    assert found(world) == ["quota.limit-range proved"]


def test_a_host_outside_of_the_cluster_is_not_taken_for_a_service() -> None:
    world = (
        World().loops(1).log("dial tcp: lookup apis.payments.example on 10.0.0.1:53: no such host")
    )
    world.main["env"].append({"name": "URL", "value": "https://apis.payments.example/v1"})
    world.add("Service", "api", spec={"selector": {"app": "x"}})

    verdict = diagnose(world.capsule())

    assert not verdict.proved
    assert verdict.findings[0].changes == ()


def test_a_warning_about_a_variable_is_not_why_it_ended() -> None:
    world = World().loops(1).log("WARN HTTP_PROXY is not set", "panic: cannot open ledger")
    world.main["env"].append({"name": "HTTPS_PROXY", "value": "http://proxy"})

    assert found(world) == ["crash_loop.exit likely"]


def test_a_near_name_that_ran_before_is_not_the_typo() -> None:
    world = World().loops(1).log("fatal: environment variable LOG_LEVELS is required")

    assert not diagnose(world.capsule()).proved


def test_the_use_of_a_workload_with_a_longer_name_is_not_this_ones() -> None:
    world = World().loops(137, "OOMKilled").memory(("10:05", 255))
    world.series[0]["labels"]["pod"] = "checkout-gateway-7d9f6c5b4-x2x9z"

    assert found(world) == ["memory.limit-exceeded likely"]


def test_a_sum_over_several_pods_is_not_the_use_of_one() -> None:
    world = World().loops(137, "OOMKilled").memory(("10:05", 255))
    world.series[0]["labels"] = {}
    second = {"name": "app", "ready": True, "state": {"running": {}}}
    owner = {"kind": "ReplicaSet", "name": "checkout-7d9f6c5b4", "controller": True}
    meta = {"ownerReferences": [owner]}
    world.add(
        "Pod", "checkout-7d9f6c5b4-b2b2b", metadata=meta, status={"containerStatuses": [second]}
    )

    assert found(world) == ["memory.limit-exceeded likely"]


def test_the_nodes_of_a_part_of_the_cluster_prove_nothing_about_all() -> None:
    world = GUILTY["request larger than any node"].world()
    world.events[0]["message"] = "0/9 nodes are available: 9 Insufficient memory."

    assert found(world) == ["scheduling.request-too-large likely"]


def test_a_moved_probe_of_a_container_that_ends_by_itself_is_not_proved() -> None:
    world = GUILTY["probe port that the rollout moved"].world()
    world.loops(1).log("panic: out of cheese")

    assert not diagnose(world.capsule()).proved


def test_a_port_of_something_it_connects_to_is_not_its_own() -> None:
    world = World().unready().log("started, connected to postgres at port 5432", previous=False)
    world.previous = None
    del world.main["ports"]
    world.main["readinessProbe"] = http(8080)
    world.event("Unhealthy", "Readiness probe failed: dial tcp 10.0.0.5:8080: connection refused")

    assert found(world) == []


def test_a_late_config_map_does_not_explain_a_container_that_runs() -> None:
    world = GUILTY["config map of a volume"].world()
    world.loops(1).log("panic: out of cheese")

    assert found(world) == ["crash_loop.exit likely"]


def test_two_wrong_workloads_without_a_subject_are_not_one_cause() -> None:
    world = GUILTY["config map that nobody made"].world()
    second = World(name="ledger", namespace="shop")
    second.loops(2).log("error: cannot open ledger")
    files = {n: second.capsule().read(n) for n in second.capsule().names() if "/objects/" in n}
    own = world.capsule()
    files |= {n: own.read(n) for n in own.names()}
    files["context/logs.txt"] += second.logs.encode()
    files["context/incident.json"] = b"{}"

    verdict = diagnose(Capsule(files))

    assert [f.certainty.value for f in verdict.findings] == ["proved", "likely"]
    assert not verdict.proved


# objects that no cluster would have


def _every_path(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path] * bool(path) + [p for k, v in inner for p in _every_path(v, (*path, k))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_odd_objects_never_raise_and_their_quotes_still_stand(data: st.DataObject) -> None:
    made = data.draw(st.sampled_from(list(GUILTY.values()))).world().capsule()
    files = {n: made.read(n) for n in made.names()}
    name = data.draw(st.sampled_from(sorted(files)))
    value = files[name].decode()
    if name.endswith((".yaml", ".json")):
        value = yaml.safe_load(value) if name.endswith(".yaml") else json.loads(value)
        path = data.draw(st.sampled_from(_every_path(value) or [()]))
        value = _replaced(value, path, data.draw(JSON))
    dump = yaml.safe_dump if name.endswith(".yaml") else json.dumps
    files[name] = (
        dump(value, allow_unicode=True).encode("utf-8", "replace")
        if name.endswith(".yaml")
        else dump(value).encode()
    )
    capsule = Capsule(files)

    seen = Facts(capsule)
    for facts in (seen, seen.elsewhere):
        for analyze in ANALYZERS:
            for finding in analyze(facts):
                for cited in finding.evidence:
                    quote = capsule.read(cited.file)[cited.start : cited.end]
                    assert quote == cited.quote.encode()


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(GUILTY["memory limit lowered"].world().capsule().names())),
        st.binary(max_size=200),
    )
)
def test_files_of_any_bytes_never_raise(garbage: dict[str, bytes]) -> None:
    capsule = GUILTY["memory limit lowered"].world().capsule()
    mixed = Facts(Capsule({n: garbage.get(n, capsule.read(n)) for n in capsule.names()}))

    for analyze in ANALYZERS:
        list(analyze(mixed))


def test_aliases_that_multiply_are_read_in_no_time() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    bomb = "\n".join([*lines, "kind: Pod", "metadata: {name: bomb}", "loop: &l [*l]"])
    world = GUILTY["memory limit lowered"].world()
    world.files["context/objects/pod/bomb.yaml"] = bomb.encode()

    assert diagnose(world.capsule()).proved
