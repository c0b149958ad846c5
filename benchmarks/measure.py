"""What every benchmark shares: one figure, cases in turn, and the cost of a child process.

A figure is ours beside a peer, or beside the least that the work can cost (its floor), measured in
the same run: machines differ, ratios hardly do. `run.py` prints the figures as one table.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ROOT / ".faultline"
PEERS = LOCAL / "bench-venv/bin/python"
KNATIVE = ROOT / ".venv-kn/bin/python"


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    goal: str  # "P1"; "" for a figure without a goal
    what: str
    ours: float
    unit: str
    beside: str = ""  # the peer or floor, in words
    other: float | None = None
    target: float | None = None  # None: only told
    by: str = "ratio"  # "ratio": ours / other is held to the target; "value": ours is
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        return self.ours / self.other if self.other else None

    @property
    def met(self) -> bool | None:
        """Say whether the goal is met; None if there is none, or its peer is missing."""
        held = self.ratio if self.by == "ratio" else self.ours
        if self.target is None or held is None:
            return None
        return held >= self.target if self.more_is_better else held <= self.target


class Skipped(Exception):
    """A peer is missing; the text says how to get it."""


# cases in turn


def in_turn(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Measure every case once a round, in turn; return the median of each."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        order = list(cases) if number % 2 == 0 else list(cases)[::-1]
        for name in order:
            found[name].append(cases[name]())
    return {name: statistics.median(values) for name, values in found.items()}


def each_us(work: Callable[[], object], times: int) -> Callable[[], float]:
    """Return a case: microseconds of CPU of this thread for one call of `work`."""

    def measure() -> float:
        start = time.thread_time_ns()
        for _ in range(times):
            work()
        return (time.thread_time_ns() - start) / times / 1_000

    return measure


# children


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child: bytecode kept, nothing of ours set, and `more`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FAULTLINE_", "K_", "PYTHON", "COVERAGE"))
    }
    return kept | {"PYTHONPYCACHEPREFIX": str(LOCAL / "bench-bytecode")} | more


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def exchange(port: int, request: bytes) -> bytes:
    """Send bytes to a server on this machine and return what comes until it closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(request)
        return b"".join(iter(lambda: link.recv(65_536), b""))


def http(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Return the bytes of a request after which the connection closes."""
    told = {"host": "localhost", "connection": "close", "content-length": str(len(body))}
    lines = [f"{name}: {value}\r\n" for name, value in (told | dict(headers or {})).items()]
    return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body


def answers(port: int, request: bytes) -> bool:
    """Say whether a server is there and answers 2xx."""
    try:
        return exchange(port, request)[9:10] == b"2"
    except OSError:
        return False


@dataclass(frozen=True)
class Cost:
    """What a process needed from its start to its answer."""

    cpu_ms: float
    wall_ms: float
    peak_mb: float


def until_answer(
    command: Sequence[str], port: int, request: bytes, env: Mapping[str, str], cwd: Path
) -> Cost:
    """Start a server, ask until it answers 2xx, kill it; return what that cost."""
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        child = subprocess.Popen(command, env=dict(env), cwd=cwd, stdout=log, stderr=log)
        try:
            while not answers(port, request):
                if child.poll() is not None or time.perf_counter() - start > 60:
                    log.seek(0)
                    raise RuntimeError(f"{command} did not serve: {log.read().decode()[-2000:]}")
                time.sleep(0.001)
            wall_ms = (time.perf_counter() - start) * 1_000
        finally:
            if child.returncode is None:
                child.kill()
                _, _, used = os.wait4(child.pid, 0)
                child.returncode = 0
    return Cost((used.ru_utime + used.ru_stime) * 1_000, wall_ms, used.ru_maxrss / 1_024)


def run_to_end(command: Sequence[str], env: Mapping[str, str], cwd: Path = ROOT) -> Cost:
    """Run a command to its end; return what it cost."""
    start = time.perf_counter()
    child = subprocess.Popen(
        command, env=dict(env), cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}")
    wall_ms = (time.perf_counter() - start) * 1_000
    return Cost((used.ru_utime + used.ru_stime) * 1_000, wall_ms, used.ru_maxrss / 1_024)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a live process and its children, by the scheduler's own clock."""
    own = Path(f"/proc/{pid}/task")
    used = sum(int((task / "schedstat").read_text().split()[0]) for task in own.iterdir()) / 1e9
    children = (own / str(pid) / "children").read_text().split()
    return used + sum(cpu_s(int(child)) for child in children)


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder on the disk of this repository, and remove it afterwards."""
    LOCAL.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LOCAL, prefix="bench-") as name:
        yield Path(name)


def peer(python: Path, module: str, hint: str) -> str:
    """Return the interpreter that has a peer. Raises Skipped, with what to do."""
    found = (
        python.exists()
        and not subprocess.run(
            [python, "-c", f"import {module}"], env=environment(), capture_output=True
        ).returncode
    )
    if not found:
        raise Skipped(f"{module} is not there: {hint}")
    return str(python)


# telling


def row(figure: Figure) -> str:
    """Return a figure as a line of the Markdown table."""
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    other = "" if figure.other is None else f"{figure.beside}: {number(figure.other)}"
    sign = "≥" if figure.more_is_better else "≤"
    unit = " ×" if figure.by == "ratio" else f" {figure.unit}"  # noqa: RUF001
    goal = "" if figure.target is None else f"{sign} {figure.target:g}{unit}"
    met = {True: "yes", False: "no", None: ""}[figure.met]
    cells = (figure.goal, figure.what, f"{number(figure.ours)} {figure.unit}", other, ratio, goal)
    return "| " + " | ".join((*cells, met)) + " |"


HEAD = "| | figure | ours | beside it | ratio | goal | met |\n|---|---|---|---|---|---|---|"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main(figures: Callable[[bool], Iterable[Figure]], says: str | None) -> None:
    """Run one benchmark alone: `python benchmarks/<name>.py [--quick]`."""
    parser = argparse.ArgumentParser(description=says)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; rougher figures")
    sys.stdout.write(HEAD + "\n")
    try:
        for figure in figures(parser.parse_args().quick):
            sys.stdout.write(row(figure) + "\n")
            sys.stdout.flush()
    except Skipped as error:
        sys.stdout.write(f"skipped: {error}\n")
