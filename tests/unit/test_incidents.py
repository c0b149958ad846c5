"""The memory: one claim wins, records are written once, anyone can finish what another began."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from moto.server import ThreadedMotoServer

from faultline import keys
from faultline.adapters.stores import open_store
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.events import event_of
from faultline.correlate import correlation_key
from faultline.errors import NotFound, Rejected
from faultline.event import CONTEXT_READY, INCIDENT_OPENED, Event
from faultline.incidents import Incidents
from faultline.model import (
    Closed,
    ClosedBecause,
    Decision,
    DecisionKind,
    Fault,
    Incident,
    JobState,
    Policy,
    Resource,
    Run,
    Severity,
    Status,
)
from faultline.ports import Ports
from faultline.steps.context import context
from faultline.steps.launch import launch
from faultline.steps.triage import triage
from faultline.store import Store
from faultline.survey import survey

START = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)


def fault(**fields: object) -> Fault:
    plain = {
        "name": "CrashLoop", "cluster": "prod-a", "starts_at": START, "condition": "c1",
        "severity": Severity.CRITICAL,
        "resource": Resource(kind="Pod", namespace="shop", name="api-7d9f6c5b4-x2x9z"),
    }  # fmt: skip
    return Fault.model_validate(plain | fields)


def opened(memory: Incidents, about: Fault | None = None, id: str = "1") -> Incident:
    about = about or fault()
    event = Event(id=id, source="/am", type="t", time="2026-11-21T10:00:00Z", data={})
    key = correlation_key(about)
    claim = memory.claim(Incident.begin(about, key=key, name="api", because=event), event)
    memory.join(claim, about)
    memory.open(claim)
    return claim.incident


def close(memory: Incidents, incident: Incident) -> None:
    faults = memory.faults(incident.id).values()
    occurrences = tuple(each.occurrence for each, _ in faults)
    record = Closed(because=ClosedBecause.CLEARED, by="x", at=START, occurrences=occurrences)
    memory.record(incident.id, keys.CLOSED, record)


@pytest.fixture
def memory() -> Incidents:
    return Incidents(MemoryStore())


def test_faults_of_one_key_share_an_incident_while_it_is_open(memory: Incidents) -> None:
    first = opened(memory)
    second = opened(memory, fault(condition="c2"), id="2")

    assert first == second
    assert len(memory.faults(first.id)) == 2


def test_after_it_closed_the_next_fault_is_the_next_episode(memory: Incidents) -> None:
    first = opened(memory)
    close(memory, first)
    second = opened(memory, fault(starts_at=START + dt.timedelta(hours=1)), id="2")

    assert (second.episode, second.follows) == (2, first.id)
    assert memory.later(first) == [second]
    assert [claim.incident.id for claim in memory.claims(first.key)] == [second.id, first.id]


def test_a_closed_incident_keeps_the_occurrences_that_it_closed(memory: Incidents) -> None:
    first = opened(memory)
    close(memory, first)

    assert opened(memory, id="2") == first


def test_an_incident_whose_opener_died_is_finished_by_anyone(memory: Incidents) -> None:
    event = Event(id="1", source="/am", type="t", time="2026-11-21T10:00:00Z", data={"a": 1})
    about, key = fault(), correlation_key(fault())
    memory.claim(Incident.begin(about, key=key, name="api", because=event), event)
    assert list(memory.ids()) == []

    (claim,) = memory.unopened()
    assert memory.open(claim) is True
    assert memory.open(claim) is False
    assert memory.opener(claim.incident.id).data == {"a": 1}


@pytest.mark.covers("S1-074")
def test_a_record_is_written_once(memory: Incidents) -> None:
    id = opened(memory).id

    assert memory.record(id, "x.json", b"first") is True
    assert memory.record(id, "x.json", b"second") is False
    assert memory.read(id, "x.json") == b"first"
    with pytest.raises(NotFound):
        memory.read(id, "y.json")


def test_a_page_is_written_over_the_one_before(memory: Incidents) -> None:
    id = opened(memory).id
    for text in (b"first", b"second"):
        memory.put_view(id, keys.README, text)

    assert memory.read(id, keys.README) == b"second"


def test_who_owns_an_occurrence_is_found_by_the_fault_alone(memory: Incidents) -> None:
    incident = opened(memory)

    assert memory.owner(fault()).incident == incident  # type: ignore[union-attr]
    assert memory.owner(fault(condition="c9")) is None


def test_an_unknown_incident_is_refused_by_name(memory: Incidents) -> None:
    with pytest.raises(Rejected, match="20261121-api-5c1e9b2a is unknown here"):
        memory.incident("20261121-api-5c1e9b2a")


def test_the_ids_are_only_those_of_incidents(memory: Incidents) -> None:
    id = opened(memory).id
    memory.store.put("incidents/notes/x.txt", b"a person's")

    assert list(memory.ids()) == [id]
    assert list(memory.ids("20261121-")) == [id]
    assert list(memory.ids("20261122-")) == []


def test_what_is_ignored_is_on_file_with_the_reason(memory: Incidents) -> None:
    decision = Decision(kind=DecisionKind.TOO_MINOR, reason="because")
    memory.ignore(fault(), decision, at=START)
    memory.ignore(fault(), decision, at=START)
    (key,) = memory.store.list("ignored/")

    assert b'"reason": "because"' in memory.store.get(key)


def test_two_memories_over_one_store_agree() -> None:
    store = MemoryStore()
    one, other = Incidents(store), Incidents(store)

    assert opened(one) == opened(other, id="2")
    assert one.status(next(one.ids())) is other.status(next(other.ids())) is Status.OPEN


# what sweep sees


def seen(memory: Incidents, id: str, seconds: float) -> object:
    return survey(memory, id, START + dt.timedelta(seconds=seconds), lambda run: JobState.ABSENT)


def test_nothing_is_seen_of_what_was_never_opened(memory: Incidents) -> None:
    assert seen(memory, "20261121-api-5c1e9b2a", 0) is None


def test_the_age_counts_from_the_record_that_made_the_status(memory: Incidents) -> None:
    incident = opened(memory)
    assert seen(memory, incident.id, 60).age_s == 60  # type: ignore[attr-defined]

    run = Run(incident_id=incident.id, number=1, engine="stub", deadline_s=600, capsule_sha256="",
              created_at=START + dt.timedelta(seconds=50), cause={})  # fmt: skip
    memory.record(incident.id, keys.run_record(1, keys.RUN), run)
    assert seen(memory, incident.id, 60).age_s == 10  # type: ignore[attr-defined]


def test_it_is_over_when_every_fault_that_can_end_has(memory: Incidents) -> None:
    incident = opened(memory)
    opened(memory, fault(condition="stream", clears=False), id="2")
    assert seen(memory, incident.id, 0).over is None  # type: ignore[attr-defined]

    memory.clear(fault(), at=START)
    assert seen(memory, incident.id, 0).over == fault()  # type: ignore[attr-defined]


def test_a_source_that_never_says_the_end_closes_nothing(memory: Incidents) -> None:
    incident = opened(memory, fault(clears=False))

    assert seen(memory, incident.id, 0).over is None  # type: ignore[attr-defined]


def test_a_fault_that_joined_while_it_closed_is_late(memory: Incidents) -> None:
    incident = opened(memory)
    close(memory, incident)
    joined = fault(condition="c2")
    memory.record(incident.id, keys.detected(joined.occurrence), joined)

    assert seen(memory, incident.id, 0).late == (joined,)  # type: ignore[attr-defined]


# the race


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1",
        aws_access_key_id="x", aws_secret_access_key="x",
    )  # fmt: skip
    client.create_bucket(Bucket="race")
    yield endpoint
    server.stop()


class Outside:
    """A runner, a sink and manifests that only count."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.lock = threading.Lock()

    def start(self, run: Run) -> None:
        with self.lock:
            self.started.append(run.id)

    def state(self, run: Run) -> JobState:
        return JobState.LIVE if run.id in self.started else JobState.ABSENT

    def live(self) -> list[str]:
        return sorted(set(self.started))

    def cancel(self, run: Run) -> None:
        return

    def send(self, event: Event) -> None:
        return

    def files(self) -> dict[str, bytes]:
        return {}

    def revision(self) -> str:
        return ""


def ports_over(store: Store, outside: Outside) -> Ports:
    return Ports(
        incidents=Incidents(store), runner=outside, sources=(), manifests=outside,
        outlets=(), sink=outside, policy=Policy(engine="stub"), clock=lambda: START,
    )  # fmt: skip


DETECTED = event_of(fault(), cleared=False, cluster="prod-a", time=START)


@pytest.mark.covers("IDM-06")
def test_of_64_workers_that_race_one_event_over_s3_all_find_the_same_incident(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    ports = ports_over(open_store(f"s3://race/one?endpoint={s3}&region=us-east-1"), Outside())
    with ThreadPoolExecutor(64) as workers:
        found = list(workers.map(lambda _: triage(DETECTED, ports), range(64)))

    (id,) = ports.incidents.ids()
    assert {(effect.id, effect.subject) for effect in found if effect} == {(found[0].id, id)}  # type: ignore[union-attr]
    assert len(list(ports.incidents.store.list("claims/"))) == 1
    assert len(ports.incidents.faults(id)) == 1


def work(ports: Ports) -> set[tuple[str, str]]:
    """What one worker does with the event: step after step, as long as there is something to do."""
    said = set()
    found = triage(DETECTED, ports)
    if found:
        said.add((found.type, found.id))
        if ready := context(found, ports):
            said.add((ready.type, ready.id))
            launch(ready, ports)
    return said


@pytest.mark.covers("S1-074")
@pytest.mark.parametrize("number", range(4))
def test_of_32_workers_that_race_through_three_steps_one_capsule_and_one_job_come(
    number: int,
) -> None:
    outside = Outside()
    ports = ports_over(MemoryStore(), outside)
    begun = threading.Barrier(32)

    def worker(_: int) -> set[tuple[str, str]]:
        begun.wait()
        return work(ports)

    with ThreadPoolExecutor(32) as workers:
        said = set().union(*workers.map(worker, range(32)))

    (id,) = ports.incidents.ids()
    assert sorted(type for type, _ in said) == [CONTEXT_READY, INCIDENT_OPENED]
    assert set(outside.started) == {f"{id}-1"}
    assert ports.incidents.run_numbers(id) == [1]
    ports.incidents.capsule(id).verify()
