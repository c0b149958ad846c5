"""Caps, queue, budgets and the breaker over the whole line: derived from records, so they stay."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator

import pytest
from world import Jobs, World

from faultline import keys
from faultline.admission import State
from faultline.ledger import standing
from faultline.model import (
    Amount,
    Budgets,
    Policy,
    Resource,
    Result,
    Run,
    RunStatus,
    Severity,
    Status,
)

HOUR = dt.timedelta(hours=1)
FOR_EVER = 10**9


class Watched(Jobs):
    """Jobs whose starts are counted by a stranger, who knows nothing of the ledger."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world, self.costs = world, {}
        self.most: Counter[str] = Counter()

    def start(self, run: Run) -> None:
        new = run.id not in self.started
        super().start(run)
        if new:
            self.count()

    def count(self) -> None:
        now = self.world.clock()
        hour = [run for run in self.started.values() if now - run.created_at < HOUR]
        day = [run for run in self.started.values() if run.created_at.date() == now.date()]
        keys_of = [self.world.incidents.incident(run.incident_id).key for run in hour]
        seen = {
            "at once": len(self.live()),
            "an hour": len(hour),
            "of one workload": max(Counter(keys_of).values()),
            "cents a day": sum(self.costs.get(run.id, 100) for run in day),
        }
        for what, count in seen.items():
            self.most[what] = max(self.most[what], count)

    def take_over(self, other: Watched) -> None:
        """Jobs outlive whoever started them."""
        self.started, self.ended, self.starts = other.started, other.ended, other.starts
        self.costs, self.most = other.costs, other.most


def world_of(policy: Policy, store=None) -> World:
    world = World("healthy-1", policy=policy, store=store)
    world.jobs = Watched(world)
    world.ports = type(world.ports)(**{**vars(world.ports), "runner": world.jobs})
    return world


def again(world: World, policy: Policy) -> World:
    """Everything is killed and started again: what was in memory and in flight is gone."""
    after = world_of(policy, world.store)
    after.clock.now = world.clock.now
    after.jobs.take_over(world.jobs)
    return after


def fails(world: World, number: int, namespace: str = "shop", **more) -> World:
    name = f"web{number:03d}"
    more.setdefault("starts_at", world.clock() - dt.timedelta(seconds=1))
    return world.fault(
        condition=f"{namespace}/{name}/{more['starts_at']}",
        resource=Resource(kind="Deployment", namespace=namespace, name=name),
        **more,
    )


def ends(world: World, run_id: str, *, reason: str = "", tokens: int = 0, usd: float = 0) -> World:
    """An agent ends: it says what it has spent, or why it failed."""
    run = world.jobs.started[run_id]
    result = Result(
        incident_id=run.incident_id, run=run.number, reason=reason or "empty_report",
        status=RunStatus.FAILED, started_at=run.created_at, completed_at=world.clock(),
        engine=run.engine, tokens=tokens, cost_usd=usd,
    )  # fmt: skip
    if isinstance(world.jobs, Watched):
        world.jobs.costs[run_id] = round(usd * 100)
    world.incidents.record(run.incident_id, keys.run_record(run.number, keys.RESULT), result)
    return world.finish(run_id)


def order(world: World) -> Iterator[tuple[str, str]]:
    for run in world.jobs.started.values():
        fault = world.incidents.incident(run.incident_id).fault
        assert fault.resource
        yield fault.resource.namespace, fault.resource.name


@pytest.mark.covers("STM-02")
def test_200_incidents_break_no_cap_at_any_instant_and_come_by_severity_and_age() -> None:
    policy = Policy(
        engine="claude", slots=5, slots_per_cluster=5, wait_max_s=FOR_EVER,
        budgets=Budgets(run=Amount(usd=1.0), day=Amount(usd=30.0)),
    )  # fmt: skip
    world = world_of(policy)
    for number in range(200):
        severity = Severity.CRITICAL if number % 4 == 3 else Severity.WARNING
        fails(world, number, severity=severity).settle().pass_time(1)
    for _ in range(20):
        for run_id in list(world.jobs.live()):
            ends(world, run_id, usd=0.5).settle()
        world.pass_time(600).ping().settle()
        world = again(world, policy).ping().settle()

    names = [name for _, name in order(world)]
    first, rest = names[:5], names[5:]
    assert first == [f"web{n:03d}" for n in range(5)]  # there was room, and nobody waited
    waited = [n for n in range(200) if f"web{n:03d}" not in first]
    ordered = sorted(waited, key=lambda n: (n % 4 != 3, n))  # every fourth is critical
    assert rest == [f"web{n:03d}" for n in ordered][: len(rest)]
    assert len(names) == 59  # 58 have spent 29 USD, and one may spend the last
    assert world.jobs.most["at once"] == 5
    assert world.jobs.most["an hour"] == 20
    assert world.jobs.most["of one workload"] == 1
    assert world.jobs.most["cents a day"] <= 3_000


def test_the_next_one_begins_when_a_run_ends_and_not_a_minute_later() -> None:
    world = world_of(Policy(engine="claude"))
    fails(world, 1).settle().pass_time(1)
    fails(world, 2).settle()
    (running,) = world.jobs.live()

    ends(world, running).settle()

    assert [name for _, name in order(world)] == ["web001", "web002"]


def test_a_long_queue_of_one_namespace_starves_no_other() -> None:
    world = world_of(Policy(engine="claude", wait_max_s=FOR_EVER))
    for number in range(9):
        fails(world, number, namespace="loud").settle().pass_time(1)
    fails(world, 50, namespace="quiet").settle()
    for _ in range(3):
        ends(world, world.jobs.live()[0]).settle()

    assert ("quiet", "web050") in list(order(world))[:3]


def test_who_comes_late_does_not_overtake_who_waits() -> None:
    world = world_of(Policy(engine="claude", slots=2, slots_per_cluster=2, wait_max_s=FOR_EVER))
    for number in (1, 2, 3):
        fails(world, number).settle().pass_time(1)
    first = world.jobs.live()[0]
    run = world.jobs.started[first]
    result = Result(
        incident_id=run.incident_id, run=1, status=RunStatus.FAILED, reason="empty_report",
        started_at=run.created_at, completed_at=world.clock(), engine="claude",
    )  # fmt: skip
    world.incidents.record(run.incident_id, keys.run_record(1, keys.RESULT), result)
    world.jobs.ended.add(first)  # it has ended, and nobody has said so yet

    fails(world, 4).settle()

    assert "web004" not in [name for _, name in order(world)]

    world.pass_time(200).ping().settle()

    assert [name for _, name in order(world)] == ["web001", "web002", "web003"]


def test_who_has_waited_too_long_gets_an_answer_without_an_agent_and_people_hear_of_it() -> None:
    world = world_of(Policy(engine="claude"))
    fails(world, 1).settle().pass_time(1)
    fails(world, 2).settle().pass_time(601).ping().settle()
    (waited,) = [id for id in world.ids if "web002" in id]

    assert world.jobs.starts == 1
    assert world.status(waited) is Status.PACKAGED
    assert waited in world.forge.pull_requests
    assert "No agent was asked: it waited 10 minutes" in world.forge.pull_requests[waited].text
    assert b"No agent was asked: it waited 10 minutes" in world.incidents.read(waited, keys.README)


def test_a_second_run_for_one_workload_within_the_hour_waits_and_a_person_may_have_it() -> None:
    world = world_of(Policy(engine="claude", wait_max_s=FOR_EVER))
    began = world.clock()
    fails(world, 1, starts_at=began).settle()
    ends(world, world.jobs.live()[0]).settle().pass_time(60)
    name = Resource(kind="Deployment", namespace="shop", name="web001")
    world.clear(condition=f"shop/web001/{began}", resource=name, starts_at=began).settle()
    fails(world, 1).settle()
    first, second = sorted(world.ids, key=lambda i: world.incidents.incident(i).episode)

    assert world.status(first) is Status.CLOSED
    assert world.status(second) is Status.READY

    world = again(world, world.ports.policy)
    world.pass_time(3600).ping().settle()

    assert world.status(second) is Status.INVESTIGATING


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ("day", "the budget of today"),
        ("month", "the budget of this month"),
        ("total", "the budget of the whole"),
        ("namespace", "the budget of namespace shop for today"),
    ],
)
def test_when_a_budget_is_used_up_the_analyzers_answer_alone_and_say_so(scope, said) -> None:
    limits = {"run": Amount(tokens=100), scope: Amount(tokens=250)}
    policy = Policy(engine="claude", runs_per_workload=0, budgets=Budgets(**limits))
    world = world_of(policy)
    for number in (1, 2):
        fails(world, number).settle()
        ends(world, world.jobs.live()[0], tokens=80).settle()
    world = again(world, policy)
    fails(world, 3).settle()
    (poor,) = [id for id in world.ids if "web003" in id]

    assert world.jobs.starts == 2
    assert world.status(poor) is Status.PACKAGED
    assert said in world.forge.pull_requests[poor].text
    assert said.encode() in world.incidents.read(poor, keys.README)
    run = world.incidents.run(poor, 1)
    assert run is not None
    assert run.engine == "analyzers"
    assert "160 of 250 tokens, and a run reserves 100" in run.because


def test_the_next_day_has_a_budget_of_its_own() -> None:
    limits = Budgets(run=Amount(tokens=100), day=Amount(tokens=100))
    world = world_of(Policy(engine="claude", budgets=limits))
    fails(world, 1).settle()
    ends(world, world.jobs.live()[0], tokens=100).settle().pass_time(86_400)

    fails(world, 2).settle()

    assert world.jobs.starts == 2


@pytest.mark.covers("STM-06")
def test_an_engine_whose_provider_fails_five_times_rests_is_probed_and_drains() -> None:
    policy = Policy(engine="claude", runs_per_hour=99)
    world = world_of(policy)
    for number in range(5):
        fails(world, number).settle()
        ends(world, world.jobs.live()[0], reason="overloaded").settle()
    for number in range(10, 13):
        fails(world, number).settle()

    assert world.jobs.starts == 5  # open at once, none begins
    assert world.jobs.live() == []
    deferred = standing(world.incidents, policy, world.clock())
    assert [breaker.state for breaker in deferred.breakers] == [State.OPEN]
    assert len(deferred.waiting) == 3
    for wish in deferred.waiting:
        assert "failed 5 times in a row (overloaded)" in wish.reason
        page = world.incidents.read(wish.incident_id, keys.README)
        assert b"waits for an agent since" in page
        assert b"failed 5 times in a row" in page

    world = again(world, policy)  # it is derived from records: a restart closes nothing
    for seconds in range(1, 59):
        world.pass_time(1)
        if seconds % 10 == 0:
            world.ping().settle()
    assert world.jobs.live() == []

    world.pass_time(10).ping().settle().ping().settle()
    (probe,) = world.jobs.live()
    ends(world, probe, reason="overloaded").settle().ping().settle()
    assert world.jobs.live() == []

    world.pass_time(61).ping().settle()
    (probe,) = world.jobs.live()
    ends(world, probe, tokens=5).settle()  # it answers again: the rest follow one another
    while live := world.jobs.live():
        ends(world, live[0], tokens=5).settle()

    found = standing(world.incidents, policy, world.clock())
    assert [breaker.state for breaker in found.breakers] == [State.CLOSED]
    assert found.waiting == ()
    assert world.jobs.starts == 8


def test_a_run_whose_fault_has_cleared_is_asked_to_stop_and_the_saving_is_told() -> None:
    world = World("healthy-1", policy=Policy(engine="claude"))
    resource = Resource(kind="Deployment", namespace="shop", name="web")
    world.fault(resource=resource).settle().pass_time(100)
    world.clear(resource=resource).settle()
    closed = world.incidents.closed(world.only)

    assert closed is not None
    assert closed.note == "run 1 was asked to stop, which saves up to 500 s"
    assert b"the fault has cleared" in world.incidents.read(world.only, "runs/1/cancel.json")
    assert b"saves up to 500 s" in world.incidents.read(world.only, keys.README)


def test_a_fault_that_clears_after_its_run_has_ended_saves_nothing() -> None:
    world = World("healthy-1", policy=Policy(engine="claude"))
    resource = Resource(kind="Deployment", namespace="shop", name="web")
    world.fault(resource=resource).settle().finish(world.jobs.live()[0]).settle()
    world.clear(resource=resource).settle()
    closed = world.incidents.closed(world.only)

    assert closed is not None
    assert closed.note == ""
    assert "runs/1/cancel.json" not in world.incidents.names(world.only)


def node_down(world: World, **more) -> dict:
    return {
        "name": "KubeNodeNotReady", "condition": "node/n1", "starts_at": world.clock(),
        "resource": Resource(kind="Node", name="n1"), "labels": {"node": "n1"},
    } | more  # fmt: skip


@pytest.mark.covers("STM-03")
@pytest.mark.parametrize("alert", ["KubeNodeNotReady", "NodeDown"])
def test_a_node_that_is_gone_gets_one_agent_and_its_hundred_pods_none_but_a_link_each(
    alert: str,
) -> None:
    policy = Policy(engine="claude", slots=9, slots_per_cluster=9, runs_per_hour=99)
    world = world_of(policy)
    world.fault(**node_down(world, name=alert)).settle()
    for number in range(100):  # all within two minutes
        fails(world, number, labels={"node": "n1"}).settle().pass_time(1)
    for _ in range(15):
        world.pass_time(60).ping().settle()
    (parent,) = [id for id in world.ids if "-n1-" in id]
    children = [id for id in world.ids if id != parent]

    assert len(children) == 100
    assert [run.incident_id for run in world.jobs.started.values()] == [parent]
    for child in children:
        link = world.incidents.wish(child, 1)
        assert link is not None
        assert link.reason == f"node n1 is gone, and incident {parent} looks into that"
        assert parent.encode() in world.incidents.read(child, keys.README)
        assert world.incidents.run_numbers(child) == [1]  # what the analyzers found, no more
        assert world.incidents.run(child, 1) is None
    assert len(world.chat.messages) == 0  # the node's run goes on; nobody heard of a hundred pods


def test_a_pod_that_still_fails_when_its_node_is_back_gets_its_agent() -> None:
    world = world_of(Policy(engine="claude", slots=9, slots_per_cluster=9))
    gone = node_down(world)
    world.fault(**gone).settle()
    fails(world, 1, labels={"node": "n1"}).settle()
    fails(world, 2, labels={"node": "n2"}).settle()  # another node: nothing shelters it
    ends(world, world.jobs.live()[0]).settle().pass_time(3600)

    assert [name for _, name in order(world)] == ["n1", "web002"]

    world.clear(**gone).settle().pass_time(60).ping().settle()

    assert [name for _, name in order(world)] == ["n1", "web002", "web001"]


def test_a_minor_fault_of_a_node_shelters_nothing() -> None:
    world = world_of(Policy(engine="claude", slots=9, slots_per_cluster=9))
    world.fault(**node_down(world, name="NodeClockSkewDetected")).settle()
    fails(world, 1, labels={"node": "n1"}).settle()

    assert [name for _, name in order(world)] == ["n1", "web001"]


def test_pods_that_waited_before_their_node_was_known_to_be_gone_are_held_too() -> None:
    world = world_of(Policy(engine="claude"))
    for number in range(5):
        fails(world, number, labels={"node": "n1"}).settle().pass_time(1)
    world.fault(**node_down(world)).settle()
    for _ in range(3):
        for run_id in world.jobs.live():
            ends(world, run_id).settle()
        world.pass_time(300).ping().settle()

    assert [name for _, name in order(world)] == ["web000", "n1"]
