"""Every figure of docs/benchmarks.md, in one run: `make bench`, or `python benchmarks/run.py`.

    --quick           fewer rounds, rougher figures
    --only NAME       one benchmark, by the name of its file
    --no-write        leave docs/benchmarks.md as it is

Each figure stands beside a peer or a floor of the same run. Peers are installed once, pinned, into
an environment of their own; what cannot be had is skipped and said so.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from measure import HEAD, LOCAL, PEERS, ROOT, Figure, Skipped, row

PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
FIRST = (  # what most people want to know stands above all else
    "durable webhook intake, 100 alerts",
    "warm event, a copy through triage",
    "alert to the branch of the pull request, analyzers",
)
ALL = (
    "intake", "warm_step", "line", "cold_start", "first_event", "alerts", "broker", "streams",
    "redaction", "memory", "console",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, rougher figures")
    parser.add_argument("--only", choices=ALL, help="one benchmark")
    parser.add_argument("--no-write", action="store_true", help="leave the page as it is")
    asked = parser.parse_args()
    peers()
    start, lines, names = time.monotonic(), [], (asked.only,) if asked.only else ALL
    found: list[Figure] = []
    say(HEAD)
    for name in names:
        for told in figures(name, asked.quick):
            if isinstance(told, Figure):
                found.append(told)
                lines.append(row(told))
            else:
                lines.append(f"| | {name}: skipped, {told} | | | | | |")
            say(lines[-1])
    held = [figure.met for figure in found if figure.met is not None]
    say(f"\n{sum(held)} of {len(held)} goals met, in {time.monotonic() - start:.0f} s")
    if not asked.only and not asked.no_write:
        write(lines, asked.quick)
    return 0


def figures(name: str, quick: bool) -> Iterator[Figure | str]:
    """Yield the figures of one benchmark, or why there are none (any more)."""
    try:
        yield from importlib.import_module(name).figures(quick)
    except Skipped as error:
        yield str(error)


def peers() -> None:
    """Install the peers once; without a way to get them, their figures are skipped."""
    pins = ROOT / "benchmarks/peers.txt"
    ready = PEERS.parents[1] / "ready"
    if ready.exists() and ready.stat().st_mtime >= pins.stat().st_mtime:
        return
    say("installing the peers (once)")
    LOCAL.mkdir(exist_ok=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEERS.parents[1])])
    pip = [str(PEERS), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if made.returncode or subprocess.run([*pip, "--requirement", str(pins)]).returncode:
        say("the peers could not be installed: what stands beside them is skipped")
    else:
        ready.touch()


def write(lines: list[str], quick: bool) -> None:
    """Put the table into the page, between its marks."""
    first = [line for part in FIRST for line in lines if part in line]
    lines = first + [line for line in lines if line not in first]
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    command = "python benchmarks/run.py" + (" --quick" if quick else "")
    said = (
        f"`{command}`, {dt.datetime.now(dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )
    table = "\n".join((BEGIN, "", said, "", HEAD, *lines, "", END))
    PAGE.write_text(before + table + after, "utf-8")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    raise SystemExit(main())
