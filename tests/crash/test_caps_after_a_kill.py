"""Everything is killed in the middle of a storm: afterwards the caps hold as if nothing had been.

What was let in stands in the store, so neither the line's memory nor its agents have to outlive it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from line_process import Census, LineProcess, Nursery, alert, disposed, until

from faultline.adapters.runners.processes import Known

SLOTS, AN_HOUR, STORM = 2, 5, 40


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


def agents(line: LineProcess) -> list[Known]:
    """The engines that live now, by the process files they leave, not by any record of ours."""
    found = [Known.read(path) for path in line.runs.glob("*.engine")]
    return [known for known in found if known and known.alive]


class Watch(threading.Thread):
    """A stranger who counts agents all the time, through every life of the line."""

    def __init__(self, line: LineProcess) -> None:
        super().__init__()
        self._line, self.over, self.most = line, threading.Event(), 0

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.most = max(self.most, len(agents(self._line)))


@pytest.mark.covers("STM-10")
def test_all_killed_in_the_middle_of_a_storm_nothing_is_lost_and_no_cap_is_broken(
    nursery: Nursery, tmp_path: Path
) -> None:
    alerts = [alert(f"Storm{n}", workload=f"storm-{n}") for n in range(STORM)]
    with disposed(
        LineProcess(
            tmp_path, nursery=nursery, LOG_LEVEL="error", FAULTLINE_ENGINE="command",
            AGENT_RUNTIME_COMMAND="sleep 1.5", FAULTLINE_SLOTS=str(SLOTS),
            FAULTLINE_SLOTS_PER_CLUSTER=str(SLOTS), FAULTLINE_RUNS_PER_HOUR=str(AN_HOUR),
        )
    ) as line:  # fmt: skip
        watch = Watch(line.start())
        watch.start()
        for one in alerts[: STORM // 2]:
            line.insist([one])
        until(lambda: agents(line), 20, "agents are running")
        began = len(line.starts())
        line.kill()
        for path in (*line.runs.glob("*.pid"), *line.runs.glob("*.engine")):
            if known := Known.read(path):
                known.signal(signal.SIGKILL, group=True)
        line.start()
        for one in alerts[STORM // 2 :]:
            line.insist([one])
        wanted = [one["labels"]["alertname"] for one in alerts]
        until(lambda: not Census(line.incidents()).lost(wanted), 30, "all are on file")
        until(lambda: len(line.starts()) >= AN_HOUR, 40, "the hour's agents have begun")
        time.sleep(4)  # two sweeps and more, in which nothing else may begin
        watch.over.set()
        watch.join()
        census = Census(line.incidents())

        print(f"{began} began before the kill, {len(line.starts())} in all; {watch.most} at once")
        assert 0 < began <= SLOTS
        assert census.lost(wanted) == []
        assert len(census.status) == STORM
        assert {name: n for name, n in census.keys.items() if n > 1} == {}
        assert 0 < watch.most <= SLOTS
        assert sum(line.starts().values()) <= AN_HOUR
