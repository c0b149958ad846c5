"""Late, old and flapping alerts; events from strangers; agents that never answer."""

from __future__ import annotations

import datetime as dt

import pytest
from world import START, World

from faultline import wire
from faultline.answers import Answer
from faultline.bridge.events import event_of
from faultline.event import CONTEXT_READY, INCIDENT_OPENED, RUN_FINISHED, Event, format_time
from faultline.model import Resource, RunStatus, Status
from faultline.routes import STEPS
from faultline.serve import Request, answer

WEB = Resource(kind="Deployment", namespace="shop", name="web")
UNKNOWN = "20261121-api-5c1e9b2a"


def post(world: World, step: str, event: Event) -> Answer:
    headers, body = wire.encode(event)
    return answer(STEPS[step], world.ports, Request("POST", "/", headers, body))


def ordered(type: str, subject: str | None, data: object = None) -> Event:
    return Event(
        id="x1", source="/stranger", type=type, subject=subject, data=data, time=format_time(START)
    )


# strangers


@pytest.mark.covers("INB-09")
@pytest.mark.parametrize("subject", [UNKNOWN, "", None, "../../x", UNKNOWN + "\u00e9"])
@pytest.mark.parametrize(
    ("step", "type"),
    [("context", INCIDENT_OPENED), ("launch", CONTEXT_READY), ("package", RUN_FINISHED)],
)
def test_an_event_about_no_incident_of_ours_is_refused_and_sets_nothing_in_motion(
    world: World, step: str, type: str, subject: str | None
) -> None:
    reply = post(world, step, ordered(type, subject or None, {"run": 1}))

    assert 400 <= reply.status < 500
    assert world.jobs.starts == world.forge.made == len(world.chat.messages) == 0
    assert world.keys("incidents/") == []
    assert len(world.keys("parked/")) == 1


@pytest.mark.parametrize(
    "data",
    [{"run": "1"}, {"run": 0}, {"run": -1}, {"run": 10**9}, {"run": 1.5}, {"run": True}, [], "run"],
)
def test_a_run_that_cannot_be_is_refused_and_leaves_no_record(data: object) -> None:
    world = World("healthy-1").fault(resource=WEB).settle()
    before = world.keys("incidents/")

    for step, type in (("launch", CONTEXT_READY), ("package", RUN_FINISHED)):
        assert post(world, step, ordered(type, world.only, data)).status == 400
    assert world.keys("incidents/") == before


@pytest.mark.covers("INB-10")
def test_another_cluster_that_uses_our_fault_ids_gets_an_incident_of_its_own(world: World) -> None:
    same = {"condition": "c1", "labels": {"groupKey": "{}:{alertname=x}"}}
    world.fault(**same).fault(**same, cluster="prod-b").settle()

    first, second = (world.incidents.incident(id) for id in world.ids)
    assert {first.fault.cluster, second.fault.cluster} == {"prod-a", "prod-b"}
    for incident in (first, second):
        (fault,) = [fault for fault, _ in world.incidents.faults(incident.id).values()]
        assert fault.cluster == incident.fault.cluster

    world.clear(**same, cluster="prod-b").settle()
    closed = {i.fault.cluster for i in (first, second) if world.incidents.closed(i.id)}
    assert closed == {"prod-b"}


# time


@pytest.mark.covers("CE-12")
@pytest.mark.parametrize(
    ("age_s", "expiry", "stale"),
    [(86_399, None, False), (86_401, None, True), (60, 30, True), (60, 90, False)],
)
def test_an_event_that_comes_a_day_late_or_past_its_expiry_starts_nothing(
    age_s: float, expiry: float | None, stale: bool
) -> None:
    world = World("healthy-1")
    fault = world.made_fault(resource=WEB)
    event = event_of(fault, cleared=False, cluster="prod-a", time=world.clock())
    if expiry is not None:
        event.extensions["expirytime"] = format_time(START + dt.timedelta(seconds=expiry))
    world.pass_time(age_s).send(event)
    world.settle()

    assert world.jobs.starts == (0 if stale else 1)
    assert len(world.keys("ignored/")) == (1 if stale else 0)
    assert len(world.ids) == (0 if stale else 1)


def test_an_alert_that_has_fired_for_weeks_is_told_today_and_looked_into(world: World) -> None:
    world.fault(starts_at=START - dt.timedelta(days=30)).settle()

    assert world.status() is Status.PACKAGED


@pytest.mark.covers("IDM-14")
def test_an_event_replayed_a_week_after_its_job_is_gone_starts_no_other() -> None:
    world = World("healthy-1").fault(resource=WEB).settle()
    run = world.jobs.started[f"{world.only}-1"]
    world.finish(run.id).settle()
    world.jobs.started.clear()  # the Job is removed a while after it finished
    before = world.keys("incidents/")

    for days in (7, 30):
        world.pass_time(days * 86_400)
        for step, event in (
            ("context", world.incidents.opener(world.only).caused(
                INCIDENT_OPENED, source="/faultline/triage", subject=world.only)),
            ("launch", Event(**_fields(run.cause))),
        ):  # fmt: skip
            assert post(world, step, event).status in (200, 204)

    assert world.jobs.starts == 1
    assert world.keys("incidents/") == before


def _fields(cause: dict[str, object]) -> dict[str, object]:
    names = ("id", "source", "type", "subject", "time", "data")
    extensions = {k: v for k, v in cause.items() if k not in (*names, "specversion")}
    extensions.pop("datacontenttype", None)
    return {n: cause[n] for n in names} | {"extensions": extensions}


@pytest.mark.covers("IDM-15")
def test_an_agent_that_always_fails_is_tried_once_and_told_of_once() -> None:
    world = World("healthy-1").fault(resource=WEB).settle()
    world.finish(f"{world.only}-1", RunStatus.FAILED, "empty_report").settle()

    for _ in range(20):
        world.pass_time(600).ping().settle()

    assert world.status() is Status.PACKAGED
    assert world.jobs.starts == 1
    assert len(world.chat.messages) == world.forge.made == 1


# alerts that come and go


def test_of_three_alerts_one_may_resolve_and_the_incident_stays_open(world: World) -> None:
    conditions = [f"c{n}" for n in range(3)]
    for condition in conditions:
        world.fault(condition=condition)
    world.settle().pass_time(60)
    told = (world.forge.edited, len(world.chat.messages))

    world.clear(condition="c0").settle()
    assert world.status() is Status.PACKAGED
    assert (world.forge.edited, len(world.chat.messages)) == told

    world.clear(condition="c1").clear(condition="c2").settle()
    assert world.status() is Status.CLOSED


@pytest.mark.parametrize("minutes", [0, 1, 9, 10, 11, 60])
def test_a_condition_that_returns_after_closing_is_the_next_episode_however_soon(
    world: World, minutes: int
) -> None:
    world.fault().settle().pass_time(60).clear().settle()
    first = world.only
    world.pass_time(60 * minutes + 1).fault(starts_at=world.clock()).settle()

    (second,) = [id for id in world.ids if id != first]
    assert world.incidents.incident(second).follows == first
    assert world.status(first) is Status.CLOSED


def test_a_flapping_alert_starts_one_agent_run() -> None:
    world = World("healthy-1")
    for _ in range(60):
        began = world.clock()
        world.fault(resource=WEB, starts_at=began).settle()
        world.pass_time(5).clear(resource=WEB, starts_at=began).settle().pass_time(5)

    assert world.jobs.starts == 1
    assert {world.status(id) for id in world.ids} == {Status.CLOSED}
