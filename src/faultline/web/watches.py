"""A watch: one workload, as its incidents show it. Phase and status are computed, never stored.

The words are those of a `FaultlineWatch`'s status. A workload is a correlation key: two of one name
in two namespaces are two watches. Rows come from `shelf.py`, the score from `healing_cap.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from faultline.event import format_time
from faultline.healing_cap import REACHED, sentence, workload
from faultline.model import Status
from faultline.views.words import last_diagnosis
from faultline.web.shelf import Row

WATCHING = "Watching"  # no incident, or a change was merged and has to show that it holds


def phase(row: Row) -> str:
    """Return the phase of the workload whose newest incident this is.

    Healing while a run is under way, Degraded before and after, until people have merged a change;
    Watching from then on, and Healthy once the incident is closed.
    """
    if row.status is Status.CLOSED:
        return "Healthy"
    if row.status is Status.INVESTIGATING:
        return "Healing"
    return WATCHING if row.merged else "Degraded"


def newest(rows: Iterable[Row]) -> list[Row]:
    """Return of each workload the first row, in order: its newest incident."""
    return list({row.incident.key: row for row in reversed([*rows])}.values())[::-1]


def of_one(rows: Sequence[Row], key: str = "") -> list[Row]:
    """Return the rows of one workload: of the key named, or else of the newest."""
    wanted = key or rows[0].incident.key
    return [row for row in rows if row.incident.key == wanted]


def status(rows: Sequence[Row], score: int, most: int) -> dict[str, Any]:
    """Return what is known of one workload, newest incident first, as a watch's status has it.

    `score` is its healing score, `most` the cap; 0: there is none.
    """
    latest = rows[0]
    known = next((row.diagnosis for row in rows if row.diagnosis), None)
    reached = 0 < most <= score
    said = sentence(latest.incident.key, score, most) if reached else ""
    return {
        "workload": workload(latest.incident.key),
        "phase": phase(latest),
        "lastDiagnosis": last_diagnosis(known),
        "lastPRUrl": next((row.pull for row in rows if row.pull), ""),
        "healingScore": score,
        "lastAnomalyTime": format_time(latest.anomaly_at or latest.incident.fault.starts_at),
        "conditions": [{"type": REACHED, "status": str(reached), "message": said}],
    }
