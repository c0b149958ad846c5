"""The example capsules, recorded from clusters, against the truth beside each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faultline.capsule import Capsule
from faultline.diagnosis import diagnose
from faultline.model import Certainty

CAPSULES = Path(__file__).resolve().parents[2] / "examples" / "capsules"
TRUTHS = {path.parent: json.loads(path.read_text()) for path in CAPSULES.glob("*/truth.json")}
GUILTY = [pytest.param(d, t, id=d.name) for d, t in sorted(TRUTHS.items()) if not t.get("healthy")]
HEALTHY = [pytest.param(d, id=d.name) for d, t in sorted(TRUTHS.items()) if t.get("healthy")]


def test_there_are_guilty_and_healthy_examples() -> None:
    assert len(GUILTY) >= 40
    assert len(HEALTHY) >= 8


@pytest.mark.parametrize(("directory", "truth"), GUILTY)
def test_the_first_finding_is_the_truth(directory: Path, truth: dict[str, Any]) -> None:
    verdict = diagnose(Capsule.from_directory(directory))

    first = verdict.findings[0]
    assert first.analyzer == f"{truth['family']}.{truth['condition']}"
    assert verdict.proved == truth.get("proved", True)
    if not verdict.proved:  # somebody suspects it: an agent is asked, and no change proposed
        assert first.changes == ()
    if "field" in truth:
        assert first.certainty is Certainty.PROVED
        assert [(c.target.kind, c.target.name, c.field, c.after) for c in first.changes] == [
            (truth["target"]["kind"], truth["target"]["name"], truth["field"], truth["after"])
        ]


@pytest.mark.parametrize("directory", HEALTHY)
def test_a_healthy_example_yields_no_finding(directory: Path) -> None:
    assert diagnose(Capsule.from_directory(directory)).findings == ()
