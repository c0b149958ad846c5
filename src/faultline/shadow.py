"""Our proposal beside what people did instead: the same object, the same field, the same value?

Pure, over the proposal and the manifests as they are now. People may have fixed a fault before they
read our branch, or there is no branch because nothing may be written: both are scored alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultline import changes, documents, fields, splice
from faultline.errors import FaultlineError
from faultline.fixes import Compared
from faultline.model import Change, Proposal
from faultline.redact import redact

SCORES = {"same_value": 1.0, "same_field": 0.5, "same_object": 0.25}


def compare(proposal: Proposal, files: Mapping[str, bytes]) -> tuple[Compared, ...]:
    """Compare each proposed change with the manifests; empty if people changed none of it.

    Values that may hold a secret are not repeated, only judged.
    """
    found = tuple(_compared(change, proposal, files) for change in proposal.accepted)
    return found if any(item.same_object for item in found) else ()


def score(compared: tuple[Compared, ...]) -> float:
    """Return the mean of 1 for the same value, 0.5 for the field, 0.25 for the object, else 0."""
    points = [max((p for n, p in SCORES.items() if getattr(c, n)), default=0.0) for c in compared]
    return round(sum(points) / len(points), 2) if points else 0.0


def _compared(change: Change, proposal: Proposal, files: Mapping[str, bytes]) -> Compared:
    theirs = _stands(files, change)
    same_value = _same(theirs, change.after)
    moved = theirs is not fields.MISSING and not _same(theirs, change.before)
    same_field = same_value or moved
    return Compared(
        target=change.target,
        field=change.field,
        before=change.before,
        ours=change.after,
        theirs=change.after if same_value else _shown(change, theirs),
        same_object=same_field or _touched(change, proposal, files),
        same_field=same_field,
        same_value=same_value,
    )


def _stands(files: Mapping[str, bytes], change: Change) -> Any:
    """Return what the manifests say now; MISSING if nothing, or if the object is not found."""
    try:
        return splice.current(files, change)
    except FaultlineError:
        return fields.MISSING


def _same(left: Any, right: Any) -> bool:
    """Compare two values; quantities by how much they are, so that 1Gi is 1024Mi."""
    if left is fields.MISSING or left is None:
        return right is None
    amounts = changes.amount(left), changes.amount(right)
    if None not in amounts:
        return amounts[0] == amounts[1]
    return splice.same(left, right)


def _shown(change: Change, value: Any) -> Any:
    if value is fields.MISSING or change.field.endswith(".value"):
        return None
    return redact(value) if isinstance(value, str) else value


def _touched(change: Change, proposal: Proposal, files: Mapping[str, bytes]) -> bool:
    """Say whether the object that we would have changed is another than before."""
    for file in proposal.files:
        before, now = _objects(file.before.encode(), change), _objects(files.get(file.path), change)
        if before and not splice.same(before, now):
            return True
    return False


def _objects(content: bytes | None, change: Change) -> list[Any]:
    try:
        read = documents.read(content) if content is not None else []
    except FaultlineError:
        return []
    return [found.value for found in documents.find(read, change.target)]
