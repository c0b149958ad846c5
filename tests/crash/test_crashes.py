"""The promises hold whatever crashes: every single crash, and thousands of seeds of many."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
import simulate

SEEDS = int(os.environ.get("SEEDS", "2000"))


@pytest.mark.covers("IDM-01", "IDM-04", "IDM-18")
def test_a_crash_before_or_after_any_single_effect_loses_and_doubles_nothing() -> None:
    reports = list(simulate.every_single_crash())

    assert len(reports) > 40
    assert [r for r in reports if r.bad] == []
    assert max(r.rounds for r in reports) <= 10


def test_no_seed_of_many_accidents_loses_or_doubles_anything() -> None:
    with ProcessPoolExecutor(initializer=simulate.prepare) as pool:
        reports = list(pool.map(simulate.simulate, range(SEEDS), chunksize=50))

    assert simulate.summary(reports, 0) == 0


def test_a_seed_comes_out_the_same_twice() -> None:
    first, second = simulate.Simulation(7), simulate.Simulation(7)

    assert first.run() == second.run()
    assert first.effects.trace == second.effects.trace


def test_the_simulation_sees_a_lost_and_a_doubled_effect() -> None:
    class Forgetful(simulate.Place):
        def _deliver(self, id: str, receipt: object) -> object:
            self.made[id] += 1  # never looks for its own earlier work
            return super()._deliver(id, receipt)

    class Lossy(simulate.Simulation):
        def accept(self, event: simulate.Event) -> None:
            if not event.type.endswith("context.ready.v1"):
                super().accept(event)

    forgetful = []
    for seed in range(40):
        world = simulate.Simulation(seed)
        world.chat = Forgetful(world, "message")
        world.ports = replace(world.ports, outlets=[world.forge, world.chat])
        forgetful.append(world.run())

    assert any(report.doubled for report in forgetful)
    assert any(Lossy(seed).run().missed for seed in range(10))


def test_the_simulation_sees_a_cap_that_is_broken() -> None:
    reports = []
    for seed in range(40):
        world = simulate.Simulation(seed)
        loose = simulate.POLICY.model_copy(update={"slots": 9, "slots_per_cluster": 9})
        world.ports = replace(world.ports, policy=loose)
        reports.append(world.run())

    assert any("at once" in what for report in reports for what in report.unexpected)
