"""A branch in a local repository, with the pull request as a document beside it.

The branch's name carries the incident and is its identity; the commit's id follows from the
report, so a second delivery makes the same one. Nobody's work tree, index or commits are touched.
Without a patch there is an issue document. Plumbing is `adapters/repository.py`.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

from faultline import keys
from faultline.adapters.merges import TRAILER, Merges, trailers
from faultline.adapters.repository import Commit, Repository
from faultline.errors import Rejected, Unavailable
from faultline.limits import title_chars_max
from faultline.model import FileChange, Merged, Receipt, Report

_NOTHING = "0" * 40


class GitOutlet:
    """Proposes in a repository on disk. `ref` names its default branch; HEAD finds it."""

    name = "git"

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], dt.datetime],
        ref: str = "HEAD",
        branch_prefix: str = "faultline/",
        author: str = "Faultline",
        email: str = "faultline@localhost",
    ) -> None:
        self._repository = Repository(path)
        self._clock = clock
        self._ref = ref
        self._prefix = branch_prefix
        self._author = author
        self._email = email

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Make the branch and its pull request, or edit them. Raises Unavailable, Rejected."""
        if report.proposal.empty:
            return self._issue(report, receipt)
        branch = branch_name(report.incident.id, self._prefix)
        ref = self._repository.checked(f"refs/heads/{branch}")
        told = receipt if receipt and receipt.reference == branch else None
        commit, base, left = self._branch(report, ref, told)
        document = self._write("pull-requests", branch.replace("/", "-"), report)
        details = {"branch": branch, "commit": commit, "base": base, "title": report.title}
        details |= {"incident": report.incident.id, "pull_request": str(document)}
        return self._receipt(branch, told, details | ({"left": left} if left else {}))

    def merged(self, receipt: Receipt) -> Merged | None:
        """Look for the commit, its content or its trailer in the default branch."""
        commit, base = receipt.details.get("commit", ""), receipt.details.get("base", "")
        if not (commit and base):
            return None
        default = self._repository.default(self._ref)
        merges = Merges(self._repository, default, outlet=self.name, clock=self._clock)
        return merges.find(commit, base=base, incident=receipt.details.get("incident", ""))

    # the branch

    def _branch(self, report: Report, ref: str, told: Receipt | None) -> tuple[str, str, str]:
        """Return (the commit that proposes, what it is based on, why nothing was changed)."""
        tip = self._repository.tip(ref)
        default = self._repository.tip(self._repository.default(self._ref))
        if not default:
            raise Unavailable("expected a default branch with a commit, found none")
        known = (told.details.get("commit", ""), told.details.get("base", "")) if told else ("", "")
        if not tip and told:
            return *known, "the branch was deleted by a person; it is not made again"
        if not tip:
            base = self._base(report, default)
            return self._create(report, ref, base), base, ""
        base = self._repository.word("merge-base", tip, default)
        if self._repository.contains(default, tip):
            return (*known, "it was merged") if told else (tip, base, "it was merged")
        if not self._ours(self._repository.commit(tip), report.incident.id):
            return known[0] or tip, known[1] or base, "the branch has a person's commits"
        if self._says(tip, report.proposal.files):
            return tip, base, ""
        return self._commit(report, ref, tree_of=base, parent=tip, expected=tip), base, ""

    def _base(self, report: Report, default: str) -> str:
        """Return the commit the manifests were read at, if it is part of the default branch."""
        base = report.proposal.base
        known = re.fullmatch(r"[0-9a-f]{40,64}", base) and self._repository.tip(base)
        return base if known and self._repository.contains(default, base) else default

    def _create(self, report: Report, ref: str, base: str) -> str:
        try:
            return self._commit(report, ref, tree_of=base, parent=base, expected=_NOTHING)
        except Unavailable:
            tip = self._repository.tip(ref)  # another delivery may have been first
            if tip and self._says(tip, report.proposal.files):
                return tip
            raise

    def _commit(self, report: Report, ref: str, *, tree_of: str, parent: str, expected: str) -> str:
        tree = self._tree(tree_of, report.proposal.files)
        when = f"{int(report.result.completed_at.timestamp())} +0000"
        commit = self._repository.word(
            "commit-tree",
            tree,
            "-p",
            parent,
            "-F",
            "-",
            stdin=message(report),
            environment=self._who(when),
        )
        change = (
            "update-ref",
            "--no-deref",
            "-m",
            f"faultline: {report.incident.id}",
            ref,
            commit,
            expected,
        )
        self._repository.word(*change, environment=self._who(when))
        return commit

    def _who(self, when: str) -> dict[str, str]:
        names = {"NAME": self._author, "EMAIL": self._email, "DATE": when}
        return {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in names.items()}

    def _tree(self, commit: str, files: tuple[FileChange, ...]) -> str:
        """Write the tree of a commit with some files changed, through an index of our own."""
        entries = {e.path: e for e in self._repository.tree(commit, *(f.path for f in files))}
        lines = []
        for file in files:
            entry = entries.get(file.path)
            if entry is None or not entry.regular:
                raise Rejected(f"expected a plain file at {file.path}, found none")
            if self._repository.blobs([entry.blob]) != [file.before.encode()]:
                raise Rejected(f"expected {file.path} as it was read, but it has changed since")
            blob = self._hash(file.after)
            lines.append(f"{entry.mode} {blob}\t{file.path}\0")
        with tempfile.TemporaryDirectory(prefix="faultline-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
            self._repository.word("read-tree", commit, environment=index)
            stdin = "".join(lines).encode()
            self._repository.word(
                "update-index", "-z", "--index-info", stdin=stdin, environment=index
            )
            return self._repository.word("write-tree", environment=index)

    def _hash(self, text: str) -> str:
        stdin = text.encode()
        return self._repository.word("hash-object", "-w", "--no-filters", "--stdin", stdin=stdin)

    def _says(self, commit: str, files: tuple[FileChange, ...]) -> bool:
        entries = {e.path: e for e in self._repository.tree(commit, *(f.path for f in files))}
        if any(file.path not in entries or not entries[file.path].regular for file in files):
            return False
        contents = self._repository.blobs(entries[file.path].blob for file in files)
        return contents == [file.after.encode() for file in files]

    def _ours(self, commit: Commit, incident: str) -> bool:
        mine = (commit.author, commit.email) == (self._author, self._email)
        return mine and incident in trailers(commit.message)

    # documents

    def _issue(self, report: Report, receipt: Receipt | None) -> Receipt:
        if receipt and receipt.details.get("commit"):
            return receipt  # a pull request is there; a run without a patch does not undo it
        document = self._write("issues", report.incident.id, report)
        details = {"title": report.title, "incident": report.incident.id, "issue": str(document)}
        return self._receipt(f"issue-{report.incident.id}", receipt, details)

    def _receipt(self, reference: str, told: Receipt | None, details: dict[str, str]) -> Receipt:
        made_at = told.made_at if told else self._clock()
        return Receipt(outlet=self.name, reference=reference, made_at=made_at, details=details)

    def _write(self, kind: str, name: str, report: Report) -> Path:
        """Write a document below the Git directory, never through a link that leads out of it."""
        root = self._repository.directory
        folder = root / "faultline" / kind
        if not folder.resolve().is_relative_to(root):
            raise Rejected(f"expected {folder} inside of the repository, found a link out of it")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            document, fresh = folder / f"{name}.md", folder / f".{name}.{os.getpid()}"
            fresh.unlink(missing_ok=True)
            with fresh.open("x", encoding="utf-8") as file:
                file.write(f"# {_plain(report.title)}\n\n{report.text.rstrip()}\n")
            fresh.replace(document)
        except OSError as error:
            raise Unavailable(f"{folder}: {type(error).__name__}") from None
        return document


def branch_name(incident_id: str, prefix: str = "faultline/") -> str:
    """Return `<prefix>fix-<name>-<8 hex>`; the incident's id ends with both."""
    return f"{prefix}fix-{keys.checked_incident_id(incident_id)[9:]}"


def message(report: Report) -> bytes:
    """Return the commit's message: what, why, and which incident; no text of it acts on a host."""
    diagnosis = report.diagnosis
    name = report.incident.id[9:-9]
    title = _line(diagnosis.title if diagnosis else report.title)
    subject = title if title.startswith("fix(") else f"fix({name}): {title}"
    cause = textwrap.fill(_line(diagnosis.root_cause if diagnosis else "", 2_000), 72)
    trailer = f"{TRAILER}: {report.incident.id}\nFaultline-Run: {report.incident.id}-{report.run}"
    parts = [subject[:title_chars_max], cause, trailer]
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def _plain(text: str) -> str:
    """Return foreign text as one line without controls."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _line(text: str, most: int = title_chars_max) -> str:
    """Return foreign text as one line that mentions nobody and closes nothing."""
    return re.sub(r"([@#])(?=\w)", r"\1 ", _plain(text))[:most]
