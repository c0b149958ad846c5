"""The dead man's switch, faults of our own, and one trace from the webhook to the pull request."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import json
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from world import START, World

from faultline import keys, traces
from faultline.adapters.otlp import LogSpans, message
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.intake import Intake
from faultline.bridge.watchdog import MISSED, Watchdog
from faultline.errors import Rejected, Unavailable
from faultline.event import Event
from faultline.logs import JsonFormatter, about
from faultline.model import Policy, RunStatus, Status
from faultline.ports import Ports
from faultline.redact import redact
from faultline.serve import Request, answer
from faultline.traces import Span

MINUTE = 60


def alert(name: str = "Watchdog", status: str = "firing", **labels: str) -> bytes:
    """Return one alert as AlertManager sends it."""
    found = {
        "status": status,
        "labels": {"alertname": name, "severity": "none"} | labels,
        "annotations": {"summary": "An alert that always fires"},
        "startsAt": "2026-11-20T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"{hash((name, *sorted(labels.items()))) & (2**64 - 1):016x}",
    }
    return json.dumps(
        {"version": "4", "groupKey": "g", "status": status, "receiver": "f", "alerts": [found]}
    ).encode()


def bridge(world: World, watchdog_s: int = MINUTE) -> Intake:
    return Intake(
        sink=world.broker.sink(), store=world.store, cluster="prod-a", clock=world.clock,
        clean=redact, watchdog_s=watchdog_s, spans=world.ports.spans,
    )  # fmt: skip


def wait(world: World, seconds: float, *bridges: Intake) -> World:
    """Let time pass; each bridge looks four times a minute, as its thread does."""
    for _ in range(int(seconds // 15)):
        world.pass_time(15)
        for intake in bridges:
            intake.check_watchdog()
    return world.settle()


# the dead man's switch


def test_a_watchdog_is_heard_and_is_no_incident() -> None:
    world = World()
    intake = bridge(world)

    intake.alertmanager(alert())
    for _ in range(10):
        wait(world, MINUTE, intake)
        intake.alertmanager(alert())
    world.settle()

    assert world.ids == []
    assert intake.watchdog.state() == {"interval_s": 60, "last_seen": "2026-11-21T10:10:00Z"}


@pytest.mark.covers("OBS-08")
def test_when_the_watchdog_falls_silent_people_hear_of_it_within_two_intervals() -> None:
    world = World()
    intake = bridge(world)
    intake.alertmanager(alert())

    wait(world, 75, intake)
    before = list(world.ids)
    wait(world, 45, intake)

    incident = world.incidents.incident(world.only)
    assert before == []
    assert incident.fault.name == MISSED
    assert incident.opened_at - START <= dt.timedelta(seconds=2 * MINUTE)
    assert world.status() is Status.PACKAGED
    assert world.jobs.starts == 0
    assert len(world.chat.messages) == 1


def test_a_silence_is_one_incident_however_many_bridges_notice_and_however_often() -> None:
    world = World()
    first, second = bridge(world), bridge(world)
    first.alertmanager(alert())

    wait(world, 10 * MINUTE, first, second)
    wait(world, 10 * MINUTE, bridge(world), bridge(world))

    assert len(world.ids) == 1
    assert len(world.incidents.faults(world.only)) == 1


def test_it_closes_when_the_watchdog_is_heard_again_even_by_a_bridge_that_started_since() -> None:
    world = World()
    intake = bridge(world)
    intake.alertmanager(alert())
    wait(world, 10 * MINUTE, intake)

    bridge(world).alertmanager(alert())
    world.settle()

    assert world.status() is Status.CLOSED


def test_two_bridges_share_what_either_hears() -> None:
    world = World()
    first, second = bridge(world), bridge(world)

    for number in range(10):
        (first, second)[number % 2].alertmanager(alert())
        wait(world, MINUTE, first, second)

    assert world.ids == []


def test_a_watchdog_that_never_came_is_missed_from_the_start() -> None:
    world = World()

    wait(world, 3 * MINUTE, bridge(world))

    assert world.incidents.incident(world.only).fault.name == MISSED


def test_nobody_waits_for_a_watchdog_that_is_switched_off() -> None:
    world = World()
    intake = bridge(world, watchdog_s=0)
    intake.alertmanager(alert())

    wait(world, 60 * MINUTE, intake)

    assert world.ids == []
    assert world.keys("heartbeats/") == []


def test_a_resolved_watchdog_is_no_sign_of_life() -> None:
    world = World()
    intake = bridge(world)
    intake.alertmanager(alert())

    for _ in range(4):
        wait(world, MINUTE, intake)
        intake.alertmanager(alert(status="resolved"))
    world.settle()

    assert world.incidents.incident(world.only).fault.name == MISSED


def test_heartbeats_on_file_are_few() -> None:
    world = World()
    watchdog = Watchdog(world.store, "prod-a", MINUTE)

    for _ in range(600):
        world.pass_time(1)
        watchdog.heard(world.clock())

    assert len(world.keys("heartbeats/")) <= 11


# faults of our own


@pytest.mark.covers("STM-13")
@pytest.mark.parametrize(
    "fields",
    [
        {"resource": {"kind": "Deployment", "namespace": "faultline", "name": "bridge"}},
        {"resource": {"kind": "Pod", "namespace": "faultline-agents", "name": "run-1"}},
        {"resource": None, "labels": {"alertname": "FaultlineDown", "part_of": "faultline"}},
        {"resource": None, "labels": {"alertname": "X", "namespace": "faultline"}},
    ],
)
def test_a_fault_of_our_own_is_told_and_no_agent_is_started(fields: dict[str, Any]) -> None:
    world = World("healthy-1").fault(name="Odd", **fields).settle()
    world.pass_time(3600).ping().settle()

    assert world.jobs.starts == 0
    assert world.status() is Status.PACKAGED
    assert world.incidents.run_numbers(world.only) == [1]
    assert len(world.chat.messages) == 1


def test_the_operator_may_allow_agents_to_look_into_our_own() -> None:
    own = {"kind": "Deployment", "namespace": "faultline", "name": "bridge"}

    world = World("healthy-1", policy=Policy(own_namespaces=())).fault(resource=own).settle()

    assert world.jobs.starts == 1


# traces


class Tapped(World):
    """A world that keeps every request to a step, and every span."""

    def __init__(self, scenario: str = "healthy-1", **more: Any) -> None:
        self.requests: list[tuple[str, Request]] = []
        self.spans: list[Span] = []
        super().__init__(scenario, wrap=self._traced, **more)

    def _traced(self, ports: Ports) -> Ports:
        return dataclasses.replace(ports, spans=self.spans.append)

    def _subscriber(self, name: str) -> Callable[[Request], Any]:
        inner = super()._subscriber(name)

        def tapped(request: Request) -> Any:
            self.requests.append((name, request))
            return inner(request)

        return tapped


MANY = Policy(slots=1_000, slots_per_cluster=1_000, runs_per_hour=1_000)


@pytest.mark.covers("OBS-01", "S1-146")
def test_an_incident_is_one_trace_from_the_webhook_to_the_pull_request() -> None:
    world = Tapped(policy=MANY, seed=7)
    intake = bridge(world)
    for number in range(100):
        labels = {"severity": "critical", "namespace": "shop", "deployment": f"app-{number}"}
        intake.alertmanager(alert("Strange", **labels))
    world.settle()
    for run in list(world.jobs.started):
        world.finish(run, RunStatus.FAILED, "quota")
    world.settle()

    by_trace: dict[str, list[Span]] = defaultdict(list)
    for span in world.spans:
        by_trace[span.trace_id].append(span)
    carried = defaultdict(set)
    for _, request in world.requests:
        value = request.headers["ce-traceparent"]
        carried[value.split("-")[1]].add(value)
        assert request.headers["traceparent"] == value
    assert len(world.forge.pull_requests) == len(by_trace) == 100
    assert all(len(values) == 1 for values in carried.values())
    assert carried.keys() == by_trace.keys()
    for spans in by_trace.values():
        (root,) = [span for span in spans if span.name == "receive"]
        names = [span.name for span in spans]
        assert sorted(names) == ["context", "launch", "package", "receive", "triage"]
        assert root.parent_id == ""
        assert {span.parent_id for span in spans if span is not root} == {root.span_id}
    assert len({span.span_id for span in world.spans}) == len(world.spans)


def test_a_message_that_comes_again_is_in_the_same_trace() -> None:
    first, second = Tapped(), Tapped()
    for world in (first, second, second):
        bridge(world).alertmanager(alert("Strange", severity="critical", deployment="a"))

    assert {span.trace_id for span in first.spans} == {span.trace_id for span in second.spans}


def test_what_sweep_asks_for_again_stays_in_the_trace_of_its_incident() -> None:
    world = Tapped(policy=MANY)
    bridge(world).alertmanager(
        alert("Strange", severity="critical", namespace="shop", deployment="a")
    )
    world.settle()
    (run,) = world.jobs.started
    world.jobs.ended.add(run)

    world.pass_time(3600).ping().settle()

    last = [span for span in world.spans if span.name == "package"]
    assert world.status() is Status.PACKAGED
    assert {span.trace_id for span in last} == {world.spans[0].trace_id}


def test_a_senders_trace_goes_on() -> None:
    world = Tapped()
    given = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    fault = world.made_fault().model_dump(mode="json")
    headers = {
        "ce-specversion": "1.0", "ce-id": "1", "ce-source": "/x", "ce-traceparent": given,
        "ce-type": "dev.faultline.fault.detected.v1", "content-type": "application/json",
    }  # fmt: skip

    bridge(world).event(headers, json.dumps(fault).encode())
    world.settle()

    root = world.spans[0]
    assert (root.trace_id, root.parent_id) == ("a" * 32, "b" * 16)
    assert {span.trace_id for span in world.spans} == {"a" * 32}


@pytest.mark.parametrize(
    "text",
    [
        "", "00", None, "00-" + "0" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "0" * 16 + "-01", "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "A" * 32 + "-" + "b" * 16 + "-01", "00-" + "a" * 32 + "-" + "b" * 16 + "-01-x",
    ],
)  # fmt: skip
def test_what_is_no_traceparent_is_none(text: object) -> None:
    assert traces.parse(text) is None


def test_a_later_version_may_say_more() -> None:
    assert traces.parse("01-" + "a" * 32 + "-" + "b" * 16 + "-00-more") == (
        "a" * 32, "b" * 16, False,
    )  # fmt: skip


def test_spans_are_what_a_collector_reads() -> None:
    span = Span("triage", "a" * 32, "b" * 16, "c" * 16, START, START + dt.timedelta(seconds=1),
                {"cloudevents.event_id": "1"}, failed=True)  # fmt: skip

    found = message([span], "faultline")

    (scope,) = found["resourceSpans"][0]["scopeSpans"]
    assert scope["spans"] == [
        {
            "traceId": "a" * 32, "spanId": "b" * 16, "parentSpanId": "c" * 16, "name": "triage",
            "kind": 5, "startTimeUnixNano": "1795255200000000000",
            "endTimeUnixNano": "1795255201000000000",
            "attributes": [{"key": "cloudevents.event_id", "value": {"stringValue": "1"}}],
            "status": {"code": 2},
        }
    ]  # fmt: skip


# logs


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Return a function that gives what was logged, as our formatter writes it."""
    written, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(written), root.level
    handler.setFormatter(JsonFormatter(cluster="here", known=["our-own-token-77"]))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


STANDARD = {"timestamp", "level", "component", "incident_id", "cluster", "event", "trace_id"}


@pytest.mark.covers("OBS-06", "S1-105", "S1-106", "S1-113")
def test_every_line_of_a_line_at_work_is_json_with_the_standard_fields(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    world = Tapped(policy=MANY)
    world.forge.down = True
    intake = bridge(world)
    intake.alertmanager(alert("Strange\n\x1b[31m", severity="critical", deployment="a\nb"))
    intake.alertmanager(alert("Strange", severity="critical", namespace="n", deployment="a"))
    world.settle(limit_s=30)
    for run in list(world.jobs.started):
        world.finish(run, RunStatus.FAILED, "quota")
    world.settle(limit_s=30)

    found = lines()

    assert len(found) > 10
    assert all(line.keys() >= STANDARD for line in found)
    assert all(line["trace_id"] for line in found)
    assert all(line["event"] and line["cluster"] and line["timestamp"] for line in found)
    assert {line["level"] for line in found} <= {"debug", "info", "warn", "error"}
    named = [line for line in found if line["component"] == "serve"]
    assert [line for line in named if line["incident_id"]]
    assert all(line["incident_id"] or line["subject"] for line in named)


def test_text_from_outside_stays_inside_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    evil = 'a\nb\r\n{"level": "info"}\x1b[2J\x00\u2028\x85end'
    record = logging.LogRecord("faultline.x", logging.INFO, "", 1, "said %s", (evil,), None)

    line = JsonFormatter().format(record)

    assert line.isascii()
    assert all(ord(character) >= 32 for character in line)
    assert json.loads(line)["message"] == f"said {evil}"


@pytest.mark.covers("S1-111")
def test_an_error_has_its_context_and_no_secret(lines: Callable[[], list[dict[str, Any]]]) -> None:
    def broken(event: Event, ports: Ports) -> None:
        raise ValueError("cannot log in with password=Hx92kqPLmz81vR and our-own-token-77")

    world = World()
    fault = Event(
        id="1", source="/t", type="t.v1", subject="20261121-api-5c1e9b2a",
        extensions={"cluster": "c"},
    )  # fmt: skip
    from faultline import wire

    headers, body = wire.encode(fault)
    answer(broken, world.ports, Request("POST", "/", headers, body))

    (line,) = [line for line in lines() if line["component"] == "serve"]
    assert (line["level"], line["incident_id"], line["cluster"]) == (
        "error", "20261121-api-5c1e9b2a", "c",
    )  # fmt: skip
    assert "ValueError" in line["error"]
    assert "broken" in line["error"]
    assert "Hx92kqPLmz81vR" not in json.dumps(line)
    assert "our-own-token-77" not in json.dumps(line)


def test_what_is_said_once_holds_for_every_line_within(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    log = logging.getLogger("faultline.somewhere")

    with about(incident_id="i", trace_id="t"), about(event="e", cluster=None):
        log.info("one %d", 1)
    log.info("two %d", 2)

    one, two = lines()
    assert (one["incident_id"], one["trace_id"], one["event"]) == ("i", "t", "e")
    assert (two["incident_id"], two["event"], two["cluster"]) == (None, "two %d", "here")


@pytest.mark.covers("S1-112")
@pytest.mark.parametrize("level", ["debug", "info", "warn", "error"])
def test_the_level_is_configurable(level: str) -> None:
    import subprocess
    import sys

    code = (
        "import logging; from faultline.logs import configure; "
        f"configure({level!r}, cluster='c'); log = logging.getLogger('faultline.x'); "
        "[log.log(n, 'x') for n in (10, 20, 30, 40)]"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    order = ["debug", "info", "warn", "error"]
    shown = [json.loads(line)["level"] for line in ran.stderr.splitlines()]
    assert shown == order[order.index(level) :]


def test_an_unknown_level_is_refused() -> None:
    from faultline.logs import configure

    with pytest.raises(Rejected, match="debug, info, warn or error"):
        configure("loud")


def test_what_nobody_caught_is_a_line_too() -> None:
    import subprocess
    import sys

    code = (
        "import threading, warnings; from faultline.logs import configure; configure('info'); "
        "warnings.warn('careful'); t = threading.Thread(target=lambda: 1 / 0); t.start(); "
        "t.join(); raise OSError('gone')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    found = [json.loads(line) for line in ran.stderr.splitlines()]
    assert ran.returncode == 1
    assert [line["level"] for line in found] == ["warn", "error", "error"]
    assert "ZeroDivisionError" in found[1]["error"]


def test_spans_can_be_lines(lines: Callable[[], list[dict[str, Any]]]) -> None:
    LogSpans()(Span("triage", "a" * 32, "b" * 16, "", START, START + dt.timedelta(seconds=2)))

    (line,) = [line for line in lines() if "span" in line]
    assert (line["event"], line["span"], line["seconds"]) == ("span", "triage", 2.0)


def test_keys_of_heartbeats_stay_in_their_folder() -> None:
    chance = random.Random(1)
    for _ in range(100):
        name = "".join(chance.choices("ab/.%\n é", k=chance.randint(3, 60)))
        key = keys.heartbeat("x" + name, START, 60)
        assert key.startswith("heartbeats/x")
        assert key.endswith("/2026-11-21/100000.txt")
        assert len(key.split("/")) == 4


class Flaky(MemoryStore):
    """A store that does not answer while it is down."""

    down = False

    def list(self, prefix: str) -> Iterator[str]:
        if self.down:
            raise Unavailable("the store does not answer")
        return super().list(prefix)


def test_a_store_that_is_down_leaves_the_watchdog_for_the_next_look() -> None:
    store = Flaky()
    world = World(store=store)
    intake = bridge(world)
    intake.alertmanager(alert())
    world.pass_time(10 * MINUTE)

    store.down = True
    with pytest.raises(Unavailable):
        intake.check_watchdog()
    store.down = False
    intake.check_watchdog()
    world.settle()

    assert world.incidents.incident(world.only).fault.name == MISSED
