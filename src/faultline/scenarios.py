"""What can be shown: the recorded clusters in which something is wrong, and how each ends.

`demo.py` shows one. A scenario is a case of `docs/evaluate.md` with an alert and manifests; that
it ends with a pull request is what the patch policy says to the change of its truth.
"""

from __future__ import annotations

import difflib
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultline.changes import refusal
from faultline.errors import Rejected
from faultline.model import Change, PatchRules
from faultline.style import paint

EXAMPLES = Path(__file__).parents[2] / "examples/clusters"
ENDS = {True: "pull request", False: "issue"}


@dataclass(frozen=True)
class Scenario:
    """A fault that can be shown."""

    folder: Path  # of the recorded cluster
    family: str  # of the analyzers
    title: str  # what is wrong
    patched: bool  # it ends with a pull request; else with an issue that says why there is none

    @property
    def name(self) -> str:
        return self.folder.name


def scenarios() -> list[Scenario]:
    """Return what can be shown, by family."""
    truths = {path.parent: json.loads(path.read_bytes()) for path in EXAMPLES.glob("*/truth.json")}
    found = [_scenario(folder, said) for folder, said in truths.items() if "family" in said]
    return sorted(found, key=lambda one: (one.family, one.name))


def find(name: str) -> Scenario:
    """Return the scenario of that name. Raises Rejected if there is none."""
    found = {one.name: one for one in scenarios()}
    if not found:
        raise Rejected(f"the recorded clusters are not here ({EXAMPLES}): run it in a checkout")
    if name not in found:
        near = difflib.get_close_matches(name, found, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`list` names those there are"
        raise Rejected(f"expected a scenario, got {name!r}; {hint}")
    return found[name]


def overview() -> str:
    """Return the list of scenarios for people."""
    found = scenarios()
    lines = ["Each is a recorded cluster with one fault: make demo SCENARIO=<name>", ""]
    for family, several in itertools.groupby(found, key=lambda one: one.family):
        lines.append(paint(family, "bold", sys.stdout))
        lines += [f"  {one.name:<32}{ENDS[one.patched]:<14}{one.title}" for one in several]
    patched = sum(one.patched for one in found)
    lines += [
        "",
        f"{patched} end with a pull request, merged and verified; {len(found) - patched} with an "
        "issue that says",
        "why nothing is proposed: it is not proved, or not for Faultline to change.",
    ]
    return "\n".join(lines)


def _scenario(folder: Path, truth: dict[str, Any]) -> Scenario:
    return Scenario(folder, truth["family"], truth["title"], _may_be_proposed(truth))


def _may_be_proposed(truth: dict[str, Any]) -> bool:
    if "field" not in truth:
        return False
    known = {key: truth.get(key) for key in ("target", "field", "before", "after")}
    change = Change.model_validate(known)
    return not refusal(change, PatchRules(images=True), ran=[str(change.after)])
