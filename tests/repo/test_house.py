"""Code, manifests and docs say the same: routes, settings, commands, keys, locks."""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from faultline import settings
from faultline.cli import parser
from faultline.event import PREFIX
from faultline.routes import STEPS

ROOT = Path(__file__).resolve().parents[2]
DOCS = {
    path: path.read_text("utf-8") for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
}


def triggers() -> dict[str, dict]:
    text = (ROOT / "infra/knative/triggers.yaml").read_text("utf-8")
    found = [d for d in yaml.safe_load_all(text) if d and d["kind"] == "Trigger"]
    return {document["metadata"]["name"]: document for document in found}


@pytest.mark.parametrize("name", sorted(STEPS))
def test_a_step_opens_with_the_event_that_its_trigger_routes(name: str) -> None:
    opening = (sys.modules[STEPS[name].__module__].__doc__ or "").splitlines()[0]
    wanted = set(opening.partition(" -> ")[0].split(", "))
    mine = [
        t["spec"] for t in triggers().values() if t["spec"]["subscriber"]["ref"]["name"] == name
    ]
    heard = [spec["filter"]["attributes"]["type"] for spec in mine]

    plain = {
        h.removeprefix(PREFIX).removesuffix(".v1").removeprefix("dev.knative.sources.")
        for h in heard
    }
    assert plain == wanted


def test_every_setting_is_in_the_docs_with_its_variable() -> None:
    text = (ROOT / "docs/operate.md").read_text("utf-8")
    missing = [f"{n} {v}" for n, (v, _) in settings.fields().items() if f"`{v}`" not in text]

    assert missing == []


def test_every_setting_is_read_somewhere() -> None:
    code = "\n".join(
        p.read_text("utf-8") for p in (ROOT / "src").rglob("*.py") if p.name != "settings.py"
    )
    unread = [name for name in settings.fields() if f".{name.rpartition('.')[2]}" not in code]

    assert unread == []


def commands() -> list[str]:
    text = parser().format_help()
    return sorted(set(re.findall(r"^    ([a-z]+) ", text, re.MULTILINE)))


def test_every_command_is_in_the_docs() -> None:
    text = "\n".join(DOCS.values())

    assert commands()
    assert [name for name in commands() if f"faultline {name}" not in text] == []


def test_the_docs_name_no_command_that_does_not_exist() -> None:
    named = {
        m for text in DOCS.values() for m in re.findall(r"^\$? *faultline ([a-z]+)", text, re.M)
    }

    assert named <= set(commands())


@pytest.mark.parametrize(
    "path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda p: p.name
)
@pytest.mark.covers("S0-01")
def test_a_lock_names_no_index_and_every_line_has_hashes(path: Path) -> None:
    text = path.read_text("utf-8")
    pins = re.findall(r"^([a-z0-9][\w.\[\]-]*)==", text, re.MULTILINE)

    assert "://" not in text
    assert "--index" not in text
    assert len(pins) > 20
    assert text.count("--hash=sha256:") >= len(pins)


def test_no_file_names_a_package_index_or_a_path_of_some_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    forbidden = re.compile(r"pypi\.org|files\.pythonhosted|registry\.npmjs|deb\.debian\.org|/work/")
    found = []
    for name in filter(None, listed):
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if name != "tests/repo/test_house.py" and forbidden.search(data.decode("utf-8", "replace")):
            found.append(name)

    assert found == []


@pytest.mark.covers("S0-07")
def test_help_exits_0_and_names_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faultline", "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert all(name in done.stdout for name in commands())


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for path, text in DOCS.items():
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")

    assert broken == []


@pytest.mark.covers("S1-152")
@pytest.mark.parametrize(
    ("target", "runs"),
    [
        ("build", ["uv build --quiet --wheel"]),
        ("test", ["ruff check .", "mypy", "lint-imports", "pytest -q", ".venv-kn/bin/python"]),
        ("debug", ["LOG_LEVEL=debug .venv/bin/python -X dev -m faultline dev"]),
    ],
)
def test_a_target_runs_what_its_name_says(target: str, runs: list[str]) -> None:
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert [command for command in runs if command not in done.stdout] == []


def imported() -> set[str]:
    """Return the packages of others that the source imports, by their first name."""
    names = set()
    for path in (ROOT / "src/faultline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"faultline"}


DISTRIBUTION = {  # where the name differs, or what another one brings
    "yaml": "pyyaml", "prometheus_client": "prometheus-client", "func_python": "func-python",
    "functions_framework": "functions-framework", "botocore": "boto3", "urllib3": "boto3",
    "pydantic_core": "pydantic",
}  # fmt: skip


@pytest.mark.covers("S0-03")
def test_what_the_source_imports_is_declared_and_streams_are_read_by_a_parser_of_ours() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    declared = {re.split(r"[\[<>=]", line)[0] for line in lines}

    assert {DISTRIBUTION.get(name, name) for name in imported()} <= declared
    assert "httpx" in declared
    assert not {name for name in declared if "sse" in name or name in ("mcp", "typer", "click")}
    assert isinstance(parser(), argparse.ArgumentParser)
    assert find_spec("faultline.sse") is not None


@pytest.mark.covers("S0-02")
def test_the_units_are_rooms_of_their_own_and_their_doors_open_one_way() -> None:
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    for unit in ("settings", "bridge", "agent", "views", "steps", "web", "cli"):
        assert find_spec(f"faultline.{unit}") is not None

    assert done.returncode == 0, done.stdout
    assert "Rooms open downwards KEPT" in done.stdout
