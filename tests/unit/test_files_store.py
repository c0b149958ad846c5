"""What is particular to a directory as a bucket."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faultline.adapters.stores import open_store
from faultline.adapters.stores.files import FilesStore
from faultline.errors import NotFound, Rejected, Unavailable


def test_a_relative_url_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    open_store("file://.faultline/store").put("a/b.json", b"x")

    assert (tmp_path / ".faultline/store/a/b.json").read_bytes() == b"x"


def test_only_the_owner_may_read(tmp_path):
    store = FilesStore(tmp_path / "store")

    store.put("incidents/x/event.json", b"x", if_absent=True)
    store.put("incidents/x/README.md", b"x")

    folders = [tmp_path / "store", tmp_path / "store/incidents", tmp_path / "store/incidents/x"]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    files = (tmp_path / "store/incidents/x").iterdir()
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_nothing_but_the_records_remains(tmp_path):
    store = FilesStore(tmp_path)
    store.put("a.json", b"x", if_absent=True)
    store.put("a.json", b"y")

    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.json"]


def test_what_a_crash_left_is_not_listed_and_goes_when_it_is_old(tmp_path):
    store = FilesStore(tmp_path)
    old, young = tmp_path / ".tmp/tmpold", tmp_path / ".tmp/tmpyoung"
    for path in (old, young):
        path.write_bytes(b"half a rec")
    os.utime(old, (1_000_000, 1_000_000))

    store.put("a.json", b"x")

    assert list(store.list("")) == ["a.json"]
    assert list(store.folders("")) == []
    assert not old.exists()
    assert young.exists()


def test_a_folder_without_records_is_no_folder(tmp_path):
    store = FilesStore(tmp_path)
    (tmp_path / "incidents/a").mkdir(parents=True)
    store.put("incidents/b/event.json", b"x")

    assert list(store.folders("incidents/")) == ["b"]


def test_a_record_cannot_lie_below_a_record(tmp_path):
    store = FilesStore(tmp_path)
    store.put("a", b"x")

    with pytest.raises(Rejected, match="a part of it is a file already"):
        store.put("a/b", b"y")
    with pytest.raises(NotFound):
        store.get("a/b")

    assert list(store.list("a/")) == []


@pytest.mark.parametrize("if_absent", [True, False])
def test_a_folder_of_records_cannot_become_a_record(tmp_path, if_absent):
    store = FilesStore(tmp_path)
    store.put("a/b", b"x")

    with pytest.raises(Rejected, match="is a folder of other records"):
        store.put("a", b"y", if_absent=if_absent)


def test_a_name_too_long_for_the_file_system_is_refused(tmp_path):
    with pytest.raises(Rejected, match="too long"):
        FilesStore(tmp_path).put("a" * 300, b"x")


def test_a_symbolic_link_does_not_lead_out_of_the_store(tmp_path):
    store = FilesStore(tmp_path / "store")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"s")
    (tmp_path / "store/out").symlink_to(tmp_path / "outside")

    with pytest.raises(Rejected, match="symbolic link"):
        store.get("out/secret")
    with pytest.raises(Rejected, match="symbolic link"):
        store.put("out/new", b"x")

    assert list(store.list("")) == []


def test_the_stores_own_folder_holds_no_records(tmp_path):
    with pytest.raises(Rejected, match="own folder"):
        FilesStore(tmp_path).put(".tmp/a", b"x")


def test_a_directory_that_went_away_is_not_an_empty_store(tmp_path):
    store = FilesStore(tmp_path / "store")
    (tmp_path / "store/.tmp").rmdir()
    (tmp_path / "store").rmdir()

    for act in (
        lambda: store.get("a"),
        lambda: store.put("a", b"x"),
        lambda: list(store.list("")),
        lambda: list(store.folders("")),
    ):
        with pytest.raises(Unavailable, match="is gone"):
            act()
    assert not (tmp_path / "store").exists()


class FailingDisk(FilesStore):
    def __init__(self, root, code):
        super().__init__(root)
        self.code = code

    def _write(self, data):
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_disk_that_fails_means_try_again_and_says_what_to_do(tmp_path, code, hint):
    with pytest.raises(Unavailable, match=hint):
        FailingDisk(tmp_path, code).put("a", b"x", if_absent=True)


def test_a_root_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises((Unavailable, Rejected)):
        FilesStore(tmp_path / "file/store")


RACE = """
import sys
from faultline.adapters.stores.files import FilesStore
from faultline.errors import AlreadyExists
store = FilesStore(sys.argv[1])
won = 0
sys.stdin.read()
for n in range(200):
    try:
        store.put(f"claims/{n:04d}.json", sys.argv[2].encode() * 1000, if_absent=True)
        won += 1
    except AlreadyExists:
        pass
print(won)
"""


def test_among_processes_each_record_has_exactly_one_winner(tmp_path):
    script = tmp_path / "race.py"
    script.write_text(RACE)
    racers = [
        subprocess.Popen(
            [sys.executable, script, tmp_path / "store", who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for who in "abcd"
    ]

    won = [int(racer.communicate()[0]) for racer in racers]

    assert sum(won) == 200
    written = [Path(p).read_bytes() for p in sorted((tmp_path / "store/claims").iterdir())]
    assert len(written) == 200
    assert all(len(set(body)) == 1 and len(body) == 1000 for body in written)
