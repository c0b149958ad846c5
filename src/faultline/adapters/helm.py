"""Helm on this machine, as a renderer of charts: `helm template`, and nothing else of it.

It gets a copy of the chart in a folder of its own, an environment of its own and a time limit. No
plugin, repository, cluster, name server or configuration of a user is asked. Which value to change
is `charts.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from faultline.charts import Release
from faultline.errors import Rejected, Unavailable
from faultline.limits import manifest_bytes_max

seconds_max = 30.0


class Helm:
    """Renders releases with one program, such as /usr/bin/helm.

    Raises Rejected for a chart that it does not render, Unavailable if it cannot be run.
    """

    def __init__(self, program: str, *, seconds: float = seconds_max) -> None:
        self._program = program
        self._seconds = seconds

    def __call__(self, release: Release) -> bytes:
        with tempfile.TemporaryDirectory(prefix="faultline-helm-") as folder:
            repository, home = Path(folder, "repository"), Path(folder, "home")
            home.mkdir()
            for path, content in release.files.items():
                _write(repository, path, content)
            return self._run(self._command(release, repository), home)

    def _command(self, release: Release, repository: Path) -> list[str]:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,51}[a-z0-9])?", release.name):
            raise Rejected(f"expected the name of a Helm release, got {release.name[:80]!r}")
        values = [f"--values={repository / file}" for file in release.values]
        where = [f"--namespace={release.namespace}"] if release.namespace else []
        chart = str(repository / release.directory)
        return [self._program, "template", release.name, chart, *where, *values]

    def _run(self, command: list[str], home: Path) -> bytes:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=home,
                env=_environment(home),
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Rejected(f"expected a chart that renders in {self._seconds:g} seconds") from None
        except OSError as error:
            raise Unavailable(f"helm: {type(error).__name__}") from None
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0][:300]
            raise Rejected(f"helm does not render the chart: {said.replace(str(home.parent), '')}")
        if len(done.stdout) > manifest_bytes_max:
            raise Rejected(f"expected a chart of at most {manifest_bytes_max} bytes, got more")
        return done.stdout


def _environment(home: Path) -> dict[str, str]:
    folders = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_PLUGINS")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "KUBECONFIG": "/dev/null",
        "HELM_NO_PLUGINS": "1",
        **{name: str(home / name.lower()) for name in folders},
    }


def _write(folder: Path, path: str, content: bytes) -> None:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise Rejected(f"expected a path inside the repository, got {path[:80]!r}")
    file = folder / parts
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
