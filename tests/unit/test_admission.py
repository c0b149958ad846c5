"""Caps, order and the breaker, as tables."""

from __future__ import annotations

import datetime as dt

import pytest

from faultline.admission import State, breaker_state, chosen, expired, in_order, refusal
from faultline.budgets import End, Line, View
from faultline.model import Amount, Budgets, Entry, Policy, Severity, Wish

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)


def ago(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


def wish(name: str, *, waits: float = 0, number: int = 1, **more: object) -> Wish:
    plain = {"cluster": "prod-a", "namespace": "shop", "key": name, "engine": "claude"}
    id = f"20261121-{name}-5c1e9b2a"
    return Wish(incident_id=id, number=number, since=ago(waits), **(plain | more))


def line(name: str, *, began: float, ended: float | None = None, reason: str = "", **more) -> Line:
    end = None if ended is None else End(ago(ended), reason)
    return Line(Entry(line=1, wish=wish(name, **more), at=ago(began)), end)


ROOM = Policy(slots=2, slots_per_cluster=2, runs_per_hour=3)


@pytest.mark.parametrize(
    ("lines", "policy", "says"),
    [
        ([], ROOM, ""),
        ([line("a", began=9)], ROOM, ""),
        ([line("a", began=9), line("b", began=9)], ROOM, "2 agents are running, 2 may"),
        ([line("a", began=9), line("b", began=9, ended=1)], ROOM, ""),
        ([line("a", began=9)], Policy(), "1 agents are running for cluster prod-a, 1 may"),
        ([line("a", began=9, cluster="prod-b")], Policy(), ""),
        ([line("a", began=99, ended=1)] * 3, ROOM, "3 runs began within an hour, 3 may"),
        ([line("a", began=3601, ended=1)] * 3, ROOM, ""),
        (
            [line("old", key="x", began=99, ended=1)],
            ROOM,
            "1 runs began for this workload within an hour",
        ),
        ([line("old", key="x", began=3601, ended=1)], ROOM, ""),
        ([], Policy(slots=0), "0 agents are running, 0 may"),
    ],
)
def test_a_run_gets_an_agent_if_every_cap_has_room(lines, policy: Policy, says: str) -> None:
    said = refusal(wish("x"), lines, NOW, policy)

    assert said.startswith(says) if says else said == ""


def test_a_run_that_has_its_line_is_not_in_its_own_way() -> None:
    assert refusal(wish("x"), [line("x", began=9)], NOW, Policy()) == ""


def test_what_a_person_asks_for_again_is_not_held_by_the_cap_for_its_workload() -> None:
    before = [line("old", key="x", began=99, ended=1)]

    assert refusal(wish("x", number=2), before, NOW, ROOM) == ""


def test_the_most_severe_come_first_and_among_equals_the_oldest() -> None:
    wishes = [
        wish("young", waits=1, severity=Severity.CRITICAL),
        wish("info", waits=99, severity=Severity.INFO),
        wish("old", waits=9, severity=Severity.CRITICAL),
        wish("warning", waits=50),
    ]

    assert [w.key for w in in_order(wishes, now=NOW)] == ["old", "young", "warning", "info"]


def test_among_equals_namespaces_take_turns() -> None:
    loud = [wish(f"loud{n}", waits=90 - n, namespace="loud") for n in range(3)]
    quiet = [wish(f"quiet{n}", waits=9 - n, namespace="quiet") for n in range(2)]
    found = [w.key for w in in_order([*loud, *quiet], now=NOW)]

    assert found == ["loud0", "quiet0", "loud1", "quiet1", "loud2"]


def test_the_turns_of_the_last_hour_count() -> None:
    had = [line("a", began=99, ended=1, namespace="loud")]
    wishes = [wish("loud", waits=90, namespace="loud"), wish("quiet", namespace="quiet")]

    assert [w.key for w in in_order(wishes, had, now=NOW)] == ["quiet", "loud"]


def test_as_many_are_chosen_as_there_is_room_for() -> None:
    wishes = [wish(name, waits=n) for n, name in enumerate("abcd")]
    view = View((line("z", began=9),), last=1)

    assert [w.key for w in chosen(wishes, view, NOW, ROOM)] == ["d"]


def test_who_cannot_go_does_not_hold_who_can() -> None:
    wishes = [wish("x", waits=9), wish("y")]
    view = View((line("old", key="x", began=99, ended=1),), last=1)

    assert [w.key for w in chosen(wishes, view, NOW, ROOM)] == ["y"]


def test_as_many_are_chosen_as_the_budget_has_room_for() -> None:
    limits = Budgets(run=Amount(tokens=100), day=Amount(tokens=250))
    policy = Policy(slots=9, slots_per_cluster=9, budgets=limits)
    wishes = [wish(name, waits=9 - n) for n, name in enumerate("abcd")]

    assert [w.key for w in chosen(wishes, View(), NOW, policy)] == ["a", "b"]


def test_waiting_ends_after_the_time_that_is_set() -> None:
    assert not expired(wish("x", waits=599), NOW, Policy())
    assert expired(wish("x", waits=600), NOW, Policy())


def failures(count: int, *, newest: float = 10, reason: str = "quota") -> list[Line]:
    return [line(f"f{n}", began=newest + n + 5, ended=newest + n, reason=reason)
            for n in range(count)]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "state", "probe"),
    [
        ([], State.CLOSED, False),
        (failures(4), State.CLOSED, False),
        (failures(5), State.OPEN, False),
        (failures(5, newest=60), State.OPEN, True),
        (failures(5, reason="empty_report"), State.CLOSED, False),  # it answered, if badly
        ([line("ok", began=7, ended=1), *failures(5)], State.CLOSED, False),
        ([line("late", began=99, ended=40), *failures(5)], State.OPEN, False),
        ([line("p", began=5), *failures(5, newest=70)], State.PROBING, False),
        ([line("p", began=70, ended=65, reason="auth"), *failures(5, newest=90)], State.OPEN, True),
        ([line("p", began=70, ended=9, reason="auth"), *failures(5, newest=90)], State.OPEN, False),
        ([line("c", began=9, ended=1, reason="cancelled"), *failures(5)], State.OPEN, False),
        ([line(f"s{n}", began=99, ended=70, reason=r) for n, r in
          enumerate(("auth", "quota", "overloaded", "unreachable", "start"))], State.OPEN, True),
    ],
)  # fmt: skip
def test_the_state_of_a_breaker_follows_from_the_newest_ends(lines, state, probe) -> None:
    found = breaker_state(lines, "claude", NOW)

    assert (found.state, found.probe) == (state, probe)


def test_one_engine_does_not_break_for_another() -> None:
    assert breaker_state(failures(9), "codex", NOW).state is State.CLOSED
    assert refusal(wish("x", engine="codex"), failures(9), NOW, Policy(runs_per_hour=99)) == ""


def test_an_engine_without_a_provider_never_breaks() -> None:
    lines = [line(f"f{n}", began=9, ended=1, reason="start", engine="rules") for n in range(9)]

    assert breaker_state(lines, "rules", NOW).state is State.CLOSED
