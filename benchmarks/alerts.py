"""P4: an alert of a webhook message becomes an event: CPU each, from 1,000 to 20,000 a body.

Parsing, fault, identity, secrets out, event. The peer does the usual: pydantic's model of the
message and an event of the SDK per alert, without looking for secrets.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from functools import cache

import cloudevents.http
import pydantic
from cloudevents.conversion import to_structured
from measure import Figure, in_turn
from measure import main as alone
from sample import message

from faultline.bridge import alertmanager
from faultline.bridge.events import event_of
from faultline.redact import redact

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)


class Alert(pydantic.BaseModel):
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: dt.datetime  # noqa: N815
    endsAt: dt.datetime  # noqa: N815
    generatorURL: str  # noqa: N815
    fingerprint: str


class Message(pydantic.BaseModel):
    version: str
    groupKey: str  # noqa: N815
    status: str
    receiver: str
    externalURL: str  # noqa: N815
    alerts: list[Alert]


def ours(body: bytes) -> None:
    parsed = alertmanager.parse(body)
    faults = alertmanager.faults(parsed, cluster="prod-a", payload="payloads/x.json")
    found = [(fault, alert.resolved) for fault, alert in zip(faults, parsed.alerts, strict=True)]
    clean = cache(redact)  # as the intake does for each message
    for fault, over in found:
        event_of(fault, cleared=over, cluster="prod-a", time=NOW, clean=clean)


def usual(body: bytes) -> None:
    for alert in Message.model_validate_json(body).alerts:
        attributes = {
            "id": f"{alert.fingerprint}/{alert.startsAt:%s}",
            "source": "/bridge/prod-a",
            "type": "fault.detected",
            "subject": alert.labels.get("deployment", ""),
        }
        to_structured(cloudevents.http.CloudEvent(attributes, alert.model_dump(mode="json")))


def figures(quick: bool) -> Iterator[Figure]:
    most = 5_000 if quick else 20_000
    small, large = message(0, 1_000), message(0, most)
    cases = {
        "small": per_alert(ours, small, 1_000),
        "large": per_alert(ours, large, most),
        "usual": per_alert(usual, small, 1_000),
    }
    found = in_turn(cases, 3)
    yield Figure("P4", f"{most:,} alerts in a body, per alert", found["large"], "µs CPU",
                 "1,000 in a body", found["small"], 1.25)  # fmt: skip
    yield Figure("P4", "alert to event, secrets out", found["small"], "µs CPU",
                 "pydantic and SDK", found["usual"], 0.33)  # fmt: skip


def per_alert(work: Callable[[bytes], None], body: bytes, count: int) -> Callable[[], float]:
    def measure() -> float:
        start = time.thread_time_ns()
        work(body)
        return (time.thread_time_ns() - start) / count / 1_000

    return measure


if __name__ == "__main__":
    alone(figures, __doc__)
