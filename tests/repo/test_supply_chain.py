"""What is shipped is what was reviewed: locks, images, workflows, source, texts, and the wheel."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from faultline.views import render

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
SOURCE = sorted((ROOT / "src").rglob("*.py"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))


# locks


def entries(text: str) -> list[str]:
    """Return a lock's requirements, each with its continued lines."""
    joined = re.sub(r" *\\\n\s*", " ", text)
    return [
        line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]


@pytest.mark.covers("SUP-01")
@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_of_a_lock_is_pinned_and_hashed_and_from_nowhere_else(lock: Path) -> None:
    found = entries(lock.read_text("utf-8"))
    pin = re.compile(
        r"[a-z0-9][\w.-]*(\[[\w,-]+\])?==\S+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+ *"
    )

    assert len(found) > 20
    assert [entry[:60] for entry in found if not pin.fullmatch(entry)] == []


@pytest.mark.covers("SUP-01")
def test_every_installation_of_ours_demands_the_hashes() -> None:
    for name in ("Makefile", "Dockerfile", ".github/workflows/ci.yaml"):
        text = re.sub(r"\\\n\s*", " ", (ROOT / name).read_text("utf-8"))
        for line in re.findall(r"pip install[^\n&|]*", text):
            ours = "--no-deps" in line  # our own source, whose needs are there already
            assert ours or "--require-hashes" in line, f"{name}: {line}"


# images


def images() -> dict[str, str]:
    """Return every image that a file of ours names to be pulled or run, with the file."""
    found = {}
    for file in [ROOT / "Dockerfile", ROOT / "agent-job/Dockerfile"]:
        text = file.read_text("utf-8")
        stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
        given = dict(re.findall(r"^ARG (\w+)=(\S+)", text, re.MULTILINE))
        for name in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
            name = re.sub(r"\$\{(\w+)\}", lambda m, g=given: g[m[1]], name)
            if name not in stages:
                found[name] = str(file.relative_to(ROOT))
    for file in [*(ROOT / "infra").rglob("*.yaml"), ROOT / "agent-job/README.md"]:
        for name in re.findall(r"^[\s-]*image: (\S+)", file.read_text("utf-8"), re.MULTILINE):
            found[name] = str(file.relative_to(ROOT))
    return found


# built by whoever deploys, so the digest is theirs: kustomization.yaml and config.yaml take it
OURS = {
    "faultline", "faultline:latest", "faultline-agent",
}  # fmt: skip
FOREIGN = {  # by tag, and why
    "python:3.11-slim": "a base that gets its security updates: each build takes the newest",
    "rancher/kubectl:v1.31.1": "a build argument: whoever builds names the kubectl of a cluster",
}


@pytest.mark.covers("SUP-04")
def test_every_image_is_named_by_digest_or_there_is_a_reason() -> None:
    found = images()
    loose = {name for name in found if "@sha256:" not in name}

    assert loose == OURS | FOREIGN.keys()
    page = (ROOT / "docs/security.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in FOREIGN)
    for file in ("infra/knative/kustomization.yaml", "infra/knative/README.md"):
        assert "digest" in (ROOT / file).read_text("utf-8"), file


# workflows


@pytest.mark.covers("SUP-05")
@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_pinned_actions_with_the_least_permissions(file: Path) -> None:
    text = file.read_text("utf-8")
    flow = yaml.safe_load(text)
    heard = flow[True]  # YAML 1.1 takes `on` for a boolean

    assert flow["permissions"] == {"contents": "read"}
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(heard)
    for job in flow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 60
        assert not re.search(r"latest|self-hosted", str(job["runs-on"]))
        for step in job["steps"]:
            used = step.get("uses", "")
            assert not used or re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", used), used
            if "checkout" in used:
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", "")  # text of strangers in a shell
    assert "secrets." not in text


# source

FORBIDDEN = {
    "yaml.load without a safe loader": r"yaml\.(?:load|load_all)\((?![^\n]*Loader=_)",
    "pickle": r"\b(?:import|from) (?:pickle|marshal|shelve|dill)\b",
    "a shell": r"shell\s*=\s*True|os\.system\(|os\.popen\(",
    "eval": r"(?<![\w.])(?:eval|exec)\(",
    "unpacking": r"\.(?:extractall|unpack_archive)\(",
    "no certificates": r"verify\s*=\s*False|CERT_NONE|_create_unverified_context",
    "unescaped": r"\|\s*safe\b|\bMarkup\(",
    "mktemp": r"tempfile\.mktemp",
}


@pytest.mark.covers("SUP-06")
def test_the_source_has_none_of_what_makes_holes() -> None:
    texts = [*SOURCE, *(ROOT / "src").rglob("*.j2")]
    found = [
        f"{file.relative_to(ROOT)}: {what}"
        for file in texts
        for what, pattern in FORBIDDEN.items()
        if re.search(pattern, file.read_text("utf-8"))
    ]

    assert found == []


@pytest.mark.covers("SUP-06")
def test_the_linters_rules_about_security_are_on_and_each_exception_says_why() -> None:
    command = [sys.executable, "-m", "ruff", "check", "--select", "S", "--no-cache", "src"]
    command += ["--ignore", "S603,S607"]  # running a command is our trade; none through a shell
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

    bare = [
        f"{file.name}:{n}"
        for file in SOURCE
        for n, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if (found := re.search(r"# noqa: S\d+(.*)", line)) and len(found[1].strip()) < 10
    ]
    assert bare == []


# texts


@pytest.mark.covers("SUP-09")
def test_prompts_and_texts_come_from_the_package_or_a_folder_of_the_operator() -> None:
    import jinja2

    loaders = render.environment(html=False).loader.loaders  # type: ignore[union-attr]
    own = render.environment(html=False, own="/nowhere").loader.loaders  # type: ignore[union-attr]

    assert [type(loader) for loader in loaders] == [jinja2.PackageLoader]
    assert [type(loader) for loader in own] == [jinja2.FileSystemLoader, jinja2.PackageLoader]
    for file in (ROOT / "src/faultline/views").glob("*.py"):
        assert not re.search(
            r"import (?:httpx|requests|socket)|urllib.request", file.read_text("utf-8")
        )
    for file in (ROOT / "src/faultline/texts").iterdir():
        assert not re.search(r"\b(?:curl|wget|pip install|npm install)\b", file.read_text("utf-8"))


@pytest.mark.covers("SUP-09")
def test_a_run_names_the_hash_of_its_prompt_and_a_skill_is_read_from_a_disk() -> None:
    from faultline.agent import workspace

    skill = Path(workspace.__file__).read_text("utf-8")
    assert "httpx" not in skill
    assert "sha256 of the {{ what }}" in (ROOT / "src/faultline/texts/report.html.j2").read_text()


# the wheel


@pytest.mark.covers("SUP-08")
def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    kept = shutil.ignore_patterns("__pycache__")
    sums = []
    for n, name in enumerate(("one", "another")):
        copy = tmp_path / name
        copy.mkdir()
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(ROOT / part, copy / part)
        shutil.copytree(ROOT / "src", copy / "src", ignore=kept, copy_function=shutil.copyfile)
        shutil.copytree(ROOT / "infra/knative", copy / "infra/knative")
        for file in copy.rglob("*"):
            os.utime(file, (1_000_000_000 + n * 86_400,) * 2)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
        environment = os.environ | {
            "SOURCE_DATE_EPOCH": "1795000000",
            "TZ": ["UTC", "Asia/Tokyo"][n],
        }
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        [wheel] = (copy / "dist").glob("*.whl")
        sums.append((wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest()))

    assert sums[0] == sums[1]
