"""A soak: `faultline dev` under steady load, with its memory, files and objects over time.

    python benchmarks/soak.py --minutes 30 --rate 20

It is run by hand, not by `make bench`: STM-11 wants half an hour. Alerts of 200 workloads come
again and again, as AlertManager repeats them, and one in fifty is new. The slope is fitted over the
second half: before that, caches fill.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from measure import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from line_process import LineProcess, alert, disposed, message

WORKLOADS, NEW_EVERY, SAMPLE_S = 200, 50, 5.0


class Sample(NamedTuple):
    """One look at the process."""

    at_s: float
    rss_mib: float
    files: int
    objects: int


def look(line: LineProcess, began: float) -> Sample:
    pid = line.pid
    status = Path(f"/proc/{pid}/status").read_text()
    rss = next(text for text in status.splitlines() if text.startswith("VmRSS"))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    objects = sum(1 for _ in line.incidents().store.list(""))
    return Sample(time.monotonic() - began, int(rss.split()[1]) / 1024, files, objects)


def slope(samples: Sequence[Sample]) -> float:
    """Return MiB an hour, by least squares."""
    x = [sample.at_s / 3600 for sample in samples]
    y = [sample.rss_mib for sample in samples]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread


def soak(line: LineProcess, seconds: float, rate: float) -> tuple[list[Sample], dict[int, int]]:
    """Post at a steady rate; return the looks and how often each status came, 0 for none."""
    samples: list[Sample] = []
    statuses: dict[int, int] = {}
    began, number, looked = time.monotonic(), 0, -SAMPLE_S
    while (now := time.monotonic() - began) < seconds:
        if now - looked >= SAMPLE_S:
            samples.append(look(line, began))
            looked = now
        new = number % NEW_EVERY == 0
        name = f"New{number}" if new else f"Soak{number % WORKLOADS}"
        body = message(
            [alert(name, severity="info" if new else "critical", cluster=f"c{number % WORKLOADS}")]
        )
        status = line.request("POST", "/alertmanager", body, {"content-type": "application/json"})
        statuses[status] = statuses.get(status, 0) + 1
        number += 1
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
    return [*samples, look(line, began)], statuses


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=20, help="messages a second")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        disposed(LineProcess(Path(folder), FAULTLINE_SWEEP_SECONDS="60")) as line,
    ):
        line.start(wait_s=180)
        samples, statuses = soak(line, asked.minutes * 60, asked.rate)
    late = samples[len(samples) // 2 :]
    told = {
        "minutes": asked.minutes,
        "answers": statuses,
        "rss_mib": [round(s.rss_mib, 1) for s in (samples[0], late[0], samples[-1])],
        "rss_slope_mib_per_hour": round(slope(late), 1),
        "files": [s.files for s in (samples[0], late[0], samples[-1])],
        "objects": [s.objects for s in (samples[0], late[0], samples[-1])],
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
