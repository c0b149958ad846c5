"""The folder of a run: what is laid out, what is collected, and what is not."""

import contextlib
import inspect
import os
import re
import shutil
import socket
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

import faultline.agent.workspace
from faultline.agent.skills import skill, skill_version
from faultline.agent.workspace import FOLDERS, Workspace, collect
from faultline.errors import Rejected, Unavailable
from faultline.model import Run

ROOT = Path(__file__).parents[2]


def a_run(number=1):
    return Run(
        incident_id="20261121-api-5c1e9b2a",
        number=number,
        engine="stub",
        deadline_s=10,
        capsule_sha256="",
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
        cause={},
    )


@pytest.fixture
def workspace(tmp_path):
    made = Workspace(tmp_path / "runs", a_run().id)
    with made.held():
        made.lay_out({"PROMPT.md": b"# Look\n", "context/objects/pod/api.yaml": b"kind: Pod\n"})
        yield made


FILES = ("PROMPT.md", "event.json", "incident.json", "findings.json")


@pytest.mark.covers("S1-133")
@pytest.mark.parametrize("name", [*(f"{folder}/" for folder in FOLDERS), *FILES])
def test_the_module_and_the_contract_show_the_layout_as_it_is(name):
    shown = re.compile(rf"(^|\s){re.escape(name)}(\s|$)", re.MULTILINE)

    assert shown.search(inspect.getdoc(faultline.agent.workspace))
    assert shown.search((ROOT / "agent-job/README.md").read_text("utf-8"))


@pytest.mark.covers("S1-026")
def test_the_layout_is_private_from_the_start(workspace):
    modes = {
        str(p.relative_to(workspace.path)): stat.S_IMODE(p.stat().st_mode)
        for p in [workspace.path, *workspace.path.rglob("*")]
    }

    folders = {name for name, mode in modes.items() if (workspace.path / name).is_dir()}
    assert folders == {
        *(".", ".claude", "context", "context/objects", "context/objects/pod"),
        *("home", "tmp", "output", "output/artifacts"),
    }
    assert {modes[name] for name in folders} == {0o700}
    assert {modes[name] for name in modes.keys() - folders} == {0o600}
    assert workspace.log.read_bytes() == b""


def test_an_open_umask_opens_nothing(tmp_path):
    before = os.umask(0)
    try:
        made = Workspace(tmp_path / "runs", a_run().id)
        with made.held():
            made.lay_out({"PROMPT.md": b""})
    finally:
        os.umask(before)

    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((made.path / "PROMPT.md").stat().st_mode) == 0o600


@pytest.mark.covers("S1-024", "S1-025", "S1-115")
@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "context/../../x", "..", ".", "home/../../../x"]
)
def test_a_name_that_leads_outside_is_refused(tmp_path, name):
    made = Workspace(tmp_path / "runs", a_run().id)

    with made.held(), pytest.raises(Rejected, match="inside the workspace"):
        made.lay_out({name: b"x"})

    assert not (tmp_path / "x").exists()


@pytest.mark.covers("S1-021")
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_no_run_left_is_not_overwritten(tmp_path, kind):
    made = Workspace(tmp_path / "runs", a_run().id)
    (tmp_path / "runs").mkdir()
    if kind == "folder":
        made.path.mkdir()
        (made.path / "precious").write_text("x")
    elif kind == "file":
        made.path.write_text("x")
    else:
        (tmp_path / "target").mkdir()
        made.path.symlink_to(tmp_path / "target")

    with made.held(), pytest.raises(Rejected, match="no run left"):
        made.lay_out({"PROMPT.md": b""})

    assert made.path.is_symlink() or made.path.is_file() or (made.path / "precious").exists()


def test_what_an_abandoned_attempt_left_is_replaced(tmp_path):
    first = Workspace(tmp_path / "runs", a_run().id)
    with first.held():
        first.lay_out({"PROMPT.md": b"one"})
        (first.path / "output/half.md").write_text("half")

    again = Workspace(tmp_path / "runs", a_run().id)
    with again.held():
        again.lay_out({"PROMPT.md": b"two"})

    assert (again.path / "PROMPT.md").read_bytes() == b"two"
    assert not (again.path / "output/half.md").exists()


def test_a_run_that_is_held_is_nobody_elses(workspace, tmp_path):
    other = Workspace(tmp_path / "runs", a_run().id)

    with pytest.raises(Unavailable, match="worked on already"), other.held():
        pass
    with Workspace(tmp_path / "runs", a_run(2).id).held():
        pass


@pytest.mark.covers("S1-117")
def test_the_size_is_that_of_the_files_and_follows_no_link(workspace, tmp_path):
    before = workspace.size()
    (tmp_path / "big").write_bytes(b"x" * 10_000)
    (workspace.path / "output/link").symlink_to(tmp_path / "big")
    (workspace.path / "output/a").write_bytes(b"x" * 100)

    assert workspace.size() == before + 100


@pytest.mark.covers("S1-086")
def test_plain_files_are_collected_however_deep(workspace):
    output = workspace.path / "output"
    (output / "investigation.md").write_text("report")
    (output / "artifacts/a/b").mkdir(parents=True)
    (output / "artifacts/a/b/c.txt").write_text("deep")
    (workspace.path / "outside-output.txt").write_text("no")

    found = collect(workspace.path)

    assert found.files == {
        "output/agent.log": b"",
        "output/artifacts/a/b/c.txt": b"deep",
        "output/investigation.md": b"report",
    }
    assert found.left_out == {}


@pytest.mark.covers("ART-04")
def test_links_pipes_sockets_and_devices_stay_behind(workspace, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("s")
    artifacts = workspace.path / "output/artifacts"
    (artifacts / "symbolic").symlink_to(secret)
    (artifacts / "dangling").symlink_to("/nowhere")
    (artifacts / "folder").symlink_to(tmp_path)
    (artifacts / "hard").hardlink_to(secret)
    os.mkfifo(artifacts / "pipe")
    monkeypatch.chdir(artifacts)  # a socket's address is short
    devices = {}
    with contextlib.suppress(PermissionError):  # not everyone may make one
        os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        devices = {"output/artifacts/device": "not a plain file"}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        found = collect(workspace.path)

    assert found.files == {"output/agent.log": b""}
    assert found.left_out == devices | {
        "output/artifacts/dangling": "a symbolic link",
        "output/artifacts/folder": "a symbolic link",
        "output/artifacts/hard": "a hard link",
        "output/artifacts/pipe": "not a plain file",
        "output/artifacts/socket": "not a plain file",
        "output/artifacts/symbolic": "a symbolic link",
    }


@pytest.mark.covers("S1-024")
def test_an_output_folder_that_became_a_link_gives_nothing(workspace, tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else/secret").write_text("s")
    (workspace.path / "output").rename(workspace.path / "moved")
    (workspace.path / "output").symlink_to(tmp_path / "else")

    found = collect(workspace.path)

    assert found.files == {}
    assert found.left_out == {"output": "a symbolic link"}


def test_limits_hold_and_the_report_comes_before_they_are_used_up(workspace):
    artifacts = workspace.path / "output/artifacts"
    for n in range(10):
        (artifacts / f"{n}.txt").write_bytes(b"x" * 100)
    (artifacts / "big.txt").write_bytes(b"x" * 1001)
    (workspace.path / "output/investigation.md").write_bytes(b"r" * 500)

    few = collect(workspace.path, files_max=4)
    small = collect(workspace.path, file_bytes_max=1000)
    short = collect(workspace.path, bytes_max=700)

    assert list(few.files)[:2] == ["output/agent.log", "output/investigation.md"]
    assert len(few.files) == 4
    assert small.left_out == {"output/artifacts/big.txt": "over 1000 bytes"}
    assert short.bytes == 700
    assert "output/investigation.md" in short.files


def test_a_sparse_giant_is_refused_by_its_size_and_a_deep_tree_by_its_depth(workspace):
    artifacts = workspace.path / "output/artifacts"
    with (artifacts / "sparse").open("wb") as file:
        file.truncate(10 * 2**30)
    deep = artifacts / "/".join("d" * 40)
    deep.mkdir(parents=True)
    (deep / "x").write_text("x")

    found = collect(workspace.path)

    assert list(found.files) == ["output/agent.log"]
    assert "over" in found.left_out["output/artifacts/sparse"]
    assert any("folders deep" in reason for reason in found.left_out.values())


def test_names_that_are_no_text_do_not_stop_the_others(workspace):
    (workspace.path / "output/artifacts" / os.fsdecode(b"\xff\xfe")).write_text("x")
    (workspace.path / "output/artifacts/ok.txt").write_text("y")

    assert "output/artifacts/ok.txt" in collect(workspace.path).files


@pytest.mark.covers("ART-04", "S1-024")
def test_nothing_outside_is_read_while_names_are_exchanged(workspace, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data.txt").write_text("SECRET")
    artifacts = workspace.path / "output/artifacts"
    (artifacts / "folder").mkdir()
    (artifacts / "folder/data.txt").write_text("mine")
    (artifacts / "data.txt").write_text("mine")
    link, folder_link, hard = artifacts / ".l", artifacts / ".f", artifacts / ".h"
    over = threading.Event()

    def exchange():
        while not over.is_set():
            for path, target in ((link, outside / "data.txt"), (folder_link, outside)):
                path.symlink_to(target)
            hard.hardlink_to(outside / "data.txt")
            link.replace(artifacts / "data.txt")
            hard.replace(artifacts / "data.txt")
            (artifacts / "folder").rename(artifacts / ".aside")
            folder_link.replace(artifacts / "folder")
            (artifacts / "folder").unlink()
            (artifacts / ".aside").rename(artifacts / "folder")
            (artifacts / ".new").write_text("mine")
            (artifacts / ".new").replace(artifacts / "data.txt")

    thread = threading.Thread(target=exchange)
    thread.start()
    refused = set()
    try:
        for _ in range(1000):
            found = collect(workspace.path)
            assert b"SECRET" not in found.files.values()
            refused |= set(found.left_out.values())
    finally:
        over.set()
        thread.join()

    assert refused & {"a symbolic link", "a hard link"}


@pytest.fixture
def a_skill(tmp_path):
    source = tmp_path / "k8s-troubleshooter"
    for name in ("SKILL.md", "references/events.md", "scripts/triage.sh", ".git/config"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    return source


@pytest.mark.covers("S1-028", "S1-029", "S1-030")
def test_a_skill_lies_where_the_engine_looks_for_it(tmp_path, a_skill):
    made = Workspace(tmp_path / "runs", a_run().id)

    with made.held():
        made.lay_out({"PROMPT.md": b""} | skill(a_skill))

    folder = made.path / ".claude/skills/k8s-troubleshooter"
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == {
        *("SKILL.md", "references/events.md", "scripts/triage.sh")
    }


def test_the_version_of_a_skill_is_that_of_its_files_and_of_nothing_else(a_skill):
    before = skill_version(skill(a_skill))
    (a_skill / ".git/config").write_text("another clone")
    again = skill_version(skill(a_skill))
    (a_skill / "SKILL.md").write_text("another text")

    assert before == again != skill_version(skill(a_skill))
    assert before.startswith("k8s-troubleshooter@sha256:")
    assert skill_version({}) == ""


@pytest.mark.covers("S1-031", "S1-033")
@pytest.mark.parametrize("missing", ["SKILL.md", "references", "scripts", ""])
def test_a_skill_that_is_not_whole_is_an_error(a_skill, missing):
    shutil.move(a_skill / missing, a_skill.parent / "elsewhere")

    with pytest.raises(Rejected, match=missing or "SKILL.md, references, scripts"):
        skill(a_skill)


@pytest.mark.covers("S1-135")
def test_every_variable_of_the_runtime_and_all_parts_of_a_skill_are_in_its_contract(a_skill):
    contract = (ROOT / "agent-job/README.md").read_text("utf-8")
    code = "".join(p.read_text("utf-8") for p in (ROOT / "src/faultline/agent").glob("*.py"))
    section = contract.partition("## A skill\n")[2].partition("\n## ")[0]
    read = set(re.findall(r"""(?:environment\.get\(|_needed\(environment, )"([A-Z_]+)""", code))

    assert len(read) > 8
    assert [name for name in sorted(read) if f"`{name}`" not in contract] == []
    assert {"SKILL.md", "references/", "scripts/"} <= set(re.findall(r"`([^`]+)`", section))
    assert "AGENT_RUNTIME_SKILLS_SOURCE=/skills/" in section
    assert ".claude/skills/<name>/" in section
