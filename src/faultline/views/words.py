"""The sentences that every view needs: what is broken, how sure we are, what is next. Pure.

They are the same in the report, the pull request, the terminal and the console, and claim no more
than happened. What comes from outside is returned as it is; `render.py` makes it harmless.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from faultline.event import format_time
from faultline.fixes import Outcome, Verification
from faultline.limits import flapping_begins_min
from faultline.model import (
    Certainty,
    Closed,
    ClosedBecause,
    Confidence,
    Diagnosis,
    Fault,
    Result,
    RunStatus,
    Status,
)
from faultline.views.case import CLOSED_WORDS, Case

_CERTAIN = {
    Certainty.PROVED: "The analyzers found it in the evidence and nothing contradicts it; "
    "no model was asked.",
    Certainty.LIKELY: "The analyzers think so, but could not rule everything else out.",
    Certainty.HINT: "The analyzers saw a sign of it, no more.",
}
_CONFIDENT = {
    Confidence.HIGH: "with high confidence",
    Confidence.MEDIUM: "with medium confidence",
    Confidence.LOW: "with low confidence",
}
_LEVELS = {"proved": 3, "likely": 2, "hint": 1, "high": 2, "medium": 2, "low": 1}


def place(fault: Fault) -> str:
    """Say where: `Pod shop/api-7d9f6c5b4-x2x9z on prod-eu`."""
    if fault.resource is None:
        return f"cluster {fault.cluster}"
    named = "/".join(filter(None, (fault.resource.namespace, fault.resource.name)))
    return f"{fault.resource.kind} {named}".strip() + f" on {fault.cluster}"


def broken(fault: Fault, diagnosis: Diagnosis | None) -> str:
    """Say what is broken: the fault's own words."""
    return fault.summary or fault.annotations.get("description", "") or fault.name


def sure(diagnosis: Diagnosis | None, result: Result | None) -> tuple[str, int, str]:
    """Say how sure we are: a word, a level from 0 to 3, and a sentence that says who says so."""
    if diagnosis is None:
        return "unknown", 0, "Nobody has found a cause yet."
    if diagnosis.certainty:
        word = diagnosis.certainty.value
        return word, _LEVELS[word], _CERTAIN[diagnosis.certainty]
    if result and result.engine in ("analyzers", "rules"):
        return "unknown", 0, "The analyzers have no suspicion, and no model was asked."
    engine = " ".join(filter(None, (result.engine, result.model))) if result else ""
    who = f"An AI agent ({engine})" if engine else "An AI agent"
    how = _CONFIDENT[diagnosis.confidence]
    sentence = f"{who} says so {how}, by its own estimate. Nothing proves it: read the evidence."
    word = diagnosis.confidence.value
    return f"{word} confidence", _LEVELS[word], sentence


def last_diagnosis(diagnosis: Diagnosis | None) -> str:
    """Return root cause and joke as a watch's status has them."""
    if diagnosis is None:
        return ""
    joke = f"\n\n💬 {diagnosis.witty_line}" if diagnosis.witty_line else ""
    return diagnosis.root_cause + joke


def ended(result: Result) -> str:
    """Say how a run ended, and what of that a person has to know."""
    took = duration(result.started_at, result.completed_at)
    if result.status is RunStatus.SUCCESS:
        return f"The run ended well after {took}."
    why = f" ({result.reason.replace('_', ' ')})" if result.reason else ""
    return f"The run ended without an answer: {result.status.value}{why}, after {took}."


def burning(case: Case) -> str:
    """Say whether it goes on, and how often it has come back; "" where there is nothing to add."""
    said = []
    if case.calm and not case.closed:
        said.append(f"Every fault is over since {moment(case.calm.since)}.")
    elif case.said_at and not case.closed:
        said.append(f"Last said again at {moment(case.said_at)}.")
    return " ".join([*said, *filter(None, [flapping(case)])])


def flapping(case: Case) -> str:
    """Say how often the same condition has begun; "" if that is not often."""
    number, name = case.begins if case.faults else (0, "")
    return f"Flapping: {name} has begun {number} times." if number >= flapping_begins_min else ""


def following(case: Case) -> str:
    """Say what happens next, and who has to do something."""
    if case.closed:
        return _after_closing(case.closed)
    if case.calm and case.status in (Status.READY, Status.PACKAGED):
        more = "" if case.status is Status.READY else f" {_after_packaging(case)}"
        return f"It closes by itself if nothing comes back.{more}"
    if case.status is Status.PACKAGED:
        return _after_packaging(case)
    run = case.attempt.run if case.attempt else None
    engine = run.engine if run else "an engine"
    return {
        Status.OPEN: "The evidence is being gathered. Nothing to do yet.",
        Status.READY: f"The evidence is there. {_waits(case)}",
        Status.INVESTIGATING: f"{engine} is investigating{_deadline(case)}. Nothing to do yet.",
        Status.INVESTIGATED: "The run has ended. Its answer is being checked and passed on.",
    }.get(case.status, "")


def _waits(case: Case) -> str:
    if case.wish is None:
        return "A run starts as soon as there is a free slot."
    return f"The run waits for an agent since {moment(case.wish.since)}: {case.wish.reason}."


def _deadline(case: Case) -> str:
    run = case.attempt.run if case.attempt else None
    if run is None:
        return ""
    return f", until {moment(run.created_at + dt.timedelta(seconds=run.deadline_s))} at most"


def _after_packaging(case: Case) -> str:
    attempt = case.attempt
    if case.merges:
        return "The change was merged. The incident closes by itself when every fault has cleared."
    if attempt and attempt.run and attempt.run.capped:
        return f"No change is proposed. {attempt.run.capped}"
    if case.patch:
        return (
            "Review the change and merge it if it is right. Nothing else changes the cluster. "
            "The incident closes by itself when every fault has cleared."
        )
    if attempt and attempt.result and attempt.result.status is not RunStatus.SUCCESS:
        return f"A person has to look. Try again with: faultline retry {case.incident.id}"
    return "No change is proposed. A person has to act; the steps are below."


def _after_closing(closed: Closed) -> str:
    if closed.because is ClosedBecause.PERSON:
        return f"Nothing. {closed.by} closed the incident."
    return f"Nothing. The incident is closed: {CLOSED_WORDS[closed.because]}."


def ending(case: Case) -> str:
    """Say how an incident was closed, and claim no more than that; "" while it is open."""
    closed = case.closed
    if closed is None:
        return ""
    how = f"Closed {moment(closed.at)} as {closed.because.value}: {CLOSED_WORDS[closed.because]}."
    return " ".join(filter(None, (how, flapping(case))))


def held(verification: Verification | None, incident_id: str) -> str:
    """Say whether the fix held; "" until that is known."""
    if verification is None:
        return ""
    whose = "The change" if verification.ours else "What people changed"
    if verification.outcome is Outcome.VERIFIED:
        quiet = f"nothing came back for {verification.quiet_s} s"
        return f"Verified: {whose[0].lower()}{whose[1:]} held, {quiet} after it had cleared."
    where = "" if verification.again == incident_id else f", see {verification.again}"
    return f"{whose} did not hold: {verification.fault} came back{where}."


def moment(at: dt.datetime | None) -> str:
    """Write a time for people, to the second, in UTC."""
    return (
        format_time(at.replace(microsecond=0)).replace("T", " ").replace("Z", " UTC") if at else ""
    )


def duration(start: dt.datetime, end: dt.datetime) -> str:
    """Write a span with its two largest units: `2 d 3 h`, `4 min 10 s`, `7 s`."""
    seconds = max(0, int((end - start).total_seconds()))
    units = [("d", seconds // 86_400), ("h", seconds // 3_600 % 24)]
    units += [("min", seconds // 60 % 60), ("s", seconds % 60)]
    first = next((n for n, (_, value) in enumerate(units) if value), 3)
    return " ".join(f"{value} {unit}" for unit, value in units[first : first + 2] if value) or "0 s"


def value(of: Any) -> str:
    """Write a field's value: text as it is, nothing as `nothing`, the rest as JSON."""
    if of is None:
        return "nothing"
    return of if isinstance(of, str) else json.dumps(of, ensure_ascii=False)


def shortened(url: str) -> str:
    """Return what of an address tells people something: `shop/deploy/pull/214`."""
    rest = url.split("://", 1)[-1]
    return rest.partition("/")[2].strip("/")[:60] or rest[:60] if "://" in url else url[:60]
