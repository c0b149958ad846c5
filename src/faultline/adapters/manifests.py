"""The repository that a cluster is deployed from: a clone, a directory, or none.

Only YAML files are read, and links, submodules, files that are too large or not UTF-8 are passed
over. What stands in them is `documents.py`'s.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from faultline.adapters.repository import Entry, Repository
from faultline.errors import Rejected, Unavailable
from faultline.limits import MIB, manifest_bytes_max, manifests_max

manifests_bytes_max = 64 * MIB


class NoManifests:
    """Nobody said where the manifests are: no patch can be proposed."""

    def files(self) -> Mapping[str, bytes]:
        return {}

    def revision(self) -> str:
        return ""


class DirectoryManifests:
    """Manifests in a plain directory. Paths are relative to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def files(self) -> Mapping[str, bytes]:
        """Read them. Raises Unavailable without the directory, Rejected if it is too much."""
        if not self._path.is_dir():
            raise Unavailable(f"expected a directory of manifests at {self._path}, found none")
        try:
            return _bounded(self._read())
        except OSError as error:
            raise Unavailable(f"manifests in {self._path}: {type(error).__name__}") from None

    def revision(self) -> str:
        return ""

    def _read(self) -> Iterator[tuple[str, bytes]]:
        for folder, folders, names in os.walk(self._path):
            folders[:] = sorted(name for name in folders if name != ".git")
            for name in sorted(names):
                file = Path(folder, name)
                plain = _is_manifest(name) and not file.is_symlink() and file.is_file()
                if plain and file.stat().st_size <= manifest_bytes_max:
                    yield file.relative_to(self._path).as_posix(), file.read_bytes()


class GitManifests:
    """Manifests at the tip of a branch of a repository. Paths are relative to its top.

    A thread that calls `files` and then `revision` gets the revision of those files, whatever
    happens to the branch in between.
    """

    def __init__(self, path: Path, ref: str = "HEAD", subdir: str = "") -> None:
        self._repository = Repository(path)
        self._ref = ref
        self._subdir = subdir.strip("/")
        self._read_at = threading.local()

    def files(self) -> Mapping[str, bytes]:
        """Read them. Raises Unavailable without the branch, Rejected if it is too much."""
        commit = self._tip()
        entries = self._repository.tree(commit, *([self._subdir] if self._subdir else []))
        wanted = [entry for entry in entries if _worth_reading(entry)]
        if len(wanted) > manifests_max or sum(e.bytes for e in wanted) > manifests_bytes_max:
            raise _too_much()
        contents = self._repository.blobs(entry.blob for entry in wanted)
        self._read_at.commit = commit
        return _bounded(zip((entry.path for entry in wanted), contents, strict=True))

    def revision(self) -> str:
        """Return the commit's id."""
        return str(getattr(self._read_at, "commit", "")) or self._tip()

    def _tip(self) -> str:
        branch = self._repository.default(self._ref)
        tip = self._repository.tip(branch)
        if not tip:
            raise Unavailable(f"expected a commit at {branch}, found none")
        return tip


def _is_manifest(name: str) -> bool:
    return name.lower().endswith((".yaml", ".yml")) or name == "Kustomization"


def _worth_reading(entry: Entry) -> bool:
    name = entry.path.rsplit("/", 1)[-1]
    return entry.regular and entry.bytes <= manifest_bytes_max and _is_manifest(name)


def _bounded(found: Iterator[tuple[str, bytes]]) -> Mapping[str, bytes]:
    """Keep what is text. Raises Rejected over the limits: half a repository would be a lie."""
    files: dict[str, bytes] = {}
    total = 0
    for path, content in found:
        if not _is_text(path, content):
            continue
        files[path] = content
        total += len(content)
        if len(files) > manifests_max or total > manifests_bytes_max:
            raise _too_much()
    return files


def _is_text(path: str, content: bytes) -> bool:
    try:
        path.encode()
        content.decode()
    except UnicodeError:
        return False
    return True


def _too_much() -> Rejected:
    return Rejected(
        f"expected at most {manifests_max} manifests of {manifests_bytes_max} bytes together, "
        "found more; name the directory that the cluster is deployed from"
    )
