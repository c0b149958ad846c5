"""Stores that ask less: what was read stays true, what is missing may come."""

from __future__ import annotations

import pytest

from faultline.adapters.stores.memory import MemoryStore
from faultline.errors import AlreadyExists, NotFound
from faultline.recall import Recall, Snapshot


class Counted(MemoryStore):
    def __init__(self, *keys: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        for key in keys:
            self.put(key, b"x")

    def get(self, key: str) -> bytes:
        self.asked.append(key)
        return super().get(key)


def test_what_was_read_or_written_is_not_asked_for_again() -> None:
    store = Counted("a")
    recall = Recall(store)
    recall.put("b", b"y", if_absent=True)

    assert [recall.get(key) for key in ("a", "a", "b")] == [b"x", b"x", b"y"]
    assert store.asked == ["a"]


def test_what_is_missing_is_asked_for_again_and_a_refused_write_is_not_remembered() -> None:
    store = Counted()
    recall = Recall(store)
    with pytest.raises(NotFound):
        recall.get("a")
    store.put("a", b"theirs")
    with pytest.raises(AlreadyExists):
        recall.put("a", b"ours", if_absent=True)

    assert recall.get("a") == b"theirs"


def test_a_snapshot_asks_for_nothing_in_its_folder_that_its_listing_did_not_show() -> None:
    store = Counted("i/1/a", "i/1/b/c", "i/2/a")
    seen = Snapshot(store, "i/1/")
    store.put("i/1/later", b"x")
    store.put("elsewhere", b"x")

    assert list(seen.list("i/1/")) == ["i/1/a", "i/1/b/c"]
    assert list(seen.list("i/1/b/")) == ["i/1/b/c"]
    assert (seen.get("i/1/a"), seen.get("elsewhere")) == (b"x", b"x")
    with pytest.raises(NotFound):
        seen.get("i/1/later")
    assert store.asked == ["i/1/a", "elsewhere"]


def test_a_snapshot_shows_what_was_written_through_it() -> None:
    seen = Snapshot(Counted("i/1/a"), "i/1/")

    seen.put("i/1/b", b"y", if_absent=True)

    assert list(seen.list("i/1/")) == ["i/1/a", "i/1/b"]
    assert seen.get("i/1/b") == b"y"
