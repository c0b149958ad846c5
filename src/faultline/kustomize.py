"""Where in a repository a field of an object is said: in a file, a kustomize patch, or a
transformer of a kustomization. Nothing is rendered and nothing is fetched.

A base that several overlays share is not changed for one of them. Helm charts, templates and
encrypted files are refused. The bytes are `splice.py`'s.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from faultline import documents, fields
from faultline.documents import Document, Object
from faultline.errors import Rejected
from faultline.fields import Match, Path
from faultline.model import Target

# `name: api` of an object: not that of an item of a list, and not the end of a longer key
_NAMED = rb"(?<![\w./-])(?<!-\s)name[\"']?\s*:\s*(?:&\S+\s+)?[\"']?%s[\"']?\s*(?:[#,}]|$)"
FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


@dataclass(frozen=True)
class Place:
    """One field in one file. `at` starts at `node`, which `inside` leads to from its document."""

    file: str
    documents: list[Document]
    object: Object
    at: Path


@dataclass(frozen=True)
class _Overlay:
    """A kustomization: what it takes in and what it says on top."""

    file: str
    document: Object
    namespace: str = ""
    bases: tuple[str, ...] = ()  # files and directories
    patches: tuple[str, ...] = ()  # files
    inline: tuple[str, ...] = ()  # texts of patches


@dataclass(frozen=True)
class _Repository:
    files: Mapping[str, bytes]
    overlays: dict[str, _Overlay] = field(default_factory=dict)  # by directory
    reach: dict[str, frozenset[str]] = field(
        default_factory=dict
    )  # outermost -> directories, files


def candidates(files: Mapping[str, bytes], target: Target) -> list[str]:
    """Return the files that hold the object, patches of it included, in order."""
    return [file for file, _, _ in _holding(_repository(files, target), target)]


def place(files: Mapping[str, bytes], target: Target, path: Path) -> Place:
    """Return the one place that decides this field. Raises Rejected for none and several."""
    repository = _repository(files, target)
    holding = [Place(file, read, found, path) for file, read, found in _holding(repository, target)]
    patches = {p for overlay in repository.overlays.values() for p in overlay.patches}
    setting = [p for p in holding if p.file in patches and _sets(p.object, path)]
    plain = [p for p in holding if p.file not in patches]
    chosen = _one(setting or plain, target, holding)
    _refuse_inline(repository, chosen, target, path)
    override = None if setting else _override(repository, chosen, path)
    _refuse_shared(repository, override or chosen)
    return override or chosen


def _one(found: list[Place], target: Target, holding: list[Place]) -> Place:
    name = f"{target.kind}/{target.name}" + (f" in {target.namespace}" if target.namespace else "")
    if len(found) == 1:
        return found[0]
    if found:
        where = ", ".join(p.file for p in found[:5])
        raise Rejected(f"expected one place for {name}, found {len(found)}: {where}")
    if holding:
        raise Rejected(f"expected a file with {name}, found only patches that do not set the field")
    raise Rejected(f"expected a file with {name}, found none")


def _repository(files: Mapping[str, bytes], target: Target) -> _Repository:
    overlays = {}
    for file in sorted(files):
        directory, name = posixpath.split(file)
        if name in FILE_NAMES:
            overlays[directory] = _overlay(file, directory, files[file])
    inner = {base for overlay in overlays.values() for base in overlay.bases}
    reach = {d: _reach(d, overlays) for d in overlays if d not in inner}
    return _Repository(files, overlays, reach)


def _overlay(file: str, directory: str, content: bytes) -> _Overlay:
    try:
        read = documents.read(content)
    except Rejected as error:
        raise Rejected(f"expected a kustomization in {file}: {error}") from None
    if len(read) != 1 or not isinstance(read[0].value, dict):
        raise Rejected(f"expected one kustomization in {file}, got {len(read)} documents")
    said = next(documents.objects(read))
    patches = [p for p in _list(said.value, "patches") if isinstance(p, dict)]
    merged = [str(p) for p in _list(said.value, "patchesStrategicMerge")]
    listed = [
        str(b) for key in ("resources", "bases", "components") for b in _list(said.value, key)
    ]
    paths = [str(p["path"]) for p in patches if "path" in p] + [m for m in merged if "\n" not in m]
    return _Overlay(
        file,
        said,
        str(said.value.get("namespace") or ""),
        tuple(posixpath.normpath(posixpath.join(directory, b)) for b in listed),
        tuple(posixpath.normpath(posixpath.join(directory, p)) for p in paths),
        tuple(str(p) for p in patches if "patch" in p) + tuple(m for m in merged if "\n" in m),
    )


def _list(value: dict[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else []


def _reach(directory: str, overlays: Mapping[str, _Overlay]) -> frozenset[str]:
    """Return the directories and files that a kustomization takes in, its own too."""
    reached: set[str] = set()
    waiting = [directory]
    while waiting:
        name = waiting.pop()
        if name not in reached and name in overlays:
            waiting.extend(overlays[name].bases)
            reached.update((overlays[name].file, *overlays[name].patches))
        reached.add(name)
    return frozenset(reached)


def _holding(
    repository: _Repository, target: Target
) -> Iterator[tuple[str, list[Document], Object]]:
    kind = re.compile(
        rb"\bkind[\"']?\s*:\s*(&\S+\s+)?[\"']?%s\b|\bkind[\"']?\s*:\s*\*" % _b(target.kind)
    )
    named = re.compile(_NAMED % _b(target.name) + rb"|\bname[\"']?\s*:\s*\*", re.M)
    for file in sorted(repository.files):
        content = repository.files[file]
        worth_reading = kind.search(content) and named.search(content)
        if posixpath.basename(file) in FILE_NAMES or not worth_reading:
            continue
        read = _read(repository.files, file, target)
        for found in documents.find(read, target):
            if _same_namespace(repository, file, found, target):
                _refuse_templates(file, found)
                yield file, read, found


def _read(files: Mapping[str, bytes], file: str, target: Target) -> list[Document]:
    """Read a file that mentions the target. Raises Rejected if it seems to hold it, unreadably."""
    content = files[file]
    reason = "it belongs to a Helm chart" if _in_chart(files, file) else ""
    try:
        read = documents.read(content)
    except Rejected as error:
        read = []
        reason = reason or ("it is a template" if b"{{" in content else str(error))
    if not reason:
        return read
    if re.search(_NAMED % _b(target.name), content, re.M):
        raise Rejected(f"expected a plain manifest of {target.name}, but {file}: {reason}")
    return []


def _b(text: str) -> bytes:
    return re.escape(text).encode()


def _in_chart(files: Mapping[str, bytes], file: str) -> bool:
    parts = file.split("/")[:-1]
    return any(
        posixpath.join(*parts[:depth], "Chart.yaml") in files for depth in range(len(parts) + 1)
    )


def _refuse_templates(file: str, found: Object) -> None:
    if "{{" in found.source:
        raise Rejected(f"expected a plain manifest, but {found.name} in {file} is a template")
    root = found.document.value
    if "sops" in found.value or (isinstance(root, dict) and "sops" in root):
        raise Rejected(f"expected a readable manifest, but {file} is encrypted")


def _same_namespace(repository: _Repository, file: str, found: Object, target: Target) -> bool:
    """Say whether an object can be the target; kustomize's namespace wins over its own."""
    if not target.namespace:
        return True
    said = {_namespace(repository, root, file) for root in _roots(repository, file)} - {""}
    effective = said or ({found.namespace} - {""})
    return not effective or target.namespace in effective


def _namespace(repository: _Repository, root: str, file: str) -> str:
    """Return the namespace that the outermost kustomization on the way to a file gives it."""
    directory, seen = root, set[str]()
    while directory not in seen:
        seen.add(directory)
        overlay = repository.overlays[directory]
        if overlay.namespace:
            return overlay.namespace
        inner = [base for base in overlay.bases if base in repository.overlays]
        directory = next(
            (base for base in inner if file in _reach(base, repository.overlays)), directory
        )
    return ""


def _roots(repository: _Repository, file: str) -> list[str]:
    return [root for root, reached in repository.reach.items() if file in reached]


def _sets(found: Object, path: Path) -> bool:
    return fields.get(found.value, path) is not fields.MISSING


def _refuse_shared(repository: _Repository, chosen: Place) -> None:
    roots = _roots(repository, chosen.file)
    if len(roots) > 1:
        raise Rejected(
            f"expected a file of one deployment, but {chosen.file} is shared by {', '.join(roots)}"
        )


def _refuse_inline(repository: _Repository, chosen: Place, target: Target, path: Path) -> None:
    last = path[-1] if isinstance(path[-1], str) else ""
    for root in _roots(repository, chosen.file):
        for directory in repository.reach[root] & repository.overlays.keys():
            for text in repository.overlays[directory].inline:
                if last in text and (target.name in text or target.kind in text):
                    raise Rejected(
                        f"expected {last} to be set in a file, but "
                        f"{repository.overlays[directory].file} has it in an inline patch"
                    )


def _override(repository: _Repository, chosen: Place, path: Path) -> Place | None:
    """Return the transformer (`images`, `replicas`) that has the last word on this field."""
    at = _transformer(chosen.object, path)
    if at is None:
        return None
    for root in _roots(repository, chosen.file):
        for directory in sorted(repository.reach[root] & repository.overlays.keys()):
            overlay = repository.overlays[directory]
            if _sets(overlay.document, at):
                return Place(overlay.file, [overlay.document.document], overlay.document, at)
    return None


def _transformer(found: Object, path: Path) -> Path | None:
    if path[-1] == "replicas":
        return ("replicas", Match("name", found.name), "count")
    image = fields.get(found.value, path) if path[-1] == "image" else None
    if not isinstance(image, str):
        return None
    return ("images", Match("name", repository_of(image)), "newTag")


def repository_of(image: str) -> str:
    """Return an image's name without tag and digest."""
    name = image.split("@", 1)[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def tag_of(image: str) -> str:
    """Return an image's tag; "" if it has none or a digest."""
    return "" if "@" in image else image[len(repository_of(image)) + 1 :]
