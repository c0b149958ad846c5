"""Stores as an earlier version left them, cut at many writes, are brought to their end by ours.

A history is every write of one incident's life, in order. To write those of today's version:
`PYTHONPATH=tests python tests/flow/test_golden_histories.py 0.1.0`. Those of versions that were
released are never changed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from world import World

from faultline import keys
from faultline.adapters.stores.memory import MemoryStore
from faultline.model import Resource, RunStatus, Status

HISTORIES = Path(__file__).resolve().parents[1] / "fixtures/history"
WEB = Resource(kind="Deployment", namespace="shop", name="web")
SCENARIOS = {"proved": ("memory", {}), "agent": ("healthy-1", {"resource": WEB})}
WRITTEN_OVER = (keys.README, "report/", keys.PROBE)
POINTS = 24  # of each history; every write would be more of the same


class Recording(MemoryStore):
    """A store that remembers in which order it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[str, str]] = []

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        super().put(key, data, if_absent=if_absent)
        self.writes.append((key, data.decode("utf-8")))


def record(name: str) -> list[tuple[str, str]]:
    """Live one incident from its fault to its closing; return what was written."""
    scenario, fields = SCENARIOS[name]
    store = Recording()
    world = World(scenario, store=store)
    world.fault(**fields).settle().pass_time(30)
    if world.jobs.live():
        world.finish(f"{world.only}-1", RunStatus.FAILED, "empty_report").settle()
    world.pass_time(30).clear(**fields).settle()
    assert world.status() is Status.CLOSED
    return store.writes


def histories() -> list[Path]:
    return sorted(HISTORIES.glob("*/*.json"))


def store_of(writes: list[list[str]]) -> MemoryStore:
    store = MemoryStore()
    for key, text in writes:
        store.put(key, text.encode())
    return store


def resumed(name: str, store: MemoryStore) -> World:
    """Today's code comes upon the store: it sweeps, agents answer, until nothing moves."""
    world = World(SCENARIOS[name][0], store=store)
    for _ in range(4):
        world.pass_time(130).ping().settle()
        for run in list(world.jobs.live()):
            world.finish(run).settle()
    return world


def points(path: Path) -> list[int]:
    length = len(json.loads(path.read_text("utf-8")))
    return sorted({1 + number * (length - 1) // (POINTS - 1) for number in range(POINTS)})


@pytest.mark.covers("IDM-16")
@pytest.mark.parametrize("path", histories(), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_what_an_earlier_version_left_in_flight_is_brought_to_its_end(path: Path) -> None:
    writes = json.loads(path.read_text("utf-8"))
    claimed = next(n for n, (key, _) in enumerate(writes) if key.startswith("claims/"))
    for point in points(path):
        world = resumed(path.stem, store_of(writes[:point]))

        if point > claimed:
            assert world.status() in (Status.PACKAGED, Status.CLOSED), f"after write {point}"
            assert world.incidents.run_numbers(world.only) == [1]
            assert world.jobs.starts <= 1
        for key, text in writes[:point]:
            if not any(part in key for part in WRITTEN_OVER):
                assert world.store.get(key) == text.encode(), f"{key} changed after write {point}"
        assert world.keys("parked/") == [], f"after write {point}"


@pytest.mark.covers("IDM-16")
@pytest.mark.parametrize("path", histories(), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_what_a_later_version_adds_to_records_is_passed_over(path: Path) -> None:
    writes = json.loads(path.read_text("utf-8"))
    sealed = {f["name"] for f in _index(writes)["files"]} | {keys.INDEX}
    for point in points(path)[::4]:
        newer = [[key, _added(key, text, sealed)] for key, text in writes[:point]]
        world = resumed(path.stem, store_of(newer))

        assert world.keys("parked/") == []
        assert all(world.status(id) in (Status.PACKAGED, Status.CLOSED) for id in world.ids)


def _index(writes: list[list[str]]) -> dict:
    return json.loads(next(text for key, text in writes if key.endswith(keys.INDEX)))


def _added(key: str, text: str, sealed: set[str]) -> str:
    """Return the record with one more field, unless a hash or a sender's event holds its bytes."""
    hashed = "/output/" in key or any(key.endswith(f"/{name}") for name in sealed)
    if hashed or not key.endswith(".json") or key.endswith(keys.EVENT):
        return text
    found = json.loads(text)
    return json.dumps({"a_later_field": {"x": 1}} | found) if isinstance(found, dict) else text


def test_there_is_a_history_of_every_kind() -> None:
    assert {path.stem for path in histories()} == set(SCENARIOS)


if __name__ == "__main__":
    for name in SCENARIOS:
        target = HISTORIES / sys.argv[1] / f"{name}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(record(name), indent=0, ensure_ascii=False) + "\n", "utf-8")
