"""What the line asks of its store, counted: on S3 each call is a request, time and money.

A budget is the figure of today. Who needs more of one writes here what for.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator

import pytest
from world import START, World

from faultline import keys
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.events import event_of
from faultline.correlate import correlation_key, subject_name
from faultline.model import Closed, ClosedBecause, Incident, Resource, Status


class Counted(MemoryStore):
    """A store that counts what it is asked. On S3 a listing of over 1,000 keys is more than one."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.read: list[str] = []

    def get(self, key: str) -> bytes:
        self.asked["get"] += 1
        self.read.append(key)
        return super().get(key)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self.asked["put"] += 1
        super().put(key, data, if_absent=if_absent)

    def list(self, prefix: str) -> Iterator[str]:
        self.asked["list"] += 1
        return super().list(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        return super().folders(prefix)  # which lists: one request all the same

    def count(self) -> Counter[str]:
        found, self.asked = self.asked, Counter()
        self.read.clear()
        return found


@pytest.fixture
def store() -> Counted:
    return Counted()


@pytest.fixture
def line(store: Counted) -> World:
    return World(store=store)


def closed(world: World, number: int, at: dt.datetime) -> str:
    """An incident without a proposal that was closed at this time."""
    memory, name = world.incidents, f"app-{number}"
    resource = Resource(kind="Deployment", namespace="shop", name=name)
    fault = world.made_fault(resource=resource, condition=name, starts_at=at)
    event = event_of(fault, cleared=False, cluster="prod-a", time=at)
    made = Incident.begin(
        fault, key=correlation_key(fault), name=subject_name(fault), because=event
    )
    claim = memory.claim(made, event)
    memory.join(claim, fault)
    memory.open(claim)
    memory.clear(fault, at=at)
    record = Closed(
        because=ClosedBecause.CLEARED, by="faultline", at=at, occurrences=(fault.occurrence,)
    )
    memory.record(claim.incident.id, keys.CLOSED, record)
    return claim.incident.id


def test_a_proved_incident_reads_and_writes_each_file_of_its_capsule_once_a_step(
    line: World, store: Counted
) -> None:
    line.fault().settle()

    asked = store.count()
    assert line.status() is Status.PACKAGED
    files = len(line.incidents.capsule(line.only).names())
    # context writes them, launch checks every hash, package needs the objects; the rest is fixed:
    # triage 7, and for the three others the incident, one listing a look, and what they write
    assert asked["put"] <= files + 21
    assert asked["get"] <= 2 * files + 20
    assert asked["list"] <= 12


def test_a_copy_of_a_fault_costs_six_requests(line: World, store: Counted) -> None:
    """Is it over? whose key, that claim, is it closed, the fault (there), was it heard."""
    line.fault().settle()
    store.count()

    line.fault().settle()

    assert store.count() == {"get": 4, "list": 1, "put": 1}


def test_a_fault_that_joins_costs_six_requests(line: World, store: Counted) -> None:
    line.fault().settle()
    store.count()

    line.fault(condition="c2").settle()

    assert store.count() == {"get": 4, "list": 1, "put": 1}


def test_no_record_is_read_more_often_than_there_are_steps(line: World, store: Counted) -> None:
    line.fault().settle()

    often = Counter(store.read)
    assert max(n for key, n in often.items() if key.startswith("incidents/")) <= 3
    assert max(n for key, n in often.items() if "/objects/" in key) == 2  # launch, package


def quiet_ping(incidents: int) -> tuple[Counter[str], list[str]]:
    """Return what a ping asks when all of so many incidents are settled."""
    store = Counted()
    world = World(store=store)
    for number in range(incidents):
        closed(world, number, START - dt.timedelta(hours=2 + number % 60))
    for _ in range(11):  # in ten minutes `verify` has looked at each incident of earlier days
        world.pass_time(60).ping().settle()
    store.count()
    world.pass_time(60).ping().settle()
    read = list(store.read)
    return store.count(), read


def test_a_quiet_ping_reads_no_record_however_many_incidents_have_been_closed() -> None:
    few, read_few = quiet_ping(3)
    many, read_many = quiet_ping(60)

    assert (read_few, read_many) == ([], [])
    # sweep: claims, those known as open, who waits; both steps: each day, each with incidents, calm
    assert many["list"] <= 3 + 2 * (7 + 4 + 3)
    assert few["put"] == many["put"] == 0


def test_what_a_later_sweep_needs_is_looked_at_until_nobody_can_be_at_work_any_more() -> None:
    store = Counted()
    world = World(store=store)
    id = closed(world, 1, START)
    world.pass_time(3_599).ping().settle()
    assert not world.incidents.settled(id[:8], keys.SWEEP)
    late = world.made_fault(
        resource=Resource(kind="Deployment", namespace="shop", name="app-1"), condition="late"
    )
    world.incidents.record(id, keys.detected(late.occurrence), late)

    world.pass_time(60).ping().settle()

    (second,) = [other for other in world.ids if other != id]
    assert world.incidents.incident(second).follows == id
    assert not world.incidents.settled(id[:8], keys.SWEEP)  # not in the same look
    world.pass_time(60).ping().settle()
    assert world.incidents.settled(id[:8], keys.SWEEP) == {id}


def test_a_claim_that_an_earlier_version_left_is_read_once_and_then_known() -> None:
    old = World().fault().settle()
    store = Counted()
    for key in old.store.list(""):
        if not key.startswith(keys.OPENED):
            store.put(key, old.store.get(key))
    world = World(store=store)
    world.clock.now = old.clock.now

    world.ping().settle()
    assert any(key.startswith(keys.CLAIMS) for key in store.read)
    store.count()
    world.pass_time(60).ping().settle()

    assert list(store.list(keys.OPENED)) == [
        keys.OPENED + key.removeprefix(keys.CLAIMS) for key in store.list(keys.CLAIMS)
    ]
    assert not any(key.startswith(keys.CLAIMS) for key in store.read)
    assert (world.jobs.starts, world.forge.made) == (0, 0)


def test_a_fix_that_was_verified_is_looked_at_no_more() -> None:
    world = World().fault().settle().pass_time(300)
    world.forge.merge(world.only)
    world.pass_time(300).clear().settle()
    for _ in range(3):
        world.pass_time(610).ping().settle()
    assert world.incidents.verification(world.only) is not None

    world.pass_time(60).ping().settle()

    assert world.incidents.settled(world.only[:8], keys.VERIFY) == {world.only}


def test_what_was_proposed_and_not_merged_is_not_settled_for_verify() -> None:
    world = World().fault().settle().pass_time(300).clear().settle()

    for _ in range(3):
        world.pass_time(4_000).ping().settle()

    assert world.status() is Status.CLOSED
    assert world.incidents.settled(world.only[:8], keys.SWEEP) == {world.only}
    assert world.incidents.settled(world.only[:8], keys.VERIFY) == frozenset()
