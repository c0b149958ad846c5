"""The memory of the product: claims, incidents and their records, over a store.

Records are written once. Every method can be called again after a crash, by anyone, and comes to
the same end. The layout is `keys.py`, what may be decided from it `model.py`; this file only reads
and writes. Views (README, output/, report/) are put with `put_view`, and nothing here reads one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from pydantic_core import to_json as to_json_bytes

from faultline import keys
from faultline.capsule import Capsule, belongs
from faultline.correlate import correlation_key
from faultline.counters import Tally
from faultline.errors import NotFound, Rejected
from faultline.event import Event, from_json, to_json
from faultline.fixes import Shadow, Synced, Verification
from faultline.model import (
    Claim,
    Cleared,
    Closed,
    Decision,
    Diagnosis,
    Fault,
    Incident,
    Index,
    Merged,
    Output,
    Packaged,
    Proposal,
    Receipt,
    Result,
    Run,
    Status,
    Stop,
    Wish,
    runs_of,
    status_of,
)
from faultline.recall import Recall, Snapshot
from faultline.store import Store, put_once

T = TypeVar("T", bound=BaseModel)


class Incidents:
    """Everything known about incidents. Holds nothing itself: two of these on one store agree.

    `counters` says how many records of incidents were written, and how many were there already.
    """

    def __init__(self, store: Store, counters: Tally | None = None) -> None:
        self.store = store
        self.counters = counters or Tally()

    # for as long as a delivery, or a look, takes

    def recalling(self) -> Incidents:
        """Return the same memory, which asks for no record twice: for one delivery."""
        return Incidents(Recall(self.store), self.counters)

    def snapshot(self, incident_id: str) -> Incidents:
        """Return the same memory, with what there is of one incident as a listing shows it now."""
        return Incidents(Snapshot(self.store, keys.incident(incident_id)), self.counters)

    # faults

    def was_cleared(self, fault: Fault) -> bool:
        """Is this occurrence over, even if we never heard it begin?"""
        return self._has(keys.cleared(fault.occurrence))

    def ignore(self, fault: Fault, decision: Decision, *, at: dt.datetime) -> None:
        """Put on file that this fault opens nothing, and why."""
        record = {"fault": fault.model_dump(mode="json"), **decision.model_dump(mode="json")}
        put_once(self.store, keys.ignored(at.date(), fault.occurrence), _json(record))

    def clear(self, fault: Fault, *, at: dt.datetime) -> Cleared:
        """Put on file that this occurrence is over; `at`: when we heard."""
        record = Cleared(fault=fault, at=fault.ends_at or at, heard_at=at)
        put_once(self.store, keys.cleared(fault.occurrence), content(record))
        return record

    # claims and episodes

    def claim(self, incident: Incident, because: Event) -> Claim:
        """Claim the incident's correlation key; return the claim that owns it now.

        That is ours, or that of an incident that is still open or that has already closed this very
        occurrence. Exactly one of any number of racing claims wins an episode.
        """
        episode, follows = 1, ""
        taken = set(self.store.list(keys.claims(incident.key)))
        while True:
            name = keys.claim(incident.key, episode)
            if name not in taken:
                mine = incident.model_copy(update={"episode": episode, "follows": follows})
                record = Claim(incident=mine, event=to_json(because))
                if put_once(self.store, name, content(record)):
                    return record
            owner = self._claim(name)
            if self._owns(owner, incident.fault):
                return owner
            episode, follows = episode + 1, owner.incident.id

    def _owns(self, owner: Claim, fault: Fault) -> bool:
        """An open incident takes every fault of its key; a closed one only those it closed."""
        closed = self.closed(owner.incident.id)
        return closed is None or fault.occurrence in closed.occurrences

    def claims(self, key: str, *, after: int = 0) -> Iterator[Claim]:
        """Yield the claims of a correlation key, newest episode first, those after one episode."""
        for name in sorted(self.store.list(keys.claims(key)), reverse=True):
            if keys.episode_of(name) <= after:
                return
            yield self._claim(name)

    def began(self, key: str, event: Event) -> bool:
        """Did this very event claim an episode? Then what it began has to be finished."""
        mine = {"source": event.source, "id": event.id}
        return any(mine.items() <= claim.event.items() for claim in self.claims(key))

    def unopened(self) -> Iterator[Claim]:
        """Yield the claims whose incident nobody has opened: a crash came in between.

        What is on file as open costs nothing but its place in two listings. A claim that is not,
        because of a crash or of a version that kept no such file, is looked at, once.
        """
        known = set(self.store.list(keys.OPENED))
        for name in self.store.list(keys.CLAIMS):
            if keys.opened(name) not in known:
                claim = self._claim(name)
                if self.is_open(claim):
                    self._note_open(claim)
                else:
                    yield claim

    def _claim(self, key: str) -> Claim:
        return Claim.model_validate_json(self.store.get(key))

    def owner(self, fault: Fault) -> Claim | None:
        """Return the claim of the incident that has this occurrence on file, if there is one."""
        name = keys.detected(fault.occurrence)
        for claim in self.claims(correlation_key(fault)):
            if self._has(keys.incident(claim.incident.id, name)):
                return claim
        return None

    def join(self, claim: Claim, fault: Fault) -> bool:
        """Record the fault under the incident that owns it. False: it was there."""
        return self.record(claim.incident.id, keys.detected(fault.occurrence), fault)

    def say_again(self, claim: Claim, fault: Fault, *, at: dt.datetime) -> None:
        """Record that a fault which is on file was said again: once in each interval."""
        name = keys.seen(fault.occurrence, at)
        if not self._has(keys.incident(claim.incident.id, name)):
            self.record(claim.incident.id, name, _json({"at": at.isoformat()}))

    def note_calm(self, incident_id: str, *, at: dt.datetime) -> None:
        """Put on file, where `sweep` looks, that every fault of the incident is over now."""
        key = keys.calm(at.date(), incident_id)
        if not self._has(key):
            put_once(self.store, key, (at.isoformat() + "\n").encode())

    def calm_lately(self, days: Iterable[dt.date]) -> set[str]:
        """Return the incidents of which every fault was over on one of these days."""
        found = (key for day in days for key in self.store.list(keys.calm(day)))
        return {key.rsplit("/", 1)[1].removesuffix(".txt") for key in found}

    def open(self, claim: Claim) -> bool:
        """Finish what the claim began: event.json, then incident.json. False: it was open."""
        incident = claim.incident
        self.record(incident.id, keys.EVENT, _json(claim.event))
        new = self.record(incident.id, keys.INCIDENT, incident)
        if new:
            self._note_open(claim)
        return new

    def is_open(self, claim: Claim) -> bool:
        """Was the claim's incident opened? It may have been closed since."""
        return self._has(keys.incident(claim.incident.id, keys.INCIDENT))

    def _note_open(self, claim: Claim) -> None:
        """Put on file that nobody has to look at this claim again."""
        name = keys.claim(claim.incident.key, claim.incident.episode)
        put_once(self.store, keys.opened(name), _json({"incident": claim.incident.id}))

    # records of one incident

    def record(self, incident_id: str, name: str, value: BaseModel | bytes) -> bool:
        """Write a record once. False: it was there, and nothing changed."""
        new = put_once(self.store, keys.incident(incident_id, name), content(value))
        self.counters.add("written" if new else "there")
        return new

    def put_view(self, incident_id: str, name: str, data: bytes) -> None:
        """Write a page for people, over the one that may be there."""
        self.store.put(keys.incident(incident_id, name), data)

    def read(self, incident_id: str, name: str) -> bytes:
        """Return one record. Raises NotFound."""
        return self.store.get(keys.incident(incident_id, name))

    def names(self, incident_id: str) -> frozenset[str]:
        """Return the names of all records and views of an incident."""
        folder = keys.incident(incident_id)
        return frozenset(key.removeprefix(folder) for key in self.store.list(folder))

    def status(self, incident_id: str) -> Status | None:
        return status_of(self.names(incident_id))

    def incident(self, incident_id: str) -> Incident:
        """Return the incident. Raises Rejected if nobody opened it."""
        try:
            return Incident.model_validate_json(self.read(incident_id, keys.INCIDENT))
        except NotFound:
            raise Rejected(
                f"expected an incident that was opened, but {incident_id} is unknown here"
            ) from None

    def ids(self, prefix: str = "") -> Iterator[str]:
        """Yield the ids of all incidents in order of their day; `prefix` may name a day."""
        for name in self.store.folders(keys.INCIDENTS + prefix):
            if keys.INCIDENT_ID.fullmatch(name):
                yield name

    def settled(self, day: str, step: str) -> frozenset[str]:
        """Return the ids of the incidents of a day, as in an id, that a step is done with."""
        folder, end = keys.settled(day), f"/{step}.json"
        found = (key for key in self.store.list(folder) if key.endswith(end))
        return frozenset(key.removeprefix(folder).removesuffix(end) for key in found)

    def settle(self, incident_id: str, step: str, *, at: dt.datetime) -> None:
        """Put on file that a step has nothing more to do for an incident, whatever may come."""
        put_once(self.store, keys.settled(incident_id[:8], incident_id, step), _json({"at": at}))

    def closed(self, incident_id: str) -> Closed | None:
        return self._read(incident_id, keys.CLOSED, Closed)

    def faults(self, incident_id: str) -> dict[str, tuple[Fault, Cleared | None]]:
        """Return the incident's faults by occurrence (as in keys), with their end, if any."""
        folder = keys.incident(incident_id)
        names = {key.removeprefix(folder) for key in self.store.list(folder + "faults/")}
        found: dict[str, tuple[Fault, Cleared | None]] = {}
        for name in sorted(names):
            parsed = keys.occurrence_of(name)
            if parsed and parsed[1] == "detected":
                fault = Fault.model_validate_json(self.read(incident_id, name))
                end = self._read(incident_id, keys.fault_cleared(fault.occurrence), Cleared)
                found[parsed[0]] = (fault, end)
        return found

    def goes_on(self, incident_id: str) -> bool:
        """Is a fault of the incident not over that can be? Reads no further than to the first one:
        there may be thousands, and each that ends asks this."""
        folder, over = keys.incident(incident_id), ""
        for key in self.store.list(folder + "faults/"):
            name = key.removeprefix(folder)
            occurrence, what = keys.occurrence_of(name) or ("", "")
            if what == "cleared":
                over = occurrence  # it sorts before detected.json
            elif what == "detected" and occurrence != over:
                fault = Fault.model_validate_json(self.read(incident_id, name))
                if fault.clears and not self.was_cleared(fault):
                    return True
        return False

    def capsule(self, incident_id: str) -> Capsule:
        """Return the incident's capsule: once sealed, what its index lists and nothing else."""
        index = self.index(incident_id)
        names = (
            {file.name for file in index.files} | {keys.INDEX}
            if index
            else self._unsealed(incident_id)
        )
        return Capsule({name: self.read(incident_id, name) for name in names})

    def _unsealed(self, incident_id: str) -> set[str]:
        return {name for name in self.names(incident_id) if belongs(name)}

    def index(self, incident_id: str) -> Index | None:
        return self._read(incident_id, keys.INDEX, Index)

    # records of one run; `number` counts from 1

    def run_numbers(self, incident_id: str) -> list[int]:
        return sorted(runs_of(self.names(incident_id)))

    def run(self, incident_id: str, number: int) -> Run | None:
        return self._read(incident_id, keys.run_record(number, keys.RUN), Run)

    def run_by_id(self, run_id: str) -> Run | None:
        incident_id, _, number = run_id.rpartition("-")
        return self.run(incident_id, int(number))

    def wish(self, incident_id: str, number: int) -> Wish | None:
        """Return what a run that waits for an agent wants, and since when; None if it never did."""
        try:
            return Wish.model_validate_json(self.store.get(keys.waiting(incident_id, number)))
        except NotFound:
            return None

    def stop(self, incident_id: str, number: int) -> Stop | None:
        """Return who asked the run to stop, and why; None if nobody did."""
        return self._read(incident_id, keys.run_record(number, keys.CANCEL), Stop)

    def ask_to_stop(self, incident_id: str, number: int, stop: Stop) -> None:
        """Ask a run to stop, once: the runtime looks for this record."""
        self.record(incident_id, keys.run_record(number, keys.CANCEL), stop)

    def outputs(self, incident_id: str, number: int) -> tuple[Output, ...]:
        """Return the index of what a run has left in the store."""
        folder = keys.incident(incident_id, keys.run_record(number, ""))
        found = ((key, self.store.get(key)) for key in self.store.list(folder + "output/"))
        return tuple(
            Output(name=key.removeprefix(folder), bytes=len(data), sha256=_sha256(data))
            for key, data in found
        )

    def result(self, incident_id: str, number: int) -> Result | None:
        return self._read(incident_id, keys.run_record(number, keys.RESULT), Result)

    def proposal(self, incident_id: str, number: int) -> Proposal | None:
        return self._read(incident_id, keys.run_record(number, keys.CHANGE), Proposal)

    def packaged(self, incident_id: str, number: int) -> Packaged | None:
        return self._read(incident_id, keys.run_record(number, keys.PACKAGED), Packaged)

    def diagnosis(self, incident_id: str, number: int) -> Diagnosis | None:
        """Return the run's diagnosis; None if it left none, or something else in its place."""
        try:
            return self._read(incident_id, keys.run_record(number, keys.DIAGNOSIS), Diagnosis)
        except ValueError:  # the runtime refuses it, but an engine may find a way around
            return None

    # receipts

    def receipts(self, incident_id: str) -> list[Receipt]:
        folder = keys.incident(incident_id, "published/")
        return [Receipt.model_validate_json(self.store.get(k)) for k in self.store.list(folder)]

    def receipt(self, incident_id: str, outlet: str) -> Receipt | None:
        return self._read(incident_id, keys.receipt(outlet), Receipt)

    def merges(self, incident_id: str) -> list[Merged]:
        folder = keys.incident(incident_id, "merged/")
        return [Merged.model_validate_json(self.store.get(k)) for k in self.store.list(folder)]

    # what became of the fix

    def opener(self, incident_id: str) -> Event:
        """Return the event that opened the incident. Raises NotFound."""
        return from_json(json.loads(self.read(incident_id, keys.EVENT)))

    def note_announced(
        self, incident_id: str, event: Event, *, at: dt.datetime, name: str = ""
    ) -> None:
        """Put on file that this event about the incident was sent; or, by `name`, was told."""
        record = {"sent_at": at.isoformat(), "event": to_json(event)}
        self.record(incident_id, name or keys.announced(event.type), _json(record))

    def shadow(self, incident_id: str) -> Shadow | None:
        return self._read(incident_id, keys.SHADOW, Shadow)

    def synced(self, incident_id: str) -> Synced | None:
        return self._read(incident_id, keys.SYNCED, Synced)

    def deliveries(self, revision: str) -> list[Synced]:
        """Return who has delivered this commit to a cluster, in order of time."""
        found = (self.store.get(key) for key in self.store.list(keys.synced(revision)))
        return sorted(map(Synced.model_validate_json, found), key=lambda synced: synced.at)

    def verification(self, incident_id: str) -> Verification | None:
        return self._read(incident_id, keys.VERIFIED, Verification)

    def later(self, incident: Incident) -> list[Incident]:
        """Return the episodes of the same key that came after this one, in order."""
        found = self.claims(incident.key, after=incident.episode)
        return [claim.incident for claim in found][::-1]

    # underneath

    def _read(self, incident_id: str, name: str, model: type[T]) -> T | None:
        try:
            return model.model_validate_json(self.read(incident_id, name))
        except NotFound:
            return None

    def _has(self, key: str) -> bool:
        try:
            self.store.get(key)
        except NotFound:
            return False
        return True


def content(value: BaseModel | bytes) -> bytes:
    """Return a record's bytes: JSON for people, two spaces, one newline at the end."""
    return value if isinstance(value, bytes) else _json(value)


def _json(value: object) -> bytes:
    try:
        return to_json_bytes(value, indent=2) + b"\n"
    except PydanticSerializationError:  # half a character, as a cut may leave it: `?` in its place
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        return (json.dumps(plain, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
