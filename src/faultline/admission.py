"""Who gets an agent now, who waits, and in which order: caps, the breaker, fairness. Pure.

It judges one view of the ledger (`budgets.py`), which `ledger.py` reads. Nothing is remembered: the
same records give the same answer before and after a restart.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from faultline.budgets import FREE, Line, View, exhausted, reservation
from faultline.model import Entry, Policy, Wish

HOUR = dt.timedelta(hours=1)
BREAKS_AFTER = 5  # runs in a row that a provider failed
PROBE_EVERY = dt.timedelta(seconds=60)
PROVIDER_FAILED = frozenset({"auth", "no_model", "quota", "overloaded", "unreachable", "start"})
_SAYS_NOTHING = frozenset({"cancelled", "lost", "never_began"})  # of the provider


# the caps


def refusal(wish: Wish, lines: Sequence[Line], now: dt.datetime, policy: Policy) -> str:
    """Say why this run gets no agent now; "" if it does."""
    others = [line for line in lines if line.entry.wish.run != wish.run]
    return (
        _no_slot(wish, [line for line in others if line.end is None], policy)
        or _too_many(wish, [line for line in others if now - line.entry.at < HOUR], policy)
        or _broken(wish, others, now)
    )


def _no_slot(wish: Wish, live: Sequence[Line], policy: Policy) -> str:
    if len(live) >= policy.slots:
        return f"{len(live)} agents are running, {policy.slots} may"
    here = sum(line.entry.wish.cluster == wish.cluster for line in live)
    if here >= policy.slots_per_cluster:
        return (
            f"{here} agents are running for cluster {wish.cluster}, {policy.slots_per_cluster} may"
        )
    return ""


def _too_many(wish: Wish, recent: Sequence[Line], policy: Policy) -> str:
    if len(recent) >= policy.runs_per_hour:
        return f"{len(recent)} runs began within an hour, {policy.runs_per_hour} may"
    same = sum(line.entry.wish.key == wish.key for line in recent)
    if wish.number == 1 and policy.runs_per_workload and same >= policy.runs_per_workload:
        cap = policy.runs_per_workload
        return f"{same} runs began for this workload within an hour, {cap} may"
    return ""


def _broken(wish: Wish, lines: Sequence[Line], now: dt.datetime) -> str:
    breaker = breaker_state(lines, wish.engine, now)
    if breaker.state is State.CLOSED or breaker.probe:
        return ""
    return (
        f"{wish.engine} failed {breaker.failures} times in a row ({breaker.reason}); "
        f"it is tried again once every {PROBE_EVERY.seconds} s"
    )


# the breaker


class State(StrEnum):
    """Of a breaker: runs begin; none does; one is trying."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True)
class Breaker:
    """How it stands with one engine's provider. `probe`: may one run try it now?"""

    engine: str
    state: State = State.CLOSED
    failures: int = 0  # in a row, the newest included
    reason: str = ""  # of the newest
    since: dt.datetime | None = None  # when the newest failure was
    probe: bool = False


def breaker_state(lines: Iterable[Line], engine: str, now: dt.datetime) -> Breaker:
    """Return the state of an engine's breaker from the ledger's lines."""
    own = [line for line in lines if line.entry.wish.engine == engine]
    told = [line.end for line in own if line.end and line.end.reason not in _SAYS_NOTHING]
    ends = sorted(told, key=lambda end: end.at, reverse=True)
    failures = next(
        (n for n, end in enumerate(ends) if end.reason not in PROVIDER_FAILED), len(ends)
    )
    if engine in FREE or failures < BREAKS_AFTER:
        return Breaker(engine, failures=failures)
    newest = ends[0]
    trying = any(line.end is None and line.entry.at >= newest.at for line in own)
    began = max([newest.at, *(line.entry.at for line in own)])
    return Breaker(
        engine,
        State.PROBING if trying else State.OPEN,
        failures,
        newest.reason,
        newest.at,
        probe=now - began >= PROBE_EVERY and all(line.end for line in own),
    )


# the queue


def in_order(wishes: Iterable[Wish], lines: Iterable[Line] = (), *, now: dt.datetime) -> list[Wish]:
    """Return who is next: the most severe; among equals namespaces in turn, the oldest of each.

    A namespace's turns of the last hour count, so that a long queue of one starves no other.
    """
    turns = Counter(_home(line.entry.wish) for line in lines if now - line.entry.at < HOUR)
    ranked = []
    for wish in sorted(wishes, key=lambda w: (-w.severity.rank, w.since, w.run)):
        ranked.append((-wish.severity.rank, turns[_home(wish)], wish.since, wish.run, wish))
        turns[_home(wish)] += 1
    return [row[-1] for row in sorted(ranked, key=lambda row: row[:-1])]


def _home(wish: Wish) -> tuple[str, str]:
    return wish.cluster, wish.namespace


def chosen(wishes: Iterable[Wish], view: View, now: dt.datetime, policy: Policy) -> list[Wish]:
    """Return those who get an agent now, in order: as many as there is room for, no more."""
    found: list[Wish] = []
    for wish in in_order(wishes, view.lines, now=now):
        full = refusal(wish, view.lines, now, policy)
        if not full and not exhausted(wish, view, policy.budgets, now):
            found.append(wish)
            view = _with(view, wish, now, policy)
    return found


def _with(view: View, wish: Wish, now: dt.datetime, policy: Policy) -> View:
    """Return the ledger as it would be if this run were let in."""
    reserved = reservation(wish, policy.budgets)
    entry = Entry(line=view.last + 1, wish=wish, at=now, reserved=reserved)
    return replace(view, lines=(*view.lines, Line(entry)), last=entry.line)


def expired(wish: Wish, now: dt.datetime, policy: Policy) -> bool:
    """Has this run waited so long that people should hear what is known without an agent?"""
    return (now - wish.since).total_seconds() >= policy.wait_max_s
