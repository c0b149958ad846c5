"""The list of incidents, kept quick: what was written once is read once.

A closed incident never changes, so its row stays. Of the others only the names of the records are
read again, and only after a moment. Everything here may be forgotten at any time.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from faultline import keys
from faultline.correlate import subject_name
from faultline.errors import FaultlineError, NotFound, Rejected
from faultline.healing_cap import is_pull
from faultline.incidents import Incidents
from faultline.model import Diagnosis, Incident, Severity, Status, runs_of, status_of

ROWS_MAX = 50_000
PAGE = 50
MOMENT = dt.timedelta(seconds=1)  # how old a row may be that is shown
WHILE = dt.timedelta(seconds=60)  # how old it may be to be left out by a filter
IDS_WHILE = dt.timedelta(seconds=30)  # how old the list of ids may be, while a newer one is made

Clock = Callable[[], dt.datetime]


@dataclass(frozen=True)
class Row:
    """One incident in the list."""

    incident: Incident
    name: str
    status: Status
    records: int
    run: int = 0  # the newest run
    diagnosis: Diagnosis | None = None  # without its evidence and advice
    fix: str = ""  # address of the pull request, or its name where it has none
    pull: str = ""  # the same, but never of a message
    merged: bool = False
    anomaly_at: dt.datetime | None = None  # when its newest fault began

    @property
    def id(self) -> str:
        return self.incident.id

    @property
    def cause(self) -> str:
        return self.diagnosis.title if self.diagnosis else ""


@dataclass(frozen=True)
class Wanted:
    """What the list is asked for. `status` may be `unclosed`; `text` may stand anywhere in it."""

    status: str = ""
    severity: str = ""
    text: str = ""
    name: str = ""

    def may_take(self, incident: Incident, name: str) -> bool:
        """Judge by what never changes. `name` is that of the workload."""
        return self.severity in ("", incident.fault.severity) and self.name in ("", name)

    def takes(self, row: Row) -> bool:
        unclosed = self.status == "unclosed" and row.status is not Status.CLOSED
        if self.status and not unclosed and row.status != self.status:
            return False
        return self.may_take(row.incident, row.name) and (not self.text or self._text_in(row))

    def _text_in(self, row: Row) -> bool:
        told = f"{row.id} {row.incident.key} {row.incident.fault.name} {row.cause}"
        return self.text.lower() in told.lower()


class Shelf:
    """Rows by incident, as fresh as asked for."""

    def __init__(self, incidents: Incidents, clock: Clock) -> None:
        self._memory, self._clock = incidents, clock
        self._incidents: dict[str, Incident] = {}
        self._names: dict[str, str] = {}  # of their workloads
        self._days: dict[str, list[str]] = {}  # ids in order, of days whose incidents all are known
        self._rows: dict[str, tuple[Row, dt.datetime]] = {}
        self._ids: tuple[list[str], dt.datetime] | None = None
        self._listing = threading.Lock()
        self._causes: dict[tuple[str, int], Diagnosis | None] = {}
        self._fixes: dict[str, tuple[str, str]] = {}

    def page(self, wanted: Wanted, number: int = 1, size: int = PAGE) -> tuple[list[Row], bool]:
        """Return one page, newest first, and whether there is another. Pages count from 1."""
        first = (number - 1) * size
        if wanted == Wanted():  # no need to look at what is not shown
            ids = list(itertools.islice(self.ids(), first, first + size + 1))
            found = [row for id in ids if (row := self.row(id))]
        else:
            taken = (id for id in self.ids() if self._taken(id, wanted))
            ids = list(itertools.islice(taken, first, first + size + 1))
            found = [row for id in ids if (row := self.row(id)) and wanted.takes(row)]
        return found[:size], len(ids) > size

    def warm(self) -> None:
        """Read every row, the newest first, so that no page has to: thousands take a while."""
        with contextlib.suppress(FaultlineError):
            for id in self.ids():
                self.row(id, age=WHILE)

    def ids(self) -> Iterator[str]:
        """Yield the ids of all incidents, the newest first."""
        for day, ids in itertools.groupby(self._listed(), lambda known: known[:8]):
            yield from self._in_order(day, list(ids))

    def _in_order(self, day: str, ids: list[str]) -> list[str]:
        """Return the ids of a day, the newest first, without those that nobody has opened."""
        kept = self._days.get(day, [])
        if len(kept) == len(ids):  # they come, and much later go; never both at once
            return kept
        known = [incident for id in ids if (incident := self._incident(id))]
        known.sort(key=lambda i: (i.opened_at, i.id), reverse=True)
        self._days[day] = [incident.id for incident in known]
        return self._days[day]

    def _listed(self) -> list[str]:
        """Return all ids, the newest day first. A page waits for the list only if it is very old.

        Otherwise it takes the list that is there and has a new one made; who watches is told then.
        """
        kept = self._ids
        if kept is None or self._clock() - kept[1] > IDS_WHILE:
            with self._listing:  # whoever waited here takes what the first one brought
                return self._list() if self._ids is kept or self._ids is None else self._ids[0]
        if self._clock() - kept[1] > MOMENT and self._listing.acquire(blocking=False):
            threading.Thread(target=self._list_beside, daemon=True).start()
        return kept[0]

    def _list(self) -> list[str]:
        now = self._clock()
        found = sorted(self._memory.ids(), reverse=True)
        self._ids = found, now
        return found

    def renew(self) -> None:
        """Have the next reader wait for a new list of ids."""
        self._ids = None

    def _list_beside(self) -> None:
        with contextlib.suppress(FaultlineError):
            self._list()
        self._listing.release()

    def row(self, id: str, *, age: dt.timedelta = MOMENT) -> Row | None:
        """Return an incident's row, no older than `age`; None if nobody opened it."""
        now = self._clock()
        kept = self._rows.get(id)
        if kept and (kept[0].status is Status.CLOSED or now - kept[1] <= age):
            return kept[0]
        incident = self._incident(id)
        row = self._read(incident) if incident else None
        if row:
            if len(self._rows) >= ROWS_MAX:
                self._rows.clear()
            self._rows[id] = row, now
        return row

    def _taken(self, id: str, wanted: Wanted) -> bool:
        incident = self._incident(id)
        if incident is None or not wanted.may_take(incident, self._names[id]):
            return False  # without a look at its records
        row = self.row(id, age=WHILE)
        return row is not None and wanted.takes(row)

    def _incident(self, id: str) -> Incident | None:
        if id not in self._incidents:
            try:
                found = self._memory.incident(id)
            except (Rejected, ValueError):
                return None
            self._names[id] = subject_name(found.fault)
            self._incidents[id] = found
        return self._incidents[id]

    def _read(self, incident: Incident) -> Row | None:
        memory = self._memory.snapshot(incident.id)
        names = memory.names(incident.id)
        status, runs = status_of(names), runs_of(names)
        if status is None:
            return None
        run = max(runs, default=0)
        diagnosed = keys.DIAGNOSIS in runs.get(run, ())
        fix, pull = self._fix(incident.id, memory)
        return Row(
            incident=incident,
            name=self._names[incident.id],
            status=status,
            records=len(names),
            run=run,
            diagnosis=self._cause(incident.id, run) if diagnosed else None,
            fix=fix,
            pull=pull,
            merged=any(name.startswith("merged/") for name in names),
            anomaly_at=max((at for name in names if (at := keys.began_at(name))), default=None),
        )

    def _cause(self, id: str, run: int) -> Diagnosis | None:
        if (id, run) not in self._causes:
            found = self._memory.diagnosis(id, run)
            # the list needs no evidence: keep what is small
            light = {"evidence": (), "actions": (), "changes": (), "alternatives": ()}
            self._causes[id, run] = found and found.model_copy(update=light)
        return self._causes[id, run]

    def _fix(self, id: str, memory: Incidents) -> tuple[str, str]:
        """Return what was made for an incident, and, if that is one, the pull request."""
        if id not in self._fixes:
            try:
                told = memory.receipts(id)
            except (NotFound, ValueError):
                return "", ""
            if not told:
                return "", ""
            links = [receipt.url for receipt in told if receipt.url]
            branches = [r.details["branch"] for r in told if r.details.get("branch")]
            pulls = [receipt.url or receipt.reference for receipt in told if is_pull(receipt)]
            found = pulls or links or branches or [receipt.reference for receipt in told]
            self._fixes[id] = found[0], pulls[0] if pulls else ""
        return self._fixes[id]


SEVERITIES = tuple(severity.value for severity in Severity)
STATUSES = ("unclosed", *(status.value for status in Status))
