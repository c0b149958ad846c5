"""docs/contract.md names every event type, every record and every prefix that the code writes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from faultline import event, keys

PAGE = (Path(__file__).resolve().parents[2] / "docs/contract.md").read_text("utf-8")
DAY, AT = dt.date(2026, 11, 21), dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
INCIDENT = "20261121-api-5c1e9b2a"
TYPES = [v for k, v in vars(event).items() if k.isupper() and str(v).startswith(event.PREFIX)]
RECORDS = [
    value
    for name, value in vars(keys).items()
    if name.isupper() and isinstance(value, str) and "." in value and name != "TOOLS"
]
PREFIXES = {
    keys.payload(DAY, b""), keys.data(DAY, b""), keys.cleared("o"), keys.ignored(DAY, "o"),
    keys.parked(DAY, "e"), keys.claim("fingerprint/f", 1), keys.ledger(1),
    keys.waiting(INCIDENT, 1), keys.heartbeat("c", AT, 60), keys.receipt("git"),
    keys.merged("git"), keys.detected("o"), keys.announced("t"), keys.dry_run("pr.md"),
    keys.synced("r", "what"), keys.opened("claims/f/1.json"), keys.settled("20261121"),
    keys.pace("slack", "lines", AT),
}  # fmt: skip


@pytest.mark.parametrize("type", [t for t in TYPES if t != event.PREFIX])
def test_every_event_type_is_on_the_page(type: str) -> None:
    assert f"`{type.removeprefix(event.PREFIX)}`" in PAGE


@pytest.mark.parametrize("name", sorted(set(RECORDS)))
def test_every_record_is_on_the_page(name: str) -> None:
    assert name.rsplit("/", 1)[-1] in PAGE


@pytest.mark.parametrize("key", sorted(PREFIXES))
def test_every_prefix_is_on_the_page(key: str) -> None:
    assert f"{key.split('/')[0]}/" in PAGE
