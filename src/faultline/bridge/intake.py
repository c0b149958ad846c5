"""What a received message leads to: its record, then its events, then an answer. Sync.

The order is the promise: the message is on file and every event has been accepted before anyone is
told "taken". A message that is sent again makes the same events. `app.py` has the HTTP around it;
errors are raised, `answers.py` says what they mean.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from faultline import keys, traces, wire
from faultline.answers import Outcome, reason
from faultline.bridge import alertmanager, github, k8sgpt, rollouts, watchdog
from faultline.bridge.events import event_of, web_links
from faultline.bridge.watchdog import Watchdog
from faultline.counters import Seen, Tally
from faultline.errors import AlreadyExists, FaultlineError, NotAllowed, Rejected
from faultline.event import FAULT_CLEARED, FAULT_TYPES, PING, Event, format_time
from faultline.model import Fault
from faultline.ports import Batches, Sink
from faultline.serve import park
from faultline.store import Store
from faultline.traces import Spans

logger = logging.getLogger("faultline.bridge")

ORIGINS = ("alertmanager", "cloudevents", "faultline", "k8sgpt", "kube-watch", "mcp", "sse")
Clean = Callable[[str], str]  # takes secrets out of a text

GITHUB = "/faultline/bridge/github"  # source of the pings that a merge leads to
seen_max = 20_000  # events remembered, so that repeats can be counted
senders_at_once = 8  # threads that hand the events of one large message to the sink


class Intake:
    """Takes messages of every kind. `counts` has what `/metrics` shows; safe between threads."""

    def __init__(
        self,
        *,
        sink: Sink,
        store: Store,
        cluster: str,
        clock: Callable[[], dt.datetime],
        clean: Clean | None = None,
        watchdog_s: int = 0,
        spans: Spans | None = None,
    ) -> None:
        self.sink = sink
        self.store = store
        self.cluster = cluster
        self.clock = clock
        self.clean = clean
        self.counts = Tally()
        self.watchdog = Watchdog(store, cluster, watchdog_s)
        self.spans = spans
        self._seen = Seen(seen_max)

    def count(self, name: str, by: int = 1) -> None:
        self.counts.add(name, by)

    # the three doors

    def alertmanager(self, body: bytes) -> Outcome:
        """Take a webhook message of AlertManager: one event per alert."""
        message = alertmanager.parse(body)
        now = self.clock()
        payload = self.keep(body, now)
        faults = alertmanager.faults(message, cluster=self.cluster, payload=payload)
        over = [alert.resolved for alert in message.alerts]
        found = list(zip(faults, over, strict=True))
        self.pass_on([pair for pair in found if pair[0].name != watchdog.ALERT], now)
        if any(fault.name == watchdog.ALERT and not ended for fault, ended in found):
            self._heartbeat(now)
        self.count("alertmanager_messages")
        if message.truncated:
            self.count("alerts_truncated", message.truncated)
            logger.warning(
                "alerts were left out of a message; set max_alerts to 0",
                extra={"truncated": message.truncated, "receiver": message.receiver[:120]},
            )
        return Outcome.ACCEPTED

    def _heartbeat(self, now: dt.datetime) -> None:
        gap = self.watchdog.heard(now)
        if gap:
            self.pass_on([(gap, True)], now)

    def check_watchdog(self) -> None:
        """Hand on that the Watchdog is silent, once for each gap. Raises Unavailable."""
        now = self.clock()
        gap = self.watchdog.missed(now)
        if gap:
            logger.error("the Watchdog is silent", extra={"since": gap.starts_at.isoformat()})
            self.pass_on([(gap, False)], now)
            self.watchdog.told(gap)

    def event(self, headers: Mapping[str, str], body: bytes) -> Event:
        """Take a CloudEvent of someone else, and return it. Faults only.

        Raises NotAllowed for other types. What is passed on is made anew from the fault it holds:
        nobody outside chooses its id, its subject or the records it refers to.
        """
        event = wire.decode(headers, body)
        if event.type not in FAULT_TYPES and event.type != k8sgpt.TYPE:
            raise NotAllowed(f"expected a fault event from outside, got {event.type[:120]!r}")
        if event.dataref is not None:
            raise NotAllowed("expected data within the event, got a dataref")
        now = self.clock()
        fault = self._fault_in(event, now)
        payload = self.keep(wire.to_bytes(event), now)
        fault = fault.model_copy(update={"payload": payload})
        trace = event.extensions.get("traceparent")
        self.pass_on([(fault, event.type == FAULT_CLEARED)], now, trace=trace)
        self.count("cloudevents")
        return event

    def _fault_in(self, event: Event, now: dt.datetime) -> Fault:
        if event.type == k8sgpt.TYPE:
            return k8sgpt.fault_of(event.data, cluster=self.cluster, now=now, payload="")
        if not isinstance(event.data, dict):
            raise Rejected("expected a fault as JSON data")
        fault = Fault.model_validate({"cluster": self.cluster} | event.data)
        safe = {"links": web_links(**fault.links), "origin": fault.origin or "cloudevents"}
        return fault.model_copy(update=safe)

    def synced(self, body: bytes) -> Outcome:
        """Take Argo CD's or Flux' word that a commit reached the cluster; the first of each counts.

        No event follows: `verify` finds it when it looks for what became of a merge.
        """
        if found := rollouts.parse(body):
            record = (found.model_dump_json(indent=2) + "\n").encode()
            self._put(keys.synced(found.revision, found.what), record)
        self.count("synced")
        return Outcome.ACCEPTED

    def github(self, headers: Mapping[str, str], body: bytes, *, ours: tuple[str, str]) -> Outcome:
        """Take GitHub's word that something was merged: `verify` is asked to look, now.

        `ours`: the repository, and how our branches begin. What is sent again is the same event.
        """
        kind = headers.get("x-github-event", "")
        if look := github.looks(kind, body, repository=ours[0], prefix=ours[1]):
            digest = hashlib.sha256(body).hexdigest()[:32]
            moment = format_time(self.clock())
            self.sink.send(
                Event(id=digest, source=GITHUB, type=PING, time=moment, data={"look": list(look)})
            )
        self.count("github")
        return Outcome.ACCEPTED

    def parked(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Take a dead letter. What is no event is parked as it came: nothing is dropped."""
        try:
            event = wire.decode(headers, body)
            name, record = event.id, wire.to_bytes(event)
        except Rejected as error:
            name, record = _refused(body, error, "dead letter")
        park(self.store, self.clock().date(), name, record)
        self.count("parked")
        return Outcome.ACCEPTED

    # what they share

    def refuse(self, body: bytes, error: BaseException, sender: str) -> None:
        """Put a message that will never be accepted on file, once, however often it comes.

        The sender is answered either way, so a store that is down does not matter here.
        """
        self.count("refused")
        name, record = _refused(body, error, sender)
        with contextlib.suppress(FaultlineError):
            self._put(keys.parked(self.clock().date(), name), record)

    def keep(self, body: bytes, now: dt.datetime) -> str:
        """Record a message as it came, once, and return its key."""
        key = keys.payload(now.date(), body)
        self._put(key, body)
        return key

    def pass_on(
        self, found: Sequence[tuple[Fault, bool]], now: dt.datetime, *, trace: object = None
    ) -> None:
        """Return once every fault's event was accepted; the flag says that it is over.

        `trace` is the sender's traceparent, if it gave one.
        """
        clean = cache(self.clean) if self.clean else None  # the alerts of a message share texts
        made = [self._event(fault, over, now, trace, clean) for fault, over in found]
        events = list({event.id: event for event in made}.values())
        self.count("again", len(made) - len(events))
        self._send_all(events)
        for event in events if self.spans else ():
            span = traces.first_span(event, given=trace, start=now, end=self.clock())
            if span and self.spans:
                self.spans(span)

    def _event(
        self, fault: Fault, over: bool, now: dt.datetime, trace: object, clean: Clean | None
    ) -> Event:
        event = event_of(fault, cleared=over, cluster=self.cluster, time=now, clean=clean)
        return traces.started(
            event, occurrence=fault.occurrence, sampled=self.spans is not None, given=trace
        )

    def _send_all(self, events: Sequence[Event]) -> None:
        if isinstance(self.sink, Batches):  # one commit for all that came together
            self.sink.send_all([self._fitting(event) for event in events])
            for event in events:
                self._sent(event)
            return
        if len(events) <= senders_at_once:
            for event in events:
                self._send(event)
            return
        with ThreadPoolExecutor(senders_at_once, "faultline-send") as pool:
            for sent in [pool.submit(self._send, event) for event in events]:
                try:
                    sent.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise

    def _send(self, event: Event) -> None:
        self.sink.send(self._fitting(event))
        self._sent(event)

    def _fitting(self, event: Event) -> Event:
        return wire.fit(event, self._put, self.clock().date())

    def _sent(self, event: Event) -> None:
        self.count("faults_cleared" if event.type == FAULT_CLEARED else "faults_detected")
        origin = event.data.get("origin")
        self.count(f"received {origin if origin in ORIGINS else 'other'}")
        if self._seen.again(event.id):
            self.count("again")
        context = traces.context_of(event)
        about = {"event": event.type, "event_id": event.id, "subject": event.subject}
        trace = {"trace_id": context.trace_id if context else None}
        logger.info("event sent", extra=about | trace)

    def _put(self, key: str, data: bytes) -> None:
        with contextlib.suppress(AlreadyExists):
            self.store.put(key, data, if_absent=True)


def _refused(body: bytes, error: BaseException, sender: str) -> tuple[str, bytes]:
    digest = hashlib.sha256(body).hexdigest()
    said: dict[str, Any] = {
        "sender": sender,
        "reason": reason(error),
        "bytes": len(body),
        "sha256": digest,
        "body": body[:65_536].decode("utf-8", "replace"),
    }
    return f"refused-{digest[:32]}", json.dumps(said, ensure_ascii=False, indent=1).encode()
