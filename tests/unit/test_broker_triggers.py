"""Trigger manifests: what is read, what is warned of."""

from __future__ import annotations

import pytest

from faultline.broker import triggers
from faultline.broker.triggers import Destination
from faultline.errors import Rejected

WHOLE = """
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: triage, namespace: faultline}
spec:
  broker: faultline
  filter: {attributes: {type: dev.faultline.fault.detected.v1}}
  subscriber: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: triage}}
  delivery:
    retry: 8
    backoffPolicy: exponential
    backoffDelay: PT1S
    timeout: PT2M30S
    deadLetterSink: {ref: {apiVersion: v1, kind: Service, name: bridge}, uri: /parked}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: not-for-us}
---
"""


def test_a_whole_trigger_is_read() -> None:
    (found,) = triggers.load(WHOLE)

    assert (found.name, found.namespace, found.broker) == ("triage", "faultline", "faultline")
    assert found.subscriber == Destination("triage", "", "faultline")
    assert found.delivery == triggers.Delivery(
        retry=8,
        policy="exponential",
        delay_s=1.0,
        timeout_s=150.0,
        dead_letter=Destination("bridge", "/parked", "faultline"),
    )
    assert triggers.lint((found,)) == []


def test_the_products_own_triggers_are_found() -> None:
    assert isinstance(triggers.manifest_text(), str)
    assert all(trigger.delivery.dead_letter for trigger in triggers.load(triggers.manifest_text()))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1S", 1.0),
        ("PT0.2S", 0.2),
        ("PT0,5S", 0.5),
        ("PT1M30S", 90.0),
        ("PT2H", 7_200.0),
        ("P1DT1S", 86_401.0),
        ("P1W", 604_800.0),
    ],
)
def test_durations_are_iso_8601(text: str, seconds: float) -> None:
    (found,) = triggers.load(WHOLE.replace("PT1S", f'"{text}"'))

    assert found.delivery.delay_s == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "P", "PT", "1S", "PT1", "PT-1S", "P1Y", "PT1S ", "pt1s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(Rejected, match=r"trigger triage: spec\.delivery\.backoffDelay"):
        triggers.load(WHOLE.replace("PT1S", f'"{text}"'))


@pytest.mark.parametrize(
    ("destination", "path", "address"),
    [
        (Destination("bridge", "/parked", "ns"), "/parked", "http://bridge.ns.svc.cluster.local/parked"),
        (Destination("triage", "", "ns"), "/", "http://triage.ns.svc.cluster.local"),
        (Destination(None, "http://h:1/a?b=c"), "/a", "http://h:1/a"),
        (Destination(None, "http://me:secret@h"), "/", "http://h"),
    ],
)  # fmt: skip
def test_a_destination_has_a_path_and_an_address_without_secrets(
    destination: Destination, path: str, address: str
) -> None:
    assert (destination.path, destination.address) == (path, address)


def test_what_is_allowed_and_probably_not_meant_is_warned_of() -> None:
    careless = WHOLE.replace("    backoffPolicy: exponential\n", "")
    careless = careless.replace(
        "filter: {attributes: {type: dev.faultline.fault.detected.v1}}",
        'filters: [{prefix: {type: ""}}]',
    )

    assert [
        warning.split(":")[1].strip() for warning in triggers.lint(triggers.load(careless))
    ] == [
        "spec.filters[0].prefix.type is empty",
        "retry without backoffPolicy",
    ]


def test_the_same_name_twice_is_refused() -> None:
    with pytest.raises(Rejected, match=r"trigger triage: metadata\.name"):
        triggers.load(WHOLE + WHOLE)


def test_all_refusals_are_told_at_once() -> None:
    other = WHOLE.replace("name: triage, ", "name: other, ").replace("retry: 8", "retry: x")

    with pytest.raises(Rejected, match=r"trigger triage: .*; trigger other: "):
        triggers.load(WHOLE.replace("PT1S", "soon") + other)


@pytest.mark.parametrize("text", ["a: [", "- a list", "just text", "{kind: Trigger: x}"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="expected"):
        triggers.load(text)
