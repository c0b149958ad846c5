"""Whatever was lost, one ping brings it on: each way an incident can stop, healed by `sweep`."""

from __future__ import annotations

import dataclasses

import pytest
from world import World

from faultline import keys
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.events import event_of
from faultline.correlate import correlation_key, subject_name
from faultline.event import PING, Event, format_time
from faultline.model import Closed, ClosedBecause, Incident, Resource, RunStatus, Status
from faultline.steps.sweep import sweep

WEB = Resource(kind="Deployment", namespace="shop", name="web")


def copied(world: World, *without: str, scenario: str = "memory") -> World:
    """The same store without some records, as if a crash had come first; nothing in flight."""
    store = MemoryStore()
    for key in world.store.list(""):
        if not any(part in key for part in without):
            store.put(key, world.store.get(key))
    found = World(scenario, store=store)
    found.clock.now = world.clock.now
    return found


def everything(world: World) -> dict[str, bytes]:
    return {key: world.store.get(key) for key in world.store.list("")}


def test_a_claim_whose_incident_is_missing_is_opened() -> None:
    world = World()
    fault = world.made_fault()
    event = event_of(fault, cleared=False, cluster="prod-a", time=world.clock())
    key, name = correlation_key(fault), subject_name(fault)
    world.incidents.claim(Incident.begin(fault, key=key, name=name, because=event), event)
    assert world.ids == []

    world.ping().settle()

    assert world.status() is Status.PACKAGED


LOST = {
    "the event that it opened": ("context/", "PROMPT.md", "runs/", "published/", "report/"),
    "the event that its evidence is there": ("runs/", "published/", "report/"),
    "the event that its run ended": ("packaged.json", "change.json", "published/", "report/"),
}


@pytest.mark.parametrize("lost", LOST)
def test_an_incident_that_lost_its_event_is_brought_on(lost: str) -> None:
    world = copied(World().fault().settle(), *LOST[lost])
    before = world.status()
    world.ping().settle()
    assert world.status() is before  # it is young: the event may still be under way

    world.pass_time(121).ping().settle()

    assert world.status() is Status.PACKAGED
    assert world.forge.made == 1


def waiting_for_an_agent() -> World:
    world = World("healthy-1")
    world.fault(resource=WEB).settle()
    assert world.status() is Status.INVESTIGATING
    return world


def test_a_run_whose_job_was_never_made_is_started_again() -> None:
    world = copied(waiting_for_an_agent(), scenario="healthy-1")
    assert world.jobs.starts == 0

    world.pass_time(121).ping().settle()

    assert world.jobs.starts == 1
    assert world.incidents.run_numbers(world.only) == [1]


@pytest.mark.covers("S1-079")
@pytest.mark.parametrize(("seconds", "status"), [(121, RunStatus.FAILED), (721, RunStatus.TIMEOUT)])
def test_a_run_whose_job_died_without_a_word_ends_and_people_are_told(
    seconds: float, status: RunStatus
) -> None:
    world = waiting_for_an_agent()
    world.jobs.ended.add(f"{world.only}-1")

    world.pass_time(seconds).ping().settle()

    result = world.incidents.result(world.only, 1)
    assert result is not None
    assert (result.status, result.reason) == (status, "lost")
    assert world.status() is Status.PACKAGED
    assert len(world.chat.messages) == 1


def test_a_run_past_its_deadline_whose_job_is_unknown_is_given_up() -> None:
    world = copied(waiting_for_an_agent(), scenario="healthy-1")

    world.pass_time(721).ping().settle()

    assert world.incidents.result(world.only, 1).status is RunStatus.TIMEOUT  # type: ignore[union-attr]
    assert world.status() is Status.PACKAGED
    assert world.jobs.starts == 0


def test_a_run_that_lives_is_left_alone() -> None:
    world = waiting_for_an_agent()

    world.pass_time(590).ping().settle()

    assert world.status() is Status.INVESTIGATING


def test_an_incident_whose_faults_are_all_over_is_closed() -> None:
    world = World().fault().settle()
    fault = world.made_fault()
    world.incidents.clear(fault, at=world.clock())  # on file, but its event was lost

    world.ping().settle()

    assert world.incidents.closed(world.only).because is ClosedBecause.CLEARED  # type: ignore[union-attr]


def test_a_fault_that_joined_while_it_closed_opens_the_next_episode() -> None:
    world = World().fault().settle()
    first = world.only
    record = Closed(
        because=ClosedBecause.PERSON, by="x", at=world.clock(),
        occurrences=(world.made_fault().occurrence,),
    )  # fmt: skip
    world.incidents.record(first, keys.CLOSED, record)
    late = world.made_fault(condition="c2")
    world.incidents.record(first, keys.detected(late.occurrence), late)

    world.ping().settle()

    (second,) = [id for id in world.ids if id != first]
    assert world.incidents.incident(second).follows == first
    assert world.status(second) is Status.PACKAGED


def test_one_damaged_incident_does_not_keep_the_others_from_being_healed() -> None:
    world = copied(World().fault().settle(), *LOST["the event that it opened"])
    damaged = "20261121-aaa-00000000"
    world.store.put(keys.incident(damaged, keys.INCIDENT), b"{ not a record")

    world.pass_time(121).ping().settle()

    assert world.status(next(id for id in world.ids if id != damaged)) is Status.PACKAGED


def test_a_ping_too_many_changes_nothing() -> None:
    world = World().fault().settle()
    before = everything(world)

    for _ in range(3):
        world.pass_time(300).ping().settle()

    assert everything(world) == before


def test_what_is_older_than_the_days_that_sweep_looks_back_is_left() -> None:
    world = copied(World().fault().settle(), *LOST["the event that it opened"])
    world.pass_time(8 * 86_400).ping().settle()

    assert world.status() is Status.OPEN


def test_a_nudge_carries_the_trace_of_the_opener_and_not_of_the_ping() -> None:
    world = copied(World().fault().settle(), *LOST["the event that it opened"])
    sent: list[Event] = []

    class Sink:
        def send(self, event: Event) -> None:
            sent.append(event)

    world.pass_time(121)
    ports = dataclasses.replace(world.ports, sink=Sink())
    moment = format_time(world.clock())
    sweep(
        Event(id="p", source="/p", type=PING, time=moment, extensions={"traceparent": "p"}), ports
    )

    assert [event.extensions.get("cluster") for event in sent] == ["prod-a"]
    assert "traceparent" not in sent[0].extensions
