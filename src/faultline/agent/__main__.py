"""One run, from `run.json` to `run.finished`: workspace, one engine, results out.

    FAULTLINE_RUN     key of the run's record, incidents/<id>/runs/<n>/run.json
    K_EVENT_PATH      instead of it: a file with the event that names the run, as JobSink mounts it
    FAULTLINE_STORE   the store's URL
    K_SINK            where run.finished goes; empty: nowhere, `sweep` will find the result
    WORKSPACE_ROOT    folder in which each run has its own
    AGENT_RUNTIME_GRACE     seconds between interrupt and kill
    AGENT_RUNTIME_CLEANUP   keep, keep_on_failure (default), delete_after, delete: the folder then
    AGENT_RUNTIME_RETENTION hours until a folder goes that was kept, 72; `keep` keeps it for ever
    AGENT_RUNTIME_SKILLS_SOURCE   a skill's folder, found as .claude/skills/<its name>/
    FAULTLINE_GATEWAY       the gateway's address: every engine asks its model there, keyless;
                            empty: each goes to its model itself, with the key it finds here
    FAULTLINE_GATEWAY_TOKENS      folder of the pod's tokens for the gateway, `token` and
                            `model-token`; /var/run/secrets/faultline

Killed at any moment and started again, it goes on: a result that stands is only announced, an
engine that has ended is only collected, one that was cut off starts anew. Exit 0: the result is in
the store, whatever it says; 75: try again, and `<run>.again` beside the folder says so to whoever
has no exit codes; 78: there is nothing here that could ever run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from faultline import keys, traces
from faultline.adapters.stores import open_store
from faultline.agent.attempt import Attempt, secrets_of
from faultline.agent.process import harden
from faultline.agent.through import through
from faultline.errors import FaultlineError, NotFound, Rejected
from faultline.event import Event, from_json
from faultline.incidents import Incidents
from faultline.logs import about, configure
from faultline.model import Run
from faultline.wire import from_bytes

log = logging.getLogger("faultline.agent")

TRY_AGAIN, NEVER = 75, 78  # EX_TEMPFAIL, EX_CONFIG of sysexits


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Do the run that the environment names; return the exit code."""
    harden()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        environment = through(environment)
        configure(environment.get("LOG_LEVEL", "info"), known=secrets_of(environment))
        incidents = Incidents(open_store(_needed(environment, "FAULTLINE_STORE")))
        run = named_run(incidents, environment)
        context = traces.context_of(from_json(run.cause))
        trace_id = context.trace_id if context else None
        with about(incident_id=run.incident_id, cluster=run.cluster, trace_id=trace_id):
            Attempt(run, incidents, environment, stop).finish()
    except FaultlineError as error:
        log.critical("%s", error, extra={"event": "run.failed"})
        if isinstance(error, Rejected | NotFound):
            return NEVER
        _ask_again(environment)
        return TRY_AGAIN
    return 0


def _ask_again(environment: Mapping[str, str]) -> None:
    if key := environment.get("FAULTLINE_RUN"):
        incident_id, number = parse_key(key)
        root = Path(environment.get("WORKSPACE_ROOT", ".faultline/runs"))
        with contextlib.suppress(OSError):
            (root / f"{incident_id}-{number}.again").touch(mode=0o600)


def named_run(incidents: Incidents, environment: Mapping[str, str]) -> Run:
    """Return the run that FAULTLINE_RUN or the event in K_EVENT_PATH names."""
    if key := environment.get("FAULTLINE_RUN"):
        incident_id, number = parse_key(key)
    else:
        incident_id, number = of_event(_event(Path(_needed(environment, "K_EVENT_PATH"))))
    found = incidents.run(incident_id, number)
    if found is None:
        raise NotFound(f"expected a record of run {number} of {incident_id}; `launch` writes it")
    return found


def parse_key(key: str) -> tuple[str, int]:
    """Take `incidents/<id>/runs/<n>/run.json` apart. Raises Rejected for anything else."""
    incident_id, _, name = key.removeprefix(keys.INCIDENTS).partition("/")
    found = keys.run_of(name)
    if not key.startswith(keys.INCIDENTS) or found is None or found[1] != keys.RUN:
        raise Rejected(f"expected a key incidents/<id>/runs/<n>/run.json, got {key[:200]!r}")
    return keys.checked_incident_id(incident_id), found[0]


def of_event(event: Event) -> tuple[str, int]:
    """Return incident and number of the run that an event is about; 1 if it says no number."""
    data = event.data if isinstance(event.data, dict) else {}
    number = data.get("run", 1)
    if isinstance(number, str) and "/" in number:
        return parse_key(number)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise Rejected(f"expected the run's number in the event's data, got {number!r}")
    return keys.checked_incident_id(event.subject or ""), number


def _event(path: Path) -> Event:
    try:
        return from_bytes((path / "event" if path.is_dir() else path).read_bytes())
    except OSError as error:
        raise Rejected(f"K_EVENT_PATH names {path}, which cannot be read: {error}") from None


def _needed(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise Rejected(f"expected {name} in the environment; see `python -m faultline.agent`")
    return environment[name]


if __name__ == "__main__":
    sys.exit(main())
