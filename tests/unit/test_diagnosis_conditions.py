"""Each condition with a guilty world, and the relations that must hold for all of them."""

from __future__ import annotations

import random

import diagnosis_more_cases  # noqa: F401 - fills GUILTY
import diagnosis_net_cases  # noqa: F401
import pytest
from diagnosis_cases import GUILTY, Case
from diagnosis_world import World

from faultline.capsule import Capsule
from faultline.diagnosis import ANALYZERS, diagnose
from faultline.diagnosis.facts import Facts
from faultline.model import Certainty, Verdict

ALL = pytest.mark.parametrize("case", GUILTY.values(), ids=GUILTY.keys())
PROVED = pytest.mark.parametrize(
    "case", [c for c in GUILTY.values() if c.proved], ids=[n for n, c in GUILTY.items() if c.proved]
)


def proposed(verdict: Verdict) -> dict[str, object]:
    return {f"{c.target.kind} {c.field}": c.after for f in verdict.findings[:1] for c in f.changes}


def without_places(verdict: Verdict) -> list[object]:
    return [(f.analyzer, f.certainty, f.statement, f.changes) for f in verdict.findings]


@ALL
def test_what_is_broken_is_found_with_its_certainty_and_change(case: Case) -> None:
    world = case.world()

    verdict = diagnose(world.capsule())

    assert [f.analyzer for f in verdict.findings] == [case.analyzer]
    assert (verdict.findings[0].certainty is Certainty.PROVED) == case.proved == verdict.proved
    assert proposed(verdict) == case.expected(world)


@ALL
def test_changes_name_the_object_in_git_and_what_stands_there_now(case: Case) -> None:
    world = case.world()

    verdict = diagnose(world.capsule())

    facts = Facts(world.capsule())
    for change in verdict.findings[0].changes:
        target = facts.object(change.target.kind, change.target.name)
        assert target is not None
        assert change.target.kind in ("Deployment", "Service", "PersistentVolumeClaim")
        assert change.target.namespace == world.namespace
        assert change.before == target.get(change.field)
        assert change.before != change.after
        assert change.reason


@ALL
def test_every_quote_stands_where_it_says(case: Case) -> None:
    capsule = case.world().capsule()

    for analyze in ANALYZERS:
        for finding in analyze(Facts(capsule)):
            assert finding.evidence
            for cited in finding.evidence:
                data = capsule.read(cited.file)
                assert data[cited.start : cited.end] == cited.quote.encode() != b""
                assert data[: cited.start].count(b"\n") + 1 == cited.line


@ALL
def test_renaming_everything_renames_the_answer_and_nothing_else(case: Case) -> None:
    names = {"name": "ledger", "namespace": "money", "container": "main"}
    world = case.world(**names)

    verdict = diagnose(world.capsule())

    assert [f.analyzer for f in verdict.findings] == [case.analyzer]
    assert verdict.proved == case.proved
    assert proposed(verdict) == case.expected(world)
    said = verdict.model_dump_json()
    assert "checkout-7d9f" not in said
    assert "shop/" not in said


@ALL
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_of_keys_items_and_events_says_nothing(case: Case, seed: int) -> None:
    ordered, mixed = case.world(), case.world()
    mixed.shuffle = seed

    assert without_places(diagnose(mixed.capsule())) == without_places(diagnose(ordered.capsule()))


@ALL
def test_a_failure_elsewhere_does_not_move_the_verdict(case: Case) -> None:
    world = case.world()
    alone = diagnose(world.capsule())
    _break_another_workload(world)

    verdict = diagnose(world.capsule())

    assert verdict.diagnosis is None or alone.diagnosis is not None
    assert (verdict.diagnosis and verdict.diagnosis.root_cause) == (
        alone.diagnosis and alone.diagnosis.root_cause
    )
    assert without_places(verdict)[: len(alone.findings)] == without_places(alone)
    other = verdict.findings[len(alone.findings) :]
    assert other
    assert all(f.certainty is Certainty.HINT and not f.changes for f in other)


def _break_another_workload(world: World) -> None:
    meta = {"namespace": world.namespace}
    container = {"name": "db", "image": "db:1", "resources": {"limits": {"memory": "64Mi"}}}
    spec = {"containers": [container]}
    end = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-21T10:09:00Z"}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
    status = {"name": "db", "ready": False, "restartCount": 3}
    status |= {"state": {"waiting": waiting}, "lastState": {"terminated": end}}
    owner = [{"kind": "StatefulSet", "name": "db", "controller": True}]
    world.add("StatefulSet", "db", metadata=meta, spec={"template": {"spec": spec}})
    meta = meta | {"ownerReferences": owner}
    world.add("Pod", "db-0", metadata=meta, spec=spec, status={"containerStatuses": [status]})
    world.event("BackOff", "Back-off restarting failed container db in pod db-0", name="db-0")
    world.logs += "==> db-0/db (previous) <==\nKeyError: 'PGDATA'\nlistening on port 5432\n"


@PROVED
def test_without_what_the_cluster_said_nothing_is_proved(case: Case) -> None:
    world = case.world()
    world.events, world.logs, world.series, world.extra = [], "", [], []
    world.pod_status = {"phase": "Running"}
    world.status |= {"ready": True, "restartCount": 0, "state": {"running": {}}, "lastState": {}}

    assert not diagnose(world.capsule()).findings


@PROVED
def test_without_the_guilty_object_nothing_is_proved(case: Case) -> None:
    files = _files(case.world().capsule())
    kept = {n: data for n, data in files.items() if not n.startswith("context/objects/")}

    assert not diagnose(Capsule(kept)).findings


@PROVED
def test_a_second_proved_cause_makes_the_verdict_abstain(case: Case) -> None:
    world = case.world()
    second = {"name": "side", "image": "side:1", "envFrom": [{"configMapRef": {"name": "gone"}}]}
    world.spec["containers"].append(second)
    waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "gone" not found'}
    status = {"name": "side", "ready": False, "state": {"waiting": waiting}}
    world.pod_status["initContainerStatuses"] = []
    capsule = _with_status(world, status)

    verdict = diagnose(capsule)

    proved = {f.analyzer for f in verdict.findings if f.certainty is Certainty.PROVED}
    on_the_way_in = ("selectors", "autoscaling", "ingress", "gateway")
    around_ready_pods = case.analyzer.split(".")[0] in on_the_way_in
    others = set() if around_ready_pods else {case.analyzer}
    assert proved == {"configuration.object-missing"} | others
    assert (verdict.diagnosis is None) != around_ready_pods


def _with_status(world: World, status: dict[str, object]) -> Capsule:
    import yaml

    files = _files(world.capsule())
    name = f"context/objects/pod/{world.pod_name}.yaml"
    pod = yaml.safe_load(files[name])
    pod["status"]["containerStatuses"].append(status)
    return Capsule(files | {name: yaml.safe_dump(pod).encode()})


def _files(capsule: Capsule) -> dict[str, bytes]:
    return {name: capsule.read(name) for name in capsule.names()}


def test_the_answer_is_the_same_every_time() -> None:
    cases = list(GUILTY.values())
    random.Random(4).shuffle(cases)

    for case in cases[:10]:
        capsule = case.world().capsule()
        assert diagnose(capsule) == diagnose(capsule)
