"""HorizontalPodAutoscalers that scale nothing, cannot measure, or are at their maximum.

Messages are those of the HorizontalPodAutoscaler controller: conditions AbleToScale, ScalingActive
and ScalingLimited of autoscaling/v2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.certificates import complaint
from faultline.diagnosis.documents import at, number, text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import HINT, LIKELY, PROVED, finding, one_line, restore
from faultline.model import Change, Finding

_NO_REQUEST = re.compile(r"missing request for (cpu|memory)(?: in container ([a-z0-9-]{1,63}))?")

_NO_API = re.compile(
    r"metrics API: the server (?:could not find the requested resource|is currently unable to "
    r"handle the request) \(get [\w.*-]*?\.?(?P<api>(?:custom\.|external\.)?metrics\.k8s\.io)\)"
)


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
                yield from _unmeasured(scaler, workload)
                yield from _at_maximum(scaler, workload)
                yield from _two_masters(scaler, workload)
            elif scaler.namespace == own.namespace:
                yield from _lost(scaler, workload)


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


def _unmeasured(scaler: Object, workload: Workload) -> Iterator[Finding]:
    # proved because: the autoscaler says that the API server has no metrics API, or cannot reach
    # it; nothing in the workload can change that. Is a certificate why, `certificates.py` says so.
    status, _, message = scaler.state("ScalingActive")
    match = _NO_API.search(message)
    if status == "True" or not match:
        return
    api = next((a for a in workload.facts.of("APIService") if a.state("Available")[0] == "False"
                and match["api"] in a.name), None)  # fmt: skip
    refused = api and complaint(api.state("Available")[2])
    yield finding(
        "autoscaling.no-metrics",
        PROVED if workload.ready and not refused else HINT,
        f"{scaler.name} cannot measure: the API {match['api']} does not answer",
        f"{scaler} cannot scale {workload}: the cluster does not serve {match['api']}.",
        [scaler.cite_state("ScalingActive"), api.cite_state("Available") if api else None],
        actions=[
            restore("Bring the metrics server back, or install it.", f"{scaler} is ScalingActive.")
        ],
    )


def _lost(scaler: Object, workload: Workload) -> Iterator[Finding]:
    # proved because: the autoscaler says that its target does not exist, and this workload, of the
    # same kind and in the same place, has a name an edit or two away.
    name, own = text(scaler.get("spec.scaleTargetRef.name")), workload.object
    status, reason, message = scaler.state("AbleToScale")
    missing = status == "False" and reason == "FailedGetScale" and "not found" in message
    same_kind = scaler.get("spec.scaleTargetRef.kind") == own.kind
    if not missing or not same_kind or nearest(name, {own.name}) != own.name:
        return
    # a number apart is another version of it, and one that scales it already needs no second
    others = workload.facts.of("HorizontalPodAutoscaler")
    scaled = any(o.get("spec.scaleTargetRef.name") == own.name for o in others)
    alone = not scaled and re.sub(r"\d", "", name) != re.sub(r"\d", "", own.name)
    field = "spec.scaleTargetRef.name"
    yield finding(
        "autoscaling.target-missing",
        PROVED if workload.ready and alone else HINT,
        f"{scaler.name} scales {one_line(name)}, which does not exist",
        f"{scaler} scales the {own.kind} {one_line(name)}, which does not exist. There is "
        f"{own.name}.",
        [scaler.cite_state("AbleToScale"), scaler.cite(field), own.cite("metadata.name")],
        actions=[restore(f"Name {own.name}.", f"{scaler} is AbleToScale.")],
        changes=[
            Change(
                target=scaler.target,
                field=field,
                before=name,
                after=own.name,
                reason="the workload that exists",
            )
        ]
        if alone
        else (),
    )


def _two_masters(scaler: Object, workload: Workload) -> Iterator[Finding]:
    measured = {text(at(m, "resource.name")) for m in scaler.items("spec.metrics")} - {""}
    for vertical in workload.facts.of("VerticalPodAutoscaler"):
        same = vertical.get("spec.targetRef.name") == workload.object.name
        mode = text(vertical.get("spec.updatePolicy.updateMode")) or "Auto"
        if same and measured and mode not in ("Off", "Initial"):
            yield finding(
                "autoscaling.two-masters",
                HINT,
                f"{scaler.name} and the VerticalPodAutoscaler {vertical.name} work against each "
                "other",
                f"{scaler} scales {workload} by {', '.join(sorted(measured))} against requests "
                f"that {vertical} changes (mode {one_line(mode, 30)}).",
                [scaler.cite("spec.metrics"), vertical.cite("spec.targetRef.name")],
            )


def _at_maximum(scaler: Object, workload: Workload) -> Iterator[Finding]:
    path = "status.conditions[type=ScalingLimited]"
    limited = text(scaler.get(f"{path}.status")) == "True"
    if limited and text(scaler.get(f"{path}.reason")) == "TooManyReplicas":
        most = text(scaler.get("spec.maxReplicas"))
        use = _above(scaler)
        yield finding(
            "autoscaling.at-maximum",
            LIKELY if use and workload.ready and workload.well else HINT,
            f"{scaler.name} is at its maximum of {most} replicas",
            f"{scaler} would run more than {most} replicas of {workload} and may not"
            + (f": {use[0]} is at {use[1]}% of what is requested, the aim is {use[2]}%." if use
               else "."),
            [
                scaler.cite(f"{path}.reason"),
                scaler.cite("spec.maxReplicas"),
                scaler.cite("status.currentMetrics") if use else None,
            ],
        )  # fmt: skip


def _above(scaler: Object) -> tuple[str, int, int] | None:
    """Return resource, use and aim in percent of the request, where the use is above the aim."""
    for metric in scaler.items("spec.metrics"):
        name = text(at(metric, "resource.name"))
        aim = number(at(metric, "resource.target.averageUtilization"))
        for now in scaler.items("status.currentMetrics"):
            use = number(at(now, "resource.current.averageUtilization"))
            if name and text(at(now, "resource.name")) == name and use > aim > 0:
                return name, use, aim
    return None
