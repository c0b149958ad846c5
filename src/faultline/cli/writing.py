"""Commands that send or change: send, cancel, retry, close."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from faultline import keys
from faultline.bootstrap import now
from faultline.cli.common import incidents_of, say, settings_of
from faultline.cli.reading import resolve
from faultline.errors import Rejected, Unavailable
from faultline.event import CONTEXT_READY, Event, format_time
from faultline.model import Closed, ClosedBecause

INGRESS = "/broker/faultline/faultline"


def send(arguments: argparse.Namespace) -> int:
    settings, _ = settings_of(arguments)
    base = (arguments.to or f"http://{settings.host}:{settings.port}").rstrip("/")
    body = _read(arguments.file)
    if arguments.kind == "alert":
        path, headers, body = "/alertmanager", {"content-type": "application/json"}, (
            _resolved(body) if arguments.resolved else body)  # fmt: skip
    elif arguments.kind == "event":
        path, headers = "/events", {"content-type": "application/cloudevents+json"}
    else:
        path = "/events"
        headers, body = _fault_event(body, settings.cluster)
    if settings.webhook_token:
        headers["authorization"] = f"Bearer {settings.webhook_token.split(',')[0]}"
    say(f"{base}{path} answered {_post(base + path, headers, body)}: taken on")
    return 0


def _read(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Rejected(f"cannot read {path}: {error.strerror}") from None


def _resolved(body: bytes) -> bytes:
    """Return an AlertManager message with every alert resolved now."""
    message = _object(body)
    moment = format_time(now())
    message["status"] = "resolved"
    for alert in message.get("alerts", []):
        alert |= {"status": "resolved", "endsAt": moment}
    return json.dumps(message).encode()


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Rejected(f"expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise Rejected(f"expected a JSON object, got {type(found).__name__}")
    return found


def _fault_event(body: bytes, cluster: str) -> tuple[dict[str, str], bytes]:
    from faultline.bridge.events import event_of
    from faultline.bridge.mcp import Setting, fault_of
    from faultline.wire import encode

    fault = fault_of(_object(body), Setting(cluster, now(), "cli"))
    if fault is None:
        raise Rejected("expected a fault: an object with resource_name, severity and timestamp")
    cleared = fault.ends_at is not None
    return encode(event_of(fault, cleared=cleared, cluster=cluster, time=now()), structured=True)


def _post(url: str, headers: dict[str, str], body: bytes) -> int:
    import httpx

    try:
        answer = httpx.post(url, headers=headers, content=body, timeout=30)
    except httpx.HTTPError as error:
        raise Unavailable(f"{url} did not answer ({error}); is `faultline dev` running?") from None
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Unavailable(f"{url} answered {answer.status_code}: {answer.text.strip()}")
    if answer.status_code >= 300:
        raise Rejected(f"{url} answered {answer.status_code}: {answer.text.strip()}")
    return answer.status_code


def cancel(arguments: argparse.Namespace) -> int:
    memory = incidents_of(arguments)
    incident_id = resolve(memory, arguments.incident)
    number = max(memory.run_numbers(incident_id), default=0)
    if not number or memory.run(incident_id, number) is None:
        raise Rejected(f"{incident_id} has no run to cancel")
    if memory.result(incident_id, number):
        raise Rejected(f"run {number} of {incident_id} has ended already")
    record = json.dumps({"by": "cli", "at": format_time(now())}).encode()
    memory.record(incident_id, keys.run_record(number, keys.CANCEL), record)
    say(f"run {number} of {incident_id} is asked to stop; `faultline tail {incident_id}` shows it")
    return 0


def retry(arguments: argparse.Namespace) -> int:
    from faultline.wire import encode

    memory = incidents_of(arguments)
    incident_id = resolve(memory, arguments.incident)
    if memory.closed(incident_id):
        raise Rejected(f"{incident_id} is closed; its next fault opens a new incident")
    number = max(memory.run_numbers(incident_id), default=0) + 1
    data: dict[str, Any] = {"run": number}
    if arguments.with_engine:
        data["engine"] = arguments.with_engine
    moment = format_time(now())
    event = Event(
        id=f"{incident_id}-{number}/retry", source="/faultline/cli", type=CONTEXT_READY,
        subject=incident_id, time=moment, data=data,
        extensions={"partitionkey": incident_id, "correlationid": incident_id},
    )  # fmt: skip
    settings, _ = settings_of(arguments)
    base = (arguments.to or f"http://{settings.host}:{settings.port}").rstrip("/")
    url = base if arguments.to and "/" in base.split("://", 1)[-1] else base + INGRESS
    headers, body = encode(event)
    _post(url, headers, body)
    say(f"run {number} of {incident_id} is asked for")
    return 0


def close(arguments: argparse.Namespace) -> int:
    memory = incidents_of(arguments)
    incident_id = resolve(memory, arguments.incident)
    faults = memory.faults(incident_id)
    record = Closed(
        because=ClosedBecause.PERSON,
        by="cli",
        at=now(),
        occurrences=tuple(sorted(fault.occurrence for fault, _ in faults.values())),
        note=arguments.note,
    )
    if not memory.record(incident_id, keys.CLOSED, record):
        raise Rejected(f"{incident_id} was closed before")
    say(f"{incident_id} is closed; the next fault of its workload opens a new incident")
    return 0
