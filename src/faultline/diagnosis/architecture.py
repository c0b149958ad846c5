"""Programs built for another kind of processor than the node has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.commands import said as starting
from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Part
from faultline.diagnosis.wording import becomes_ready, finding, proved_if, restore
from faultline.model import Finding

_WRONG_FORMAT = re.compile(r"exec format error")


def wrong_format(part: Part) -> Iterator[Finding]:
    said = next((e for _, e in starting(part, _WRONG_FORMAT)), None)
    if said is None and (logged := part.logs(_WRONG_FORMAT)):
        said = logged[1]
    if said is None:
        return
    # proved because: the kernel refused the format of the program that this image starts.
    was, nodes = part.was("image"), part.workload.facts.of("Node")
    kinds = {text(n.get("status.nodeInfo.architecture")) for n in nodes} - {""}
    on = f" on {' and '.join(sorted(kinds))}" if kinds else ""
    yield finding(
        "crash_loop.wrong-architecture",
        proved_if(was),
        f"{part.name} is built for another architecture",
        f"{part} cannot start{on}: the image {part.get('image')} has a program in a format that "
        "the node cannot execute." + (f" Revision {was.revision} ran {was.value}." if was else ""),
        [said, part.cite("image"), was.evidence if was else None],
        rules_out=("probes",),
        actions=[
            restore("Use an image built for the node's architecture.", becomes_ready(part.workload))
        ],
        changes=[part.change("image", was.value, f"as in revision {was.revision}")] if was else (),
    )
