"""Change one field of one deployed object in the bytes of its file, and nothing else.

Comments, quotes, anchors, line ends, order and other documents stay as people wrote them. Both
versions are parsed and rendered, and their difference must be exactly the change. Whether the
field may change is `changes.py`; where it is said is `places.py`; the characters are `edits.py`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from faultline import charts, deployed, documents, edits, fields, kustomize, places
from faultline.charts import Installed, Render
from faultline.deployed import Deployed
from faultline.documents import Document
from faultline.edits import Scalar
from faultline.errors import Rejected
from faultline.fields import Path
from faultline.hints import Hints
from faultline.kustomize import Rendered, Repository
from faultline.limits import MIB
from faultline.model import Change, Target
from faultline.places import Place

rendered_bytes_max = 4 * MIB  # of the files of one kustomization


class Where(NamedTuple):
    """What is known beside the files: which may change, what delivers the object, what renders."""

    within: Collection[str] | None = None  # files that may change; None: all
    hints: Hints = Hints()
    render: Render | None = None  # of Helm charts; None: Helm is not installed
    known: Repository | None = None  # an earlier version, so that less is read again


class Made(NamedTuple):
    """The files that differ, and what was seen, in sentences."""

    files: Mapping[str, bytes]
    said: tuple[str, ...] = ()


def apply(
    files: Mapping[str, bytes], change: Change, where: Where | None = None
) -> Mapping[str, bytes]:
    """Return the files that differ once the field has its new value. As `make`, without words."""
    return make(files, change, where).files


def make(files: Mapping[str, bytes], change: Change, where: Where | None = None) -> Made:
    """Return the files that differ once the field has its new value: one, or none.

    Raises Rejected if there is not exactly one place that decides the field, or if it cannot be
    changed there without touching anything else.
    """
    where, after = where or Where(), change.after
    if not isinstance(after, Scalar):
        raise Rejected(f"expected a single new value for {change.field}, got {after!r:.80}")
    path, found = fields.parse(change.field), _find(files, change, where)
    if same(fields.get(_value(found), path), after):
        return Made({})
    if isinstance(found, Installed):
        made = _in_chart(found, change, where, after)
    else:
        made = _in_manifests(files, found, where, path, after)
    if hidden := [
        file for file in made.files if where.within is not None and file not in where.within
    ]:
        raise Rejected(f"expected a file that may change, but the field is set in {hidden[0]}")
    return made


def locate(files: Mapping[str, bytes], target: Target) -> list[str]:
    """Return the files that hold an object, for messages."""
    return deployed.holding(Repository.of(files), target)


def current(files: Mapping[str, bytes], change: Change, where: Where | None = None) -> Any:
    """Return what the files deploy in the field now; MISSING if nothing. Raises Rejected."""
    return fields.get(_value(_find(files, change, where or Where())), fields.parse(change.field))


def _find(files: Mapping[str, bytes], change: Change, where: Where) -> Deployed | Installed:
    """Return the object as plain manifests deploy it, or as a chart makes it. Raises Rejected."""
    target, hints = change.target, where.hints
    if hints.refusal:
        raise Rejected(hints.refusal)
    makers = charts.making(files, target.kind, hints.directories)
    if not _is_a_release(makers, hints):
        try:
            return deployed.find(Repository.of(files, where.known), target, where.within, hints)
        except Rejected as error:
            if not makers or _holds(files, target):
                raise
            reason = str(error)
    else:
        reason = f"expected a plain manifest of {target.name}, but {makers[0]} is a Helm chart"
    if where.render is None:
        path = fields.parse(change.field)
        more = charts.likely(files, target.kind, path, hints.directories)
        raise Rejected(f"{reason}; a Helm chart may make it, but helm is not installed here{more}")
    try:
        return charts.find(files, target, where.render, hints)
    except Rejected as error:
        raise Rejected(f"{reason}; {error}") from None


def _is_a_release(makers: Collection[str], hints: Hints) -> bool:
    """Say whether a chart of this repository is known to make the object."""
    if hints.directories:
        return any(directory in makers for directory in hints.directories)
    return bool(makers and hints.release)


def _holds(files: Mapping[str, bytes], target: Target) -> bool:
    try:
        return bool(locate(files, target))
    except Rejected:
        return False


def _value(found: Deployed | Installed) -> dict[str, Any]:
    return found.value if isinstance(found, Installed) else found.item.value


def _in_chart(found: Installed, change: Change, where: Where, after: Scalar) -> Made:
    if where.render is None:
        raise Rejected("expected helm, found none")
    path = fields.parse(change.field)
    files = charts.put(found, change.target, path, after, where.render)
    name = found.release.directory or "The chart"
    return Made(
        files, (f"{name}, rendered with helm before and after, differs in this field only.",)
    )


def _in_manifests(
    files: Mapping[str, bytes], found: Deployed, where: Where, path: Path, after: Scalar
) -> Made:
    repository = Repository.of(files, where.known)
    place = places.decide(repository, found, path, after)
    file = place.text.file
    changed = _edited(files, place)
    if found.root is None:
        return Made({file: changed})
    _judge(repository, found, place, {**files, file: changed}, path, after)
    root = found.root or "The kustomization"
    said = f"{root}, rendered before and after, differs in this field only"
    by = f"; {where.hints.by} delivers it" if where.hints.by else ""
    return Made({file: changed}, (f"{said}{by}.",))


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
    root, own = found.root or "", place.text == found.item.text
    before, now = (
        [item.value for item in _rendered(version, root, place if own else None)]
        for version in (repository, Repository.of(files, repository))
    )
    expected = fields.replaced(found.item.value, path, after)
    if not fields.differ_only(before, now, found.item.value, expected):
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
