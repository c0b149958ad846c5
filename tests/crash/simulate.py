"""Crash simulation over the real steps: one seed, one world, one history of accidents.

Every effect (a record written, a Job started, an outlet told, an event sent) is a point where the
scheduler may switch to another worker, kill this one before the effect, or after it (a lost reply).
Deliveries are doubled, delayed and reordered; workers are paused and come back; agents die. Then
the accidents stop, the broker delivers what it owes, sweep pings, and the promises are checked:

I1 every accepted incident comes to an end      I4 at most one pull request per incident
I2 at most one Job per attempt                  I5 at most one top-level message per incident
I3 no Job without its sealed capsule            I6 nothing begins after a person closed it
I8 never more agents at once, an hour, or for one workload than the caps say, and none is let in
   beyond the budget, though launches overlap
I7 a fix that held is said to hold, and each thing is said of it under one id

Run it: `make simulate SEEDS=20000`, one seed again: `python tests/crash/simulate.py --seed 4711`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import gc
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from greenlet import getcurrent, greenlet

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faultline import keys, wire
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.events import event_of
from faultline.event import (
    CHANGE_MERGED,
    FIX_FAILED,
    FIX_VERIFIED,
    PING,
    Event,
    format_time,
    from_json,
)
from faultline.incidents import Incidents
from faultline.ledger import sheltered
from faultline.model import (
    Amount,
    Budgets,
    Closed,
    ClosedBecause,
    Fault,
    Incident,
    JobState,
    Merged,
    Policy,
    Receipt,
    Report,
    Resource,
    Result,
    Run,
    RunStatus,
    Severity,
    Status,
)
from faultline.ports import Ports
from faultline.routes import STEPS
from faultline.serve import Request, answer

START = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
ROUTES = {
    "dev.faultline.fault.detected.v1": "triage",
    "dev.faultline.incident.opened.v1": "context",
    "dev.faultline.context.ready.v1": "launch",
    "dev.faultline.run.finished.v1": "package",
    "dev.faultline.incident.closed.v1": "package",
    FIX_VERIFIED: "package",
    FIX_FAILED: "package",
    "dev.faultline.fault.cleared.v1": "close",
}
ON_PING = ("sweep", "verify")
POLICY = Policy(
    engine="claude", slots=1, runs_per_hour=3, nudge_after_s=60, wait_max_s=150, quiet_s=60,
    close_after_s=240,
    budgets=Budgets(run=Amount(tokens=100), total=Amount(tokens=350)),
)  # fmt: skip
WORKERS = 3
DELIVERIES_MAX = 3_000  # within a round; then something goes in circles
ROUNDS_MAX = 60  # of redelivery and sweeping after the accidents have stopped


class Crash(BaseException):
    """The process is gone. Not an Exception: nothing of ours may catch it."""


@dataclass
class Outcome:
    """What one seed came to."""

    seed: int
    missed: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    rounds: int = 0  # until everything was at rest, once accidents had stopped
    effects: int = 0
    crashes: int = 0

    @property
    def bad(self) -> bool:
        return bool(self.missed or self.doubled or self.unexpected)


Plan = Callable[[int, str], str]  # number and kind of an effect -> go, switch, before, after


class Effects:
    """The one layer that every outside action goes through."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.count, self.crashes = plan, 0, 0
        self.trace: list[str] = []

    def __call__(self, kind: str, name: str, act: Callable[[], Any]) -> Any:
        number, self.count = self.count, self.count + 1
        self.trace.append(f"{kind} {name}")
        verdict = self.plan(number, kind)
        if verdict == "switch":
            self._switch()
        if verdict == "before":
            self.crashes += 1
            raise Crash
        result = act()
        if verdict == "after":
            self.crashes += 1
            raise Crash
        return result

    def _switch(self) -> None:
        parent = getcurrent().parent
        if parent is not None:
            parent.switch("paused")


class WatchedStore:
    """A store whose writes are effects."""

    def __init__(self, effects: Effects) -> None:
        self.inner, self.effects = MemoryStore(), effects
        self.get, self.list, self.folders = self.inner.get, self.inner.list, self.inner.folders

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        self.effects("put", key, lambda: self.inner.put(key, data, if_absent=if_absent))


class Tiny:
    """A context source with one small file, so that thousands of seeds are quick."""

    name = "cluster"

    def collect(self, incident: Incident) -> Iterator[tuple[str, bytes]]:
        yield "context/logs.txt", b"==> api/app (current) <==\nstarting\n"
        yield "context/cluster-info.json", b'{"clusterName": "prod-a", "namespace": "shop"}\n'


class NoFiles:
    def files(self) -> Mapping[str, bytes]:
        return {}

    def revision(self) -> str:
        return ""


class Place:
    """An outlet that finds its own earlier work by the incident's id."""

    def __init__(self, sim: Simulation, name: str) -> None:
        self.sim, self.name = sim, name
        self.made: Counter[str] = Counter()
        self.merges: dict[str, Merged] = {}

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        id = report.incident.id
        if not self.made[id]:
            self.sim.begins(f"{self.name} {id}", id)
        return self.sim.effects(self.name, id, lambda: self._deliver(id, receipt))

    def _deliver(self, id: str, receipt: Receipt | None) -> Receipt:
        if not self.made[id]:  # it looks for its own earlier work first
            self.made[id] += 1
        return receipt or Receipt(outlet=self.name, reference=id, made_at=self.sim.now)

    def merge(self) -> None:
        for id in self.made:
            self.merges.setdefault(id, Merged(outlet=self.name, at=self.sim.now))

    def merged(self, receipt: Receipt) -> Merged | None:
        return self.merges.get(receipt.reference)


class Jobs:
    """Kubernetes: a Job's name is unique, it may die without a word, and forgets nothing."""

    def __init__(self, sim: Simulation) -> None:
        self.sim, self.runs = sim, {}
        self.created: Counter[str] = Counter()
        self.dead: set[str] = set()

    def start(self, run: Run) -> None:
        if run.id not in self.runs:
            self.sim.begins(f"job {run.id}", run.incident_id)
        self.sim.effects("job", run.id, lambda: self._start(run))

    def _start(self, run: Run) -> None:
        if run.id in self.runs:
            return
        self.sim.check_capsule(run)
        self.sim.check_caps(run)
        self.created[run.id] += 1
        self.runs[run.id] = run

    def state(self, run: Run) -> JobState:
        if run.id not in self.runs:
            return JobState.ABSENT
        return JobState.ENDED if run.id in self.dead else JobState.LIVE

    def live(self) -> Sequence[str]:
        return [id for id in self.runs if id not in self.dead]

    def cancel(self, run: Run) -> None:
        self.dead.add(run.id)


class Simulation:
    """One world and its accidents. `run()` returns what came of it."""

    def __init__(self, seed: int, plan: Plan | None = None, *, calm: bool = False) -> None:
        self.seed, self.chance, self.now = seed, random.Random(seed), START
        self.accidents = not calm
        self.effects = Effects(plan or self._plan)
        self.store = WatchedStore(self.effects)
        self.incidents = Incidents(self.store)
        self.forge, self.chat = Place(self, "pull-request"), Place(self, "message")
        self.jobs = Jobs(self)
        self.owed: list[tuple[str, Event]] = []
        self.said: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.workers: list[tuple[greenlet, tuple[str, Event]]] = []
        self.report = Outcome(seed)
        self.accepted: dict[str, Fault] = {}
        self.over: set[str] = set()
        self.coming_back: list[Fault] = []
        self.pace = self.chance.choice((0.2, 0.7))  # of agents: how often one ends within a minute
        self.ports = Ports(
            incidents=self.incidents,
            runner=self.jobs,
            sources=[Tiny()],
            manifests=NoFiles(),
            outlets=[self.forge, self.chat],
            sink=self,
            policy=POLICY,
            clock=lambda: self.now,
        )

    # the broker: at least once, in any order

    def send(self, event: Event) -> None:
        self.effects("event", event.type, lambda: self.accept(event))

    def accept(self, event: Event) -> None:
        steps = ON_PING if event.type == PING else filter(None, [ROUTES.get(event.type)])
        self.owed += [(step, event) for step in steps]
        self.said[event.subject or "", event.type].add(event.id)

    def _deliver(self, step: str, event: Event) -> None:
        headers, body = wire.encode(event, structured=True)  # both forms; the answer is binary
        reply = answer(STEPS[step], self.ports, Request("POST", "/", headers, body))
        if reply.status >= 500 or reply.status in (404, 408, 409, 429):
            raise Crash  # not taken: it is owed still
        if reply.status == 200:
            self.accept(wire.decode(reply.headers, reply.body))
        elif reply.status >= 400:
            self.report.unexpected.append(f"{step} answered {reply.status} to {event.type}")

    def _work(self, step: str, event: Event) -> str:
        try:
            self._deliver(step, event)
        except Crash:
            return "crashed"
        return "done"

    def _advance(self) -> None:
        """Let one worker go on to its next switch, or begin one more delivery."""
        room = self.owed and len(self.workers) < WORKERS
        if room and (not self.workers or self.chance.random() < 0.6):
            delivery = self.owed.pop(self.chance.randrange(len(self.owed)))
            if self.accidents and self.chance.random() < 0.1:
                self.owed.append(delivery)  # delivered twice, perhaps at the same time
            self.workers.append((greenlet(partial(self._work, *delivery)), delivery))
        if not self.workers:
            return
        index = self.chance.randrange(len(self.workers))
        worker, delivery = self.workers[index]
        outcome = worker.switch()
        if outcome == "paused":
            return
        self.workers.pop(index)
        if outcome == "crashed":
            self.owed.append(delivery)

    # accidents

    def _plan(self, number: int, kind: str) -> str:
        if not self.accidents:
            return "go"
        dice = self.chance.random()
        if dice < 0.03:
            return "before"
        if dice < 0.06:
            return "after"
        return "switch" if dice < 0.4 and getcurrent().parent is not None else "go"

    def _agents(self) -> None:
        """An agent ends well, ends badly, or dies without a word."""
        for id in list(self.jobs.live()):
            dice = self.chance.random()
            if dice < self.pace / 2 and self.accidents:
                self.jobs.dead.add(id)
            elif dice < self.pace or not self.accidents:
                self._finish(self.jobs.runs[id])

    def _finish(self, run: Run) -> None:
        def write() -> None:
            stopped = self.incidents.stop(run.incident_id, run.number)
            result = Result(
                incident_id=run.incident_id, run=run.number,
                status=RunStatus.CANCELLED if stopped else RunStatus.FAILED,
                reason="cancelled" if stopped else "empty_report", exit_code=0,
                started_at=run.created_at, completed_at=self.now, engine=run.engine,
                tokens=self.chance.choice((0, 40, 100)),
            )  # fmt: skip
            name = keys.run_record(run.number, keys.RESULT)
            self.incidents.record(run.incident_id, name, result)
            data = {"run": run.number}
            self.send(from_json(run.cause).run_finished(run.incident_id, run.number, data))

        with contextlib.suppress(Crash):  # its Job is gone then; whatever it wrote, sweep looks
            write()
        self.jobs.dead.add(run.id)

    # the world

    def signals(self) -> Iterator[Event]:
        """Faults of two workloads, repeated, some of which end."""
        for number in range(self.chance.randint(2, 4)):
            name = self.chance.choice(("api", "db", "web", "n1"))
            node = name == "n1"  # it is gone, and takes the others with it
            resource = Resource(kind="Deployment", namespace="shop", name=name)
            fault = Fault(
                name="NodeDown" if node else f"Fault{number}",
                severity=Severity.CRITICAL, cluster="prod-a", labels={"node": "n1"},
                resource=Resource(kind="Node", name=name) if node else resource,
                starts_at=START + dt.timedelta(seconds=number), condition=f"c{number}",
                clears=self.chance.random() < 0.8,
            )  # fmt: skip
            self.accepted[fault.occurrence] = fault
            for _ in range(self.chance.randint(1, 2)):
                yield event_of(fault, cleared=False, cluster="prod-a", time=self.now)
            if fault.clears and self.chance.random() < 0.6:
                self.over.add(fault.occurrence)
                ended = fault.model_copy(update={"ends_at": START + dt.timedelta(minutes=9)})
                yield event_of(ended, cleared=True, cluster="prod-a", time=self.now)
                self.coming_back.append(fault)

    def _flap(self) -> None:
        """In some worlds what had ended begins again, minutes later, and may end again."""
        if self.chance.random() < 0.75:
            return
        for fault in self.coming_back * self.chance.choice((1, 2)):
            self._ticks(60)
            again = fault.model_copy(update={"starts_at": self.now})
            self.accepted[again.occurrence] = again
            self.accept(event_of(again, cleared=False, cluster="prod-a", time=self.now))
            if self.chance.random() < 0.8:
                self._ticks(20)
                self.over.add(again.occurrence)
                ended = again.model_copy(update={"ends_at": self.now})
                self.accept(event_of(ended, cleared=True, cluster="prod-a", time=self.now))

    def _ticks(self, most: int) -> None:
        for _ in range(self.chance.randint(0, most)):
            self._tick()

    def run(self) -> Outcome:
        """Let accidents happen, then peace return; check the promises."""
        events = list(self.signals())
        self.chance.shuffle(events)
        for event in events:
            self.accept(event)
            self._ticks(6)
        self._flap()
        while (self.owed or self.workers) and self.report.rounds < 400:
            self._tick()
            self.report.rounds += 1
        self.accidents = False
        self.report.rounds = self._peace()
        self._check()
        self.report.effects, self.report.crashes = self.effects.count, self.effects.crashes
        return self.report

    def _tick(self) -> None:
        self._advance()
        if self.chance.random() < 0.05:
            self.now += dt.timedelta(seconds=61)
            self._agents()
            if self.chance.random() < 0.5:
                self._ping()
        if self.accidents and self.chance.random() < 0.01:
            self._person_closes()
        if self.chance.random() < 0.2:
            self.forge.merge()

    def _peace(self) -> int:
        for rounds in range(1, ROUNDS_MAX + 1):
            for _ in range(DELIVERIES_MAX):
                if not self.owed and not self.workers:
                    break
                self._advance()
            else:
                self.report.unexpected.append(f"never ends: {Counter(s for s, _ in self.owed)}")
                return rounds
            if self._at_rest():
                return rounds
            self.now += dt.timedelta(seconds=61)
            self._agents()
            self._ping()
        return ROUNDS_MAX

    def _ping(self) -> None:
        moment = format_time(self.now)
        self.accept(Event(id=moment, source="/sim", type=PING, time=moment))

    def _person_closes(self) -> None:
        for id in self.incidents.ids():
            if self.incidents.status(id) in (None, Status.CLOSED):
                continue
            faults = self.incidents.faults(id)
            closed = Closed(
                because=ClosedBecause.PERSON, by="a person", at=self.now,
                occurrences=tuple(f.occurrence for f, _ in faults.values()),
            )  # fmt: skip
            self.store.inner.put(
                keys.incident(id, keys.CLOSED),
                closed.model_dump_json().encode(), if_absent=True,
            )  # fmt: skip
            return

    def _at_rest(self) -> bool:
        return not list(self._unfinished())

    def _unfinished(self) -> Iterator[str]:
        for id in self.incidents.ids():
            status = self.incidents.status(id)
            if status not in (Status.PACKAGED, Status.CLOSED) and not self._held_by_its_node(id):
                yield f"I1 {id} is {status}"
            elif status is Status.PACKAGED and self._all_over(id):
                yield f"I1 {id} is not closed though every fault of it is over"
            closed = self.incidents.closed(id)
            if closed and closed.because is ClosedBecause.VERIFIED and not self._fix_said(id):
                yield f"I7 {id} was merged and cleared, and nobody says whether that held"
        for occurrence, fault in self.accepted.items():
            if not self._accounted_for(fault):
                yield f"I1 the fault {occurrence} is nowhere"

    def _fix_said(self, id: str) -> list[str]:
        return [type for type in (FIX_VERIFIED, FIX_FAILED) if (id, type) in self.said]

    def _held_by_its_node(self, id: str) -> bool:
        wish = self.incidents.wish(id, 1)
        return bool(wish and self.incidents.run(id, 1) is None and sheltered(self.incidents, wish))

    def _all_over(self, id: str) -> bool:
        faults = [fault for fault, _ in self.incidents.faults(id).values() if fault.clears]
        return bool(faults) and all(fault.occurrence in self.over for fault in faults)

    def _accounted_for(self, fault: Fault) -> bool:
        if self.incidents.owner(fault):
            return True
        name = keys.part(fault.occurrence)
        return any(key.endswith(f"/{name}.json") for key in self.store.list("ignored/"))

    # the promises

    def begins(self, what: str, incident_id: str) -> None:
        closed = self.incidents.closed(incident_id)
        if closed and closed.because is ClosedBecause.PERSON:
            self.report.unexpected.append(f"I6 {what} after a person had closed it")

    def check_capsule(self, run: Run) -> None:
        capsule = self.incidents.capsule(run.incident_id)
        try:
            capsule.verify()
        except Exception as error:
            self.report.unexpected.append(f"I3 {run.id}: {error}")
        if capsule.sha256 != run.capsule_sha256:
            self.report.unexpected.append(f"I3 {run.id} was given another capsule")

    def check_caps(self, run: Run) -> None:
        """A Job is about to be there: count as a stranger would, from Jobs alone."""
        live = [id for id in self.jobs.live() if not self.has_result(id)]
        hour = [r for r in self.jobs.runs.values() if self.now - r.created_at < HOUR]
        key = self.incidents.incident(run.incident_id).key
        first = [r for r in hour if r.number == run.number]  # what comes back gets another
        same = [r for r in first if self.incidents.incident(r.incident_id).key == key]
        spent = sum(self.cost(r) for r in self.jobs.runs.values())
        for what, count, cap in (
            ("at once", len(live), POLICY.slots),
            ("an hour", len(hour), POLICY.runs_per_hour),
            ("of one workload", len(same), POLICY.runs_per_workload),
            ("tokens", spent + 99, 350),
        ):
            if count >= cap:
                self.report.unexpected.append(f"I8 {count} {what} before {run.id}, {cap} may")

    def has_result(self, run_id: str) -> bool:
        incident_id, _, number = run_id.rpartition("-")
        return self.incidents.result(incident_id, int(number)) is not None

    def cost(self, run: Run) -> int:
        """What a run has spent, or may: what one that was lost spent nobody knows."""
        result = self.incidents.result(run.incident_id, run.number)
        return result.tokens if result and result.reason != "lost" else 100

    def _check(self) -> None:
        self.report.missed += list(self._unfinished())
        for what, counted in (("I2 job", self.jobs.created), ("I4 pull request", self.forge.made),
                              ("I5 message", self.chat.made)):  # fmt: skip
            self.report.doubled += [f"{what} {id}: {n}" for id, n in counted.items() if n > 1]
        of_fixes = (CHANGE_MERGED, FIX_VERIFIED, FIX_FAILED)
        self.report.doubled += [
            f"I7 {type} of {subject} under {len(ids)} ids"
            for (subject, type), ids in self.said.items()
            if type in of_fixes and len(ids) > 1
        ]
        self.report.doubled += [
            f"I7 {id} held and did not"
            for id in self.incidents.ids()
            if len(self._fix_said(id)) > 1
        ]
        open_keys = Counter(
            self.incidents.incident(id).key
            for id in self.incidents.ids()
            if self.incidents.status(id) not in (None, Status.CLOSED)
        )
        self.report.doubled += [f"two open incidents of {k}" for k, n in open_keys.items() if n > 1]


def simulate(seed: int) -> Outcome:
    return Simulation(seed).run()


def prepare() -> None:
    """Make a worker quick: what is imported stays, and a world is garbage only when it is over."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def every_single_crash() -> Iterator[Outcome]:
    """Yield one report per effect of a calm run, crashed before it and after it."""
    calm = Simulation(1, plan=lambda number, kind: "go", calm=True)
    total = calm.run().effects
    for number in range(total):
        for verdict in ("before", "after"):
            yield Simulation(
                1, plan=lambda n, kind, at=number, say=verdict: say if n == at else "go", calm=True
            ).run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, help="one seed, with its effects")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        one = Simulation(chosen.seed)
        print(one.run())
        print("\n".join(one.effects.trace))
        return int(one.report.bad)
    began = time.monotonic()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    with ProcessPoolExecutor(initializer=prepare) as pool:
        reports = list(pool.map(simulate, seeds, chunksize=50))
    return summary(reports, time.monotonic() - began)


def summary(reports: Sequence[Outcome], seconds: float) -> int:
    slowest = max(reports, key=lambda report: report.rounds)
    print(
        f"{len(reports)} seeds, {sum(r.effects for r in reports)} effects, "
        f"{sum(r.crashes for r in reports)} crashes in {seconds:.0f} s: "
        f"{sum(len(r.missed) for r in reports)} missed, "
        f"{sum(len(r.doubled) for r in reports)} doubled, "
        f"{sum(len(r.unexpected) for r in reports)} unexpected; "
        f"slowest convergence {slowest.rounds} rounds (seed {slowest.seed})"
    )
    for report in [r for r in reports if r.bad][:10]:
        print(f"seed {report.seed}: {report.missed + report.doubled + report.unexpected}")
    return int(any(report.bad for report in reports))


if __name__ == "__main__":
    raise SystemExit(main())
