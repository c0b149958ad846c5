"""A child process as a Job: the laptop's runner.

It starts `python -m faultline.agent` in a session of its own, so that a run outlives us, as a Job
does. What is known of it stands in files beside its workspace; whoever comes after us reads them:

    <run>.start   locked while somebody starts it
    <run>.alive   locked by the run itself, from its first moment to its last, however we end
    <run>.pid     its process, to be signalled; written a moment after it was started
    <run>.again   it gave up because the store did not answer: it may be started once more
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from faultline import keys
from faultline.adapters.runners.processes import Known
from faultline.errors import Rejected, Unavailable
from faultline.model import JobState, Run


class SubprocessRunner:
    """Runs as processes of this machine, below one folder."""

    def __init__(
        self,
        root: Path,
        *,
        store_url: str,
        sink_url: str,
        grace_s: float = 30.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what every run is told: the store, the broker, the folder, and our environment.

        Raises Rejected for a store that only this process has.
        """
        if store_url.startswith("memory:"):
            raise Rejected(
                "a child process cannot read memory: of its parent; use a file:// store for runs"
            )
        self._root = root.absolute()
        self._env = {
            **(os.environ if env is None else env),
            "FAULTLINE_STORE": store_url,
            "K_SINK": sink_url,
            "WORKSPACE_ROOT": str(self._root),
            "AGENT_RUNTIME_GRACE": str(grace_s),
        }

    def start(self, run: Run) -> None:
        with self._locked(run, "start"):
            if self.state(run) is not JobState.ABSENT:
                return  # whether it lives or has ended: once per run
            self._file(run.id, "again").unlink(missing_ok=True)
            with self._locked(run, "alive") as alive:  # it inherits the lock, and we let go
                pid = self._spawn(run, alive)
            Known.of(pid).write(self._file(run.id, "pid"))

    def state(self, run: Run) -> JobState:
        if self._lives(run.id):
            return JobState.LIVE
        if self._process(run) is None or self._file(run.id, "again").exists():
            return JobState.ABSENT
        if engine := Known.read(self._file(run.id, "engine")):  # noted by the runtime
            engine.signal(signal.SIGKILL, group=True)  # a Pod takes all with it; so do we
        return JobState.ENDED

    def live(self) -> Sequence[str]:
        known = {path.stem for path in self._root.glob("*.alive")}
        return sorted(run_id for run_id in known if self._lives(run_id))

    def cancel(self, run: Run) -> None:
        if process := self._process(run):
            process.signal(signal.SIGTERM)

    def _process(self, run: Run) -> Known | None:
        return Known.read(self._file(run.id, "pid"))

    def _lives(self, run_id: str) -> bool:
        """Is its lock taken? The number alone would miss a run whose starter died before noting it,
        and a number of ours that has ended stays taken until it is waited for."""
        if (process := Known.read(self._file(run_id, "pid"))) and process.alive:
            return True
        try:
            fd = os.open(self._file(run_id, "alive"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _file(self, run_id: str, ending: str) -> Path:
        return self._root / f"{run_id}.{ending}"

    def _spawn(self, run: Run, alive: int) -> int:
        key = keys.incident(run.incident_id, keys.run_record(run.number, keys.RUN))
        log = str(self._file(run.id, "wrapper.log"))
        new = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            return os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-m", "faultline.agent"],
                {**self._env, "FAULTLINE_RUN": key},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, new, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    (os.POSIX_SPAWN_DUP2, alive, 3),  # engines do not get it
                ],
                setsid=True,
            )
        except OSError as error:
            raise Unavailable(f"cannot start the run {run.id}: {error.strerror}") from error

    @contextmanager
    def _locked(self, run: Run, name: str) -> Iterator[int]:
        """Let one in at a time, among threads and processes; yield the file that is locked."""
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._file(run.id, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"cannot use {self._root} for runs: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)
