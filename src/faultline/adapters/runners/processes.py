"""Processes that outlive whoever started them, told apart from later ones with the same number.

A number alone is not enough: it is given again after the process is gone. Number and start time
are; both stand in a file. Linux tells the time in `/proc`; elsewhere the number has to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Known:
    """A process: its number, and when it started, in the system's own count."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Known:
        return cls(pid, _stat(pid)[1])

    @classmethod
    def read(cls, path: Path) -> Known | None:
        """Read a file that `write` left; None if there is none, or not a whole one."""
        try:
            found = json.loads(path.read_text("utf-8"))
            return cls(int(found["pid"]), str(found["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps({"pid": self.pid, "started": self.started}), "utf-8")
        fresh.replace(path)

    @property
    def alive(self) -> bool:
        """Does this very process still run? A zombie does not."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # ours: then it leaves no zombie
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        state, started = _stat(self.pid)
        return state != "Z" and started == self.started

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send it a signal, or to the group that it leads; nothing happens if it is gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)


def _stat(pid: int) -> tuple[str, str]:
    """Return state and start time: fields 3 and 22 of proc(5); empty where nobody tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return "", ""
    fields = text.rpartition(")")[2].split()
    return fields[0], fields[19]
