"""Accept an event, deliver it to every Trigger that wants it, through the wire format.

Accepting means that the journal has it. Every delivery is encoded, answered and decoded as between
two machines, so what would fail on a cluster fails here. At least once: what was not struck off
before a crash is delivered again. No order is promised. What an answer means: `delivery.py`; how
events come in over HTTP: `ingress.py`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from faultline import wire
from faultline.broker import delivery
from faultline.broker.delivery import Kind, Mode, Verdict
from faultline.broker.journal import DeadLetter, Entry, Journal, Row
from faultline.broker.schedule import Schedule
from faultline.broker.subscribers import Post, Subscriber
from faultline.broker.triggers import Delivery, Trigger
from faultline.errors import NotAnEvent, NotFound, Rejected, Unavailable
from faultline.event import Event
from faultline.limits import event_read_bytes_max
from faultline.ports import Sink
from faultline.serve import about_event

if TYPE_CHECKING:
    import httpx

HOPS_MAX = 255
COUNTERS = (
    "accepted",  # events taken on
    "malformed",  # events refused
    "unmatched",  # accepted, and no Trigger wanted them
    "delivered",  # deliveries a subscriber took
    "retried",  # attempts that failed and are made again
    "dead_lettered",  # deliveries given up on, on the way to their sink
    "dropped",  # deliveries given up on without a sink, or refused by it
)

_log = logging.getLogger(__name__)


class Broker:
    """One Broker of Knative, in this process. Safe for threads."""

    def __init__(
        self,
        triggers: Sequence[Trigger],
        subscribers: Mapping[str, Subscriber],
        journal: Journal | None = None,
        *,
        clock: Callable[[], float],
        mode: Mode = "mt",
        serial: Collection[str] = (),
        chance: random.Random | None = None,
        hops_max: int = HOPS_MAX,
        client: httpx.Client | None = None,
    ) -> None:
        """Take up what the journal still owes; without one, everything is kept in memory.

        `subscribers` maps the name of a Service to a function; a destination with an absolute URI
        is posted to through `client`. `clock` gives seconds since the epoch. `serial` names
        Triggers whose deliveries never overlap. `chance` shuffles what is due together.
        """
        self.triggers = {trigger.name: trigger for trigger in triggers}
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._journal = Journal() if journal is None else journal
        self._clock = clock
        self._skew_s = 0.0  # how far `run_until_idle` has run ahead of the clock
        self._mode: Mode = mode
        self._hops_max = hops_max
        self._post = Post(subscribers, mode, self._now, client)
        self._schedule = Schedule(serial, chance)
        self._changed = threading.Condition()
        self._stopping = False
        self._workers: list[threading.Thread] = []
        for row in self._journal.owed():
            self._resume(row)

    # accepting

    def accept(self, event: Event) -> None:
        """Return once the event is durable. Raises Rejected (out of hops, no CloudEvent) and
        Unavailable (the journal did not take it: nothing was accepted)."""
        self.store([self.admit(event)])

    def admit(self, event: Event) -> Entry:
        """Check and stamp an event and find its Triggers, once. Raises Rejected."""
        now = self._now()
        hops = delivery.hops_left(event, self._hops_max)
        if hops <= 0:
            self.refused()
            raise Rejected(
                f"expected an event with hops left, {event.id} has none: it runs in a loop"
            )
        try:
            body = wire.to_bytes(delivery.stamp(event, now, hops))
        except NotAnEvent:
            self.refused()
            raise
        return Entry(body, tuple(self._wanted(event)), now)

    def store(self, entries: Sequence[Entry]) -> None:
        """Return once admitted events are durable, with one commit. Raises Unavailable."""
        wanted = [entry for entry in entries if entry.triggers]
        numbers = self._journal.accept(wanted) if wanted else []
        self._count("accepted", len(entries))
        self._count("unmatched", len(entries) - len(wanted))
        self._owe(wanted, numbers)

    def sink(self) -> Sink:
        """Return the port through which steps post to this broker, without HTTP."""
        return _Sink(self)

    def refused(self) -> None:
        """Count an event that was no event, or out of hops."""
        self._count("malformed")

    def _wanted(self, event: Event) -> Iterator[str]:
        for name, trigger in self.triggers.items():
            try:
                if trigger.matches(event):
                    yield name
            except Exception:  # one bad filter must not cost the others their event
                _log.exception("the filter of trigger %s broke on event %s", name, event.id)

    # delivering

    def run_until_idle(
        self, limit_s: float = 86_400.0, wait: Callable[[float], None] | None = None
    ) -> int:
        """Deliver everything, one after the other in this thread; return the number of attempts.

        Time jumps to the next delivery that is due, at most `limit_s` seconds in all; `wait` is
        called with the seconds instead, where the clock has to be moved along.
        """
        attempts, end = 0, self._now() + limit_s
        while True:
            row = self._take()
            if row is not None:
                self._attempt(row)
                attempts += 1
                continue
            due = self._schedule.next_due()
            if due is None or due > end:
                self._journal.flush()
                return attempts
            self._pass(due - self._now(), wait)

    def _pass(self, seconds: float, wait: Callable[[float], None] | None) -> None:
        if wait is not None:
            wait(max(seconds, 0.0))
        else:
            self._skew_s += max(seconds, 1e-6)

    def start(self, workers: int = 4) -> None:
        """Deliver in threads until `stop`."""
        self._stopping = False
        self._workers = [
            threading.Thread(target=self._work, name=f"broker-{number}", daemon=True)
            for number in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def stop(self, grace_s: float = 10.0) -> bool:
        """Finish what is being attempted, leave the rest in the journal; True if all finished."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        end = time.monotonic() + grace_s
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))
        self._journal.flush()
        return not any(worker.is_alive() for worker in self._workers)

    def owed(self) -> int:
        """Return how many deliveries wait, without those being attempted."""
        with self._changed:
            return len(self._schedule)

    def oldest_age_s(self) -> float:
        """Return how long ago the oldest event came that is still owed; 0 if none is.

        Raises Unavailable if the journal does not answer.
        """
        return delivery.age_s(self._journal.oldest(), self._now())

    def _work(self) -> None:
        while not self._stopping:
            row = self._take()
            self._rest() if row is None else self._attempt(row)

    def _rest(self) -> None:
        try:
            self._journal.flush()
        except Unavailable:
            _log.warning("what was delivered is not written down; it may be delivered again")
        with self._changed:
            due = self._schedule.next_due()
            now = self._now()
            if not self._stopping and (due is None or due > now):
                self._changed.wait(None if due is None else min(due - now, 60.0))

    def _take(self) -> Row | None:
        with self._changed:
            return self._schedule.take(self._now())

    def _attempt(self, row: Row) -> None:
        try:
            self._settle(row)
        except Exception as error:  # the journal is down, or a bug of ours: the delivery is owed
            _log.exception("delivery %s to %s is not settled", row.seq, row.trigger)
            self._again(row, Verdict(Kind.RETRY, type(error).__name__), wait_s_min=1.0)
        finally:
            with self._changed:
                self._schedule.attempted(row)
                self._changed.notify()

    def _settle(self, row: Row) -> None:
        trigger = self.triggers.get(row.trigger)
        if trigger is None:  # the routes have changed since it was accepted
            _log.warning("nobody is called %s any more: delivery %s dropped", row.trigger, row.seq)
            self._dropped(row)
            return
        try:
            event = wire.from_bytes(self._journal.body(row.seq))
        except (NotFound, NotAnEvent):  # no use in asking again
            _log.exception("delivery %s to %s cannot be read and is dropped", row.seq, row.trigger)
            self._dropped(row)
            return
        with about_event(event):
            verdict = self._post.deliver(trigger, event, dead=row.dead)
            if verdict.reply is not None and not row.dead:
                verdict = self._replied(row, event, verdict.reply, verdict)
            self._conclude(trigger, row, event, verdict)

    def _dropped(self, row: Row) -> None:
        self._count("dropped")
        self._over(row, lambda: self._journal.finish(row))

    def _conclude(self, trigger: Trigger, row: Row, event: Event, verdict: Verdict) -> None:
        if verdict.kind is Kind.DONE:
            self._count("delivered")
            self._delivered(row, verdict)
        elif verdict.kind is Kind.RETRY and row.attempts < trigger.delivery.retry:
            self._count("retried")
            self._again(row, verdict)
        else:
            self._give_up(trigger, row, event, verdict)

    # afterwards

    def _delivered(self, row: Row, verdict: Verdict) -> None:
        if row.dead:
            self._over(row, lambda: self._journal.rest(row, "parked"))
        elif verdict.reply is None:
            self._over(row, lambda: self._journal.finish(row))

    def _replied(self, row: Row, event: Event, reply: Event, verdict: Verdict) -> Verdict:
        """Keep the reply and strike the delivery off in one commit; else the delivery failed."""
        try:
            entry = self.admit(delivery.inherit(reply, event))
        except Rejected as error:
            return Verdict(Kind.GIVE_UP, f"its reply was refused: {error}", 400)
        wanted = [entry] if entry.triggers else []
        try:
            numbers = self._journal.finish(row, wanted)
        except Unavailable as error:
            return delivery.no_answer(f"its reply could not be kept: {error}")
        self._count("accepted")
        self._count("unmatched", 1 - len(wanted))
        with self._changed:
            self._schedule.over(row)
        self._owe(wanted, numbers)
        return verdict

    def _again(self, row: Row, verdict: Verdict, wait_s_min: float = 0.0) -> None:
        failed = row.attempts + 1
        wait_s = delivery.wait_s(self._policy(row), failed, self._mode, verdict.retry_after_s)
        later = row._replace(attempts=failed, due=self._now() + max(wait_s, wait_s_min))
        self._journal.postpone(later)
        with self._changed:
            self._schedule.again(later)

    def _policy(self, row: Row) -> Delivery:
        trigger = self.triggers.get(row.trigger)
        return Delivery() if trigger is None else trigger.delivery

    def _give_up(self, trigger: Trigger, row: Row, event: Event, verdict: Verdict) -> None:
        _log.warning(
            "event %s given up on for trigger %s after %d attempts: %s",
            event.id, trigger.name, row.attempts + 1, verdict.reason,
        )  # fmt: skip
        if row.dead:
            self._count("dropped")
            self._over(row, lambda: self._journal.rest(row, "dropped"))
            return
        has_sink = trigger.delivery.dead_letter is not None
        self._bury(trigger, row, event, verdict, "sending" if has_sink else "dropped")

    def _bury(
        self, trigger: Trigger, row: Row, event: Event, verdict: Verdict, outcome: str
    ) -> None:
        now, sinks = self._now(), None
        if outcome == "sending":
            dead = delivery.dead_letter(event, trigger.subscriber.address, verdict, self._mode)
            sinks = Entry(wire.to_bytes(dead), (trigger.name,), now)
        letter = DeadLetter(
            0, now, trigger.name, wire.to_bytes(event), verdict.code, verdict.reason, outcome
        )
        number = self._journal.bury(row, letter, sinks)
        self._count("dropped" if sinks is None else "dead_lettered")
        with self._changed:
            self._schedule.over(row)
            if sinks is not None:
                self._schedule.again(Row(number, trigger.name, True, 0, now))
                self._changed.notify()

    def _over(self, row: Row, write: Callable[[], object]) -> None:
        write()
        with self._changed:
            self._schedule.over(row)
            self._changed.notify()

    # dead letters

    def dead_letters(self) -> list[DeadLetter]:
        """Return what was given up on, oldest first."""
        return self._journal.dead_letters()

    def replay(self, number: int) -> None:
        """Deliver a dead letter again, to the Trigger that had it, with all its attempts.

        Raises NotFound if there is none (any more), Rejected if its Trigger is gone.
        """
        letter = self._journal.dead_letter(number)
        if letter.trigger not in self.triggers:
            raise Rejected(f"expected a Trigger called {letter.trigger}, there is none any more")
        if letter.outcome == "sending":
            raise Unavailable(f"dead letter {number} is still on its way to its sink; wait for it")
        entry = Entry(letter.body, (letter.trigger,), self._now())
        self._owe([entry], self._journal.exhume(letter, entry))

    # inside

    def _owe(self, entries: Sequence[Entry], numbers: Sequence[int]) -> None:
        with self._changed:
            for entry, number in zip(entries, numbers, strict=True):
                for name in entry.triggers:
                    self._add(Row(number, name, False, 0, entry.due), entry.body)
            self._changed.notify(len(entries))

    def _add(self, row: Row, body: bytes | None) -> None:
        trigger = self.triggers.get(row.trigger)
        if trigger is None or not trigger.ordered or row.dead:
            self._schedule.again(row)
            return
        event = wire.from_bytes(self._journal.body(row.seq) if body is None else body)
        key = event.extensions.get("partitionkey")
        self._schedule.add(row, None if key is None else f"{row.trigger}\n{key}")

    def _resume(self, row: Row) -> None:
        """Owe what an earlier process left, and never later than its own policy would."""
        waits = delivery.wait_s(self._policy(row), max(1, row.attempts), self._mode)
        latest = self._now() + waits
        self._add(row._replace(due=min(row.due, latest)), None)

    def _now(self) -> float:
        return self._clock() + self._skew_s

    def _count(self, name: str, number: int = 1) -> None:
        with self._changed:
            self.counters[name] += number


class _Sink:
    """The port `Batches`: an event goes over the wire format here too."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def send(self, event: Event) -> None:
        self.send_all([event])

    def send_all(self, events: Sequence[Event]) -> None:
        sent = (wire.encode(event, structured=True) for event in events)
        received = (wire.decode(*one, bytes_max=event_read_bytes_max) for one in sent)
        self._broker.store([self._broker.admit(event) for event in received])
