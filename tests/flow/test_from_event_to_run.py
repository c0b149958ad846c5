"""What an incident knows, when its run starts, and what happens if that cannot be done at once."""

from __future__ import annotations

import dataclasses

import pytest
from world import START, World

from faultline import wire
from faultline.answers import Answer
from faultline.bridge.events import event_of
from faultline.errors import Unavailable
from faultline.event import CONTEXT_READY, INCIDENT_OPENED, Event
from faultline.model import Resource, Run, Status
from faultline.routes import STEPS
from faultline.serve import Request, answer

WEB = Resource(kind="Deployment", namespace="shop", name="web")


def post(world: World, step: str, event: Event) -> Answer:
    headers, body = wire.encode(event)
    return answer(STEPS[step], world.ports, Request("POST", "/", headers, body))


@pytest.mark.covers("S1-002")
def test_an_incident_knows_who_where_how_bad_since_when_and_all_evidence(world: World) -> None:
    world.fault().settle()
    incident = world.incidents.incident(world.only)
    capsule = world.incidents.capsule(world.only)

    assert incident.id == world.only
    assert incident.fault.cluster == "prod-a"
    assert incident.fault.resource is not None
    assert incident.fault.resource.namespace == "shop"
    assert incident.fault.severity == "critical"
    assert incident.opened_at == START
    assert world.incidents.opener(world.only).data["name"] == incident.fault.name
    assert any("log" in name for name in capsule.names())
    assert any("pods" in name or "objects" in name for name in capsule.names())


@pytest.mark.covers("S1-121", "S1-122")
def test_a_run_starts_when_the_evidence_is_ready_and_is_given_incident_and_evidence() -> None:
    world = World("healthy-1")
    found = world.made_fault(resource=WEB)
    post(world, "triage", event_of(found, cleared=False, cluster="prod-a", time=START))
    opened = world.incidents.opener(world.only).caused(
        INCIDENT_OPENED, source="/faultline/triage", subject=world.only
    )
    ready = post(world, "context", opened)
    assert world.jobs.starts == 0
    assert ready.headers["ce-type"] == CONTEXT_READY

    post(world, "launch", wire.decode(ready.headers, ready.body))

    (run,) = world.jobs.started.values()
    assert run.incident_id == world.only
    assert run.capsule_sha256 == world.incidents.capsule(world.only).sha256
    assert run == world.incidents.run(world.only, 1)


class Stubborn:
    """A runner that cannot start anything for a while."""

    def __init__(self, world: World, failures: int) -> None:
        self.jobs, self.failures = world.jobs, failures
        self.state, self.live, self.cancel = world.jobs.state, world.jobs.live, world.jobs.cancel

    def start(self, run: Run) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise Unavailable("the cluster does not answer")
        self.jobs.start(run)


@pytest.mark.covers("S1-124")
@pytest.mark.parametrize("failures", [1, 3, 100])
def test_a_runner_that_fails_is_asked_again_and_what_is_given_up_is_on_file(failures: int) -> None:
    world = World("healthy-1")
    world.ports = dataclasses.replace(world.ports, runner=Stubborn(world, failures))
    world.fault(resource=WEB).settle()

    if failures < 10:
        assert world.status() is Status.INVESTIGATING
        assert world.jobs.starts == 1
        assert world.keys("parked/") == []
    else:
        assert world.jobs.starts == 0
        assert world.broker.counters["dead_lettered"] >= 1
        assert len(world.keys("parked/")) == 1
