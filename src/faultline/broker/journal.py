"""What the broker still owes, on disk: durable before anyone is told so.

One SQLite file. Whoever needs an answer commits for all who wait (group commit): one fsync for what
arrives together. What may be lost without harm, such as "this was delivered", rides along with the
next commit: after a `kill -9` it is delivered again, and duplicates are allowed. Finished rows are
deleted, so the file stays as large as what is owed. What is written and when: `broker.py`.
"""

from __future__ import annotations

import itertools
import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from faultline.errors import NotFound, Rejected, Unavailable

APPLICATION_ID = 0x464C_4A4E  # "FLJN", in the header of the file
VERSION = 1
DEAD_LETTERS_MAX = 10_000  # rows kept for people; the oldest go first
REASON_CHARS_MAX = 500
LOG_PAGES = 1_000  # length of the write-ahead log: 4 MiB
TOGETHER_MAX = 64  # writes that nobody waits for, before they are committed anyway

_SCHEMA = """
CREATE TABLE events (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE deliveries (
  seq INTEGER NOT NULL, trigger TEXT NOT NULL, dead INTEGER NOT NULL,
  attempts INTEGER NOT NULL, due REAL NOT NULL,
  PRIMARY KEY (seq, trigger)
) WITHOUT ROWID;
CREATE TABLE dead_letters (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, trigger TEXT NOT NULL, body BLOB NOT NULL,
  code INTEGER, reason TEXT NOT NULL, outcome TEXT NOT NULL
);
"""
_EVENT = "INSERT INTO events VALUES (?, ?)"
_DELIVERY = "INSERT INTO deliveries VALUES (?, ?, ?, 0, ?)"
_DONE = "DELETE FROM deliveries WHERE seq = ? AND trigger = ?"
_PRUNE = (
    "DELETE FROM events WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1)"
)
_LATER = "UPDATE deliveries SET attempts = ?, due = ? WHERE seq = ? AND trigger = ?"
_DEAD = "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?)"
_OLD = (
    "DELETE FROM dead_letters WHERE id <="
    " (SELECT id FROM dead_letters ORDER BY id DESC LIMIT 1 OFFSET ?)"
)

_log = logging.getLogger(__name__)

Statement = tuple[str, tuple[object, ...]]


class Entry(NamedTuple):
    """An event to keep, and who it is owed to."""

    body: bytes  # structured, from `wire.to_bytes`
    triggers: tuple[str, ...]
    due: float = 0.0  # seconds since the epoch


class Row(NamedTuple):
    """One delivery that is owed."""

    seq: int
    trigger: str
    dead: bool  # True: to the dead letter sink
    attempts: int
    due: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that one Trigger's subscriber did not take."""

    id: int
    at: float  # seconds since the epoch
    trigger: str
    body: bytes
    code: int | None
    reason: str
    outcome: str  # "sending", "parked" (its sink has it) or "dropped" (only here)


class _Write:
    """One group of statements, and whether it is on disk."""

    __slots__ = ("done", "error", "statements", "turn", "waits")

    def __init__(self, statements: Sequence[Statement], waits: bool) -> None:
        self.statements, self.waits = statements, waits
        self.done = False
        self.error: Exception | None = None
        self.turn = threading.Lock()  # held until it is written, or its caller is to write
        if waits:
            self.turn.acquire()


class Journal:
    """The broker's memory. Safe for threads; one process at a time."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or make the journal; None keeps it in memory.

        Raises Rejected, leaving the file alone, if it is damaged, another program's, or in use.
        """
        self._queue: deque[_Write] = deque()
        self._mutex = threading.Lock()
        self._leading = False
        self._leader = threading.Lock()  # whoever holds it may use the connection
        self._connection: sqlite3.Connection | None = _open(path)
        newest = self._read(
            "SELECT max((SELECT ifnull(max(seq), 0) FROM events),"
            " (SELECT ifnull(max(id), 0) FROM dead_letters))"
        )
        self._numbers: Iterator[int] = itertools.count(newest[0][0] + 1)

    # writing

    def accept(self, entries: Sequence[Entry]) -> list[int]:
        """Keep events and return their numbers, once they are on disk. Raises Unavailable."""
        numbers, statements = self._entries(entries)
        self._write(statements, waits=True)
        return numbers

    def finish(self, row: Row, then: Sequence[Entry] = ()) -> list[int]:
        """Strike a delivery off, and keep what follows from it in the same transaction.

        Returns at once if nothing follows, else once it is on disk. Raises Unavailable.
        """
        numbers, statements = self._entries(then)
        self._write([*statements, *_struck(row)], waits=bool(then))
        return numbers

    def postpone(self, row: Row) -> None:
        """Remember the attempts and the next time of a delivery; returns at once."""
        self._write([(_LATER, (row.attempts, row.due, row.seq, row.trigger))], waits=False)

    def bury(self, row: Row, letter: DeadLetter, sinks: Entry | None) -> int:
        """Strike a delivery off, keep its dead letter, and owe `sinks` to the dead letter sink.

        Returns the letter's number, once all is on disk. `letter.id` is ignored. Raises
        Unavailable.
        """
        number = next(self._numbers)
        reason = letter.reason[:REASON_CHARS_MAX].encode("utf-8", "replace").decode()
        kept = (number, letter.at, letter.trigger, letter.body, letter.code, reason)
        statements = [*_struck(row), (_DEAD, (*kept, letter.outcome)), (_OLD, (DEAD_LETTERS_MAX,))]
        if sinks is not None:
            statements.append((_EVENT, (number, sinks.body)))
            statements += [(_DELIVERY, (number, name, 1, sinks.due)) for name in sinks.triggers]
        self._write(statements, waits=True)
        return number

    def rest(self, row: Row, outcome: str) -> None:
        """Strike off the delivery to a dead letter sink; the letter has come to rest."""
        said = ("UPDATE dead_letters SET outcome = ? WHERE id = ?", (outcome, row.seq))
        self._write([*_struck(row), said], waits=False)

    def exhume(self, letter: DeadLetter, entry: Entry) -> list[int]:
        """Owe a dead letter again, and forget that it was dead, once that is on disk."""
        numbers, statements = self._entries([entry])
        gone = ("DELETE FROM dead_letters WHERE id = ?", (letter.id,))
        self._write([*statements, gone], waits=True)
        return numbers

    def flush(self) -> None:
        """Bring everything on disk that nobody waited for. Raises Unavailable."""
        if self._queue:
            self._write([], waits=True)

    def close(self) -> None:
        """Flush and close; later writes raise Unavailable."""
        if self._connection is None:
            return
        try:
            self._write([], waits=True)
        finally:
            with self._leader:
                self._connection.close()
                self._connection = None

    # reading

    def body(self, seq: int) -> bytes:
        """Return an event. Raises NotFound."""
        found = self._read("SELECT body FROM events WHERE seq = ?", seq)
        if not found:
            raise NotFound(f"expected event {seq} in the journal, found none")
        return bytes(found[0][0])

    def owed(self) -> Iterator[Row]:
        """Yield what is owed, oldest first."""
        self.flush()
        for seq, trigger, dead, attempts, due in self._read(
            "SELECT seq, trigger, dead, attempts, due FROM deliveries ORDER BY seq"
        ):
            yield Row(seq, trigger, bool(dead), attempts, due)

    def oldest(self) -> bytes | None:
        """Return the oldest event that is owed; None if nothing is. Raises Unavailable."""
        self.flush()
        found = self._read("SELECT body FROM events ORDER BY seq LIMIT 1")
        return bytes(found[0][0]) if found else None

    def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first."""
        self.flush()
        return [DeadLetter(*row) for row in self._read("SELECT * FROM dead_letters ORDER BY id")]

    def dead_letter(self, number: int) -> DeadLetter:
        """Return one dead letter. Raises NotFound."""
        self.flush()
        found = self._read("SELECT * FROM dead_letters WHERE id = ?", number)
        if not found:
            raise NotFound(f"expected dead letter {number}, found none: was it replayed before?")
        return DeadLetter(*found[0])

    # inside

    def _entries(self, entries: Sequence[Entry]) -> tuple[list[int], list[Statement]]:
        numbers: list[int] = []
        statements: list[Statement] = []
        for entry in entries:
            number = next(self._numbers)
            numbers.append(number)
            statements.append((_EVENT, (number, entry.body)))
            statements += [(_DELIVERY, (number, name, 0, entry.due)) for name in entry.triggers]
        return numbers, statements

    def _write(self, statements: Sequence[Statement], *, waits: bool) -> None:
        write = _Write(statements, waits)
        with self._mutex:
            self._queue.append(write)
            if not waits and len(self._queue) < TOGETHER_MAX:
                return
            leads = not self._leading
            self._leading = True
        if not leads:
            if not waits:
                return
            write.turn.acquire()
        if not write.done:
            self._lead(write)
        if write.error is not None and waits:
            raise Unavailable(f"expected to write the journal, got: {write.error}")

    def _lead(self, own: _Write) -> None:
        """Write for all who wait, then give the lead to one who has come meanwhile."""
        together: list[_Write] = []
        try:
            with self._leader:
                together = self._commit()
        finally:
            with self._mutex:
                following = next((write for write in self._queue if write.waits), None)
                self._leading = following is not None
            if following is not None:
                following.turn.release()
            for write in together:
                if write.waits and write is not own:
                    write.turn.release()

    def _commit(self) -> list[_Write]:
        """Write all that is queued in one transaction. The caller is the leader."""
        together = [self._queue.popleft() for _ in range(len(self._queue))]
        error: Exception | None = sqlite3.OperationalError("it was interrupted")
        try:
            self._transact(together)
            error = None
        except sqlite3.Error as failure:
            _log.error("the journal could not be written: %s", failure)
            error = failure
        finally:  # whatever happens, nobody waits for ever
            for write in together:
                write.error, write.done = error, error is None or write.waits
            self._queue.extendleft(write for write in reversed(together) if not write.done)
        return together

    def _transact(self, together: Sequence[_Write]) -> None:
        connection = self._connection
        if connection is None:
            raise sqlite3.ProgrammingError("it is closed")
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in together:
                for sql, values in write.statements:
                    connection.execute(sql, values)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._leader:
            if self._connection is None:
                raise Unavailable("expected an open journal, it is closed")
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise Unavailable(f"expected to read the journal, got: {error}") from None


def _struck(row: Row) -> list[Statement]:
    return [(_DONE, (row.seq, row.trigger)), (_PRUNE, (row.seq,))]


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        _touch(path)
    connection = sqlite3.connect(
        ":memory:" if path is None else path,
        isolation_level=None,
        check_same_thread=False,
        timeout=0.2,  # seconds; one process at a time
    )
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise Rejected(
            f"expected a journal of ours in {path}, got: {error}; if another process has it open, "
            "stop that one, else move the file away"
        ) from None
    except Rejected as error:
        connection.close()
        raise Rejected(f"{path}: {error}; move the file away") from None
    return connection


def _touch(path: Path) -> None:
    """Make the file for us alone: events may tell more than others should read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables:
        _recognise(connection)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if not tables:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {VERSION}; COMMIT"
        )
    if path is not None:
        _stretch(connection)


def _stretch(connection: sqlite3.Connection) -> None:
    """Give the log its full length before it counts: to overwrite a file and sync it is faster
    than to let it grow. What is in the log goes to the database first, and nothing of worth is
    written while syncing is off."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA synchronous = OFF")
    for _ in range(LOG_PAGES):
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_checkpoint(RESTART)")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")


def _recognise(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if found != APPLICATION_ID:
        raise Rejected("expected a journal of ours, got another program's database")
    if version != VERSION:
        raise Rejected(f"expected a journal of version {VERSION}, got {version}")
    (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if health != "ok":
        raise Rejected(f"expected a sound journal, got: {health}")
