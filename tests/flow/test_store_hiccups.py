"""A store that fails for a moment changes nothing of what is found and told, only when."""

from __future__ import annotations

import pytest
from world import World

from faultline.adapters.stores.memory import MemoryStore
from faultline.errors import StoreDown
from faultline.model import Status


class Hiccups:
    """A store that refuses one write or one read, the n-th."""

    def __init__(self, puts: int = -1, gets: int = -1) -> None:
        self._inner, self._puts, self._gets = MemoryStore(), puts, gets
        self.list, self.folders = self._inner.list, self._inner.folders
        self.put_calls = self.get_calls = 0
        self.watched = True  # False: what follows is the test's own look at it

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self.put_calls += self.watched
        if self.put_calls == self._puts and self.watched:
            raise StoreDown("the store did not answer")
        self._inner.put(key, data, if_absent=if_absent)

    def get(self, key: str) -> bytes:
        self.get_calls += self.watched
        if self.get_calls == self._gets and self.watched:
            raise StoreDown("the store did not answer")
        return self._inner.get(key)


def story(store: Hiccups) -> tuple[Status | None, list[str], str, int]:
    """What one alert comes to: status, evidence, patch, pull requests."""
    world = World(store=store)
    while True:
        try:
            world.alert()
            break
        except StoreDown:  # AlertManager sends it again
            continue
    world.settle().pass_time(300).ping().settle()
    store.watched = False
    assert len(world.chat.messages) in (
        1,
        2,
    )  # a chat that was told, and whose receipt was not kept
    evidence = sorted(world.incidents.capsule(world.only).names())
    patch = world.forge.pull_requests[world.only].patch
    return world.status(), evidence, patch, world.forge.made


@pytest.fixture(scope="module")
def calm() -> Hiccups:
    store = Hiccups()
    story(store)
    return store


def test_whichever_write_fails_once_the_end_is_the_same(calm: Hiccups) -> None:
    wanted = story(Hiccups())

    ends = {number: story(Hiccups(puts=number)) for number in range(1, calm.put_calls + 1)}

    assert len(ends) > 30
    assert {number: end for number, end in ends.items() if end != wanted} == {}


def test_whichever_read_fails_once_the_end_is_the_same(calm: Hiccups) -> None:
    wanted = story(Hiccups())

    few = range(1, calm.get_calls + 1, max(1, calm.get_calls // 40))
    ends = {number: story(Hiccups(gets=number)) for number in few}

    assert {number: end for number, end in ends.items() if end != wanted} == {}
