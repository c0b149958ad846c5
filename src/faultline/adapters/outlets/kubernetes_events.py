"""Kubernetes Events on the object that a fault is about, for `kubectl describe` and `get events`.

Off unless asked for, and the only thing that is ever written to a cluster: it says what was found
and changes nothing. An Event's name follows from incident and run, so that one which is there is
not made again. Text from the cluster is redacted and made inert, and cut at what the API takes.
Sources: kubernetes/api:events/v1/types.go and what kubernetes/kubernetes checks in
pkg/apis/core/validation/events.go.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cached_property
from typing import Any

from faultline.adapters.apiserver import OURS, Write, event_writer
from faultline.adapters.outlets.summary import Summary, summary
from faultline.adapters.posting import receipt as receipt_of
from faultline.adapters.sources.live import KINDS
from faultline.errors import Rejected, Unavailable
from faultline.healing_cap import REACHED
from faultline.model import Incident, Merged, Receipt, Report, Resource
from faultline.redact import redact
from faultline.views.neutral import inert

NOTE_BYTES_MAX = 1_024


class EventsOutlet:
    """Writes Events in the cluster of this name. Raises Unavailable, Rejected."""

    name = "events"

    def __init__(
        self, cluster: str, *, clock: Callable[[], dt.datetime], write: Write | None = None
    ) -> None:
        self._cluster, self._clock, self._given = cluster, clock, write

    @cached_property
    def _write(self) -> Write:
        return self._given or event_writer()

    def begun(self, incident: Incident) -> None:
        """Write `AnomalyDetected`."""
        if self._elsewhere(incident):
            return
        fault = incident.fault
        said = f"{fault.name} ({fault.severity.value}): {fault.summary or 'no summary'}"
        note = f"{said}. Incident {incident.id} looks into it."
        self._make(incident, 0, "AnomalyDetected", note, incident.opened_at)

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Write how a run ended, once for each run. How the incident ends is not said here."""
        incident, run = report.incident, report.run
        if receipt and (report.ending or receipt.details.get("run") == str(run)):
            return receipt
        elsewhere = self._elsewhere(incident)
        if not elsewhere:
            self.begun(incident)
            at, found = report.result.completed_at, summary(report)
            if report.capped:
                self._make(incident, run, REACHED, report.capped.partition(": ")[2], at)
            reason = "DiagnosisComplete" if report.diagnosis else "DiagnosisFailed"
            self._make(incident, run, reason, _note(found), at)
        return receipt or receipt_of(self.name, report, self._clock(), elsewhere)

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing is merged in a cluster."""
        return None

    def _elsewhere(self, incident: Incident) -> str:
        """Say why no Event can be written on what the fault is about; "" if one can."""
        about = incident.fault.resource
        if about is None or not about.kind:
            return "none: the fault names no object"
        if incident.fault.cluster != self._cluster:
            return "none: the fault is of another cluster"
        return ""

    def _make(self, incident: Incident, run: int, reason: str, note: str, at: dt.datetime) -> None:
        about = incident.fault.resource or Resource(name="")
        namespace = about.namespace or "default"  # where Events about a Node, say, have to be
        name = f"{incident.id}.{run}.{reason.lower()}"
        moment = f"{at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        status = self._write(namespace, {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": moment,
            "reportingController": OURS,
            "reportingInstance": "faultline",
            "action": "Diagnose",
            "reason": reason,
            "type": "Normal" if reason == "DiagnosisComplete" else "Warning",
            "regarding": _reference(about),
            "note": _cut(inert(redact(note), NOTE_BYTES_MAX)),
        })  # fmt: skip
        if status in (200, 201, 409):
            return  # 409: it is there
        if status in (401, 403):
            raise Rejected("expected to be allowed to create Events; see infra/knative/events")
        if status == 429 or status >= 500:
            raise Unavailable(f"an Event: the API server answered {status}")
        raise Rejected(f"an Event was not taken: the API server answered {status}")


def _reference(about: Resource) -> dict[str, Any]:
    prefix = KINDS.get(about.kind, ("", ""))[0]
    named = {
        "apiVersion": about.api_version or prefix.partition("/")[2],
        "kind": about.kind,
        "namespace": about.namespace,
        "name": about.name,
        "uid": about.uid,
    }
    return {name: value for name, value in named.items() if value}


def _note(found: Summary) -> str:
    return " ".join(
        filter(None, (f"{found.cause_title}: {found.cause}", found.action, found.footer))
    )


def _cut(text: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= NOTE_BYTES_MAX:
        return text
    return data[: NOTE_BYTES_MAX - 3].decode("utf-8", "ignore") + "…"
