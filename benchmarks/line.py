"""P9: from an alert to the pull request, and to an agent's first step, on this machine.

The line is that of `faultline dev` with a real Git repository; the cluster is a recorded one. The
analyzers prove the cause in the first case. In the second nothing is proved and the agent is a
command that says when it began: everything before that is our overhead.
"""

from __future__ import annotations

import io
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import ROOT, Figure, folder
from measure import main as alone
from sample import message

from faultline.dev import Line
from faultline.logs import configure
from faultline.settings import Settings

CLUSTERS = ROOT / "examples/clusters"
WHO = ["-c", "user.name=A Person", "-c", "user.email=person@example.com"]


def figures(quick: bool) -> Iterator[Figure]:
    rounds = 3 if quick else 7
    proved = [_proved("memory") for _ in range(rounds)]
    agents = [_agent() for _ in range(rounds)]
    floor = [_three_commits() for _ in range(rounds)]
    yield Figure("P9", "alert to the branch of the pull request, analyzers", median(proved), "s",
                 target=2.0, by="value")  # fmt: skip
    yield Figure("P9", "alert to an agent's first step", median(agents) * 1_000, "ms",
                 target=300, by="value")  # fmt: skip
    yield Figure("", "alert to the branch of the pull request", median(proved) * 1_000, "ms",
                 "git alone: a branch with a commit", median(floor) * 1_000)  # fmt: skip


median = statistics.median


def _proved(scenario: str) -> float:
    """Return the seconds from posting the alert to the incident being packaged."""
    with folder() as where:
        repository = _repository(CLUSTERS / scenario / "manifests", where / "repository")
        body = (CLUSTERS / scenario / "alert.json").read_bytes()
        settings = Settings(
            store=f"file://{where / 'store'}",
            journal=str(where / "journal"),
            port=0,
            recorded_cluster=str(CLUSTERS / scenario),
            manifests=str(repository),
        )
        return _seconds(settings, body, lambda: _branch(repository))


def _branch(repository: Path) -> bool:
    heads = repository / ".git/refs/heads/faultline"
    return heads.is_dir() and any(path.is_file() for path in heads.rglob("*"))


def _agent() -> float:
    """Return the seconds from posting an alert that nothing proves to the agent's first step."""
    with folder() as where:
        mark = where / "began"
        command = f"/bin/sh -c 'date +%s.%N > {mark}'"
        settings = Settings(
            store=f"file://{where / 'store'}",
            journal=str(where / "journal"),
            port=0,
            agent_runtime={  # type: ignore[arg-type]
                "agent_command": command, "workspace_root": str(where / "runs"),
            },
        )  # fmt: skip
        return _seconds(settings, message(1, 1), mark.exists)


def _seconds(settings: Settings, body: bytes, done: Callable[[], bool]) -> float:
    import httpx

    configure("error")
    line = Line(settings, console=io.StringIO())
    line.start()
    try:
        httpx.get(f"{line.url}/health/liveness")
        start = time.perf_counter()
        httpx.post(f"{line.url}/alertmanager", content=body).raise_for_status()
        while not done():
            if time.perf_counter() - start > 30:
                raise RuntimeError("expected the line to come to its end within 30 s")
            time.sleep(0.002)
        return time.perf_counter() - start
    finally:
        time.sleep(0.3)
        line.stop()


def _repository(manifests: Path, where: Path) -> Path:
    shutil.copytree(manifests, where)
    _git(where, "init", "--quiet", "--initial-branch=main")
    _git(where, "add", ".")
    _git(where, *WHO, "commit", "--quiet", "--message", "manifests")
    return where


def _three_commits() -> float:
    """Return the seconds that Git itself needs for a branch with one commit."""
    with folder() as where:
        repository = _repository(CLUSTERS / "memory/manifests", where / "repository")
        (repository / "more.yaml").write_text(json.dumps({"kind": "ConfigMap"}))
        start = time.perf_counter()
        _git(repository, "checkout", "--quiet", "-b", "fix")
        _git(repository, "add", ".")
        _git(repository, *WHO, "commit", "--quiet", "--message", "fix")
        return time.perf_counter() - start


def _git(where: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(where), *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    alone(figures, __doc__)
