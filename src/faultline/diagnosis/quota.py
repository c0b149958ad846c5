"""Pods that may not be made because of numbers: quotas and limit ranges, with the arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.facts import Facts, Workload
from faultline.diagnosis.limit_range import out_of_range
from faultline.diagnosis.quantities import quantity
from faultline.diagnosis.records import Happening
from faultline.diagnosis.refusals import refused
from faultline.diagnosis.wording import PROVED, becomes_ready, finding, restore
from faultline.model import Change, Evidence, Finding

_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[\w.-]{1,253}), requested: (?P<requested>[^ ]+), "
    r"used: (?P<used>[^ ]+), limited: (?P<limited>[^ ]+)"
)
_UNSAID = re.compile(r"failed quota: (?P<name>[\w.-]+): must specify (?P<what>[\w.,-]+)")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which number refuses the pods of a workload."""
    return refused(facts, _quota, out_of_range, _unsaid)


def _numbers(pairs: str) -> dict[str, str]:
    return dict(p.split("=", 1) for p in pairs.split(",") if "=" in p)


def _quota(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the API server refuses the pod and gives the numbers.
    if not (match := _QUOTA.search(said.message)):
        return
    asked, used, most = (_numbers(match[k]) for k in ("requested", "used", "limited"))
    sums = [f"{k}: {v} more than {used.get(k)} of {most.get(k)}" for k, v in sorted(asked.items())]
    quota = workload.facts.object("ResourceQuota", match["name"])
    changes = [c for resource in sorted(asked) for c in _back(workload, resource)]
    yield finding(
        "quota.exceeded",
        PROVED,
        f"The quota {match['name']} refuses new pods",
        f"New pods of {workload} are refused by the quota {match['name']}: {'; '.join(sums)}.",
        [said.cite(), *([quota.cite("spec.hard")] if quota else []), *(_cited(workload, changes))],
        actions=[
            restore("Ask for less, run fewer pods, or raise the quota.", becomes_ready(workload))
        ],
        changes=changes,
    )


def _back(workload: Workload, resource: str) -> Iterator[Change]:
    """Go back to what the revision before asked for, where that was less."""
    field = "resources." + (resource if "." in resource else f"requests.{resource}")
    for part in workload.parts:
        was = part.was(field)
        if was and 0 < (quantity(was.value) or 0) < (quantity(part.get(field)) or 0):
            yield part.change(field, was.value, f"as in revision {was.revision}")


def _cited(workload: Workload, changes: list[Change]) -> list[Evidence | None]:
    return [workload.object.cite(change.field) for change in changes]


def _unsaid(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the API server refuses the pod for a value that nobody set.
    if match := _UNSAID.search(said.message):
        yield finding(
            "quota.not-specified",
            PROVED,
            f"The quota {match['name']} wants {match['what']} to be set",
            f"New pods of {workload} are refused: the quota {match['name']} wants every container "
            f"to set {match['what']}.",
            [said.cite(), workload.cite("spec.containers[0].name")],
            actions=[restore(f"Set {match['what']}.", becomes_ready(workload))],
        )
