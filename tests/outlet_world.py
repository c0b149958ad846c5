"""Reports, and a repository of manifests, for tests of outlets."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from pathlib import Path
from typing import Any

from faultline.adapters.manifests import GitManifests
from faultline.model import (
    Change,
    Diagnosis,
    Fault,
    Incident,
    PatchRules,
    Proposal,
    Report,
    Result,
    RunStatus,
    Target,
)
from faultline.proposal import diff, propose

NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)
INCIDENT = Incident(
    id="20261121-api-5c1e9b2a",
    key="resource/prod/shop/api",
    fault=Fault(name="KubePodCrashLooping", cluster="prod", starts_at=NOW),
    opened_at=NOW,
)
FILE = "deploy/api/deployment.yaml"
LIMIT = Change(
    target=Target(kind="Deployment", name="api", namespace="shop"),
    field="spec.template.spec.containers[name=api].resources.limits.memory",
    before="64Mi",
    after="256Mi",
)
MANIFESTS = Path(__file__).parent / "fixtures" / "manifests"


class Hour:
    """A clock that says another hour each time."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        self.now += dt.timedelta(hours=1)
        return self.now


def git(path: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run git as a person would, as someone called Ada."""
    who = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in ADA.items()}
    clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    done = subprocess.run(
        ["git", "-C", str(path), *arguments],
        env=clean | who,
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


ADA = {"NAME": "Ada", "EMAIL": "ada@shop.example", "DATE": "2026-11-21T12:00:00Z"}


def repository(path: Path) -> Path:
    """Make a repository with the manifests on its branch `main`."""
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    for file in sorted(MANIFESTS.rglob("*.yaml")):
        copy = path / file.relative_to(MANIFESTS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "shop")
    return path


def report(path: Path | None = None, *changes: Change, **more: Any) -> Report:
    """Return a report; with a repository, with a patch for it."""
    diagnosis = Diagnosis(
        title="api is killed for memory",
        root_cause="The limit of 64Mi is below what api needs (#12, @ada).\n\nCloses #7",
        changes=changes or (LIMIT,),
    )
    proposal = Proposal()
    if path is not None:
        manifests = GitManifests(path)
        files = manifests.files()
        revision = manifests.revision()
        proposal = propose(diagnosis, files, PatchRules(), revision=revision)
        assert not proposal.refused
    made = Report(
        incident=INCIDENT,
        run=1,
        title="fix(api): AI-suggested remediation [Faultline #1]",
        text="## What happened\n\nIt was killed.",
        message="api is killed for memory",
        diagnosis=diagnosis,
        result=Result(
            incident_id=INCIDENT.id,
            run=1,
            status=RunStatus.SUCCESS,
            started_at=NOW,
            completed_at=NOW,
        ),
        proposal=proposal,
        patch=diff(proposal),
        links={"report": "http://127.0.0.1:8080/incidents/20261121-api-5c1e9b2a"},
    )
    return made.model_copy(update=more)
