"""HorizontalPodAutoscalers that cannot measure, or are at their maximum."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.wording import HINT, PROVED, finding, restore
from faultline.model import Finding

_NO_REQUEST = re.compile(r"missing request for (cpu|memory)(?: in container ([a-z0-9-]{1,63}))?")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why an autoscaler of a workload does not scale."""
    for scaler in facts.of("HorizontalPodAutoscaler"):
        for workload in facts.workloads:
            own = workload.object
            same = (
                scaler.get("spec.scaleTargetRef.name") == own.name
                and scaler.namespace == own.namespace
            )
            if same and scaler.get("spec.scaleTargetRef.kind") == own.kind:
                yield from _blind(scaler, workload)
                yield from _at_maximum(scaler, workload)


def _blind(scaler: Object, workload: Workload) -> Iterator[Finding]:
    # proved because: the autoscaler says that the request is missing, and the container has none.
    path = "status.conditions[type=ScalingActive]"
    match = _NO_REQUEST.search(text(scaler.get(f"{path}.message")))
    if not match or text(scaler.get(f"{path}.status")) == "True":
        return
    field = f"resources.requests.{match[1]}"
    parts = [
        p
        for p in workload.parts
        if match[2] in (None, p.name) and p.get(field) is None and not p.init
    ]
    for part in parts[:1]:
        was = part.was(field)
        yield finding(
            "autoscaling.no-request",
            PROVED if workload.ready else HINT,
            f"{scaler.name} cannot measure: {part.name} requests no {match[1]}",
            f"{scaler} measures {match[1]} against what is requested; {part.phrase} requests none."
            + (f" Revision {was.revision} requested {was.value}." if was else ""),
            [scaler.cite(f"{path}.message"), part.cite("name"), was.evidence if was else None],
            actions=[restore(f"Request {match[1]}.", f"{scaler} is ScalingActive.")],
            changes=[part.change(field, was.value, f"as in revision {was.revision}")]
            if was
            else (),
        )


def _at_maximum(scaler: Object, workload: Workload) -> Iterator[Finding]:
    path = "status.conditions[type=ScalingLimited]"
    limited = text(scaler.get(f"{path}.status")) == "True"
    if limited and text(scaler.get(f"{path}.reason")) == "TooManyReplicas":
        most = text(scaler.get("spec.maxReplicas"))
        yield finding(
            "autoscaling.at-maximum",
            HINT,
            f"{scaler.name} is at its maximum of {most} replicas",
            f"{scaler} would run more than {most} replicas of {workload} and may not.",
            [scaler.cite(f"{path}.reason"), scaler.cite("spec.maxReplicas")],
        )
