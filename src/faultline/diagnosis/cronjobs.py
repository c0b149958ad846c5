"""CronJobs that do not run: their schedule, their time zone, their deadline, a run that goes on.

Events are those of the CronJob controller: UnparseableSchedule, UnknownTimeZone, MissSchedule,
JobAlreadyActive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from faultline.diagnosis.cron import fault_of
from faultline.diagnosis.documents import items, number, text
from faultline.diagnosis.facts import Facts, Workload
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import HINT, LIKELY, finding, one_line, proved_if, restore
from faultline.model import Certainty, Finding

DEADLINE = "spec.startingDeadlineSeconds"
SECONDS_MIN = 10  # batch/v1: below, a run may never be started, for the controller looks that often


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why a CronJob starts no runs: the most exact reason."""
    for workload in facts.workloads:
        if workload.object.kind == "CronJob":
            for condition in (_unreadable, _nowhere, _suspended, _too_late, _still_runs):
                if found := next(condition(workload), None):
                    yield found
                    break


def _said(workload: Workload, reason: str) -> Happening | None:
    return next(workload.happenings(reason, about="itself"), None)


def _runs(workload: Workload) -> str:
    return f"{workload} starts its next run when it is due."


def _unreadable(workload: Workload) -> Iterator[Finding]:
    # proved because: the controller cannot read the schedule, and its field breaks the rule.
    field, said = "spec.schedule", _said(workload, "UnparseableSchedule")
    schedule = text(workload.object.get(field))
    wrong = fault_of(schedule) if schedule else ""
    if said or wrong:
        why = f": {one_line(wrong, 80)}" if wrong else ""
        yield finding(
            "cronjobs.schedule",
            proved_if(said and wrong),
            f"The schedule {one_line(schedule, 60)} cannot be read",
            f"{workload} has a schedule that cannot be read, {one_line(schedule, 60)}{why}.",
            [said.cite() if said else None, workload.object.cite(field)],
            actions=[restore("Write a schedule of five fields.", _runs(workload))],
        )


def _nowhere(workload: Workload) -> Iterator[Finding]:
    # proved because: the controller does not know the time zone, and the object names it.
    said, zone = _said(workload, "UnknownTimeZone"), text(workload.object.get("spec.timeZone"))
    if said and zone and zone in said.message:
        yield finding(
            "cronjobs.time-zone",
            proved_if(said),
            f"The time zone {one_line(zone)} is not known",
            f"{workload} runs by the time zone {one_line(zone)}, which the cluster does not know.",
            [said.cite(), workload.object.cite("spec.timeZone")],
            actions=[restore("Name a zone such as Europe/Zurich, or none.", _runs(workload))],
        )


def _suspended(workload: Workload) -> Iterator[Finding]:
    if workload.object.get("spec.suspend") is True:
        yield finding(
            "cronjobs.suspended",
            _unless_troubled(workload),
            f"{workload.object.name} is suspended",
            f"{workload} is suspended: no run is started.",
            [workload.object.cite("spec.suspend"), workload.object.cite("status.lastScheduleTime")],
            actions=[restore("Set suspend to false, if it should run.", _runs(workload))],
        )


def _unless_troubled(workload: Workload) -> Certainty:
    """What holds back the next run is no answer to what is wrong with the last one."""
    troubled = any(part.ended or part.waiting for part in workload.parts)
    return HINT if troubled else LIKELY


def _too_late(workload: Workload) -> Iterator[Finding]:
    # proved because: the controller says that it missed a run, and the time that it may be late is
    # shorter than the time between its looks.
    said, seconds = _said(workload, "MissSchedule"), workload.object.get(DEADLINE)
    if not said or not isinstance(seconds, int):
        return
    short = seconds < SECONDS_MIN
    yield finding(
        "cronjobs.starting-deadline",
        proved_if(short),
        f"Runs may only be {seconds} seconds late, and are missed",
        f"{workload} missed a run: startingDeadlineSeconds is {seconds}"
        + (f", and below {SECONDS_MIN} a run may never be started." if short else "."),
        [said.cite(), workload.object.cite(DEADLINE)],
        actions=[restore("Allow at least a minute.", _runs(workload))],
    )


def _still_runs(workload: Workload) -> Iterator[Finding]:
    policy, said = "spec.concurrencyPolicy", _said(workload, "JobAlreadyActive")
    active = [text(a.get("name")) for a in items(workload.object.get("status.active"))]
    if not said or text(workload.object.get(policy)) != "Forbid" or not active:
        return
    job = workload.facts.object("Job", active[0])
    since = text(job.get("status.startTime")) if job else ""
    yield finding(
        "cronjobs.still-running",
        _unless_troubled(workload),
        f"Runs are left out because {one_line(active[0])} has not ended",
        f"{workload} forbids two runs at once, and {one_line(active[0])} still runs"
        + (f" since {one_line(since, 30)}" if since else "")
        + (f", with {number(job.get('status.failed'))} failed pods." if job else "."),
        [
            said.cite(),
            workload.object.cite(policy),
            job.cite("status.startTime") if job else None,
        ],
        actions=[
            restore("See why it does not end; give it activeDeadlineSeconds.", _runs(workload))
        ],
    )
