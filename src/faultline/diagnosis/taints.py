"""Taints that a workload does not tolerate."""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.facts import Workload
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import becomes_ready, finding, one_line, proved_if, restore
from faultline.model import Finding

_TAINT = re.compile(r"untolerated taint \{([^}]{1,200})\}|had taint \{([^}]{1,200})\}")


def taint(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler names the taint, and the revision before had tolerations for it.
    match, was = _TAINT.search(said.message), workload.was("spec.tolerations")
    if not match or "Insufficient" in said.message:
        return
    name = match[1] or match[2]
    tolerated = (
        was and name.split(":")[0] in str(was.value) and not workload.get("spec.tolerations")
    )
    yield finding(
        "scheduling.taint",
        proved_if(tolerated),
        f"Nodes have the taint {one_line(name)}, which is not tolerated",
        f"{workload} does not tolerate the taint {one_line(name)}."
        + (f" Revision {was.revision} did." if was and tolerated else ""),
        [said.cite(), was.evidence if was else None],
        actions=[restore("Tolerate the taint, or free a node of it.", becomes_ready(workload))],
        changes=[workload.change("spec.tolerations", was.value, "as before")]
        if was and tolerated
        else (),
    )
