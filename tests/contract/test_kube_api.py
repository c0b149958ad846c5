"""One body over our fake of an API server and a real one: what the watch rests on holds for both.

The real one is KUBECONFIG's; it is written to in a namespace of its own, so it has to be asked for:
`pytest -m cluster tests/contract/test_kube_api.py`. Without a KUBECONFIG it is skipped.
"""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from kube_api import KubeApi, kubeconfig

from faultline.adapters import kubeconfig as config
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.intake import Intake
from faultline.bridge.watch.board import Board
from faultline.bridge.watch.occurrences import Occurrences
from faultline.bridge.watch.symptoms import Rules
from faultline.bridge.watch.watcher import Pace, Scope, Watcher, scopes
from faultline.event import Event

NAMESPACE = f"faultline-test-{uuid.uuid4().hex[:8]}"
IMAGE = "registry.invalid/none:1"
IMAGES = {"image": IMAGE, "imageID": ""}


class Cluster(Protocol):
    wait_s: float

    def create(self, name: str) -> None:
        """Make a pod whose image cannot be had, and let its kubelet say so."""
        ...

    def delete(self, name: str) -> None: ...


def pod(name: str) -> dict[str, Any]:
    container = {"name": "app", "image": IMAGE}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "faultline-test"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


class Fake:
    wait_s = 15.0

    def __init__(self, server: KubeApi) -> None:
        self.server = server

    def create(self, name: str) -> None:
        made = self.server.put(pod(name))
        waiting = {"name": "app", "state": {"waiting": {"reason": "ErrImagePull"}}}
        made["status"] = {
            "phase": "Pending",
            "startTime": dt.datetime.now(dt.UTC).isoformat(),
            "containerStatuses": [waiting | {"restartCount": 0, "ready": False} | IMAGES],
        }
        self.server.put(made)

    def delete(self, name: str) -> None:
        self.server.delete("Pod", NAMESPACE, name)


class Real:
    wait_s = 120.0

    def __init__(self) -> None:
        self.api = config.load().CoreV1Api()
        self.api.create_namespace({"metadata": {"name": NAMESPACE}})

    def create(self, name: str) -> None:
        self.api.create_namespaced_pod(NAMESPACE, pod(name))

    def delete(self, name: str) -> None:
        self.api.delete_namespaced_pod(name, NAMESPACE, grace_period_seconds=0)

    def close(self) -> None:
        self.api.delete_namespace(NAMESPACE)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def cluster(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    if request.param == "real":
        if not os.environ.get("KUBECONFIG"):
            pytest.skip("KUBECONFIG names no cluster; the fake has shown what it can")
        real = Real()
        yield real
        real.close()
        return
    server = KubeApi(token="hush")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    yield Fake(server)
    server.stop()


class Listening:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.events.append(event)

    def said(self, name: str) -> list[str]:
        told = [event for event in self.events if event.data["resource"]["name"] == name]
        return [f"{event.data['name']} {event.type.split('.')[3]}" for event in told]


@pytest.fixture
def watch(cluster: Cluster) -> Iterator[Callable[..., tuple[Listening, list[Watcher]]]]:
    api, made = config.api(), []

    def start(found: list[Scope]) -> tuple[Listening, list[Watcher]]:
        sink, store = Listening(), MemoryStore()
        intake = Intake(sink=sink, store=store, cluster="c", clock=lambda: dt.datetime.now(dt.UTC))
        board, occurrences = Board("c", Rules(clear_s=0)), Occurrences(store, "c")
        pace = Pace(watch_s=2, silence_s=30, tick_s=0.1)
        for scope in found:
            watcher = Watcher(scope, api, board, occurrences, intake, pace=pace)
            made.append((watcher, watcher.start()))
        return sink, [watcher for watcher, _ in made]

    yield start
    for watcher, _ in made:
        watcher.stop.set()
    for _, thread in made:
        thread.join(15)
    api.close()


def until(condition: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_pod_is_seen_to_break_and_to_go_over_watches_that_end(cluster: Any, watch: Any) -> None:
    sink, (watcher,) = watch([Scope("Pod", NAMESPACE, "app=faultline-test")])
    until(lambda: watcher.status.connected, cluster.wait_s)

    cluster.create("typo")
    until(lambda: "ImagePull detected" in sink.said("typo"), cluster.wait_s)
    until(lambda: watcher.status.connects_total >= 3, cluster.wait_s)  # resumed, not listed anew
    cluster.delete("typo")
    until(lambda: "ImagePull cleared" in sink.said("typo"), cluster.wait_s)

    assert sink.said("typo") == ["ImagePull detected", "ImagePull cleared"]
    assert watcher.status.last_error == ""


def test_every_kind_is_watched_or_says_why_not(cluster: Any, watch: Any) -> None:
    _, watchers = watch(list(scopes([NAMESPACE])))
    known = ("connected", "not_installed", "not_allowed")

    until(lambda: all(watcher.status.state in known for watcher in watchers), cluster.wait_s)

    states = {watcher.scope.kind: watcher.status.state for watcher in watchers}
    assert states["Pod"] == "connected"


def test_a_version_of_long_ago_is_gone_and_everything_is_listed(cluster: Any, watch: Any) -> None:
    cluster.create("typo")
    sink, (watcher,) = watch([Scope("Pod", NAMESPACE)])
    until(lambda: watcher.status.connected, cluster.wait_s)
    before = watcher.status.connects_total

    watcher._version = "1"
    until(lambda: watcher.status.connects_total >= before + 2, cluster.wait_s)
    until(lambda: "ImagePull detected" in sink.said("typo"), cluster.wait_s)

    assert sink.said("typo") == ["ImagePull detected"]
    assert int(watcher._version) > 1


def test_the_official_client_sees_what_we_see(cluster: Any, watch: Any) -> None:
    """For the fake: that it speaks as a server does, to someone who was not made with it."""
    from kubernetes.watch import Watch

    cluster.create("typo")
    api = config.load().CoreV1Api()

    listed = api.list_namespaced_pod(NAMESPACE, label_selector="app=faultline-test")
    version = listed.metadata.resource_version
    cluster.delete("typo")
    stream = Watch().stream(
        api.list_namespaced_pod, NAMESPACE, resource_version=version, timeout_seconds=3
    )
    said = next(event for event in stream if event["type"] == "DELETED")
    api.api_client.close()

    assert [item.metadata.name for item in listed.items] == ["typo"]
    assert said["object"].metadata.name == "typo"
