"""Containers that must not run as root, with an image that would."""

from __future__ import annotations

import re
from collections.abc import Iterable

from faultline.diagnosis.facts import Facts, Part, Waiting
from faultline.diagnosis.wording import PROVED, becomes_ready, finding, restore
from faultline.model import Finding

_ROOT = re.compile(r"runAsNonRoot and image (will run as root|has non-numeric user)")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which container the kubelet does not start for its user."""
    for part in facts.parts:
        waiting = next((w for w in part.waiting if _ROOT.search(w.message)), None)
        if waiting:
            yield _finding(part, waiting)


def _finding(part: Part, waiting: Waiting) -> Finding:
    # proved because: the kubelet compares the image's user with the pod's own rule.
    own = part.cite("securityContext.runAsNonRoot")
    return finding(
        "admission.runs-as-root",
        PROVED,
        f"{part.name} must not run as root, and its image would",
        f"{part} is not started: the pod asks for runAsNonRoot, and the image {part.get('image')} "
        "does not name a numeric user other than root.",
        [
            waiting.cite("message"),
            own or part.workload.cite("spec.securityContext.runAsNonRoot"),
        ],
        rules_out=("probes",),
        actions=[
            restore("Set runAsUser, or build the image with a user.", becomes_ready(part.workload))
        ],
    )
