"""What `/metrics` says of a line in memory, and that it says the same after a restart."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from world import START, World, example

from faultline import keys
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.app import Doors
from faultline.bridge.intake import Intake
from faultline.doors import bridge_readings
from faultline.errors import Unavailable
from faultline.event import Event
from faultline.incidents import Incidents
from faultline.metrics import FAMILIES, Metrics, Reading
from faultline.metrics.records import Records
from faultline.model import Closed, ClosedBecause, Policy, Result, Run, RunStatus
from faultline.steps.triage import triage

PROMTOOL = shutil.which("promtool")
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Steady:
    """A monotonic clock that stands still."""

    def __call__(self) -> float:
        return 0.0


def records(world: World, *, live: bool = True) -> Records:
    return Records(
        world.incidents,
        clock=world.clock,
        monotonic=Steady(),
        live=world.jobs.live if live else None,
        fresh_s=0.0,
    )


def values(text: bytes) -> Values:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def seen(source: Records) -> Values:
    return values(Metrics(source).text())


def unproved() -> World:
    """A fault that the analyzers cannot explain: it needs an agent."""
    return World("healthy-1").fault(
        name="Strange", resource={"kind": "Deployment", "namespace": "shop", "name": "checkout"}
    )


@pytest.mark.covers("S1-097", "S1-098", "S1-099", "S1-100", "S1-101", "S1-102", "S1-103")
def test_a_run_counts_as_active_while_it_lives_and_as_ended_afterwards() -> None:
    world = unproved().settle()
    page, prod = records(world), ("cluster", "prod-a")
    before = seen(page)

    world.pass_time(42).finish(f"{world.only}-1", RunStatus.TIMEOUT, "deadline").settle()
    after = seen(page)

    ended = (prod, ("status", "timeout"))
    assert before["agent_runtime_active_agents", (prod,)] == 1
    assert not [name for name, _ in before if name.startswith("agent_runtime_invocations")]
    assert after["agent_runtime_active_agents", (prod,)] == 0
    assert after["agent_runtime_invocations_total", ended] == 1
    assert after["agent_runtime_duration_seconds_count", ended] == 1
    assert after["agent_runtime_duration_seconds_sum", ended] == 42
    assert after["agent_runtime_duration_seconds_bucket", (prod, ("le", "30.0"), ended[1])] == 0
    assert after["agent_runtime_duration_seconds_bucket", (prod, ("le", "60.0"), ended[1])] == 1
    assert after["agent_runtime_errors_total", (prod, ("error_type", "deadline"))] == 1
    assert after["agent_runtime_workspace_size_bytes", (prod,)] == sum(
        file.bytes for file in world.incidents.index(world.only).files
    )


def test_a_success_is_no_error() -> None:
    world = unproved().settle()

    world.finish(f"{world.only}-1", RunStatus.SUCCESS).settle()

    found = seen(records(world))
    names = {name for name, _ in found}
    assert found["faultline_agent_runs_total", (("outcome", "success"),)] == 1
    assert "agent_runtime_errors_total" not in names


def test_what_records_say_survives_a_restart_and_needs_no_runner() -> None:
    world = unproved().settle()
    world.finish(f"{world.only}-1", RunStatus.FAILED, "quota").settle()
    cart = {"kind": "Deployment", "namespace": "shop", "name": "cart"}
    world.fault(condition="c2", name="Other", resource=cart).settle()
    running = records(world)
    seen(running)

    assert seen(running) == seen(records(world)) == seen(records(world, live=False))
    assert seen(running)["faultline_agent_runs_active", ()] == 1


def test_a_proved_cause_is_no_agent_run_and_people_are_counted() -> None:
    world = World().alert().settle()

    found = seen(records(world))

    assert found["faultline_proved_total", (("cluster", "prod-a"),)] == 1
    assert found["faultline_incidents", (("status", "packaged"),)] == 1
    assert found["faultline_incidents_open", ()] == 1
    assert found["faultline_effects_total", (("kind", "chat"), ("outcome", "made"))] == 1
    assert found["faultline_effects_total", (("kind", "forge"), ("outcome", "made"))] == 1
    assert not [name for name, _ in found if name.startswith("agent_runtime_invocations")]


def test_a_closed_incident_is_read_once() -> None:
    world = World().alert().settle()
    closed = Closed(because=ClosedBecause.PERSON, by="me", at=START, occurrences=())
    world.incidents.record(world.only, keys.CLOSED, closed)
    source = records(world)
    first = seen(source)
    reads: list[str] = []
    world.incidents.store = Watched(reads, world.store)

    assert seen(source) == first
    assert [key for key in reads if key.startswith(keys.INCIDENTS)] == []


class Watched:
    """A store that notes what is asked of it."""

    def __init__(self, reads: list[str], inner: MemoryStore) -> None:
        self.inner, self.reads = inner, reads

    def get(self, key: str) -> bytes:
        self.reads.append(key)
        return self.inner.get(key)

    def list(self, prefix: str) -> Iterator[str]:
        self.reads.append(prefix)
        return self.inner.list(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        return self.inner.folders(prefix)


def test_nothing_of_records_is_shown_before_everything_was_read_once() -> None:
    world = World().fault().settle()
    world.fault(condition="c2", resource={"kind": "Pod", "namespace": "a", "name": "b"}).settle()
    moments = iter(range(0, 1_000, 10))
    source = Records(world.incidents, clock=world.clock, monotonic=lambda: next(moments),
                     fresh_s=0.0)  # fmt: skip

    first, second = seen(source), seen(source)

    assert first["faultline_records_complete", ()] == 0
    assert {name for name, _ in first} == {"faultline_records_complete", "faultline_store_up"}
    assert second["faultline_records_complete", ()] == 1
    assert second["faultline_incidents_open", ()] == 2


class Down(MemoryStore):
    def folders(self, prefix: str) -> Iterator[str]:
        raise Unavailable("the store does not answer")


def test_a_store_that_is_down_is_shown_and_hides_nothing_else() -> None:
    source = Records(Incidents(Down()), clock=lambda: START, monotonic=Steady())

    def other() -> list[Reading]:
        return [Reading("faultline_queue_depth", (), 3)]

    found = values(Metrics(source, other).text())

    assert found["faultline_store_up", ()] == 0
    assert found["faultline_queue_depth", ()] == 3


def test_the_queues_age_is_that_of_the_oldest_event_that_is_owed() -> None:
    world = World().alert().settle()
    settled = (world.broker.owed(), world.broker.oldest_age_s())
    world.forge.down = True
    world.fault(condition="c2", resource={"kind": "Pod", "namespace": "a", "name": "b"})
    world.pass_time(30).fault(
        condition="c3", resource={"kind": "Pod", "namespace": "a", "name": "c"}
    )

    assert settled == (0, 0.0)
    assert (world.broker.owed(), world.broker.oldest_age_s()) == (2, 30.0)


def test_secrets_taken_out_of_evidence_are_counted_and_forged_markers_are_not() -> None:
    world = World()
    body = json.loads((example("memory") / "alert.json").read_bytes())
    note = "password=Xk39vhqP2mzz8d and a forged [REDACTED:evil:abcd]"
    body["alerts"][0]["annotations"]["description"] = note
    world.alert(json.dumps(body).encode()).settle()

    found = seen(records(world))

    kinds = {labels[0][1] for name, labels in found if name == "faultline_redactions_total"}
    assert kinds
    assert "evil" not in kinds


# everything that may come in


def storm(count: int, chance: random.Random) -> Iterator[bytes]:
    """Yield messages with `count` alerts in all, of random and of hostile content."""
    hostile = ["", "\x1b[31m", 'a"b\\c\nd', "Ω" * 40, "{le=}", "prod-" + "x" * 300]
    left, kinds = count, ("critical", "warning", "info", "none", "page", "😀")
    while left > 0:
        size = min(left, chance.randint(1, 200))
        left -= size
        alerts = [
            {
                "status": chance.choice(["firing", "firing", "resolved"]),
                "labels": {
                    "alertname": chance.choice(["KubePodCrashLooping", "Odd", *hostile]) or "X",
                    "namespace": f"team-{chance.randint(1, 30)}",
                    "deployment": f"app-{chance.randint(1, 20)}",
                    "severity": chance.choice(kinds),
                    "cluster": chance.choice([*hostile, f"c-{chance.randint(1, 60)}"]),
                },
                "annotations": {"summary": chance.choice(hostile)},
                "startsAt": "2026-11-21T09:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": f"{chance.getrandbits(64):016x}",
            }
            for _ in range(size)
        ]
        message = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "f",
                   "externalURL": "", "alerts": alerts}  # fmt: skip
        yield json.dumps(message).encode()


class Straight:
    """A sink that gives faults to triage at once."""

    def __init__(self, world: World) -> None:
        self.world = world

    def send(self, event: Event) -> None:
        if event.type.endswith("detected.v1"):
            triage(event, self.world.ports)


@pytest.fixture(scope="module")
def stormy() -> tuple[bytes, World]:
    """Ten thousand alerts, and agents that end in every way."""
    world, chance = World(policy=Policy()), random.Random(20261121)
    intake = Intake(sink=Straight(world), store=world.store, cluster="prod-a", clock=world.clock)
    for body in storm(10_000, chance):
        intake.alertmanager(body)
    doors = Doors(intake)
    for id in list(world.ids)[:600]:
        run_of(world, id, chance)
    return Metrics(lambda: bridge_readings(doors, []), records(world)).text(), world


def run_of(world: World, id: str, chance: random.Random) -> None:
    incident = world.incidents.incident(id)
    cause = {"id": "1", "source": "/t", "type": "t", "specversion": "1.0"}
    run = Run(
        incident_id=id, number=1, engine="command", deadline_s=1, capsule_sha256="",
        cluster=incident.fault.cluster, created_at=START, cause=cause,
    )  # fmt: skip
    status = chance.choice(["success", "failed", "timeout", "cancelled"])
    result = Result(
        incident_id=id, run=1, status=status, started_at=START, tokens=chance.randint(0, 10**6),
        reason=chance.choice(["quota", "deadline", "a reason\nof its own", f"r{chance.random()}"]),
        completed_at=START + dt.timedelta(seconds=chance.randint(0, 4000)),
    )  # fmt: skip
    world.incidents.record(id, keys.run_record(1, keys.RUN), run)
    world.incidents.record(id, keys.run_record(1, keys.RESULT), result)


def test_ten_thousand_alerts_make_few_series_and_no_free_text(stormy: tuple[bytes, World]) -> None:
    text, world = stormy

    found = values(text)

    assert len(world.ids) > 2_000
    assert found["faultline_events_received_total", (("source", "alertmanager"),)] == 10_000
    assert len(found) <= 2_000
    labels = {value for _, pairs in found for name, value in pairs if name != "le"}
    clusters = {v for _, pairs in found for name, v in pairs if name == "cluster"}
    assert all(value.isascii() and " " not in value and len(value) < 64 for value in labels)
    assert "other" in clusters
    assert len(clusters) <= 13


@pytest.mark.real
@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
@pytest.mark.covers("OBS-03")
def test_promtool_finds_nothing_wrong_with_it(stormy: tuple[bytes, World]) -> None:
    text, _ = stormy

    checked = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=text, capture_output=True, timeout=60
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert len(values(text)) <= 2_000


def test_every_family_that_is_shown_is_declared_with_its_labels(
    stormy: tuple[bytes, World], root: Path
) -> None:
    text, _ = stormy

    shown = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text.decode())
    }

    assert shown <= set(FAMILIES)
    assert all(name.startswith(("agent_runtime_", "faultline_")) for name in FAMILIES)
