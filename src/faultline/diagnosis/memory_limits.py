"""Which memory limit to propose: an earlier one, or a bounded raise above what was used."""

from __future__ import annotations

from typing import Any

from faultline.diagnosis.facts import Part, Was
from faultline.diagnosis.quantities import rounded_up
from faultline.diagnosis.usage import Peak
from faultline.diagnosis.wording import becomes_ready, restore
from faultline.model import Action

LIMIT = "resources.limits.memory"
RAISE_MAX = 2.0  # how far a limit is raised without an earlier one to go back to


def remedy(
    part: Part, limit: float, lowered: Was | None, peak: Peak | None, leak: bool
) -> dict[str, Any]:
    """Return the actions and changes of a finding."""
    ready = becomes_ready(part.workload)
    if leak:
        return {"actions": [Action(action="Find what the program keeps in memory.", check=ready)]}
    if lowered:
        after, why = lowered.value, f"the limit of revision {lowered.revision}"
    elif peak:
        after, why = (
            rounded_up(min(RAISE_MAX * limit, 1.5 * peak.size)),
            "half above its highest use",
        )
    else:
        return {
            "actions": [Action(action="Measure its memory, then set the limit above.", check=ready)]
        }
    step = restore(f"Set the memory limit of {part.name} to {after}.", ready)
    return {"actions": [step], "changes": [part.change(LIMIT, after, why)]}
