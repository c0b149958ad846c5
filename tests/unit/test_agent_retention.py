"""How long a run's folder stays, and what is never touched when it goes."""

import logging
import os

import pytest

from faultline.agent.retention import Retention, retention
from faultline.agent.workspace import Workspace
from faultline.errors import Rejected
from faultline.sections import CleanupPolicy

NOW = 1_800_000_000.0
HOUR = 3_600


@pytest.fixture
def ended(tmp_path):
    """Make the folder of a run whose engine ended so many hours ago."""

    def make(name, hours):
        workspace = Workspace(tmp_path, name)
        with workspace.held():
            workspace.lay_out({"PROMPT.md": b"# Look\n"})
        workspace.beside("ended").touch()
        os.utime(workspace.beside("ended"), (NOW, NOW - hours * HOUR))
        return workspace

    return make


@pytest.mark.covers("S1-011", "S1-088")
@pytest.mark.parametrize(
    ("policy", "after_success", "after_failure", "after_80_hours"),
    [
        ("keep", True, True, True),
        ("keep_on_failure", False, True, False),
        ("delete_after", True, True, False),
        ("delete", False, False, False),
    ],
)
def test_each_policy_keeps_a_folder_as_long_as_it_says(
    tmp_path, ended, policy, after_success, after_failure, after_80_hours
):
    kept = retention({"AGENT_RUNTIME_CLEANUP": policy})
    good, bad = ended("good-1", hours=0), ended("bad-1", hours=0)
    old, young = ended("old-1", hours=80), ended("young-1", hours=71)

    kept.clean_up(good, success=True)
    kept.clean_up(bad, success=False)
    kept.forget_old(tmp_path, NOW)

    assert (good.path.exists(), bad.path.exists()) == (after_success, after_failure)
    assert old.path.exists() is after_80_hours
    assert young.path.exists()
    assert {policy} <= {str(each) for each in CleanupPolicy}


def test_what_is_at_work_or_no_runs_stays_however_old(tmp_path, ended):
    collecting, elsewhere = ended("collecting-1", hours=500), tmp_path / "mine"
    running = Workspace(tmp_path, "running-1")
    elsewhere.mkdir()
    with running.held():
        running.lay_out({})

    with collecting.held():
        Retention(CleanupPolicy.DELETE_AFTER, 0).forget_old(tmp_path, NOW)

    assert collecting.path.exists()
    assert running.path.exists()
    assert elsewhere.exists()


@pytest.mark.covers("S1-089")
def test_a_folder_that_cannot_be_removed_is_told_and_raises_nothing(tmp_path, ended, caplog):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    workspace = ended("linked-1", hours=0)
    workspace.path.rename(tmp_path / "aside")
    workspace.path.symlink_to(outside)

    with caplog.at_level(logging.WARNING):
        Retention(CleanupPolicy.DELETE, 0).clean_up(workspace, success=False)

    assert "workspace not removed: " in caplog.text
    assert str(workspace.path) in caplog.text
    assert (outside / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"AGENT_RUNTIME_CLEANUP": "burn"}, "expected keep, keep_on_failure, delete_after, delete"),
        ({"AGENT_RUNTIME_RETENTION": "long"}, "AGENT_RUNTIME_RETENTION: expected hours"),
    ],
)
def test_what_is_no_policy_is_refused_before_anything_runs(environment, expected):
    with pytest.raises(Rejected, match=expected):
        retention(environment)


def test_without_a_word_failures_are_kept_for_three_days():
    assert retention({}) == Retention(CleanupPolicy.KEEP_ON_FAILURE, 72.0)
