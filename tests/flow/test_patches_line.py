"""What the cluster says of quotas and of deliveries reaches the pull request, along the line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from world import World, example

from faultline.model import Proposal

APPLICATION = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: shop, namespace: shop}
spec: {source: {path: live}}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A copy of the recorded cluster `memory`, to be changed."""
    return Path(shutil.copytree(example("memory"), tmp_path / "memory"))


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def packaged(scenario: str, send: Callable[[World], World] = World.alert) -> tuple[World, Proposal]:
    world = World(scenario)
    send(world).settle()
    proposal = world.incidents.proposal(world.only, 1)
    assert proposal is not None
    return world, proposal


def test_the_room_of_a_quota_is_told_in_the_proposal() -> None:
    _, proposal = packaged("memory")

    assert "limits.memory of 2 pods is 512Mi; ResourceQuota team-shop has room for 17Gi." in (
        proposal.checks
    )


def test_a_quota_without_room_refuses_the_patch_and_the_report_has_the_numbers(
    cluster: Path,
) -> None:
    replace(cluster / "objects/resourcequotas.yaml", "limits.memory: 24Gi", "limits.memory: 7300Mi")

    world, proposal = packaged(str(cluster))

    assert proposal.empty
    assert "has room for 132Mi" in proposal.refused["Deployment/checkout quota"]
    assert world.forge.pull_requests[world.only].patch == ""


def test_of_two_copies_the_one_that_argo_delivers_is_changed(cluster: Path) -> None:
    for name in ("live", "old"):
        shutil.copytree(example("memory") / "manifests", cluster / "manifests" / name)
    for file in (cluster / "manifests").glob("*.yaml"):
        file.unlink()
    _, before = packaged(str(cluster))
    (cluster / "objects/applications.yaml").write_text(APPLICATION)
    replace(
        cluster / "objects/deployments.yaml",
        "\n    labels:\n",
        "\n    labels:\n      argocd.argoproj.io/instance: shop\n",
    )

    _, proposal = packaged(str(cluster))

    assert "found 2: live, old" in str(before.refused)
    assert [file.path for file in proposal.files] == ["live/checkout.yaml"]
    assert "live, rendered before and after, differs in this field only; Application shop " in (
        "\n".join(proposal.checks)
    )


def test_a_variable_that_went_missing_is_proposed_to_come_back() -> None:
    _, proposal = packaged("crash-loop-env")

    assert proposal.refused == {}
    assert "            - name: DATABASE_URL\n" in proposal.files[0].after
