"""Messages that overtake each other: the end is the same, and nothing is left behind."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

import pytest
from world import START, World

from faultline.model import Resource, Status

Said = tuple[bool, dict[str, Any]]  # whether it is over, and the fault's fields


def story(number: int, chance: random.Random) -> list[list[Said]]:
    """Up to three faults of one workload; each begins, may be repeated, and ends."""
    resource = Resource(kind="Deployment", namespace="shop", name=f"w{number}")
    told = []
    for condition in range(chance.randint(1, 3)):
        fields = {
            "resource": resource,
            "condition": f"{number}-{condition}",
            "starts_at": START + dt.timedelta(seconds=condition),
        }
        over = fields | {"ends_at": START + dt.timedelta(minutes=9)}
        told.append([(True, over), *([(False, fields)] * chance.randint(1, 3))])
    return told


def tell(world: World, messages: Sequence[Said]) -> None:
    for over, fields in messages:
        (world.clear if over else world.fault)(**fields)


def merged(lines: list[list[Said]], chance: random.Random) -> list[Said]:
    """Put several sequences into one, at random, each in its own order."""
    mixed = []
    while any(lines):
        mixed.append(chance.choice([line for line in lines if line]).pop(0))
    return mixed


@pytest.mark.covers("AM-12")
def test_ends_that_overtake_their_beginnings_start_nothing_in_a_thousand_orders() -> None:
    world, chance = World("healthy-1"), random.Random(12)
    world.pass_time(600)

    for number in range(1000):
        for said in merged(story(number, chance), chance):
            tell(world, [said])
            world.settle()

    assert world.jobs.starts == 0
    assert [id for id in world.ids if world.status(id) is not Status.CLOSED] == []
    assert (world.forge.made, world.chat.messages) == (0, [])


def test_in_any_order_every_incident_that_opens_is_closed_in_the_end() -> None:
    opened = 0
    for seed in range(30):
        chance = random.Random(seed)
        world = World("memory", seed=seed)
        messages = [said for number in range(2) for line in story(number, chance) for said in line]
        chance.shuffle(messages)

        tell(world.pass_time(600), messages)
        world.settle().pass_time(300).ping().settle().pass_time(60).ping().settle()

        opened += len(world.ids)
        assert {world.status(id) for id in world.ids} <= {Status.CLOSED}, f"seed {seed}"
    assert opened > 10
