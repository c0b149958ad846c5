"""All that is known of one incident, read once, and its timeline. What pages and texts start from.

Reads records only, never a view, and forgives: a record that does not parse is left out, so that a
page still shows the rest. Rendering is `render.py`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from faultline import keys
from faultline.calm import Calm, settled
from faultline.correlate import subject_name
from faultline.errors import NotFound
from faultline.fixes import Outcome, Shadow, Synced, Verification
from faultline.incidents import Incidents
from faultline.model import (
    Cleared,
    Closed,
    ClosedBecause,
    Diagnosis,
    Evidence,
    Fault,
    Finding,
    Incident,
    Index,
    Merged,
    Packaged,
    Proposal,
    Receipt,
    Result,
    Run,
    RunStatus,
    Status,
    Verdict,
    Wish,
    runs_of,
    status_of,
)
from faultline.proposal import diff

T = TypeVar("T")


@dataclass(frozen=True)
class Attempt:
    """One run with everything it left. `cancelled`: a person asked it to stop."""

    number: int
    run: Run | None = None
    findings: tuple[Finding, ...] = ()
    result: Result | None = None
    diagnosis: Diagnosis | None = None
    proposal: Proposal | None = None
    packaged: Packaged | None = None
    cancelled: bool = False


@dataclass(frozen=True)
class Case:
    """One incident: its records as values, and the names of all of them."""

    incident: Incident
    status: Status
    names: frozenset[str]
    faults: tuple[tuple[Fault, Cleared | None], ...] = ()
    index: Index | None = None
    attempts: tuple[Attempt, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    merges: tuple[Merged, ...] = ()
    closed: Closed | None = None
    shadow: Shadow | None = None  # people's own fix
    synced: Synced | None = None
    verification: Verification | None = None
    wish: Wish | None = None  # of the newest run, if it had to wait for an agent
    previous: Closed | None = None  # how the incident of the episode before ended

    @property
    def name(self) -> str:
        """The workload, or the fault's own name."""
        return subject_name(self.incident.fault)

    @property
    def attempt(self) -> Attempt | None:
        """The newest run, on which the status rests."""
        return self.attempts[-1] if self.attempts else None

    @property
    def diagnosis(self) -> Diagnosis | None:
        return self.attempt.diagnosis if self.attempt else None

    @property
    def patch(self) -> str:
        """The newest run's change as a diff; "" if there is none."""
        proposal = self.attempt.proposal if self.attempt else None
        return diff(proposal) if proposal else ""

    @property
    def calm(self) -> Calm | None:
        """Since when every fault is over that can be; None if one goes on."""
        return settled((fault, end.over_since if end else None) for fault, end in self.faults)

    @property
    def begins(self) -> tuple[int, str]:
        """How often the condition that began most often has begun here, and its name."""
        counted = Counter((fault.fingerprint, fault.name) for fault, _ in self.faults)
        (_, name), number = max(counted.items(), key=lambda item: (item[1], item[0]))
        return number, name

    @property
    def said_at(self) -> dt.datetime | None:
        """When a fault was last said again, to some minutes; None if it never was."""
        return max((at for name in self.names if (at := keys.seen_at(name))), default=None)

    @property
    def timeline(self) -> tuple[Entry, ...]:
        """What happened, in order of time."""
        return timeline(self)


def load(incidents: Incidents, incident_id: str) -> Case:
    """Read an incident, as it is at one moment. Raises Rejected if nobody opened it."""
    incidents = incidents.snapshot(incident_id)
    incident = incidents.incident(incident_id)
    names = incidents.names(incident_id)
    status = status_of(names) or Status.OPEN
    return Case(
        incident=incident,
        status=status,
        names=names,
        faults=tuple(incidents.faults(incident_id).values()),
        index=_readable(lambda: incidents.index(incident_id)),
        attempts=tuple(_attempt(incidents, incident_id, n) for n in sorted(runs_of(names))),
        receipts=tuple(incidents.receipts(incident_id)),
        merges=tuple(incidents.merges(incident_id)),
        closed=_readable(lambda: incidents.closed(incident_id)),
        wish=_readable(lambda: incidents.wish(incident_id, max(runs_of(names), default=1)))
        if status is Status.READY
        else None,
        shadow=_readable(lambda: incidents.shadow(incident_id)),
        synced=_readable(lambda: incidents.synced(incident_id)),
        verification=_readable(lambda: incidents.verification(incident_id)),
        previous=_readable(lambda: incidents.closed(incident.follows))
        if incident.follows
        else None,
    )


def _attempt(incidents: Incidents, incident_id: str, number: int) -> Attempt:
    cancel = keys.run_record(number, keys.CANCEL)
    return Attempt(
        number=number,
        run=_readable(lambda: incidents.run(incident_id, number)),
        findings=findings(_bytes(incidents, incident_id, keys.run_record(number, keys.FINDINGS))),
        result=_readable(lambda: incidents.result(incident_id, number)),
        diagnosis=incidents.diagnosis(incident_id, number),
        proposal=_readable(lambda: incidents.proposal(incident_id, number)),
        packaged=_readable(lambda: incidents.packaged(incident_id, number)),
        cancelled=bool(_bytes(incidents, incident_id, cancel)),
    )


def findings(data: bytes) -> tuple[Finding, ...]:
    """Read `findings.json`: a verdict, or a plain list of findings. Anything else is none."""
    try:
        value = json.loads(data or b"[]")
        whole = value if isinstance(value, dict) else {"findings": value}
        return Verdict.model_validate(whole).findings
    except ValueError:
        return ()


def _readable(read: Callable[[], T | None]) -> T | None:
    try:
        return read()
    except ValueError:  # written by something else, or by a version to come
        return None


def _bytes(incidents: Incidents, incident_id: str, name: str) -> bytes:
    try:
        return incidents.read(incident_id, name)
    except NotFound:
        return b""


# the evidence, with the lines around it


@dataclass(frozen=True)
class Excerpt:
    """A quote where it stands. `lines`: number, text, is it part of the quote. Empty: not found."""

    file: str
    line: int
    quote: str
    lines: tuple[tuple[int, str, bool], ...] = ()

    @property
    def found(self) -> bool:
        return bool(self.lines)


def excerpts(
    evidence: Sequence[Evidence], read: Callable[[str], bytes], *, around: int = 2
) -> tuple[Excerpt, ...]:
    """Find each quote in its file. `read` returns b"" for a file that is not there."""
    return tuple(_excerpt(item, read(item.file), around) for item in evidence)


def _excerpt(item: Evidence, data: bytes, around: int) -> Excerpt:
    text = data.decode("utf-8", "replace")
    at = _place(text, item)
    if at < 0:
        return Excerpt(file=item.file, line=item.line, quote=item.quote)
    lines = text.removesuffix("\n").split("\n")
    first = text.count("\n", 0, at)
    last = first + item.quote.strip("\n").count("\n")
    shown = range(max(0, first - around), min(len(lines), last + around + 1))
    return Excerpt(
        file=item.file,
        line=first + 1,
        quote=item.quote,
        lines=tuple((n + 1, lines[n], first <= n <= last) for n in shown),
    )


def _place(text: str, item: Evidence) -> int:
    """Return where the quote stands: at its line if it says one, else where it comes first."""
    quote = item.quote.strip("\n")
    if not quote.strip():
        return -1
    start = 0
    for _ in range(item.line - 1):
        start = text.find("\n", start) + 1
        if not start:
            return text.find(quote)
    at = text.find(quote, start)
    return at if at >= 0 else text.find(quote)


# the timeline


@dataclass(frozen=True)
class Entry:
    """One line of the timeline."""

    at: dt.datetime
    what: str
    detail: str = ""  # may hold text from outside
    record: str = ""  # the record that says so
    link: str = ""  # an address outside
    kind: str = "note"  # fault, good, bad, run or note
    exact: bool = True  # False: no record holds this time, it lies after the entry before

    @property
    def day(self) -> str:
        """The day in UTC, for pages that group by it."""
        return f"{self.at.astimezone(dt.UTC):%Y-%m-%d}"


def timeline(case: Case) -> tuple[Entry, ...]:
    """Return what happened, in order of time; what happened at once, in order of cause."""
    return tuple(sorted(_entries(case), key=lambda entry: entry.at))


def _entries(case: Case) -> Iterator[Entry]:
    yield from _fault_entries(case)
    opened = case.incident.opened_at
    again = f", the next episode after {case.incident.follows}" if case.incident.follows else ""
    yield Entry(opened, "Incident opened" + again, record=keys.INCIDENT)
    if case.index:
        size = sum(file.bytes for file in case.index.files)
        missing = ", ".join(sorted(case.index.missing))
        files = f"{len(case.index.files)} files, {size:,} bytes"
        detail = files + (f"; nothing from {missing}" if missing else "")
        yield Entry(opened, "Evidence sealed", detail, keys.INDEX, exact=False)
    for attempt in case.attempts:
        yield from _run_entries(attempt)
    yield from _outside_entries(case)


def _fault_entries(case: Case) -> Iterator[Entry]:
    for fault, end in case.faults:
        where = keys.detected(fault.occurrence)
        said = fault.summary or fault.name
        yield Entry(fault.starts_at, f"Fault began: {fault.name}", said, where, kind="fault")
        if end:
            record = keys.fault_cleared(fault.occurrence)
            yield Entry(end.at, f"Fault cleared: {fault.name}", "", record, kind="good")


def _run_entries(attempt: Attempt) -> Iterator[Entry]:
    def at(name: str) -> str:
        return keys.run_record(attempt.number, name)

    number, run, result = attempt.number, attempt.run, attempt.result
    if run:
        engine = f"{run.engine} {run.model}".strip()
        engine += f"; no agent: {run.because}" if run.because else ""
        yield Entry(run.created_at, f"Run {number} began", engine, at(keys.RUN), kind="run")
        if run.capped:
            what, _, detail = run.capped.partition(": ")
            yield Entry(run.created_at, what, detail, at(keys.RUN), kind="bad")
    if result:
        good = "good" if result.status is RunStatus.SUCCESS else "bad"
        took = f"{(result.completed_at - result.started_at).total_seconds():.0f} s"
        detail = f"{result.reason}, {took}" if result.reason else took
        what = f"Run {number} ended: {result.status}"
        yield Entry(result.completed_at, what, detail, at(keys.RESULT), kind=good)
    if result and attempt.proposal and not attempt.proposal.empty:
        files = ", ".join(file.path for file in attempt.proposal.files)
        change = at(keys.CHANGE)
        yield Entry(result.completed_at, "Change proposed", files, change, exact=False)


def _outside_entries(case: Case) -> Iterator[Entry]:
    for receipt in case.receipts:
        record = keys.receipt(receipt.outlet)
        what = f"Told: {receipt.outlet}"
        yield Entry(receipt.made_at, what, receipt.reference, record, receipt.url)
    for merged in case.merges:
        by = f"by {merged.by}" if merged.by else ""
        detail = " ".join(filter(None, (merged.revision[:12], by)))
        record = keys.merged(merged.outlet)
        yield Entry(_merged_at(merged, case), "The change was merged", detail, record, kind="good")
    if case.closed:
        good = case.closed.because in (ClosedBecause.VERIFIED, ClosedBecause.CLEARED)
        detail = " ".join(filter(None, (f"by {case.closed.by}", case.closed.note)))
        what = f"Incident closed: {CLOSED_WORDS[case.closed.because]}"
        kind = "good" if good else "note"
        yield Entry(case.closed.at, what, detail, keys.CLOSED, kind=kind)
    yield from _verification_entries(case)


def _merged_at(merged: Merged, case: Case) -> dt.datetime:
    """Return when it was merged: Git counts whole seconds, and nothing is merged untold."""
    told = max((r.made_at for r in case.receipts if r.outlet == merged.outlet), default=merged.at)
    return told if merged.at < told < merged.at + dt.timedelta(seconds=1) else merged.at


def _verification_entries(case: Case) -> Iterator[Entry]:
    if seen := case.shadow:
        same = sum(change.same_value for change in seen.changes)
        detail = f"{same} of {len(seen.changes)} values as proposed, score {seen.score:g}"
        yield Entry(seen.at, "People fixed it in their own way", detail, keys.SHADOW)
    if live := case.synced:
        detail = f"{live.by}, {live.what}, {live.revision[:12]}"
        yield Entry(live.at, "The change reached the cluster", detail, keys.SYNCED, kind="good")
    if held := case.verification:
        if held.outcome is Outcome.VERIFIED:
            what, detail = "The fix held", f"quiet for {held.quiet_s} s after it cleared"
        else:
            where = "" if held.again == case.incident.id else f", see {held.again}"
            what, detail = "The fix did not hold", f"{held.fault} came back{where}"
        kind = "good" if held.outcome is Outcome.VERIFIED else "bad"
        yield Entry(held.at, what, detail, keys.VERIFIED, kind=kind)


CLOSED_WORDS = {
    ClosedBecause.VERIFIED: "our change was merged, then every fault cleared",
    ClosedBecause.CLEARED: "every fault cleared, without our change",
    ClosedBecause.RETURNED: "our change was merged, but the fault returned before it cleared",
    ClosedBecause.PERSON: "a person said so",
}
