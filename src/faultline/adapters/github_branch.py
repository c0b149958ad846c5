"""A branch of ours on GitHub that says what is proposed: made once, never forced.

A commit follows from the report, so a second delivery makes the same one. Who opens the pull
request: `outlets/github.py`; calls: `github.py`.
"""

from __future__ import annotations

import datetime as dt
import re
from urllib.parse import quote

from faultline.adapters.github import GitHub, blob_sha
from faultline.adapters.merges import trailers
from faultline.adapters.outlets.git import message
from faultline.errors import Rejected, Unavailable
from faultline.model import FileChange, Report


class Branches:
    """The branches of one repository that we write. Raises what `GitHub` raises."""

    def __init__(self, github: GitHub, *, author: str, email: str) -> None:
        self._github = github
        self._author, self._email = author, email

    def push(self, report: Report, branch: str, default: str) -> None:
        """Make the branch say what is proposed, with at most one commit. Never forced."""
        onto, tip = self._github.tip(default), self._github.tip(branch)
        if not onto:
            raise Rejected(f"expected a commit on {default}, found none: push one first")
        if not tip:
            self._create(report, branch, self._base(report, onto))
            return
        if not self.ours(tip, report):
            raise Rejected(f"the branch {branch} is not ours: rename or delete it")
        if self._says(tip, report.proposal.files):
            return
        base = self._github.get(f"/compare/{onto}...{tip}").data["merge_base_commit"]["sha"]
        commit = self._commit(report, tree_of=base, parent=tip)
        moved = {"sha": commit, "force": False}
        if self._github.patch(f"/git/refs/heads/{quote(branch)}", moved, fine=(422,)).data is None:
            raise Unavailable(f"{branch} moved while it was read: look again")

    def _base(self, report: Report, onto: str) -> str:
        """Return the commit the manifests were read at, if it is part of the default branch."""
        base = report.proposal.base
        if base == onto or not re.fullmatch(r"[0-9a-f]{40}", base):
            return onto
        found = self._github.get(f"/compare/{base}...{onto}", fine=(404, 422)).data
        return base if found and found["status"] in ("ahead", "identical") else onto

    def _create(self, report: Report, branch: str, base: str) -> None:
        commit = self._commit(report, tree_of=base, parent=base)
        ref = {"ref": f"refs/heads/{branch}", "sha": commit}
        try:
            self._github.post("/git/refs", ref)
        except Rejected:
            tip = self._github.tip(branch)  # another delivery may have been first
            if not (tip and self.ours(tip, report) and self._says(tip, report.proposal.files)):
                raise

    def _commit(self, report: Report, *, tree_of: str, parent: str) -> str:
        """Write a commit; the same report on the same parent gives the same one."""
        tree = self._github.commit(tree_of)["tree"]["sha"]
        items = [self._item(tree, file) for file in report.proposal.files]
        made = self._github.post("/git/trees", {"base_tree": tree, "tree": items}).data["sha"]
        when = report.result.completed_at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        who = {"name": self._author, "email": self._email, "date": when}
        commit = {"message": message(report).decode(), "tree": made, "parents": [parent]}
        sent = commit | {"author": who, "committer": who}
        return str(self._github.post("/git/commits", sent).data["sha"])

    def _item(self, tree: str, file: FileChange) -> dict[str, str]:
        entry = self._github.file(tree, file.path)
        if entry is None or not entry.regular:
            raise Rejected(f"expected a plain file at {file.path}, found none")
        if entry.sha != blob_sha(file.before.encode()):
            raise Rejected(f"expected {file.path} as it was read, but it has changed since")
        return {"path": file.path, "mode": entry.mode, "type": "blob", "content": file.after}

    def _says(self, commit: str, files: tuple[FileChange, ...]) -> bool:
        tree = self._github.commit(commit)["tree"]["sha"]
        found = [self._github.file(tree, file.path) for file in files]
        wanted = [blob_sha(file.after.encode()) for file in files]
        return [entry and entry.sha for entry in found] == wanted

    def ours(self, tip: str, report: Report) -> bool:
        """Say whether a commit is ours: author and address, and the incident in its trailer."""
        commit = self._github.commit(tip)
        mine = (commit["author"]["name"], commit["author"]["email"]) == (self._author, self._email)
        return mine and report.incident.id in trailers(commit["message"])
