"""Calm: every fault of an incident is over that can be. It closes when that has lasted.

A fault that begins before the incident has closed joins it, so what flaps is one incident with one
answer. How long calm must last is the policy's `close_after_s`; decision 23.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from faultline.incidents import Incidents
from faultline.model import Fault


@dataclass(frozen=True)
class Calm:
    """`last`: the fault that ended last. `since`: when the last one ended or began."""

    last: Fault
    since: dt.datetime

    def seconds(self, now: dt.datetime) -> float:
        """How long it has lasted."""
        return (now - self.since).total_seconds()


def calm(incidents: Incidents, incident_id: str, now: dt.datetime) -> Calm | None:
    """Return since when an incident is calm; None if it goes on. Reads little if it goes on."""
    if incidents.goes_on(incident_id):
        return None
    found = incidents.faults(incident_id).values()
    return settled(
        (fault, end.over_since if end else over(incidents, fault)) for fault, end in found
    )


def over(incidents: Incidents, fault: Fault) -> dt.datetime | None:
    """Return when a fault was over whose end is not on file with the incident yet."""
    return fault.starts_at if incidents.was_cleared(fault) else None


def settled(faults: Iterable[tuple[Fault, dt.datetime | None]]) -> Calm | None:
    """Judge faults, each with its end. Pure.

    A source that never says when a fault is over (`clears` is false) holds nothing open, but it
    closes nothing either: at least one fault must have ended. What it says anew is no calm.
    """
    found = list(faults)
    if any(fault.clears and end is None for fault, end in found):
        return None
    ended = [(end, fault) for fault, end in found if end]
    if not ended:
        return None
    since, last = max(ended, key=lambda pair: pair[0])
    unending = (fault.starts_at for fault, end in found if end is None)
    return Calm(last, max([since, *unending]))
