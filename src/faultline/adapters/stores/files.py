"""A directory as a bucket: the laptop's store, and one for a volume that all processes share.

A record is written to a temporary file, synced, and then linked to its name: the name appears with
all its bytes or not at all, and of any number of racing processes one link succeeds. Temporary
files lie in `.tmp/`, where no listing looks; what a crash left there is removed an hour later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from faultline.adapters.stores import checked, is_text
from faultline.errors import AlreadyExists, NotFound, Rejected, StoreDown

_TMP = ".tmp"
_STALE_S = 3600.0
_CONFLICTS = (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTEMPTY)
_HINTS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EACCES: "permission denied; the directory must belong to the user we run as",
    errno.EPERM: "not permitted; the directory must be ours, on a file system with hard links",
    errno.ENOENT: "the store's directory is gone; create or mount it again",
    errno.EXDEV: "a folder of the store lies on another file system; keep the store on one",
}


class FilesStore:
    """Records as files below `root`, which is made if it is not there."""

    def __init__(self, root: str | Path) -> None:
        """Open or make the directory. Raises StoreDown, with what to do, if that fails."""
        self._root = Path(root).absolute()
        self._tmp = self._root / _TMP
        self._cleaned = False
        with self._explained(str(root)):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tmp.mkdir(mode=0o700, exist_ok=True)

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with self._explained(key):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._root.stat()  # a root that is gone is not an empty store
                raise NotFound(f"no record under {key}") from None

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        path = self._path(key)
        with self._explained(key):
            there = _mode(path)
            if stat.S_ISDIR(there):
                raise Rejected(f"{key} is a folder of other records in this store, not a record")
            if if_absent and there:
                raise AlreadyExists(f"{key} is there already")
            written = self._write(data)
            try:
                changed = self._make_folders(path.parent)
                self._name(written, path, if_absent=if_absent)
            finally:
                written.unlink(missing_ok=True)
            for folder in changed:  # deepest first: one commit of the disk mostly covers them all
                _sync(folder)

    def list(self, prefix: str) -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        start = self._path(folder) if folder else self._root
        with self._explained(prefix):
            self._root.stat()
            yield from self._below(start, f"{folder}/" if folder else "", prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        above, _, begins = prefix.rpartition("/")
        start = self._path(above) if above else self._root
        with self._explained(prefix):
            self._root.stat()
            found = (e for e in self._entries(start) if e.name.startswith(begins))
            names = sorted(e.name for e in found if e.is_dir(follow_symlinks=False))
            for name in names:  # a crash may have left a folder before its first record
                if any(self._below(start / name, f"{name}/", "")):
                    yield name

    def _path(self, key: str) -> Path:
        path = self._root / checked(key)
        if key.split("/", 1)[0] == _TMP:
            raise Rejected(f"{_TMP}/ is this store's own folder; no record can lie in it: {key}")
        if self._has_link(key) and not path.parent.resolve().is_relative_to(self._root.resolve()):
            raise Rejected(f"{key} leads out of the store through a symbolic link")
        return path

    def _has_link(self, key: str) -> bool:
        """Say whether a folder of the key, below the root, is a symbolic link."""
        folder = str(self._root)
        for part in key.split("/")[:-1]:
            folder = f"{folder}/{part}"
            if os.path.islink(folder):  # noqa: PTH114  # on every access, and a Path is slow to make
                return True
        return False

    def _write(self, data: bytes) -> Path:
        """Write the bytes durably under a name that nobody reads."""
        fd, name = tempfile.mkstemp(dir=self._tmp)  # mode 0600
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._clean(Path(name))
        return Path(name)

    def _name(self, written: Path, path: Path, *, if_absent: bool) -> None:
        """Give the bytes their name: by `link`, which one process wins, or by `replace`."""
        if if_absent:
            try:
                path.hardlink_to(written)
            except FileExistsError:
                raise AlreadyExists(f"{path.relative_to(self._root)} is there already") from None
        else:
            written.replace(path)

    def _make_folders(self, folder: Path) -> tuple[Path, ...]:
        """Make the folder and what is missing above it; return whose names are not durable yet."""
        missing, last = [], folder
        while not folder.is_dir() and folder != self._root:
            missing.append(folder)
            folder = folder.parent
        for made in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another writer made it; or it is a file
                made.mkdir(mode=0o700)
        return (last, *(made.parent for made in missing))

    def _below(self, folder: Path, name: str, prefix: str) -> Iterator[str]:
        """Yield the keys below, in order: a folder sorts by its name with the slash."""
        entries = (
            (f"{name}{e.name}/" if e.is_dir(follow_symlinks=False) else f"{name}{e.name}", e.path)
            for e in self._entries(folder)
        )
        for key, path in sorted(entries):
            if key.endswith("/") and (key.startswith(prefix) or prefix.startswith(key)):
                yield from self._below(Path(path), key, prefix)
            elif not key.endswith("/") and key.startswith(prefix):
                yield key

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """Yield what lies in a folder, without what is not ours; nothing if it is not there."""
        try:
            with os.scandir(folder) as found:
                entries = list(found)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            ours = entry.name != _TMP or folder != self._root
            if ours and is_text(entry.name) and not entry.is_symlink():
                yield entry

    def _clean(self, fresh: Path) -> None:
        """Remove, once per process, what crashes left; ages are by the file system's own clock."""
        if self._cleaned:
            return
        self._cleaned = True
        newest = fresh.stat().st_mtime
        for path in self._tmp.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if newest - path.stat().st_mtime > _STALE_S:
                    path.unlink()

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn an OSError into Rejected (the key cannot be) or StoreDown (try again)."""
        try:
            yield
        except OSError as error:
            if error.errno in _CONFLICTS:
                raise Rejected(
                    f"{what} cannot be a record in a directory: a part of it is a file already, "
                    f"or too long ({error.strerror})"
                ) from None
            hint = _HINTS.get(error.errno or 0, error.strerror)
            raise StoreDown(f"the store at {self._root} did not take {what}: {hint}") from error


def _mode(path: Path) -> int:
    """Return what lies there, as `stat` says it; 0 if nothing does."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _sync(folder: Path) -> None:
    """Make names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
