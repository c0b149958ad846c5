"""What controllers say of themselves: rollouts, certificates, APIs. Symptoms, as hints.

They tell an agent where to look; none of them is a cause by itself, so none is more than a hint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from faultline.diagnosis.certificates import complaint
from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.wording import HINT, finding, one_line
from faultline.model import Finding

# kind, condition, the status that is bad, name of the finding
_BAD = (
    ("Deployment", "Progressing", "False", "conditions.rollout-stuck"),
    ("Deployment", "ReplicaFailure", "True", "conditions.replicas-refused"),
    ("APIService", "Available", "False", "conditions.api-not-available"),
)


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which objects report that they are not well; of certificates `certificates.py` does."""
    own = {id(w.object) for w in facts.workloads}
    for kind, condition, bad, name in _BAD:
        for object in facts.of(kind):
            if kind != "Deployment" or id(object) in own:
                yield from says(object, condition, bad, name)


def says(object: Object, condition: str, bad: str, name: str) -> Iterator[Finding]:
    path = f"status.conditions[type={condition}]"
    of_certificate = name.endswith(".api-not-available") and complaint(
        text(object.get(f"{path}.message"))
    )
    if text(object.get(f"{path}.status")) == bad and not of_certificate:
        reason = one_line(object.get(f"{path}.reason") or "no reason given")
        yield finding(
            name,
            HINT,
            f"{object.kind} {object.name}: {condition} is {bad}",
            f"{object} reports {condition} {bad}: {reason}.",
            [object.cite(f"{path}.status"), object.cite(f"{path}.message")],
        )
