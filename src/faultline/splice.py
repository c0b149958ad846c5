"""Change one field of one deployed object in the bytes of its file, and nothing else.

Comments, quotes, anchors, line ends, order and other documents stay as people wrote them. Both
versions are parsed and rendered, and their difference must be exactly the change. Whether the
field may change is `changes.py`; where it is said is `places.py`; the characters are `edits.py`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from faultline import deployed, documents, edits, fields, kustomize, places
from faultline.deployed import Deployed, Hints
from faultline.documents import Document
from faultline.edits import Scalar
from faultline.errors import Rejected
from faultline.fields import Path
from faultline.kustomize import Rendered, Repository
from faultline.limits import MIB
from faultline.model import Change, Target
from faultline.places import Place

rendered_bytes_max = 4 * MIB  # of the files of one kustomization


def apply(
    files: Mapping[str, bytes],
    change: Change,
    *,
    within: Collection[str] | None = None,
    hints: Hints | None = None,
) -> Mapping[str, bytes]:
    """Return the files that differ once the field has its new value: one, or none.

    `within`: the files that may change; None: all. Raises Rejected if there is not exactly one
    place that decides the field, or if it cannot be changed there without touching anything else.
    """
    after = change.after
    if not isinstance(after, Scalar):
        raise Rejected(f"expected a single new value for {change.field}, got {after!r:.80}")
    repository, path = Repository.of(files), fields.parse(change.field)
    found = deployed.find(repository, change.target, within, hints)
    if same(fields.get(found.item.value, path), after):
        return {}
    place = places.decide(repository, found, path, after)
    file = place.text.file
    if within is not None and file not in within:
        raise Rejected(f"expected a file that may change, but the field is set in {file}")
    changed = _edited(files, place)
    _judge(repository, found, place, {**files, file: changed}, path, after)
    return {file: changed}


def locate(files: Mapping[str, bytes], target: Target) -> list[str]:
    """Return the files that hold an object, for messages."""
    return deployed.holding(Repository.of(files), target)


def current(
    files: Mapping[str, bytes],
    change: Change,
    *,
    within: Collection[str] | None = None,
    hints: Hints | None = None,
) -> Any:
    """Return what the files deploy in the field now; MISSING if nothing. Raises Rejected."""
    found = deployed.find(Repository.of(files), change.target, within, hints)
    return fields.get(found.item.value, fields.parse(change.field))


def same(left: Any, right: Any) -> bool:
    """Compare two parsed values; 1, 1.0, true and "1" all differ, and the order of keys counts."""
    return repr(left) == repr(right)


def _edited(files: Mapping[str, bytes], place: Place) -> bytes:
    """Return a file's bytes with the new value. Raises Rejected if anything else would change."""
    text = place.text
    content = place.object.document.text
    edit = edits.edit(place.object, place.at, place.wanted)
    new = edit.applied(content)
    _check(documents.read(text.content), documents.read(new.encode()), place)
    if not text.block:
        return new.encode()
    whole = documents.read(files[text.file])
    outer = edits.in_block(whole[0], text.block, edit)
    made = outer.applied(whole[0].text).encode()
    expected = fields.replaced(whole[0].value, text.block, new)
    if not same([expected], [document.value for document in documents.read(made)]):
        raise Rejected(f"expected only the patch {fields.text(text.block)} to change")
    return made


def _check(before: list[Document], after: list[Document], place: Place) -> None:
    """Raise Rejected unless two versions differ in this field and nowhere else."""
    number, path = place.object.number, (*place.object.inside, *place.at)
    expected = [document.value for document in before]
    expected[number] = fields.replaced(expected[number], path, place.wanted)
    if not same(expected, [document.value for document in after]):
        where = f"{fields.text(place.at)} to change in {place.text.file}"
        raise Rejected(f"expected only {where}, more would change")


def _judge(
    repository: Repository,
    found: Deployed,
    place: Place,
    files: Mapping[str, bytes],
    path: Path,
    after: Any,
) -> None:
    """Render both versions. Raises Rejected unless this field of this object is all that differs.

    Where the object's own file is changed, other files cannot differ and are not rendered.
    """
    if found.root is None:
        return
    own = not found.item.said or place.text == found.item.text
    before = _rendered(repository, found.root, place if own else None)
    now = _rendered(Repository.of(files), found.root, place if own else None)
    expected = _plain(fields.replaced(found.item.value, path, after))
    values = [_plain(item.value) for item in before]
    mine = _plain(found.item.value)
    if values.count(mine) == 1:
        values[values.index(mine)] = expected
    if values != [_plain(item.value) for item in now]:
        raise Rejected(
            f"expected only {fields.text(path)} of {found.item.object.name} to change in what "
            f"{found.where} renders to, but a change in {place.text.file} does more, or nothing"
        )


def _rendered(repository: Repository, root: str, only: Place | None) -> list[Rendered]:
    if only is not None:
        return kustomize.render(repository, root, lambda file, _: file == only.text.file)
    reached = repository.within(root)
    taken = {name for overlay in reached for name in overlay.takes}
    if sum(len(repository.files.get(name, b"")) for name in taken) > rendered_bytes_max:
        raise Rejected(f"expected at most {rendered_bytes_max} bytes to render in {root}")
    return kustomize.render(repository, root)


def _plain(value: Any) -> Any:
    """Return a value as text in which the order of keys does not show, and types do."""
    if isinstance(value, dict):
        return sorted((repr(key), _plain(inner)) for key, inner in value.items())
    return [_plain(item) for item in value] if isinstance(value, list) else repr(value)
