"""The bill of materials is what is installed, and no silence of an auditor passes for a yes."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import referencing
from jsonschema import Draft7Validator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests/fixtures"
RUNTIME = ROOT / "requirements/runtime.txt"
TWO_GENERATIONS = "cloudevents"  # functions-framework, in this environment alone, wants the first
EXTRAS = {"s3", "kubernetes", "github"}  # of the image, as `make lock` resolves them

_spec = importlib.util.spec_from_file_location("supply", ROOT / "tools/supply.py")
assert _spec
assert _spec.loader
supply = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(supply)


def schema() -> Draft7Validator:
    folder = FIXTURES / "cyclonedx"
    whole = json.loads((folder / "bom-1.4.schema.json").read_text("utf-8"))
    base = whole["$id"].rpartition("/")[0]
    named = {  # what it refers to, by the name that it uses
        f"{base}/{name}.SNAPSHOT.schema.json": referencing.Resource.from_contents(
            json.loads((folder / f"{name}.schema.json").read_text("utf-8"))
        )
        for name in ("jsf-0.82", "spdx")
    }
    return Draft7Validator(whole, registry=referencing.Registry().with_resources(named.items()))


def needed(name: str, extras: set[str], seen: set[tuple[str, str]]) -> Iterator[str]:
    """Yield what an installed distribution needs, and what that needs, by canonical name."""
    for text in importlib.metadata.requires(name) or ():
        wanted = Requirement(text)
        marker = wanted.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        key = canonicalize_name(wanted.name)
        if (key, text) not in seen:
            seen.add((key, text))
            yield key
            yield from needed(key, {"", *wanted.extras}, seen)


@pytest.mark.covers("SUP-03")
def test_the_bill_of_materials_is_valid_and_lists_exactly_what_gets_installed() -> None:
    command = [sys.executable, str(ROOT / "tools/supply.py"), "sbom"]
    said = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2)]
    found = json.loads(said[0])

    schema().validate(found)
    listed = {part["name"]: part["version"] for part in found["components"]}
    names = set(needed("faultline", {"", *EXTRAS}, set()))
    assert listed.keys() == names
    here = {name: importlib.metadata.version(name) for name in names - {TWO_GENERATIONS}}
    assert listed == here | {TWO_GENERATIONS: listed[TWO_GENERATIONS]}
    assert f"{TWO_GENERATIONS}=={listed[TWO_GENERATIONS]} " in RUNTIME.read_text("utf-8")
    assert len({part["bom-ref"] for part in found["components"]}) == len(listed)
    assert found["metadata"]["component"]["version"] == importlib.metadata.version("faultline")
    assert said[0] == said[1]


def test_the_schema_refuses_what_is_no_bill_of_materials() -> None:
    found = supply.sbom(RUNTIME.read_text("utf-8"), "0.1.0")
    for broken in ({"specVersion": 1}, {"serialNumber": "1"}, {"components": [{"name": "x"}]}):
        assert list(schema().iter_errors(found | broken))


def test_what_another_system_needs_is_not_in_the_image_and_a_range_is_no_pin() -> None:
    lock = (
        "colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:aa\n"
        "# a comment\nPy_YAML[x]==6.0.3 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        "    # via faultline\n"
    )

    assert supply.pins(lock) == [("py-yaml", "6.0.3")]
    with pytest.raises(ValueError, match=r"name==version, got httpx>=1"):
        supply.pins("httpx>=1\n")


BAD = {"name": "requests", "version": "2.19.0", "vulns": [{"id": "PYSEC-2018-28"}]}
LOCK = "httpx==0.28.1 \\\n    --hash=sha256:aa\nh11==0.16.0 \\\n    --hash=sha256:bb\n"
CLEAN = [{"name": n, "version": v, "vulns": []} for n, v in supply.pins(LOCK)]
# pip-audit 2.10.1 of requests 2.19.0, before an index without advisories: exit code 0, and
# "No known vulnerabilities found" on standard error
SKIPPED = json.loads((FIXTURES / "pip-audit/skipped.json").read_text("utf-8"))["dependencies"]

FAKE = """#!/bin/sh
echo "No known vulnerabilities found" >&2
case "$*" in *canary*) /bin/cat {0}/canary.json ;; *) /bin/cat {0}/lock.json ;; esac
"""


class Gate:
    """The gate with an auditor on its path that says what it is told to."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        (folder / "lock.txt").write_text(LOCK)
        program = folder / "pip-audit"
        program.write_text(FAKE.format(folder))
        program.chmod(0o700)

    def __call__(self, canary: Any, lock: Any) -> tuple[int, str]:
        for name, told in (("canary", canary), ("lock", lock)):
            text = told if isinstance(told, str) else json.dumps({"dependencies": told})
            (self.folder / f"{name}.json").write_text(text)
        code = supply.main(["audit", str(self.folder / "lock.txt")])
        return code, self.capsys.readouterr().err


@pytest.fixture
def gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Gate:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Gate(tmp_path, capsys)


def test_a_lock_that_was_judged_whole_and_is_clean_passes(gate: Gate) -> None:
    assert gate([BAD], CLEAN) == (0, "")


@pytest.mark.covers("SUP-02")
@pytest.mark.parametrize(
    ("canary", "lock", "reason"),
    [
        (SKIPPED, CLEAN, "this index has no advisories"),
        ([BAD | {"vulns": []}], CLEAN, "it was called clean"),
        ([], CLEAN, "requests 2.19.0 was not judged"),
        ([BAD], [*CLEAN, BAD], "requests 2.19.0 has PYSEC-2018-28"),
        ([BAD], [*CLEAN[:1], {"name": "httpx", "skip_reason": "?"}], "httpx was skipped: ?"),
        ([BAD], CLEAN[:1], "httpx 0.28.1 was not judged"),
        ([BAD], [CLEAN[0], CLEAN[1] | {"version": "0.1"}], "where the lock has 0.28.1"),
        ([BAD], [], "h11 0.16.0 was not judged"),
        ([BAD], "no JSON", "lock.txt was skipped: No known vulnerabilities found"),
        ([BAD], "[]", "was skipped"),
    ],
)
def test_whatever_was_not_judged_or_is_bad_fails(
    canary: Any, lock: Any, reason: str, gate: Gate
) -> None:
    code, said = gate(canary, lock)

    assert code == 1
    assert reason in said


def test_without_an_auditor_nothing_passes(gate: Gate) -> None:
    (gate.folder / "pip-audit").unlink()

    code, said = gate([BAD], CLEAN)

    assert code == 1
    assert "expected pip-audit" in said
