"""Change one field of one object in the bytes of its file, and nothing else.

Comments, quotes, anchors, line ends, order and other documents stay as people wrote them. Both
versions are parsed, and their difference must be exactly the change. Whether the field may change
is `changes.py`; where it is said is `kustomize.py`; what is read at all is `documents.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultline import documents, edits, fields, kustomize
from faultline.edits import Scalar
from faultline.errors import Rejected
from faultline.fields import Match
from faultline.kustomize import Place
from faultline.model import Change, Target


def apply(files: Mapping[str, bytes], change: Change) -> Mapping[str, bytes]:
    """Return the files that differ once the field has its new value: one, or none.

    Raises Rejected if there is not exactly one place that decides the field, or if it cannot be
    changed there without touching anything else.
    """
    after = change.after
    if not isinstance(after, Scalar):
        raise Rejected(f"expected a single new value for {change.field}, got {after!r:.80}")
    found = kustomize.place(files, change.target, fields.parse(change.field))
    wanted = _wanted(found, after)
    if same(fields.get(found.object.value, found.at), wanted):
        return {}
    text = found.object.document.text
    changed = edits.edit(found.object, found.at, wanted).applied(text).encode()
    _check(changed, found, wanted)
    return {found.file: changed}


def locate(files: Mapping[str, bytes], target: Target) -> list[str]:
    """Return the files that hold an object, for messages."""
    return kustomize.candidates(files, target)


def current(files: Mapping[str, bytes], change: Change) -> Any:
    """Return what the files say of the field now; MISSING if nothing. Raises Rejected."""
    found = kustomize.place(files, change.target, fields.parse(change.field))
    value = fields.get(found.object.value, found.at)
    if found.at[0] == "images" and isinstance(change.before, str):
        return f"{kustomize.repository_of(change.before)}:{value}"
    return value


def same(left: Any, right: Any) -> bool:
    """Compare two parsed values; 1, 1.0, true and "1" all differ, and the order of keys counts."""
    return repr(left) == repr(right)


def _wanted(found: Place, after: Scalar) -> Scalar:
    """Return the new value as this place says it: the images transformer knows tags only."""
    if found.at[0] != "images":
        return after
    name, image = found.at[1], str(after)
    tag = kustomize.tag_of(image)
    if not tag or not isinstance(name, Match) or kustomize.repository_of(image) != name.value:
        raise Rejected(f"expected another tag of the same image for {found.file}, got {image!r}")
    return tag


def _check(after: bytes, found: Place, wanted: Scalar) -> None:
    """Parse what was made. Raises Rejected unless it differs in this field and nowhere else."""
    old = [document.value for document in found.documents]
    new = [document.value for document in documents.read(after)]
    path = (*found.object.inside, *found.at)
    expected = list(old)
    expected[found.object.number] = fields.replaced(old[found.object.number], path, wanted)
    if not same(expected, new):
        raise Rejected(
            f"expected only {fields.text(found.at)} to change in {found.file}, more would change"
        )
