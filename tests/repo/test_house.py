"""Code, manifests and docs say the same: routes, settings, commands, keys, locks."""

from __future__ import annotations

import re
import subprocess
import sys
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
