"""The pages: values in, HTML out. Every value is escaped; what is shown is decided in `app.py`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faultline import keys, views
from faultline.healing_cap import workload
from faultline.ledger import Standing
from faultline.model import Policy
from faultline.views import words
from faultline.views.case import Case
from faultline.views.render import diff_lines, environment
from faultline.web import watches
from faultline.web.shelf import SEVERITIES, STATUSES, Row, Wanted

LINES_MAX = 20_000  # a browser stays quick with so many; the rest is in the download


def page(template: str, **values: Any) -> str:
    """Return a page made of one of `web/templates/`."""
    made = environment(html=True, folders=("web/templates", "texts"))
    values |= {"phase": watches.phase, "workload": workload}
    return made.get_template(template).render(values)


def listed(
    rows: Sequence[Row], wanted: Wanted, number: int, more: bool, *, now: dt.datetime, **known: Any
) -> str:
    """Return the list of incidents. `known`: `title`, and `seen`, how far live updates are.

    Above it stand the workloads of the newest, each with its phase: what a filter has left out may
    be newer, except where it has left out nothing but what is over.
    """
    newest = number == 1 and wanted in (Wanted(), Wanted(status="unclosed"))
    known["watched"] = watches.newest(rows) if newest else []
    return page(
        "incidents.html.j2", rows=rows, wanted=wanted, number=number, more=more, now=now,
        statuses=STATUSES, severities=SEVERITIES, **known,
    )  # fmt: skip


def incident(
    case: Case,
    quotes: Sequence[views.Excerpt],
    *,
    now: dt.datetime,
    can: Sequence[Any],
    **known: Any,
) -> str:
    """Return one incident's page. `can`: what a person may do, as (path, label, form token)."""
    attempt = case.attempt
    return page(
        "incident.html.j2", case=case, incident=case.incident, attempt=attempt, now=now, can=can,
        diagnosis=case.diagnosis, quotes=quotes, diff=diff_lines(case.patch),
        sure=words.sure(case.diagnosis, attempt.result if attempt else None),
        groups=groups(case.names), report=keys.REPORT in case.names, **known,
    )  # fmt: skip


def record(id: str, name: str, data: bytes, title: str) -> str:
    """Return a page that shows one record with numbered lines, if it is text."""
    text = as_text(data)
    lines = text.removesuffix("\n").split("\n") if text is not None else []
    return page(
        "record.html.j2", title=title, id=id, name=name, size=len(data), lines=lines[:LINES_MAX],
        binary=text is None, left_out=max(0, len(lines) - LINES_MAX),
    )  # fmt: skip


def budgets(found: Standing, policy: Policy, *, now: dt.datetime, title: str) -> str:
    """Return what agent runs have spent and may, who waits and why, and which engine rests."""
    return page("budgets.html.j2", found=found, policy=policy, now=now, title=title)


def as_text(data: bytes) -> str | None:
    """Return the bytes as text; None if they are none."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


@dataclass(frozen=True)
class Group:
    """Records that belong together, for the list of files."""

    title: str
    names: tuple[str, ...]


_GROUPS = (
    ("For people", ("report/", "output/", keys.README)),
    ("Evidence", ("context/", keys.PROMPT)),
    ("Runs", ("runs/",)),
    ("Told and merged", ("published/", "merged/")),
    ("The incident", ("",)),
)


def groups(names: frozenset[str]) -> list[Group]:
    """Return the names in groups, each name in the first that takes it."""
    left = sorted(names)
    found = []
    for title, starts in _GROUPS:
        taken = tuple(name for name in left if name.startswith(starts))
        left = [name for name in left if name not in taken]
        found.append(Group(title, taken))
    return [group for group in found if group.names]
