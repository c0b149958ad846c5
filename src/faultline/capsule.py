"""A capsule: everything a diagnosis needs, redacted, sealed by an index of hashes, standing alone.

The format is `docs/capsule.md`. Reading and checking only; `steps/context.py` writes them, the
context sources in `adapters/sources/` fill them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from faultline import keys
from faultline.errors import Rejected
from faultline.model import Index, Origin


class Capsule:
    """A folder of evidence: names such as `context/logs.txt` to bytes, and `PROMPT.md`."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = dict(files)

    @classmethod
    def from_directory(cls, root: Path) -> Capsule:
        """Read a capsule from a directory: `context/` and `PROMPT.md` below `root`."""
        files = {p.relative_to(root).as_posix(): p for p in sorted(root.rglob("*")) if p.is_file()}
        return cls({name: path.read_bytes() for name, path in files.items() if belongs(name)})

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._files))

    def read(self, name: str) -> bytes:
        """Return one file; empty bytes if the capsule does not have it."""
        return self._files.get(name, b"")

    def text(self, name: str) -> str:
        return self.read(name).decode("utf-8", "replace")

    @property
    def sha256(self) -> str:
        """Hash of the index: it ties an answer to the evidence it was given."""
        return hashlib.sha256(self.read(keys.INDEX)).hexdigest()

    def verify(self) -> None:
        """Raise Rejected, naming the file, unless index and files agree to the byte."""
        if not self.read(keys.INDEX):
            raise Rejected(f"expected a sealed capsule, but {keys.INDEX} is missing")
        try:
            index = Index.model_validate_json(self.read(keys.INDEX))
        except ValidationError:
            raise Rejected(f"expected a sealed capsule, but {keys.INDEX} is no index") from None
        listed = {file.name: file.sha256 for file in index.files}
        found = {name: _sha256(data) for name, data in self._files.items() if name != keys.INDEX}
        wrong = sorted(name for name in listed | found if listed.get(name) != found.get(name))
        if wrong:
            raise Rejected(f"the capsule does not match its index: {', '.join(wrong[:5])}")


def images_that_ran(capsule: Capsule) -> frozenset[str]:
    """Return the images that rollouts in the capsule replaced: those ran before."""
    try:
        rollouts = json.loads(capsule.read("context/changes.json") or b"{}").get("rollouts", [])
        differences = [found for rollout in rollouts for found in rollout["differences"]]
        return frozenset(
            str(found["before"]) for found in differences if found["field"].endswith(".image")
        )
    except (ValueError, KeyError, TypeError, AttributeError):  # nothing we can rely on
        return frozenset()


def objects(capsule: Capsule) -> tuple[dict[str, Any], ...]:
    """Return the cluster's objects in a capsule, in order of their files; unreadable ones not."""
    from faultline import documents  # and with it YAML, which most steps never need

    found: list[dict[str, Any]] = []
    for name in capsule.names():
        if name.startswith("context/objects/") and name.endswith((".yaml", ".yml")):
            try:
                values = [document.value for document in documents.read(capsule.read(name))]
            except Rejected:
                continue
            found += [value for value in values if isinstance(value, dict)]
    return tuple(found)


def belongs(name: str) -> bool:
    """Say whether a record of an incident is part of its capsule."""
    return name == keys.PROMPT or name.startswith("context/")


def seal(
    files: Iterable[tuple[str, bytes]], origins: Mapping[str, str], missing: Mapping[str, str]
) -> Index:
    """Return the index of these files, by name. `origins` says which source each came from."""
    listed = (
        Origin(name=name, bytes=len(data), sha256=_sha256(data), origin=origins.get(name, ""))
        for name, data in sorted(files)
        if name != keys.INDEX
    )
    return Index(files=tuple(listed), missing=dict(sorted(missing.items())))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
