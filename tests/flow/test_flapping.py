"""What comes and goes: one incident with one answer, closed when it has stayed calm."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from world import START, World

from faultline import keys, views
from faultline.model import ClosedBecause, Policy, Resource, RunStatus, Status
from faultline.views import words

WINDOW_S = 600
QUIET = Policy(engine="claude", close_after_s=WINDOW_S)
OTHER = Resource(kind="Deployment", namespace="shop", name="web")  # nothing proves what it has


def world_of(scenario: str = "memory") -> World:
    return World(scenario, policy=QUIET)


def at(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def minutes(world: World, count: int) -> World:
    for _ in range(count):
        world.pass_time(60).ping().settle()
    return world


@pytest.mark.covers("AM-13")
@pytest.mark.parametrize(("scenario", "where"), [("memory", None), ("healthy-1", OTHER)])
def test_sixty_cycles_in_ten_minutes_are_one_incident_with_one_answer(
    scenario: str, where: Resource | None
) -> None:
    world, fields = world_of(scenario), {"resource": where} if where else {}

    for cycle in range(60):
        began = {"starts_at": at(10 * cycle)} | fields
        world.fault(**began).settle().pass_time(5).clear(**began).settle().pass_time(5)
        if cycle % 6 == 5:
            world.ping().settle()
    for run in list(world.jobs.started):
        world.finish(run).settle()
    minutes(world, 12)

    assert world.status() is Status.CLOSED
    assert len(world.jobs.started) == (1 if where else 0)
    assert (world.forge.made, len(world.chat.messages)) == (1, 1)
    assert world.chat.edits <= 6
    case = views.load(world.incidents, world.only)
    assert words.flapping(case) == "Flapping: KubePodCrashLooping has begun 60 times."
    assert "60 times" in world.forge.pull_requests[world.only].ending


@pytest.mark.covers("AM-11")
@pytest.mark.parametrize("gap_s", [10, 310, 599])
def test_what_comes_back_before_the_incident_has_closed_joins_it(gap_s: int) -> None:
    world = world_of().fault().settle().clear().settle()

    world.pass_time(gap_s).ping().settle().fault(starts_at=world.clock()).settle()

    assert len(world.ids) == 1
    assert world.status() is Status.PACKAGED
    minutes(world, 30)
    assert world.status() is Status.PACKAGED, "it goes on"


@pytest.mark.covers("AM-11")
@pytest.mark.parametrize("gap_s", [600, 660, 86_000])
def test_what_comes_back_after_it_has_closed_opens_the_next_episode(gap_s: int) -> None:
    world = world_of().fault().settle().clear().settle()

    world.pass_time(gap_s).ping().settle().fault(starts_at=world.clock()).settle()

    first, second = sorted(world.ids, key=lambda one: world.incidents.incident(one).episode)
    assert world.status(first) is Status.CLOSED
    assert world.incidents.incident(second).follows == first


def test_an_incident_closes_by_itself_when_it_has_stayed_calm() -> None:
    world = world_of().fault().settle().clear().settle()

    minutes(world, 9)
    case = views.load(world.incidents, world.only)
    assert case.status is Status.PACKAGED
    assert words.burning(case) == "Every fault is over since 2026-11-21 10:00:00 UTC."
    assert "closes by itself" in words.following(case)

    minutes(world, 1)
    closed = world.incidents.closed(world.only)
    assert closed is not None
    assert closed.because is ClosedBecause.CLEARED


def test_an_old_incident_that_becomes_calm_is_not_forgotten() -> None:
    world = world_of().fault().settle()
    world.pass_time(30 * 86_400).clear().settle()

    minutes(world, 11)

    assert world.status() is Status.CLOSED


def test_a_sender_whose_clock_is_ahead_holds_nothing_open() -> None:
    world = world_of().fault().settle()
    world.clear(ends_at=at(10 * 365 * 86_400)).settle()

    minutes(world, 10)

    assert world.status() is Status.CLOSED


def test_what_a_stream_says_anew_is_no_calm() -> None:
    """A source that never says when it is over closes nothing, and what it says is not calm."""
    world = world_of().fault().settle().clear().settle()
    minutes(world, 9)

    world.fault(condition="s", clears=False, starts_at=world.clock()).settle()
    minutes(world, 9)
    assert world.status() is Status.PACKAGED
    minutes(world, 1)
    assert world.status() is Status.CLOSED


def test_no_agent_begins_while_nothing_burns_and_one_does_when_it_comes_back() -> None:
    third = Resource(kind="Deployment", namespace="shop", name="cart")
    world = world_of("healthy-1").fault(resource=OTHER).settle()
    world.fault(resource=third, condition="c2").settle()
    first, waits = sorted(world.ids, key=lambda one: "cart" in one)
    assert set(world.jobs.started) == {f"{first}-1"}, "one slot a cluster: the other waits"

    world.clear(resource=third, condition="c2").settle()
    world.finish(f"{first}-1").settle()
    minutes(world, 3)
    assert set(world.jobs.started) == {f"{first}-1"}, "the slot is free, but nothing burns"

    world.fault(resource=third, condition="c2", starts_at=world.clock()).settle()
    minutes(world, 1)
    assert f"{waits}-1" in world.jobs.started


def test_a_first_run_is_stopped_after_a_minute_of_calm_and_nobody_is_told() -> None:
    world = world_of("healthy-1").fault(resource=OTHER).settle()
    world.pass_time(100).clear(resource=OTHER).settle()
    cancel = keys.run_record(1, keys.CANCEL)
    assert cancel not in world.incidents.names(world.only), "it may come back in a moment"

    minutes(world, 1)
    said = json.loads(world.incidents.read(world.only, cancel))
    assert said["reason"] == (
        "the fault has cleared; run 1 was asked to stop, which saves up to 440 s"
    )
    world.finish(world.only + "-1", RunStatus.CANCELLED, "cancelled").settle()
    assert world.status() is Status.PACKAGED
    assert (world.forge.made, world.chat.messages) == (0, [])

    minutes(world, 10)
    assert world.status() is Status.CLOSED
    assert (world.forge.made, world.chat.messages) == (0, [])


def test_what_comes_back_after_its_run_was_stopped_gets_a_second_one_that_is_let_go_on() -> None:
    world = world_of("healthy-1").fault(resource=OTHER).settle()
    world.clear(resource=OTHER).settle()
    minutes(world, 2)
    world.finish(world.only + "-1", RunStatus.CANCELLED, "cancelled").settle()

    again = {"resource": OTHER, "starts_at": world.clock()}
    world.fault(**again).settle()
    minutes(world, 1)
    assert set(world.jobs.started) == {f"{world.only}-1", f"{world.only}-2"}

    world.clear(**again).settle()
    minutes(world, 3)
    assert keys.run_record(2, keys.CANCEL) not in world.incidents.names(world.only)
    world.finish(world.only + "-2").settle()
    assert len(world.chat.messages) == 1

    world.fault(resource=OTHER, starts_at=world.clock()).settle()
    minutes(world, 30)
    assert len(world.jobs.started) == 2, "no third run by itself"


def test_a_run_that_a_person_stopped_is_not_begun_again() -> None:
    world = world_of("healthy-1").fault(resource=OTHER).settle()
    record = json.dumps({"by": "a person", "at": at(1).isoformat()}).encode()
    world.incidents.record(world.only, keys.run_record(1, keys.CANCEL), record)
    world.finish(world.only + "-1", RunStatus.CANCELLED, "cancelled").settle()

    minutes(world, 5)

    assert len(world.jobs.started) == 1
    assert len(world.chat.messages) == 1, "a person is told what became of it"


@pytest.mark.covers("AM-08")
def test_a_repeat_after_four_hours_says_that_it_goes_on_and_sets_nothing_in_motion() -> None:
    world = world_of("healthy-1").fault(resource=OTHER).settle()
    world.finish(world.only + "-1").settle()
    before = (dict(world.jobs.started), world.forge.made, len(world.chat.messages))

    for _ in range(3):
        world.pass_time(4 * 3600).fault(resource=OTHER).settle()
        for _ in range(50):
            world.fault(resource=OTHER).settle()

    case = views.load(world.incidents, world.only)
    assert case.said_at == at(12 * 3600)
    assert words.burning(case) == "Last said again at 2026-11-21 22:00:00 UTC."
    assert len([name for name in case.names if keys.seen_at(name)]) == 3, "the count moves"
    assert (dict(world.jobs.started), world.forge.made, len(world.chat.messages)) == before
