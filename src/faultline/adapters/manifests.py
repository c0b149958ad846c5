"""The repository that a cluster is deployed from: a clone, a directory, one on GitHub, or none.

Only YAML files and helpers of Helm charts are read; links, submodules, files that are too large or
not UTF-8 are passed over. What stands in them is `documents.py`'s.
"""

from __future__ import annotations

import base64
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from faultline.adapters.github import GitHub
from faultline.adapters.repository import Repository
from faultline.errors import Rejected, Unavailable
from faultline.limits import MIB, manifest_bytes_max, manifests_max

manifests_bytes_max = 64 * MIB
github_manifests_max = 1_000  # each is a call, and GitHub allows 5,000 an hour


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
        files = self.at(commit)
        self._read_at.commit = commit
        return files

    def at(self, commit: str) -> Mapping[str, bytes]:
        """Read them as of a commit. Raises Unavailable if it is not here, Rejected as `files`."""
        if not re.fullmatch(r"[0-9a-f]{40,64}", commit) or not self._repository.tip(commit):
            raise Unavailable(f"expected the commit {commit[:64]!r} in the repository, found none")
        entries = self._repository.tree(commit, *([self._subdir] if self._subdir else []))
        wanted = [e for e in entries if e.regular and _worth_reading(e.path, e.bytes)]
        if len(wanted) > manifests_max or sum(e.bytes for e in wanted) > manifests_bytes_max:
            raise _too_much()
        contents = self._repository.blobs(entry.blob for entry in wanted)
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


class GitHubManifests:
    """Manifests at the tip of a repository's default branch, read through the API: no clone.

    Contents are kept by their ids, so that only what changed is asked for again. `revision` is as
    in `GitManifests`.
    """

    def __init__(self, github: GitHub, subdir: str = "") -> None:
        self._github = github
        self._prefix = f"{subdir.strip('/')}/".lstrip("/")
        self._contents: dict[str, bytes] = {}
        self._read_at = threading.local()

    def files(self) -> Mapping[str, bytes]:
        """Read them. Raises Busy or Unavailable without an answer, Rejected if it is too much."""
        commit = self._tip()
        wanted = [
            entry
            for entry in self._github.files(self._github.commit(commit)["tree"]["sha"])
            if entry.regular and entry.path.startswith(self._prefix)
            if _worth_reading(entry.path, entry.bytes)
        ]
        if len(wanted) > github_manifests_max or sum(e.bytes for e in wanted) > manifests_bytes_max:
            raise _too_much(github_manifests_max)
        self._contents = {entry.sha: self._content(entry.sha) for entry in wanted}
        self._read_at.commit = commit
        return _bounded((entry.path, self._contents[entry.sha]) for entry in wanted)

    def revision(self) -> str:
        """Return the commit's id."""
        return str(getattr(self._read_at, "commit", "")) or self._tip()

    def _content(self, sha: str) -> bytes:
        if sha in self._contents:
            return self._contents[sha]
        return base64.b64decode(self._github.get(f"/git/blobs/{sha}").data["content"])

    def _tip(self) -> str:
        branch = self._github.default_branch()
        tip = self._github.tip(branch)
        if not tip:
            raise Unavailable(f"expected a commit at {branch}, found none")
        return tip


def _is_manifest(name: str) -> bool:
    """`.tpl` are helpers of Helm charts: read for rendering, and never changed."""
    return name.lower().endswith((".yaml", ".yml", ".tpl")) or name == "Kustomization"


def _worth_reading(path: str, size: int) -> bool:
    return size <= manifest_bytes_max and _is_manifest(path.rsplit("/", 1)[-1])


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


def _too_much(most: int = manifests_max) -> Rejected:
    return Rejected(
        f"expected at most {most} manifests of {manifests_bytes_max} bytes together, "
        "found more; name the directory that the cluster is deployed from"
    )
