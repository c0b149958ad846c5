"""The line over stores that are slow, full, read-only, absent or lying: it converges afterwards.

While the store fails, nothing is acknowledged that is not kept; when it is well again, what was
sent meanwhile is taken, once. Disks are real file systems in memory, S3 is moto behind a proxy.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3_faults
from line_process import LineProcess, Nursery, alert, disposed, until, until_settled
from moto.server import ThreadedMotoServer
from s3_faults import FaultyS3

from faultline.model import Status

SEED = int(os.environ.get("SEED", "20261121"))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def proved(count: int, prefix: str) -> list[dict[str, Any]]:
    return [alert(f"{prefix}{n}", cluster=f"{prefix.lower()}-{n}") for n in range(count)]


def names(alerts: Sequence[Any]) -> list[str]:
    return [one["labels"]["alertname"] for one in alerts]


class Senders:
    """One thread for each alert, which sends until it is taken."""

    def __init__(self, line: LineProcess, alerts: Sequence[Any]) -> None:
        self._line, self.taken, self.answers = line, list[str](), list[int]()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(one,)) for one in alerts]
        for thread in self._threads:
            thread.start()

    def _send(self, one: Any) -> None:
        while not self._over.is_set():
            self.answers.append(status := self._line.post([one]))
            if 200 <= status < 300:
                self.taken.append(one["labels"]["alertname"])
                return
            self._over.wait(0.3)

    def join(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))
        self._over.set()
        for thread in self._threads:
            thread.join()


def check(line: LineProcess, alerts: Sequence[Any], seconds: float = 40) -> None:
    census = until_settled(line, names(alerts), seconds)
    assert census.doubled(line) == []
    found = [line.incidents().store.get(key) for key in census.parked]
    assert found == []
    assert set(census.status.values()) == {Status.PACKAGED}
    assert len(census.status) == len(alerts) == len(line.branches())
    assert all(told == ["console", "git"] for told in census.receipts.values())


# disks


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a file system here: {error}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave not one free block."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast


def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_kept(
    nursery: Nursery, disk: Path, tmp_path: Path
) -> None:
    alerts, late = proved(4, "Before"), proved(3, "Full")
    journal = str(disk / "journal.sqlite")
    store = f"file://{disk}/store"

    with disposed(
        LineProcess(tmp_path / "line", store=store, nursery=nursery, FAULTLINE_JOURNAL=journal)
    ) as line:
        Senders(line.start(), alerts).join()
        ballast = fill(disk)  # while those four flow
        senders = Senders(line, late)
        until(lambda: len(senders.answers) >= 6, 20, "several attempts")
        refused = list(senders.answers)
        ballast.unlink()
        senders.join()

        assert set(refused) == {503}
        check(line, alerts + late)


def test_a_store_that_is_read_only_for_a_while_costs_nothing(
    nursery: Nursery, disk: Path, tmp_path: Path
) -> None:
    alerts, late = proved(4, "Before"), proved(3, "Locked")

    with disposed(
        LineProcess(tmp_path / "line", store=f"file://{disk}/store", nursery=nursery)
    ) as line:
        Senders(line.start(), alerts).join()
        until(lambda: remounted(disk, "ro"), 10, "it is read-only")
        senders = Senders(line, late)
        until(lambda: len(senders.answers) >= 6, 20, "several attempts")
        refused = list(senders.answers)
        assert remounted(disk, "rw")
        senders.join()

        assert set(refused) == {503}
        check(line, alerts + late)


def remounted(folder: Path, how: str) -> bool:
    with contextlib.suppress(subprocess.CalledProcessError):  # somebody writes just now
        mount("-o", f"remount,{how}", str(folder))
        return True
    return False


def test_a_store_that_is_absent_for_a_while_is_not_taken_for_an_empty_one(
    nursery: Nursery, tmp_path: Path
) -> None:
    alerts, late = proved(4, "Before"), proved(3, "Absent")
    unknown = alert("Unproved", workload="unknown")

    with disposed(LineProcess(tmp_path / "line", nursery=nursery)) as line:
        store, away = line.folder / "store", line.folder / "away"
        line.start()
        Senders(line, [*alerts, unknown]).join()
        store.rename(away)
        senders = Senders(line, late)
        until(lambda: len(senders.answers) >= 6, 20, "several attempts")
        refused = list(senders.answers)
        ready = line.request("GET", "/health/readiness", b"")
        assert not store.exists()
        away.rename(store)
        senders.join()

        assert set(refused) == {503}
        assert ready == 503
        census = until_settled(line, [*names(alerts + late), "Unproved"], 40)
        assert census.doubled(line) == []
        assert len(census.status) == 8


# S3


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def proxy(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    boto3.client("s3", endpoint_url=moto, region_name="us-east-1").create_bucket(Bucket="faultline")
    with s3_faults.before(moto, SEED) as made:
        yield made


def over(proxy: FaultyS3, folder: Path, nursery: Nursery) -> LineProcess:
    address = f"s3://faultline/{folder.name}?region=us-east-1&endpoint="
    store, seen = address + proxy.url, f"{address}http://{proxy.upstream}"
    more = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    more |= {"FAULTLINE_SWEEP_SECONDS": "3", "FAULTLINE_NUDGE_AFTER": "15"}
    return LineProcess(folder, store=store, seen=seen, nursery=nursery, **more)


def test_s3_that_answers_409_412_and_503_hangs_and_loses_replies_doubles_nothing(
    nursery: Nursery, proxy: FaultyS3, tmp_path: Path
) -> None:
    alerts = proved(3, "Odd")
    troubles = (("lost", 0.4), (409, 0.5), (503, 0.5), (412, 0.3), ("refused", 0.4), ("hang", 0.03))

    with disposed(over(proxy, tmp_path / "line", nursery)) as line:
        senders = Senders(line.start(), alerts)
        for trouble, share in troubles:
            proxy.share, proxy.trouble = share, trouble
            time.sleep(1.2)
            until(partial(proxy.met.__getitem__, trouble), 20, f"{trouble} was met")
        proxy.trouble = None
        senders.join()

        print(f"seed {SEED}: {dict(proxy.met)}, {len(proxy.writes)} writes taken")
        check(line, alerts)
    once = [path for path in proxy.writes if is_record(path)]
    assert len(once) == len(set(once))  # every record was written by exactly one request


def is_record(path: str) -> bool:
    """Is it written once? Pages for people may be written again."""
    views = ("/README.md", "/report/", "/line/output/")
    return not any(part in path for part in views) and "/runs/" in path


def test_a_line_that_is_killed_over_a_slow_s3_goes_on_where_it_stopped(
    nursery: Nursery, proxy: FaultyS3, tmp_path: Path
) -> None:
    alerts, chance = proved(2, "Slow"), random.Random(SEED)

    with disposed(over(proxy, tmp_path / "slow", nursery)) as line:
        proxy.trouble, proxy.slow_s = "slow", 0.1
        senders = Senders(line.start(), alerts)
        for _ in range(3):
            time.sleep(chance.uniform(0.5, 2.5))
            line.kill()
            line.start()
        senders.join()
        proxy.trouble = None

        assert proxy.met["slow"] > 20
        check(line, alerts)
