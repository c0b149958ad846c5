"""What the store says of incidents and runs, as readings. Counters that survive every restart.

An incident that is closed and whose runs have ended never changes: it is read once. Of the others
only the names of records are looked at again, and the records only if a name was added. A pass has
a budget of time; until the first one has seen everything nothing is shown, because a counter that
climbs from zero again would look like new work.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from faultline import keys
from faultline.counters import Buckets
from faultline.errors import FaultlineError, Rejected
from faultline.incidents import Incidents
from faultline.metrics import Reading
from faultline.model import Run, RunStatus, Status, runs_of, status_of
from faultline.policy import ANALYZERS

CLUSTERS_MAX = 12  # the first ones seen; the rest is "other"
PARKED_MAX = 10_000
PASS_S = 5.0
FRESH_S = 2.0
RUN_SECONDS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
ERRORS = frozenset({
    "auth", "bad_diagnosis", "cancelled", "cut_off", "deadline", "during_execution",
    "empty_report", "engine_error", "exit", "incomplete_report", "lost", "max_tokens", "max_turns",
    "no_model", "not_recorded", "oom", "overloaded", "quota", "sigabrt", "sigint", "sigkill",
    "sigsegv", "sigterm", "start",
    "unexpected_tools", "unreachable",
})  # fmt: skip

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_UNFINISHED = (Status.OPEN, Status.READY, Status.INVESTIGATING, Status.INVESTIGATED)

Fact = tuple[str, ...]  # family and label values, before they are bounded


@dataclass(frozen=True)
class Known:
    """What is known of one incident, as of the names it had."""

    names: frozenset[str]
    status: Status
    opened_at: dt.datetime
    facts: Counter[Fact]
    durations: tuple[tuple[str, str, float], ...]  # cluster, status, seconds
    ended: tuple[dt.datetime, str, int] | None  # newest agent run: when, cluster, bytes
    active: tuple[str, ...]  # clusters of agent runs under way
    final: bool


class Records:
    """The source over a store. `live` is the runner's list of run ids, where there is a runner."""

    def __init__(
        self,
        incidents: Incidents,
        *,
        clock: Callable[[], dt.datetime],
        monotonic: Callable[[], float],
        live: Callable[[], Sequence[str]] | None = None,
        pass_s: float = PASS_S,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._incidents, self._clock, self._monotonic = incidents, clock, monotonic
        self._live = live
        self._pass_s, self._fresh_s = pass_s, fresh_s
        self._known: dict[str, Known] = {}
        self._queue: list[str] = []  # what this pass has still to look at
        self._complete = False
        self._looked_at: float | None = None
        self._clusters: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self) -> Iterator[Reading]:
        with self._lock:
            up, found = 1.0, []
            try:
                self._look()
                if self._complete:
                    found = [*self._readings(), *self._others()]
            except FaultlineError:
                up, found = 0.0, list(self._readings()) if self._complete else []
            yield Reading("faultline_store_up", (), up)
            yield Reading("faultline_records_complete", (), float(self._complete))
            yield from found

    # looking

    def _look(self) -> None:
        began = self._monotonic()
        if self._looked_at is not None and began - self._looked_at < self._fresh_s:
            return
        if not self._queue:
            listed = list(self._incidents.ids())
            for gone in self._known.keys() - set(listed):  # by the bucket's lifecycle
                self._forget(gone)
            final = {id for id, known in self._known.items() if known.final}
            self._queue = [id for id in listed if id not in final]
        while self._queue:
            self._study(self._queue[-1])
            self._queue.pop()
            if self._monotonic() - began > self._pass_s:
                break
        if not self._queue:
            self._complete, self._looked_at = True, self._monotonic()

    def _forget(self, id: str) -> None:
        """Keep what it counted for; it is no incident any more."""
        known = self._known[id]
        if known.names:
            self._known[id] = Known(
                frozenset(), Status.CLOSED, known.opened_at, known.facts, known.durations,
                known.ended, (), final=True,
            )  # fmt: skip

    def _study(self, id: str) -> None:
        names = self._incidents.names(id)
        before = self._known.get(id)
        if keys.INCIDENT not in names or (before and before.names == names):
            return
        try:
            self._known[id] = study(self._incidents, id, names)
        except (Rejected, ValueError):  # a record that no version of ours wrote
            return

    # telling

    def _readings(self) -> Iterator[Reading]:
        facts: Counter[Fact] = Counter()
        spans: dict[tuple[str, str], Buckets] = {}
        for _, known in sorted(self._known.items()):
            for (family, *labels), number in known.facts.items():
                facts[(family, *self._bounded(family, labels))] += number
            for cluster, status, seconds in known.durations:
                place = (self._cluster(cluster), status)
                spans.setdefault(place, Buckets(RUN_SECONDS)).add(seconds)
        for (family, *labels), number in sorted(facts.items()):
            yield Reading(family, tuple(labels), number)
        for place, buckets in sorted(spans.items()):
            yield Reading("agent_runtime_duration_seconds", place, buckets)
        yield from self._gauges()

    def _gauges(self) -> Iterator[Reading]:
        there = [known for known in self._known.values() if known.names]
        by_status = Counter(known.status for known in there)
        for status in Status:
            yield Reading("faultline_incidents", (status.value,), by_status[status])
        unclosed = len(there) - by_status[Status.CLOSED]
        yield Reading("faultline_incidents_open", (), unclosed)
        waiting = [known.opened_at for known in there if known.status in _UNFINISHED]
        age = (self._clock() - min(waiting)).total_seconds() if waiting else 0.0
        yield Reading("faultline_incident_unfinished_age_seconds", (), max(0.0, age))
        sizes: dict[str, tuple[dt.datetime, int]] = {}
        for known in self._known.values():
            if known.ended:
                at, cluster, size = known.ended
                name = self._cluster(cluster)
                sizes[name] = max(sizes.get(name, (at, size)), (at, size))
        for name, (_, size) in sorted(sizes.items()):
            yield Reading("agent_runtime_workspace_size_bytes", (name,), size)

    def _others(self) -> Iterator[Reading]:
        """What is asked of the store and the runner anew each time."""
        parked = sum(1 for _ in itertools.islice(self._incidents.store.list("parked/"), PARKED_MAX))
        yield Reading("faultline_parked_events", (), parked)
        active = Counter(map(self._cluster, self._active()))
        for cluster in sorted({*active, *self._clusters.values()}):
            yield Reading("agent_runtime_active_agents", (cluster,), active[cluster])
        yield Reading("faultline_agent_runs_active", (), active.total())

    def _active(self) -> list[str]:
        if self._live is None:
            return [cluster for known in self._known.values() for cluster in known.active]
        found = (self._incidents.run_by_id(id) for id in self._live())
        return [run.cluster for run in found if run]

    # labels

    def _bounded(self, family: str, labels: Sequence[str]) -> list[str]:
        if family in ("faultline_effects_total", "faultline_redactions_total"):
            return [_plain(label) for label in labels]
        if family in ("faultline_agent_runs_total", "faultline_redaction_failures_total"):
            return list(labels)
        return [self._cluster(labels[0]), *labels[1:]]

    def _cluster(self, name: str) -> str:
        """Return the cluster as a label: senders choose it, so its form and number are bounded."""
        if name not in self._clusters:
            full = len(set(self._clusters.values()) - {"other"}) >= CLUSTERS_MAX
            if full or not _LABEL.fullmatch(name):
                return "other"
            self._clusters[name] = name
        return self._clusters[name]


def _plain(label: str) -> str:
    return label if _LABEL.fullmatch(label) else "other"


def study(incidents: Incidents, id: str, names: frozenset[str]) -> Known:
    """Read what one incident's records count for."""
    incident = incidents.incident(id)
    facts: Counter[Fact] = Counter()
    durations, active, ended = [], [], None
    runs = runs_of(names)
    for number in sorted(runs):
        run, result = incidents.run(id, number), incidents.result(id, number)
        if run and run.engine == ANALYZERS:
            facts["faultline_proved_total", run.cluster] += bool(
                result and result.status is RunStatus.SUCCESS
            )
        elif run and result:
            seconds = max(0.0, (result.completed_at - result.started_at).total_seconds())
            durations.append((run.cluster, result.status.value, seconds))
            _of_run(facts, run, result.status, result.reason, result.tokens)
            size = sum(output.bytes for output in result.outputs) + _evidence(incidents, id)
            ended = (result.completed_at, run.cluster, size)
        elif run and keys.CLOSED not in names:
            active.append(run.cluster)
    _of_people(facts, incidents, id, runs)
    _of_secrets(facts, incidents, id)
    status = status_of(names) or Status.OPEN
    over = status is Status.CLOSED and all(
        {keys.RESULT, keys.PACKAGED} <= found for found in runs.values() if keys.RUN in found
    )
    return Known(
        names, status, incident.opened_at, facts, tuple(durations), ended, tuple(active), over
    )


def _of_run(facts: Counter[Fact], run: Run, status: str, reason: str, tokens: int) -> None:
    facts["agent_runtime_invocations_total", run.cluster, str(status)] += 1
    facts["faultline_agent_runs_total", str(status)] += 1
    facts["faultline_agent_tokens_total", run.cluster] += tokens
    if status != RunStatus.SUCCESS:
        kind = reason if reason in ERRORS else "other"
        facts["agent_runtime_errors_total", run.cluster, kind] += 1


def _of_people(
    facts: Counter[Fact], incidents: Incidents, id: str, runs: dict[int, set[str]]
) -> None:
    for receipt in incidents.receipts(id):
        facts["faultline_effects_total", receipt.outlet, "made"] += 1
    for number, found in runs.items():
        packaged = incidents.packaged(id, number) if keys.PACKAGED in found else None
        for outlet, told in packaged.outlets.items() if packaged else ():
            for start, outcome in (("failed: ", "failed"), ("not told: ", "not_told")):
                facts["faultline_effects_total", outlet, outcome] += told.startswith(start)


def _of_secrets(facts: Counter[Fact], incidents: Incidents, id: str) -> None:
    index = incidents.index(id)
    for kind, number in index.redactions.items() if index else ():
        if kind == "suppressed":
            facts[("faultline_redaction_failures_total",)] += number
        else:
            facts["faultline_redactions_total", kind] += number


def _evidence(incidents: Incidents, id: str) -> int:
    index = incidents.index(id)
    return sum(file.bytes for file in index.files) if index else 0
