"""Environment variables that a program asks for and that nobody sets any more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from faultline.diagnosis.commands import first
from faultline.diagnosis.documents import child, item, items, mapping, text
from faultline.diagnosis.facts import Object, Part
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import becomes_ready, finding, proved_if, redacted, restore
from faultline.model import Change, Finding

_MILD = re.compile(r"(?i)\b(?:warn(?:ing)?|info|debug|default(?:s|ing)?|using)\b")
_NAME = r"[\"'`$]*(?P<{}>[A-Z][A-Z0-9_]{{2,80}})[\"'`]*"
_NO_VARIABLE = re.compile(
    rf"KeyError: {_NAME.format('a')}"
    rf"|[Ee]nv(?:ironment)?(?: variable)?s?:? {_NAME.format('b')} "
    r"(?:is |was |must be )?(?:not set|not found|not defined|missing|required|unset|empty|set)"
    rf"|(?i:missing|required|undefined|unset) (?i:required )?(?i:env(?:ironment)?"
    rf"(?: variables?)?):? {_NAME.format('c')}"
    rf"|{_NAME.format('d')}:? (?:environment variable )?(?:is |was |must be )?"
    r"(?:not set|required|unset|undefined|set\b|parameter not set|unbound variable)"
)


def no_variable(part: Part) -> Iterator[Finding]:
    """Say which variable the program misses, where its log names one that is not set."""
    found = part.logs(_NO_VARIABLE)
    name = first(found[0]) if found else ""
    set_now = [text(e.get("name")) for e in items(part.get("env"))]
    if not found or not part.ended or name in set_now or _MILD.search(found[0].string):
        return
    # proved because: the program says it lacks the variable, the object does not set it, and either
    # the revision before did, or it sets one whose name differs by an edit or two.
    before, field = part.workload.before, item("env", "name", name)
    old = mapping(before.get(f"spec.template.{part.path}.{field}")) if before else {}
    near = nearest(name, set_now)
    if near and before and before.get(f"spec.template.{part.path}.{item('env', 'name', near)}"):
        near = ""  # it ran with that name before
    typo = child(item("env", "name", near), "name")
    by = f" Revision {before.revision} set it." if old and before else ""
    by += f" It sets {near} instead." if near else ""
    yield finding(
        "crash_loop.variable-missing",
        proved_if(old or near),
        f"{part.name} misses the environment variable {name}",
        f"{part} ends because the environment variable {name} is not set.{by}",
        [
            found[1],
            before.cite(f"spec.template.{part.path}.{field}") if before else None,
            part.cite(typo) if near else None,
            part.ended[0].cite("exitCode"),
        ],
        rules_out=("probes",),
        actions=[restore(f"Set {name} again.", becomes_ready(part.workload))],
        changes=_renamed(part, typo, name) if near else _again(part, field, old, before),
    )


def _renamed(part: Part, typo: str, name: str) -> list[Change]:
    return [part.change(typo, name, "the name that the program reads")]


def _again(part: Part, field: str, old: dict[str, Any], before: Object | None) -> list[Change]:
    """Set what the revision before set, by value or reference; never what was redacted."""
    why = f"as in revision {before.revision}" if before else ""
    if "value" in old and not redacted(text(old["value"])):
        return [part.change(f"{field}.value", old["value"], why)]
    source = mapping(old.get("valueFrom"))
    references = [(kind, mapping(source.get(kind))) for kind in ("configMapKeyRef", "secretKeyRef")]
    return [
        part.change(f"{field}.valueFrom.{kind}.{key}", ref[key], why)
        for kind, ref in references
        for key in ("name", "key")
        if text(ref.get(key))
    ]
