"""Where in a repository a deployed object is written.

It is looked for in what kustomizations render to and in plain files; `Hints` narrow the search to
what delivers it. Charts, templates and encrypted files are refused. Nothing is fetched. Which text
decides a field of it is `places.py`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass, replace

from faultline import charts, kustomize, merging, overlays
from faultline.documents import Object
from faultline.errors import Rejected
from faultline.hints import Hints as Hints
from faultline.kustomize import Rendered, Repository
from faultline.model import Target

# where people keep the manifest of a workload, `%s`: between files that nothing else tells apart
CONVENTIONS = (
    "deploy/%s/deployment.yaml",
    "deploy/%s/deployment.yml",
    "manifests/%s/deployment.yaml",
    "manifests/%s.yaml",
    "k8s/%s/deployment.yaml",
)
# `name: api` of an object: not that of an item of a list, and not the end of a longer key
_NAMED = rb"(?<![\w./-])(?<!-\s)name[\"']?\s*:\s*(?:&\S+\s+)?[\"']?(?:%s)[\"']?\s*(?:[#,}]|$)"


@dataclass(frozen=True)
class Deployed:
    """An object as the manifests deploy it. `root`: the kustomization that does; None: a file."""

    root: str | None
    item: Rendered

    @property
    def where(self) -> str:
        return self.item.text.file if self.root is None else (self.root or ".")


def find(
    repository: Repository,
    target: Target,
    within: Collection[str] | None = None,
    hints: Hints | None = None,
) -> Deployed:
    """Return the one object that a target means. Raises Rejected for none and for several.

    Of several plain files the first of `CONVENTIONS` counts.

    `within`: the files that count; None: all. Others still count as parts of kustomizations.
    """
    hints = _usable(repository, hints or Hints())
    if hints.refusal:
        raise Rejected(hints.refusal)
    found, failed = _all(repository, target, within, hints)
    found = [one for one in found if _ends(one.item.text.file, hints.files)] or found
    found = _conventional(found, target.name) if len(found) > 1 else found
    name = f"{target.kind}/{target.name}" + (f" in {target.namespace}" if target.namespace else "")
    by = f" where {hints.by} points to" if hints.directories else ""
    if len(found) > 1:
        where = ", ".join(one.where for one in found[:5])
        raise Rejected(f"expected one place for {name}{by}, found {len(found)}: {where}")
    if failed and not found:
        raise failed[0]
    if not found:
        raise Rejected(f"expected a file with {name}{by}, found none{_unseen(repository)}")
    return found[0]


def holding(repository: Repository, target: Target) -> list[str]:
    """Return the files that hold an object, for messages."""
    found, _ = _all(repository, target, None, Hints())
    return sorted({one.item.text.file for one in found})


# the search


def _all(
    repository: Repository, target: Target, within: Collection[str] | None, hints: Hints
) -> tuple[list[Deployed], list[Rejected]]:
    """Return where an object is deployed, and why some of the places could not be read."""
    sources = list(_sources(repository, hints))
    looked_at = frozenset[str]().union(*(files for _, files in sources))
    looked_at &= _counted(repository, within)
    worth = _worth_reading(repository, target, looked_at)
    names = frozenset(_names(repository, target.name))

    def keep(file: str, found: Object | None) -> bool:
        if found is None:
            return file in worth
        return found.kind == target.kind and found.name in names

    made: list[Deployed] = []
    failed: list[Rejected] = []
    for root, files in sources:
        try:
            if root is None:
                items = [
                    one
                    for file in sorted(files)
                    for one in kustomize.loaded(repository, file, keep)
                ]
            else:
                items = kustomize.render(repository, root, keep) if worth & files else []
        except Rejected as error:
            failed.append(error)
            continue
        made += [Deployed(root, item) for item in items if _is(item, target)]
    return made, failed


def _is(item: Rendered, target: Target) -> bool:
    metadata = merging.part(item.value, "metadata")
    namespace = str(metadata.get("namespace") or "")
    fits = not namespace or not target.namespace or namespace == target.namespace
    return metadata.get("name") == target.name and fits


def _sources(repository: Repository, hints: Hints) -> Iterator[tuple[str | None, frozenset[str]]]:
    """Yield what is deployed: kustomizations with what they take in, then the plain files."""
    hinted = [d for d in hints.directories if d in repository.overlays]
    if hinted:
        yield from ((d, overlays.reach(d, repository.overlays)) for d in hinted)
        return
    below = hints.directories
    if not below:
        yield from repository.roots.items()
    taken = frozenset[str]().union(*repository.roots.values()) if not below else frozenset()
    patches = {p.text.file for one in repository.overlays.values() for p in one.patches}
    plain = (f for f in repository.files if f not in taken and f not in patches)
    yield None, frozenset(f for f in plain if not below or any(_below(f, d) for d in below))


def _worth_reading(repository: Repository, target: Target, files: frozenset[str]) -> frozenset[str]:
    """Return the files that may hold the target. Raises Rejected if one seems to, unreadably."""
    kind = re.compile(
        rb"\bkind[\"']?\s*:\s*(&\S+\s+)?[\"']?%s\b|\bkind[\"']?\s*:\s*\*" % _b(target.kind)
    )
    names = b"|".join(map(_b, sorted(_names(repository, target.name))))
    named = re.compile(_NAMED % names, re.M)
    loosely = re.compile(named.pattern + rb"|\bname[\"']?\s*:\s*\*", re.M)
    worth = set()
    for file in sorted(files):
        content = repository.files[file]
        if posixpath.basename(file) in overlays.FILE_NAMES and not _is_object(repository, file):
            continue
        if kind.search(content) and loosely.search(content):
            if reason := _unreadable(repository, file):
                if named.search(content):
                    raise Rejected(f"expected a plain manifest of {target.name}, but {reason}")
            else:
                worth.add(file)
    return frozenset(worth)


def _is_object(repository: Repository, file: str) -> bool:
    return all(overlay.file != file for overlay in repository.overlays.values())


def _counted(repository: Repository, within: Collection[str] | None) -> Set[str]:
    """Return the files that count: `within`, and what a kustomization in there takes in."""
    if within is None:
        return repository.files.keys()
    counted = set(within) & repository.files.keys()
    for reached in repository.roots.values():
        if reached & counted:
            counted |= reached & repository.files.keys()
    return counted


def _unreadable(repository: Repository, file: str) -> str:
    """Say why a file is no plain manifest; "" if it is one."""
    if charts.of(repository.files, file) is not None:
        return f"{file} belongs to a Helm chart"
    try:
        repository.read(file)
    except Rejected as error:
        return f"{file} is a template" if b"{{" in repository.files[file] else str(error)
    return ""


def _names(repository: Repository, name: str) -> set[str]:
    """Return what an object may be called in its file, before it gets a prefix and a suffix."""
    prefixes = {one.said("namePrefix") for one in repository.overlays.values()} - {""}
    suffixes = {one.said("nameSuffix") for one in repository.overlays.values()} - {""}
    names, waiting = {name}, [name]
    while waiting and len(names) < 1_000:
        now = waiting.pop()
        shorter = {now.removeprefix(p) for p in prefixes} | {now.removesuffix(s) for s in suffixes}
        new = shorter - names - {""}
        names |= new
        waiting.extend(new)
    return names


def _usable(repository: Repository, hints: Hints) -> Hints:
    """Return hints without directories that this repository does not have."""
    known = [d for d in hints.directories if any(_below(f, d) for f in repository.files)]
    return replace(hints, directories=tuple(known))


def _below(file: str, directory: str) -> bool:
    return not directory or file.startswith(directory + "/")


def _conventional(found: list[Deployed], name: str) -> list[Deployed]:
    """Return the one of several plain files that lies where people expect it; else all."""
    if any(one.root is not None for one in found):
        return found  # a kustomization renders it: which of them is deployed, no path tells
    for pattern in CONVENTIONS:
        if at := [one for one in found if one.item.text.file == pattern % name]:
            return at
    return found


def _ends(file: str, ends: tuple[str, ...]) -> bool:
    return any(file == end or file.endswith("/" + end) for end in ends)


def _unseen(repository: Repository) -> str:
    """Say which kustomizations take in what is not in the repository."""
    for overlay in repository.overlays.values():
        for feature in (*overlay.remote, *overlay.bringing):
            return f" ({overlay.file} brings {feature[:80]}, which is not read)"
    return ""


def _b(text: str) -> bytes:
    return re.escape(text).encode()
