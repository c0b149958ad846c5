"""Spans to a collector: OTLP over HTTP as JSON (opentelemetry-proto, trace service), or to the log.

Never in the way: what does not fit into the queue, or what the collector does not take, is dropped
and counted. A thread sends what has gathered.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import queue
import threading
from collections.abc import Sequence
from typing import Any

from faultline.adapters.trust import trust
from faultline.traces import Span

log = logging.getLogger(__name__)

QUEUE_MAX = 2_000
BATCH_MAX = 200
SEND_S = 2.0
_CONSUMER, _ERROR = 5, 2


class LogSpans:
    """Every span as one line of the log."""

    def __call__(self, span: Span) -> None:
        took = (span.end - span.start).total_seconds()
        about = {"event": "span", "span": span.name, "trace_id": span.trace_id}
        ids = {"span_id": span.span_id, "parent_id": span.parent_id, "seconds": took}
        log.info("span %s", span.name, extra=about | ids | {"failed": span.failed})


class OtlpSpans:
    """Spans to `<url>/v1/traces`."""

    def __init__(self, url: str, *, service: str = "faultline") -> None:
        self._url, self._service = url.rstrip("/") + "/v1/traces", service
        self._queue: queue.Queue[Span] = queue.Queue(QUEUE_MAX)
        self.dropped = 0
        threading.Thread(target=self._send_for_ever, name="spans", daemon=True).start()

    def __call__(self, span: Span) -> None:
        try:
            self._queue.put_nowait(span)
        except queue.Full:
            self.dropped += 1

    def _send_for_ever(self) -> None:
        import httpx

        with httpx.Client(verify=trust(self._url), timeout=10, follow_redirects=False) as client:
            while True:
                spans = self._gathered()
                try:
                    body = json.dumps(message(spans, self._service))
                    answer = client.post(
                        self._url, content=body, headers={"content-type": "application/json"}
                    )
                    answer.raise_for_status()
                except httpx.HTTPError as error:
                    self.dropped += len(spans)
                    log.debug("spans were not taken: %s", error)

    def _gathered(self) -> list[Span]:
        found = [self._queue.get()]
        end = threading.Event()
        end.wait(SEND_S)
        while len(found) < BATCH_MAX:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return found


def message(spans: Sequence[Span], service: str) -> dict[str, Any]:
    """Return the request of OTLP's trace service: ids in hex, times in nanoseconds as text."""
    resource = {"attributes": _attributes({"service.name": service})}
    scope = {"scope": {"name": "faultline"}, "spans": [_span(span) for span in spans]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def _span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "name": span.name,
        "kind": _CONSUMER,
        "startTimeUnixNano": _nanoseconds(span.start),
        "endTimeUnixNano": _nanoseconds(span.end),
        "attributes": _attributes(dict(span.attributes)),
        "status": {"code": _ERROR} if span.failed else {},
    }


def _attributes(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _nanoseconds(moment: dt.datetime) -> str:
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return str((since // dt.timedelta(microseconds=1)) * 1_000)
