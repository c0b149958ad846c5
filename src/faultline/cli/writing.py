"""Commands that send or change: send, cancel, retry, close."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from faultline import keys, views
from faultline.bootstrap import now
from faultline.cli.common import incidents_of, print_json, resolve, say, settings_of
from faultline.errors import Rejected, Unavailable
from faultline.event import CONTEXT_READY, Event, format_time
from faultline.incidents import Incidents
from faultline.model import Closed, ClosedBecause, Stop
from faultline.settings import ENGINES, INGRESS


def send(arguments: argparse.Namespace) -> int:
    settings, _ = settings_of(arguments)
    if arguments.resolved and arguments.kind != "alert":
        raise Rejected("--resolved is for alerts; a fault says itself when it ends")
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
    alerts = message.get("alerts")
    if not isinstance(alerts, list) or not all(isinstance(alert, dict) for alert in alerts):
        raise Rejected("expected AlertManager's message: an object with a list `alerts`")
    ended = [alert | {"status": "resolved", "endsAt": moment} for alert in alerts]
    return json.dumps(message | {"status": "resolved", "alerts": ended}).encode()


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

    if not url.startswith(("http://", "https://")):
        raise Rejected(f"expected an http(s) address, got {url[:120]!r}")
    try:
        answer = httpx.post(url, headers=headers, content=body, timeout=30)
    except httpx.InvalidURL as error:
        raise Rejected(f"expected an http(s) address, got {url[:120]!r}: {error}") from None
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
    memory.ask_to_stop(incident_id, number, Stop(by="cli", at=now()))
    said = (
        f"run {number} of {incident_id} is asked to stop; `faultline tail {incident_id}` shows it"
    )
    return _done(arguments, {"incident": incident_id, "run": number, "cancelled": True}, said)


def _done(arguments: argparse.Namespace, result: dict[str, Any], words: str) -> int:
    """Say what was done: in words, or as JSON where that was asked for."""
    if arguments.json:
        print_json(result)
    else:
        say(words)
    return 0


def retry(arguments: argparse.Namespace) -> int:
    from faultline.wire import encode

    memory = incidents_of(arguments)
    incident_id = resolve(memory, arguments.incident)
    if memory.closed(incident_id):
        raise Rejected(f"{incident_id} is closed; its next fault opens a new incident")
    number = _next_run(memory, incident_id)
    data: dict[str, Any] = {"run": number}
    if arguments.with_engine:
        if arguments.with_engine not in ENGINES:
            names = ", ".join(ENGINES)
            raise Rejected(f"expected an engine among {names}, got {arguments.with_engine!r}")
        data["engine"] = arguments.with_engine
    moment = format_time(now())
    event = Event(
        id=f"{incident_id}-{number}/retry", source="/faultline/cli", type=CONTEXT_READY,
        subject=incident_id, time=moment, data=data,
        extensions={"partitionkey": incident_id, "correlationid": incident_id},
    )  # fmt: skip
    headers, body = encode(event)
    _post(_broker(arguments), headers, body)
    said = f"run {number} of {incident_id} is asked for"
    return _done(arguments, {"incident": incident_id, "run": number}, said)


def _next_run(memory: Incidents, incident_id: str) -> int:
    """Return the number of the run to ask for. Raises Rejected where none can begin."""
    if memory.index(incident_id) is None:
        raise Rejected(f"the evidence of {incident_id} is still being gathered; wait for `ready`")
    newest = max(memory.run_numbers(incident_id), default=0)
    if newest and memory.run(incident_id, newest) and not memory.result(incident_id, newest):
        raise Rejected(f"run {newest} of {incident_id} is still going; `faultline cancel` stops it")
    return newest + 1


def _broker(arguments: argparse.Namespace) -> str:
    """Return the address of the broker: as given with its path, else as `dev` has it."""
    settings, _ = settings_of(arguments)
    base = str(arguments.to or f"http://{settings.host}:{settings.port}").rstrip("/")
    return base if arguments.to and "/" in base.split("://", 1)[-1] else base + INGRESS


def resend(arguments: argparse.Namespace) -> int:
    """Send a parked event to the broker again, as it was."""
    from faultline.web.acts import Acts
    from faultline.wire import encode

    url = _broker(arguments)
    day, _, name = str(arguments.key).removeprefix("parked/").partition("/")

    def post(event: Event) -> None:
        headers, body = encode(event)
        _post(url, headers, body)

    Acts(incidents_of(arguments), post, now).replay(day, name)
    say(f"{arguments.key} is sent again")
    return 0


def close(arguments: argparse.Namespace) -> int:
    """Close by hand: the record and the page. No event is sent: this works without a broker."""
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
    readme = views.readme(views.load(memory, incident_id))
    memory.put_view(incident_id, keys.README, readme)
    said = f"{incident_id} is closed; the next fault of its workload opens a new incident"
    return _done(arguments, {"incident": incident_id, "because": record.because.value}, said)
