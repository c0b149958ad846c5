"""The Kubernetes runner against an API server of batch/v1 over HTTP, with the official client."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from jobs_api import ApiServer, serving

from faultline import bootstrap, keys
from faultline.adapters.runners.job import JobTemplate, job
from faultline.adapters.runners.kubernetes import KubernetesRunner
from faultline.agent.__main__ import NEVER, TRY_AGAIN
from faultline.errors import Busy, Rejected, Unavailable
from faultline.model import JobState, Run
from faultline.settings import load

client = pytest.importorskip("kubernetes.client")

TEMPLATE = JobTemplate(
    image="faultline-agent:1", namespace="faultline-agents", store_url="s3://b", sink_url="http://s"
)

GATEWAY = "http://gateway.faultline.svc"
BEHIND = dataclasses.replace(
    TEMPLATE,
    gateway=GATEWAY,
    model=(("FAULTLINE_MODEL_PROVIDER", "groq"), ("FAULTLINE_MODEL_URL", "http://model:8000")),
)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as server:
        yield server


@pytest.fixture
def runner(server: ApiServer) -> Iterator[KubernetesRunner]:
    settings = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    settings.retries = False
    with client.ApiClient(settings) as connection:
        yield KubernetesRunner(TEMPLATE, api=client.BatchV1Api(connection))


def run(number: int = 1, deadline_s: int = 600) -> Run:
    return Run(
        incident_id="20261120-checkout-5c1e9b2a", number=number, engine="claude",
        deadline_s=deadline_s, capsule_sha256="0" * 64, cluster="prod-a", namespace="shop",
        created_at=dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC), cause={},
    )  # fmt: skip


def test_a_run_is_one_job_however_often_it_is_started(
    runner: KubernetesRunner, server: ApiServer
) -> None:
    for _ in range(3):
        runner.start(run())

    assert list(server.jobs) == ["20261120-checkout-5c1e9b2a-1"]
    assert runner.state(run()) is JobState.LIVE
    assert runner.live() == ["20261120-checkout-5c1e9b2a-1"]


def test_a_lost_answer_is_no_second_job(runner: KubernetesRunner, server: ApiServer) -> None:
    server.lose_next = True

    with pytest.raises(Unavailable):
        runner.start(run())
    runner.start(run())

    assert len(server.jobs) == 1


@pytest.mark.covers("IDM-05")
def test_a_job_of_that_name_which_is_another_one_is_refused(
    runner: KubernetesRunner, server: ApiServer
) -> None:
    runner.start(run())

    with pytest.raises(Rejected, match="is not the one that this run describes"):
        runner.start(run(deadline_s=60))

    assert len(server.jobs) == 1
    assert all(len(name) <= 63 for name in server.jobs)


@pytest.mark.parametrize("condition", ["Complete", "Failed"])
def test_an_ended_job_is_not_live(
    runner: KubernetesRunner, server: ApiServer, condition: str
) -> None:
    runner.start(run())
    server.end(run().id, condition)

    assert runner.state(run()) is JobState.ENDED
    assert runner.live() == []


def test_cancelling_deletes_the_job_and_may_be_repeated(
    runner: KubernetesRunner, server: ApiServer
) -> None:
    runner.start(run())

    runner.cancel(run())
    runner.cancel(run())

    assert runner.state(run()) is JobState.ABSENT


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, "InternalError", Unavailable),
        (403, "exceeded quota: agents", Busy),
        (403, "cannot create resource", Rejected),
        (422, "Invalid", Rejected),
    ],
)
def test_what_passes_is_tried_again_and_what_does_not_is_said(
    runner: KubernetesRunner, server: ApiServer, status: int, body: str, error: type[Exception]
) -> None:
    server.answers = [(status, body)]

    with pytest.raises(error):
        runner.start(run())

    assert server.jobs == {}


@pytest.mark.covers("ISO-02", "S1-022")
def test_the_job_has_no_more_power_than_it_needs() -> None:
    manifest = job(run(), TEMPLATE)
    spec, pod = manifest["spec"], manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (1, 3600)
    assert spec["activeDeadlineSeconds"] <= 900
    assert spec["activeDeadlineSeconds"] > run().deadline_s + 30
    ignored = [r for r in spec["podFailurePolicy"]["rules"] if r["action"] == "Ignore"]
    assert ignored[0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10_000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["limits"]) == {"cpu", "memory", "ephemeral-storage"}
    assert {kind for v in pod["volumes"] for kind in v if kind != "name"} == {
        "emptyDir",
        "projected",
    }


@pytest.mark.covers("S1-145")
def test_what_may_pass_is_tried_once_more_and_what_never_will_is_not() -> None:
    spec = job(run(), TEMPLATE)["spec"]
    by_code = [r for r in spec["podFailurePolicy"]["rules"] if "onExitCodes" in r]

    assert spec["backoffLimit"] == 1
    assert by_code == [
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [NEVER]}}
    ]  # so that of TRY_AGAIN counts as a failure that is tried again
    assert NEVER != TRY_AGAIN != 0


@pytest.mark.covers("S1-005", "S1-114", "S1-149")
def test_the_job_is_told_where_its_run_stands_and_no_secret() -> None:
    pod = job(run(), TEMPLATE)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = {item["name"]: item["value"] for item in container["env"]}

    assert told["FAULTLINE_RUN"] == keys.incident(run().incident_id, "runs/1/run.json")
    assert not [name for name in told if "KEY" in name or "TOKEN" in name]
    assert container["envFrom"] == [{"secretRef": {"name": "agent", "optional": True}}]
    assert "command" not in container


def test_a_job_without_a_gateway_is_to_the_byte_what_it_was_before_there_was_one() -> None:
    text = json.dumps(job(run(), TEMPLATE))

    assert hashlib.sha256(text.encode()).hexdigest().startswith("839e525cdc4545645af2613bb0843955")


def pod_of(template: JobTemplate) -> dict[str, Any]:
    pod: dict[str, Any] = job(run(), template)["spec"]["template"]["spec"]
    return pod


def tokens_of(pod: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return each token that is mounted, with the folder it lies in."""
    (container,) = pod["containers"]
    folder = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    return [
        (folder[volume["name"]], source["serviceAccountToken"])
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "serviceAccountToken" in source
    ]


@pytest.mark.covers("ISO-03")
def test_with_a_gateway_a_pod_holds_tokens_that_live_for_minutes_and_open_one_door() -> None:
    pod = pod_of(BEHIND)
    (container,) = pod["containers"]
    tokens = tokens_of(pod)
    doors = {(folder, t["path"]): t.get("audience") for folder, t in tokens}

    assert pod["automountServiceAccountToken"] is False  # it would live for an hour
    assert all(600 <= token["expirationSeconds"] <= 900 for _, token in tokens)
    assert doors == {
        ("/var/run/secrets/faultline", "token"): "faultline-gateway",
        ("/var/run/secrets/faultline", "model-token"): "faultline-model",
        ("/var/run/secrets/kubernetes.io/serviceaccount", "token"): None,  # the API server itself
    }
    folders = {folder for folder, _ in tokens}
    assert all(m["readOnly"] for m in container["volumeMounts"] if m["mountPath"] in folders)


@pytest.mark.covers("ISO-03")
def test_with_a_gateway_a_pod_knows_no_key_and_no_address_but_the_gateways() -> None:
    pod = pod_of(BEHIND)
    (container,) = pod["containers"]
    told = {item["name"]: item["value"] for item in container["env"]}
    text = json.dumps(job(run(), BEHIND))

    assert told["FAULTLINE_GATEWAY"] == GATEWAY
    assert told["FAULTLINE_STORE"] == f"gateway+{GATEWAY}"
    assert told["K_SINK"] == f"{GATEWAY}/events"
    assert told["FAULTLINE_MODEL_PROVIDER"] == "groq"
    assert "envFrom" not in container
    assert not {"secret", "csi", "hostPath"} & {kind for v in pod["volumes"] for kind in v}
    assert not [name for name in told if "KEY" in name or "TOKEN" in name or "SECRET" in name]
    direct = json.dumps(job(run(), dataclasses.replace(BEHIND, gateway="")))
    for hidden in ('"s3://b"', '"http://s"', '"http://model:8000"', "secretRef"):
        assert hidden in direct
        assert hidden not in text


def test_a_job_of_another_gateway_is_another_job() -> None:
    other = dataclasses.replace(BEHIND, gateway="http://other.faultline.svc")
    found = [job(run(), t)["metadata"]["annotations"] for t in (TEMPLATE, BEHIND, other, BEHIND)]

    assert found[1] == found[3]
    assert len({str(note) for note in found}) == 3


def test_the_setting_reaches_the_job_without_its_last_slash(monkeypatch: Any) -> None:
    given: list[JobTemplate] = []
    monkeypatch.setattr("faultline.adapters.runners.kubernetes.KubernetesRunner", given.append)
    for url in ("", f"{GATEWAY}/"):
        environment = {"FAULTLINE_JOB_IMAGE": "agent:1", "FAULTLINE_GATEWAY": url}
        bootstrap.runner(load(environment)[0])

    assert [template.gateway for template in given] == ["", GATEWAY]
