"""A ResourceQuota that is full: runs wait for room in the cluster; none is lost or doubled."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
from jobs_api import ApiServer, serving
from world import World

from faultline import keys
from faultline.adapters.runners.job import JobTemplate
from faultline.adapters.runners.kubernetes import KubernetesRunner
from faultline.model import JobState, Policy, Resource, Run, RunStatus, Status

client = pytest.importorskip("kubernetes.client")

SERVICES = [f"web-{n}" for n in range(6)]
TEMPLATE = JobTemplate(
    image="faultline-agent:1", namespace="faultline-agents", store_url="s3://b", sink_url="http://s"
)


class Asking(KubernetesRunner):
    """The runner, and when it was asked to start what."""

    def __init__(self, world: World, api: object) -> None:
        super().__init__(TEMPLATE, api=api)
        self.world, self.asked = world, {}

    def start(self, run: Run) -> None:
        self.asked.setdefault(run.id, []).append(self.world.clock.seconds())
        super().start(run)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as server:
        yield server


@pytest.fixture
def world(server: ApiServer) -> Iterator[World]:
    policy = Policy(slots=10, slots_per_cluster=10, runs_per_hour=100, runs_per_workload=0)
    world = World("healthy-1", policy=policy)
    settings = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    settings.retries = False
    with client.ApiClient(settings) as connection:
        runner = Asking(world, client.BatchV1Api(connection))
        world.ports = dataclasses.replace(world.ports, runner=runner)
        yield world


def burning(world: World) -> World:
    for n, name in enumerate(SERVICES):
        resource = Resource(kind="Deployment", namespace="shop", name=name)
        world.fault(resource=resource, condition=f"c{n}")
    return world.settle()


def a_minute(world: World) -> None:
    world.pass_time(60).ping().settle(limit_s=0)


def end_one(world: World, server: ApiServer) -> None:
    """An agent ends without an answer, and its Job goes as its time to live is over."""
    name = next(iter(server.jobs))
    incident_id, _, number = name.rpartition("-")
    run = world.incidents.run(incident_id, int(number))
    assert run is not None
    world.jobs.started[name] = run
    world.finish(name).settle(limit_s=0)
    del server.jobs[name]


@pytest.mark.covers("ISO-10")
def test_runs_beyond_a_full_quota_wait_and_are_tried_again_each_minute_until_all_have_run(
    world: World, server: ApiServer
) -> None:
    server.quota = 2
    burning(world)
    runner = world.ports.runner

    assert isinstance(runner, Asking)
    assert len(server.jobs) == 2
    assert len(world.ids) == len(SERVICES)
    assert len(set(server.refused)) == len(SERVICES) - 2

    minutes = 0
    while {world.status(id) for id in world.ids} != {Status.PACKAGED}:
        a_minute(world)
        assert len(server.jobs) <= 2
        minutes += 1
        if minutes % 2 == 0 and server.jobs:
            end_one(world, server)
        assert minutes < 30

    gaps = [b - a for times in runner.asked.values() for a, b in itertools.pairwise(times)]
    results = [world.incidents.result(id, 1) for id in world.ids]
    assert [(r.status, r.reason) for r in results if r] == [(RunStatus.FAILED, "")] * len(SERVICES)
    assert gaps
    assert max(gaps) <= 60
    assert world.keys("parked/") == []
    assert world.broker.counters["dead_lettered"] == 0
    assert all(world.incidents.run_numbers(id) == [1] for id in world.ids)


def test_who_finds_no_room_for_too_long_is_answered_by_the_analyzers(
    world: World, server: ApiServer
) -> None:
    server.quota = 0
    world.fault(resource=Resource(kind="Deployment", namespace="shop", name="web")).settle()
    for _ in range(9):
        a_minute(world)
    assert world.status() is Status.INVESTIGATING

    a_minute(world)

    result = world.incidents.result(world.only, 1)
    diagnosis = world.store.get(keys.incident(world.only, keys.run_record(1, keys.DIAGNOSIS)))
    assert result is not None
    assert result.status is RunStatus.SUCCESS
    assert b"it waited 10 minutes for a Job" in diagnosis
    assert b"ResourceQuota is full" in diagnosis
    assert world.status() is Status.PACKAGED
    assert len(world.chat.messages) == 1
    assert world.ports.runner.state(world.incidents.run(world.only, 1)) is JobState.ABSENT  # type: ignore[arg-type]
    assert server.jobs == {}
