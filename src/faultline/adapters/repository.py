"""A Git repository on disk, read and written with plumbing commands only.

Nothing that a repository brings is run: no hook, filter, monitor, pager, helper or transport, and
no configuration of this machine or its user is read. No work tree and no index of anyone is
touched. Which files are manifests is `manifests.py`; branches for people are `outlets/git.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from faultline.errors import Rejected, Unavailable

seconds_max = 60
OURS = "refs/heads/faultline/"  # never taken for the default branch
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.quotePath=false",
    "core.alternateRefsCommand=true",
    "protocol.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "i18n.commitEncoding=UTF-8",
)
_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
}


class Entry(NamedTuple):
    """One file of a commit's tree."""

    mode: str
    blob: str
    bytes: int
    path: str

    @property
    def regular(self) -> bool:
        return self.mode in ("100644", "100755")


class Commit(NamedTuple):
    """What a commit says of itself."""

    id: str
    tree: str
    parents: tuple[str, ...]
    author: str  # name
    email: str
    time: int  # of its committer, in seconds since 1970
    message: str


class Repository:
    """Bare, or with a work tree. Every method raises Unavailable if Git does not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def directory(self) -> Path:
        """Return the Git directory. Raises Unavailable if there is none."""
        for candidate in (self._path / ".git", self._path):
            if (candidate / "HEAD").is_file() and (candidate / "objects").is_dir():
                return candidate.resolve()
        raise Unavailable(
            f"expected a Git repository at {self._path}, found none; "
            "name its top directory, and not a linked work tree"
        )

    def git(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        fine: tuple[int, ...] = (0,),
    ) -> bytes | None:
        """Run one plumbing command and return what it prints; None if it exits otherwise fine."""
        directory = self.directory
        options = [word for setting in _SETTINGS for word in ("-c", setting)]
        command = ["git", "--no-pager", f"--git-dir={directory}", *options, *arguments]
        clean = {"PATH": os.environ.get("PATH", os.defpath)} | _ENVIRONMENT
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                cwd=directory,
                env=clean | dict(environment or {}),
                timeout=seconds_max,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"git {arguments[0]}: {type(error).__name__}") from None
        if done.returncode not in fine:
            said = done.stderr.decode("utf-8", "replace").strip()[:300]
            raise Unavailable(f"git {arguments[0]} ended with {done.returncode}: {said}")
        return done.stdout if done.returncode == 0 else None

    def word(
        self,
        *arguments: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command that prints one word, such as an id."""
        printed = self.git(*arguments, stdin=stdin, environment=environment) or b""
        return printed.decode("utf-8", "replace").strip()

    def default(self, ref: str = "HEAD") -> str:
        """Return the full name of the default branch, or HEAD where it is detached.

        HEAD may stand on a branch of ours, because someone looks at it; then it is the remote's
        default, main or master.
        """
        if ref != "HEAD":
            return self.checked(ref if ref.startswith("refs/") else f"refs/heads/{ref}")
        printed = self.git("symbolic-ref", "--quiet", "HEAD", fine=(0, 1))
        if printed is None:
            return "HEAD"
        head = self.checked(printed.decode("utf-8", "replace").strip())
        if not head.startswith(OURS):
            return head
        others = ("refs/remotes/origin/HEAD", "refs/heads/main", "refs/heads/master")
        found = next((other for other in others if self.tip(other)), "")
        if not found:
            raise Unavailable(f"expected HEAD on the default branch, got {head}; name the branch")
        return found

    def checked(self, ref: str) -> str:
        """Return a ref's full name if it is one that Git allows and no option. Raises Rejected."""
        allowed = re.fullmatch(r"refs/(heads|remotes)/[^\x00-\x20\x7f~^:?*\[\\]+", ref)
        if allowed is None or re.search(r"\.\.|@\{|//|/[.-]|\.lock(/|$)|[/.]$", ref):
            raise Rejected(f"expected the name of a branch, got {ref[:100]!r}")
        return ref

    def tip(self, ref: str) -> str:
        """Return the id of the commit that a ref stands at; "" if there is none."""
        command = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        printed = self.git(*command, fine=(0, 1, 128))
        return (printed or b"").decode().strip()

    def tree(self, commit: str, *paths: str) -> list[Entry]:
        """Return the entries of a commit's tree, all or those at and below some paths."""
        command = ("--literal-pathspecs", "ls-tree", "-r", "-z", "-l", "--full-tree")
        printed = self.git(*command, commit, "--", *paths) or b""
        entries = []
        for line in filter(None, printed.split(b"\0")):
            about, _, path = line.partition(b"\t")
            mode, _, blob, size = about.decode().split()
            count = int(size) if size.isdigit() else 0
            entries.append(Entry(mode, blob, count, path.decode("utf-8", "surrogateescape")))
        return entries

    def blobs(self, ids: Iterable[str]) -> list[bytes]:
        """Return the contents of blobs, in order."""
        wanted = list(ids)
        asked = "".join(f"{id}\n" for id in wanted).encode()
        printed = self.git("cat-file", "--batch", stdin=asked) or b""
        contents, position = [], 0
        for id in wanted:
            line_end = printed.index(b"\n", position)
            header = printed[position:line_end].split()
            if len(header) != 3 or header[1] != b"blob":
                raise Unavailable(f"expected the blob {id}, found none")
            start, size = line_end + 1, int(header[2])
            contents.append(printed[start : start + size])
            position = start + size + 1
        return contents

    def commit(self, id: str) -> Commit:
        """Read one commit."""
        printed = (self.git("cat-file", "commit", id) or b"").decode("utf-8", "replace")
        head, _, message = printed.partition("\n\n")
        said: dict[str, list[str]] = {}
        for line in head.split("\n"):
            key, _, value = line.partition(" ")
            said.setdefault(key, []).append(value)
        author = re.match(r"(.*?) ?<(.*?)>", said.get("author", [""])[0])
        time = re.search(r"> (\d{1,10}) ", said.get("committer", [""])[0])
        return Commit(
            id,
            said.get("tree", [""])[0],
            tuple(said.get("parent", [])),
            author[1] if author else "",
            author[2] if author else "",
            int(time[1]) if time else 0,
            message,
        )

    def contains(self, commit: str, ancestor: str) -> bool:
        """Say whether `ancestor` is `commit` or was before it."""
        command = ("merge-base", "--is-ancestor", ancestor, commit)
        return self.git(*command, fine=(0, 1)) is not None
