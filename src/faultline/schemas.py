"""Which event carries which data: the registry behind JSON Schemas, EventTypes and documentation.

`tools/schemas.py` writes `docs/schemas/` and `infra/knative/eventtypes.yaml` from it, and a test
compares. Steps do not check what they send against these models; tests do. The records that
events point to are in `model.py`.
"""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from faultline import event
from faultline.model import ClosedBecause, Fault, Result, Severity


class Data(BaseModel):
    """The data of an event. Unknown fields are ignored: a newer version may have sent them."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Opened(Data):
    """An incident was opened: what it is about, and how bad."""

    incident: str
    key: str
    episode: int
    severity: Severity
    opened_at: AwareDatetime


class Ready(Data):
    """The evidence is gathered and sealed. A person who wants another run sends it again."""

    index_sha256: str = ""
    files: int = 0
    run: int = 1  # the number of the run that is wanted
    engine: str = ""  # the one that is wanted; empty: as configured
    model: str = ""


class Packaged(Data):
    """People have been told: where, and by which link."""

    incident: str
    run: int
    outlets: dict[str, str]


class Closed(Data):
    """The incident is over: why, and who says so."""

    incident: str
    because: ClosedBecause
    by: str


class Changed(Data):
    """People changed what the incident is about: they merged our change, or made one of theirs."""

    incident: str
    ours: bool
    at: AwareDatetime  # when it was merged; for theirs, when it was seen
    outlet: str = ""  # where ours was merged
    revision: str = ""
    by: str = ""
    score: float | None = None  # how near our proposal was to theirs: 1 is the same


class Delivered(Data):
    """The change is in the cluster: Argo CD or Flux says so."""

    incident: str
    revision: str
    at: AwareDatetime
    by: str  # argocd or flux
    what: str  # the object that delivered it


class Verified(Data):
    """The fix held: merged, cleared, and quiet for the time that was set."""

    incident: str
    ours: bool
    fixed_at: AwareDatetime
    cleared_at: AwareDatetime
    quiet_s: int


class FixFailed(Data):
    """The fix did not hold: the condition came back, here or in the next incident."""

    incident: str
    ours: bool
    fixed_at: AwareDatetime
    again: str  # the incident in which it came back
    fault: str  # the name of the fault that came back


EVENTS: dict[str, tuple[type[BaseModel], str]] = {  # type -> (its data, the pattern of its source)
    event.FAULT_DETECTED: (Fault, "/faultline/bridge/{cluster}"),
    event.FAULT_CLEARED: (Fault, "/faultline/bridge/{cluster}"),
    event.INCIDENT_OPENED: (Opened, "/faultline/triage"),
    event.CONTEXT_READY: (Ready, "/faultline/context"),
    event.RUN_FINISHED: (Result, "/faultline/runs/{run}"),
    event.INCIDENT_PACKAGED: (Packaged, "/faultline/package"),
    event.INCIDENT_CLOSED: (Closed, "/faultline/close"),
    event.CHANGE_MERGED: (Changed, "/faultline/verify"),
    event.ROLLOUT_SYNCED: (Delivered, "/faultline/verify"),
    event.FIX_VERIFIED: (Verified, "/faultline/verify"),
    event.FIX_FAILED: (FixFailed, "/faultline/verify"),
}


def schema(type: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the data of events of this type."""
    model, _ = EVENTS[type]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:faultline:{type}",
        **model.model_json_schema(),
        "title": type,
    }


def event_type(type: str) -> dict[str, Any]:
    """Return the Knative EventType that makes this type known to people who look for events."""
    model, source = EVENTS[type]
    values = {"type": type, "source": source, "specversion": "1.0", "id": None}
    attributes = [
        {"name": name, "required": True} | ({"value": value} if value else {})
        for name, value in values.items()
    ]
    short = type.removeprefix(event.PREFIX)
    return {
        "apiVersion": "eventing.knative.dev/v1beta3",
        "kind": "EventType",
        "metadata": {
            "name": short.replace(".", "-"),
            "namespace": "faultline",
            "labels": {
                "app.kubernetes.io/name": "faultline",
                "app.kubernetes.io/part-of": "faultline",
            },
        },
        "spec": {
            "reference": {
                "apiVersion": "eventing.knative.dev/v1",
                "kind": "Broker",
                "name": "faultline",
            },
            "description": (model.__doc__ or "").split("\n")[0],
            "attributes": attributes,
        },
    }
