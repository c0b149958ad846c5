"""Which workload a fault is about, from what it says itself; docs/concepts.md has the words."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultline.bridge.alertmanager import faults, parse
from faultline.correlate import correlation_key, owner_of, subject_name
from faultline.model import Fault, Resource

START = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)


def fault(resource: Resource | None = None, **fields: object) -> Fault:
    plain = {"name": "CrashLoop", "cluster": "prod-a", "starts_at": START, "resource": resource}
    return Fault.model_validate(plain | fields)


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("Pod", "api-7d9f6c5b4-x2x9z", "api"),
        ("pod", "api-7d9f6c5b4-x2x9z", "api"),
        ("Pod", "checkout-api-68bcc5f5dc-2vbnm", "checkout-api"),
        ("Pod", "db-0", "db"),
        ("Pod", "kafka-broker-12", "kafka-broker"),
        ("Pod", "node-exporter-x2x9z", "node-exporter"),
        ("Pod", "backup-28391820-zk4rq", "backup"),
        ("Pod", "migrate-x7k2p", "migrate"),
        ("Pod", "lonely", "lonely"),
        ("Pod", "my-first", "my-first"),  # Kubernetes' endings have no vowels
        ("ReplicaSet", "api-7d9f6c5b4", "api"),
        ("Job", "backup-28391820", "backup"),
        ("Job", "migrate", "migrate"),
        ("Deployment", "api-7d9f6c5b4", "api-7d9f6c5b4"),  # a name that a person chose
        ("Node", "worker-0", "worker-0"),
        ("PersistentVolumeClaim", "data-db-0", "data-db-0"),
        ("", "api-7d9f6c5b4-x2x9z", "api-7d9f6c5b4-x2x9z"),
    ],
)
def test_a_name_without_its_generated_ending_is_the_owner(kind: str, name: str, owner: str) -> None:
    assert owner_of(Resource(kind=kind, name=name)) == owner


@pytest.mark.parametrize(
    ("labels", "owner"),
    [
        ({"deployment": "api"}, "api"),
        ({"statefulset": "db"}, "db"),
        ({"daemonset": "agent"}, "agent"),
        ({"cronjob": "backup"}, "backup"),
        ({"job_name": "backup-28391820"}, "backup"),
        ({"job_name": "migrate"}, "migrate"),
        ({"replicaset": "api-7d9f6c5b4"}, "api"),
        ({"deployment": "api", "replicaset": "other-7d9f6c5b4"}, "api"),
        ({"job": "kube-state-metrics"}, "pod"),  # the scrape job, never a Kubernetes Job
        ({"service": "ksm", "instance": "10.0.0.1:8080"}, "pod"),
        ({"deployment": ""}, "pod"),
    ],
)
def test_a_label_that_names_a_workload_wins_over_the_pod(labels: dict, owner: str) -> None:
    pod = Resource(kind="Pod", namespace="shop", name="pod-7d9f6c5b4-x2x9z")

    assert owner_of(pod, labels) == owner


def test_the_owner_that_the_source_names_wins_over_all() -> None:
    pod = Resource(kind="Pod", name="a-7d9f6c5b4-x2x9z", owner="named")

    assert owner_of(pod, {"deployment": "other"}) == "named"


ALERT_LABELS = [
    ({"namespace": "shop", "deployment": "api"}, "resource/prod-a/shop/api"),
    ({"namespace": "shop", "statefulset": "db"}, "resource/prod-a/shop/db"),
    ({"namespace": "shop", "daemonset": "agent"}, "resource/prod-a/shop/agent"),
    ({"namespace": "shop", "replicaset": "api-7d9f6c5b4"}, "resource/prod-a/shop/api"),
    ({"namespace": "shop", "cronjob": "backup"}, "resource/prod-a/shop/backup"),
    ({"namespace": "shop", "job_name": "backup-28391820"}, "resource/prod-a/shop/backup"),
    ({"namespace": "shop", "pod": "api-7d9f6c5b4-x2x9z"}, "resource/prod-a/shop/api"),
    ({"namespace": "shop", "persistentvolumeclaim": "data-db-0"}, "resource/prod-a/shop/data-db-0"),
    ({"namespace": "shop", "horizontalpodautoscaler": "api"}, "resource/prod-a/shop/api"),
    ({"namespace": "shop", "poddisruptionbudget": "api"}, "resource/prod-a/shop/api"),
    ({"namespace": "shop", "resourcequota": "small"}, "resource/prod-a/shop/small"),
    ({"node": "worker-0"}, "resource/prod-a/-/worker-0"),
    ({"node": "worker-0", "namespace": "monitoring", "pod": "ksm-7d9f6c5b4-x2x9z", "job": "ksm"},
     "resource/prod-a/-/worker-0"),
    ({"namespace": "monitoring", "pod": "ksm-7d9f6c5b4-x2x9z", "exported_namespace": "shop",
      "exported_pod": "api-7d9f6c5b4-x2x9z"}, "resource/prod-a/shop/api"),
]  # fmt: skip


@pytest.mark.parametrize(("labels", "key"), ALERT_LABELS, ids=lambda found: str(found)[:60])
def test_an_alerts_labels_name_the_workload_it_is_folded_on(labels: dict, key: str) -> None:
    assert correlation_key(_of_alert(labels)) == key


def test_an_alert_that_names_nothing_is_folded_on_itself() -> None:
    found = _of_alert({"job": "prometheus"})

    assert correlation_key(found) == f"fingerprint/{found.fingerprint}"
    assert subject_name(found) == "Broken"


def _of_alert(labels: dict[str, str]) -> Fault:
    alert = {
        "status": "firing", "labels": {"alertname": "Broken", "severity": "critical"} | labels,
        "annotations": {}, "startsAt": "2026-11-21T10:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "", "fingerprint": "c1c1c1c1c1c1c1c1",
    }  # fmt: skip
    body = {
        "version": "4", "groupKey": "{}", "status": "firing", "receiver": "faultline",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "",
        "truncatedAlerts": 0, "alerts": [alert],
    }  # fmt: skip
    (found,) = faults(parse(json.dumps(body).encode()), cluster="prod-a", payload="")
    return found


def test_a_pod_and_its_deployment_meet() -> None:
    pod = Resource(kind="Pod", namespace="shop", name="api-7d9f6c5b4-x2x9z")
    deployment = Resource(kind="Deployment", namespace="shop", name="api")

    assert correlation_key(fault(pod)) == correlation_key(fault(deployment))
    assert subject_name(fault(pod)) == "api"


@pytest.mark.covers("INB-10")
def test_another_cluster_is_another_key_whatever_else_is_the_same() -> None:
    pod = Resource(kind="Pod", namespace="shop", name="api-7d9f6c5b4-x2x9z")
    same = {"condition": "f-1", "labels": {"a": "b"}}

    for resource in (pod, None):
        one, other = fault(resource, **same), fault(resource, **same, cluster="prod-b")
        assert correlation_key(one) != correlation_key(other)
        assert one.occurrence != other.occurrence


@given(st.text(min_size=1).filter(lambda t: t not in (".", "..")), st.text(max_size=20))
def test_a_key_has_four_parts_whatever_the_names_hold(name: str, namespace: str) -> None:
    if namespace in (".", ".."):
        return
    key = correlation_key(fault(Resource(kind="Pod", name=name, namespace=namespace, owner=name)))

    assert key.startswith("resource/prod-a/")
    assert len(key.split("/")) == 4
