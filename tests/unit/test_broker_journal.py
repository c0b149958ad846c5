"""The journal: what it answered for is on disk; what it cannot read it refuses and leaves alone."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from faultline.broker.journal import APPLICATION_ID, DeadLetter, Entry, Journal, Row
from faultline.errors import NotFound, Rejected, Unavailable


def letter(trigger: str = "t", body: bytes = b"{}", outcome: str = "sending") -> DeadLetter:
    return DeadLetter(0, 1.0, trigger, body, 400, "answered 400", outcome)


def test_what_was_accepted_is_owed_until_it_is_finished(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")

    first, second = journal.accept([Entry(b"one", ("a", "b"), 5.0), Entry(b"two", ("a",), 6.0)])
    journal.finish(Row(first, "a", False, 0, 5.0))
    journal.postpone(Row(first, "b", False, 2, 9.0))
    journal.close()

    again = Journal(tmp_path / "journal.db")
    assert list(again.owed()) == [
        Row(first, "b", False, 2, 9.0),
        Row(second, "a", False, 0, 6.0),
    ]
    assert again.body(second) == b"two"


def test_an_event_is_forgotten_when_its_last_delivery_is_finished() -> None:
    journal = Journal()
    (number,) = journal.accept([Entry(b"one", ("a", "b"))])

    journal.finish(Row(number, "a", False, 0, 0.0))
    journal.flush()
    kept = journal.body(number)
    journal.finish(Row(number, "b", False, 0, 0.0))
    journal.flush()

    assert kept == b"one"
    with pytest.raises(NotFound):
        journal.body(number)


def test_the_file_stays_bounded_by_what_is_owed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    for _ in range(50):
        numbers = journal.accept([Entry(b"x" * 2_000, ("a",)) for _ in range(50)])
        for number in numbers:
            journal.finish(Row(number, "a", False, 0, 0.0))
    journal.close()

    assert path.stat().st_size < 1_000_000  # five megabytes went through


def test_numbers_are_never_used_twice_even_when_nothing_is_owed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    (number,) = journal.accept([Entry(b"{}", ("t",))])
    buried = journal.bury(Row(number, "t", False, 0, 0.0), letter(outcome="dropped"), None)
    journal.close()

    (next_one,) = Journal(tmp_path / "journal.db").accept([Entry(b"{}", ("t",))])

    assert next_one > buried > number


def test_a_dead_letter_is_owed_to_its_sink_then_rests_then_may_rise_once() -> None:
    journal = Journal()
    (number,) = journal.accept([Entry(b"event", ("t",))])

    buried = journal.bury(Row(number, "t", False, 3, 0.0), letter(), Entry(b"dead", ("t",), 2.0))
    owed = list(journal.owed())
    body = journal.body(buried)
    journal.rest(owed[0], "parked")
    (found,) = journal.dead_letters()
    (risen,) = journal.exhume(found, Entry(b"event", ("t",)))

    assert (owed, body) == ([Row(buried, "t", True, 0, 2.0)], b"dead")
    assert found.outcome == "parked"
    assert list(journal.owed()) == [Row(risen, "t", False, 0, 0.0)]
    with pytest.raises(NotFound):
        journal.dead_letter(found.id)


def test_a_reason_of_any_kind_is_kept_within_limits() -> None:
    journal = Journal()
    (number,) = journal.accept([Entry(b"event", ("t",))])

    odd = DeadLetter(0, 1.0, "t", b"event", None, "\ud800" + "x" * 10_000, "dropped")
    journal.bury(Row(number, "t", False, 0, 0.0), odd, None)

    assert journal.dead_letters()[0].reason == "?" + "x" * 499


def test_many_callers_are_all_on_disk_when_they_are_told_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    numbers: list[int] = []

    def call(name: str) -> None:
        for _ in range(25):
            numbers.extend(journal.accept([Entry(name.encode(), (name,))]))

    callers = [threading.Thread(target=call, args=(f"t{n}",)) for n in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len(set(numbers)) == 200
    assert sorted(row.seq for row in journal.owed()) == sorted(numbers)


def test_a_write_that_fails_is_told_and_loses_nothing_else(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    (number,) = journal.accept([Entry(b"x", ("t",))])
    journal.finish(Row(number, "t", False, 0, 0.0))

    with pytest.raises(Unavailable, match="journal"):
        journal.accept([Entry(None, ("t",))])  # type: ignore[arg-type]  # what the disk refuses
    (second,) = journal.accept([Entry(b"y", ("t",))])

    assert [row.seq for row in journal.owed()] == [second]


def test_a_closed_journal_says_so() -> None:
    journal = Journal()
    journal.close()

    with pytest.raises(Unavailable, match="closed"):
        journal.accept([Entry(b"{}", ("t",))])
    with pytest.raises(Unavailable, match="closed"):
        journal.body(1)


def test_a_second_process_is_told_that_the_journal_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)

    script = (
        "import sys, pathlib; from faultline.broker.journal import Journal;"
        "Journal(pathlib.Path(sys.argv[1]))"
    )
    second = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )

    assert second.returncode == 1
    assert "another process" in second.stderr
    journal.accept([Entry(b"{}", ("t",))])


def test_the_file_is_for_us_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "new" / "journal.db")

    assert (tmp_path / "new" / "journal.db").stat().st_mode & 0o777 == 0o600


def foreign(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.commit()
    other.close()


def newer(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE events (seq INTEGER)")
    other.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    other.execute("PRAGMA user_version = 99")
    other.commit()
    other.close()


def text(path: Path) -> None:
    path.write_text("dear diary, " * 1_000)


def damaged(path: Path) -> None:
    journal = Journal(path)
    journal.accept([Entry(b"x" * 2_000, ("t",)) for _ in range(50)])
    journal.close()
    content = bytearray(path.read_bytes())
    content[8_192:40_960] = os.urandom(32_768)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (foreign, "another program's"),
        (newer, "version 1, got 99"),
        (text, "not a database"),
        (damaged, "got: "),
    ],
)
def test_a_file_that_is_no_sound_journal_is_refused_and_left_alone(
    make: object, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    make(path)  # type: ignore[operator]
    before = path.read_bytes()

    with pytest.raises(Rejected, match=says):
        Journal(path)

    assert path.read_bytes() == before


ACCEPT_FOR_EVER = """
import itertools, pathlib, sys
from faultline.broker.journal import Entry, Journal, Row
journal = Journal(pathlib.Path(sys.argv[1]))
for number in itertools.count(int(sys.argv[2])):
    (seq,) = journal.accept([Entry(str(number).encode(), ("kept", "done"))])
    journal.finish(Row(seq, "done", False, 0, 0.0))
    print(number, flush=True)
"""


def test_after_kill_9_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    acknowledged: list[int] = []

    for lines in (3, 40, 200):  # killed early, and later, over and over
        command = [sys.executable, "-c", ACCEPT_FOR_EVER, str(path), str(len(acknowledged))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()  # what it said before it died
        said = rest.splitlines(keepends=True)
        whole = lines + sum(line.endswith("\n") for line in said)
        acknowledged = list(range(len(acknowledged) + whole))

    journal = Journal(path)
    kept = {int(journal.body(row.seq)) for row in journal.owed() if row.trigger == "kept"}
    assert set(acknowledged) - kept == set()


def test_every_commit_is_synced_after_the_log_was_stretched(tmp_path: Path) -> None:
    connection = Journal(tmp_path / "journal.db")._connection
    assert connection is not None

    settings = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "locking_mode")
    }

    assert settings == {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}
