"""What every test may use, and the bookkeeping of `covers`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KNOWN = {
    line.split("\t")[1]
    for line in (ROOT / "tests/fixtures/spec/ids.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
}
_passed: set[str] = set()


@pytest.fixture
def world() -> object:
    from world import World  # the second environment, for the shells, has less installed

    return World()


@pytest.fixture
def root() -> Path:
    return ROOT


def _ids(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("covers"):
        yield from mark.args


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if unknown := sorted(set(_ids(item)) - KNOWN):
            raise pytest.UsageError(f"{item.nodeid} covers unknown ids: {', '.join(unknown)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.user_properties.append(("covers", sorted(_ids(item))))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        _passed.update(*(ids for name, ids in report.user_properties if name == "covers"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep what passed, for `make coverage-of-spec`; only a run of everything counts."""
    chosen = session.config.option
    whole = not (chosen.keyword or getattr(chosen, "lf", False)) and session.config.args in (
        [],
        ["tests"],
    )
    cache = getattr(session.config, "cache", None)
    if whole and cache is not None and not hasattr(session.config, "workerinput"):
        cache.set("faultline/covers", sorted(_passed))
