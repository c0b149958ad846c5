"""Branches, commits and documents in a real repository, a friendly and a hostile one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from github_fake import GitHubFake
from outlet_world import FILE, INCIDENT, LIMIT, NOW, Hour, git, report, repository

from faultline.adapters.manifests import DirectoryManifests, GitManifests, NoManifests
from faultline.adapters.outlets.console import BANNER, ConsoleOutlet
from faultline.adapters.outlets.dry_run import DryRunOutlet
from faultline.adapters.outlets.git import GitOutlet, branch_name
from faultline.adapters.outlets.github import GitHubOutlet
from faultline.adapters.repository import Repository
from faultline.errors import Rejected, Unavailable
from faultline.limits import manifest_bytes_max
from faultline.model import FileChange, PatchRules, Proposal
from faultline.proposal import propose

BRANCH = "faultline/fix-api-5c1e9b2a"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return repository(tmp_path / "shop")


def outlet(path: Path) -> GitOutlet:
    return GitOutlet(path, clock=Hour())


# what is made


@pytest.mark.covers("S3-54")
def test_the_branch_is_named_after_the_workload_and_the_incident(path: Path) -> None:
    receipt = outlet(path).deliver(report(path), None)

    assert receipt.reference == receipt.details["branch"] == BRANCH
    assert git(path, "rev-parse", BRANCH) == receipt.details["commit"]
    assert branch_name(INCIDENT.id, "bot/") == "bot/fix-api-5c1e9b2a"


@pytest.mark.covers("S3-55")
def test_the_commit_says_what_why_and_which_incident(path: Path) -> None:
    outlet(path).deliver(report(path), None)

    assert git(path, "log", "-1", "--format=%an <%ae>%n%B", BRANCH) == (
        "Faultline <faultline@localhost>\n"
        "fix(api): api is killed for memory\n\n"
        "The limit of 64Mi is below what api needs (# 12, @ ada). Closes # 7\n\n"
        "Faultline-Incident: 20261121-api-5c1e9b2a\n"
        "Faultline-Run: 20261121-api-5c1e9b2a-1"
    )


@pytest.mark.covers("S3-48")
def test_the_branch_has_the_patch_and_nothing_else(path: Path) -> None:
    made = report(path)
    outlet(path).deliver(made, None)

    assert git(path, "diff", "main", BRANCH, "--stat=200").startswith(f"{FILE} |")
    assert git(path, "diff", "-U0", "main", BRANCH).splitlines()[-2:] == [
        "-              memory: 64Mi   # was plenty in 2024",
        "+              memory: 256Mi   # was plenty in 2024",
    ]
    assert git(path, "rev-parse", f"{BRANCH}^") == made.proposal.base


def test_the_work_tree_and_the_index_of_a_person_stay(path: Path) -> None:
    (path / FILE).write_text("half an edit")
    (path / "new.yaml").write_text("staged")
    git(path, "add", "new.yaml")
    made = report(path)
    before = git(path, "status", "--porcelain", "--branch")

    outlet(path).deliver(made, None)

    assert git(path, "status", "--porcelain", "--branch") == before
    assert git(path, "ls-tree", "-r", "--name-only", BRANCH).count("new.yaml") == 0


def test_the_same_report_makes_the_same_commit_elsewhere(path: Path, tmp_path: Path) -> None:
    other = repository(tmp_path / "other")

    commits = {outlet(p).deliver(report(p), None).details["commit"] for p in (path, other)}

    assert len(commits) == 1


def test_the_pull_request_is_a_document_beside_the_repository(path: Path) -> None:
    receipt = outlet(path).deliver(report(path), None)

    document = Path(receipt.details["pull_request"])
    assert document == path / ".git/faultline/pull-requests/faultline-fix-api-5c1e9b2a.md"
    assert document.read_text().startswith(
        "# fix(api): AI-suggested remediation [Faultline #1]\n\n## What happened"
    )


def test_without_a_patch_there_is_an_issue_document_and_no_branch(path: Path) -> None:
    receipt = outlet(path).deliver(report(), None)

    assert receipt.reference == f"issue-{INCIDENT.id}"
    assert "killed" in Path(receipt.details["issue"]).read_text()
    assert git(path, "branch", "--list", "faultline/*") == ""
    assert outlet(path).merged(receipt) is None


def test_an_issue_becomes_a_pull_request_when_a_later_run_has_a_patch(path: Path) -> None:
    issue = outlet(path).deliver(report(), None)

    receipt = outlet(path).deliver(report(path), issue)

    assert receipt.reference == BRANCH
    assert outlet(path).deliver(report(), receipt) == receipt


# again, and with people


def test_a_second_run_with_the_same_patch_adds_no_commit(path: Path) -> None:
    first = outlet(path).deliver(report(path), None)

    second = outlet(path).deliver(report(path, run=2, text="Looked again."), first)

    assert second.details["commit"] == first.details["commit"]
    assert "Looked again." in Path(second.details["pull_request"]).read_text()


def test_a_second_run_with_another_patch_adds_one_commit_to_the_branch(path: Path) -> None:
    first = outlet(path).deliver(report(path), None)
    cpu = LIMIT.model_copy(
        update={"field": LIMIT.field.replace("memory", "cpu"), "before": None, "after": "1"}
    )
    better = report(path, LIMIT.model_copy(update={"after": "128Mi"}), cpu, run=2)

    second = outlet(path).deliver(better, first)
    again = outlet(path).deliver(better, second)

    assert git(path, "rev-list", "--count", f"main..{BRANCH}") == "2"
    assert git(path, "rev-parse", f"{BRANCH}^") == first.details["commit"]
    assert git(path, "show", f"{BRANCH}:{FILE}") == better.proposal.files[0].after.strip()
    assert again.details == second.details
    assert second.made_at == first.made_at


def test_a_persons_commit_on_the_branch_is_never_covered(path: Path) -> None:
    first = outlet(path).deliver(report(path), None)
    git(path, "switch", "-q", BRANCH)
    git(path, "commit", "-q", "--allow-empty", "-m", "mine")
    mine = git(path, "rev-parse", BRANCH)

    second = outlet(path).deliver(
        report(path, LIMIT.model_copy(update={"after": "128Mi"}), run=2), first
    )
    adopted = outlet(path).deliver(report(path), None)

    assert git(path, "rev-parse", BRANCH) == mine
    assert "person" in second.details["left"]
    assert adopted.reference == BRANCH


def test_a_branch_that_a_person_deleted_is_not_made_again(path: Path) -> None:
    first = outlet(path).deliver(report(path), None)
    git(path, "branch", "-D", BRANCH)

    second = outlet(path).deliver(report(path), first)

    assert "deleted" in second.details["left"]
    assert git(path, "branch", "--list", BRANCH) == ""


def test_somebody_elses_branch_of_that_name_is_left(path: Path) -> None:
    git(path, "branch", BRANCH)
    git(path, "switch", "-q", BRANCH)
    git(path, "commit", "-q", "--allow-empty", "-m", "not yours")
    git(path, "switch", "-q", "main")
    tip = git(path, "rev-parse", BRANCH)

    receipt = outlet(path).deliver(report(path), None)

    assert git(path, "rev-parse", BRANCH) == tip
    assert "person" in receipt.details["left"]


def test_manifests_that_moved_on_are_not_turned_back(path: Path) -> None:
    made = report(path)
    (path / "other.yaml").write_text("a: b\n")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "moved on")

    receipt = outlet(path).deliver(made, None)

    assert receipt.details["base"] == made.proposal.base
    assert git(path, "merge-base", "main", BRANCH) == made.proposal.base


def test_a_base_that_nobody_knows_needs_files_as_they_were_read(path: Path) -> None:
    made = report(path)
    unknown = made.model_copy(
        update={"proposal": made.proposal.model_copy(update={"base": "f" * 40})}
    )
    (path / FILE).write_text("kind: Other\n")
    git(path, "commit", "-q", "-am", "changed")

    with pytest.raises(Rejected, match="changed since"):
        outlet(path).deliver(unknown, None)


# merged


def test_a_merge_is_found_with_its_time_and_its_author(path: Path) -> None:
    receipt = outlet(path).deliver(report(path), None)
    git(path, "merge", "-q", "--no-ff", BRANCH, "-m", "Merge the fix")
    git(path, "commit", "-q", "--allow-empty", "-m", "later")

    merged = outlet(path).merged(receipt)

    assert merged is not None
    assert merged.revision == git(path, "rev-parse", "main^")
    assert (merged.by, merged.at.isoformat()) == ("Ada", "2026-11-21T12:00:00+00:00")


def test_a_fast_forward_is_dated_by_the_log_of_the_branch(path: Path) -> None:
    receipt = outlet(path).deliver(report(path), None)
    git(path, "merge", "-q", "--ff-only", BRANCH)
    git(path, "commit", "-q", "--allow-empty", "-m", "later")

    merged = outlet(path).merged(receipt)

    assert merged is not None
    assert merged.revision == receipt.details["commit"]
    assert merged.at.isoformat() == "2026-11-21T12:00:00+00:00"


def test_a_squash_is_found_by_its_content(path: Path) -> None:
    receipt = outlet(path).deliver(report(path), None)
    git(path, "commit", "-q", "--allow-empty", "-m", "between")
    git(path, "merge", "-q", "--squash", BRANCH)
    git(path, "commit", "-q", "-m", "More memory")
    (path / FILE).write_text("kind: Rewritten\n")
    git(path, "commit", "-q", "-am", "later")

    merged = outlet(path).merged(receipt)

    assert merged is not None
    assert merged.revision == git(path, "rev-parse", "main^")


def test_a_pick_onto_changed_files_is_found_by_its_trailer(path: Path) -> None:
    receipt = outlet(path).deliver(report(path), None)
    with (path / FILE).open("a") as file:
        file.write("# a new last line\n")
    git(path, "commit", "-q", "-am", "meanwhile")
    git(path, "cherry-pick", BRANCH)

    merged = outlet(path).merged(receipt)

    assert merged is not None
    assert merged.revision == git(path, "rev-parse", "main")


def test_the_incidents_name_in_somebodys_prose_is_no_merge(path: Path) -> None:
    receipt = outlet(path).deliver(report(path), None)
    with (path / FILE).open("a") as file:
        file.write("# about it\n")
    git(path, "commit", "-q", "-am", f"About\n\nFaultline-Incident: {INCIDENT.id}\n\nSee above.")

    assert outlet(path).merged(receipt) is None


def test_after_the_merge_nothing_more_is_changed(path: Path) -> None:
    first = outlet(path).deliver(report(path), None)
    told = report(path, LIMIT.model_copy(update={"after": "128Mi"}), run=2)
    git(path, "merge", "-q", "--no-ff", BRANCH, "-m", "Merge")
    tip = git(path, "rev-parse", BRANCH)

    second = outlet(path).deliver(told, first)

    assert git(path, "rev-parse", BRANCH) == tip
    assert second.details["left"] == "it was merged"


# a hostile repository


@pytest.mark.covers("ART-10")
def test_nothing_that_a_hostile_repository_brings_is_run(path: Path, tmp_path: Path) -> None:
    (path / ".gitattributes").write_text("*.yaml filter=x diff=x\n")
    (path / ".gitmodules").write_text('[submodule "s"]\npath = s\nurl = ext::evil\n')
    link = git(path, "hash-object", "-w", "--stdin", stdin="/etc/passwd")
    head = git(path, "rev-parse", "main")
    git(path, "add", ".")
    git(path, "update-index", "--add", "--cacheinfo", f"120000,{link},deploy/link.yaml")
    git(path, "update-index", "--add", "--cacheinfo", f"160000,{head},deploy/sub.yaml")
    git(path, "commit", "-q", "-m", "hostile")
    canary = tmp_path / "canary"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ndate >> {canary}\nexit 0\n")
    script.chmod(0o755)
    hooks = path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("reference-transaction", "pre-commit", "post-commit", "post-index-change"):
        (hooks / hook).write_text(script.read_text())
        (hooks / hook).chmod(0o755)
    for key, value in {
        "core.hooksPath": str(hooks),
        "core.fsmonitor": str(script),
        "core.pager": str(script),
        "core.editor": str(script),
        "core.sshCommand": str(script),
        "core.gitProxy": str(script),
        "core.alternateRefsCommand": str(script),
        "credential.helper": f"!{script}",
        "filter.x.clean": str(script),
        "filter.x.smudge": str(script),
        "filter.x.process": str(script),
        "diff.external": str(script),
        "diff.x.textconv": str(script),
        "gpg.program": str(script),
        "commit.gpgSign": "true",
        "log.showSignature": "true",
        "protocol.file.allow": "always",
        "protocol.ext.allow": "always",
        "remote.origin.url": f"ext::{script}",
        "remote.origin.promisor": "true",
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "alias.cat-file": f"!{script}",
    }.items():
        git(path, "config", key, value)
    git(path, "update-ref", "refs/heads/trap", "refs/heads/main")
    assert canary.exists()  # whoever is careless here runs it
    canary.unlink()

    files = GitManifests(path).files()
    receipt = outlet(path).deliver(report(path), None)
    later = report(path, LIMIT.model_copy(update={"after": "128Mi"}), run=2)
    outlet(path).deliver(later, receipt)
    (path / ".git/refs/heads/main").write_text(receipt.details["commit"] + "\n")
    merged = outlet(path).merged(receipt)

    assert not canary.exists()
    assert sorted(files) == [FILE, "deploy/api/service.yaml"]
    assert merged is not None


@pytest.mark.covers("ART-10")
@pytest.mark.parametrize(
    "ref",
    [
        "--upload-pack=x",
        "refs/heads/--exec=x",
        "a b",
        "a..b",
        "a~1",
        "refs/tags/v1",
        "a@{1}",
        "x\n",
        "../HEAD",
        "a.lock",
        "/a",
        "a//b",
    ],
)
def test_an_odd_name_of_a_branch_is_refused(path: Path, ref: str) -> None:
    with pytest.raises(Rejected, match="name of a branch"):
        GitManifests(path, ref).files()


def test_head_that_points_to_something_odd_is_refused(path: Path) -> None:
    (path / ".git/HEAD").write_text("ref: refs/heads/../../config\n")

    with pytest.raises((Rejected, Unavailable)):
        GitManifests(path).files()


def test_a_branch_that_is_a_link_to_main_does_not_lead_there(path: Path) -> None:
    git(path, "symbolic-ref", f"refs/heads/{BRANCH}", "refs/heads/main")
    tip = git(path, "rev-parse", "main")

    receipt = outlet(path).deliver(report(path), None)

    assert git(path, "rev-parse", "main") == tip
    assert receipt.details["left"]


def test_a_document_is_never_written_through_a_link(path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (path / ".git/faultline").symlink_to(outside)

    with pytest.raises(Rejected, match="link out of it"):
        outlet(path).deliver(report(path), None)
    assert list(outside.iterdir()) == []


@pytest.mark.covers("ART-08")
def test_protected_paths_in_a_real_repository_are_refused(path: Path) -> None:
    text = (path / FILE).read_text()
    places = [".github/deploy.yaml", "CODEOWNERS", "Dockerfile", "other/api.yaml", ".gitmodules"]
    for place in places:
        git(path, "rm", "-q", "-r", "--ignore-unmatch", ".")
        (path / place).parent.mkdir(parents=True, exist_ok=True)
        (path / place).write_text(text)
        git(path, "add", place)
        git(path, "commit", "-q", "-m", place)
        manifests = GitManifests(path)
        files = {**manifests.files(), place: text.encode()}  # even if it had been read

        made = propose(
            report().diagnosis,
            files,
            PatchRules(paths=("deploy/**",)),
            revision=manifests.revision(),
        )

        assert made.empty
        assert made.refused


@pytest.mark.covers("ART-08")
@pytest.mark.parametrize("mode", ["120000", "160000"])
def test_a_link_and_a_submodule_are_never_replaced_by_a_file(path: Path, mode: str) -> None:
    head = git(path, "rev-parse", "main")
    link = git(path, "hash-object", "-w", "--stdin", stdin="/etc/passwd")
    entry = {"120000": link, "160000": head}[mode]
    git(path, "update-index", "--add", "--cacheinfo", f"{mode},{entry},deploy/x.yaml")
    git(path, "commit", "-q", "-m", "odd")
    change = FileChange(path="deploy/x.yaml", before="/etc/passwd", after="kind: x\n")
    forged = Proposal(files=(change,), base=git(path, "rev-parse", "main"))

    with pytest.raises(Rejected, match="plain file"):
        outlet(path).deliver(report(proposal=forged), None)
    assert git(path, "branch", "--list", "faultline/*") == ""


# manifests


def test_manifests_are_read_at_the_tip_and_not_in_the_work_tree(path: Path) -> None:
    (path / FILE).write_text("not committed")
    manifests = GitManifests(path)

    files = manifests.files()

    assert files[FILE].startswith(b"# Front of the shop")
    assert manifests.revision() == git(path, "rev-parse", "main")


def test_a_revision_belongs_to_the_files_that_were_read(path: Path) -> None:
    manifests = GitManifests(path)
    manifests.files()
    read_at = git(path, "rev-parse", "main")
    git(path, "commit", "-q", "--allow-empty", "-m", "later")

    assert manifests.revision() == read_at
    assert GitManifests(path).revision() == git(path, "rev-parse", "main")


def test_only_a_folder_is_read_if_one_is_named(path: Path) -> None:
    (path / "other.yml").write_text("a: b\n")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "other")

    assert "other.yml" in GitManifests(path).files()
    assert "other.yml" not in GitManifests(path, subdir="deploy/").files()


def test_what_is_too_large_or_no_text_is_passed_over(path: Path) -> None:
    (path / "large.yaml").write_bytes(b"#" * (manifest_bytes_max + 1))
    (path / "latin.yaml").write_bytes(b"a: \xe9\n")
    (path / "note.txt").write_text("hello")
    (path / "link.yaml").symlink_to("/etc/passwd")
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "odd")
    wanted = [FILE, "deploy/api/service.yaml"]

    assert sorted(GitManifests(path).files()) == wanted
    assert sorted(DirectoryManifests(path).files()) == wanted


def test_head_on_a_branch_of_ours_is_not_the_default_branch(path: Path) -> None:
    outlet(path).deliver(report(path), None)
    git(path, "switch", "-q", BRANCH)

    assert Repository(path).default() == "refs/heads/main"
    assert b"64Mi   #" in GitManifests(path).files()[FILE]


def test_where_nobody_said_where_there_are_no_manifests(tmp_path: Path) -> None:
    assert (NoManifests().files(), NoManifests().revision()) == ({}, "")
    with pytest.raises(Unavailable):
        DirectoryManifests(tmp_path / "gone").files()
    with pytest.raises(Unavailable):
        GitManifests(tmp_path).files()
    with pytest.raises(Unavailable):
        GitManifests(repository(tmp_path / "shop"), "gone").files()


# console and dry run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_console_shows_cause_link_and_diff_in_colour_only_on_a_terminal(path: Path) -> None:
    plain, terminal = io.StringIO(), Terminal()

    for stream in (plain, terminal):
        ConsoleOutlet(stream, clock=lambda: NOW).deliver(report(path), None)

    assert "cause       The limit of 64Mi is below what api needs (#12, @ada). Closes #7\n" in (
        plain.getvalue()
    )
    assert "report      http://127.0.0.1" in plain.getvalue()
    assert "+              memory: 256Mi" in plain.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert "\x1b[32m+              memory: 256Mi" in terminal.getvalue()


@pytest.mark.covers("S3-47")
def test_a_terminal_gets_a_banner_with_the_cause_the_wit_and_whether_there_is_a_patch(
    path: Path,
) -> None:
    plain, terminal, without = io.StringIO(), Terminal(), io.StringIO()
    wit = "This pod crashed harder than my hopes for Monday."
    found = report(path)
    assert found.diagnosis
    told = found.diagnosis.model_copy(update={"witty_line": wit})
    found = found.model_copy(update={"diagnosis": told})

    for stream in (plain, terminal):
        ConsoleOutlet(stream, clock=lambda: NOW).deliver(found, None)
    ConsoleOutlet(without, clock=lambda: NOW).deliver(report(), None)

    assert terminal.getvalue().startswith(BANNER)
    assert BANNER not in plain.getvalue()
    for shown in (plain.getvalue(), terminal.getvalue()):
        assert "cause       The limit of 64Mi is below what api needs" in shown
        assert f"wit         {wit}\n" in shown
        assert "patch       1 file, +1 -1\n" in shown
    assert "patch       none\n" in without.getvalue()
    assert "wit " not in without.getvalue()


@pytest.mark.covers("S3-58")
def test_in_safe_mode_there_is_no_pull_request_and_the_diagnosis_is_logged_and_commented(
    path: Path,
) -> None:
    hub, console = GitHubFake({"a.yaml": b"{}"}), io.StringIO()
    found = report(path)
    assert found.patch
    outlets = [
        GitHubOutlet(hub.github(), clock=lambda: NOW, safe_mode=True),
        ConsoleOutlet(console, clock=lambda: NOW),
    ]

    for outlet in outlets:
        outlet.deliver(found, None)

    assert not hub.pulls
    assert hub.refs.keys() == {"main"}
    assert len(hub.said_on(1)) == 1
    assert "The limit of 64Mi is below what api needs" in console.getvalue()


def test_the_console_never_passes_on_what_a_terminal_would_obey() -> None:
    terminal = Terminal()
    hostile = report(title="\x1b[0m\x1b]0;owned\x07title")

    ConsoleOutlet(terminal, clock=lambda: NOW).deliver(hostile, None)

    assert "\x1b]" not in terminal.getvalue()
    assert "\x07" not in terminal.getvalue()


def test_a_dry_run_writes_what_would_have_been_sent(path: Path) -> None:
    written: dict[str, bytes] = {}

    def write(incident_id: str, name: str, data: bytes) -> None:
        written[name] = data

    for name in ("github", "slack"):
        receipt = DryRunOutlet(name, write, clock=lambda: NOW).deliver(report(path), None)
        assert receipt.details["dry_run"] == "true"

    assert sorted(written) == ["pr.md", "pr.patch", "slack.json"]
    assert b"+              memory: 256Mi" in written["pr.patch"]
