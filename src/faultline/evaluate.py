"""How good is an engine? Put every case of a folder to it, and compare with the truth beside each.

Right: it named the cause. Abstained: it claimed none, which is right where nothing is wrong. Wrong:
it claimed another. Cases are `cases.py`'s, asking is `asking.py`'s; `docs/evaluate.md` explains the
table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from faultline.asking import Answer
from faultline.capsule import Capsule
from faultline.cases import TRUTH, capsule_of
from faultline.errors import FaultlineError, Rejected
from faultline.model import Certainty, Confidence, Diagnosis

Ask = Callable[[str, Capsule], Answer]  # (name of the case, its capsule)
Progress = Callable[[int, int, str], None]  # done, of how many, the case that is next


class Mark(StrEnum):
    """What an answer is worth."""

    RIGHT = "right"
    ABSTAINED = "abstained"
    WRONG = "wrong"


@dataclass(frozen=True)
class Scored:
    """One case with its mark."""

    case: str
    kind: str  # family of the cause, or healthy
    mark: Mark
    expected: str
    got: str
    same_change: bool | None = None  # is the proposed change the true one? None: nothing to compare
    tokens: int = 0
    cost_usd: float = 0.0


def cases(folder: Path) -> list[Path]:
    """Return the folders of cases: those below with a truth.json, or the folder itself.

    Raises Rejected if there are none.
    """
    found = sorted(path.parent for path in folder.glob(f"*/{TRUTH}"))
    if not found and (folder / TRUTH).is_file():
        found = [folder]
    if not found:
        raise Rejected(f"expected cases, folders with a {TRUTH}, below {folder}; found none")
    return found


def evaluate(folders: Sequence[Path], ask: Ask, progress: Progress) -> Iterator[Scored]:
    """Yield each case with its mark. Raises Rejected for a case that cannot be read."""
    for number, folder in enumerate(folders):
        progress(number, len(folders), folder.name)
        truth = read_truth(folder)
        try:
            answer = ask(folder.name, capsule_of(folder))
        except FaultlineError as error:
            raise Rejected(f"case {folder.name}: {error}") from None
        yield score(folder.name, truth, answer)
    progress(len(folders), len(folders), "")


def read_truth(folder: Path) -> dict[str, Any]:
    try:
        truth = json.loads((folder / TRUTH).read_bytes())
    except (OSError, ValueError):
        truth = None
    if not isinstance(truth, dict) or not (
        _healthy(truth) or truth.get("family") or "field" in truth
    ):
        raise Rejected(f"expected healthy, a family or a field in {folder.name}/{TRUTH}")
    return truth


def score(case: str, truth: dict[str, Any], answer: Answer) -> Scored:
    """Compare an answer with the truth."""
    claim = answer.diagnosis if claims(answer.diagnosis) else None
    return Scored(
        case=case,
        kind=_kind(truth),
        mark=_mark(truth, claim, answer.condition),
        expected=expected(truth),
        got=(answer.condition or claim.title) if claim else "",
        same_change=_same_change(truth, claim) if claim and "field" in truth else None,
        tokens=answer.tokens,
        cost_usd=answer.cost_usd,
    )


def claims(diagnosis: Diagnosis | None) -> bool:
    """Say whether a diagnosis claims a cause: proved, or of an agent that is more than unsure."""
    if diagnosis is None:
        return False
    if diagnosis.certainty is not None:
        return diagnosis.certainty is Certainty.PROVED
    return diagnosis.confidence is not Confidence.LOW


def expected(truth: dict[str, Any]) -> str:
    """Return the analyzer that would prove it, such as memory.limit-exceeded."""
    if _healthy(truth):
        return "nothing"
    family, condition = str(truth.get("family", "")), str(truth.get("condition", ""))
    return condition if "." in condition or not family else f"{family}.{condition}"


def _kind(truth: dict[str, Any]) -> str:
    return "healthy" if _healthy(truth) else expected(truth).split(".")[0] or "other"


def _healthy(truth: dict[str, Any]) -> bool:
    return truth.get("healthy") is True


def _mark(truth: dict[str, Any], claim: Diagnosis | None, condition: str) -> Mark:
    if claim is None:
        return Mark.RIGHT if _healthy(truth) else Mark.ABSTAINED
    if _healthy(truth):
        return Mark.WRONG
    if condition and expected(truth):
        return Mark.RIGHT if condition == expected(truth) else Mark.WRONG
    named = "field" in truth and _same_change(truth, claim)
    return Mark.RIGHT if named or _says(truth, claim) else Mark.WRONG


def _says(truth: dict[str, Any], claim: Diagnosis) -> bool:
    """Say whether an agent's text holds every word that the truth wants to see in it."""
    words = truth.get("root_cause") or ()
    text = f"{claim.title}\n{claim.summary}\n{claim.root_cause}".lower()
    return bool(words) and all(str(word).lower() in text for word in words)


def _same_change(truth: dict[str, Any], claim: Diagnosis) -> bool:
    """Say whether the changes are those of the truth, all of them and no others."""
    wanted = truth.get("changes") or [truth]
    return len(wanted) == len(claim.changes) and all(
        any(_is(change.model_dump(), one) for change in claim.changes) for one in wanted
    )


def _is(change: dict[str, Any], wanted: dict[str, Any]) -> bool:
    place = all(change["target"].get(k) == v for k, v in (wanted.get("target") or {}).items())
    values = [wanted.get("after"), *(wanted.get("accepted") or ())]
    return place and change["field"] == wanted["field"] and change["after"] in values


# the report


def table(scored: Sequence[Scored]) -> list[tuple[str, int, int, int, int]]:
    """Return (kind, cases, right, abstained, wrong), one row per kind and one for all."""
    kinds = sorted({one.kind for one in scored})
    rows = [_row(kind, [one for one in scored if one.kind == kind]) for kind in kinds]
    return [*rows, _row("all", scored)]


def _row(name: str, scored: Sequence[Scored]) -> tuple[str, int, int, int, int]:
    counted = [sum(one.mark is mark for one in scored) for mark in Mark]
    return name, len(scored), counted[0], counted[1], counted[2]


def as_json(engine: str, scored: Sequence[Scored]) -> dict[str, Any]:
    """Return the report for machines."""
    names = ("cases", "right", "abstained", "wrong")
    rows = table(scored)
    return {
        "engine": engine,
        "all": dict(zip(names, rows[-1][1:], strict=True)),
        "kinds": {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows[:-1]},
        "cases": [asdict(one) for one in scored],
    }
