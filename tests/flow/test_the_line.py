"""The whole line in memory, read like a timeline."""

from __future__ import annotations

import json

from world import World

from faultline import keys
from faultline.event import format_time
from faultline.model import ClosedBecause, Resource, RunStatus, Severity, Status


def test_an_alert_becomes_an_incident_with_a_proved_cause_and_a_pull_request(world: World) -> None:
    world.alert().settle()

    assert world.status() is Status.PACKAGED
    diagnosis = world.incidents.diagnosis(world.only, 1)
    assert diagnosis is not None
    assert "64Mi" in diagnosis.root_cause
    assert world.forge.made == 1
    assert "256Mi" in world.forge.pull_requests[world.only].patch
    assert len(world.chat.messages) == 1
    assert world.jobs.starts == 0  # proved: no agent, no tokens


def test_an_alert_and_a_stream_fault_about_one_workload_are_one_incident(world: World) -> None:
    world.alert()
    world.fault(name="CrashLoop", condition="f-1", origin="sse", clears=False).settle()

    assert len(world.ids) == 1
    assert len(world.incidents.faults(world.only)) == 2


def test_a_merge_and_then_the_end_of_the_fault_close_it_as_verified(world: World) -> None:
    world.fault().settle().pass_time(60)
    world.forge.merge(world.only)
    world.pass_time(60).clear().settle()

    closed = world.incidents.closed(world.only)
    assert closed is not None
    assert closed.because is ClosedBecause.VERIFIED
    assert world.status() is Status.CLOSED


def test_a_fault_that_goes_away_by_itself_closes_as_cleared(world: World) -> None:
    world.fault().settle().pass_time(60).clear().settle()

    closed = world.incidents.closed(world.only)
    assert closed is not None
    assert closed.because is ClosedBecause.CLEARED


def test_a_fault_that_begins_after_the_merge_says_that_it_returned(world: World) -> None:
    world.fault().settle().pass_time(60)
    world.forge.merge(world.only)
    world.pass_time(60)
    began = world.clock()
    world.fault(condition="c2", starts_at=began).settle().pass_time(60)
    world.clear().clear(condition="c2", starts_at=began).settle()

    closed = world.incidents.closed(world.only)
    assert closed is not None
    assert closed.because is ClosedBecause.RETURNED


def test_the_same_condition_after_closing_opens_the_next_episode(world: World) -> None:
    world.fault().settle().clear().settle().pass_time(3600)
    world.fault(starts_at=world.clock()).settle()

    first, second = sorted(map(world.incidents.incident, world.ids), key=lambda i: i.episode)
    assert (first.episode, second.episode) == (1, 2)
    assert second.follows == first.id


def test_a_repeat_of_a_closed_occurrence_opens_nothing(world: World) -> None:
    world.fault().settle().clear().settle().pass_time(14_400).fault().settle()

    assert len(world.ids) == 1
    assert world.status() is Status.CLOSED


def test_a_repeat_after_the_repeat_interval_starts_and_tells_nothing_anew(world: World) -> None:
    world.alert().settle().pass_time(4 * 3600).alert().settle()

    assert len(world.ids) == 1
    assert world.intake.counts["again"] == 1  # a number of the process, not of the incident
    assert (world.forge.made, len(world.chat.messages), world.jobs.starts) == (1, 1, 0)
    assert world.incidents.run_numbers(world.only) == [1]


def test_a_part_that_ends_is_on_file_and_the_thread_is_edited_once_when_all_of_it_has(
    world: World,
) -> None:
    message = json.loads((world.scenario / "alert.json").read_bytes())
    (first,) = message["alerts"][:1]
    alerts = [first | {"fingerprint": f"{n:016x}"} for n in range(3)]

    def say(*ended: int) -> None:
        over = {"status": "resolved", "endsAt": format_time(world.clock())}
        told = [alert | (over if n in ended else {}) for n, alert in enumerate(alerts)]
        status = "resolved" if len(ended) == 3 else "firing"
        world.alert(json.dumps(message | {"status": status, "alerts": told}).encode())
        world.settle().pass_time(60)

    say()
    assert len(world.incidents.faults(world.only)) == 3

    say(1)
    ends = [end for _, end in world.incidents.faults(world.only).values()]
    assert world.status() is Status.PACKAGED
    assert len([end for end in ends if end]) == 1
    assert (len(world.chat.messages), world.chat.edits) == (1, 0)

    say(0, 1, 2)
    say(0, 1, 2)
    assert world.status() is Status.CLOSED
    assert (len(world.chat.messages), world.chat.edits) == (1, 1)


def test_a_resolved_alert_that_overtakes_its_firing_one_leaves_nothing_open(world: World) -> None:
    world.clear().settle().fault().settle()

    assert world.ids == []
    assert len(world.keys("ignored/")) == 1


def test_a_minor_fault_is_put_on_file_with_its_reason(world: World) -> None:
    world.fault(severity=Severity.INFO).settle()

    assert world.ids == []
    (record,) = world.keys("ignored/")
    assert b"below the threshold" in world.store.get(record)


def test_an_unproved_cause_goes_to_an_agent_and_its_failure_is_packaged_too() -> None:
    world = World("healthy-1")
    world.fault(resource=Resource(kind="Deployment", namespace="shop", name="web")).settle()

    assert world.status() is Status.INVESTIGATING
    assert world.jobs.starts == 1

    world.finish(f"{world.only}-1", RunStatus.FAILED, "empty_report").settle()

    assert world.status() is Status.PACKAGED
    assert world.forge.made == 1


def test_with_no_slot_the_incident_waits_and_sweep_asks_again() -> None:
    world = World("healthy-1")
    for name in ("web", "db"):
        world.fault(
            condition=name, resource=Resource(kind="Deployment", namespace="shop", name=name)
        )
    world.settle()
    statuses = sorted(str(world.status(id)) for id in world.ids)

    assert statuses == ["investigating", "ready"]

    running = world.jobs.live()[0]
    world.finish(running).settle().pass_time(300).ping().settle()

    assert world.jobs.starts == 2


def test_events_shuffled_and_doubled_come_to_the_same_end() -> None:
    for seed in range(8):
        world = World(seed=seed)
        for _ in range(3):
            world.alert()
            world.fault(name="CrashLoop", condition="f-1", origin="sse", clears=False)
        world.settle()

        assert world.status() is Status.PACKAGED
        assert (world.forge.made, len(world.chat.messages)) == (1, 1)


def test_every_file_of_the_capsule_is_in_its_index(world: World) -> None:
    world.alert().settle()
    capsule = world.incidents.capsule(world.only)

    capsule.verify()
    assert keys.PROMPT in capsule.names()
    assert "context/logs.txt" in capsule.names()
