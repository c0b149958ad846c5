"""The ledger of agent runs and the queue before it, over the store. Nothing of it is in memory.

Who may begin a run appends one line; the line's number is the next free one, and writing it is a
conditional write. So of any number of racing launches one is next, and the others look again: each
line was written by someone who knew all lines before it. Caps and budgets hold at every instant,
whoever crashes. What ends a line is the run's own `result.json`. The judgements are `admission.py`
and `budgets.py`; decision 16.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from faultline import keys
from faultline.admission import (
    HOUR,
    Breaker,
    breaker_state,
    chosen,
    expired,
    in_order,
    refusal,
)
from faultline.budgets import (
    NOTHING,
    End,
    Line,
    Row,
    View,
    balance,
    ended,
    exhausted,
    reservation,
    table,
)
from faultline.calm import calm
from faultline.correlate import NODE_DOWN, node_key, node_of
from faultline.errors import NotFound
from faultline.event import CARRIED, CONTEXT_READY, Event
from faultline.incidents import Incidents, content
from faultline.model import Amount, Entry, Incident, JobState, Policy, Run, Wish
from faultline.store import put_once

_LONGEST = dt.timedelta(days=2)  # no run may last longer than one; its records may be removed
_SKEW = dt.timedelta(minutes=5)  # how far clocks of two launches may differ

Job = Callable[[Run], JobState]


class Say(StrEnum):
    """What becomes of a wish."""

    GO = "go"
    WAIT = "wait"
    WITHOUT = "without"  # an answer of the analyzers alone, now


@dataclass(frozen=True)
class Answer:
    """What becomes of a wish, and why."""

    say: Say
    reason: str = ""


def wish_of(run: Run, incident: Incident) -> Wish:
    """Return the wish for an agent that a run is."""
    return Wish(
        incident_id=run.incident_id,
        number=run.number,
        cluster=run.cluster,
        namespace=run.namespace,
        key=incident.key,
        node=node_of(incident.fault),
        engine=run.engine,
        severity=incident.fault.severity,
        since=run.created_at,
    )


def admit(wish: Wish, incidents: Incidents, job: Job, policy: Policy, now: dt.datetime) -> Answer:
    """Let the run in, by a line of the ledger; or say why not, and keep that it waits.

    Asked again for the same run it gives the same answer: who has a line has it for good. While
    nothing burns a first run waits: `sweep` asks again if a fault comes back.
    """
    if wish.number == 1 and calm(incidents, wish.incident_id, now):
        return Answer(Say.WAIT, "every fault is over; an agent is asked if one comes back")
    while True:
        view = read(incidents, job, now)
        if any(line.entry.wish.run == wish.run for line in view.lines):
            return Answer(Say.GO)
        if reason := sheltered(incidents, wish):
            _keep_waiting(wish, reason, incidents)
            return Answer(Say.WAIT, reason)
        spent, budgets = spent_on(incidents, wish), policy.budgets
        if reason := exhausted(wish, ended(view), budgets, now, incident=spent):
            return Answer(Say.WITHOUT, reason)
        wish = known(incidents, wish)
        reserved = exhausted(wish, view, budgets, now, incident=spent)
        if reason := reserved or _not_next(wish, incidents, view, policy, now):
            return _waits(wish, reason, incidents, policy, now)
        if _append(wish, view, incidents, policy, now):
            return Answer(Say.GO)


def _not_next(
    wish: Wish, incidents: Incidents, view: View, policy: Policy, now: dt.datetime
) -> str:
    if reason := refusal(wish, view.lines, now, policy):
        return reason
    rivals = [w for w in queue(incidents, policy, now) if w.run != wish.run]
    hopeful = [w for w in rivals if not expired(w, now, policy)]
    first = chosen([wish, *hopeful], view, now, policy)
    return "" if wish in first else f"{len(hopeful)} others wait, and some of them come first"


def _waits(
    wish: Wish, reason: str, incidents: Incidents, policy: Policy, now: dt.datetime
) -> Answer:
    if expired(wish, now, policy):
        minutes = (now - wish.since).total_seconds() / 60
        return Answer(Say.WITHOUT, f"it waited {minutes:.0f} minutes for an agent: {reason}")
    _keep_waiting(wish, reason, incidents)
    return Answer(Say.WAIT, reason)


def _keep_waiting(wish: Wish, reason: str, incidents: Incidents) -> None:
    record = wish.model_copy(update={"reason": reason})
    put_once(incidents.store, keys.waiting(wish.incident_id, wish.number), content(record))


def _append(wish: Wish, view: View, incidents: Incidents, policy: Policy, now: dt.datetime) -> bool:
    settled, spent = balance(view, now)
    entry = Entry(
        line=view.last + 1,
        wish=wish,
        at=now,
        reserved=reservation(wish, policy.budgets),
        settled=settled,
        spent=spent,
    )
    return put_once(incidents.store, keys.ledger(entry.line), content(entry))


# the ledger


def read(incidents: Incidents, job: Job, now: dt.datetime) -> View:
    """Return the ledger: its balance, the lines not in it, and those of the last hour."""
    head = _head(incidents)
    if head is None:
        return View()
    lines: list[Line] = []
    for number in range(head.line, 0, -1):
        try:
            entry = _entry(incidents, number)
        except NotFound:
            if number > head.settled:
                raise
            break  # an old page, which somebody has removed
        if number <= head.settled and now - entry.at > HOUR + _SKEW:
            break
        lines.append(Line(entry, _end(entry, incidents, job, now)))
    return View(tuple(reversed(lines)), head.settled, head.spent, head.line)


def _head(incidents: Incidents) -> Entry | None:
    pages = list(incidents.store.folders(keys.LEDGER))
    if not pages:
        return None
    newest = max(incidents.store.list(f"{keys.LEDGER}{max(pages)}/"))
    return _entry(incidents, keys.line_of(newest))


def _entry(incidents: Incidents, number: int) -> Entry:
    return Entry.model_validate_json(incidents.store.get(keys.ledger(number)))


def _end(entry: Entry, incidents: Incidents, job: Job, now: dt.datetime) -> End | None:
    """Return how a run ended. One that died without a word is `sweep`'s to end, and has its slot
    until then; if a person closed its incident nobody will, and its Job being gone is the end.
    """
    wish = entry.wish
    result = incidents.result(wish.incident_id, wish.number)
    if result:
        unknown = result.reason == "lost"  # nobody counted: then it is what it might have been
        spent = Amount(tokens=result.tokens, usd=result.cost_usd)
        return End(result.completed_at, result.reason, entry.reserved if unknown else spent)
    if now - entry.at > _LONGEST:
        return End(entry.at + _LONGEST, "lost", entry.reserved)
    closed = incidents.closed(wish.incident_id)
    if closed is None:
        return None
    run = incidents.run(wish.incident_id, wish.number)
    state = job(run) if run else JobState.ABSENT
    over = entry.at + dt.timedelta(seconds=run.deadline_s if run else 0) + _SKEW
    if state is JobState.ENDED or (state is JobState.ABSENT and now > over):
        return End(max(closed.at, entry.at), "never_began", entry.reserved)
    return None


def spent_on(incidents: Incidents, wish: Wish) -> Amount:
    """Return what the earlier runs of an incident have spent."""
    spent = NOTHING
    for number in range(1, wish.number):
        if result := incidents.result(wish.incident_id, number):
            spent += Amount(tokens=result.tokens, usd=result.cost_usd)
    return spent


# the queue


def known(incidents: Incidents, wish: Wish) -> Wish:
    """Return the wish with the age it has on record, if it waits already."""
    before = incidents.wish(wish.incident_id, wish.number)
    if before is None:
        return wish
    return wish.model_copy(update={"since": _since(before, _shelter(incidents, wish))})


def waiting(incidents: Incidents, policy: Policy, now: dt.datetime) -> list[Wish]:
    """Return the runs that wait for an agent, of the incidents that `sweep` looks at."""
    return [wish for wish in _asked(incidents, policy, now) if _waits_still(incidents, wish, now)]


def queue(incidents: Incidents, policy: Policy, now: dt.datetime) -> list[Wish]:
    """Return those of the waiting whose turn may come: no incident about their node is open."""
    found, shelters = [], {}
    for wish in waiting(incidents, policy, now):
        place = (wish.cluster, wish.node)
        if place not in shelters:
            shelters[place] = _shelter(incidents, wish)
        if not _is_open(shelters[place]) or wish.number > 1:
            since = _since(wish, shelters[place])
            found.append(wish.model_copy(update={"since": since}))
    return found


@dataclass(frozen=True)
class Shelter:
    """The newest incident that says that a node is gone; `closed_at` is None while it is open."""

    incident_id: str
    closed_at: dt.datetime | None


def sheltered(incidents: Incidents, wish: Wish) -> str:
    """Say which open incident looks into what this run would: its node is gone. "" if none does."""
    shelter = _shelter(incidents, wish)
    if shelter is None or not _is_open(shelter) or wish.number > 1:
        return ""
    return f"node {wish.node} is gone, and incident {shelter.incident_id} looks into that"


def _shelter(incidents: Incidents, wish: Wish) -> Shelter | None:
    claims = incidents.claims(node_key(wish.cluster, wish.node)) if wish.node else iter(())
    claim = next(claims, None)
    if claim is None or claim.incident.fault.name not in NODE_DOWN:
        return None
    newest = claim.incident
    closed = incidents.closed(newest.id)
    return Shelter(newest.id, closed.at if closed else None)


def _is_open(shelter: Shelter | None) -> bool:
    return shelter is not None and shelter.closed_at is None


def _since(wish: Wish, shelter: Shelter | None) -> dt.datetime:
    """Return since when it waits for its own sake: not while its node was looked into."""
    closed_at = shelter.closed_at if shelter else None
    return max(wish.since, closed_at) if closed_at else wish.since


def _asked(incidents: Incidents, policy: Policy, now: dt.datetime) -> Iterator[Wish]:
    first = now - dt.timedelta(days=policy.sweep_days)  # none is the last: clocks may be ahead
    for day in incidents.store.folders(keys.WAITING):
        if day >= f"{first:%Y%m%d}":
            folder = f"{keys.WAITING}{day}/"
            done = incidents.settled(day, keys.SWEEP)
            for key in incidents.store.list(folder):
                if key.removeprefix(folder).rpartition("-")[0] not in done:
                    yield Wish.model_validate_json(incidents.store.get(key))


def _waits_still(incidents: Incidents, wish: Wish, now: dt.datetime) -> bool:
    begun = incidents.run(wish.incident_id, wish.number)
    if begun is not None or incidents.closed(wish.incident_id):
        return False
    return calm(incidents, wish.incident_id, now) is None  # else nothing burns


def next_up(incidents: Incidents, job: Job, policy: Policy, now: dt.datetime) -> list[Wish]:
    """Return those waiting for whom something can be done now: an agent, or an answer without."""
    found = queue(incidents, policy, now)
    if not found:
        return []
    late = [wish for wish in found if expired(wish, now, policy)]
    hopeful = [wish for wish in found if not expired(wish, now, policy)]
    return chosen(hopeful, read(incidents, job, now), now, policy) + late


def calls(
    event: Event, source: str, incidents: Incidents, job: Job, policy: Policy, now: dt.datetime
) -> Iterator[Event]:
    """Yield the events that call those of `next_up`, in order, caused by this event."""
    for wish in next_up(incidents, job, policy, now):
        opener = incidents.opener(wish.incident_id).extensions  # its trace goes on, not ours
        wanted = {"engine": wish.engine} if wish.number > 1 else {}  # a person may have named it
        yield event.caused(
            CONTEXT_READY,
            source=source,
            subject=wish.incident_id,
            data={"run": wish.number, **wanted},
            extensions={name: opener[name] for name in CARRIED if name in opener},
        )


# how it stands, for people and metrics


@dataclass(frozen=True)
class Standing:
    """The ledger for pages, metrics and `faultline budgets`."""

    rows: tuple[Row, ...]  # every budget of now
    live: int  # lines that have not ended
    waiting: tuple[Wish, ...]  # next first
    breakers: tuple[Breaker, ...]  # one per engine that ran within the hour


def standing(incidents: Incidents, policy: Policy, now: dt.datetime) -> Standing:
    """Return how it stands. It asks no cluster: a Job that died is alive until `sweep` saw it."""
    view = read(incidents, lambda _: JobState.LIVE, now)
    engines = sorted({line.entry.wish.engine for line in view.lines})
    return Standing(
        rows=tuple(table(view, policy.budgets, now)),
        live=sum(line.end is None for line in view.lines),
        waiting=tuple(in_order(waiting(incidents, policy, now), view.lines, now=now)),
        breakers=tuple(breaker_state(view.lines, engine, now) for engine in engines),
    )
