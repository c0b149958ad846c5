"""Services that reach no pod: selectors that miss by a letter, target ports that no pod has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from faultline.diagnosis.documents import child, mapping, text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.inventory import within
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.service_ports import change, selects, wrong_port
from faultline.diagnosis.wording import HINT, PROVED, finding, one_line, restore
from faultline.diagnosis.workloads import Around
from faultline.model import Evidence, Finding


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which service should reach a workload and does not, and which label or port it is."""
    for service in facts.of("Service"):
        selector = mapping(service.get("spec.selector"))
        if selector and service.get("spec.type") != "ExternalName":
            for workload in facts.workloads:
                if workload.object.namespace == service.namespace:
                    yield from _misses(service, selector, workload)
                    yield from wrong_port(service, selector, workload)


def _misses(service: Object, selector: dict[str, Any], workload: Workload) -> Iterator[Finding]:
    # proved because: the service has no endpoints, this workload's ready pods have all of its
    # labels but one, that one differs by an edit or two (or the rollout changed it), and the
    # service has the workload's name. Else a workload that the capsule lacks may be meant.
    pods = within(workload.facts, "Pod", service.namespace)
    labels = mapping(workload.get("metadata.labels"))
    if not workload.pods or any(selects(selector, mapping(p.get("metadata.labels"))) for p in pods):
        return
    wrong = [key for key, value in selector.items() if labels.get(key) != value]
    if len(wrong) != 1 or not text(labels.get(wrong[0])):
        return
    key, asked, has = wrong[0], text(selector[wrong[0]]), text(labels[wrong[0]])
    was = workload.was(child("metadata.labels", key))
    renamed = was is not None and was.value == asked
    if not renamed and nearest(asked, {has}) != has:
        return
    meant = renamed or service.name == workload.object.name
    empty = _empty(workload.facts, service)
    field = child("spec.selector", key)
    yield finding(
        "selectors.no-pods",
        PROVED if meant and empty and workload.ready else HINT,
        f"Service {service.name} selects no pod: {one_line(key)}={one_line(asked)}",
        f"{service} selects {one_line(key)}={one_line(asked)}; the pods of {workload} have "
        f"{one_line(has)}, and no pod has what it selects.",
        [
            service.cite(field),
            workload.cite(child("metadata.labels", key)),
            was.evidence if was else None,
            empty,
        ],
        rules_out=("probes",),
        actions=[restore(f"Select {has}.", f"{service} has ready endpoints.")],
        changes=[change(service, field, asked, has)],
    )


def _empty(facts: Around, service: Object) -> Evidence | None:
    """Cite the service's endpoints, if the capsule has them and they are none."""
    label = child("metadata.labels", "kubernetes.io/service-name")
    space = service.namespace
    slices = [s for s in within(facts, "EndpointSlice", space) if s.get(label) == service.name]
    slices += [e for e in within(facts, "Endpoints", space) if e.name == service.name]
    if not slices or any(s.get("endpoints") or s.get("subsets") for s in slices):
        return None
    return slices[0].cite("metadata.name")
