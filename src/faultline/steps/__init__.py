"""One decision each: an event in, records read and written, at most one event out.

The order of a step's writes is its crash safety; `docs/contract.md` has it as a table. Which event
reaches which step stands in `infra/knative/triggers.yaml`.
"""

from __future__ import annotations

from typing import Any

from faultline.errors import Rejected
from faultline.event import Event

RUNS_MAX = 9_999  # what a key of a run has room for


def asked_for(event: Event) -> tuple[int, dict[str, Any]]:
    """Return which run an event is about, the first unless it says so, and all that it says.

    Raises Rejected if that cannot be a run: in a cluster, anyone may send to a step.
    """
    asked = {} if event.data is None else event.data
    number = asked.get("run", 1) if isinstance(asked, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= RUNS_MAX:
        raise Rejected(f"expected the number of a run, from 1 to {RUNS_MAX}, as data's `run`")
    return number, asked


def looks(event: Event) -> frozenset[str]:
    """Return the endings of ids of incidents that a ping is about; none: it is about all.

    Such a ping comes from the bridge, when a Git host says that something was merged.
    """
    named = event.data.get("look") if isinstance(event.data, dict) else None
    return frozenset(map(str, named)) if isinstance(named, list) else frozenset()
