"""Kubernetes Events: which, on what, once, and what they never hold."""

from __future__ import annotations

from typing import Any

import pytest
from events_fake import EventsFake
from outlet_world import INCIDENT, Hour, report

from faultline.adapters.apiserver import OURS, by_others
from faultline.adapters.outlets.kubernetes_events import EventsOutlet
from faultline.errors import Rejected, Unavailable
from faultline.model import Incident, Report, Resource, RunStatus, Severity

POD = Resource(kind="Pod", namespace="shop", name="api-7d9f6c5b4-x2x9z", uid="u-1")
CAP = "HealingCapReached: 5 pull requests were made, says: faultline heal reset prod/shop/api"


def about(resource: Resource | None = POD, **fields: Any) -> Incident:
    known = {"resource": resource, "summary": "restarts", "severity": Severity.CRITICAL}
    fault = INCIDENT.fault.model_copy(update=known | fields)
    return INCIDENT.model_copy(update={"fault": fault})


def told(incident: Incident | None = None, **fields: Any) -> Report:
    return report().model_copy(update={"incident": incident or about()} | fields)


@pytest.fixture
def api() -> EventsFake:
    return EventsFake()


@pytest.fixture
def outlet(api: EventsFake) -> EventsOutlet:
    return EventsOutlet("prod", clock=Hour(), write=api.write())


@pytest.mark.covers("S3-23")
def test_a_warning_stands_on_the_object_at_once(api: EventsFake, outlet: EventsOutlet) -> None:
    outlet.begun(about())

    (event,) = api.events
    assert (event["type"], event["reason"]) == ("Warning", "AnomalyDetected")
    assert event["regarding"] == {
        "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": POD.name, "uid": "u-1",
    }  # fmt: skip
    assert event["note"].startswith("KubePodCrashLooping (critical): restarts.")
    assert INCIDENT.id in event["note"]


@pytest.mark.covers("S3-46")
def test_a_diagnosis_is_normal_and_a_run_without_one_a_warning(
    api: EventsFake, outlet: EventsOutlet
) -> None:
    outlet.deliver(told(), None)
    failed = report().result.model_copy(update={"status": RunStatus.FAILED, "reason": "overloaded"})
    outlet.deliver(told(run=2, diagnosis=None, result=failed), None)

    ends = {event["reason"]: event for event in api.events[1:]}
    assert {reason: event["type"] for reason, event in ends.items()} == {
        "DiagnosisComplete": "Normal", "DiagnosisFailed": "Warning",
    }  # fmt: skip
    diagnosis = report().diagnosis
    assert diagnosis is not None
    assert diagnosis.root_cause[:40] in ends["DiagnosisComplete"]["note"]
    assert "overloaded" in ends["DiagnosisFailed"]["note"]


@pytest.mark.covers("S3-64")
def test_the_healing_cap_is_a_warning_of_its_own(api: EventsFake, outlet: EventsOutlet) -> None:
    outlet.deliver(told(capped=CAP), None)

    assert api.said() == ["AnomalyDetected", "HealingCapReached", "DiagnosisComplete"]
    assert api.events[1]["type"] == "Warning"
    assert "faultline heal reset prod/shop/api" in api.events[1]["note"]


def test_a_second_delivery_makes_no_second_event(api: EventsFake, outlet: EventsOutlet) -> None:
    outlet.begun(about())
    first = outlet.deliver(told(), None)
    asked = len(api.asked)

    outlet.begun(about())
    outlet.deliver(told(), None)  # the receipt was lost
    outlet.deliver(told(), first)
    outlet.deliver(told(run=1, ending="Closed."), first)

    assert api.said() == ["AnomalyDetected", "DiagnosisComplete"]
    assert len(api.asked) == asked + 3  # with a receipt nothing is asked


def test_what_has_no_namespace_has_its_events_where_kubernetes_wants_them(
    api: EventsFake, outlet: EventsOutlet
) -> None:
    outlet.begun(about(Resource(kind="Node", name="node-1")))

    assert api.events[0]["metadata"]["namespace"] == "default"
    assert api.events[0]["regarding"] == {"apiVersion": "v1", "kind": "Node", "name": "node-1"}


@pytest.mark.parametrize(
    ("incident", "why"),
    [(about(None), "names no object"), (about(cluster="prod-eu"), "another cluster"),
     (about(Resource(name="x")), "names no object")],
)  # fmt: skip
def test_nothing_is_written_on_what_is_not_here(
    api: EventsFake, outlet: EventsOutlet, incident: Incident, why: str
) -> None:
    outlet.begun(incident)
    receipt = outlet.deliver(told(incident), None)

    assert api.asked == []
    assert why in receipt.reference


def test_text_of_the_cluster_is_redacted_inert_and_bounded(
    api: EventsFake, outlet: EventsOutlet
) -> None:
    secret = "AKIA" + "Q3EGRIPJ5VXTWNZA"
    summary = f"\x1b[31m\u202e@everyone password=hunter2hunter2 {secret} https://evil.example " + (
        "ü" * 2_000
    )

    outlet.begun(about(summary=summary))

    note = api.events[0]["note"]
    assert len(note.encode()) <= 1_024
    assert secret not in note
    assert "\x1b" not in note
    assert "\u202e" not in note
    assert "https://" not in note
    assert "@" not in note


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, Rejected), (401, Rejected), (404, Rejected), (422, Rejected), (429, Unavailable),
     (500, Unavailable), (503, Unavailable)],
)  # fmt: skip
def test_what_the_server_answers_is_never_again_or_try_again(
    api: EventsFake, outlet: EventsOutlet, status: int, error: type[Exception]
) -> None:
    api.answers = [status]

    with pytest.raises(error):
        outlet.begun(about())


@pytest.mark.parametrize(
    "namespace", ["..", "a/b", "shop/pods", "Shop", "", "x" * 64, "a?b", "%2e"]
)
def test_no_namespace_leads_to_another_path(api: EventsFake, namespace: str) -> None:
    with pytest.raises(Rejected):
        api.write()(namespace, {})

    assert api.asked == []


def test_the_only_request_is_a_post_of_an_event(api: EventsFake, outlet: EventsOutlet) -> None:
    outlet.begun(about())
    outlet.deliver(told(capped=CAP), None)

    assert set(api.asked) == {("POST", "/apis/events.k8s.io/v1/namespaces/shop/events")}


def test_what_we_said_ourselves_is_no_evidence() -> None:
    theirs = {"reason": "BackOff", "reportingComponent": "kubelet"}
    ours = {"reason": "AnomalyDetected", "reportingComponent": OURS}

    assert list(by_others([ours, theirs, {"reason": "Old"}])) == [theirs, {"reason": "Old"}]
