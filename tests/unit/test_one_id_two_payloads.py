"""The same id with something else in it: on file with the reason, never the first answer again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from world import World

from faultline import keys, wire
from faultline.answers import Answer
from faultline.event import RUN_FINISHED, Event, from_json
from faultline.model import RunStatus, Status
from faultline.routes import STEPS
from faultline.serve import Request, answer


def post(world: World, step: str, event: Event) -> Answer:
    headers, body = wire.encode(event)
    return answer(STEPS[step], world.ports, Request("POST", "/", headers, body))


def parked(world: World) -> list[dict]:
    return [json.loads(world.store.get(key)) for key in world.keys("parked/")]


@pytest.mark.covers("IDM-10")
def test_the_opening_event_again_about_another_fault_is_parked_with_its_reason(
    world: World,
) -> None:
    world.fault().settle()
    opener = world.incidents.opener(world.only)
    before = world.keys("incidents/")
    other = replace(opener, data=opener.data | {"condition": "another", "name": "Other"})

    assert post(world, "triage", other).status == 400
    assert world.keys("incidents/") == before
    (letter,) = parked(world)
    assert "under the same id" in letter["reason"]
    assert letter["event"]["data"]["name"] == "Other"


@pytest.mark.covers("IDM-10")
def test_an_end_of_a_run_that_says_something_else_than_is_on_file_is_parked() -> None:
    world = World().alert().settle()  # the analyzers prove it
    run = world.incidents.run(world.only, 1)
    assert run is not None
    result = world.incidents.result(world.only, 1)
    assert result is not None
    said = from_json(run.cause).caused(
        RUN_FINISHED, source=f"/faultline/runs/{run.id}", subject=run.incident_id,
        data=result.model_dump(mode="json"),
    )  # fmt: skip
    other = next(status for status in RunStatus if status != result.status)

    assert post(world, "package", said).status in (200, 204)
    assert parked(world) == []
    assert post(world, "package", replace(said, data=said.data | {"status": other})).status == 400
    (letter,) = parked(world)
    assert "as on file" in letter["reason"]
    assert world.status() is Status.PACKAGED


@pytest.mark.covers("IDM-10")
def test_two_refused_events_under_one_id_are_both_on_file_and_each_of_them_once(
    world: World,
) -> None:
    first = Event(id="x1", source="/a", type=RUN_FINISHED, subject="nobody", data={"run": 1})

    for event in (first, replace(first, data={"run": 2}), replace(first, source="/b")) * 3:
        assert post(world, "package", event).status == 400

    letters = parked(world)
    assert len(letters) == 3
    assert {(e["event"]["source"], e["event"]["data"]["run"]) for e in letters} == {
        ("/a", 1), ("/a", 2), ("/b", 1)
    }  # fmt: skip


@pytest.mark.covers("IDM-10")
def test_two_dead_letters_under_one_id_are_both_on_file(world: World) -> None:
    first = Event(id="x1", source="/a", type=RUN_FINISHED, subject="nobody", data={"run": 1})
    for event in (first, replace(first, data={"run": 2})) * 3:
        headers, body = wire.encode(event)
        world.intake.parked(headers, body)

    assert len(parked(world)) == 2


def test_what_is_stored_under_a_hash_is_another_key_for_another_payload(world: World) -> None:
    day = world.clock().date()

    assert keys.data(day, b"a") != keys.data(day, b"b")
