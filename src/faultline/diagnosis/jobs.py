"""Jobs that failed: after too many tries, by their deadline, or that nobody lets begin.

Why their containers end is told by the other families, over the pods that are left.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import number, text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.quantities import when
from faultline.diagnosis.wording import HINT, LIKELY, finding, one_line, proved_if, restore
from faultline.model import Change, Evidence, Finding

DEADLINE = "spec.activeDeadlineSeconds"


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what became of the newest run of each Job and CronJob."""
    for workload in facts.workloads:
        runs = _runs(workload)
        if runs:
            yield from _failed(workload, runs[0], runs[1:])
            yield from _held(runs[0])


def _runs(workload: Workload) -> list[Object]:
    """Its Jobs, the newest first."""
    own = workload.object
    if own.kind == "Job":
        return [own]
    made = (j for j in workload.facts.of("Job") if j.owner == (own.kind, own.name))
    return sorted(made, key=lambda j: text(j.get("status.startTime")), reverse=True)


def _failed(workload: Workload, job: Object, earlier: list[Object]) -> Iterator[Finding]:
    status, reason, _ = job.state("Failed")
    if status != "True":
        return
    if reason == "DeadlineExceeded" and job.get(DEADLINE) is not None:
        yield _timed_out(workload, job, earlier)
        return
    said, cited = _last_end(workload)
    tries = number(job.get("status.failed"))
    yield finding(
        "jobs.failed",
        HINT,
        f"{job.name} failed: {one_line(reason or 'no reason given')}",
        f"{job} failed after {tries} failed pods: {one_line(reason or 'no reason given')}{said}.",
        [job.cite_state("Failed"), job.cite("spec.backoffLimit"), cited],
    )


def _last_end(workload: Workload) -> tuple[str, Evidence | None]:
    """How its containers ended, where pods are left to tell."""
    ends = [(part, end) for part in workload.parts for end in part.ended]
    if not ends:
        return "; no pod is left to tell why", None
    part, end = ends[0]
    said = f"; {part.name} ended with exit code {end.exit_code}, {one_line(end.reason, 40)}"
    return said, end.cite("exitCode")


def _timed_out(workload: Workload, job: Object, earlier: list[Object]) -> Finding:
    # proved because: the controller ended it at its deadline, and a run before that succeeded took
    # longer than this deadline allows.
    seconds = number(job.get(DEADLINE))
    longest = max((r for r in earlier if _took(r)), key=_took, default=None)
    slower = longest is not None and _took(longest).total_seconds() > seconds
    allowed = number(longest.get(DEADLINE)) if longest else 0
    took = (
        f"; {longest.name} took {_took(longest).total_seconds():.0f}" if longest and slower else ""
    )
    return finding(
        "jobs.deadline",
        proved_if(slower),
        f"{job.name} was ended at its deadline of {seconds} seconds",
        f"{job} was ended because it may run {seconds} seconds{took}.",
        [
            job.cite_state("Failed"),
            job.cite(DEADLINE),
            longest.cite("status.completionTime") if slower and longest else None,
            longest.cite(DEADLINE) if slower and longest else None,
        ],
        rules_out=("crash_loop.exit", "probes"),
        actions=[
            restore("Allow as much time as it needs.", f"The next run of {workload} completes.")
        ],
        changes=[_longer(workload, allowed)] if slower and allowed > seconds else (),
    )


def _took(job: Object) -> dt.timedelta:
    """How long a run that succeeded took; nothing for any other."""
    begin, end = when(job.get("status.startTime")), when(job.get("status.completionTime"))
    done = job.state("Complete")[0] == "True" and begin and end
    return end - begin if done and end and begin else dt.timedelta()


def _longer(workload: Workload, seconds: int) -> Change:
    of_cron = workload.object.kind == "CronJob"
    field = f"spec.jobTemplate.{DEADLINE}" if of_cron else DEADLINE
    before = workload.object.get(field)
    return workload.change_at(field, before, seconds, "as the run that succeeded had it")


def _held(job: Object) -> Iterator[Finding]:
    if job.get("spec.suspend") is True and job.state("Complete")[0] != "True":
        yield finding(
            "jobs.suspended",
            LIKELY,
            f"{job.name} is suspended",
            f"{job} is suspended: it has no pods until somebody resumes it.",
            [job.cite("spec.suspend"), job.cite_state("Suspended")],
            actions=[restore("Set suspend to false, if it should run.", f"{job} completes.")],
        )
