"""context.ready -> run.finished, or a Job

Let the analyzers try first. What they prove is the answer, at once; the rest goes to an agent, if
there is room for one and money, else it waits, or the analyzers answer alone. What people get of it
is `package.py`'s.
"""

from __future__ import annotations

import logging

from faultline import keys, suspected, views
from faultline.diagnosis import diagnose
from faultline.diagnosis.render import investigation
from faultline.errors import Busy
from faultline.event import Event, to_json
from faultline.healing_cap import capped
from faultline.incidents import content
from faultline.ledger import Say, admit, wish_of
from faultline.model import Incident, Result, Run, RunStatus, Verdict
from faultline.policy import ANALYZERS, engine_for
from faultline.ports import Ports
from faultline.steps import asked_for

log = logging.getLogger(__name__)


def launch(event: Event, ports: Ports) -> Event | None:
    incident = ports.incidents.incident(event.subject or "")
    seen = ports.incidents.snapshot(incident.id)
    if seen.closed(incident.id):
        return None
    number = asked_for(event)[0]
    if seen.packaged(incident.id, number):
        return None  # it was heard
    if ended := seen.result(incident.id, number):
        return event.run_finished(incident.id, number, ended.model_dump(mode="json"))
    return investigated(event, incident, ports)


def investigated(event: Event, incident: Incident, ports: Ports) -> Event | None:
    """Answer with the analyzers, start an agent, or let the run wait for one."""
    run, verdict = plan(event, incident, ports)
    if run.engine != ANALYZERS and ports.incidents.run(incident.id, run.number) is None:
        wish = wish_of(run, incident)
        answer = admit(wish, ports.incidents, ports.runner.state, ports.policy, run.created_at)
        if answer.say is Say.WAIT:
            log.info("run %s waits: %s", run.id, answer.reason, extra={"incident": incident.id})
            page = views.readme(views.load(ports.incidents, incident.id))
            ports.incidents.put_view(incident.id, keys.README, page)
            return None
        if answer.say is Say.WITHOUT:
            run = alone(run, answer.reason)
    if run.engine != ANALYZERS:
        run = start(run, ports)
    if run.engine == ANALYZERS:
        conclude(run, incident, verdict, ports)
    if result := ports.incidents.result(incident.id, run.number):
        return event.run_finished(incident.id, run.number, result.model_dump(mode="json"))
    return None


def plan(event: Event, incident: Incident, ports: Ports) -> tuple[Run, Verdict]:
    """Return the run that this event asks for, as recorded if it is, and what the analyzers say."""
    (number, asked), policy = asked_for(event), ports.policy
    capsule = ports.incidents.capsule(incident.id)
    capsule.verify()
    verdict = diagnose(capsule)
    ports.incidents.record(incident.id, keys.run_record(number, keys.FINDINGS), verdict)
    if recorded := ports.incidents.run(incident.id, number):
        return recorded, verdict
    resource = incident.fault.resource
    run = Run(
        incident_id=incident.id,
        number=number,
        engine=asked.get("engine") or engine_for(incident.fault, policy, proved=verdict.proved),
        model=asked.get("model") or policy.model,
        command=policy.command,
        deadline_s=policy.deadline_s,
        tokens_max=policy.budgets.run.tokens,
        capsule_sha256=capsule.sha256,
        cluster=incident.fault.cluster,
        namespace=resource.namespace if resource else "",
        created_at=ports.clock(),
        cause=to_json(event),
    )
    return capped(run, incident, ports.incidents, policy), verdict


def conclude(run: Run, incident: Incident, verdict: Verdict, ports: Ports) -> None:
    """Write the whole run at once: what was proved is its output, or suspected if no agent may be
    asked. The result comes last.
    """
    incidents = ports.incidents
    incidents.record(run.incident_id, keys.run_record(run.number, keys.RUN), run)
    diagnosis, text = verdict.diagnosis, b""
    if diagnosis:
        text = investigation(incident, verdict)
    elif run.because:
        diagnosis = suspected.suspicion(verdict, no_agent=run.because)
        text = suspected.investigation(incident, verdict).encode()
    if diagnosis:
        incidents.record(run.incident_id, keys.run_record(run.number, keys.INVESTIGATION), text)
        report = content(diagnosis)
        incidents.record(run.incident_id, keys.run_record(run.number, keys.DIAGNOSIS), report)
    result = Result(
        incident_id=run.incident_id,
        run=run.number,
        status=RunStatus.SUCCESS if diagnosis else RunStatus.FAILED,
        reason="" if diagnosis else "not_proved",
        started_at=run.created_at,
        completed_at=ports.clock(),
        engine=run.engine,
        outputs=incidents.outputs(run.incident_id, run.number),
    )
    incidents.record(run.incident_id, keys.run_record(run.number, keys.RESULT), result)


def start(run: Run, ports: Ports) -> Run:
    """Record the run and start its Job: both once, however often they are asked for.

    Where its cluster has no room it keeps its slot, and `sweep` asks again at its next look; a run
    that has waited too long is returned as one that goes without an agent.
    """
    incidents = ports.incidents
    incidents.record(run.incident_id, keys.run_record(run.number, keys.RUN), run)
    if incidents.closed(run.incident_id):
        return run  # a person may have closed it meanwhile
    try:
        ports.runner.start(run)
    except Busy as error:
        waited_s = (ports.clock() - run.created_at).total_seconds()
        if waited_s >= min(ports.policy.wait_max_s, run.deadline_s):
            return alone(run, f"it waited {waited_s / 60:.0f} minutes for a Job: {error}")
        log.warning("run %s has no room: %s", run.id, error, extra={"incident": run.incident_id})
    return run


def alone(run: Run, reason: str) -> Run:
    """Return the run as the analyzers answer it, with the reason why no agent does."""
    return run.model_copy(update={"engine": ANALYZERS, "model": "", "because": reason})
