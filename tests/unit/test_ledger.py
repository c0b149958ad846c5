"""Racing launches: whoever is next writes the next line, and all others look again."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable

import pytest

from faultline import keys
from faultline.adapters.stores.memory import MemoryStore
from faultline.incidents import Incidents, content
from faultline.ledger import Answer, Say, admit, read, waiting
from faultline.model import (
    Amount,
    Budgets,
    Closed,
    ClosedBecause,
    JobState,
    Policy,
    Result,
    Run,
    RunStatus,
    Wish,
)

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
ENOUGH = Policy(slots=99, slots_per_cluster=99, runs_per_hour=99)


def wish(name: str, number: int = 1) -> Wish:
    return Wish(
        incident_id=f"20261121-{name}-5c1e9b2a", number=number, cluster="prod-a",
        namespace="shop", key=name, engine="claude", since=NOW,
    )  # fmt: skip


def alive(run: Run) -> JobState:
    return JobState.LIVE


class Interrupted(MemoryStore):
    """A store in which others act just before a line of the ledger is written."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Callable[[], object]] = []

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if key.startswith(keys.LEDGER) and self.before:
            self.before.pop()()
        super().put(key, data, if_absent=if_absent)


def ends(incidents: Incidents, of: Wish, *, tokens: int = 0, reason: str = "", at=NOW) -> None:
    result = Result(
        incident_id=of.incident_id, run=of.number, status=RunStatus.FAILED, reason=reason,
        started_at=at, completed_at=at, tokens=tokens,
    )  # fmt: skip
    incidents.record(of.incident_id, keys.run_record(of.number, keys.RESULT), result)


@pytest.mark.parametrize("names", list(itertools.permutations("abcd")))
@pytest.mark.parametrize(
    "policy",
    [
        Policy(slots=2, slots_per_cluster=9),
        Policy(slots=9, slots_per_cluster=2),
        Policy(slots=9, slots_per_cluster=9, runs_per_hour=2),
        ENOUGH.model_copy(
            update={"budgets": Budgets(run=Amount(tokens=100), day=Amount(tokens=299))}
        ),
        ENOUGH.model_copy(update={"budgets": Budgets(run=Amount(usd=0.1), total=Amount(usd=0.2))}),
    ],
    ids=["slots", "cluster", "hour", "tokens", "usd"],
)
def test_of_four_that_race_for_two_places_two_get_one_whoever_writes_first(names, policy) -> None:
    store = Interrupted()
    answers: dict[str, Answer] = {}

    def ask(name: str) -> None:
        answers[name] = admit(wish(name), Incidents(store), alive, policy, NOW)

    first, *rivals = names
    store.before = [lambda name=name: ask(name) for name in rivals]
    ask(first)

    assert sum(answer.say is Say.GO for answer in answers.values()) == 2
    assert len(answers) == 4
    assert len(list(store.list(keys.LEDGER))) == 2


def test_who_has_a_line_has_it_for_good_and_needs_no_second() -> None:
    incidents = Incidents(MemoryStore())
    policy = Policy(slots=1)

    said = [admit(wish("a"), incidents, alive, policy, NOW).say for _ in range(3)]

    assert said == [Say.GO] * 3
    assert len(list(incidents.store.list(keys.LEDGER))) == 1


def test_an_end_makes_room_and_is_settled_with_what_was_spent() -> None:
    incidents = Incidents(MemoryStore())
    budgets = Budgets(run=Amount(tokens=100), day=Amount(tokens=150))
    policy = Policy(slots=1, budgets=budgets)
    admit(wish("a"), incidents, alive, policy, NOW)

    assert admit(wish("b"), incidents, alive, policy, NOW).say is Say.WAIT

    ends(incidents, wish("a"), tokens=50)

    assert admit(wish("b"), incidents, alive, policy, NOW).say is Say.GO

    ends(incidents, wish("b"), tokens=60)

    assert admit(wish("c"), incidents, alive, policy, NOW).say is Say.WITHOUT


def test_a_run_that_was_lost_counts_with_all_that_it_had_reserved() -> None:
    incidents = Incidents(MemoryStore())
    policy = Policy(budgets=Budgets(run=Amount(tokens=100), day=Amount(tokens=199)))
    admit(wish("a"), incidents, alive, policy, NOW)
    ends(incidents, wish("a"), reason="lost")

    assert admit(wish("b"), incidents, alive, policy, NOW).say is Say.WITHOUT


def test_a_line_of_a_closed_incident_is_over_when_its_job_is_and_not_before() -> None:
    incidents = Incidents(MemoryStore())
    admit(wish("a"), incidents, alive, Policy(), NOW)
    run = Run(
        incident_id=wish("a").incident_id, number=1, engine="claude", deadline_s=600,
        capsule_sha256="", created_at=NOW, cause={},
    )  # fmt: skip
    incidents.record(run.incident_id, "runs/1/run.json", run)
    closed = Closed(because=ClosedBecause.PERSON, by="a person", at=NOW, occurrences=())
    incidents.record(run.incident_id, keys.CLOSED, closed)

    def live_lines(state: JobState, after_s: float = 0) -> int:
        view = read(incidents, lambda _: state, NOW + dt.timedelta(seconds=after_s))
        return sum(line.end is None for line in view.lines)

    assert live_lines(JobState.LIVE, 9_999) == 1
    assert live_lines(JobState.ENDED) == 0
    assert live_lines(JobState.ABSENT) == 1  # it may be about to start
    assert live_lines(JobState.ABSENT, 901) == 0  # it is not any more


def test_a_reader_reads_the_balance_and_the_last_hour_and_not_all_lines() -> None:
    store = MemoryStore()
    incidents, read_keys = Incidents(store), []
    for n in range(40):
        at = NOW - dt.timedelta(minutes=30 * (40 - n))
        admit(wish(f"a{n}"), incidents, alive, ENOUGH, at)
        ends(incidents, wish(f"a{n}"), tokens=10, at=at)
    get = store.get
    store.get = lambda key: read_keys.append(key) or get(key)

    view = read(incidents, alive, NOW)

    assert view.settled == 39
    assert view.spent["total"] == Amount(tokens=390)
    assert len([key for key in read_keys if key.startswith(keys.LEDGER)]) <= 5


def test_old_pages_may_be_removed() -> None:
    incidents, store = Incidents(MemoryStore()), MemoryStore()
    for n in range(6):
        admit(wish(f"a{n}"), incidents, alive, ENOUGH, NOW)
        ends(incidents, wish(f"a{n}"), tokens=10)
    for key in incidents.store.list(""):
        if not key.startswith(keys.LEDGER) or keys.line_of(key) > 4:
            store.put(key, incidents.store.get(key))

    view = read(Incidents(store), alive, NOW)

    assert view.last == 6
    assert view.spent["total"] == Amount(tokens=50)


def test_a_line_whose_incident_was_removed_long_ago_holds_no_slot() -> None:
    incidents = Incidents(MemoryStore())
    admit(wish("a"), incidents, alive, Policy(), NOW)

    soon, late = NOW + dt.timedelta(days=1), NOW + dt.timedelta(days=3)

    assert admit(wish("b"), incidents, alive, Policy(), soon).say is not Say.GO
    assert admit(wish("c"), incidents, alive, Policy(), late).say is Say.GO


def test_the_queue_is_on_record_with_the_first_reason_and_the_first_time() -> None:
    incidents = Incidents(MemoryStore())
    policy = Policy()
    admit(wish("a"), incidents, alive, policy, NOW)
    later = NOW + dt.timedelta(seconds=90)
    admit(wish("b"), incidents, alive, policy, NOW)
    admit(wish("b").model_copy(update={"since": later}), incidents, alive, policy, later)

    (queued,) = waiting(incidents, policy, later)

    assert queued.since == NOW
    assert queued.reason == "1 agents are running for cluster prod-a, 1 may"


def test_a_page_of_the_ledger_follows_the_one_before() -> None:
    assert keys.ledger(999) < keys.ledger(1000) < keys.ledger(1001)
    assert keys.line_of(keys.ledger(1000)) == 1000


def test_a_closed_incident_no_longer_waits() -> None:
    incidents = Incidents(MemoryStore())
    policy = Policy()
    admit(wish("a"), incidents, alive, policy, NOW)
    admit(wish("b"), incidents, alive, policy, NOW)
    closed = Closed(because=ClosedBecause.PERSON, by="a person", at=NOW, occurrences=())
    incidents.store.put(keys.incident(wish("b").incident_id, keys.CLOSED), content(closed))

    assert waiting(incidents, policy, NOW) == []
