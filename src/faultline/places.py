"""Which one text decides a field of a deployed object: its file, a patch, or a transformer.

The text with the last word on the field is the place, unless other deployments share it, or
something that we do not render may change it afterwards. The object is found by `deployed.py`; the
bytes are `splice.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faultline import fields, merging, overlays
from faultline.deployed import Deployed
from faultline.documents import Object
from faultline.errors import Rejected
from faultline.fields import Path
from faultline.kustomize import Rendered, Repository, Said
from faultline.overlays import Text

_REFERENCES = frozenset(
    ["configMapKeyRef", "secretKeyRef", "configMapRef", "secretRef", "configMap", "secret"]
)


@dataclass(frozen=True)
class Place:
    """One field in one text: `at` starts at `object`, `wanted` is what should be said there."""

    text: Text
    object: Object
    at: Path
    wanted: Any


def decide(repository: Repository, found: Deployed, path: Path, wanted: Any) -> Place:
    """Return the place that has the last word on a field. Raises Rejected if there is none."""
    _refuse_templates(found.item.text.file, found.item.object)
    path = fields.named(found.item.value, path)  # patches may have put items in another order
    place = _last_word(found.item, path, wanted)
    _refuse_templates(place.text.file, place.object)
    if found.root is None:
        return place
    _refuse_features(repository, found.root)
    _refuse_references(repository, found.root, path, wanted)
    others = _sharing(repository, found.root, place.text.file)
    return _own(repository, found, place, others) if others else place


def _own(repository: Repository, found: Deployed, place: Place, others: list[str]) -> Place:
    """Return the patch of this deployment alone that can take the field. Raises Rejected.

    Only where the object's own file says it so far: what another patch says may not be in vain.
    """
    root = found.root or ""
    for said in reversed(found.item.said if place.text == found.item.text else ()):
        takes_it = said.how == "merge" and _has_items(said.object.value, place.at)
        if takes_it and not _sharing(repository, root, said.text.file):
            return Place(said.text, said.object, place.at, place.wanted)
    names = ", ".join(name or "." for name in sorted([root, *others]))
    raise Rejected(
        f"expected a file of one deployment, but {place.text.file} is shared by {names}; "
        f"a patch of this object in {root or '.'} would be changed instead"
    )


def _has_items(value: Any, path: Path) -> bool:
    """Say whether a patch has every item of a list that a path goes through."""
    return all(
        fields.get(value, path[: depth + 1]) is not fields.MISSING
        for depth, step in enumerate(path)
        if not isinstance(step, str) and path[depth - 1] not in fields.GROWING
    )


# the last word


def _last_word(item: Rendered, path: Path, wanted: Any) -> Place:
    for said in reversed(item.said):
        at, wanted = _at(said, path, wanted)
        if at is not None:
            return Place(said.text, said.object, at, wanted)
    return Place(item.text, item.object, path, wanted)


def _at(said: Said, path: Path, wanted: Any) -> tuple[Path | None, Any]:
    """Return where a text sets a field, and the value as it says it; None if it does not."""
    if said.how == "merge":
        sets = fields.get(said.object.value, path) is not fields.MISSING
        return (path if sets else None), wanted
    if said.how == "json":
        return _operation(said, path), wanted
    if said.how == "replicas":
        scales = path == ("spec", "replicas")
        return (("replicas", said.entry, "count") if scales else None), wanted
    return _image(said, path, wanted)


def _image(said: Said, path: Path, wanted: Any) -> tuple[Path | None, Any]:
    entry = said.object.value["images"][said.entry]
    image = fields.get(said.before, path) if path[-1] == "image" else None
    if not isinstance(image, str) or merging.repository_of(image) != str(entry.get("name")):
        return None, wanted
    name = merging.repository_of(str(wanted))
    if wanted is not None and name != str(entry.get("newName") or entry.get("name")):
        raise Rejected(f"expected another tag of the same image for {said.text.file}, got {wanted}")
    tag, digest = merging.tag_of(str(wanted)), str(wanted).partition("@")[2]
    if not entry.get("digest") and entry.get("newTag") is None:  # another name only
        return None, str(entry["name"]) + str(wanted)[len(name) :]
    key, value = ("digest", digest) if entry.get("digest") else ("newTag", tag)
    if not value:
        raise Rejected(f"expected a {key} for the image in {said.text.file}, got {wanted}")
    return ("images", said.entry, key), value


def _operation(said: Said, path: Path) -> Path | None:
    """Return where in a list of operations the last one stands that sets a field."""
    value, found = said.before, None
    for number, operation in enumerate(said.object.value):
        tokens = _tokens(value, merging.pointer(str(operation.get("path", ""))))
        value = merging.operated(value, operation)
        counted = fields.counted(value, path)
        sets = operation.get("op") in ("add", "replace") and counted[: len(tokens)] == tokens
        rest = path[len(tokens) :]
        if sets and (not rest or fields.get(operation.get("value"), rest) is not fields.MISSING):
            found = (number, "value", *rest)
    return found


def _tokens(value: Any, pointer: tuple[str, ...]) -> Path:
    """Return a JSON pointer as a path, numbers where lists are."""
    made: list[fields.Step] = []
    for part in pointer:
        if isinstance(value, list):
            step: str | int = len(value) if part == "-" else int(part)
            value = value[step] if isinstance(step, int) and step < len(value) else None
        else:
            step = part
            value = value.get(part) if isinstance(value, dict) else None
        made.append(step)
    return tuple(made)


# what is refused


def _refuse_templates(file: str, found: Object) -> None:
    if "{{" in found.source:
        raise Rejected(f"expected a plain manifest, but {found.name} in {file} is a template")
    root = found.document.value
    if "sops" in found.value or (isinstance(root, dict) and "sops" in root):
        raise Rejected(f"expected a readable manifest, but {file} is encrypted")


def _refuse_features(repository: Repository, root: str) -> None:
    for overlay in repository.within(root):
        if overlay.rewriting:
            raise Rejected(
                f"expected a kustomization that we can render, but {overlay.file} "
                f"has {', '.join(overlay.rewriting)}"
            )
        if overlay.missing:
            raise Rejected(
                f"expected the patch {overlay.missing[0]} of {overlay.file}, found no such manifest"
            )


def _refuse_references(repository: Repository, root: str, path: Path, wanted: Any) -> None:
    """Refuse names of ConfigMaps and Secrets where kustomize would write other names."""
    refers = _REFERENCES & {step for step in path if isinstance(step, str)}
    if not refers or path[-1] not in ("name", "secretName"):
        return
    for overlay in repository.within(root):
        if affix := overlay.said("namePrefix") or overlay.said("nameSuffix"):
            raise Rejected(f"expected a name as it is written, but {overlay.file} adds {affix}")
        for name in overlay.generated:
            if str(wanted).startswith(name):
                raise Rejected(
                    f"expected a name as it is written, but {overlay.file} generates {name} "
                    "and adds a hash to its name"
                )


def _sharing(repository: Repository, root: str, file: str) -> list[str]:
    """Return the other deployments that take in a file."""
    found = repository.overlays
    mine = overlays.reach(root, found)
    sharing = {
        d
        for d in found.keys() - mine
        if (reached := overlays.reach(d, found)) and file in reached and root not in reached
    }
    inner = {base for d in sharing for base in found[d].takes}
    return sorted(sharing - inner)
