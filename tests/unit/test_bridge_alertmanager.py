"""AlertManager's messages to faults: recorded ones, hostile ones, and the labels' traps."""

from __future__ import annotations

import base64
import contextlib
import copy
import datetime as dt
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultline.bridge import alertmanager
from faultline.bridge.events import event_of
from faultline.correlate import correlation_key
from faultline.errors import Rejected
from faultline.model import Fault, Incident, Severity

FIXTURES = Path(__file__).parent.parent / "fixtures" / "alertmanager"
NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
ONE = json.loads((FIXTURES / "am025-firing-1alert.json").read_bytes())
MIXIN = [json.loads(line) for line in (FIXTURES / "mixin-alerts.jsonl").read_text().splitlines()]


def recorded(name: str) -> bytes:
    return (FIXTURES / f"am025-{name}.json").read_bytes()


def faults_in(body: bytes) -> list[Fault]:
    return alertmanager.faults(alertmanager.parse(body), cluster="here", payload="payloads/x.json")


def message(**changes: Any) -> bytes:
    return json.dumps(ONE | changes).encode()


def alert(**changes: Any) -> bytes:
    changed = copy.deepcopy(ONE)
    changed["alerts"][0].update(changes)
    return json.dumps(changed).encode()


def labelled(**labels: str) -> Fault:
    return faults_in(alert(labels={"alertname": "Test"} | labels))[0]


def about(fault: Fault) -> str:
    resource = fault.resource
    return f"{resource.kind} {resource.namespace}/{resource.name}" if resource else ""


# recorded messages


def test_a_firing_alert_becomes_a_fault_with_everything_people_need() -> None:
    (fault,) = faults_in(recorded("firing-1alert"))

    assert fault.name == "AlwaysFiring"
    assert fault.summary == "Checkout is down"
    assert fault.severity is Severity.CRITICAL
    assert fault.cluster == "test-eu1"
    assert fault.condition == "8416c4a4822de68e"
    assert fault.starts_at == dt.datetime(2026, 11, 21, 1, 2, 49, 185_000, tzinfo=dt.UTC)
    assert fault.ends_at is None
    assert fault.links["runbook"] == "http://127.0.0.1/runbook"
    assert fault.links["AlertManager"] == "http://alertmanager:9093"
    assert Fault.model_validate(fault.model_dump(mode="json")) == fault


def test_a_resolved_alert_is_the_same_occurrence_with_an_end() -> None:
    (began,) = faults_in(recorded("firing-1alert"))
    (ended,) = faults_in(recorded("resolved-1alert"))

    assert ended.occurrence == began.occurrence
    assert ended.ends_at is not None
    assert ended.ends_at > began.starts_at


def test_alerts_of_one_message_are_judged_one_by_one() -> None:
    parsed = alertmanager.parse(recorded("mixed-group50-20resolved"))

    assert parsed.status == "firing"
    assert sum(each.resolved for each in parsed.alerts) == 20
    found = alertmanager.faults(parsed, cluster="here", payload="p")
    assert [f.ends_at is not None for f in found] == [a.resolved for a in parsed.alerts]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("firing-1alert", "repeated-1alert"),
        ("retry-after-503-attempt1", "retry-after-503-attempt3"),
    ],
)
def test_repeats_and_retries_make_the_same_events(first: str, second: str) -> None:
    ids = [
        [event_of(f, cleared=False, cluster="c", time=NOW).id for f in faults_in(recorded(name))]
        for name in (first, second)
    ]

    assert ids[0] == ids[1]


def test_the_other_peers_copy_is_the_same_message_and_the_same_occurrences() -> None:
    ours = json.loads(recorded("firing-group50"))
    theirs = copy.deepcopy(ours)
    theirs["alerts"].reverse()
    theirs["externalURL"] = "http://other:9093"
    theirs["notification_reason"] = "repeat interval elapsed"
    for each in theirs["alerts"]:
        each["generatorURL"] = "http://other/graph"

    left, right = (json.dumps(each).encode() for each in (ours, theirs))

    assert alertmanager.parse(left).identity == alertmanager.parse(right).identity
    assert {f.occurrence for f in faults_in(left)} == {f.occurrence for f in faults_in(right)}


def test_alerts_that_were_left_out_stay_visible_and_are_not_taken_for_resolved() -> None:
    parsed = alertmanager.parse(recorded("truncated-max_alerts10-resolved"))
    found = faults_in(recorded("truncated-max_alerts10-resolved"))

    assert (len(found), parsed.truncated) == (10, 40)
    assert {f.annotations[alertmanager.TRUNCATED] for f in found} == {"40"}


# which resource an alert names


SUBJECTS = {
    "KubeletDown": "",
    "KubeControllerManagerDown": "",
    "KubeletInstanceUnreachable": "",
    "KubePdbNotEnoughHealthyPods": "PodDisruptionBudget ns1/pdb1",
    "KubeHpaMaxedOut": "HorizontalPodAutoscaler ns1/hpa1",
    "CPUThrottlingHigh": "Pod default/test-pod",
    "KubeQuotaAlmostFull": "ResourceQuota test-ns/cpu-quota",
    "KubePersistentVolumeFillingUp": "PersistentVolumeClaim monitoring/somepvc",
    "KubeNodeNotReady": "Node /minikube",
    "KubeNodePressure": "Node /minikube",
    "KubeNodeEviction": "Node /minikube",
    "KubeletClientCertificateExpiration": "Node /minikube",
    "KubePodNotReady": "Pod ns1/pod-ds-7cc77d965f-cgsdv",
    "KubeDaemonSetRolloutStuck": "DaemonSet monitoring/node-exporter",
    "KubeDeploymentRolloutStuck": "Deployment monitoring/stuck",
    "KubeJobFailed": "Job ns1/job-1597623120",
    "KubePodCrashLooping": "Pod test/static-web",
    "KubeStatefulSetReplicasMismatch": "StatefulSet test/sts",
    "KubeCPUOvercommit": "",
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_an_alert_of_the_kubernetes_rules_names_its_subject_not_its_exporter(name: str) -> None:
    bodies = [json.dumps(body).encode() for body in MIXIN if name in body["groupKey"]]

    assert bodies
    assert {about(fault) for body in bodies for fault in faults_in(body)} == {SUBJECTS[name]}


@pytest.mark.parametrize(
    ("labels", "subject"),
    [
        ({"job": "api", "namespace": "shop"}, ""),
        ({"service": "api", "instance": "10.0.0.1:80", "endpoint": "web", "namespace": "shop"}, ""),
        ({"pod": "api-1", "namespace": "shop", "deployment": "api"}, "Deployment shop/api"),
        ({"pod": "api-1", "namespace": "shop", "job": "api"}, "Pod shop/api-1"),
        ({"pod": "api-1", "namespace": "shop", "node": "n1", "job": "kubelet"}, "Pod shop/api-1"),
        ({"pod": "ksm-1", "namespace": "mon", "node": "n1", "service": "ksm"}, "Node /n1"),
        (
            {
                "pod": "ksm-1",
                "namespace": "mon",
                "job": "ksm",
                "exported_pod": "ksm-9",
                "exported_namespace": "shop",
            },
            "Pod shop/ksm-9",
        ),
        ({"namespace": "mon", "pod": "ksm-1", "exported_namespace": "shop"}, ""),
        (
            {"namespace": "mon", "exported_namespace": "shop", "statefulset": "db"},
            "StatefulSet shop/db",
        ),
        (
            {
                "namespace": "mon",
                "pod": "ksm-1",
                "job": "ksm",
                "exported_namespace": "shop",
                "persistentvolumeclaim": "data",
            },
            "PersistentVolumeClaim shop/data",
        ),
        ({"deployment": "api"}, ""),
        ({"pod": "api-1"}, ""),
        ({"namespace": "..", "deployment": "api"}, ""),
        ({"namespace": "shop", "deployment": "../../claims"}, ""),
        ({"namespace": "shop", "pod": "a b"}, ""),
        ({"node": "/"}, ""),
    ],
)
def test_labels_name_the_subject(labels: dict[str, str], subject: str) -> None:
    assert about(labelled(**labels)) == subject


def test_an_alert_that_names_no_resource_is_known_by_its_fingerprint() -> None:
    fault = labelled(job="kube-proxy")

    assert correlation_key(fault) == f"fingerprint/{fault.fingerprint}"


def test_without_a_fingerprint_the_sorted_labels_identify_the_condition() -> None:
    labels = {"b": "2", "a": "1", "alertname": "X"}
    backwards = dict(reversed(labels.items()))

    (one,) = faults_in(alert(fingerprint="", labels=labels))
    (two,) = faults_in(alert(fingerprint="", labels=backwards))

    assert one.condition == two.condition != ""


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("critical", Severity.CRITICAL),
        ("CRITICAL", Severity.CRITICAL),
        ("error", Severity.CRITICAL),
        ("warning", Severity.WARNING),
        ("info", Severity.INFO),
        ("debug", Severity.INFO),
        ("none", Severity.INFO),
        ("P1", Severity.WARNING),
        ("", Severity.WARNING),
    ],
)
def test_foreign_severities_have_one_of_three_steps(text: str, severity: Severity) -> None:
    assert labelled(severity=text).severity is severity
    assert labelled().severity is Severity.WARNING


def test_a_cluster_is_the_label_or_else_the_configured_one() -> None:
    names = [labelled(cluster=name).cluster for name in ("eu1", "", "..", "a\nb")]

    assert [*names, labelled().cluster] == ["eu1", "here", "here", "here", "here"]


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://user:secret@host/",
        'http://host/"onmouseover="x',
        "http://host/\nx",
        "//host/",
        "data:text/html,x",
        "http://" + "x" * 5000,
        "http:\\\\host",
        " http://host/",
    ],
)
def test_only_plain_web_addresses_become_links(address: str) -> None:
    (fault,) = faults_in(
        alert(generatorURL=address, annotations={"runbook_url": address, "dashboard_url": address})
    )

    assert set(fault.links) <= {"AlertManager"}


def test_a_long_annotation_is_cut_visibly() -> None:
    (fault,) = faults_in(alert(annotations={"summary": "s", "description": "x" * 100_000}))

    assert len(fault.annotations["description"]) == 4096
    assert fault.annotations["description"].endswith("…")


# times


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T01:02:49.123456789Z",
        "2026-11-21T01:02:49Z",
        "2026-11-21T01:02:49.5+14:00",
        "9999-12-31T23:59:59.999999999Z",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+12:00",
    ],
)
def test_every_time_that_go_writes_is_read(text: str) -> None:
    (fault,) = faults_in(alert(startsAt=text))

    assert fault.occurrence
    assert fault.starts_at.tzinfo is not None


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "", None])
def test_an_alert_that_fires_has_no_end_whatever_is_said(end: str | None) -> None:
    (fault,) = faults_in(alert(endsAt=end))

    assert fault.ends_at is None


def stamp_of(chance: random.Random) -> str:
    day = dt.date.fromordinal(chance.randint(1, dt.date.max.toordinal()))
    clock = f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}"
    fraction = f".{chance.randrange(10**9):09}"[: chance.randrange(2, 11)]
    minutes = chance.randint(-14 * 60, 14 * 60)
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    return f"{day}T{clock}{chance.choice(['', fraction])}{chance.choice(['Z', zone])}"


@pytest.mark.covers("AM-16")
def test_ten_thousand_random_stamps_are_read_and_what_fires_stays_open() -> None:
    chance = random.Random(16)
    ends = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z")

    for _ in range(10_000):
        stamp = stamp_of(chance)
        alerts = [ONE["alerts"][0] | {"startsAt": stamp, "endsAt": chance.choice(ends)}]
        (fault,) = faults_in(message(alerts=alerts))

        assert fault.ends_at is None
        assert fault.starts_at.utcoffset() == dt.timedelta()
        assert fault.occurrence


@settings(max_examples=300, deadline=None)
@given(text=st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,20}(Z|[+-][0-9:]{4,6})?"))
def test_what_looks_like_a_time_is_read_or_refused(text: str) -> None:
    read: list[Fault] = []

    with contextlib.suppress(Rejected):
        read = faults_in(alert(startsAt=text))

    assert all(fault.starts_at.tzinfo is not None for fault in read)


@pytest.mark.covers("AM-07")
def test_names_from_odd_group_keys_are_plain_stable_and_never_the_same() -> None:
    chance = random.Random(7)
    odd = ['{}/{a=~"b|c"}:{d="é\n"}', '"', "\n", "ü" * 2048, "{}:{}", "/", ".."]
    found = set()

    for number in range(100_000):
        labels = {"alertname": f"{chance.choice(odd)[:30]}{number}", "path": chance.choice(odd)}
        fault = Fault.model_construct(name="X", cluster="c", labels=labels, condition="")
        found.add(fault.fingerprint)
    keys_of = [json.dumps({**ONE, "groupKey": key}).encode() for key in odd]
    events = [event_of(faults_in(b)[0], cleared=False, cluster="c", time=NOW) for b in keys_of]
    incidents = {
        Incident.begin(faults_in(b)[0], key="k", name=odd[0], because=e).id
        for b, e in zip(keys_of, events, strict=True)
    }

    assert len(found) == 100_000
    assert all(re.fullmatch(r"[0-9a-f]{16}", name) for name in found)
    assert len(incidents) == 1  # the group key is no part of what an alert is
    assert all(re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", name) for name in incidents)


# refusals


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (message(version="3"), "version"),
        (message(version=4), "version"),
        (b'{"groupKey":"x","alerts":[]}', "version is missing"),
        (b'{"version":"4","alerts":[]}', "groupKey is missing"),
        (b'{"version":"4","groupKey":"x"}', "alerts is missing"),
        (message(alerts=None), "list in alerts"),
        (message(alerts={}), "list in alerts"),
        (message(alerts=[None]), r"alerts\[0\]"),
        (message(alerts=[[]]), r"alerts\[0\]"),
        (message(alerts=["x"]), r"alerts\[0\]"),
        (message(groupKey=1), "groupKey"),
        (message(status="burning"), "status"),
        (message(truncatedAlerts="many"), "truncatedAlerts"),
        (message(truncatedAlerts=True), "truncatedAlerts"),
        (alert(labels=None), "labels"),
        (alert(labels={"a": 1}), "labels"),
        (alert(annotations=[1]), "annotations"),
        (alert(startsAt="yesterday"), "RFC 3339"),
        (alert(startsAt=None), "startsAt"),
        (alert(startsAt="2026-02-30T00:00:00Z"), "day"),
        (alert(status="x"), "status"),
        (alert(fingerprint=1), "fingerprint"),
        (message()[:-1], "JSON"),
        (b'{"version":"4","version":"4","groupKey":"x","alerts":[]}', "twice"),
        (b'{"version":"4","groupKey":"x","alerts":[],"x":NaN}', "NaN"),
        (b'{"version":"4","groupKey":"x","alerts":[],"x":-Infinity}', "Infinity"),
        (b'{"version":"4","groupKey":"\\ud800","alerts":[]}', "surrogate"),
        (b'{"version":"4","groupKey":"\xff","alerts":[]}', "UTF-8"),
        (b"\xef\xbb\xbf" + message(), "JSON"),
        (message().decode().encode("utf-16"), "UTF-8"),
        (b'{"x":' * 10_000 + b"1" + b"}" * 10_000, "too deep"),
        (b"[" * 100_000, "too deep"),
        (b'[{"":' * 50_000, "too deep"),
        (b"9" * 5_000, "JSON"),
        (b"", "JSON"),
        (b"null", "object"),
    ],
)
def test_anything_else_is_refused_and_says_what_was_expected(body: bytes, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        alertmanager.parse(body)


def test_a_whole_pair_of_surrogates_is_a_character() -> None:
    assert alertmanager.parse(message(groupKey="\U0001f600")).group_key == "\U0001f600"


def test_unknown_fields_of_newer_versions_are_tolerated() -> None:
    parsed = alertmanager.parse(message(routeLabels={"a": "b"}, notification_reason="unknown"))

    assert len(parsed.alerts) == 1


def test_no_case_of_the_json_test_suite_is_taken_for_a_message() -> None:
    suite = json.loads((FIXTURES / "json-test-suite.json").read_text())

    taken = []
    for name, encoded in suite.items():
        body = base64.b64decode(encoded)
        for hidden in (body, b'{"version":"4","groupKey":"x","alerts":[],"x":' + body + b"}"):
            try:
                alertmanager.parse(hidden)
            except Rejected:
                continue
            taken.append(name)

    assert len([name for name in suite if name.startswith("n_")]) == 186
    assert [name for name in taken if name.startswith("n_")] == []


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused_and_never_fail(body: bytes) -> None:
    with pytest.raises(Rejected):
        alertmanager.parse(body)


NASTY = st.text(max_size=40) | st.sampled_from(
    ["..", ".", "", "/", "\0", "a" * 5000, '{}/{a=~"b|c"}:{d="é\\n"}', "\ufdd0", "%2e%2e"]
)


@settings(max_examples=500, deadline=None)
@given(
    group_key=NASTY,
    labels=st.dictionaries(
        st.sampled_from(["alertname", "cluster", "namespace", "deployment", "pod", "node", "x"]),
        NASTY,
    ),
    fingerprint=NASTY,
)
def test_whatever_labels_hold_the_events_names_stay_plain(
    group_key: str, labels: dict[str, str], fingerprint: str
) -> None:
    body = message(
        groupKey=group_key,
        alerts=[ONE["alerts"][0] | {"labels": labels, "fingerprint": fingerprint}],
    )

    (fault,) = faults_in(body)
    event = event_of(fault, cleared=False, cluster="c/..", time=NOW)

    parts = str(event.subject).split("/")
    assert parts[0] in ("resource", "fingerprint")
    assert not {"", ".", ".."} & set(parts)
    assert len(parts) == (4 if fault.resource else 2)
    assert all(part.isascii() and len(part) <= 100 for part in parts)
    assert "/" not in event.id.removesuffix("/detected")
    assert len(event.id) < 64


# events


def test_an_event_says_who_speaks_about_what_and_can_be_filtered() -> None:
    (fault,) = faults_in(recorded("firing-1alert"))

    event = event_of(fault, cleared=False, cluster="mgmt", time=NOW)

    assert event.type == "dev.faultline.fault.detected.v1"
    assert event.id == f"{fault.occurrence}/detected"
    assert event.source == "/faultline/bridge/mgmt"
    assert event.subject == correlation_key(fault)
    assert event.extensions == {
        "partitionkey": event.subject,
        "correlationid": event.subject,
        "severity": "critical",
        "cluster": "test-eu1",
    }
    assert Fault.model_validate(event.data) == fault


def test_secrets_are_taken_out_of_the_texts_and_identity_stays() -> None:
    labels = {"alertname": "X", "url": "hunter2", "namespace": "shop", "deployment": "hunter2"}
    (fault,) = faults_in(alert(labels=labels, annotations={"summary": "token hunter2"}))

    event = event_of(
        fault, cleared=True, cluster="c", time=NOW, clean=lambda t: t.replace("hunter2", "***")
    )

    assert event.data["summary"] == "token ***"
    assert event.data["labels"] == labels | {"url": "***"}
    assert event.subject == correlation_key(fault)
    assert event.id == f"{fault.occurrence}/cleared"
    assert Fault.model_validate(event.data).occurrence == fault.occurrence


# the examples


EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "alerts"


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("crash-looping", {"resource/prod-a/shop/checkout"}),
        ("crash-looping-resolved", {"resource/prod-a/shop/checkout"}),
        ("four-alerts-one-workload", {"resource/prod-a/shop/checkout"}),
        ("image-pull", {"resource/prod-a/shop/cart"}),
        ("rollout-stuck", {"resource/prod-a/shop/checkout"}),
        ("node-not-ready", {"resource/prod-a/-/node-1"}),
    ],
)
def test_each_example_is_about_what_its_name_says(name: str, keys: set[str]) -> None:
    found = faults_in((EXAMPLES / f"{name}.json").read_bytes())

    assert {correlation_key(fault) for fault in found} == keys


def test_the_resolved_example_ends_the_firing_one() -> None:
    (began,) = faults_in((EXAMPLES / "crash-looping.json").read_bytes())
    (ended,) = faults_in((EXAMPLES / "crash-looping-resolved.json").read_bytes())

    assert began.occurrence == ended.occurrence
    assert ended.ends_at is not None
