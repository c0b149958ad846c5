"""What kustomizations say: what they take in, what they put on top, and who shares what.

Read strictly and never fetched: https://kubectl.docs.kubernetes.io/references/kustomize. What is
not understood is kept by name, so that a refusal can name it. `kustomize.py` renders.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from faultline import documents
from faultline.documents import Document, Object
from faultline.errors import Rejected
from faultline.fields import Path

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_REWRITING = ("configurations", "openapi", "replacements", "transformers", "vars")
_BRINGING = ("generators", "helmChartInflationGenerator", "helmCharts")
_TAKING = ("resources", "bases", "components")
_REMOTE = re.compile(r"://|^git@|[?&]ref=|^[\w-]+(\.[\w-]+)+/[\w./-]+//")


@dataclass(frozen=True)
class Text:
    """A YAML text that people wrote: a file, or a block of text at `block` inside of one."""

    file: str
    content: bytes
    block: Path = ()


@dataclass(frozen=True)
class Patch:
    """One patch that a kustomization makes: the text, and which objects it is for."""

    text: Text
    target: dict[str, Any] | None = None  # a selector; None: the text names its object


@dataclass(frozen=True)
class Overlay:
    """A kustomization: what it takes in and what it says on top."""

    file: str
    documents: list[Document]
    document: Object
    takes: tuple[str, ...] = ()  # files and directories, normalized
    remote: tuple[str, ...] = ()  # what is not in this repository
    patches: tuple[Patch, ...] = ()
    missing: tuple[str, ...] = ()  # files of patches that are not there
    rewriting: tuple[str, ...] = ()  # features that change objects in ways we do not render
    bringing: tuple[str, ...] = ()  # features that bring objects we do not see
    unread: str = ""  # why it cannot be read

    def said(self, key: str) -> str:
        """Return what a text such as `namespace` is set to; "" if it is not."""
        found = self.document.value.get(key)
        return found if isinstance(found, str) else ""

    def listed(self, key: str) -> list[dict[str, Any]]:
        """Return the mappings in a list such as `images`."""
        return [entry for entry in _list(self.document.value, key) if isinstance(entry, dict)]

    def mapping(self, key: str) -> dict[str, Any]:
        found = self.document.value.get(key)
        return found if isinstance(found, dict) else {}

    @property
    def component(self) -> bool:
        return self.document.kind == "Component"

    @property
    def generated(self) -> frozenset[str]:
        """Return the names of ConfigMaps and Secrets that get a hash behind their name."""
        kinds = ("configMapGenerator", "secretGenerator")
        return frozenset(str(entry.get("name")) for kind in kinds for entry in self.listed(kind))


def read_all(
    files: Mapping[str, bytes], known: Mapping[str, Overlay], before: Mapping[str, bytes]
) -> dict[str, Overlay]:
    """Return the kustomizations of a repository by directory.

    `known` are those of the files `before`: what did not change is not read again.
    """
    found = {}
    for file in sorted(files):
        directory, name = posixpath.split(file)
        if name not in FILE_NAMES or _is_flux(files[file]):
            continue
        old = known.get(directory)
        same = old is not None and all(files.get(f) is before.get(f) for f in _parts(old))
        found[directory] = old if old and same else _overlay(file, directory, files)
    return found


def _parts(overlay: Overlay) -> tuple[str, ...]:
    """Return the files that a kustomization was read from, and those that it missed."""
    return (overlay.file, *(patch.text.file for patch in overlay.patches), *overlay.missing)


def reach(directory: str, overlays: Mapping[str, Overlay]) -> frozenset[str]:
    """Return the directories and files that a kustomization takes in, its own too."""
    reached: set[str] = set()
    waiting = [directory]
    while waiting:
        name = waiting.pop()
        if name not in reached and name in overlays:
            overlay = overlays[name]
            waiting.extend(overlay.takes)
            reached.update((overlay.file, *(patch.text.file for patch in overlay.patches)))
        reached.add(name)
    return frozenset(reached)


def _is_flux(content: bytes) -> bool:
    """Say whether a file is an object of Flux, which has the same kind."""
    return (
        re.search(rb"^apiVersion:\s*[\"']?kustomize\.toolkit\.fluxcd\.io/", content, re.M)
        is not None
    )


def _overlay(file: str, directory: str, files: Mapping[str, bytes]) -> Overlay:
    try:
        read = documents.read(files[file])
    except Rejected as error:
        return _unread(file, directory, files, str(error))
    if len(read) != 1 or not isinstance(read[0].value, dict):
        return _unread(file, directory, files, f"expected one document, got {len(read)}")
    said = next(documents.objects(read))
    listed = [str(b) for key in _TAKING for b in _list(said.value, key)]
    patches = list(_patches(file, directory, said.value, files))
    return Overlay(
        file,
        read,
        said,
        takes=tuple(_inside(directory, name) for name in listed if not _REMOTE.search(name)),
        remote=tuple(name for name in listed if _REMOTE.search(name)),
        patches=tuple(p for p in patches if isinstance(p, Patch)),
        missing=tuple(p for p in patches if isinstance(p, str)),
        rewriting=tuple(key for key in _REWRITING if said.value.get(key)),
        bringing=tuple(key for key in _BRINGING if said.value.get(key)),
    )


def _unread(file: str, directory: str, files: Mapping[str, bytes], reason: str) -> Overlay:
    """Return what is known of a kustomization that cannot be read: what it may take in."""
    words = re.findall(r"[\w./-]+", files[file].decode("utf-8", "replace"))
    named = {_inside(directory, word) for word in words if "." in word or "/" in word}
    directories = {posixpath.dirname(f) for f in files if posixpath.basename(f) in FILE_NAMES}
    takes = sorted(named & (files.keys() | directories) - {directory, file})
    empty = documents.read(b"{}")
    reason = f"expected a kustomization in {file}: {reason}"
    return Overlay(file, empty, next(documents.objects(empty)), takes=tuple(takes), unread=reason)


def _patches(
    file: str, directory: str, said: dict[str, Any], files: Mapping[str, bytes]
) -> Iterator[Patch | str]:
    """Yield the patches in the order they are applied; a path for one that is not there."""
    for number, entry in enumerate(_list(said, "patchesStrategicMerge")):
        at: Path = ("patchesStrategicMerge", number)
        path, text = ("", entry) if "\n" in str(entry) else (str(entry), "")
        yield _patch(file, directory, files, path, text, at, None)
    for key in ("patches", "patchesJson6902"):
        for number, entry in enumerate(_list(said, key)):
            if isinstance(entry, dict):
                selector = entry.get("target")
                target = selector if isinstance(selector, dict) else None
                path, text = str(entry.get("path") or ""), entry.get("patch")
                at = (key, number, "patch")
                yield _patch(file, directory, files, path, text, at, target)


def _patch(
    file: str,
    directory: str,
    files: Mapping[str, bytes],
    path: str,
    text: Any,
    at: Path,
    target: dict[str, Any] | None,
) -> Patch | str:
    if not path:
        return Patch(Text(file, str(text or "").encode(), at), target)
    name = _inside(directory, path)
    return Patch(Text(name, files[name]), target) if name in files else name


def _inside(directory: str, name: str) -> str:
    path = posixpath.normpath(posixpath.join(directory, name))
    return "" if path == "." else path


def _list(value: dict[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else []
