"""What controllers say of themselves: rollouts, jobs, nodes, budgets, GitOps. Symptoms, as hints.

They tell an agent where to look; none of them is a cause by itself, so none is more than a hint,
but for a node that is gone, which is a likely cause for the pods on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from faultline.diagnosis.certificates import complaint
from faultline.diagnosis.documents import number, text
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.wording import HINT, LIKELY, finding, one_line
from faultline.model import Certainty, Finding

# kind, condition, the status that is bad, name of the finding
_BAD = (
    ("Deployment", "Progressing", "False", "conditions.rollout-stuck"),
    ("Deployment", "ReplicaFailure", "True", "conditions.replicas-refused"),
    ("Job", "Failed", "True", "conditions.job-failed"),
    ("Kustomization", "Ready", "False", "conditions.gitops-not-ready"),
    ("HelmRelease", "Ready", "False", "conditions.gitops-not-ready"),
    ("GitRepository", "Ready", "False", "conditions.gitops-not-ready"),
    ("APIService", "Available", "False", "conditions.api-not-available"),
    ("Revision", "Ready", "False", "conditions.knative-not-ready"),
    ("Trigger", "Ready", "False", "conditions.knative-not-ready"),
)
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which objects report that they are not well; of certificates `certificates.py` does."""
    own = {id(w.object) for w in facts.workloads}
    for kind, condition, bad, name in _BAD:
        for object in facts.of(kind):
            if kind not in ("Deployment", "Job") or id(object) in own:
                yield from _says(object, condition, bad, name, HINT)
    yield from _nodes(facts)
    yield from _budgets(facts)
    for application in facts.of("Application"):
        if text(application.get("status.health.status")) in ("Degraded", "Missing"):
            yield _plain(application, "status.health.status", "conditions.gitops-not-ready")


def _says(
    object: Object, condition: str, bad: str, name: str, certainty: Certainty
) -> Iterator[Finding]:
    path = f"status.conditions[type={condition}]"
    of_certificate = name.endswith(".api-not-available") and complaint(
        text(object.get(f"{path}.message"))
    )
    if text(object.get(f"{path}.status")) == bad and not of_certificate:
        reason = one_line(object.get(f"{path}.reason") or "no reason given")
        yield finding(
            name,
            certainty,
            f"{object.kind} {object.name}: {condition} is {bad}",
            f"{object} reports {condition} {bad}: {reason}.",
            [object.cite(f"{path}.status"), object.cite(f"{path}.message")],
        )


def _plain(object: Object, path: str, name: str) -> Finding:
    said = one_line(object.get(path))
    return finding(
        name,
        HINT,
        f"{object.kind} {object.name}: {said}",
        f"{object}: {path} is {said}.",
        [object.cite(path)],
    )


def _nodes(facts: Facts) -> Iterator[Finding]:
    """Nodes that carry pods of these workloads."""
    used = {text(p.get("spec.nodeName")) for w in facts.workloads for p in w.pods}
    for node in facts.of("Node"):
        if node.name not in used:
            continue
        for bad in ("False", "Unknown"):
            yield from _says(node, "Ready", bad, "conditions.node-not-ready", LIKELY)
        for pressure in _PRESSURES:
            yield from _says(node, pressure, "True", "conditions.node-pressure", HINT)


def _budgets(facts: Facts) -> Iterator[Finding]:
    names = {w.object.name for w in facts.workloads}
    for budget in facts.of("PodDisruptionBudget"):
        expected = number(budget.get("status.expectedPods"))
        blocked = budget.get("status.disruptionsAllowed") == 0 and expected > 0
        healthy = number(budget.get("status.currentHealthy")) >= expected
        if blocked and healthy and budget.name in names:
            yield _plain(budget, "status.disruptionsAllowed", "conditions.budget-allows-nothing")
