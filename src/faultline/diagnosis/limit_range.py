"""Limits and requests outside of what a namespace allows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.facts import Part, Workload
from faultline.diagnosis.quantities import quantity
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import PROVED, becomes_ready, finding, restore
from faultline.model import Finding

_RANGE = re.compile(
    r"(?P<which>maximum|minimum) (?P<resource>[\w.-]+) usage per (?P<per>Container|Pod) is "
    r"(?P<bound>[\w.]+), but (?P<kind>limit|request) is (?P<value>[\w.]+)"
)


def out_of_range(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the API server refuses the pod, and a container has exactly the refused value.
    if not (match := _RANGE.search(said.message)) or match["per"] != "Container":
        return
    field = f"resources.{match['kind']}s.{match['resource']}"
    value, bound = quantity(match["value"]), match["bound"]
    guilty: list[Part] = [p for p in workload.parts if quantity(p.get(field)) == value]
    for part in guilty[:1]:
        was = part.was(field)
        after = was.value if was and _allowed(was.value, bound, match["which"]) else bound
        yield finding(
            "quota.limit-range",
            PROVED,
            f"{part.name} asks for a {match['resource']} {match['kind']} that is not allowed",
            f"{part} has a {match['resource']} {match['kind']} of {part.get(field)}; the "
            f"{match['which']} in this namespace is {bound}, so its pods are refused.",
            [said.cite(), part.cite(field), was.evidence if was else None],
            actions=[restore(f"Set {field} to {after}.", becomes_ready(workload))],
            changes=[part.change(field, after, "within the limit range")],
        )


def _allowed(value: object, bound: str, which: str) -> bool:
    size, edge = quantity(value), quantity(bound)
    if size is None or edge is None:
        return False
    return size <= edge if which == "maximum" else size >= edge
