"""What a run and our own processes may be, and whom they reach: judged from the manifests."""
# ruff: noqa: E501

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from network_model import MANIFESTS, Pod, allowed
from pod_security import Values, violations

from faultline.adapters.runners.job import JobTemplate, job
from faultline.model import Run

ROOT = Path(__file__).resolve().parents[2]

# pods

GOOD: Values = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [{"name": "c", "image": "i", "securityContext": {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
    "initContainers": [{"name": "i", "image": "i", "securityContext": {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}],
}  # fmt: skip


def changed(*steps: str | int, to: Any) -> Values:
    """Return the good Pod with one place set."""
    spec = copy.deepcopy(GOOD)
    here: Any = spec
    for step in steps[:-1]:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    here[steps[-1]] = to
    return spec


def on(kind: str, *steps: str, to: Any) -> Values:
    return changed(kind, 0, "securityContext", *steps, to=to)


C, N, P = "containers", "initContainers", "securityContext"
BAD: list[tuple[str, Values]] = [
    *(("hostnamespaces", changed(f"host{kind}", to=True)) for kind in ("Network", "PID", "IPC")),
    ("hostpathvolumes", changed("volumes", to=[{"name": "v", "hostPath": {"path": "/"}}])),
    *(("restrictedvolumes", changed("volumes", to=[{"name": "v", kind: {}}]))
      for kind in ("hostPath", "nfs", "iscsi", "rbd", "cephfs", "glusterfs", "fc", "flexVolume",
                   "awsElasticBlockStore", "azureDisk", "gcePersistentDisk", "gitRepo", "cinder")),
    *(("hostports", changed(kind, 0, "ports", to=[{"containerPort": 1, "hostPort": 1}])) for kind in (C, N)),
    *(("privileged", on(kind, "privileged", to=True)) for kind in (C, N)),
    *(("allowprivilegeescalation", on(kind, "allowPrivilegeEscalation", to=to))
      for kind in (C, N) for to in (True, None)),
    *(("capabilities_restricted", on(kind, "capabilities", to=to)) for kind in (C, N)
      for to in ({}, {"drop": ["NET_RAW"]}, {"drop": ["ALL"], "add": ["CHOWN"]}, {"add": ["NET_BIND_SERVICE"]})),
    *(("capabilities_baseline", on(kind, "capabilities", to={"drop": ["ALL"], "add": ["SYS_ADMIN"]})) for kind in (C, N)),
    ("runasnonroot", changed(P, "runAsNonRoot", to=None)),
    ("runasnonroot", changed(P, "runAsNonRoot", to=False)),
    *(("runasnonroot", on(kind, "runAsNonRoot", to=False)) for kind in (C, N)),
    ("runasuser", changed(P, "runAsUser", to=0)),
    *(("runasuser", on(kind, "runAsUser", to=0)) for kind in (C, N)),
    ("seccompprofile_restricted", changed(P, "seccompProfile", to=None)),
    ("seccompprofile_baseline", changed(P, "seccompProfile", to={"type": "Unconfined"})),
    *(("seccompprofile_restricted", on(kind, "seccompProfile", to={"type": "Unconfined"})) for kind in (C, N)),
    ("selinuxoptions", changed(P, "seLinuxOptions", to={"type": "spc_t"})),
    ("selinuxoptions", on(C, "seLinuxOptions", to={"user": "system_u"})),
    ("selinuxoptions", on(N, "seLinuxOptions", to={"role": "x"})),
    ("procmount", on(C, "procMount", to="Unmasked")),
    ("sysctls", changed(P, "sysctls", to=[{"name": "kernel.msgmax", "value": "1"}])),
    ("windowshostprocess", changed(P, "windowsOptions", to={"hostProcess": True})),
    ("apparmorprofile", changed(P, "appArmorProfile", to={"type": "Unconfined"})),
    ("hostprobesandhostlifecycle", changed(C, 0, "livenessProbe", to={"httpGet": {"host": "169.254.169.254"}})),
    ("hostprobesandhostlifecycle", changed(C, 0, "lifecycle", to={"postStart": {"tcpSocket": {"host": "x"}}})),
]  # fmt: skip
ALSO_GOOD: list[Values] = [
    GOOD,
    on(C, "capabilities", to={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
    changed(P, "runAsUser", to=1000),
    changed(P, "seccompProfile", to={"type": "Localhost", "localhostProfile": "x"}),
    changed(P, "sysctls", to=[{"name": "net.ipv4.tcp_syncookies", "value": "1"}]),
    changed(P, "seLinuxOptions", to={"type": "container_t"}),
    changed("volumes", to=[{"name": "v", kind: {}} for kind in ("emptyDir", "secret", "projected")]),
    changed(C, 0, "ports", to=[{"containerPort": 8080}]),
    {"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": True}, "containers": [{"name": "c"}]},
]  # fmt: skip


@pytest.mark.covers("ISO-01")
def test_the_checker_finds_each_way_out_and_nothing_in_good_pods() -> None:
    assert [spec for spec in ALSO_GOOD if violations({}, spec)] == []
    missed = [(control, spec) for control, spec in BAD if control not in violations({}, spec)]

    assert len(BAD) >= 51
    assert missed == []


PUBLIC = ROOT.parent / "shared/data/pod-security/restricted/v1.37"


@pytest.mark.covers("ISO-01")
@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the public Pod Security files are not here")
def test_the_checker_judges_the_public_files_as_their_label_says() -> None:
    wrong = []
    files = sorted(PUBLIC.rglob("*.yaml"))
    for file in files:
        pod = yaml.safe_load(file.read_text("utf-8"))
        found = violations(pod["metadata"], pod["spec"])
        named = file.stem.rstrip("0123456789")
        if (named not in found) if file.parent.name == "fail" else found:
            wrong.append((file.name, found))

    assert len(files) == 66
    assert wrong == []


TEMPLATE = JobTemplate(image="faultline-agent", namespace="faultline-agents", store_url="s3://x",
                       sink_url="http://broker.example", grace_s=30)  # fmt: skip
BEHIND = dataclasses.replace(TEMPLATE, gateway="http://gateway.faultline.svc")


@pytest.mark.covers("ISO-01", "MAN-03")
def test_our_job_and_every_pod_of_ours_is_restricted() -> None:
    run = Run(
        incident_id="20261121-api-5c1e9b2a", number=1, engine="claude", capsule_sha256="0" * 64,
        deadline_s=600, cause={}, created_at="2026-11-21T10:00:00Z",
    )  # fmt: skip
    jobs = [job(run, template)["spec"]["template"] for template in (TEMPLATE, BEHIND)]
    pods = [(made["metadata"], made["spec"]) for made in jobs]
    for manifest in MANIFESTS:
        if manifest["kind"] == "Deployment" or manifest["apiVersion"].startswith("serving."):
            made = manifest["spec"]["template"]
            pods.append((made.get("metadata", {}), made["spec"]))

    assert len(pods) == 12
    assert [violations(*pod) for pod in pods] == [set()] * len(pods)


# the network


def one(name: str) -> Pod:
    return Pod(name, "faultline")


AGENT = Pod("agent", "faultline-agents")
DNS, BROKER = Pod("coredns", "kube-system"), Pod("broker-ingress", "knative-eventing")
SERVING, PROMETHEUS = Pod("activator", "knative-serving"), Pod("alertmanager", "monitoring")
SHOP = Pod("api", "shop")
INGRESS = Pod("traefik", "edge", **{"faultline.dev/ingress": "true"})
WEB_API, METADATA, STORE = "203.0.113.9", "169.254.169.254", "10.0.0.9"
API, API6, WEB_API6 = "10.0.0.1", "fd12:3456::1", "2001:db8::9"  # the API server; somebody outside
MINIO, OLLAMA = Pod("minio", "storage"), Pod("ollama", "models")
OUT, IN = "Egress", "Ingress"
FLOWS: list[tuple[str, Pod, Pod | str, int, bool]] = [
    # a run
    (OUT, AGENT, one("gateway"), 8080, True), (OUT, AGENT, SHOP, 443, True),  # whoever is there, until the ranges are narrowed
    (OUT, AGENT, API, 443, True), (OUT, AGENT, API, 6443, True), (OUT, AGENT, API6, 6443, True),
    (OUT, AGENT, "172.20.0.1", 443, True), (OUT, AGENT, "192.168.0.1", 6443, True), (OUT, AGENT, "100.64.0.1", 443, True),
    (OUT, AGENT, DNS, 53, True), (OUT, AGENT, BROKER, 80, False), (OUT, AGENT, BROKER, 8080, False),
    (OUT, AGENT, WEB_API, 443, False), (OUT, AGENT, WEB_API6, 443, False), (OUT, AGENT, WEB_API, 6443, False),
    (OUT, AGENT, STORE, 9000, False), (OUT, AGENT, MINIO, 9000, False), (OUT, AGENT, WEB_API, 9000, False),
    (OUT, AGENT, OLLAMA, 11434, False), (OUT, AGENT, "172.32.0.1", 443, False), (OUT, AGENT, "100.100.100.200", 443, False),
    (OUT, AGENT, "fd00:ec2::254", 443, False), (OUT, AGENT, one("gateway"), 80, False), (OUT, AGENT, one("launch"), 8080, False),
    (OUT, AGENT, METADATA, 80, False), (OUT, AGENT, METADATA, 443, False), (OUT, AGENT, WEB_API, 80, False),
    (OUT, AGENT, WEB_API, 22, False), (OUT, AGENT, WEB_API, 53, False), (OUT, AGENT, WEB_API, 25, False),
    (OUT, AGENT, SHOP, 5432, False), (OUT, AGENT, one("bridge"), 8080, False),
    (OUT, AGENT, one("web"), 8080, False), (OUT, AGENT, SHOP, 53, False),
    (IN, AGENT, SHOP, 8080, False), (IN, AGENT, one("launch"), 8080, False), (IN, AGENT, AGENT, 8080, False),
    # the gateway
    (IN, one("gateway"), AGENT, 8080, True), (IN, one("gateway"), AGENT, 9090, False),
    (IN, one("gateway"), SHOP, 8080, False), (IN, one("gateway"), INGRESS, 8080, False),
    (IN, one("gateway"), one("web"), 8080, False), (IN, one("gateway"), BROKER, 8080, False),
    (IN, one("gateway"), PROMETHEUS, 8080, False), (IN, one("gateway"), Pod("gateway", "shop"), 8080, False),
    (OUT, one("gateway"), WEB_API, 443, True), (OUT, one("gateway"), STORE, 9000, True),
    (OUT, one("gateway"), BROKER, 80, True), (OUT, one("gateway"), API, 6443, True),
    (OUT, one("gateway"), METADATA, 80, False), (OUT, one("gateway"), METADATA, 443, False),
    (OUT, one("gateway"), WEB_API, 22, False), (OUT, one("gateway"), SHOP, 8080, False),
    (OUT, one("gateway"), OLLAMA, 11434, False),  # with options/model-in-cluster
    # the bridge
    (IN, one("bridge"), PROMETHEUS, 8080, True), (IN, one("bridge"), BROKER, 8080, True),
    (IN, one("bridge"), SHOP, 8080, False), (IN, one("bridge"), PROMETHEUS, 9090, False),
    (IN, one("bridge"), AGENT, 8080, False),
    (OUT, one("bridge"), BROKER, 80, True), (OUT, one("bridge"), SHOP, 8080, True),
    (OUT, one("bridge"), SHOP, 5432, False), (OUT, one("bridge"), METADATA, 80, False),
    # the steps
    (IN, one("triage"), SERVING, 8012, True), (IN, one("triage"), BROKER, 8080, True),
    (IN, one("triage"), SHOP, 8012, False), (IN, one("package"), AGENT, 8080, False),
    (OUT, one("context"), STORE, 6443, True), (OUT, one("triage"), STORE, 6443, False),
    (OUT, one("package"), WEB_API, 443, True), (OUT, one("package"), WEB_API, 587, False),
    (OUT, one("triage"), BROKER, 80, False), (OUT, one("launch"), METADATA, 443, False),
    # the console
    (IN, one("web"), INGRESS, 8080, True), (IN, one("web"), SHOP, 8080, False),
    (IN, one("web"), AGENT, 8080, False), (OUT, one("web"), SHOP, 8080, False),
    (OUT, one("web"), BROKER, 80, True), (OUT, one("web"), METADATA, 80, False),
]  # fmt: skip


@pytest.mark.covers("ISO-05")
def test_the_policies_let_through_what_the_table_says_and_nothing_else() -> None:
    wrong = [
        (way, ours.labels, other if isinstance(other, str) else other.labels, port)
        for way, ours, other, port, wanted in FLOWS
        if allowed(way, ours, other, port) is not wanted
    ]

    assert len(FLOWS) >= 40
    assert wrong == []


@pytest.mark.covers("ISO-05")
@pytest.mark.parametrize("namespace", ["faultline", "faultline-agents"])
def test_a_pod_that_no_rule_knows_reaches_nothing_but_what_all_may(namespace: str) -> None:
    stranger = Pod("stranger", namespace)

    for port in (22, 25, 80, 5432, 8080):
        assert not allowed(IN, stranger, SHOP, port)
        assert not allowed(OUT, stranger, SHOP, port)
        assert not allowed(OUT, stranger, WEB_API, port)
