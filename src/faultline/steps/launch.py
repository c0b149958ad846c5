"""context.ready -> run.finished, or a Job

Let the analyzers try first. What they prove is the answer, at once; the rest goes to an agent, if
there is room for one. What people get of it is `package.py`'s.
"""

from __future__ import annotations

import logging

from faultline import keys
from faultline.diagnosis import diagnose
from faultline.diagnosis.render import investigation
from faultline.event import RUN_FINISHED, Event, to_json
from faultline.incidents import content
from faultline.model import Result, Run, RunStatus, Verdict
from faultline.policy import ANALYZERS, room
from faultline.ports import Ports

log = logging.getLogger(__name__)


def launch(event: Event, ports: Ports) -> Event | None:
    incident = ports.incidents.incident(event.subject or "")
    if ports.incidents.closed(incident.id):
        return None
    run, verdict = plan(event, ports)
    if run.engine == ANALYZERS:
        conclude(run, verdict, ports)
    result = ports.incidents.result(incident.id, run.number)
    if result is None:
        start(run, ports)
        return None
    return event.caused(
        RUN_FINISHED,
        source=f"/faultline/runs/{run.id}",
        subject=incident.id,
        data=result.model_dump(mode="json"),
    )


def plan(event: Event, ports: Ports) -> tuple[Run, Verdict]:
    """Return the run that this event asks for, as recorded if it is, and what the analyzers say."""
    incident = ports.incidents.incident(event.subject or "")
    asked, policy = event.data or {}, ports.policy
    number = int(asked.get("run", 1))
    capsule = ports.incidents.capsule(incident.id)
    capsule.verify()
    verdict = diagnose(capsule)
    ports.incidents.record(incident.id, keys.run_record(number, keys.FINDINGS), verdict)
    resource = incident.fault.resource
    run = ports.incidents.run(incident.id, number) or Run(
        incident_id=incident.id,
        number=number,
        engine=asked.get("engine") or (ANALYZERS if verdict.proved else policy.engine),
        model=asked.get("model") or policy.model,
        command=policy.command,
        deadline_s=policy.deadline_s,
        capsule_sha256=capsule.sha256,
        cluster=incident.fault.cluster,
        namespace=resource.namespace if resource else "",
        created_at=ports.clock(),
        cause=to_json(event),
    )
    return run, verdict


def conclude(run: Run, verdict: Verdict, ports: Ports) -> None:
    """Write the whole run at once: what was proved is its output. The result comes last."""
    incidents, incident = ports.incidents, ports.incidents.incident(run.incident_id)
    incidents.record(run.incident_id, keys.run_record(run.number, keys.RUN), run)
    if verdict.diagnosis:
        text = investigation(incident, verdict)
        incidents.record(run.incident_id, keys.run_record(run.number, keys.INVESTIGATION), text)
        report = content(verdict.diagnosis)
        incidents.record(run.incident_id, keys.run_record(run.number, keys.DIAGNOSIS), report)
    result = Result(
        incident_id=run.incident_id,
        run=run.number,
        status=RunStatus.SUCCESS if verdict.diagnosis else RunStatus.FAILED,
        reason="" if verdict.diagnosis else "not_proved",
        started_at=run.created_at,
        completed_at=ports.clock(),
        engine=run.engine,
        outputs=incidents.outputs(run.incident_id, run.number),
    )
    incidents.record(run.incident_id, keys.run_record(run.number, keys.RESULT), result)


def start(run: Run, ports: Ports) -> None:
    """Start the run's Job if it is on record already or there is room for it; else leave it."""
    incidents = ports.incidents
    if incidents.run(run.incident_id, run.number) is None:
        live = [known for id in ports.runner.live() if (known := incidents.run_by_id(id))]
        refused = room(run, live, incidents.started_since(run.created_at), ports.policy)
        if refused:
            log.warning("run %s waits: %s", run.id, refused, extra={"incident": run.incident_id})
            return
    incidents.record(run.incident_id, keys.run_record(run.number, keys.RUN), run)
    incidents.mark_started(run)
    if not incidents.closed(run.incident_id):  # a person may have closed it meanwhile
        ports.runner.start(run)
