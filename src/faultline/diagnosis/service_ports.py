"""Services that send to a named port which no container of their pods has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faultline.diagnosis.documents import items, mapping, text
from faultline.diagnosis.facts import Object, Workload
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import HINT, PROVED, finding, one_line, restore
from faultline.model import Change, Evidence, Finding


def selects(selector: dict[str, Any], labels: dict[str, Any]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def wrong_port(service: Object, selector: dict[str, Any], workload: Workload) -> Iterator[Finding]:
    # proved because: the service asks for a port by name, and no container of the pods it selects
    # has a port of that name.
    if not selects(selector, mapping(workload.get("metadata.labels"))):
        return
    names = {text(p.get("name")) for c in workload.parts for p in items(c.get("ports"))} - {""}
    for index, port in enumerate(items(service.get("spec.ports"))):
        target = port.get("targetPort")
        if not isinstance(target, str) or target.isdigit() or target in names:
            continue
        field = f"spec.ports[{index}].targetPort"
        better = nearest(target, names)
        declared: Evidence | None = next(
            (c.cite("ports") for c in workload.parts if c.get("ports")), None
        )
        yield finding(
            "selectors.no-port",
            PROVED if workload.ready else HINT,
            f"Service {service.name} asks for the port {one_line(target)}, which no pod has",
            f"{service} sends to the port named {one_line(target)}; the containers of "
            f"{workload} name {', '.join(sorted(names)) or 'no port'}.",
            [service.cite(field), declared],
            actions=[
                restore(f"Send to {better or 'a port that exists'}.", f"{service} has endpoints.")
            ],
            changes=[change(service, field, target, better)] if better else (),
        )


def change(service: Object, field: str, before: Any, after: str | int) -> Change:
    return Change(
        target=service.target, field=field, before=before, after=after, reason="what the pods have"
    )
