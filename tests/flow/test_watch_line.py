"""A pod that crash loops becomes a branch, and its recovery a verified end: the whole line, real.

`faultline dev` as a process of its own, an API server on loopback that the official client finds
by KUBECONFIG, a Git repository on disk. The recorded cluster is what the evidence comes from.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_api import KubeApi, kubeconfig
from line_process import ROOT, LineProcess, disposed, until

from faultline.model import ClosedBecause, Status

CASE = ROOT / "examples/clusters/memory/objects"
KINDS = ("pods", "deployments", "nodes")


def recorded() -> Iterator[Any]:
    for name in KINDS:
        text = (CASE / f"{name}.yaml").read_text("utf-8")
        yield from yaml.load(text, Loader=yaml.CSafeLoader)["items"]


def moment() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def server() -> Iterator[KubeApi]:
    made = KubeApi(token="hush")
    yield made
    made.stop()


def rolled_out(server: KubeApi) -> None:
    """What a GitOps controller and the Deployment's do once the change is merged."""
    pods = [o for (kind, _, _), o in list(server.objects.items()) if kind == "Pod"]
    old = [pod for pod in pods if pod["metadata"]["name"].startswith("checkout-")]
    fresh = json.loads(json.dumps(old[0]))
    fresh["metadata"] |= {"name": "checkout-5d8f6c7b9-aaaaa", "uid": "fresh"}
    fresh["metadata"]["labels"]["pod-template-hash"] = "5d8f6c7b9"
    fresh["metadata"]["ownerReferences"][0]["name"] = "checkout-5d8f6c7b9"
    for found in fresh["status"]["conditions"]:
        found |= {"status": "True", "lastTransitionTime": moment()}
    fresh["status"]["containerStatuses"][0] |= {
        "state": {"running": {"startedAt": moment()}},
        "lastState": {},
        "restartCount": 0,
        "ready": True,
    }
    server.put(fresh)
    for pod in old:
        server.delete("Pod", "shop", pod["metadata"]["name"])
    deployment = json.loads(json.dumps(server.objects["Deployment", "shop", "checkout"]))
    deployment["status"] |= {"unavailableReplicas": 0, "availableReplicas": 2}
    deployment["status"]["conditions"][0] |= {"status": "True", "lastTransitionTime": moment()}
    server.put(deployment)


@pytest.mark.covers("S3-15")
def test_a_crash_loop_seen_by_the_watch_becomes_a_branch_and_a_verified_end(
    server: KubeApi, tmp_path: Path
) -> None:
    for item in recorded():
        if item["kind"] == "Node" or item["metadata"]["name"].startswith("checkout"):
            server.put(item)
    line = LineProcess(
        tmp_path / "line",
        KUBECONFIG=str(kubeconfig(tmp_path, server)),
        FAULTLINE_WATCH="1",
        FAULTLINE_WATCH_CLEAR="2",
        FAULTLINE_QUIET="1",
    )
    with disposed(line):
        line.start()
        incidents = line.incidents()
        until(lambda: line.branches(), 60, "a branch is proposed")
        (id,) = incidents.ids()
        assert incidents.incident(id).key == "resource/prod-a/shop/checkout"
        until(lambda: incidents.status(id) is Status.PACKAGED, 30, "people were told")
        diagnosis = incidents.diagnosis(id, 1)
        assert diagnosis is not None
        assert "memory" in diagnosis.root_cause.lower()
        assert incidents.result(id, 1).engine == "analyzers"  # type: ignore[union-attr]
        names = {fault.name for fault, _ in incidents.faults(id).values()}
        assert {"CrashLoop", "OOMKilled", "UnavailableReplicas"} <= names

        (branch,) = line.branches()
        line.git("merge", "--quiet", "--no-ff", "--message", "A person merges it", branch)
        rolled_out(server)

        until(lambda: incidents.closed(id), 60, "the incident is closed")
        closed = incidents.closed(id)
        assert closed is not None
        assert closed.because is ClosedBecause.VERIFIED
        until(lambda: incidents.verification(id), 30, "the fix is verified")
        said = line.said()

    assert len(list(line.incidents().ids())) == 1
    assert '"message": "fault detected"' in said
    assert "hush" not in said
    assert not [path for path, _ in server.asked if "secrets" in path or path.endswith("/log")]
