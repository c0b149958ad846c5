"""The arithmetic of budgets, as tables."""

from __future__ import annotations

import datetime as dt

import pytest

from faultline.budgets import End, Line, View, balance, exhausted, periods, table, used
from faultline.model import Amount, Budgets, Entry, Wish

NOON = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def wish(namespace: str = "shop", engine: str = "claude") -> Wish:
    return Wish(
        incident_id="20261121-api-5c1e9b2a", number=1, cluster="prod-a", namespace=namespace,
        key="resource/prod-a/shop/api", engine=engine, since=NOON,
    )  # fmt: skip


def line(number: int, spent: int | None = None, *, at: dt.datetime = NOON, **more: str) -> Line:
    end = None if spent is None else End(at, spent=Amount(tokens=spent))
    return Line(Entry(line=number, wish=wish(**more), at=at, reserved=Amount(tokens=100)), end)


def test_a_run_counts_in_its_namespace_day_month_and_the_whole() -> None:
    assert periods(wish(), NOON) == {
        "namespace": "namespace/prod-a/shop/2026-11-21",
        "day": "day/2026-11-21",
        "month": "month/2026-11",
        "total": "total",
    }


def test_a_day_is_one_of_utc() -> None:
    late = dt.datetime(2026, 11, 21, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=-5)))

    assert periods(wish(), late)["day"] == "day/2026-11-22"


def test_what_runs_counts_with_what_it_reserved_and_what_has_ended_with_what_it_spent() -> None:
    view = View((line(1, 30), line(2), line(3, 5)), last=3)

    assert used(view, "total") == Amount(tokens=30 + 100 + 5)


def test_a_balance_is_carried_to_the_first_line_that_has_not_ended() -> None:
    view = View((line(1, 30), line(2, 20), line(3), line(4, 7)), last=4)

    settled, spent = balance(view, NOON)

    assert settled == 2
    assert spent["total"] == Amount(tokens=50)


def test_a_balance_and_the_lines_after_it_come_to_the_same_sum_wherever_it_was_drawn() -> None:
    lines = tuple(line(n, n * 10 if n != 4 else None) for n in range(1, 8))
    whole = used(View(lines, last=7), "total")
    settled, spent = balance(View(lines[:6], last=6), NOON)

    assert settled == 3
    assert used(View(lines, settled, spent, 7), "total") == whole
    assert used(View(lines[3:], settled, spent, 7), "total") == whole  # older lines are not needed


def test_a_balance_forgets_periods_that_are_long_over_but_never_the_whole() -> None:
    old = line(1, 10, at=NOON - 40 * DAY)
    settled, spent = balance(View((old, line(2, 5)), last=2), NOON)

    assert settled == 2
    assert spent["total"] == Amount(tokens=15)
    assert "month/2026-10" not in spent
    assert spent["month/2026-11"] == Amount(tokens=5)


def test_yesterday_is_kept_for_a_run_that_began_then() -> None:
    _, spent = balance(View((line(1, 10, at=NOON - DAY),), last=1), NOON)

    assert spent["day/2026-11-20"] == Amount(tokens=10)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Budgets(), ""),
        (Budgets(day=Amount(tokens=230)), ""),  # 130 used, 100 more are just 230
        (Budgets(day=Amount(tokens=229)), "the budget of today"),
        (Budgets(month=Amount(tokens=200)), "the budget of this month"),
        (Budgets(total=Amount(tokens=200)), "the budget of the whole"),
        (Budgets(namespace=Amount(tokens=200)), ""),  # 30 of it was another namespace's
        (Budgets(namespace=Amount(tokens=199)), "the budget of namespace shop for today"),
        (Budgets(incident=Amount(tokens=139)), "the budget of this incident"),
        (Budgets(incident=Amount(tokens=140)), ""),
        (Budgets(day=Amount(usd=0.5)), "the budget of today"),
        (Budgets(day=Amount(usd=1.0)), ""),
    ],
)
def test_a_run_is_let_in_if_all_that_it_reserves_still_fits(limits: Budgets, says: str) -> None:
    limits = limits.model_copy(update={"run": Amount(tokens=100, usd=1.0)})
    view = View((line(1, 30, namespace="other"), line(2)), last=2)

    said = exhausted(wish(), view, limits, NOON, incident=Amount(tokens=40))

    assert said.startswith(says) if says else said == ""


def test_a_limit_that_is_reached_exactly_lets_nobody_in_even_if_runs_reserve_nothing() -> None:
    view = View((line(1, 30),), last=1)

    assert exhausted(wish(), view, Budgets(day=Amount(tokens=30)), NOON)
    assert not exhausted(wish(), view, Budgets(day=Amount(tokens=31)), NOON)


@pytest.mark.parametrize("engine", ["rules", "stub"])
def test_an_engine_without_a_model_needs_no_budget(engine: str) -> None:
    limits = Budgets(run=Amount(tokens=100), day=Amount(tokens=1))

    assert exhausted(wish(engine=engine), View(), limits, NOON) == ""


def test_the_table_shows_every_budget_and_the_namespaces_of_today() -> None:
    view = View((line(1, 30), line(2, 5, namespace="other"), line(3, 9, at=NOON - DAY)), last=3)
    rows = {row.name: row.used.tokens for row in table(view, Budgets(), NOON)}

    assert rows == {
        "day/2026-11-21": 35,
        "month/2026-11": 44,
        "total": 44,
        "namespace/prod-a/other/2026-11-21": 5,
        "namespace/prod-a/shop/2026-11-21": 30,
    }
