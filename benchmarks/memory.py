"""P10: what `faultline dev` holds after ten thousand alerts, and how quickly `--version` answers.

Ten thousand different alerts about fifty workloads come in bodies of 500, and the line settles:
fifty incidents, each with its faults, its evidence and its pages. Beside the start of `faultline`
stands the start of an interpreter that does nothing.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from intake import post
from measure import Figure, answers, environment, folder, free_port, http, in_turn, run_to_end
from measure import main as alone
from sample import message

WORKLOADS = 50
BODY = 500


def figures(quick: bool) -> Iterator[Figure]:
    python = sys.executable
    cases = {
        "ours": functools.partial(_start_ms, [python, "-m", "faultline", "--version"]),
        "empty": functools.partial(_start_ms, [python, "-c", "pass"]),
    }
    in_turn(cases, 2)
    found = in_turn(cases, 7 if quick else 21)
    yield Figure("P10", "`faultline --version`", found["ours"], "ms CPU", "an empty interpreter",
                 found["empty"], 3.0)  # fmt: skip
    alerts = 1_000 if quick else 10_000
    before, after, rate = _dev(alerts)
    yield Figure("P10", f"`faultline dev` after {alerts:,} alerts", after, "MB", "when idle",
                 before, target=100, by="value")  # fmt: skip
    yield Figure("", f"the same, from the first alert to the last delivery, {alerts:,} alerts",
                 rate, "alerts/s")  # fmt: skip


def _start_ms(command: list[str]) -> float:
    return run_to_end(command, environment()).cpu_ms


def _dev(alerts: int) -> tuple[float, float, float]:
    """Return MB when idle, MB after the alerts, and alerts a second until all is delivered."""
    with folder() as where:
        port = free_port()
        env = environment(
            FAULTLINE_STORE=f"file://{where}/store", FAULTLINE_JOURNAL=f"{where}/journal",
            FAULTLINE_RUNS_PER_HOUR="0", LOG_LEVEL="error", PORT=str(port),
        )  # fmt: skip
        command = [sys.executable, "-m", "faultline", "dev"]
        with (where / "log").open("wb") as log:
            line = subprocess.Popen(command, env=env, cwd=where, stdout=log, stderr=log)
        try:
            while not answers(port, http("GET", "/health/liveness")):
                time.sleep(0.05)
            before, start = _mb(line.pid), time.perf_counter()
            for first in range(0, alerts, BODY):
                post(port, message(first, min(BODY, alerts - first), WORKLOADS))
            _settle(line.pid)
            seconds = time.perf_counter() - start - _QUIET_S
            return before, _mb(line.pid), alerts / seconds
        finally:
            line.terminate()
            line.wait()


_QUIET_S = 2.0


def _settle(pid: int, patience_s: float = 180.0) -> None:
    """Return when the process has done next to nothing for two seconds."""
    end, last = time.monotonic() + patience_s, _cpu_ticks(pid)
    while time.monotonic() < end:
        time.sleep(_QUIET_S)
        now = _cpu_ticks(pid)
        if now - last <= 10:  # a tenth of a second
            return
        last = now
    raise RuntimeError("expected the line to settle")


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1_000 if found else 0.0


if __name__ == "__main__":
    alone(figures, __doc__)
