"""Logs, k8s events and measurements of a fault, as one file and whatever part of it is missing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from world import World, example

from faultline import bootstrap
from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.live import KINDS, LiveCluster
from faultline.adapters.sources.prometheus import PrometheusSource
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.adapters.stores.memory import MemoryStore
from faultline.errors import Unavailable
from faultline.model import Incident, Resource
from faultline.ports import Ports, Source
from faultline.settings import Settings

NAME = "context/observability.json"
POD = "checkout-vxn7njk876-zv8zp"
CHECKOUT = Resource(kind="Deployment", namespace="shop", name="checkout")
PAYOUTS = CHECKOUT.model_copy(update={"name": "payouts"})


def gathered(*sources: Source, about: Resource = CHECKOUT) -> tuple[World, Any]:
    """Return a world whose incident was gathered by these sources, and what was observed."""

    def only(ports: Ports) -> Ports:
        return dataclasses.replace(ports, sources=list(sources) or ports.sources)

    world = World(wrap=only)
    world.fault(resource=about).settle()
    found = world.incidents.capsule(world.only)
    found.verify()
    return world, json.loads(found.read(NAME) or b"null")


class Down:
    """A source that does not answer, after one file or at once."""

    name = "down"

    def __init__(self, *first: tuple[str, bytes]) -> None:
        self.first = first

    def collect(self, incident: Incident) -> Iterator[tuple[str, bytes]]:
        yield from self.first
        raise Unavailable("no answer from 10.0.0.9")


def cluster(scenario: str = "memory", **more: Any) -> ClusterSource:
    return ClusterSource(RecordedCluster(example(scenario)), **more)


def prometheus() -> PrometheusSource:
    def answer(request: httpx.Request) -> httpx.Response:
        now = request.url.path == "/api/v1/query"
        point = {"value": [1_795_000_000, "61.5"]} if now else {"values": [[1, "2"], [61, "5"]]}
        rows = [{"metric": {"pod": POD, "container": "app"}} | point]
        return httpx.Response(200, json={"status": "success", "data": {"result": rows}})

    return PrometheusSource(
        "http://prometheus", client=httpx.Client(transport=httpx.MockTransport(answer))
    )


@pytest.mark.covers("S3-27")
def test_logs_and_k8s_events_of_a_pod_stand_together_and_point_to_where_they_are_whole() -> None:
    world, found = gathered()
    capsule = world.incidents.capsule(world.only)

    pods = {pod["pod"]: pod for pod in found["pods"]}
    pod = pods[POD]
    whole = capsule.text("context/logs.txt").split("\n")
    assert {(log["container"], log["state"]) for log in pod["logs"]} == {
        ("app", "current"), ("app", "previous"),
    }  # fmt: skip
    for log in pod["logs"]:
        first, last = log["lines"]
        assert whole[first - 2] == f"==> {POD}/app ({log['state']}) <=="
        assert log["last"] == whole[last - 3 : last]
    items = json.loads(capsule.read("context/k8s-events.json"))["items"]
    told = [event for pod in found["pods"] for event in pod["k8s_events"]] + found["k8s_events"]
    assert sorted(event["item"] for event in told) == list(range(len(items)))
    for event in told:
        about = items[event["item"]]["involvedObject"]
        assert event["about"] == f"{about['kind']}/{about['name']}"
        assert event["reason"] == items[event["item"]]["reason"]
    assert {event["about"] for event in pod["k8s_events"]} == {f"Pod/{POD}"}


@pytest.mark.covers("S3-28")
@pytest.mark.parametrize("down", [Down(), Down(("context/metrics.json", b"{"))])
def test_a_source_that_fails_is_named_and_the_others_are_all_there(down: Down) -> None:
    _, whole = gathered(cluster())

    world, found = gathered(down, cluster())

    capsule = world.incidents.capsule(world.only)
    assert found["missing"] == {"down": "no answer from 10.0.0.9"}
    for pod, complete in zip(found["pods"], whole["pods"], strict=True):
        assert (pod["logs"], pod["k8s_events"]) == (complete["logs"], complete["k8s_events"])
    index = json.loads(capsule.read("context/index.json"))
    assert index["missing"] == found["missing"]
    assert "`context/observability.json`" in capsule.text("PROMPT.md")


def api(path: str, query: dict[str, str]) -> tuple[int, bytes]:
    """A pod that starts anew, whose container has only a log of its last life; no events for us."""
    if path.endswith("/log"):
        lines = "".join(f"line {n}\n" for n in range(int(query["tailLines"]) + 30))
        return (200, lines.encode()) if query["previous"] == "true" else (400, b"")
    if path.endswith("/events"):
        return 403, b""
    meta = {"namespace": "shop", "labels": {"app": "checkout"}}
    deployment = {
        "metadata": meta | {"name": "checkout"},
        "spec": {"selector": {"matchLabels": {"app": "checkout"}}},
    }
    owner = {"kind": "ReplicaSet", "name": "checkout-1", "controller": True}
    pod = {
        "metadata": meta | {"name": POD, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "app"}]},
    }
    owner = {"kind": "Deployment", "name": "checkout", "controller": True}
    revision = {"metadata": meta | {"name": "checkout-1", "ownerReferences": [owner]}}
    there = {"Deployment": deployment, "Pod": pod, "ReplicaSet": revision}
    for kind, value in there.items():
        prefix, plural = KINDS[kind]
        if path == f"/{prefix}/namespaces/shop/{plural}":
            return 200, json.dumps({"items": [value]}).encode()
    return 200, b'{"items": []}'


@pytest.mark.covers("S3-25")
@pytest.mark.parametrize("lines", [None, 7, 200])
def test_where_a_container_has_no_log_yet_its_last_life_speaks_in_so_many_lines(
    lines: int | None,
) -> None:
    settings = Settings() if lines is None else Settings(log_lines=lines)
    assert Settings().log_lines == 50

    world, found = gathered(
        ClusterSource(LiveCluster(api), log_lines=settings.log_lines), prometheus()
    )

    text = world.incidents.capsule(world.only).text("context/logs.txt").splitlines()
    assert text[0] == f"==> {POD}/app (previous) <=="
    last = settings.log_lines + 29
    assert text[1:] == [f"line {n}" for n in range(30, last + 1)]
    [log] = found["pods"][0]["logs"]
    assert (log["state"], log["lines"]) == ("previous", [2, settings.log_lines + 1])
    assert "may not read" in found["missing"]["k8s-events.json"]


def test_the_number_of_lines_is_set_by_the_setting() -> None:
    settings = Settings(recorded_cluster=str(example("memory")), log_lines=7)

    _, found = gathered(*bootstrap.sources(settings, MemoryStore()))

    logs = [log for pod in found["pods"] for log in pod["logs"]]
    assert logs
    assert all(log["lines"][1] - log["lines"][0] < 7 for log in logs)


@pytest.mark.covers("S3-30")
def test_what_prometheus_measured_is_part_of_it_beside_a_cluster_that_has_no_series() -> None:
    world, found = gathered(ClusterSource(LiveCluster(api)), prometheus())

    [pod] = found["pods"]
    assert {(m["name"], m["unit"]) for m in pod["metrics"]} == {
        ("cpu_usage", "millicores"), ("memory_working_set", "bytes"),
        ("memory_limit", "bytes"), ("restarts", "restarts"),
    }  # fmt: skip
    assert {(m["least"], m["last"], m["most"]) for m in pod["metrics"]} == {(2.0, 5.0, 5.0)}
    assert [(m["name"], m["value"], m["unit"]) for m in found["snapshot"]] == [
        ("cpu", 61.5, "millicores"), ("memory", 61.5, "MiB"),
    ]  # fmt: skip
    index = json.loads(world.incidents.capsule(world.only).read("context/index.json"))
    origins = {file["name"]: file["origin"] for file in index["files"]}
    assert origins["context/metrics.json"] == "prometheus"


@pytest.mark.covers("S3-31")
def test_without_an_address_of_prometheus_nobody_is_asked_and_nothing_is_amiss() -> None:
    settings = Settings(recorded_cluster=str(example("account-missing")), prometheus_url="")
    store = MemoryStore()

    sources = bootstrap.sources(settings, store)
    asked = bootstrap.sources(settings.model_copy(update={"prometheus_url": "http://p"}), store)
    world, found = gathered(*[s for s in sources if s.name == "cluster"], about=PAYOUTS)

    assert [source.name for source in sources] == ["alert", "cluster"]
    assert [source.name for source in asked] == ["alert", "cluster", "prometheus"]
    assert "context/metrics.json" not in world.incidents.capsule(world.only).names()
    assert "metrics.json" not in found["missing"]
    assert json.loads(world.incidents.capsule(world.only).read("context/index.json"))[
        "missing"
    ] == ({})


def test_where_nothing_was_observed_there_is_no_such_file() -> None:
    world, found = gathered(Down())

    assert found is None
    assert NAME not in world.incidents.capsule(world.only).names()
    assert "observability" not in world.incidents.capsule(world.only).text("PROMPT.md")


@pytest.mark.covers("S3-33")
def test_a_crashing_pod_is_said_in_the_log_with_its_last_words_and_where_the_rest_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "faultline.steps.context")

    world, found = gathered()
    calm = [record for record in caplog.records if "Houston" in record.getMessage()]
    gathered(cluster("account-missing"), about=PAYOUTS)

    told = [record for record in caplog.records if "Houston" in record.getMessage()]
    assert told == calm  # whose container never ran is not crashing
    first = next(record for record in told if POD in record.getMessage())
    assert first.getMessage().startswith(f"Houston, we have a crashing pod: {POD}, ")
    assert f"in {NAME}; Back-off restarting failed container" in first.getMessage()
    assert first.incident == world.only  # type: ignore[attr-defined]
    pod = next(pod for pod in found["pods"] if pod["pod"] == POD)
    [ended] = [log for log in pod["logs"] if log["state"] == "previous"]
    assert first.getMessage().endswith(f"last line: {ended['last'][-1]}")
    assert len(told) == 2
