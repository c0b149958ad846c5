"""Any later step again, offline, from the store alone; and what differs from what was recorded.

The recorded run is copied up to the question: the incident, its faults, the sealed capsule,
`run.json`. Then the steps themselves run over that copy in memory, with nothing outside them. Pages
are made again from the result and compared byte by byte with those in the store. What an engine
answered is not asked again: it is copied, and replay begins at `package`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faultline import keys, views
from faultline.adapters.stores.memory import MemoryStore
from faultline.capsule import belongs
from faultline.errors import NotFound, Rejected, Unavailable
from faultline.event import Event, from_json
from faultline.incidents import Incidents
from faultline.model import JobState, Policy, Proposal, Result, Run
from faultline.policy import ANALYZERS
from faultline.ports import Ports
from faultline.steps.launch import launch
from faultline.steps.package import package, proposed


@dataclass(frozen=True)
class Replayed:
    """What came out, and how it compares with the records."""

    text: str  # the same summary that `faultline show` prints
    same: tuple[str, ...]  # records and pages that came out byte for byte as they are in the store
    different: tuple[str, ...]

    @property
    def identical(self) -> bool:
        return not self.different


def replay(
    incidents: Incidents,
    incident_id: str,
    number: int | None = None,
    policy: Policy | None = None,
    *,
    first: str = "launch",
) -> Replayed:
    """Run the later steps of one run again and compare. Raises Rejected if there is no such run.

    `first` is the step to begin with: `launch` asks the analyzers again, `package` believes what
    was answered. An agent's answer is always believed; to ask one anew is `asking.py`'s.
    """
    if first not in ("launch", "package"):
        raise Rejected(f"expected launch or package to begin with, got {first!r}")
    names = incidents.names(incident_id)
    number = number or max(incidents.run_numbers(incident_id), default=0)
    run, result = incidents.run(incident_id, number), incidents.result(incident_id, number)
    if run is None or result is None:
        raise Rejected(f"expected a run of {incident_id} that has ended, run {number} has not")
    copy = Incidents(MemoryStore())
    for name in sorted(names):
        if _is_question(name, run, first):
            copy.record(incident_id, name, incidents.read(incident_id, name))
    again = _again(copy, incidents, run, result, policy or Policy(), first)
    _copy_aftermath(copy, incidents, incident_id, names)
    views.write(again.incidents, incident_id, number)
    made = copy.names(incident_id)
    compared = [name for name in sorted(made & names) if not _is_question(name, run, first)]
    same, different = _compare(copy, incidents, incident_id, compared, run)
    return Replayed(views.result_text(views.load(copy, incident_id)), same, different)


def _again(
    copy: Incidents, original: Incidents, run: Run, result: Result, policy: Policy, first: str
) -> Ports:
    """Run launch (if its answer is ours to compute) and package over the copy."""
    recorded = original.proposal(run.incident_id, run.number)
    before = {f.path: f.before.encode() for f in recorded.files} if recorded else {}
    ports = Ports(
        incidents=copy,
        runner=NoRunner(),
        sources=(),
        manifests=_Recorded(before, recorded.base if recorded else ""),
        outlets=(),
        sink=NoSink(),
        policy=policy,
        clock=lambda: result.completed_at,
    )
    cause = from_json(run.cause)
    finished = launch(cause, ports) if _computed(run, first) else None
    if recorded and _stands(recorded, proposed(run.incident_id, run.number, ports)):
        copy.record(run.incident_id, keys.run_record(run.number, keys.CHANGE), recorded)
    package(finished or _finished(cause, run), ports)
    return ports


def _stands(recorded: Proposal, again: Proposal | None) -> bool:
    """Does the recorded change stand? A patch that can be made again has to come out the same.

    The change was decided, and checked, on all manifests; only those that it touched are kept. So
    its checks are believed, and so is one that cannot be decided on those files alone.
    """
    if recorded.empty or again is None or again.empty:
        return True
    return (recorded.accepted, recorded.files) == (again.accepted, again.files)


def _finished(cause: Event, run: Run) -> Event:
    return cause.run_finished(run.incident_id, run.number, {"run": run.number})


def _computed(run: Run, first: str) -> bool:
    """Is the answer made again? Else it is taken as it was recorded."""
    return run.engine == ANALYZERS and first == "launch"


def _is_question(name: str, run: Run, first: str) -> bool:
    """Is this record part of what the later steps are given?"""
    if name in (keys.EVENT, keys.INCIDENT) or belongs(name) or keys.occurrence_of(name):
        return True
    of_run = keys.run_of(name)
    if of_run is None or of_run[0] != run.number:
        return False
    answer = not _computed(run, first) and of_run[1] not in (keys.CHANGE, keys.PACKAGED)
    return answer or of_run[1] == keys.RUN


_AFTERMATH = (keys.CLOSED, keys.SHADOW, keys.SYNCED, keys.VERIFIED)


def _copy_aftermath(
    copy: Incidents, original: Incidents, incident_id: str, names: frozenset[str]
) -> None:
    """Copy what came from outside after the answer: receipts, merges, closing, who was told."""
    for name in sorted(names):
        outside = name.startswith(("published/", "merged/")) or name in _AFTERMATH
        if outside:
            copy.record(incident_id, name, original.read(incident_id, name))


def _compare(
    copy: Incidents, original: Incidents, incident_id: str, names: Sequence[str], run: Run
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    skipped = {keys.run_record(run.number, keys.PACKAGED)}  # says who was told: nobody, here
    compared = [n for n in names if n not in skipped]
    same = [n for n in compared if copy.read(incident_id, n) == original.read(incident_id, n)]
    return tuple(same), tuple(n for n in compared if n not in same)


class _Recorded:
    """The manifests as they were when the change was decided: those that it touched."""

    def __init__(self, files: Mapping[str, bytes], revision: str) -> None:
        self._files, self._revision = files, revision

    def files(self) -> Mapping[str, bytes]:
        return self._files

    def revision(self) -> str:
        return self._revision


class NoRunner:
    """Replay starts nothing."""

    def start(self, run: Run) -> None:
        raise Unavailable(f"replay starts no agents; {run.id} needs engine {run.engine}")

    def state(self, run: Run) -> JobState:
        return JobState.ABSENT

    def live(self) -> Sequence[str]:
        return ()

    def cancel(self, run: Run) -> None:
        raise NotFound(f"replay started no {run.id}")


class NoSink:
    """Replay tells nobody."""

    def send(self, event: Event) -> None:
        raise Unavailable(f"replay sends no events, not even {event.type}")
