"""Kubernetes Events on the whole line: when they are written, and what they never hold up."""

from __future__ import annotations

import dataclasses
import io
import logging
from typing import Any

import pytest
from events_fake import EventsFake
from world import World

from faultline import bootstrap
from faultline.adapters.outlets.kubernetes_events import EventsOutlet
from faultline.adapters.stores.memory import MemoryStore
from faultline.healing_cap import count
from faultline.model import Policy, Receipt, RunStatus, Status
from faultline.settings import Settings


class Line(World):
    """A line whose outlets write Events too, through the real client."""

    def __init__(self, scenario: str = "memory", **more: Any) -> None:
        super().__init__(scenario, **more)
        self.api = EventsFake()
        events = EventsOutlet("prod-a", clock=self.clock, write=self.api.write())
        outlets = [*self.ports.outlets, events]
        self.ports = dataclasses.replace(self.ports, outlets=outlets)


@pytest.mark.covers("S3-23", "S3-46")
def test_the_anomaly_is_said_before_anybody_investigates_and_the_failure_with_its_reason() -> None:
    line = Line("healthy-1", policy=Policy(engine="claude")).fault().settle()
    early = line.api.said()
    (run_id,) = line.jobs.live()

    line.finish(run_id, RunStatus.FAILED, "overloaded").settle()

    assert early == ["AnomalyDetected"]
    assert line.api.said() == ["AnomalyDetected", "DiagnosisFailed"]
    assert "(overloaded)" in line.api.events[-1]["note"]
    assert line.api.events[-1]["regarding"]["name"] == "checkout-7d9f6c5b4-x2x9z"


@pytest.mark.covers("S3-46")
def test_an_incident_whose_cause_is_proved_has_two_events_however_it_goes_on() -> None:
    line = Line().fault().settle()
    line.fault().settle()  # the same again
    line.fault(condition="c2").settle()  # another one joins

    line.clear().clear(condition="c2").settle()

    assert line.status() is Status.CLOSED
    assert line.api.said() == ["AnomalyDetected", "DiagnosisComplete"]


def test_a_cluster_that_takes_no_events_holds_up_no_evidence_and_is_told_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Line()
    line.api.answers = [503, 503]

    with caplog.at_level(logging.WARNING):
        line.fault().settle()

    assert "events: an Event: the API server answered 503" in caplog.text
    assert line.status() is Status.PACKAGED
    assert line.api.said() == ["AnomalyDetected", "DiagnosisComplete"]
    assert (line.forge.made, len(line.chat.messages)) == (1, 1)


def test_an_account_that_may_not_write_events_stops_nothing_and_is_on_record() -> None:
    line = Line()
    line.api.answers = [403] * 10

    line.fault().settle()

    packaged = line.incidents.packaged(line.only, 1)
    assert packaged is not None
    assert packaged.outlets["events"].startswith("failed: expected to be allowed")
    assert line.api.events == []


@pytest.mark.covers("S3-64")
def test_the_healing_cap_is_an_event_of_its_own() -> None:
    line = Line(policy=Policy(max_healing_attempts=1)).fault().settle()
    incident = line.incidents.incident(line.only)
    pull = Receipt(outlet="github", reference="acme/shop#1", made_at=line.clock(),
                   details={"pull": "1"})  # fmt: skip
    count(incident, pull, line.incidents)
    line.clear().settle()

    line.pass_time(60).fault(condition="c2", starts_at=line.clock()).settle()

    assert line.api.said()[2:] == ["AnomalyDetected", "HealingCapReached", "DiagnosisComplete"]
    assert "faultline heal reset prod-a/shop/checkout" in line.api.events[3]["note"]


def test_events_are_off_unless_they_are_asked_for_and_a_dry_run_writes_none() -> None:
    def kinds(**settings: Any) -> list[str]:
        found = bootstrap.outlets(Settings(**settings), MemoryStore(), io.StringIO())
        return [type(outlet).__name__ for outlet in found]

    assert "EventsOutlet" not in kinds()
    assert "EventsOutlet" in kinds(kubernetes_events=True)
    assert kinds(kubernetes_events=True, dry_run=True)[-1] == "DryRunOutlet"
