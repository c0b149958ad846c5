"""What objects show: the examples' cluster, the recorded ones, and the edges of each detector."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from faultline.bridge.watch.board import KINDS, Board
from faultline.bridge.watch.symptoms import Rules
from faultline.bridge.watch.watcher import WATCHED
from faultline.correlate import correlation_key
from faultline.model import Fault, Severity

ROOT = Path(__file__).resolve().parents[2]
NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)


def loaded(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)  # ten times as quick, and no less safe


ITEMS = loaded((ROOT / "examples/watch/objects.yaml").read_text("utf-8"))["items"]
MARK = "faultline.dev/example"


def minutes(number: float) -> dt.timedelta:
    return dt.timedelta(minutes=number)


def seen(*items: Any, rules: Rules | None = None, at: dt.datetime = NOW) -> list[Fault]:
    """What is to be said of objects that have looked like this for ten minutes."""
    board = Board("prod-a", rules or Rules())
    for now in (at - minutes(10), at):
        for item in items:
            board.saw(item["kind"], item, now)
    return [due.fault for kind in KINDS for due in board.due(kind, "", at)]


def named(name: str) -> Any:
    return json.loads(json.dumps(next(i for i in ITEMS if i["metadata"]["name"] == name)))


def names(faults: list[Fault]) -> list[str]:
    return sorted(fault.name for fault in faults)


def by_name(item: Any) -> str:
    return f"{item['kind']}-{item['metadata']['name']}"


@pytest.mark.covers("S3-15", "S3-19", "S3-20", "S3-21", "S3-22", "S3-77", "S3-78")
@pytest.mark.parametrize("item", ITEMS, ids=by_name)
def test_each_example_shows_what_it_says_and_nothing_else(item: Any) -> None:
    expected = item["metadata"]["annotations"][MARK]

    assert names(seen(item)) == ([] if expected == "none" else expected.split(", "))


def test_every_kind_that_is_watched_has_examples_of_both_sorts() -> None:
    sorts = {(item["kind"], item["metadata"]["annotations"][MARK] == "none") for item in ITEMS}

    assert sorts == {(kind, healthy) for kind in WATCHED for healthy in (True, False)}
    assert set(WATCHED) == set(KINDS)


RECORDED = {
    "crash-loop-command": [
        "CrashLoop",
        "DeploymentFailure",
        "RestartThreshold",
        "UnavailableReplicas",
    ],
    "crash-loop-env": ["CrashLoop", "DeploymentFailure", "RestartThreshold", "UnavailableReplicas"],
    "healthy-1": [],
    "healthy-2": [],
    "image-credentials": ["DeploymentFailure", "ImagePull", "UnavailableReplicas"],
    "image-typo": ["DeploymentFailure", "ImagePull", "UnavailableReplicas"],
    "memory": ["CrashLoop", "OOMKilled", "RestartThreshold", "UnavailableReplicas"],
    "missing-configmap": ["ContainerConfig", "DeploymentFailure", "UnavailableReplicas"],
    "missing-key": ["ContainerConfig", "DeploymentFailure", "UnavailableReplicas"],
    "missing-secret": ["ContainerConfig", "DeploymentFailure", "UnavailableReplicas"],
    "probe-path": ["DeploymentFailure", "PodNotReady", "UnavailableReplicas"],
    "probe-port": ["RestartThreshold"],
    "probe-timing": ["CrashLoop", "RestartThreshold", "UnavailableReplicas"],
}


@pytest.mark.parametrize("case", RECORDED)
def test_of_a_recorded_cluster_only_the_guilty_workload_is_named(case: str) -> None:
    folder = ROOT / "examples/clusters" / case
    paths = sorted((folder / "objects").glob("*.yaml"))
    items = [i for path in paths for i in loaded(path.read_text("utf-8"))["items"]]
    at = dt.datetime(2026, 11, 20, 9, 47, tzinfo=dt.UTC)

    found = seen(*(item for item in items if item["kind"] in KINDS), at=at)

    assert sorted({fault.name for fault in found}) == RECORDED[case]
    truth = json.loads((folder / "truth.json").read_text("utf-8"))
    if found:
        workload = f"resource/prod-a/{truth['target']['namespace']}/{truth['target']['name']}"
        assert {correlation_key(fault) for fault in found} == {workload}


# identity


def test_two_bridges_that_start_at_other_times_say_the_same() -> None:
    timed = [item for item in ITEMS if item["kind"] not in ("StatefulSet", "DaemonSet")]
    timed = [item for item in timed if item["metadata"]["name"] != "data-db-2"]  # lost: since when?

    first = {f.occurrence: f for f in seen(*timed)}
    second = {f.occurrence: f for f in seen(*timed, at=NOW + minutes(1))}

    said = [o for o in first if o not in second]
    assert said == []
    assert len(first) > 15


def test_an_object_of_another_uid_or_another_container_is_another_condition() -> None:
    one = named("api-7d9f6c5b4-x2x9z")
    other, second = named("api-7d9f6c5b4-x2x9z"), named("api-7d9f6c5b4-x2x9z")
    other["metadata"]["uid"] = "another"
    second["status"]["containerStatuses"][0]["name"] = "sidecar"

    prints = [fault.fingerprint for item in (one, other, second) for fault in seen(item)]

    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("kind", "name", "owner", "labels", "expected"),
    [
        ("Pod", "api-7d9f6c5b4-x2x9z", ("ReplicaSet", "api-7d9f6c5b4"), "7d9f6c5b4", "api"),
        ("Pod", "odd-x2x9z", ("ReplicaSet", "odd"), "", "odd"),
        ("Pod", "db-0", ("StatefulSet", "db"), "", "db"),
        ("Pod", "logs-x2x9z", ("DaemonSet", "logs"), "", "logs"),
        ("Pod", "backup-29394600-x2x9z", ("Job", "backup-29394600"), "", "backup"),
        ("Pod", "migrate-x2x9z", ("Job", "migrate"), "", "migrate"),
        ("Pod", "kafka-broker-0", ("StrimziPodSet", "kafka-broker"), "", "kafka-broker"),
        ("Pod", "etcd-node-1", ("Node", "node-1"), "", "etcd-node"),
        ("Pod", "alone", None, "", "alone"),
        ("Job", "backup-29394600", ("CronJob", "backup"), "", "backup"),
    ],
)
def test_the_owner_follows_from_the_object_alone(
    kind: str, name: str, owner: tuple[str, str] | None, labels: str, expected: str
) -> None:
    item = named("api-7d9f6c5b4-x2x9z") if kind == "Pod" else named("backup-29394600")
    references = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    item["metadata"] |= {"name": name, "ownerReferences": references}
    item["metadata"]["labels"] = {"pod-template-hash": labels} if labels else {}

    (fault,) = seen(item)

    assert correlation_key(fault) == f"resource/prod-a/shop/{expected}"


def test_a_k8s_event_counts_for_what_it_is_about() -> None:
    (fault,) = seen(named("newsletter.1"))

    assert fault.resource is not None
    assert (fault.resource.kind, fault.resource.name) == ("Pod", "newsletter-7d9f6c5b4-k4x7d")
    assert correlation_key(fault) == "resource/prod-a/shop/newsletter"
    assert fault.annotations["message"].startswith("MountVolume.SetUp failed")


def test_what_an_alert_names_by_its_pod_label_is_the_same_workload() -> None:
    from faultline.bridge.alertmanager import faults, parse

    message = (ROOT / "examples/clusters/memory/alert.json").read_bytes()
    (alert, *_) = faults(parse(message), cluster="prod-a", payload="")
    path = ROOT / "examples/clusters/memory/objects/pods.yaml"
    pods = loaded(path.read_text("utf-8"))["items"]

    ours = seen(*pods, at=dt.datetime(2026, 11, 20, 9, 47, tzinfo=dt.UTC))

    assert {correlation_key(fault) for fault in ours} == {correlation_key(alert)}


# the edges of single detectors


def container(item: Any) -> Any:
    return item["status"]["containerStatuses"][0]


@pytest.mark.covers("S3-19")
def test_a_crash_loop_is_critical_and_says_the_last_words() -> None:
    item = named("api-7d9f6c5b4-x2x9z")
    container(item)["lastState"]["terminated"]["message"] = "panic: no DATABASE_URL"

    (fault,) = seen(item)

    assert fault.severity is Severity.CRITICAL
    assert fault.starts_at == dt.datetime(2026, 11, 21, 9, 59, 30, tzinfo=dt.UTC)
    assert fault.annotations["message"] == "last exit code 1, Error: panic: no DATABASE_URL"
    assert fault.labels == {
        "namespace": "shop", "pod": "api-7d9f6c5b4-x2x9z", "container": "app", "node": "node-1",
        "reason": "CrashLoopBackOff",
    }  # fmt: skip


@pytest.mark.covers("S3-20")
@pytest.mark.parametrize("state", ["waiting", "terminated", "lastState"])
def test_a_kill_for_memory_is_seen_wherever_the_status_keeps_it(state: str) -> None:
    item = named("cache-7d9f6c5b4-d6d8m")
    end = container(item)["lastState"]["terminated"]
    if state == "terminated":
        container(item) | {"lastState": {}}
        container(item)["state"] = {"terminated": end}
    if state == "waiting":
        container(item)["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}

    assert "OOMKilled" in names(seen(item))


@pytest.mark.covers("S3-20")
def test_a_kill_of_long_ago_is_no_fault_though_the_pod_is_ill_of_something_else() -> None:
    item = named("report-7d9f6c5b4-b8b4n")
    container(item)["ready"] = False
    item["status"]["conditions"] = [
        {"type": "ContainersReady", "status": "False", "lastTransitionTime": "2026-11-21T09:00:00Z"}
    ]

    assert names(seen(item)) == ["PodNotReady"]


def restarted(item: Any, total: int, at: dt.datetime) -> Any:
    copy = json.loads(json.dumps(item))
    container(copy)["restartCount"] = total
    container(copy)["lastState"]["terminated"]["finishedAt"] = at.isoformat()
    container(copy)["state"] = {"running": {"startedAt": at.isoformat()}}
    return copy


@pytest.mark.covers("S3-21")
@pytest.mark.parametrize(
    ("gaps_min", "expected"), [((5, 5, 5), True), ((14, 14, 14), True), ((16, 16, 16), False)]
)
def test_restarts_count_within_their_window_and_not_since_creation(
    gaps_min: tuple[int, ...], expected: bool
) -> None:
    board, item, at = Board("prod-a", Rules()), named("veteran-7d9f6c5b4-s6s4r"), NOW
    long_ago = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
    assert board.saw("Pod", restarted(item, 40, long_ago), at) == []
    said = []
    for n, gap in enumerate(gaps_min, 41):
        at += minutes(gap)
        said = board.saw("Pod", restarted(item, n, at), at)

    assert [due.fault.name for due in said] == (["RestartThreshold"] if expected else [])


@pytest.mark.covers("S3-21")
@pytest.mark.parametrize(("threshold", "expected"), [(4, ["RestartThreshold"]), (5, [])])
def test_the_threshold_of_restarts_is_a_setting(threshold: int, expected: list[str]) -> None:
    item = named("flaky-7d9f6c5b4-v9v5t")

    assert names(seen(item, rules=Rules(restarts=threshold))) == expected


@pytest.mark.covers("S3-22")
def test_a_roll_out_that_moves_on_is_no_fault_and_one_that_stopped_is() -> None:
    item = named("rolling")
    board, at, said = Board("prod-a", Rules()), NOW, []
    for updated in (2, 3, 4):  # four minutes for each of its steps: longer than the hold, together
        item["status"]["updatedReplicas"] = updated
        item["status"]["conditions"][1]["lastUpdateTime"] = at.isoformat()
        assert board.saw("Deployment", item, at) == []
        at += minutes(4)
        assert board.due("Deployment", "", at) == []
    said = board.due("Deployment", "", at + minutes(1))

    assert [due.fault.name for due in said] == ["UnavailableReplicas"]


@pytest.mark.parametrize(
    ("name", "hold_s"), [("search-7d9f6c5b4-k8k5g", 600), ("big-7d9f6c5b4-r5r7s", 600)]
)
def test_a_hold_is_counted_from_the_objects_own_time(name: str, hold_s: int) -> None:
    assert names(seen(named(name), rules=Rules(hold_s=hold_s))) != []
    assert names(seen(named(name), rules=Rules(hold_s=hold_s + 1))) == []


def test_no_specification_and_no_annotation_goes_on_file() -> None:
    item = named("api-7d9f6c5b4-x2x9z")
    item["spec"]["containers"] = [{"env": [{"name": "KEY", "value": "hush-1"}]}]
    item["metadata"]["annotations"]["last-applied"] = "hush-2"
    item["metadata"]["managedFields"] = [{"x": "hush-3"}]

    (due,) = Board("prod-a", Rules()).saw("Pod", item, NOW)

    assert b"hush" not in due.payload
    assert json.loads(due.payload)["status"] == item["status"]


def test_an_object_that_is_too_large_for_the_file_is_named_there() -> None:
    item = named("api-7d9f6c5b4-x2x9z")
    container(item)["state"]["waiting"]["message"] = "x" * 100_000

    (due,) = Board("prod-a", Rules()).saw("Pod", item, NOW)

    assert len(due.payload) < 1_000
    assert json.loads(due.payload)["metadata"]["name"] == "api-7d9f6c5b4-x2x9z"


# whatever a server says


def spoiled(value: Any) -> Iterator[Callable[[Any], Any]]:
    """Yield ways to replace one part of an object by something else."""
    if isinstance(value, dict):
        for key, inner in value.items():
            for odd in (None, 7, "x", {}, [None]):
                yield lambda whole, key=key, odd=odd: {**whole, key: odd}
            for deeper in spoiled(inner):
                yield lambda whole, key=key, deeper=deeper: {**whole, key: deeper(whole[key])}
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            for deeper in spoiled(inner):
                yield lambda whole, n=n, deeper=deeper: [
                    *whole[:n], deeper(whole[n]), *whole[n + 1 :]
                ]  # fmt: skip


def test_an_object_with_any_part_of_another_kind_is_read_without_a_fall() -> None:
    tried = 0
    for item in ITEMS:
        kind = item["kind"]
        board = Board("prod-a", Rules(hold_s=0, short_hold_s=0))
        for spoil in itertools.islice(spoiled(item), tried % 2, None, 2):
            board.saw(kind, spoil(item), NOW)
            tried += 1

    assert tried > 2_000
