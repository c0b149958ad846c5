"""Events doubled, shuffled, late, forged or too many: the same end, and every effect once."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import random

import pytest
from world import START, Chat, Clock, Files, Forge, Jobs, World

from faultline import keys, wire
from faultline.adapters.stores.memory import MemoryStore
from faultline.answers import Answer
from faultline.bridge.events import event_of
from faultline.errors import Rejected
from faultline.event import (
    CONTEXT_READY,
    INCIDENT_OPENED,
    RUN_FINISHED,
    Event,
)
from faultline.incidents import Incidents
from faultline.model import Fault, Policy, Resource, Result, Run, RunStatus, Status
from faultline.ports import Ports
from faultline.routes import STEPS
from faultline.serve import Request, answer

WEB = Resource(kind="Deployment", namespace="shop", name="web")
VIEWS = (keys.README, "report/", "README.md")


def post(world: World, step: str, event: Event) -> Answer:
    headers, body = wire.encode(event)
    return answer(STEPS[step], world.ports, Request("POST", "/", headers, body))


def records(world: World) -> set[str]:
    return {key for key in world.store.list("") if not key.startswith(("parked/", "payloads/"))}


def detected(world: World, **fields: object) -> Event:
    fault = world.made_fault(**fields)
    return event_of(fault, cleared=False, cluster="prod-a", time=world.clock())


# duplicates


@pytest.mark.covers("CE-02")
def test_only_source_and_id_together_make_a_duplicate(world: World) -> None:
    first = detected(world)
    again = Event(**{**_fields(first), "source": "/another/bridge"})
    replies = [post(world, "triage", event) for event in (first, first, again, again)]

    # the duplicate says the same; the other sender's event joins, and says nothing
    assert [reply.status for reply in replies] == [200, 200, 204, 204]
    assert replies[0] == replies[1]
    assert len(world.ids) == 1

    world.settle()
    before = records(world)
    for event in (first, again):
        assert post(world, "triage", event).status in (200, 204)
    assert records(world) == before


def _fields(event: Event) -> dict[str, object]:
    names = ("id", "source", "type", "subject", "time", "data", "extensions")
    return {name: getattr(event, name) for name in names}


def test_one_id_for_two_faults_is_parked_and_the_first_is_not_told_again(world: World) -> None:
    first = detected(world)
    other = detected(world, condition="c2")
    forged = Event(**{**_fields(other), "id": first.id, "source": first.source})
    post(world, "triage", first)

    assert post(world, "triage", forged).status == 400
    assert len(world.keys("parked/")) == 1
    assert len(world.incidents.faults(world.only)) == 1


def test_the_same_fault_described_anew_is_no_other_fault(world: World) -> None:
    first = detected(world)
    world.send(first)
    world.settle()
    described = detected(world, summary="now 12 restarts", annotations={"value": "12"})

    assert described.id == first.id
    assert post(world, "triage", described).status == 204
    assert world.keys("parked/") == []


# orders


class Instant(Jobs):
    """A runner whose runs end, without an answer, in the moment in which they start."""

    def __init__(self, incidents: Incidents) -> None:
        super().__init__()
        self.incidents = incidents

    def start(self, run: Run) -> None:
        super().start(run)
        result = Result(
            incident_id=run.incident_id, run=run.number, status=RunStatus.FAILED,
            started_at=START, completed_at=START,
        )  # fmt: skip
        self.incidents.record(run.incident_id, keys.run_record(run.number, keys.RESULT), result)


class Small:
    """The steps alone, over nothing but a store: quick enough for thousands of histories."""

    def __init__(self) -> None:
        self.incidents, clock = Incidents(MemoryStore()), Clock()
        self.jobs, self.chat, self.forge = Instant(self.incidents), Chat(clock), Forge(clock)
        self.ports = Ports(
            incidents=self.incidents, runner=self.jobs, sources=(), manifests=Files({}),
            outlets=[self.forge, self.chat], sink=self, policy=Policy(), clock=clock,
        )  # fmt: skip

    def send(self, event: Event) -> None:
        raise AssertionError(f"nothing is swept here, but {event.type} was sent")

    def take(self, step: str, event: Event) -> None:
        with contextlib.suppress(Rejected):  # too early: it is parked, and comes again
            STEPS[step](event, self.ports)

    def rank(self, id: str) -> int:
        status = self.incidents.status(id)
        return -1 if status is None else list(Status).index(status)


FAULT = World().made_fault()
OVER = FAULT.model_copy(update={"ends_at": START + dt.timedelta(seconds=60)})
STREAMED = FAULT.model_copy(update={"condition": "c2", "clears": False})


def said(fault: Fault) -> Event:
    return event_of(fault, cleared=fault.ends_at is not None, cluster="prod-a", time=START)


@pytest.mark.covers("CE-08")
def test_all_720_orders_of_six_events_doubled_come_to_the_same_end() -> None:
    first = Small()
    first.take("triage", said(FAULT))
    (id,) = first.incidents.ids()
    opened = first.incidents.opener(id).caused(INCIDENT_OPENED, source="/triage", subject=id)
    events = [
        ("triage", said(FAULT)), ("triage", said(STREAMED)), ("context", opened),
        ("launch", opened.caused(CONTEXT_READY, source="/c", subject=id, data={"run": 1})),
        ("package", opened.caused(RUN_FINISHED, source="/r", subject=id, data={"run": 1})),
        ("close", said(OVER)),
    ]  # fmt: skip
    for order in itertools.permutations(events):
        small = Small()
        small.take("triage", said(FAULT))  # it is open; all that follows comes in any order
        ranks = []
        for step, event in (*order, *order):
            small.take(step, event)
            ranks.append(small.rank(id))

        assert ranks == sorted(ranks)
        assert small.incidents.status(id) is Status.CLOSED
        assert small.jobs.starts <= 1
        assert small.forge.made <= 1
        assert len(small.chat.messages) <= 1


@pytest.mark.covers("AM-12")
def test_a_resolve_that_overtakes_its_alert_leaves_no_zombie_in_1000_orders() -> None:
    chance = random.Random(12)
    faults = [FAULT.model_copy(update={"condition": f"c{n}"}) for n in range(3)]
    for _ in range(1_000):
        small = Small()
        events = [("triage", said(f)) for f in faults]
        events += [("close", said(f.model_copy(update={"ends_at": START}))) for f in faults]
        events *= 2
        chance.shuffle(events)
        for step, event in events:
            small.take(step, event)

        assert {small.incidents.status(id) for id in small.incidents.ids()} <= {Status.CLOSED}
        assert small.jobs.starts == 0


# loops


@pytest.mark.covers("CE-09")
def test_an_incident_takes_no_more_than_six_events_and_none_goes_in_circles() -> None:
    for scenario, fields in (("memory", {}), ("healthy-1", {"resource": WEB})):
        world = World(scenario)
        world.fault(**fields).settle()
        if world.jobs.live():
            world.finish(f"{world.only}-1").settle()
        world.pass_time(60).clear(**fields).settle()

        assert world.status() is Status.CLOSED
        taken = world.broker.counters["accepted"]
        assert taken - 2 <= 6  # two are the fault's; each of ours is of another type

        world.settle()
        assert world.broker.counters["accepted"] == taken
