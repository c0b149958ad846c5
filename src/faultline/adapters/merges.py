"""Whether people merged a commit, and when: as it is, forwarded, squashed or picked.

A repository on disk has no pull requests that could be asked; its history is read instead.
"""

from __future__ import annotations

import bisect
import datetime as dt
import re
from collections.abc import Callable, Mapping

from faultline.adapters.repository import Repository
from faultline.model import Merged

TRAILER = "Faultline-Incident"
commits_read_max = 1_000


class Merges:
    """Looks into one branch of a repository. Raises Unavailable if Git does not answer."""

    def __init__(
        self, repository: Repository, branch: str, *, outlet: str, clock: Callable[[], dt.datetime]
    ) -> None:
        self._repository = repository
        self._branch = branch
        self._outlet = outlet
        self._clock = clock

    def find(self, commit: str, *, base: str, incident: str) -> Merged | None:
        """Return how the branch came to have what `commit` changed since `base`; None if not."""
        tip = self._repository.tip(self._branch)
        if not (tip and self._repository.tip(commit) and self._repository.tip(base)):
            return None
        if self._repository.contains(tip, commit):
            return self._as_it_is(tip, commit, base)
        before = self._blobs(base)
        wanted = {p: blob for p, blob in self._blobs(commit).items() if before.get(p) != blob}
        for later in self._first_parents(base, tip, *wanted):
            if self._carries(later, incident, wanted):
                return self._merge(later)
        return None

    def _as_it_is(self, tip: str, commit: str, base: str) -> Merged:
        chain = self._first_parents(base, tip)
        containing = bisect.bisect_left(
            chain, True, key=lambda later: self._repository.contains(later, commit)
        )
        first = chain[containing] if containing < len(chain) else commit
        if first != commit:
            return self._merge(first)
        # Forwarded: there is no commit that tells when; the log of the branch may.
        at = self._logged(commit) or self._clock()
        return Merged(outlet=self._outlet, at=at, revision=commit)

    def _logged(self, commit: str) -> dt.datetime | None:
        """Return when a branch came to contain a commit, from its log; None if it has none."""
        log = self._repository.directory / "logs" / self._branch
        if log.is_symlink() or not log.is_file():
            return None
        when = None
        for line in reversed(log.read_text("utf-8", "replace").splitlines()):
            entry = re.match(r"[0-9a-f]+ ([0-9a-f]{40,64}) .*> (\d{1,10}) [+-]\d{4}", line)
            if not entry or not self._repository.contains(entry[1], commit):
                break
            when = dt.datetime.fromtimestamp(int(entry[2]), dt.UTC)
        return when

    def _first_parents(self, base: str, tip: str, *paths: str) -> list[str]:
        """Return what the default branch itself got since `base`, oldest first."""
        limit = f"--max-count={commits_read_max}"
        command = ("--literal-pathspecs", "rev-list", "--first-parent", limit, f"{base}..{tip}")
        return self._repository.word(*command, "--", *paths).split()[::-1]

    def _carries(self, later: str, incident: str, wanted: Mapping[str, str]) -> bool:
        """Say whether a commit of the default branch brings the proposal: squashed or picked."""
        if incident and incident in trailers(self._repository.commit(later).message):
            return True
        there = self._blobs(later, *wanted)
        return bool(wanted) and all(there.get(path) == blob for path, blob in wanted.items())

    def _blobs(self, commit: str, *paths: str) -> Mapping[str, str]:
        return {entry.path: entry.blob for entry in self._repository.tree(commit, *paths)}

    def _merge(self, commit: str) -> Merged:
        found = self._repository.commit(commit)
        at = dt.datetime.fromtimestamp(found.time, dt.UTC)
        return Merged(outlet=self._outlet, at=at, revision=commit, by=found.author)


def trailers(message: str) -> list[str]:
    """Return the incidents that a message's last paragraph names."""
    last = message.rstrip().rsplit("\n\n", 1)[-1]
    return re.findall(rf"^{TRAILER}: (\S+)$", last, re.MULTILINE)
