"""The web console over ten thousand incidents: CPU of a page, the first time and from then on.

The incidents are one that was lived through (`tests/fixtures/history`), with other names, spread
over a week, in a store of files. All pages have to come within 200 ms.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from measure import ROOT, Figure, folder
from measure import main as alone

from faultline import keys
from faultline.adapters.stores.files import FilesStore
from faultline.incidents import Incidents
from faultline.web.app import app

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
DAYS, WORKLOADS = 7, 200
WHOLE = 20  # incidents with all their evidence: those that are opened here
PAGES = {
    "the list": "/",
    "the list, page 100": "/?page=100",
    "the list, by status": "/?status=packaged",
    "the list, by text that stands nowhere": "/?q=nothing-like-that",
    "one workload": "/watch/app-7",
    "monitor": "/monitor",
}


def figures(quick: bool) -> Iterator[Figure]:
    from starlette.testclient import TestClient

    count, rounds = (2_000, 3) if quick else (10_000, 7)
    with folder() as where:
        ids = fill(where / "store", count)
        incidents = Incidents(FilesStore(where / "store"))
        pages = PAGES | {"one incident": f"/incidents/{ids[0]}"}
        client = TestClient(app(incidents, send=None, clock=lambda: NOW))
        client.base_url = "http://localhost"
        for what, path in pages.items():
            client = TestClient(app(incidents, send=None, clock=time_of()), "http://localhost")
            first, later = spent(client, path), [spent(client, path) for _ in range(rounds)]
            yield Figure("", f"console, {count:,} incidents: {what}", statistics.median(later),
                         "ms CPU", "first time", first, 200, by="value")  # fmt: skip


def time_of() -> object:
    """Return a clock that goes on, from noon of the last day."""
    start = time.monotonic()
    return lambda: NOW + dt.timedelta(seconds=time.monotonic() - start)


def spent(client: object, path: str) -> float:
    """Return the milliseconds of CPU of this process for one page."""
    start = time.process_time()
    answer = client.get(path)  # type: ignore[attr-defined]
    took = (time.process_time() - start) * 1_000
    if answer.status_code != 200:
        raise RuntimeError(f"expected 200 from {path}, got {answer.status_code}")
    return took


def fill(root: Path, count: int) -> list[str]:
    """Write so many incidents; return their ids, the newest first."""
    (history,) = sorted((ROOT / "tests/fixtures/history").glob("*/proved.json"))[-1:]
    writes = [(key, text) for key, text in json.loads(history.read_text("utf-8"))]
    old = next(found[0] for key, _ in writes if (found := keys.INCIDENT_ID.search(key)))
    closed = [text for key, text in writes if key.endswith(keys.CLOSED)]
    ids = []
    for number in range(count):
        opened = NOW - dt.timedelta(seconds=number * DAYS * 86_400 // count)
        name = f"app-{number % WORKLOADS}"
        id = f"{opened:%Y%m%d}-{name}-{number:08x}"
        for key, text in writes:
            evidence = key.partition("/context/")[2] or key.endswith(keys.PROMPT)
            if closed and key.endswith(keys.CLOSED) and number % 10 == 0:
                continue  # one of ten is still open
            if number < WHOLE or not evidence:
                made = re.sub(r"\bcheckout\b", name, text.replace(old, id))
                if key.endswith("/" + keys.INCIDENT):
                    made = json.dumps(json.loads(made) | {"opened_at": opened.isoformat()})
                path = root / re.sub(r"/checkout/", f"/{name}/", key.replace(old, id))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(made if number >= WHOLE or not evidence else text, "utf-8")
        ids.append(id)
    return ids


if __name__ == "__main__":
    alone(figures, __doc__)
