"""What agent runs may spend, and have spent: arithmetic over the ledger. Pure.

Every run reserves before it begins and is settled by its result. A line of the ledger carries the
balance of the lines before it that have all ended, so nobody adds up a month. The ledger itself is
read and written by `ledger.py`; who is let in at all is `admission.py`'s.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from faultline.model import Amount, Budgets, Entry, Wish

FREE = frozenset({"rules", "stub", "analyzers"})  # engines without a model: they cost nothing
NOTHING = Amount()
_KEPT = dt.timedelta(days=1)  # a balance keeps a period this much longer than it lasts


@dataclass(frozen=True)
class End:
    """How a run ended, as far as room and money go."""

    at: dt.datetime
    reason: str = ""  # of its result; empty for success
    spent: Amount = NOTHING


@dataclass(frozen=True)
class Line:
    """One agent run that was let in; `end` is None while it has its slot."""

    entry: Entry
    end: End | None = None

    @property
    def cost(self) -> Amount:
        """What it has spent, or, while it runs, what it may."""
        return self.end.spent if self.end else self.entry.reserved


@dataclass(frozen=True)
class View:
    """The ledger as one reader found it, oldest line first.

    `lines` are all that are not in the balance `spent`, and those of the last hour.
    """

    lines: tuple[Line, ...] = ()
    settled: int = 0  # the balance holds every line up to this one
    spent: Mapping[str, Amount] = field(default_factory=dict)
    last: int = 0  # number of the newest line


def periods(wish: Wish, at: dt.datetime) -> dict[str, str]:
    """Return the balances that a run counts in: scope -> name of the balance. Days are UTC's."""
    day = f"{at.astimezone(dt.UTC):%Y-%m-%d}"
    return {
        "namespace": f"namespace/{wish.cluster}/{wish.namespace or '-'}/{day}",
        "day": f"day/{day}",
        "month": f"month/{day[:7]}",
        "total": "total",
    }


def balance(view: View, now: dt.datetime) -> tuple[int, dict[str, Amount]]:
    """Carry the balance on over every line that has ended, up to the first that has not.

    Periods that are over for more than a day are dropped: nothing new counts in them.
    """
    settled, spent = view.settled, dict(view.spent)
    for line in view.lines:
        if line.entry.line != settled + 1 or line.end is None:
            continue
        settled += 1
        for name in periods(line.entry.wish, line.entry.at).values():
            spent[name] = spent.get(name, NOTHING) + line.cost
    oldest = f"{(now - _KEPT).astimezone(dt.UTC):%Y-%m-%d}"
    return settled, {name: amount for name, amount in spent.items() if _lasts(name, oldest)}


def _lasts(name: str, oldest: str) -> bool:
    period = name.rsplit("/", 1)[-1]
    return name == "total" or period >= oldest[: len(period)]


def used(view: View, name: str) -> Amount:
    """Return what a balance holds, with what live runs have reserved."""
    amount = view.spent.get(name, NOTHING)
    for line in view.lines:
        inside = line.entry.line > view.settled
        if inside and name in periods(line.entry.wish, line.entry.at).values():
            amount += line.cost
    return amount


def ended(view: View) -> View:
    """Return the view without the runs that are under way: they may spend less than they may."""
    return replace(view, lines=tuple(line for line in view.lines if line.end))


def reservation(wish: Wish, budgets: Budgets) -> Amount:
    """Return what a run reserves; nothing for an engine that costs nothing."""
    return NOTHING if wish.engine in FREE else budgets.run


def exhausted(
    wish: Wish, view: View, budgets: Budgets, now: dt.datetime, *, incident: Amount = NOTHING
) -> str:
    """Say which budget has no room for one more run; "" if all have. `incident`: spent on it."""
    if wish.engine in FREE:
        return ""
    names = periods(wish, now)
    for scope, limit in _limits(budgets):
        spent = incident if scope == "incident" else used(view, names[scope])
        if said := _over(spent, budgets.run, limit):
            return f"the budget of {_called(scope, wish)} is used up: {said}"
    return ""


def _limits(budgets: Budgets) -> Iterator[tuple[str, Amount]]:
    for scope in ("incident", "namespace", "day", "month", "total"):
        yield scope, getattr(budgets, scope)


def _called(scope: str, wish: Wish) -> str:
    return {
        "incident": "this incident",
        "namespace": f"namespace {wish.namespace or '-'} for today",
        "day": "today",
        "month": "this month",
        "total": "the whole",
    }[scope]


def _over(spent: Amount, more: Amount, limit: Amount) -> str:
    """Say by what a limit would be passed; "" if it would not. A limit of 0 is none."""
    if limit.tokens and (spent.tokens + more.tokens > limit.tokens or spent.tokens == limit.tokens):
        return f"{spent.tokens:,} of {limit.tokens:,} tokens, and a run reserves {more.tokens:,}"
    if limit.usd and (spent.usd + more.usd > limit.usd + 1e-9 or spent.usd >= limit.usd - 1e-9):
        return f"{spent.usd:.2f} of {limit.usd:.2f} USD, and a run reserves {more.usd:.2f}"
    return ""


@dataclass(frozen=True)
class Row:
    """One budget as people see it."""

    scope: str
    name: str
    used: Amount  # spent and reserved
    limit: Amount
    reserved: Amount = NOTHING  # of it, by runs that have not ended


def table(view: View, budgets: Budgets, now: dt.datetime) -> list[Row]:
    """Return every budget of now, and every namespace of today that has spent or reserved."""
    day = f"{now.astimezone(dt.UTC):%Y-%m-%d}"
    whole = {"day": f"day/{day}", "month": f"month/{day[:7]}", "total": "total"}
    limits = dict(_limits(budgets))
    rows = [_row(view, scope, name, limits[scope]) for scope, name in whole.items()]
    return rows + [
        _row(view, "namespace", name, budgets.namespace)
        for name in sorted(_namespaces(view))
        if name.endswith(f"/{day}")
    ]


def _row(view: View, scope: str, name: str, limit: Amount) -> Row:
    whole = used(view, name)
    done = used(ended(view), name)
    live = Amount(tokens=whole.tokens - done.tokens, usd=max(0.0, whole.usd - done.usd))
    return Row(scope, name, whole, limit, live)


def _namespaces(view: View) -> set[str]:
    live: Iterable[str] = (
        periods(line.entry.wish, line.entry.at)["namespace"] for line in view.lines
    )
    return {name for name in (*view.spent, *live) if name.startswith("namespace/")}
