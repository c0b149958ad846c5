"""What is gathered around a connection, a route, a certificate: enough for the analyzers' proof."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_sources_live import Api

from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.live import LiveCluster
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.capsule import Capsule
from faultline.diagnosis import diagnose
from faultline.errors import Rejected
from faultline.model import Fault, Incident, Resource, Verdict

START = dt.datetime(2026, 11, 21, 10, 15, tzinfo=dt.UTC)
LABELS = {"app": "checkout"}


def thing(kind: str, name: str, space: str = "shop", **fields: Any) -> dict[str, Any]:
    meta = {"name": name} | ({"namespace": space} if space else {}) | fields.pop("metadata", {})
    return {"kind": kind, "metadata": meta, **fields}


def workload(*, ready: bool = False, **spec: Any) -> list[dict[str, Any]]:
    template = {"containers": [{"name": "app", "image": "x:1"}], **spec}
    owner = [{"kind": "StatefulSet", "name": "checkout", "controller": True}]
    status = {"containerStatuses": [{"name": "app", "ready": ready, "state": {"running": {}}}]}
    meta = {"labels": LABELS, "ownerReferences": owner}
    return [
        thing("StatefulSet", "checkout", spec={
            "template": {"metadata": {"labels": LABELS}, "spec": template}}),
        thing("Pod", "checkout-0", metadata=meta, spec=template, status=status),
        thing("Service", "checkout", spec={"selector": LABELS, "ports": [{"port": 80}]}),
    ]  # fmt: skip


def database(space: str = "data") -> list[dict[str, Any]]:
    labels = {"app": "ledger"}
    env = [{"name": "PGUSER", "value": "of-no-concern"}]
    container = {"name": "pg", "ports": [{"containerPort": 5432}], "env": env}
    status = {"podIP": "10.1.0.9", "containerStatuses": [{"name": "pg", "ready": True}]}
    return [
        thing("Service", "ledger", space, spec={
            "clusterIP": "10.96.7.7", "selector": labels, "ports": [{"port": 5432}]}),
        thing("Pod", "ledger-0", space, metadata={"labels": labels},
              spec={"containers": [container]}, status=status),
        thing("Pod", "backup-0", space, metadata={"labels": {"app": "backup"}}),
        thing("Service", "checkout", space, spec={"selector": {"app": "backup"}}),
        *(thing("Namespace", n, "", metadata={"labels": {"team": n}}) for n in ("shop", space)),
    ]  # fmt: skip


def recorded(folder: Path, objects: Sequence[dict[str, Any]], *log: str) -> RecordedCluster:
    (folder / "objects").mkdir(parents=True)
    (folder / "objects/all.yaml").write_text(yaml.safe_dump_all(objects))
    (folder / "logs/shop/checkout-0").mkdir(parents=True)
    (folder / "logs/shop/checkout-0/app.log").write_text("".join(f"{line}\n" for line in log))
    return RecordedCluster(folder)


def gathered(
    cluster: Any, *, kind: str = "StatefulSet", name: str = "checkout"
) -> dict[str, bytes]:
    resource = Resource(kind=kind, name=name, namespace="shop")
    fault = Fault(name="KubePodNotReady", cluster="prod-a", resource=resource, starts_at=START)
    incident = Incident(id="20261121-x-00000000", key="k", fault=fault, opened_at=START)
    files = dict(ClusterSource(cluster).collect(incident))
    return files | {"context/incident.json": incident.model_dump_json().encode()}


def verdict(files: dict[str, bytes]) -> Verdict:
    return diagnose(Capsule(files))


def said(answer: Verdict) -> list[str]:
    return [f"{f.analyzer} {f.certainty.value}" for f in answer.findings]


def names(files: dict[str, bytes], kind: str) -> set[str]:
    start = f"context/objects/{kind}/"
    return {n.removeprefix(start).removesuffix(".yaml") for n in files if n.startswith(start)}


def guarded() -> list[dict[str, Any]]:
    allowed = {"namespaceSelector": {"matchLabels": {"team": "shops"}}}
    policy = {"podSelector": {}, "ingress": [{"from": [allowed]}]}
    guard = thing("NetworkPolicy", "guard", "data", spec=policy)
    return [*workload(), *database(), guard]


TIMED_OUT = "error: dial tcp 10.96.7.7:5432: i/o timeout"


@pytest.mark.parametrize("live", [False, True], ids=["recorded", "live"])
def test_a_connection_that_a_policy_drops_is_proved_from_the_cluster_on(
    tmp_path: Path, live: bool
) -> None:
    cluster: Any = recorded(tmp_path, guarded(), TIMED_OUT)
    files = gathered(LiveCluster(Api(cluster)) if live else cluster)

    answer = verdict(files)

    assert said(answer) == ["network_policy.denied proved"]
    assert answer.proved
    assert "team=shops; the label is team=shop" in answer.findings[0].statement


def test_an_object_of_another_namespace_has_its_namespace_in_its_name(tmp_path: Path) -> None:
    files = gathered(recorded(tmp_path, guarded(), TIMED_OUT))

    assert names(files, "service") == {"checkout", "data~ledger"}
    assert names(files, "pod") == {"checkout-0", "data~ledger-0"}
    assert names(files, "namespace") == {"shop", "data"}
    info = json.loads(files["context/cluster-info.json"])["involvedResources"]
    roles = {(r["kind"], r["namespace"], r["name"]): r["role"] for r in info}
    assert roles["Service", "data", "ledger"] == roles["Pod", "data", "ledger-0"] == "peer"


def test_of_others_neither_logs_nor_variables_are_kept(tmp_path: Path) -> None:
    cluster = recorded(tmp_path, [*workload(), *database("shop")], TIMED_OUT)
    other = tmp_path / "logs/shop/ledger-0"
    other.mkdir()
    (other / "pg.log").write_text("ready to accept connections\n")

    files = gathered(cluster)

    assert "ledger-0" in names(files, "pod")
    assert b"ready to accept" not in files["context/logs.txt"]
    assert b"of-no-concern" not in b"".join(files.values())


class Asked:
    """A cluster that notes what it is asked for."""

    name = "asked"

    def __init__(self, cluster: RecordedCluster, *refused: str) -> None:
        self.cluster, self.refused = cluster, refused
        self.kinds: list[tuple[str, str]] = []
        self.logs: list[str] = []

    def objects(self, kind: str, namespace: str = "") -> Sequence[Any]:
        self.kinds.append((kind, namespace))
        if kind in self.refused:
            raise Rejected(f"{kind}: this service account may not read that")
        return self.cluster.objects(kind, namespace)

    def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int
    ) -> str | None:
        self.logs.append(f"{pod}/{container}/{previous}")
        return self.cluster.log(namespace, pod, container, previous=previous)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cluster, name)


def test_without_trouble_in_the_logs_nobody_else_is_asked_about(tmp_path: Path) -> None:
    cluster = Asked(recorded(tmp_path, guarded(), "listening on :8080"))

    gathered(cluster)

    assert {space for _, space in cluster.kinds} <= {"shop", ""}
    assert "Namespace" not in {kind for kind, _ in cluster.kinds}


def test_each_list_and_each_log_is_read_once(tmp_path: Path) -> None:
    cluster = Asked(recorded(tmp_path, guarded(), TIMED_OUT))

    gathered(cluster)

    assert len(cluster.kinds) == len(set(cluster.kinds))
    assert len(cluster.logs) == len(set(cluster.logs)) == 2


@pytest.mark.parametrize("kind", ["NetworkPolicy", "CiliumClusterwideNetworkPolicy", "Namespace"])
def test_what_may_not_be_read_is_not_taken_for_nothing(tmp_path: Path, kind: str) -> None:
    answer = verdict(gathered(Asked(recorded(tmp_path, guarded(), TIMED_OUT), kind)))

    assert not answer.proved


def test_what_may_not_be_read_is_not_said_to_be_missing(tmp_path: Path) -> None:
    route = thing("HTTPRoute", "web", spec={
        "parentRefs": [{"name": "public", "namespace": "edge"}],
        "rules": [{"backendRefs": [{"name": "checkout", "port": 80}]}]})  # fmt: skip
    objects = [*workload(ready=True), route]

    seen = gathered(recorded(tmp_path / "a", objects))
    refused = gathered(Asked(recorded(tmp_path / "b", objects), "Gateway"))

    assert said(verdict(seen)) == ["gateway.gateway-missing proved"]
    assert said(verdict(refused)) == []


def test_an_ingress_to_a_service_with_a_typo_is_found_by_its_likeness(tmp_path: Path) -> None:
    backend = {"service": {"name": "chekout", "port": {"number": 80}}}
    other = {"service": {"name": "newsletter", "port": {"number": 80}}}
    objects = [
        *workload(ready=True),
        thing("Ingress", "web", spec={"ingressClassName": "ngnix", "defaultBackend": backend}),
        thing("Ingress", "mail", spec={"defaultBackend": other}),
        thing("IngressClass", "nginx", ""),
    ]

    files = gathered(recorded(tmp_path, objects))

    assert names(files, "ingress") == {"web"}
    assert said(verdict(files)) == [
        "ingress.class-missing proved",
        "ingress.service-missing proved",
    ]


@pytest.mark.parametrize(
    ("kind", "name"), [("Ingress", "web"), ("Service", "checkout"), ("HTTPRoute", "web")]
)
def test_from_a_way_in_the_workload_behind_it_is_looked_at(
    tmp_path: Path, kind: str, name: str
) -> None:
    backend = {"service": {"name": "checkout", "port": {"number": 81}}}
    refs = [{"backendRefs": [{"name": "checkout", "port": 81}]}]
    objects = [
        *workload(ready=True),
        thing("Ingress", "web", spec={"ingressClassName": "nginx", "defaultBackend": backend}),
        thing("IngressClass", "nginx", ""),
        thing("HTTPRoute", "web", spec={"rules": refs}),
    ]

    files = gathered(recorded(tmp_path, objects), kind=kind, name=name)

    first = json.loads(files["context/cluster-info.json"])["involvedResources"][0]
    assert (first["kind"], first["name"]) == ("StatefulSet", "checkout")
    assert said(verdict(files)) == ["gateway.port-missing proved", "ingress.port-missing proved"]


def test_a_name_of_one_pod_of_a_set_leads_to_its_service(tmp_path: Path) -> None:
    line = "error: dial tcp ledger-0.ledger.data.svc.cluster.local:5432: i/o timeout"

    assert said(verdict(gathered(recorded(tmp_path, guarded(), line)))) == [
        "network_policy.denied proved"
    ]


def test_services_with_nearly_the_name_that_is_unknown_are_gathered(tmp_path: Path) -> None:
    env = [{"name": "DB", "value": "postgres://ledgr:5432/x"}]
    template = {"containers": [{"name": "app", "image": "x:1", "env": env}]}
    objects = [*workload(**template), *database("shop")]
    unknown = "error: dial tcp: lookup ledgr on 10.96.0.10:53: no such host"

    answer = verdict(gathered(recorded(tmp_path, objects, unknown)))

    assert said(answer) == ["names.unknown-host proved"]
    assert [c.after for c in answer.findings[0].changes] == ["postgres://ledger:5432/x"]


def test_a_namespace_that_is_not_there_is_noted(tmp_path: Path) -> None:
    env = [{"name": "DB", "value": "postgres://ledger.dta.svc:5432/x"}]
    template = {"containers": [{"name": "app", "image": "x:1", "env": env}]}
    unknown = "error: dial tcp: lookup ledger.dta.svc on 10.96.0.10:53: no such host"

    answer = verdict(gathered(recorded(tmp_path, [*workload(**template), *database()], unknown)))

    assert said(answer) == ["names.other-namespace proved"]


def test_dns_is_gathered_with_all_that_may_keep_the_pods_from_it(tmp_path: Path) -> None:
    dns = thing("Service", "kube-dns", "kube-system", spec={
        "clusterIP": "10.96.0.10", "selector": {"k8s-app": "kube-dns"},
        "ports": [{"port": 53, "protocol": "UDP"}]})  # fmt: skip
    status = {"containerStatuses": [{"name": "coredns", "ready": True}]}
    pod = thing("Pod", "coredns-0", "kube-system", metadata={"labels": {"k8s-app": "kube-dns"}},
                spec={"containers": [{"name": "coredns"}]}, status=status)  # fmt: skip
    policy = {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
              "policyTypes": ["Egress"]}  # fmt: skip
    closed = thing("NetworkPolicy", "closed", spec=policy)
    spaces = [thing("Namespace", n, "") for n in ("shop", "kube-system")]
    unanswered = "lookup x on 10.96.0.10:53: read udp 10.1.0.5:4711->10.96.0.10:53: i/o timeout"

    files = gathered(recorded(tmp_path, [*workload(), dns, pod, closed, *spaces], unanswered))

    assert said(verdict(files)) == ["network_policy.dns-blocked proved"]


def test_certificates_are_found_by_the_secret_and_by_the_host(tmp_path: Path) -> None:
    volume = {"name": "tls", "secret": {"secretName": "own-tls"}}
    own = thing("Certificate", "own", spec={"secretName": "own-tls"})
    peer = thing("Certificate", "peer", "data", spec={"dnsNames": ["ledger.data.svc"]},
                 status={"notAfter": "2026-11-20T08:00:00Z"})  # fmt: skip
    other = thing("Certificate", "other", "data", spec={"dnsNames": ["mail.data.svc"]})
    line = (
        'Get "https://ledger.data.svc/": tls: failed to verify certificate: x509: certificate has '
        "expired or is not yet valid: current time 2026-11-21T10:00:00Z is after "
        "2026-11-20T08:00:00Z"
    )

    files = gathered(recorded(tmp_path, [*workload(volumes=[volume]), own, peer, other], line))

    assert names(files, "certificate") == {"own", "data~peer"}
    assert said(verdict(files)) == ["certificates.expired proved"]


def test_an_api_that_is_down_is_shown_to_an_autoscaler_without_measurements(tmp_path: Path) -> None:
    def api(name: str, status: str) -> dict[str, Any]:
        return thing("APIService", name, "", status={
            "conditions": [{"type": "Available", "status": status}]})  # fmt: skip

    scaler = thing("HorizontalPodAutoscaler", "checkout",
                   spec={"scaleTargetRef": {"name": "checkout"}},
                   status={"conditions": [{"type": "ScalingActive", "status": "False"}]},
    )  # fmt: skip
    objects = [*workload(), scaler, api("v1beta1.metrics.k8s.io", "False"), api("v1.apps", "True")]

    files = gathered(recorded(tmp_path, objects))

    assert names(files, "apiservice") == {"v1beta1.metrics.k8s.io"}
