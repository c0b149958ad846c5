"""The watch over real HTTP: an API server that ends, forgets, refuses, falls silent and is cut."""

from __future__ import annotations

import datetime as dt
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kube_api import KubeApi, kubeconfig

from faultline.adapters.kubeconfig import Api
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.intake import Intake
from faultline.bridge.watch.board import Board
from faultline.bridge.watch.occurrences import Occurrences
from faultline.bridge.watch.symptoms import Rules
from faultline.bridge.watch.watcher import Lines, Pace, Scope, Watcher, scopes
from faultline.doors import bridge_readings, doors_of, followers
from faultline.errors import Rejected, TooLarge, Unavailable
from faultline.event import Event
from faultline.redact import redact
from faultline.settings import Settings, load

ROOT = Path(__file__).resolve().parents[2]
NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
TEXT = (ROOT / "examples/watch/objects.yaml").read_text("utf-8")
ITEMS = yaml.load(TEXT, Loader=yaml.CSafeLoader)["items"]
QUICK = Pace(watch_s=30, silence_s=5, tick_s=0.02)


def pod(name: str, *, crashing: bool = True, uid: str = "", **labels: str) -> Any:
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    running = {"running": {"startedAt": "2026-11-21T09:59:59Z"}}
    ready = {"type": "Ready", "status": str(not crashing)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "uid": uid, "labels": labels},
        "status": {
            "phase": "Running",
            "conditions": [ready | {"lastTransitionTime": "2026-11-21T09:59:59Z"}],
            "containerStatuses": [
                {
                    "name": "app",
                    "state": waiting if crashing else running,
                    "lastState": {"terminated": {"finishedAt": "2026-11-21T09:59:00Z"}},
                    "restartCount": 1,
                    "ready": not crashing,
                }
            ],
        },
    }


class Listening:
    """A sink that keeps what came, and may refuse for a while."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failures: list[Exception] = []

    def send(self, event: Event) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.events.append(event)

    def told(self, what: str = "detected") -> list[str]:
        return [e.data["resource"]["name"] for e in self.events if f".{what}." in e.type]


class Bridge:
    """The watchers of one bridge, with its sink and a clock that the test moves."""

    def __init__(
        self,
        server: KubeApi,
        *,
        store: MemoryStore | None = None,
        kinds: tuple[str, ...] = ("Pod",),
        pace: Pace = QUICK,
        rules: Rules | None = None,
        scoped: list[Scope] | None = None,
    ) -> None:
        self.now, self.sink = NOW, Listening()
        self.store = store or MemoryStore()
        self.pauses: list[float] = []
        self.states: list[str] = []  # of the first watcher, whenever one waits
        self.intake = Intake(
            sink=self.sink, store=self.store, cluster="prod-a", clock=lambda: self.now, clean=redact
        )
        self.board = Board("prod-a", rules or Rules())
        self.api = Api(httpx.Client(base_url=server.url, trust_env=False), dict)
        occurrences = Occurrences(self.store, "prod-a")
        self.watchers = [
            Watcher(
                scope, self.api, self.board, occurrences, self.intake,
                pace=pace, sleep=self.sleep, random=random.Random(1).random,
            )
            for scope in (scoped or [Scope(kind) for kind in kinds])
        ]  # fmt: skip
        self.threads: list[threading.Thread] = []

    def sleep(self, seconds: float) -> None:
        self.states.append(self.status.state)
        self.pauses.append(seconds)
        time.sleep(0.002)

    def start(self) -> Bridge:
        self.threads = [watcher.start() for watcher in self.watchers]
        return self

    def stop(self) -> None:
        for watcher in self.watchers:
            watcher.stop.set()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()
        self.api.close()

    def passes(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)

    @property
    def status(self) -> Any:
        return self.watchers[0].status


def until(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def server() -> Iterator[KubeApi]:
    made = KubeApi()
    yield made
    made.stop()


Start = Callable[..., Bridge]


@pytest.fixture
def start(server: KubeApi) -> Iterator[Start]:
    bridges: list[Bridge] = []

    def started(**more: Any) -> Bridge:
        bridges.append(Bridge(server, **more).start())
        return bridges[-1]

    yield started
    for bridge in bridges:
        bridge.stop()


def watches(server: KubeApi) -> list[dict[str, str]]:
    return [query for _, query in list(server.asked) if query.get("watch")]


def lists(server: KubeApi) -> list[dict[str, str]]:
    return [query for _, query in list(server.asked) if not query.get("watch")]


# what it is for


def test_what_is_broken_at_the_start_is_raised(server: KubeApi, start: Start) -> None:
    for n in range(600):  # more than two pages
        server.put(pod(f"pod-{n}", crashing=n % 100 == 0))

    bridge = start()
    until(lambda: bridge.status.connected)

    assert sorted(bridge.sink.told()) == sorted(f"pod-{n}" for n in range(0, 600, 100))
    assert len(lists(server)) == 3
    assert bridge.status.listed_total == 6


@pytest.mark.covers("S3-17", "S3-18")
def test_a_pod_that_breaks_is_told_and_logged_at_once(
    server: KubeApi, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "faultline.bridge")
    bridge = start()
    until(lambda: bridge.status.connected)
    server.put(pod("api-7d9f6c5b4-x2x9z", crashing=False))

    began = time.monotonic()
    server.put(pod("api-7d9f6c5b4-x2x9z"))
    until(lambda: bridge.sink.events)
    assert time.monotonic() - began < 1.0

    until(lambda: [r for r in caplog.records if r.getMessage() == "fault detected"])
    (event,) = bridge.sink.events
    assert event.subject == "resource/prod-a/shop/api"
    (line,) = [r for r in caplog.records if r.getMessage() == "fault detected"]
    assert vars(line) | {
        "fault": "CrashLoop", "resource": "Pod shop/api-7d9f6c5b4-x2x9z", "stream": "watch pods",
    } == vars(line)  # fmt: skip
    assert len(lists(server)) == 1


def test_it_is_told_when_the_pod_is_well_again(server: KubeApi, start: Start) -> None:
    server.put(pod("api-0"))
    bridge = start()
    until(lambda: bridge.sink.told())

    server.put(pod("api-0", crashing=False))
    time.sleep(0.1)
    assert bridge.sink.told("cleared") == []
    bridge.passes(301)
    until(lambda: bridge.sink.told("cleared") == ["api-0"])

    began, ended = bridge.sink.events
    assert began.id.removesuffix("/detected") == ended.id.removesuffix("/cleared")
    assert ended.data["ends_at"] == "2026-11-21T09:59:59Z"


def test_it_is_told_when_the_pod_was_deleted(server: KubeApi, start: Start) -> None:
    server.put(pod("api-0"))
    bridge = start()
    until(lambda: bridge.sink.told())

    server.delete("Pod", "shop", "api-0")
    until(lambda: server.version <= int(bridge.watchers[0]._version or 0))
    bridge.passes(301)

    until(lambda: bridge.sink.told("cleared") == ["api-0"])


@pytest.mark.covers("S3-77", "S3-78")
def test_every_kind_is_watched_with_what_the_examples_show(server: KubeApi, start: Start) -> None:
    server.missing = set()
    for item in ITEMS:
        server.put(item)
    bridge = start(scoped=list(scopes([])))
    until(lambda: all(w.status.connected for w in bridge.watchers))
    bridge.passes(301)  # sets keep no time of their own: their hold begins now

    expected = [i["metadata"]["annotations"]["faultline.dev/example"] for i in ITEMS]
    wanted = {name for e in expected if e != "none" for name in e.split(", ")}
    until(lambda: wanted <= {event.data["name"] for event in bridge.sink.events})

    ids = [event.id for event in bridge.sink.events]
    assert len(ids) == len(set(ids))
    assert all(query.get("fieldSelector") == "type=Warning"
               for path, query in server.asked if path.endswith("/events"))  # fmt: skip


def test_the_message_on_file_is_the_objects_status(server: KubeApi, start: Start) -> None:
    server.put(pod("api-0"))
    bridge = start()
    until(lambda: bridge.sink.events)

    kept = json.loads(bridge.store.get(bridge.sink.events[0].data["payload"]))

    assert kept["metadata"]["name"] == "api-0"
    assert kept["status"]["containerStatuses"][0]["restartCount"] == 1


def test_a_secret_in_a_message_goes_no_further(server: KubeApi, start: Start) -> None:
    secret = "ghp_" + "a1B2" * 9
    item = pod("api-0")
    item["status"]["containerStatuses"][0]["lastState"]["terminated"]["message"] = f"token {secret}"
    server.put(item)
    bridge = start()
    until(lambda: bridge.sink.events)

    records = [bridge.store.get(key) for key in bridge.store.list("watch/")]

    assert records
    assert not any(secret.encode() in record for record in records)
    assert secret not in json.dumps(bridge.sink.events[0].data)


# how a server behaves


def test_a_watch_that_the_server_ends_goes_on_where_it_was(server: KubeApi, start: Start) -> None:
    bridge = start(pace=Pace(watch_s=1, silence_s=5, tick_s=0.02))
    until(lambda: len(watches(server)) >= 3)
    server.put(pod("api-0"))
    until(lambda: bridge.sink.told())

    assert len(lists(server)) == 1
    assert bridge.pauses == []
    assert {query["allowWatchBookmarks"] for query in watches(server)} == {"true"}


def test_a_bookmark_moves_the_version_on_while_nothing_happens(
    server: KubeApi, start: Start
) -> None:
    bridge = start(pace=Pace(watch_s=1, silence_s=5, tick_s=0.02))
    until(lambda: bridge.status.connected)
    for n in range(3):
        server.put({"kind": "Node", "metadata": {"name": f"n{n}"}})  # of another kind
    before = len(watches(server))
    until(lambda: bridge.watchers[0]._version == str(server.version))
    server.forget()
    until(lambda: len(watches(server)) > before)

    assert len(lists(server)) == 1  # no 410, for the bookmark's version is still known


@pytest.mark.parametrize("by_event", [True, False])
def test_after_410_everything_is_listed_again(
    server: KubeApi, start: Start, by_event: bool
) -> None:
    server.gone_by_event = by_event
    server.bookmark_s = 30  # no bookmark comes in time
    bridge = start(pace=Pace(watch_s=1, silence_s=60, tick_s=0.02))
    until(lambda: bridge.status.connected)

    server.put({"kind": "Node", "metadata": {"name": "n"}})
    server.forget()
    server.put(pod("api-0"))
    server.forget()
    until(lambda: bridge.sink.told() == ["api-0"])

    assert len(lists(server)) >= 2


def test_a_page_token_that_expired_begins_the_list_anew(server: KubeApi, start: Start) -> None:
    for n in range(300):
        server.put(pod(f"pod-{n}", crashing=n > 297))
    real, failed = server.page, []

    def page(kind: str, namespace: str, query: dict[str, str]) -> tuple[int, Any]:
        if query.get("continue") and not failed:
            failed.append(query)
            return 410, {"kind": "Status", "code": 410}
        return real(kind, namespace, query)

    server.page = page  # type: ignore[method-assign]
    bridge = start()
    until(lambda: bridge.status.connected)

    assert failed
    assert sorted(bridge.sink.told()) == ["pod-298", "pod-299"]


def test_a_connection_that_says_nothing_any_more_is_noticed(server: KubeApi, start: Start) -> None:
    bridge = start(pace=Pace(watch_s=600, silence_s=0.5, tick_s=0.02))
    until(lambda: bridge.status.connected)

    server.deaf = True
    server.put(pod("api-0"))
    until(lambda: bridge.pauses)
    server.deaf = False

    until(lambda: bridge.sink.told() == ["api-0"])
    assert Pace().silence_s <= 90


def test_a_server_that_ends_every_watch_at_once_is_not_hammered(
    server: KubeApi, start: Start
) -> None:
    server.silent = True
    bridge = start(pace=Pace(watch_s=0, silence_s=5, tick_s=0.02))
    until(lambda: len(bridge.pauses) >= 3)

    assert min(bridge.pauses) >= 1
    assert len(watches(server)) <= len(bridge.pauses) + 1
    assert len(lists(server)) == 1


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_refusal_is_said_with_advice_and_tried_again(
    server: KubeApi, start: Start, status: int
) -> None:
    server.refuse = {"Pod": status}
    bridge = start()
    until(lambda: len(bridge.pauses) >= 2)
    said, state = bridge.status.last_error, bridge.states[0]
    server.refuse = {}
    server.put(pod("api-0"))
    until(lambda: bridge.sink.told())

    assert str(status) in said
    assert (state == "not_allowed") == (status == 403)
    assert min(bridge.pauses) >= (300 if status == 403 else 1)


def test_a_right_that_is_missing_stops_one_kind_and_no_other(server: KubeApi, start: Start) -> None:
    server.refuse = {"Node": 403}
    server.put(pod("api-0"))

    bridge = start(kinds=("Pod", "Node", "Application"))
    until(lambda: bridge.sink.told())
    pods, nodes, applications = bridge.watchers
    until(lambda: nodes.status.state == "not_allowed")
    until(lambda: applications.status.state == "not_installed")

    until(lambda: "get, list and watch" in nodes.status.last_error)
    until(lambda: pods.status.connected)


def test_a_kind_that_is_installed_later_is_found(server: KubeApi, start: Start) -> None:
    bridge = start(kinds=("Application",))
    until(lambda: bridge.pauses)
    application = next(item for item in ITEMS if item["metadata"]["name"] == "blog")

    server.put(application)
    server.missing = set()

    until(lambda: bridge.sink.told() == ["blog"])


@pytest.mark.parametrize("junk", [b"[1]\n", b"nonsense\n", b'{"type": 7}\n', b'{"type":"ADDED"}\n'])
def test_what_is_no_watch_event_does_no_harm(junk: bytes) -> None:
    line = Lines().feed(junk)

    assert line == [junk.strip()]


def test_a_line_is_whole_wherever_its_bytes_are_cut_and_has_a_limit() -> None:
    lines = Lines(bytes_max=100)
    said = [line for byte in b'{"a": 1}\n\n{"b": 2}\nrest' for line in lines.feed(bytes([byte]))]

    assert said == [b'{"a": 1}', b'{"b": 2}']
    with pytest.raises(TooLarge, match="at most 100 bytes"):
        lines.feed(b"x" * 101)


# the other side


def test_nothing_is_dropped_while_the_sink_is_down(server: KubeApi, start: Start) -> None:
    bridge = start()
    until(lambda: bridge.status.connected)
    bridge.sink.failures = [Unavailable("down") for _ in range(5)]

    for n in range(20):
        server.put(pod(f"pod-{n}"))
    until(lambda: len(bridge.sink.told()) >= 20)

    assert sorted(bridge.sink.told()) == sorted(f"pod-{n}" for n in range(20))


def test_a_fault_that_is_refused_for_ever_is_put_aside_and_stops_nothing(
    server: KubeApi, start: Start
) -> None:
    bridge = start()
    until(lambda: bridge.status.connected)
    bridge.sink.failures = [Rejected("never")]
    server.put(pod("odd"))
    until(lambda: bridge.status.bad_messages_total)
    server.put(pod("api-0"))

    until(lambda: "api-0" in bridge.sink.told())
    assert list(bridge.store.list("parked/"))


def test_what_was_put_on_file_and_never_said_is_said_after_a_restart(
    server: KubeApi, start: Start
) -> None:
    server.put(pod("api-0"))
    first = start()
    until(lambda: first.sink.told())
    first.stop()
    first.sink.events.clear()  # as if it had died before it said so
    server.delete("Pod", "shop", "api-0")

    second = start(store=first.store)
    until(lambda: second.status.connected)
    second.passes(301)

    until(lambda: second.sink.told("cleared") == ["api-0"])
    assert second.sink.told() == ["api-0"]


class Gaps:
    """Pods that break and go while two bridges, on one store, are cut off now and then."""

    def __init__(self, server: KubeApi, bridges: list[Bridge]) -> None:
        self.server, self.bridges = server, bridges
        self.chance = random.Random(22)
        self.alive: set[str] = set()
        self.deleted: set[str] = set()

    def happens(self, number: int) -> None:
        """One gap: before or after the fault, cut, with the history lost, or in silence."""
        until(lambda: len(self.server.watches) >= len(self.bridges))
        until(lambda: all(bridge.status.connected for bridge in self.bridges))
        before = [bridge.status.connects_total for bridge in self.bridges]
        early, forget, deaf = (self.chance.random() < p for p in (0.5, 0.4, 0.02))
        if early:
            self.server.cut()
        self.server.deaf = deaf
        self.breaks(f"pod-{number}")
        if forget:
            self.server.forget()
        if not early:
            time.sleep(self.chance.random() * 0.01)
            self.server.cut()
        if deaf:
            time.sleep(0.5)
            self.server.deaf = False
        for bridge, connects in zip(self.bridges, before, strict=True):
            until(lambda b=bridge, n=connects: b.status.connects_total > n)

    def breaks(self, name: str) -> None:
        self.server.put(pod(name))
        self.alive.add(name)
        gone = self.chance.choice(sorted(self.alive))
        told = all(gone in bridge.sink.told() for bridge in self.bridges)
        if told and self.chance.random() < 0.9:  # what comes and goes in a gap, nobody can see
            self.server.delete("Pod", "shop", gone)
            self.alive.discard(gone)
            self.deleted.add(gone)

    def ids(self, what: str) -> set[str]:
        events = [event for bridge in self.bridges for event in bridge.sink.events]
        return {event.id for event in events if event.id.endswith(what)}


def test_in_two_hundred_gaps_nothing_is_lost_and_nothing_told_twice(
    server: KubeApi, start: Start
) -> None:
    store = MemoryStore()
    bridges = [start(store=store, pace=Pace(30, 0.4, 0.02)) for _ in range(2)]
    gaps = Gaps(server, bridges)
    until(lambda: all(bridge.status.connected for bridge in bridges))

    for number in range(200):
        gaps.happens(number)
    for bridge in bridges:
        until(lambda bridge=bridge: len(set(bridge.sink.told())) == 200, 30)
        until(lambda bridge=bridge: int(bridge.watchers[0]._version or 0) >= server.version)
        bridge.passes(301)
    until(lambda: len(gaps.ids("/cleared")) >= len(gaps.deleted))
    time.sleep(0.1)

    assert {name for bridge in bridges for name in bridge.sink.told("cleared")} == gaps.deleted
    assert len(gaps.deleted) > 40
    assert len(gaps.ids("/detected")) == 200
    assert len(gaps.ids("/cleared")) == len(gaps.deleted)
    assert min(bridge.status.connects_total for bridge in bridges) > 200


def test_memory_holds_what_is_ill_and_no_more(server: KubeApi, start: Start) -> None:
    for n in range(500):
        server.put(pod(f"pod-{n}", crashing=False, uid=f"u{n}"))
    bridge = start(rules=Rules(clear_s=0))
    until(lambda: bridge.status.connected)
    for _ in range(3):
        for n in range(40):
            server.put(pod(f"pod-{n}"))
        for n in range(40):
            server.put(pod(f"pod-{n}", crashing=False))
    until(lambda: int(bridge.watchers[0]._version) >= server.version)
    until(lambda: len(bridge.board) <= 500)  # one note of its restarts for each

    for n in range(500):
        server.delete("Pod", "shop", f"pod-{n}")
    until(lambda: len(bridge.board) == 0)


# as it is set up


def test_only_what_is_chosen_is_asked_for(server: KubeApi, start: Start) -> None:
    for name, namespace, team in (("a", "shop", "x"), ("b", "shop", "y"), ("c", "mail", "x")):
        item = pod(name, team=team)
        item["metadata"]["namespace"] = namespace
        server.put(item)

    bridge = start(scoped=list(scopes(["shop"], "team=x")))
    until(lambda: all(w.status.connects_total or w.status.last_error for w in bridge.watchers))

    assert bridge.sink.told() == ["a"]
    paths = {path for path, _ in server.asked}
    assert "/api/v1/namespaces/shop/pods" in paths
    assert "/api/v1/nodes" in paths
    assert not [path for path in paths if path.endswith("/events") or "secrets" in path]


def environment(folder: Path, server: KubeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(folder, server)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def test_the_settings_lead_to_a_watch_with_the_credentials_of_a_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = KubeApi(token="hush")
    environment(tmp_path, server, monkeypatch)
    server.put(pod("api-0"))
    settings, _ = load({"FAULTLINE_WATCH": "1", "FAULTLINE_CLUSTER": "prod-a"})
    sink = Listening()
    intake = Intake(sink=sink, store=MemoryStore(), cluster="prod-a", clock=lambda: NOW)

    made = followers(settings, intake)
    threads = [follower.start() for follower in made]
    until(lambda: sink.told() == ["api-0"])
    until(lambda: made[0].status.connected)
    until(lambda: {follower.status.state for follower in made[-2:]} == {"not_installed"})
    readings = [
        (reading.name, reading.labels, reading.value)
        for reading in bridge_readings(doors_of(settings, intake, made), made)
    ]
    for follower in made:
        follower.stop.set()
    for thread in threads:
        thread.join(10)
    made[0].api.close()
    server.stop()

    assert ("faultline_sse_connected", ("watch pods",), 1.0) in readings
    assert ("faultline_sse_sweep_found_total", ("watch pods",), 1) in readings
    assert ("faultline_events_received_total", ("kube-watch",), 1) in readings
    assert not [labels for _, labels, _ in readings if labels == ("watch applications",)]


def test_without_the_setting_nothing_is_watched_and_no_cluster_is_needed() -> None:
    intake = Intake(sink=Listening(), store=MemoryStore(), cluster="c", clock=lambda: NOW)

    assert followers(Settings(), intake) == []


def test_a_watch_without_a_cluster_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    settings, _ = load({"FAULTLINE_WATCH": "true"})
    intake = Intake(sink=Listening(), store=MemoryStore(), cluster="c", clock=lambda: NOW)

    with pytest.raises(Rejected, match="expected to run in a cluster, or a KUBECONFIG"):
        followers(settings, intake)


def test_more_namespaces_than_there_are_connections_for_are_refused() -> None:
    settings, _ = load(
        {
            "FAULTLINE_WATCH": "true",
            "FAULTLINE_WATCH_NAMESPACES": ",".join(f"n{i}" for i in range(21)),
        }
    )
    intake = Intake(sink=Listening(), store=MemoryStore(), cluster="c", clock=lambda: NOW)

    with pytest.raises(Rejected, match="at most 20, got 21"):
        followers(settings, intake)
