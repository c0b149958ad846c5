"""From symptoms to faults that begin and end: holds, returns, deletions, and names that last."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from faultline import keys
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.watch.board import Board, Due
from faultline.bridge.watch.occurrences import Occurrences
from faultline.bridge.watch.symptoms import Rules
from faultline.model import Fault

ROOT = Path(__file__).resolve().parents[2]
NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)
TEXT = (ROOT / "examples/watch/objects.yaml").read_text("utf-8")
ITEMS = {i["metadata"]["name"]: i for i in yaml.load(TEXT, Loader=yaml.CSafeLoader)["items"]}
POD, UID = "api-7d9f6c5b4-x2x9z", ITEMS["api-7d9f6c5b4-x2x9z"]["metadata"]["uid"]


def copied(name: str) -> Any:
    return json.loads(json.dumps(ITEMS[name]))


def seconds(number: float) -> dt.timedelta:
    return dt.timedelta(seconds=number)


class Bridge:
    """A board and the names on file, told of objects at the times that the test says."""

    def __init__(self, store: MemoryStore, rules: Rules | None = None) -> None:
        self.board = Board("prod-a", rules or Rules())
        self.occurrences = Occurrences(store, "prod-a")
        self.said: list[tuple[str, Fault]] = []
        for kind in ("Pod", "Event"):
            for fault in self.occurrences.open_ones(kind):
                self.board.opened(kind, fault)

    def sees(self, item: Any, now: dt.datetime) -> list[str]:
        return self._say(item["kind"], self.board.saw(item["kind"], item, now), now)

    def waits(self, now: dt.datetime, kind: str = "Pod") -> list[str]:
        return self._say(kind, self.board.due(kind, "", now), now)

    def _say(self, kind: str, found: list[Due], now: dt.datetime) -> list[str]:
        before = len(self.said)
        for due in found:
            if due.ends_at is None:
                fault = self.occurrences.begin(kind, due.fault, edge=due.edge, now=now)
                if fault is None:
                    self.board.dropped(kind, due.fault)
                    continue
                self.board.opened(kind, fault)
                self.said.append(("detected", fault))
                continue
            for key, fault in self.occurrences.ending(kind, due.fault):
                over = fault.model_copy(update={"ends_at": due.ends_at})
                self.occurrences.end(key, over)
                self.said.append(("cleared", over))
            self.board.dropped(kind, due.fault)
        return [f"{fault.name} {what}" for what, fault in self.said[before:]]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def bridge(store: MemoryStore) -> Bridge:
    return Bridge(store)


def running(item: Any, at: dt.datetime, *, ready: bool = True) -> Any:
    item["status"]["containerStatuses"][0] |= {
        "state": {"running": {"startedAt": at.isoformat()}},
        "ready": ready,
    }
    status = "True" if ready else "False"
    for found in item["status"]["conditions"][1:]:
        found |= {"status": status, "lastTransitionTime": at.isoformat()}
    return item


def crashed(item: Any, at: dt.datetime, restarts: int) -> Any:
    item["status"]["containerStatuses"][0] |= {
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": at.isoformat()}},
        "ready": False,
        "restartCount": restarts,
    }
    return item


def test_a_crash_loop_is_one_fault_however_often_it_crashes(bridge: Bridge) -> None:
    item, at = copied(POD), NOW
    bridge.sees(item, at)
    for n in range(3, 12):
        bridge.sees(running(item, at + seconds(40), ready=n % 2 == 0), at + seconds(40))
        at += seconds(280)
        bridge.sees(crashed(item, at, n), at)
        bridge.waits(at + seconds(1))

    told = [f"{fault.name} {what}" for what, fault in bridge.said]
    assert told.count("CrashLoop detected") == 1
    assert "CrashLoop cleared" not in told


def test_it_is_over_when_it_was_well_for_long_enough_and_says_since_when(bridge: Bridge) -> None:
    item = copied(POD)
    bridge.sees(item, NOW)
    well = NOW + seconds(60)

    bridge.sees(running(item, well), well + seconds(2))
    assert bridge.waits(well + seconds(299)) == []
    assert bridge.waits(well + seconds(300)) == ["CrashLoop cleared"]

    (_, began), (_, ended) = bridge.said
    assert ended.ends_at == well
    assert ended.occurrence == began.occurrence
    assert len(bridge.board) == 1  # how often it was restarted; nothing else is kept


def test_running_without_being_ready_is_not_well(bridge: Bridge) -> None:
    item = copied(POD)
    bridge.sees(item, NOW)

    bridge.sees(running(item, NOW + seconds(10), ready=False), NOW + seconds(10))

    assert "CrashLoop cleared" not in bridge.waits(NOW + seconds(10_000))


def test_a_deleted_pod_is_over_after_the_same_time(bridge: Bridge) -> None:
    bridge.sees(copied(POD), NOW)

    bridge.board.gone("Pod", UID, NOW + seconds(5))

    assert bridge.waits(NOW + seconds(304)) == []
    assert bridge.waits(NOW + seconds(305)) == ["CrashLoop cleared"]
    assert bridge.said[-1][1].ends_at == NOW + seconds(5)
    assert len(bridge.board) == 0


def test_what_had_not_held_long_enough_is_forgotten_without_a_word(bridge: Bridge) -> None:
    item = copied("waiting-7d9f6c5b4-t4t6v")
    assert bridge.sees(item, NOW) == []

    item["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]
    bridge.sees(item, NOW + seconds(100))

    assert bridge.waits(NOW + seconds(10_000)) == []
    assert len(bridge.board) == 0


def test_a_list_without_it_says_that_it_has_gone(bridge: Bridge) -> None:
    bridge.sees(copied(POD), NOW)

    bridge.board.listed("Pod", "other", set(), NOW)  # of another namespace
    assert bridge.waits(NOW + seconds(10_000)) == []
    bridge.board.listed("Pod", "shop", {UID}, NOW)
    assert bridge.waits(NOW + seconds(10_000)) == []
    bridge.board.listed("Pod", "shop", {"another"}, NOW)
    assert bridge.waits(NOW + seconds(10_000)) == ["CrashLoop cleared"]


@pytest.mark.covers("S3-20")
def test_a_kill_that_was_survived_is_told_once_and_a_new_one_is_new(bridge: Bridge) -> None:
    item, out = copied("cache-7d9f6c5b4-d6d8m"), []
    for at in (0, 100, 279, 290, 1_000, 5_000):
        out += bridge.sees(item, NOW + seconds(at))
        out += bridge.waits(NOW + seconds(at))
    assert out == ["OOMKilled detected", "OOMKilled cleared"]

    end = item["status"]["containerStatuses"][0]["lastState"]["terminated"]
    end["finishedAt"] = "2026-11-21T12:00:00Z"
    running(item, dt.datetime(2026, 11, 21, 12, 0, 5, tzinfo=dt.UTC))

    assert bridge.sees(item, NOW + seconds(7_210)) == ["OOMKilled detected"]
    first, _, second = bridge.said
    assert first[1].fingerprint == second[1].fingerprint
    assert first[1].occurrence != second[1].occurrence


@pytest.mark.covers("S3-20")
def test_an_old_kill_is_not_told_again_when_the_container_ends_in_another_way(
    bridge: Bridge,
) -> None:
    item = copied("cache-7d9f6c5b4-d6d8m")
    bridge.sees(item, NOW)
    bridge.waits(NOW + seconds(1_000))
    container = item["status"]["containerStatuses"][0]
    container |= {
        "state": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-21T12:00:00Z"}},
        "ready": False,
    }

    assert bridge.sees(item, NOW + seconds(7_200)) == []


def test_a_second_kill_before_the_first_is_over_is_the_same_fault(bridge: Bridge) -> None:
    item = copied("cache-7d9f6c5b4-d6d8m")
    bridge.sees(item, NOW)
    end = item["status"]["containerStatuses"][0]["lastState"]["terminated"]
    end["finishedAt"] = "2026-11-21T10:04:00Z"
    again = dt.datetime(2026, 11, 21, 10, 4, 1, tzinfo=dt.UTC)

    assert bridge.sees(running(item, again), again) == []
    assert bridge.waits(NOW + seconds(420)) == []
    assert bridge.waits(again + seconds(300)) == ["OOMKilled cleared"]


def test_a_warning_is_over_when_it_was_silent_or_its_pod_has_gone(bridge: Bridge) -> None:
    item = copied("newsletter.1")
    uid = item["involvedObject"]["uid"]
    assert bridge.sees(item, NOW) == ["FailedMount detected"]
    assert bridge.waits(NOW + seconds(779), "Event") == []

    bridge.board.gone("Pod", uid, NOW + seconds(779))

    assert bridge.waits(NOW + seconds(780), "Event") == ["FailedMount cleared"]


def test_a_warning_that_expired_while_nobody_looked_is_over(store: MemoryStore) -> None:
    Bridge(store).sees(copied("newsletter.1"), NOW)
    later = NOW + seconds(7_200)

    bridge = Bridge(store)
    bridge.board.listed("Event", "", set(), later)

    assert bridge.waits(later + seconds(300), "Event") == ["FailedMount cleared"]


# names that last


def test_a_restart_of_the_bridge_says_the_same_fault_though_the_object_forgot(
    store: MemoryStore,
) -> None:
    first = Bridge(store)
    first.sees(copied(POD), NOW)
    later = crashed(copied(POD), NOW + seconds(900), 9)

    second = Bridge(store)
    second.sees(later, NOW + seconds(901))
    second.sees(running(later, NOW + seconds(910)), NOW + seconds(910))
    second.waits(NOW + seconds(1_300))

    loops = [(what, f) for what, f in second.said if f.name == "CrashLoop"]
    assert [what for what, _ in loops] == ["cleared"]
    assert loops[0][1].occurrence == first.said[0][1].occurrence


def test_what_was_deleted_while_no_bridge_ran_is_over(store: MemoryStore) -> None:
    Bridge(store).sees(copied(POD), NOW)

    second = Bridge(store)
    second.board.listed("Pod", "", {"another"}, NOW + seconds(3_600))

    assert second.waits(NOW + seconds(3_900)) == ["CrashLoop cleared"]


def test_two_bridges_that_see_it_at_different_crashes_give_it_one_name(store: MemoryStore) -> None:
    one, two = Bridge(store), Bridge(store)
    one.sees(copied(POD), NOW)
    two.sees(crashed(copied(POD), NOW + seconds(400), 6), NOW + seconds(400))

    well = running(copied(POD), NOW + seconds(500))
    for bridge in (one, two):
        bridge.sees(well, NOW + seconds(500))
        bridge.waits(NOW + seconds(800))

    said = [(what, f.occurrence) for b in (one, two) for what, f in b.said if f.name == "CrashLoop"]
    assert len({occurrence for _, occurrence in said}) == 1
    assert [what for what, _ in said] == [
        "detected",
        "cleared",
        "detected",
    ]  # told once, it is over


def test_one_that_comes_back_after_its_end_is_another_occurrence(bridge: Bridge) -> None:
    item = copied(POD)
    bridge.sees(item, NOW)
    bridge.sees(running(item, NOW + seconds(60)), NOW + seconds(60))
    bridge.waits(NOW + seconds(360))

    bridge.sees(crashed(item, NOW + seconds(1_000), 3), NOW + seconds(1_001))

    loops = [f.starts_at for what, f in bridge.said if f.name == "CrashLoop" and what == "detected"]
    assert loops == [NOW - seconds(30), NOW + seconds(1_000)]


def test_a_state_that_shows_again_with_an_old_time_begins_now(bridge: Bridge) -> None:
    """A kubelet's clock may be behind ours."""
    item = copied("big-7d9f6c5b4-r5r7s")
    bridge.sees(item, NOW)
    bridge.board.gone("Pod", item["metadata"]["uid"], NOW)
    bridge.waits(NOW + seconds(300))

    assert bridge.sees(item, NOW + seconds(301)) == ["Unschedulable detected"]
    assert bridge.said[-1][1].starts_at == NOW + seconds(301)


def test_a_bridge_that_missed_an_end_ends_what_began_after_it_too(store: MemoryStore) -> None:
    one, two = Bridge(store), Bridge(store)
    item = copied(POD)
    for bridge in (one, two):
        bridge.sees(item, NOW)
    running(item, NOW + seconds(10))
    one.sees(item, NOW + seconds(10))
    one.waits(NOW + seconds(310))
    one.sees(crashed(item, NOW + seconds(400), 3), NOW + seconds(400))  # and then `one` dies
    two.sees(running(item, NOW + seconds(500)), NOW + seconds(500))

    assert two.waits(NOW + seconds(800)) == ["CrashLoop cleared"]
    assert Occurrences(store, "prod-a").open_ones("Pod") == []


def test_the_names_are_kept_below_the_cluster_and_the_kind(store: MemoryStore) -> None:
    bridge = Bridge(store)
    bridge.sees(copied(POD), NOW)
    bridge.board.gone("Pod", UID, NOW)
    bridge.waits(NOW + seconds(300))

    folder = keys.watched("prod-a", "Pod", bridge.said[0][1].fingerprint)
    assert list(store.list("watch/")) == [f"{folder}0001-over.json", f"{folder}0001.json"]
    assert folder.startswith("watch/prod-a/Pod/")


def test_of_thousands_of_pods_that_are_well_nothing_is_held() -> None:
    board, item = Board("prod-a", Rules()), copied("well-7d9f6c5b4-l2l9c")
    for n in range(5_000):
        item["metadata"]["uid"] = str(n)
        board.saw("Pod", item, NOW)

    assert len(board) == 0
