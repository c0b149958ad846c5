"""What we speak of: faults, incidents, runs, findings, diagnoses, and the status that follows.

All values are frozen; a change is a new value. JSON in records and events is these models' own, so
a field is only ever added, with a default: a record written today is read by every later version.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Set
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from faultline import keys
from faultline.event import Event, format_time, parse_time


class Value(BaseModel):
    """A frozen value. Unknown fields are ignored: a newer version may have written them."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# signals


class Severity(StrEnum):
    """How bad. Ordered by `rank`; foreign scales are mapped in the bridge."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        return {"critical": 2, "warning": 1, "info": 0}[self.value]


class Resource(Value):
    """The object that a fault names."""

    kind: str = ""
    name: str
    namespace: str = ""  # empty for what has none, such as a Node
    api_version: str = ""
    uid: str = ""
    owner: str = ""  # name of the workload that owns it, if the source says so


class Fault(Value):
    """Something is wrong, as one source states it, in our normal form."""

    name: str  # alertname, faultType
    summary: str = ""
    severity: Severity = Severity.WARNING
    cluster: str
    resource: Resource | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}  # descriptions; never part of an identity
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None = None
    condition: str = ""  # the sender's name for this condition: fingerprint, faultId
    origin: str = ""  # which kind of source said so: alertmanager, kube-watch, sse, mcp, …
    clears: bool = True  # will that source say when it is over? A stream of faults does not
    links: dict[str, str] = {}  # title -> http(s) address, to be shown, never fetched
    payload: str = ""  # key of the message as it came

    @property
    def fingerprint(self) -> str:
        """Identity of the condition: 16 hex digits over cluster and the sender's name for it.

        Without such a name, over the sorted labels. Annotations and order never matter.
        """
        labels = sorted((self.labels | {"": self.name}).items())
        own = self.condition or "\n".join(f"{k}={v}" for k, v in labels)
        return hashlib.sha256(f"{self.cluster}\n{own}".encode()).hexdigest()[:16]

    @property
    def occurrence(self) -> str:
        """This condition, this time: fingerprint and start, to the microsecond."""
        return f"{self.fingerprint}-{self.starts_at.astimezone(dt.UTC):%Y%m%dT%H%M%S%fZ}"


# the case


class DecisionKind(StrEnum):
    OPEN = "open"
    TOO_MINOR = "too-minor"
    SILENCED = "silenced"
    ALREADY_CLEARED = "already-cleared"
    STALE = "stale"  # the event is too old, or says itself that it has expired


class Decision(Value):
    """What triage says of a fault, with the reason."""

    kind: DecisionKind
    reason: str


class Incident(Value):
    """One condition that we look into, from opening to closing. Its status is not a field."""

    id: str
    key: str  # correlation key
    episode: int = 1  # one life of the key, counted from 1
    fault: Fault  # the one that opened it
    opened_at: AwareDatetime
    follows: str = ""  # the incident of the episode before, if there was one

    @classmethod
    def begin(cls, fault: Fault, *, key: str, name: str, because: Event) -> Self:
        """Return the incident that `because` would open: the same event, the same id."""
        opened_at = parse_time(because.time) if because.time else fault.starts_at
        return cls(
            id=keys.incident_id(opened_at.date(), name, f"{because.source}\n{because.id}"),
            key=key,
            fault=fault,
            opened_at=opened_at,
        )

    def headline(self) -> dict[str, Any]:
        """Return what events about it say: small, and without cluster text beyond its names."""
        return {
            "incident": self.id,
            "key": self.key,
            "episode": self.episode,
            "severity": self.fault.severity.value,
            "opened_at": format_time(self.opened_at),
        }


class Claim(Value):
    """Which incident owns a key, and the event that opened it, so that anyone can finish."""

    incident: Incident
    event: dict[str, Any]  # structured CloudEvent


class Status(StrEnum):
    OPEN = "open"
    READY = "ready"
    INVESTIGATING = "investigating"
    INVESTIGATED = "investigated"
    PACKAGED = "packaged"
    CLOSED = "closed"


_RUN_STATUS = (
    (keys.PACKAGED, Status.PACKAGED),
    (keys.RESULT, Status.INVESTIGATED),
    (keys.RUN, Status.INVESTIGATING),
)


def runs_of(records: Iterable[str]) -> dict[int, set[str]]:
    """Return the names of each run's records, by number."""
    runs: dict[int, set[str]] = {}
    for name in records:
        if found := keys.run_of(name):
            runs.setdefault(found[0], set()).add(found[1])
    return runs


def status_of(records: Set[str]) -> Status | None:
    """Compute an incident's status from the names of its records; None before it is open.

    For a run it means the run with the highest number. Adding a record of the same run never moves
    the status backwards, and the order in which records came does not matter.
    """
    if keys.CLOSED in records:
        return Status.CLOSED
    runs = runs_of(records)
    newest = runs[max(runs)] if runs else set()
    for name, status in _RUN_STATUS:
        if name in newest:
            return status
    if keys.INDEX in records:
        return Status.READY
    return Status.OPEN if keys.INCIDENT in records else None


class ClosedBecause(StrEnum):
    """Why an incident was closed."""

    VERIFIED = "verified"  # our change was merged, then every fault cleared
    CLEARED = "cleared"  # every fault cleared, without our change
    RETURNED = "returned"  # merged, but a fault began after the merge; then it cleared
    PERSON = "person"


class Closed(Value):
    """`closed.json`: why, by whom, and which occurrences it closes. They stay closed."""

    because: ClosedBecause
    by: str
    at: AwareDatetime
    occurrences: tuple[str, ...]
    note: str = ""
    merged_at: AwareDatetime | None = None
    cause: str = ""  # the id of the event that closed it; "": a person did


class Cleared(Value):
    """`cleared/<occurrence>.json`: this occurrence is over, even if we never heard it begin."""

    fault: Fault
    at: AwareDatetime  # when it ended, as the source says; else when we heard
    heard_at: AwareDatetime | None = None  # when we heard: the source's clock may be ahead

    @property
    def over_since(self) -> dt.datetime:
        """When it was over for sure: as the source says, but not later than we heard of it."""
        return min(self.at, self.heard_at) if self.heard_at else self.at


# evidence and diagnosis


class Origin(Value):
    """One file of a capsule, in its index."""

    name: str
    bytes: int
    sha256: str
    origin: str  # which context source it came from


class Index(Value):
    """`context/index.json`: what a capsule holds, and what is missing from it and why."""

    files: tuple[Origin, ...]
    missing: dict[str, str] = {}  # context source -> the reason
    redactions: dict[str, int] = {}  # kind of secret -> how many were taken out


class Certainty(StrEnum):
    PROVED = "proved"
    LIKELY = "likely"
    HINT = "hint"

    @property
    def rank(self) -> int:
        return {"proved": 2, "likely": 1, "hint": 0}[self.value]


class Evidence(Value):
    """A quote with its place in the capsule. `evidence.check` says whether it stands there."""

    file: str  # name in the capsule, such as context/logs.txt
    quote: str
    line: int = 0  # of its first line, from 1; 0: not said
    start: int = -1  # byte offsets of the quote in the file; -1: not said
    end: int = -1


class Target(Value):
    """One object of a cluster, as manifests name it."""

    kind: str
    name: str
    namespace: str = ""


class Change(Value):
    """A proposed new value of one field of one object.

    `field` is a path such as `spec.template.spec.containers[name=api].resources.limits.memory`.
    `before` is what stands there now (null: nothing), `after` what should (null: nothing).
    """

    target: Target
    field: str
    before: Any = None
    after: Any = None
    reason: str = ""


class Action(Value):
    """One step for people: what to do, how to see that it worked, the way back."""

    action: str
    check: str = ""
    way_back: str = ""


class Finding(Value):
    """One statement of an analyzer."""

    analyzer: str  # family.condition, such as memory.limit-exceeded
    certainty: Certainty
    title: str
    statement: str
    evidence: tuple[Evidence, ...] = ()
    rules_out: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    changes: tuple[Change, ...] = ()


class Confidence(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Diagnosis(Value):
    """What is wrong and why: the same form from analyzers and agents (`output/diagnosis.json`)."""

    title: str
    summary: str = ""
    root_cause: str = Field(min_length=1)
    confidence: Confidence = Confidence.LOW
    certainty: Certainty | None = None  # said by analyzers only
    evidence: tuple[Evidence, ...] = ()
    alternatives: tuple[str, ...] = ()  # what else it could be, and why that is less likely
    actions: tuple[Action, ...] = ()
    changes: tuple[Change, ...] = ()
    witty_line: str = Field(default="", max_length=120)


class Verdict(Value):
    """What the analyzers say together: findings, most certain first; the cause, if proved."""

    findings: tuple[Finding, ...] = ()
    diagnosis: Diagnosis | None = None

    @property
    def proved(self) -> bool:
        return self.diagnosis is not None


# runs


class RunStatus(StrEnum):
    """The seven agent states. The first three are computed while it lives, the others written."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


Ended = Literal[RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.CANCELLED]


class Run(Value):
    """`run.json`: one attempt at a diagnosis, written before it starts."""

    incident_id: str
    number: int
    engine: str
    model: str = ""
    command: tuple[str, ...] = ()  # of an `agent_command` engine
    deadline_s: int
    tokens_max: int = 0  # 0: no limit of ours
    capsule_sha256: str  # hash of context/index.json: the evidence it was given
    cluster: str = ""
    namespace: str = ""
    created_at: AwareDatetime
    cause: dict[str, Any]  # structured CloudEvent: the event that asked for it
    because: str = ""  # why no agent was asked, where one would have been
    capped: str = ""  # why it may propose no change: the healing cap of its workload

    @property
    def id(self) -> str:
        return f"{self.incident_id}-{self.number}"


class Output(Value):
    """One file that a run left."""

    name: str  # relative to the run's folder, such as output/agent.log
    bytes: int
    sha256: str


class Result(Value):
    """`result.json`: how a run ended, and the index of its output. Written last."""

    incident_id: str
    run: int
    status: Ended
    reason: str = ""  # empty for success: quota, auth, empty_report, start, signal, ...
    exit_code: int | None = None  # as the process said it, never a shell's; None: there was none
    started_at: AwareDatetime
    completed_at: AwareDatetime
    engine: str = ""
    model: str = ""
    skill: str = ""  # that its engine was given, <name>@sha256:<64 hex> of its files
    tokens: int = 0
    cost_usd: float = 0.0
    outputs: tuple[Output, ...] = ()


OURSELVES = "faultline"  # the name by which we close an incident or stop a run


class Stop(Value):
    """`cancel.json`: the run under way is to stop. The agent's runtime looks for it."""

    by: str
    at: AwareDatetime
    reason: str = ""
    cleared: bool = False  # not a person's wish: its fault has gone, so nobody waits for an answer


# room and money


class Amount(Value):
    """Tokens and money, reserved or spent."""

    tokens: int = Field(default=0, ge=0)
    usd: float = Field(default=0.0, ge=0)

    def __add__(self, other: Amount) -> Amount:
        return Amount(tokens=self.tokens + other.tokens, usd=self.usd + other.usd)


class Wish(Value):
    """A run that wants an agent; as a record (`waiting/`) one that did not get it at once."""

    incident_id: str
    number: int
    cluster: str
    namespace: str = ""
    key: str  # correlation key: the workload
    node: str = ""  # that it is on, if the fault says so
    engine: str
    severity: Severity = Severity.WARNING
    since: AwareDatetime  # when it was first asked for
    reason: str = ""  # why it did not get one at once

    @property
    def run(self) -> str:
        return f"{self.incident_id}-{self.number}"


class Entry(Value):
    """`ledger/…/<line>.json`: an agent run was let in, knowing every line before it.

    `spent` is the balance of the lines up to `settled`, all of which have ended: what was spent, by
    period (`total`, `month/2026-11`, `day/2026-11-21`, `namespace/<cluster>/<namespace>/<day>`).
    """

    line: int
    wish: Wish
    at: AwareDatetime
    reserved: Amount = Amount()
    settled: int = 0
    spent: dict[str, Amount] = {}


class Budgets(Value):
    """The most that may be spent, by scope; 0 in an amount: no limit. `run`: what one reserves."""

    run: Amount = Amount()
    incident: Amount = Amount()
    namespace: Amount = Amount()  # a day
    day: Amount = Amount()
    month: Amount = Amount()
    total: Amount = Amount()


# what people get


class FileChange(Value):
    """One manifest, before and after. Text, because manifests are."""

    path: str
    before: str
    after: str


class Proposal(Value):
    """`change.json`: what became of the diagnosis' changes, decided once."""

    accepted: tuple[Change, ...] = ()
    refused: dict[str, str] = {}  # "<kind>/<name> <field>" -> why it is not proposed
    files: tuple[FileChange, ...] = ()
    base: str = ""  # revision of the manifests it was made on
    checks: tuple[str, ...] = ()  # what was checked, in sentences for the pull request

    @property
    def empty(self) -> bool:
        return not self.files


class Receipt(Value):
    """`published/<outlet>.json`: an outlet has been told, once; what was made there."""

    outlet: str
    reference: str  # how the outlet finds it again: branch, issue number, message time stamp
    url: str = ""
    made_at: AwareDatetime
    details: dict[str, str] = {}


class Merged(Value):
    """`merged/<outlet>.json`: people merged what we proposed."""

    outlet: str
    at: AwareDatetime
    revision: str = ""
    by: str = ""


class Report(Value):
    """What outlets are given. Everything in it has passed redaction."""

    incident: Incident
    run: int
    title: str
    text: str  # the pull request's body, Markdown
    message: str  # the chat message, Markdown
    diagnosis: Diagnosis | None
    result: Result
    proposal: Proposal
    patch: str  # the diff, "" if there is none
    links: dict[str, str] = {}
    ending: str = ""  # how the incident was closed, in a sentence; "" while it is open
    held: str = ""  # whether the fix held, in a sentence; "" until that is known
    capped: str = ""  # why nothing may be proposed: the healing cap, in sentences


class Packaged(Value):
    """`packaged.json`: who was told what about this run."""

    run: int
    at: AwareDatetime
    outlets: dict[str, str]  # outlet -> link, or its reference where there is no link


class JobState(StrEnum):
    """What a runner knows of a run's Job."""

    ABSENT = "absent"
    LIVE = "live"
    ENDED = "ended"


class PatchRules(Value):
    """Which changes may be proposed; judged by `changes.py`."""

    paths: tuple[str, ...] = ("**",)  # of manifests, as globs
    factor_max: float = 4.0  # how far a quantity may be raised at once
    replicas_factor_max: float = 2.0
    images: bool = False  # may an image's tag be changed back to one that has run before
    secret_references: bool = False  # may a pod be told to read another Secret, or another key


class Policy(Value):
    """What the operator decides. Read by judgements, never by adapters."""

    severity_threshold: Severity = Severity.WARNING
    silences: tuple[dict[str, str], ...] = ()  # label matchers; all of one entry must match
    engine: str = "rules"
    model: str = ""
    command: tuple[str, ...] = ()
    deadline_s: int = 600
    slots: int = 5
    slots_per_cluster: int = 1
    runs_per_hour: int = 20
    runs_per_workload: int = 1  # an hour; what a person asks for does not count
    wait_max_s: int = 600  # longer for a slot, and the analyzers answer alone
    budgets: Budgets = Budgets()
    max_healing_attempts: int = 5  # pull requests of a workload until a person resets; 0: no cap
    healing_quiet_s: int = 604_800  # so long without an incident counts as a reset; 0: never
    stale_after_s: int = 86_400  # an event farther from now than this opens nothing
    nudge_after_s: int = 120  # how long a step may be silent before `sweep` asks again
    sweep_days: int = 7
    own_namespaces: tuple[str, ...] = ("faultline", "faultline-agents")  # no agent looks in there
    quiet_s: int = 600  # how long it must stay quiet before a fix counts as verified
    close_after_s: int = 0  # how long every fault must be over before an incident closes
    dry_run: bool = False
    templates: str = ""  # folder of the operator's own texts
    console_url: str = ""  # of the web console, for links
    patch: PatchRules = PatchRules()
