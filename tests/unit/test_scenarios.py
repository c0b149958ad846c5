"""What `make demo` can show: a list for people, and each ends as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from world import World

from faultline.cli import main
from faultline.errors import Rejected
from faultline.model import PatchRules, Policy, Status
from faultline.scenarios import Scenario, find, overview, scenarios

ROOT = Path(__file__).resolve().parents[2]
ALL = scenarios()


def test_every_family_of_analyzers_can_be_shown() -> None:
    page = (ROOT / "docs/analyzers.md").read_text("utf-8")
    families = set(re.findall(r"^\| `([a-z_]+)\.", page, re.MULTILINE))

    assert families == {one.family for one in ALL}


def test_the_list_has_a_line_for_each_below_its_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--scenario", "list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("  ")]
    headings = [line for line in lines if re.fullmatch("[a-z_]+", line)]
    assert shown == [one.name for one in ALL]
    assert headings == sorted({one.family for one in ALL})
    assert max(map(len, lines)) <= 130
    assert re.match(r"Each is a recorded cluster .* make demo SCENARIO=<name>", lines[0])


def test_the_list_counts_how_they_end() -> None:
    patched = sum(one.patched for one in ALL)

    assert f"{patched} end with a pull request" in overview()
    assert f"{len(ALL) - patched} with an issue" in overview()
    assert 0 < patched < len(ALL)


def test_a_name_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(Rejected, match="did you mean memory-leak"):
        find("memory-leek")
    with pytest.raises(Rejected, match="`list` names those there are"):
        find("zzz")


@pytest.mark.parametrize("scenario", ALL, ids=lambda one: one.name)
def test_each_is_packaged_as_the_list_says(scenario: Scenario) -> None:
    world = World(scenario.name, policy=Policy(patch=PatchRules(images=True)))

    world.alert().settle()
    for run in list(world.jobs.started):  # nothing was proved: an agent was asked, and says nothing
        world.finish(run)
    world.settle()

    proposal = world.incidents.proposal(world.only, 1)
    assert world.status() is Status.PACKAGED
    assert bool(proposal and not proposal.empty) == scenario.patched
    assert world.forge.made == 1
    assert (proposal is not None and bool(proposal.refused)) <= (not scenario.patched)
