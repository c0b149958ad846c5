"""Did the fix hold? Pure, over an incident's faults and the merges that were seen."""

from __future__ import annotations

from collections.abc import Sequence

from faultline.model import Cleared, ClosedBecause, Fault, Merged


def because(
    faults: Sequence[tuple[Fault, Cleared | None]], merges: Sequence[Merged]
) -> ClosedBecause:
    """Say why an incident whose faults are all over closes.

    Verified: our change was merged while the fault was there, and nothing began after the merge.
    Returned: a fault began after the merge, so the merge did not hold. Cleared: it went away
    without our change. Times are the senders' own; a merge within a fault's last second counts.
    """
    if not merges:
        return ClosedBecause.CLEARED
    merged_at = min(merge.at for merge in merges)
    if any(fault.starts_at > merged_at for fault, _ in faults):
        return ClosedBecause.RETURNED
    ends = [end.at for _, end in faults if end]
    held = bool(ends) and max(ends) >= merged_at
    return ClosedBecause.VERIFIED if held else ClosedBecause.CLEARED
