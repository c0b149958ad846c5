"""Cases: a question with its evidence in a folder of its own, and perhaps the truth beside it.

Made from what kubectl printed (`capture`), or from an incident that is over (`promote`); read by
`evaluate.py`. The evidence has the form of `docs/capsule.md`, `truth.json` that of
`docs/evaluate.md`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultline import fields, keys, splice
from faultline.adapters.manifests import NoManifests
from faultline.adapters.sources.alert import AlertSource
from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge import alertmanager
from faultline.bridge.events import event_of
from faultline.capsule import Capsule, belongs
from faultline.correlate import subject_name
from faultline.errors import FaultlineError, Rejected
from faultline.event import parse_time
from faultline.fixes import Outcome
from faultline.incidents import Incidents
from faultline.model import (
    Certainty,
    Change,
    ClosedBecause,
    Diagnosis,
    Fault,
    FileChange,
    Policy,
    Proposal,
    Resource,
    Severity,
    Verdict,
)
from faultline.ports import Ports
from faultline.proposal import diff
from faultline.redact import Redactor
from faultline.replay import NoRunner, NoSink
from faultline.steps.context import context
from faultline.steps.triage import triage

TRUTH = "truth.json"
MERGED = "merged.patch"

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicaSet", "Pod")

FilesAt = Callable[[str], Mapping[str, bytes]]  # manifests by path, as of a revision


def capture(
    folder: Path, *, namespace: str = "", workload: str = "", alert: bytes = b"", cluster: str = ""
) -> dict[str, bytes]:
    """Return the capsule of one workload of a recorded cluster, by name; redacted and sealed.

    The layout of `folder` is `recorded.py`'s. With an alert the first one about that workload is
    the fault, or the first of all if no workload is named. Raises Rejected if there is none.
    """
    recorded = RecordedCluster(folder)
    fault = _fault(recorded, namespace, workload, alert, cluster or folder.name)
    moment = max([fault.starts_at, *_moments(recorded, fault)])
    store = MemoryStore()
    if alert:
        fault = fault.model_copy(update={"payload": keys.payload(moment.date(), alert)})
        store.put(fault.payload, alert)
    ports = Ports(
        incidents=Incidents(store),
        runner=NoRunner(),
        sources=[AlertSource(store.get), ClusterSource(recorded)],
        manifests=NoManifests(),
        outlets=(),
        sink=NoSink(),
        policy=Policy(severity_threshold=Severity.INFO),
        clock=lambda: moment,
    )
    opened = triage(event_of(fault, cleared=False, cluster=fault.cluster, time=moment), ports)
    if opened is None or opened.subject is None:
        raise Rejected("expected a fault that opens an incident, but this one opens none")
    context(opened, ports)
    return files_of(ports.incidents.capsule(opened.subject))


def files_of(capsule: Capsule) -> dict[str, bytes]:
    return {name: capsule.read(name) for name in capsule.names()}


def capsule_of(folder: Path) -> Capsule:
    """Return the capsule of a case: as it lies there, or made from a recorded cluster.

    Raises Rejected if it is neither, or if it does not match its seal.
    """
    if (folder / keys.INDEX).is_file():
        capsule = Capsule.from_directory(folder)
        capsule.verify()
        return capsule
    if (folder / "alert.json").is_file():
        return Capsule(capture(folder, alert=(folder / "alert.json").read_bytes()))
    raise Rejected(
        f"expected a capsule ({keys.INDEX}) or a recorded cluster with alert.json in {folder}"
    )


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a case into a folder that is new or empty. Raises Rejected otherwise."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Rejected(f"expected a new or empty folder, but {folder} is there; choose another")
    for name, data in files.items():
        if not (belongs(name) or name in (TRUTH, MERGED)) or ".." in name.split("/"):
            raise Rejected(f"expected a file of a case, got {name[:80]!r}")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


# a fault for a recording


def _fault(
    recorded: RecordedCluster, namespace: str, workload: str, alert: bytes, cluster: str
) -> Fault:
    resource = _resource(recorded, namespace, workload) if workload else None
    if alert:
        message = alertmanager.parse(alert)
        found = alertmanager.faults(message, cluster=cluster, payload="")
        if not found:
            raise Rejected("expected an alert in the message, found none")
        about = (fault for fault in found if _is_about(fault, namespace, workload))
        fault = next(about, found[0])
        return fault if resource is None else fault.model_copy(update={"resource": resource})
    if resource is None:
        raise Rejected("expected the name of a workload, or an alert that names one")
    plain = Fault(
        name="Captured",
        summary=f"{resource.kind} {namespace}/{workload} was captured",
        severity=Severity.CRITICAL,
        cluster=cluster,
        resource=resource,
        starts_at=dt.datetime(1970, 1, 1, tzinfo=dt.UTC),
        condition=f"{namespace}/{workload}",
        origin="capture",
    )
    times = _moments(recorded, plain)
    if not times:
        raise Rejected("expected events.json with times, or an alert that says when it began")
    return plain.model_copy(update={"starts_at": max(times)})


def _is_about(fault: Fault, namespace: str, workload: str) -> bool:
    there = fault.resource is not None and fault.resource.namespace == namespace
    return there and subject_name(fault) == workload


def _resource(recorded: RecordedCluster, namespace: str, workload: str) -> Resource:
    names: set[str] = set()
    for kind in _WORKLOADS:
        found = {str(o["metadata"].get("name")) for o in recorded.objects(kind, namespace)}
        if workload in found:
            return Resource(kind=kind, name=workload, namespace=namespace)
        names |= found if kind not in ("ReplicaSet", "Pod") else set()
    raise Rejected(
        f"expected a workload of namespace {namespace or '(none)'} in objects/, "
        f"got {workload!r}; there are: {', '.join(sorted(names)) or 'none'}"
    )


def _moments(recorded: RecordedCluster, fault: Fault) -> list[dt.datetime]:
    """Return the times of the recorded events: the newest is when the recording was made."""
    fields_ = ("lastTimestamp", "eventTime", "firstTimestamp")
    events = recorded.events(fault.resource.namespace if fault.resource else "")
    texts = (event.get(name) for event in events for name in fields_)
    return [parse_time(str(text)) for text in texts if text]


# the truth, from an incident that is over


def promote(incidents: Incidents, incident_id: str, files_at: FilesAt) -> dict[str, bytes]:
    """Return a case of an incident that is over: capsule, truth, and what was merged.

    The truth is what people merged; where that cannot be read, what was proposed. Raises Rejected
    for an incident that is open, whose fix did not hold, or whose cause nobody knows.
    """
    closed, held = incidents.closed(incident_id), incidents.verification(incident_id)
    if closed is None:
        raise Rejected(f"expected an incident that is closed, {incident_id} is not")
    failed = held is not None and held.outcome is Outcome.FAILED
    if failed or closed.because is ClosedBecause.RETURNED:
        raise Rejected(f"the fix of {incident_id} did not hold, so nobody knows the truth of it")
    number = _answered(incidents, incident_id)
    diagnosis = incidents.diagnosis(incident_id, number)
    proposal = incidents.proposal(incident_id, number) or Proposal()
    condition = _condition(incidents, incident_id, number)
    changes = proposal.accepted or (diagnosis.changes if diagnosis else ())
    if diagnosis is None or not (condition or changes):
        raise Rejected(f"expected a proved cause or a change of {incident_id}, there is neither")
    origin, after, patch = _merged(incidents, incident_id, changes, proposal, files_at)
    truth = _truth(diagnosis, condition, changes, after) | {
        "origin": origin,
        "incident": incident_id,
        "closed": closed.because.value,
        "held": held.outcome.value if held else "",
    }
    text = json.dumps(truth, indent=2, ensure_ascii=False) + "\n"
    clean = Redactor(salt=incident_id)
    made = files_of(incidents.capsule(incident_id)) | {TRUTH: clean.file(TRUTH, text.encode())}
    return made | ({MERGED: clean.text(patch).encode()} if patch else {})


def _answered(incidents: Incidents, incident_id: str) -> int:
    """Return the newest run that left a diagnosis; 0 if none did."""
    runs = reversed(incidents.run_numbers(incident_id))
    return next((n for n in runs if incidents.diagnosis(incident_id, n)), 0)


def _condition(incidents: Incidents, incident_id: str, number: int) -> str:
    try:
        record = incidents.read(incident_id, keys.run_record(number, keys.FINDINGS))
        return proved_condition(Verdict.model_validate_json(record))
    except (FaultlineError, ValueError):
        return ""


def proved_condition(verdict: Verdict) -> str:
    """Return the analyzer that proved the cause, such as memory.limit-exceeded; "" if none did."""
    if verdict.diagnosis is None:
        return ""
    proved = (f for f in verdict.findings if f.certainty is Certainty.PROVED)
    return next((f.analyzer for f in proved if f.statement == verdict.diagnosis.root_cause), "")


def _truth(
    diagnosis: Diagnosis, condition: str, changes: Sequence[Change], after: Sequence[Any]
) -> dict[str, Any]:
    family, _, rest = condition.partition(".")
    listed = [
        {
            "target": change.target.model_dump(),
            "field": change.field,
            "before": change.before,
            "after": value,
        }
        for change, value in zip(changes, after, strict=True)
    ]
    truth: dict[str, Any] = {"title": diagnosis.title, "family": family, "condition": rest}
    return truth | (listed[0] if listed else {}) | ({"changes": listed} if listed[1:] else {})


def _merged(
    incidents: Incidents,
    incident_id: str,
    changes: Sequence[Change],
    proposal: Proposal,
    files_at: FilesAt,
) -> tuple[str, list[Any], str]:
    """Return (who says so, the value of each change, the diff)."""
    for merge in incidents.merges(incident_id):
        try:
            files = files_at(merge.revision)
            values = [_value(splice.current(files, change)) for change in changes]
        except FaultlineError:
            continue  # that repository is not here: believe what was proposed
        made = [
            FileChange(path=f.path, before=f.before, after=files.get(f.path, b"").decode())
            for f in proposal.files
        ]
        return "merged", values, diff(Proposal(files=tuple(made)))
    seen = incidents.shadow(incident_id)
    theirs = {(c.target, c.field): c.theirs for c in seen.changes if c.same_field} if seen else {}
    if theirs:
        return "people", [theirs.get((c.target, c.field), c.after) for c in changes], ""
    return "proposal", [change.after for change in changes], diff(proposal)


def _value(found: Any) -> Any:
    return None if found is fields.MISSING else found
