"""Put a capsule's question to an engine once more, in a folder of its own.

The analyzers answer at once. Any other engine gets a store with the evidence and a run in it, and
the same process as always (`agent/__main__.py`) does that run; no event is sent, nobody is told.
"""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from faultline import keys
from faultline.adapters.stores import open_store
from faultline.agent.record import UNRECORDED, entries
from faultline.capsule import Capsule
from faultline.cases import proved_condition
from faultline.diagnosis import diagnose
from faultline.errors import NotFound, Rejected, Unavailable
from faultline.event import CONTEXT_READY, Event, to_json
from faultline.incidents import Incidents
from faultline.model import Diagnosis, Incident, Output, Policy, Run, RunStatus
from faultline.policy import ANALYZERS

SPARE_S = 60  # beyond the deadline, for the run to be collected
LIVE = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")  # the cluster of today knows nothing of then


@dataclass(frozen=True)
class Answer:
    """What an engine said."""

    engine: str
    diagnosis: Diagnosis | None = None
    condition: str = ""  # the analyzer that proved it; "" from an agent
    reason: str = ""  # why there is no diagnosis
    tokens: int = 0
    cost_usd: float = 0.0
    outputs: tuple[Output, ...] = ()
    unrecorded: int = 0  # questions that a replay had no answer to


def ask(
    capsule: Capsule,
    engine: str,
    policy: Policy,
    folder: Path,
    now: dt.datetime,
    *,
    told: Mapping[str, str] | None = None,
    records: Mapping[str, bytes] | None = None,
) -> Answer:
    """Ask an engine. `folder` is kept: store, workspace, log. Raises Rejected, Unavailable.

    `told` are variables that it gets beside our own (`bootstrap.model`). `records` are what an
    earlier run left of its questions and answers, by name: the built-in loop answers from them.
    """
    if engine == ANALYZERS:
        verdict = diagnose(capsule)
        reason = "" if verdict.proved else "not proved"
        return Answer(engine, verdict.diagnosis, proved_condition(verdict), reason)
    url = f"file://{(folder / 'store').absolute()}"
    incidents = Incidents(open_store(url))
    run = _laid_out(incidents, capsule, engine, policy, now)
    for name, data in (records or {}).items():
        incidents.record(run.incident_id, keys.run_record(run.number, keys.recorded(name)), data)
    _do(run, url, folder, told or {})
    result = incidents.result(run.incident_id, run.number)
    if result is None:
        raise Unavailable(f"{engine} left no result; look into {folder}")
    return Answer(
        engine,
        incidents.diagnosis(run.incident_id, run.number),
        reason="" if result.status is RunStatus.SUCCESS else result.reason or result.status.value,
        tokens=result.tokens,
        cost_usd=result.cost_usd,
        outputs=result.outputs,
        unrecorded=_unrecorded(incidents, run),
    )


def _unrecorded(incidents: Incidents, run: Run) -> int:
    """Count what an engine asked and no record could answer."""
    try:
        data = incidents.read(run.incident_id, keys.run_record(run.number, keys.TOOLS))
        return sum(entry["outcome"] == UNRECORDED for entry in entries(data))
    except (NotFound, Rejected):
        return 0  # it asked nothing, or was cut off


def _laid_out(
    incidents: Incidents, capsule: Capsule, engine: str, policy: Policy, now: dt.datetime
) -> Run:
    """Write the incident, its evidence and a run into an empty store."""
    try:
        incident = Incident.model_validate_json(capsule.read("context/incident.json"))
    except ValueError:
        raise Rejected(
            "expected context/incident.json in the capsule, as `capture` makes it"
        ) from None
    resource = incident.fault.resource
    cause = Event(id=engine, source="/faultline/ask", type=CONTEXT_READY, subject=incident.id)
    run = Run(
        incident_id=incident.id,
        number=1,
        engine=engine,
        model=policy.model,
        command=policy.command,
        deadline_s=policy.deadline_s,
        tokens_max=policy.budgets.run.tokens,
        capsule_sha256=capsule.sha256,
        cluster=incident.fault.cluster,
        namespace=resource.namespace if resource else "",
        created_at=now,
        cause=to_json(cause),
    )
    for name in capsule.names():
        incidents.record(incident.id, name, capsule.read(name))
    incidents.record(incident.id, keys.INCIDENT, incident)
    incidents.record(incident.id, keys.run_record(1, keys.FINDINGS), diagnose(capsule))
    incidents.record(incident.id, keys.run_record(1, keys.RUN), run)
    return run


def _do(run: Run, store: str, folder: Path, more: Mapping[str, str]) -> None:
    told = {
        **more,
        "FAULTLINE_STORE": store,
        "FAULTLINE_RUN": keys.incident(run.incident_id, keys.run_record(run.number, keys.RUN)),
        "WORKSPACE_ROOT": str((folder / "runs").absolute()),
        "AGENT_RUNTIME_CLEANUP": "keep",
        "K_SINK": "",
    }
    log = folder / "agent.log"
    try:
        with log.open("wb") as out:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "faultline.agent"],
                env={k: v for k, v in os.environ.items() if k not in LIVE} | told,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=run.deadline_s + SPARE_S,
            )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{run.engine} did not end in time; look into {folder}") from None
    if done.returncode:
        last = log.read_text("utf-8", "replace").strip().rsplit("\n", 1)[-1]
        raise Rejected(f"{run.engine} could not be asked: {last[:300]}")
