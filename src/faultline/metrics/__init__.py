"""What Prometheus may read of us: every family with its labels, and the text that is scraped.

Sources give readings: `records.py` counts what the store holds, so its counters survive restarts
and processes that come and go; `spending.py` reads the ledger; what only a process can know stands
in its `counters.py`. Nothing is global: whoever serves `/metrics` makes a `Metrics` from the
sources that it has. `docs/observe.md` explains each family to operators, and a test compares.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from faultline.counters import Buckets
from faultline.errors import FaultlineError

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SERIES_MAX = 1_800  # readings shown; a histogram counts as all its series


class Family(NamedTuple):
    """One family: `kind` is counter, gauge or histogram; the name is written out in full."""

    kind: str
    labels: tuple[str, ...]
    says: str


class Reading(NamedTuple):
    """One value of a family; the labels in the family's order."""

    name: str
    labels: tuple[str, ...]
    value: float | Buckets


Source = Callable[[], Iterable[Reading]]

FAMILIES = {
    # from records
    "agent_runtime_invocations_total": Family(
        "counter", ("cluster", "status"), "Agent runs that have ended, by how they ended."
    ),
    "agent_runtime_duration_seconds": Family(
        "histogram", ("cluster", "status"), "How long agent runs took, from start to end."
    ),
    "agent_runtime_active_agents": Family("gauge", ("cluster",), "Agent runs that are under way."),
    "agent_runtime_workspace_size_bytes": Family(
        "gauge", ("cluster",), "Evidence and output of the newest agent run that has ended."
    ),
    "agent_runtime_errors_total": Family(
        "counter", ("cluster", "error_type"), "Agent runs that ended without success, by reason."
    ),
    "faultline_agent_runs_total": Family("counter", ("outcome",), "Agent runs that have ended."),
    "faultline_agent_runs_active": Family("gauge", (), "Agent runs that are under way."),
    "faultline_agent_tokens_total": Family("counter", ("cluster",), "Tokens that agents used."),
    "faultline_proved_total": Family(
        "counter", ("cluster",), "Incidents whose cause the analyzers proved, without an agent."
    ),
    "faultline_incidents": Family("gauge", ("status",), "Incidents on record, by status."),
    "faultline_incidents_open": Family("gauge", (), "Incidents that are not closed."),
    "faultline_incident_unfinished_age_seconds": Family(
        "gauge", (), "Age of the oldest incident that nobody was told about yet; 0 if none."
    ),
    "faultline_effects_total": Family(
        "counter", ("kind", "outcome"), "Acts towards people, by outlet: made, failed, not_told."
    ),
    "faultline_redactions_total": Family(
        "counter", ("type",), "Secrets taken out of gathered evidence, by kind."
    ),
    "faultline_redaction_failures_total": Family(
        "counter", (), "Pieces of evidence left out because they could not be checked for secrets."
    ),
    "faultline_parked_events": Family("gauge", (), "Dead letters and refused messages on file."),
    "faultline_agent_runs_waiting": Family("gauge", (), "Agent runs that wait for room or money."),
    "faultline_budget_remaining": Family(
        "gauge", ("scope", "unit"), "What is left of a budget that has a limit, in tokens or USD."
    ),
    "faultline_breaker_state": Family(
        "gauge", ("engine",), "1 if the engine rests after failures, 0.5 while one run tries it."
    ),
    "faultline_store_up": Family("gauge", (), "1 if the store answered this scrape."),
    "faultline_records_complete": Family(
        "gauge", (), "1 if every incident was read; before that, families from records are absent."
    ),
    # from the process
    "faultline_events_received_total": Family(
        "counter", ("source",), "Fault events taken in and passed on."
    ),
    "faultline_events_deduplicated_total": Family(
        "counter", (), "Fault events that this process had passed on before."
    ),
    "faultline_events_rejected_total": Family(
        "counter", ("reason",), "Messages that were not taken, by reason."
    ),
    "faultline_events_dead_lettered_total": Family(
        "counter", (), "Events that a step never took, put on file."
    ),
    "faultline_broker_events_total": Family(
        "counter", ("outcome",), "Events the embedded broker was given."
    ),
    "faultline_broker_deliveries_total": Family(
        "counter", ("outcome",), "Deliveries of the embedded broker, by what came of them."
    ),
    "faultline_queue_depth": Family("gauge", (), "Deliveries that wait in the embedded broker."),
    "faultline_queue_oldest_age_seconds": Family(
        "gauge", (), "Age of the oldest event that the embedded broker still owes; 0 if none."
    ),
    "faultline_sse_connected": Family("gauge", ("stream",), "1 if the stream is connected."),
    "faultline_sse_last_event_age_seconds": Family(
        "gauge", ("stream",), "Seconds since the stream said anything; absent before it did."
    ),
    "faultline_sse_reconnects_total": Family("counter", ("stream",), "Connects after the first."),
    "faultline_sse_sweep_found_total": Family(
        "counter", ("stream",), "Faults found by listing what is broken after a connect."
    ),
    "faultline_webhook_duration_seconds": Family(
        "histogram", ("sender",), "Time from a message's head to its answer."
    ),
    "faultline_effect_duplicates_prevented_total": Family(
        "counter", (), "Records that were there already: work that was not done twice."
    ),
    "faultline_watchdog_last_seen_seconds": Family(
        "gauge", (), "When the Watchdog alert was last heard, in Unix time."
    ),
    "faultline_sweep_last_seen_seconds": Family(
        "gauge", (), "When a sweep last went through in this process, in Unix time."
    ),
}


class Metrics:
    """What one process shows. `text` is the whole page; one source that fails hides no other."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return the page in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the registry need not ask every source at the start."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the families, as `prometheus_client` asks for them."""
        found: dict[str, list[Reading]] = {}
        for reading in _bounded(itertools.chain.from_iterable(map(_asked, self._sources))):
            found.setdefault(reading.name, []).append(reading)
        for name, family in FAMILIES.items():
            if name in found:
                yield _metric(name, family, found[name])


def _asked(source: Source) -> list[Reading]:
    try:
        return list(source())
    except FaultlineError as error:
        log.warning("metrics are missing: %s", error)
        return []


def _bounded(readings: Iterable[Reading]) -> Iterator[Reading]:
    left = SERIES_MAX
    for reading in readings:
        left -= len(reading.value.counts) + 3 if isinstance(reading.value, Buckets) else 1
        if left < 0:
            return
        yield reading


def _metric(name: str, family: Family, readings: list[Reading]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.says, labels=family.labels)
        for _, labels, value in readings:
            if isinstance(value, Buckets):
                histogram.add_metric(labels, value.cumulated(), value.sum)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric: Metric = kind(name, family.says, labels=family.labels)
    for _, labels, value in readings:
        metric.add_metric(labels, value)  # type: ignore[attr-defined]
    return metric
