"""`docs/analyzers.md` has a row for every finding that the analyzers can make, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import diagnosis_more_cases  # noqa: F401 - fills GUILTY
import diagnosis_net_cases  # noqa: F401
from diagnosis_cases import GUILTY

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"`((?:[a-z_]+)?\.[a-z-]+)`")


def documented() -> set[str]:
    found = set()
    text = (ROOT / "docs" / "analyzers.md").read_text().split("## Conditions")[1]
    for row in re.findall(r"(?m)^\| (`.*?) \|", text):
        family = ""
        for name in NAME.findall(row):
            family = name.split(".")[0] or family
            found.add(f"{family}.{name.split('.')[1]}")
    return found


def test_every_condition_with_a_guilty_world_has_its_row() -> None:
    assert {case.analyzer for case in GUILTY.values()} - documented() == set()


def test_every_row_names_something_that_the_code_can_say() -> None:
    code = "\n".join(p.read_text() for p in (ROOT / "src/faultline/diagnosis").glob("*.py"))

    parts = {name: name.split(".")[1] for name in documented()}
    assert [name for name, last in parts.items() if f'{last}"' not in code] == []


def test_a_proof_in_the_code_says_its_rule() -> None:
    for path in (ROOT / "src/faultline/diagnosis").glob("*.py"):
        text = path.read_text()
        if re.search(r"^ +(PROVED,|proved_if\()", text, re.MULTILINE):
            assert "# proved because:" in text or "knows_all_nodes" in text, path.name


def test_the_map_of_alerts_has_each_of_the_125_names_once() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text()

    names = re.findall(r"(?m)^- `([A-Z][A-Za-z]+)`$", text)

    assert len(names) == len(set(names)) == 125
    assert {"KubePodCrashLooping", "NodeClockSkewDetected", "Watchdog"} <= set(names)
