"""What the API server said when it refused a workload's pods, read by those who know what it means.

Numbers (`quota.py`) and everything else (`admission.py`) are read from the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from faultline.diagnosis.facts import Facts, Workload
from faultline.diagnosis.records import Happening
from faultline.model import Finding

Reader = Callable[[Workload, Happening], Iterator[Finding]]


def refused(facts: Facts, *readers: Reader) -> Iterator[Finding]:
    """Yield one finding for each workload that lacks pods: of its first refusal that is known."""
    for workload in facts.workloads:
        for said in workload.happenings("FailedCreate", about="itself"):
            if not workload.short:
                break  # it has got its pods since
            found = [finding for read in readers for finding in read(workload, said)]
            if found:
                yield found[0]
                break
