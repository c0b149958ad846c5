"""Run one command in a process group of its own, keep its output, and end it in time.

Interrupt, grace, kill: always the whole group, and in the end also what left the group. The exit
code is the command's own; no shell and no pipe stands in between. What the code means is judged by
`outcome.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from faultline.limits import agent_log_bytes_max

_TICK_S = 0.05
_LINE_BYTES_MAX = 1024 * 1024
_LAST_READS = 64  # after the exit, of 64 KiB each; a pipe holds 64 KiB, at most 1 MiB
_TAIL_BYTES = 256 * 1024
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36

TIMEOUT = "timeout"
CANCELLED = "cancelled"


@dataclass(frozen=True)
class Exit:
    """How a command ended."""

    code: int | None  # the command's own; negative: the signal that killed it; None: never started
    stopped: str = ""  # why we stopped it: timeout, cancelled, or what `watch` said; else empty
    error: str = ""  # why it could not be started


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    deadline_s: float,
    grace_s: float,
    cancelled: Callable[[], bool] = lambda: False,
    watch: Callable[[bytes], str] = lambda line: "",
    log_bytes_max: int = agent_log_bytes_max,
    started: Callable[[int], None] = lambda pid: None,
    alone: bool = False,
) -> Exit:
    """Run a command to its end, or stop it.

    `deadline_s` and `grace_s` are seconds from the start, and between interrupt and kill. `watch`
    sees each line of output and may name a reason to stop; `cancelled` is asked often and must be
    quick. Standard output and error go to `log`, standard input is empty. `alone` says that we have
    no other children, so that every process left over is the command's (see `harden`). Never raises
    for what the command does.
    """
    with Log(log, log_bytes_max) as kept:
        try:
            child = subprocess.Popen(
                argv,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            kept.write(f"faultline: cannot start {argv[0]}: {error.strerror}\n".encode())
            return Exit(_start_code(error), error=error.strerror or type(error).__name__)
        started(child.pid)
        with child:
            assert child.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
            stop = Stop(child.pid, deadline_s, grace_s)
            try:
                for line in _lines(child.pid, child.stdout, kept, stop, cancelled):
                    stop.ask(watch(line))
            finally:
                kill_group(child.pid, alone=alone)
            return Exit(child.wait(), stopped=stop.reason)


class Stop:
    """When and why a group is stopped: interrupt, and after the grace kill."""

    def __init__(self, group: int, deadline_s: float, grace_s: float) -> None:
        self.reason = ""
        self._group, self._grace_s = group, grace_s
        self._deadline = time.monotonic() + deadline_s
        self._kill_at = 0.0

    def ask(self, reason: str) -> None:
        """Interrupt the group for this reason, unless there is none or it was done before."""
        if reason and not self.reason:
            self.reason = reason
            self._kill_at = time.monotonic() + self._grace_s
            signal_group(self._group, signal.SIGINT)

    def tick(self, cancelled: bool) -> None:
        now = time.monotonic()
        if cancelled:
            self.ask(CANCELLED)
        if now >= self._deadline:
            self.ask(TIMEOUT)
        if self.reason and now >= self._kill_at:
            signal_group(self._group, signal.SIGKILL)


class Log:
    """A file that grows to a limit: the beginning as it comes, and at the close the last lines."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._tail_max = min(_TAIL_BYTES, bytes_max // 2)
        self._room = bytes_max - self._tail_max
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._dropped = 0

    def __enter__(self) -> Log:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file: BinaryIO = os.fdopen(os.open(self._path, flags, 0o600), "wb", buffering=0)
        return self

    def write(self, data: bytes) -> None:
        head, rest = data[: self._room], data[self._room :]
        self._file.write(head)  # unbuffered: it is in the file when we are killed
        self._room -= len(head)
        if rest:
            self._keep(rest)

    def _keep(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_max:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self._dropped += gone

    def __exit__(self, *_: object) -> None:
        tail = b"".join(self._tail)
        cut = max(0, len(tail) - self._tail_max)
        if dropped := self._dropped + cut:
            self._file.write(f"\n[faultline: {dropped} bytes of output left out here]\n".encode())
        self._file.write(tail[cut:])
        self._file.close()


def _lines(
    pid: int, pipe: IO[bytes], log: Log, stop: Stop, cancelled: Callable[[], bool]
) -> Iterator[bytes]:
    """Yield the lines of output, as they come, until the process has exited."""
    os.set_blocking(pipe.fileno(), False)
    pending, last_reads = b"", _LAST_READS
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while last_reads:
            gone = exited(pid)  # asked before reading: all that it wrote is in the pipe by then
            data = _read(pipe) if selector.select(0 if gone else _TICK_S) else None
            if data:
                log.write(data)
                *lines, pending = (pending + data).split(b"\n")
                pending = pending[-_LINE_BYTES_MAX:]
                yield from lines
            elif data == b"" and not gone:  # it closed its output, and goes on
                time.sleep(_TICK_S)
            if gone:  # others may go on writing for ever; they are not waited for
                last_reads = last_reads - 1 if data else 0
            else:
                stop.tick(cancelled())


def _read(pipe: IO[bytes]) -> bytes | None:
    """Return what is there, b"" at the end, None if there is nothing now."""
    return pipe.read(65_536)


def exited(pid: int) -> bool:
    """Say whether our child has exited, without reaping it: its number stays taken till then."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def kill_group(group: int, *, alone: bool) -> None:
    """Kill what is left of a group; if we are alone, also those who left it and became ours."""
    signal_group(group, signal.SIGKILL)
    for _ in range(20):  # each round may make new orphans: the children of the killed
        orphans = [pid for pid in _children() if pid != group] if alone else []
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        if not orphans:
            return


def _children() -> list[int]:
    """Return the numbers of our children; where the system does not tell, none."""
    try:
        files = [task / "children" for task in Path("/proc/self/task").iterdir()]
        return [int(n) for file in files for n in file.read_text("ascii").split()]
    except (OSError, ValueError):
        return []


def harden() -> None:
    """Make orphans of the engine our children, and our memory and environment unreadable to it.

    Linux only; elsewhere, and where it is not allowed, nothing happens. For the process that is
    the runtime, once, at its start: it must have no other children. Whoever started us may have
    ignored SIGCHLD, and that is inherited: then the system would take away how the engine ended.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _start_code(error: OSError) -> int:
    """Return what a shell would have said: 127 if there is no such command, else 126."""
    return 127 if isinstance(error, FileNotFoundError) else 126
