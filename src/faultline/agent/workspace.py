"""The folder of a run: lay out what the engine finds, collect what it leaves.

    <root>/<run id>/            mode 0700, the engine's working directory; all files 0600
      PROMPT.md                 the question
      event.json incident.json  what it is about
      findings.json             what the analyzers suspect
      context/                  the evidence: the capsule, with its index
      .claude/ (.claude/skills/<name>/)  a skill, if there is one
      recorded/                 in a replay: the records of the earlier run
      output/                   what the engine leaves
      output/artifacts/         anything else it leaves
      home/ tmp/                its HOME and TMPDIR
    <root>/<run id>.<ending>    beside it, of ours: lock, begun, engine, ended, …

While a run lives it holds a lock beside its folder, so a folder without a holder was abandoned by a
crash. Collecting trusts nothing: the engine has had the folder to itself. It begins after the last
process of the engine is dead, looks into `output/` only and opens part by part without following
links.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faultline import keys
from faultline.errors import Rejected, Unavailable
from faultline.limits import artifact_bytes_max, artifacts_bytes_max, artifacts_max

FOLDERS = (".claude", "context", "home", "output", "output/artifacts", "tmp")
_DEPTH_MAX = 8
_ENTRIES_MAX = 10_000
_FIRST = ("investigation.md", "diagnosis.json", "agent.log")  # before the limits are used up
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Workspace:
    """`<root>/<run id>/`, and the files beside it that say what became of it."""

    def __init__(self, root: Path, run_id: str) -> None:
        self.path = root.absolute() / run_id

    @property
    def log(self) -> Path:
        return self.path / keys.AGENT_LOG

    def beside(self, ending: str) -> Path:
        """Return the path of a file beside the folder, where the engine's output does not lie."""
        return self.path.with_name(f"{self.path.name}.{ending}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the run for as long as this lasts. Raises Unavailable if another process does."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.beside("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(fd, self.path.name)
            yield
        finally:
            os.close(fd)

    def lay_out(self, files: Mapping[str, bytes]) -> None:
        """Make the folder with these files. The caller holds the run.

        A folder that an earlier attempt at this run left is replaced; any other is refused.
        """
        if self.path.is_symlink() or self.path.exists():
            self._remove_abandoned()
        self.beside("begun").touch(mode=0o600)  # before the folder: what lies there is ours
        self.path.mkdir(mode=0o700)
        for folder in FOLDERS:
            (self.path / folder).mkdir(mode=0o700)
        for name, data in files.items():
            self._write(name, data)
        self._write(keys.AGENT_LOG, b"")

    def _remove_abandoned(self) -> None:
        if not self.beside("begun").exists() or self.path.is_symlink() or not self.path.is_dir():
            raise Rejected(
                f"expected no {self.path}, but there is one that no run left; move it away"
            )
        shutil.rmtree(self.path)

    def _write(self, name: str, data: bytes) -> None:
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()) or path == self.path:
            raise Rejected(f"expected a name inside the workspace, got {name[:200]!r}")
        for folder in reversed(path.relative_to(self.path).parents[:-1]):
            (self.path / folder).mkdir(mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)

    def size(self) -> int:
        """Return the bytes of all plain files in the folder."""
        found = (Path(top) / name for top, _, names in os.walk(self.path) for name in names)
        return sum(path.lstat().st_size for path in found if not path.is_symlink())

    def remove(self) -> list[str]:
        """Remove the folder as far as that is possible; return what stayed, each with the reason.

        Nothing that a link leads to is touched. Never raises.
        """
        problems: list[str] = []
        shutil.rmtree(
            self.path, onerror=lambda _, path, why: problems.append(f"{path}: {_why(why[1])}")
        )
        return problems


@dataclass
class Collected:
    """What an engine left: files by their name from the workspace on, and what stays behind."""

    files: dict[str, bytes] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # name -> the reason
    bytes: int = 0


def collect(
    workspace: Path,
    *,
    files_max: int = artifacts_max,
    file_bytes_max: int = artifact_bytes_max,
    bytes_max: int = artifacts_bytes_max,
) -> Collected:
    """Read `output/`: plain files of ours with one name, within the limits.

    Links, pipes, devices and what is over a limit stay behind, each with the reason. Nothing that
    happens in the folder meanwhile makes it read outside.
    """
    collector = _Collector(files_max, file_bytes_max, bytes_max)
    top = os.open(workspace, _DIRECTORY)
    try:
        collector.folder(top, "output", "output", 0)
    finally:
        os.close(top)
    return collector.found


class _Collector:
    def __init__(self, files_max: int, file_bytes_max: int, bytes_max: int) -> None:
        self.found = Collected()
        self._files_max, self._file_bytes_max, self._bytes_max = (
            files_max,
            file_bytes_max,
            bytes_max,
        )

    def folder(self, parent: int, part: str, name: str, depth: int) -> None:
        """Collect a folder, opened from its parent's descriptor and never by a whole path."""
        if depth > _DEPTH_MAX:
            self._leave(name, f"more than {_DEPTH_MAX} folders deep")
            return
        try:
            fd = os.open(part, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            self._leave(name, _reason(error))
            return
        try:
            with os.scandir(fd) as entries:
                names = [entry.name for entry in itertools.islice(entries, _ENTRIES_MAX + 1)]
            if len(names) > _ENTRIES_MAX:
                self._leave(f"{name}/…", f"more than {_ENTRIES_MAX} files in one folder")
            for child in sorted(names[:_ENTRIES_MAX], key=lambda n: (n not in _FIRST, n)):
                self._entry(fd, child, f"{name}/{child}", depth)
        finally:
            os.close(fd)

    def _entry(self, parent: int, part: str, name: str, depth: int) -> None:
        try:
            mode = os.stat(part, dir_fd=parent, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                self.folder(parent, part, name, depth + 1)
            elif stat.S_ISREG(mode):
                self._file(parent, part, name)
            else:
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "not a plain file"
                self._leave(name, kind)
        except OSError as error:
            self._leave(name, _reason(error))

    def _file(self, parent: int, part: str, name: str) -> None:
        fd = os.open(part, _FILE, dir_fd=parent)
        try:
            # The name is looked at after opening: a hard link that was opened and taken away at
            # once would look as if it had always been the only one.
            opened, named = os.fstat(fd), os.stat(part, dir_fd=parent, follow_symlinks=False)
            same = os.path.samestat(opened, named)
            if refused := self._refusal(named) if same else "it was exchanged meanwhile":
                self._leave(name, refused)
                return
            data = _read_at_most(fd, self._file_bytes_max + 1)
            # Looking a name up and reading its count of links are two moments: a link taken away
            # in between looks like the only name. So it is asked once more, after all was read.
            again = os.stat(part, dir_fd=parent, follow_symlinks=False)
            if not os.path.samestat(opened, again) or again.st_nlink != 1:
                self._leave(name, "it was exchanged meanwhile")
                return
        finally:
            os.close(fd)
        if len(data) > self._file_bytes_max:
            self._leave(name, "it grew while it was read")
        else:
            self.found.files[name] = data
            self.found.bytes += len(data)

    def _refusal(self, seen: os.stat_result) -> str:
        """Say why the file that we have open is not taken; "" if it is."""
        checks = (
            (not stat.S_ISREG(seen.st_mode), "not a plain file"),
            (seen.st_nlink != 1, "a hard link"),
            (seen.st_uid != os.getuid(), "not ours"),
            (seen.st_size > self._file_bytes_max, f"over {self._file_bytes_max} bytes"),
            (len(self.found.files) >= self._files_max, f"more than {self._files_max} files"),
            (
                self.found.bytes + seen.st_size > self._bytes_max,
                f"more than {self._bytes_max} bytes in all",
            ),
        )
        return next((reason for wrong, reason in checks if wrong), "")

    def _leave(self, name: str, reason: str) -> None:
        if len(self.found.left_out) < artifacts_max:
            self.found.left_out[name.encode("utf-8", "backslashreplace").decode()] = reason


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a symbolic link"
    return error.strerror or type(error).__name__


def _read_at_most(fd: int, limit: int) -> bytes:
    parts, left = [], limit
    while left and (data := os.read(fd, min(left, 1 << 20))):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _lock(fd: int, name: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Unavailable(f"the run {name} is being worked on already") from None
