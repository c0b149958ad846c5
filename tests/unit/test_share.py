"""What a stream may use of the processor, by a clock that the test moves."""

from __future__ import annotations

import pytest

from faultline.bridge.share import Share, fair


class Thread:
    """A thread that works and rests; `share` is its account."""

    def __init__(self, part: float, at_once_s: float) -> None:
        self.now_s = self.used_s = 0.0
        self.share = Share(
            part, at_once_s=at_once_s, used=lambda: self.used_s, monotonic=lambda: self.now_s
        )
        assert self.share.debt_s() == 0

    def works(self, seconds: float) -> float:
        self.now_s += seconds
        self.used_s += seconds
        return self.share.debt_s()

    def rests(self, seconds: float) -> float:
        self.now_s += seconds
        return self.share.debt_s()


def test_one_that_always_has_work_gets_its_share_and_what_it_may_use_at_once() -> None:
    thread = Thread(part=0.01, at_once_s=0.25)

    while thread.now_s < 1_000:
        if debt_s := thread.works(0.002):
            thread.rests(debt_s)

    assert 10 <= thread.used_s <= 10.26


def test_what_comes_at_once_is_not_held_up_and_what_is_saved_up_has_an_end() -> None:
    thread = Thread(part=0.1, at_once_s=0.25)
    thread.rests(3_600)  # nothing happens for an hour

    assert thread.works(0.25) == 0
    assert thread.works(0.1) == pytest.approx(0.65)  # 65 ms too much, at a tenth


def test_a_debt_is_paid_by_resting_however_often_it_is_looked_at() -> None:
    thread = Thread(part=0.5, at_once_s=0.0)

    assert thread.works(1) == pytest.approx(1)
    assert thread.rests(0.25) == pytest.approx(0.75)
    assert thread.rests(0.25) == pytest.approx(0.5)
    assert thread.rests(0.5) == 0


def test_a_single_stream_has_half_a_core_and_each_of_a_hundred_a_hundredth() -> None:
    assert fair(1)._part == pytest.approx(1 / 2)
    assert fair(100)._part == pytest.approx(1 / 101)
