"""run.finished, incident.closed, fix.verified, fix.failed -> incident.packaged

Turn a result into what people can act on: decide the change once, make the pages, tell every
outlet, once each. When the incident is closed, and when it is known whether its fix held, tell
those who were told; that is answered by nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from faultline import healing_cap, keys, views
from faultline.capsule import images_that_ran, objects
from faultline.errors import Rejected, TryAgain
from faultline.event import FIX_FAILED, FIX_VERIFIED, INCIDENT_CLOSED, INCIDENT_PACKAGED, Event
from faultline.ledger import calls
from faultline.model import JobState, Packaged, Proposal, Report, Run, RunStatus
from faultline.policy import ANALYZERS
from faultline.ports import Outlet, Ports
from faultline.proposal import propose
from faultline.steps import asked_for

log = logging.getLogger(__name__)


def package(event: Event, ports: Ports) -> Event | None:
    incidents, id = ports.incidents, event.subject or ""
    incidents.incident(id)
    if event.type in (INCIDENT_CLOSED, FIX_VERIFIED, FIX_FAILED):
        tell_the_end(event, ports)
        return None
    number, seen = asked_for(event)[0], incidents.snapshot(id)
    result, said = seen.result(id, number), asked_for(event)[1].get("status")
    if result is None:
        raise Rejected(f"expected a run that has ended, but run {number} of {id} has no result")
    if said not in (None, result.status):
        raise Rejected(f"expected run {number} to be {result.status}, as on file, not {said!r:.20}")
    call_the_next(event, number, ports)
    if seen.packaged(id, number) is None:
        decide(id, number, ports)
        told = {} if stopped(id, number, ports) else tell(id, number, ports)
        views.write(incidents, id, number)
        packaged = Packaged(run=number, at=ports.clock(), outlets=told)
        incidents.record(id, keys.run_record(number, keys.PACKAGED), packaged)
    incidents.put_view(id, keys.README, views.readme(views.load(incidents, id)))
    done = incidents.packaged(id, number)
    data = {"incident": id, "run": number, "outlets": done.outlets if done else {}}
    return event.caused(INCIDENT_PACKAGED, source="/faultline/package", subject=id, data=data)


def stopped(id: str, number: int, ports: Ports) -> bool:
    """Was the run stopped because its fault had gone? Nobody waits for an answer that is none."""
    result = ports.incidents.result(id, number)
    cancelled = result is not None and result.status is RunStatus.CANCELLED
    stop = ports.incidents.stop(id, number) if cancelled else None
    return stop is not None and stop.cleared


def tell_the_end(event: Event, ports: Ports) -> None:
    """Tell each outlet that was told of the incident how it ended. A note keeps it to once."""
    id, note = event.subject or "", keys.told(event.type)
    seen = ports.incidents.snapshot(id)
    told = [number for number in seen.run_numbers(id) if seen.packaged(id, number)]
    if not told or seen.closed(id) is None or note in seen.names(id):
        return  # each fault that clears late closes it once more
    tell(id, max(told), ports)
    ports.incidents.note_announced(id, event, at=ports.clock(), name=note)


def call_the_next(event: Event, number: int, ports: Ports) -> None:
    """Call who waits for the slot that this run has left. Where that fails `sweep` does it."""
    run = ports.incidents.run(event.subject or "", number)
    if run is None or run.engine == ANALYZERS:
        return
    source, now = "/faultline/package", ports.clock()
    try:
        for call in calls(event, source, ports.incidents, _cannot_tell, ports.policy, now):
            ports.sink.send(call)
    except TryAgain as error:
        log.warning("those who wait are not called before the next sweep: %s", error)


def _cannot_tell(run: Run) -> JobState:
    """Take every Job for alive: this step may not ask the cluster."""
    return JobState.LIVE


def decide(id: str, number: int, ports: Ports) -> None:
    """Decide, once, which of the diagnosis' changes become a patch; on which files, it says."""
    if ports.incidents.proposal(id, number) is None and (made := proposed(id, number, ports)):
        ports.incidents.record(id, keys.run_record(number, keys.CHANGE), made)


def proposed(id: str, number: int, ports: Ports) -> Proposal | None:
    """Return what the manifests of now make of a run's diagnosis; None if it left none."""
    diagnosis = ports.incidents.diagnosis(id, number)
    if diagnosis is None:
        return None
    if capped := healing_cap.no_change(ports.incidents.run(id, number), diagnosis):
        return capped
    capsule = ports.incidents.capsule(id)
    ran, around = images_that_ran(capsule), objects(capsule)
    try:
        files, revision = ports.manifests.files(), ports.manifests.revision()
        return propose(
            diagnosis, files, ports.policy.patch, revision=revision, ran=ran, objects=around,
            render=ports.render,
        )  # fmt: skip
    except Rejected as error:  # too many manifests, say: people get the answer without a patch
        return Proposal(refused={"manifests": str(error)})


def tell(id: str, number: int, ports: Ports) -> dict[str, str]:
    """Tell every outlet; return the link of each. One is down: tell the others, then raise.

    A closed incident is not told anew: nobody waits for it. What was told before is edited.
    """
    told: dict[str, str] = {}
    down = []
    for outlet in ports.outlets:
        try:
            told[outlet.name] = deliver(outlet, id, number, ports, told)
        except TryAgain as error:
            down.append(error)
        except Rejected as error:
            told[outlet.name] = f"failed: {error}"
    if down:
        raise down[0]
    return told


def deliver(outlet: Outlet, id: str, number: int, ports: Ports, told: Mapping[str, str]) -> str:
    """Tell one outlet and keep its receipt; return the link, or how it is found there.

    A receipt is of the first telling. `told` are the links of now: a later run may have got a pull
    request where the first got an issue.
    """
    incidents = ports.incidents
    case = views.load(incidents, id)
    before = next((found for found in case.receipts if found.outlet == outlet.name), None)
    own = {"templates": ports.policy.templates, "console_url": ports.policy.console_url}
    report: Report = views.report_of(case, number, **own)
    if before is None and incidents.closed(id):
        return "not told: closed before"
    fresh = {name: link for name, link in told.items() if link.startswith(("http://", "https://"))}
    report = report.model_copy(update={"links": report.links | fresh})
    receipt = outlet.deliver(report, before)
    healing_cap.count(case.incident, receipt, incidents)
    incidents.record(id, keys.receipt(outlet.name), receipt)
    return receipt.url or receipt.reference
