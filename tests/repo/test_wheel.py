"""What is installed is whole: templates, texts, the page's files, and the Triggers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def data_files() -> set[str]:
    """Return the package's files that are not Python."""
    source = ROOT / "src"
    found = (p for p in (source / "faultline").rglob("*") if p.is_file())
    return {
        p.relative_to(source).as_posix()
        for p in found
        if p.suffix not in (".py", ".pyc") and "__pycache__" not in p.parts
    }


@pytest.mark.covers("S0-01")
def test_the_wheel_carries_everything_that_the_package_reads(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    copy = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".venv*", ".git", ".faultline", "node_modules", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=ignored)

    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
               "--no-build-isolation", "--wheel-dir", str(tmp_path), str(copy)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    (wheel,) = tmp_path.glob("faultline-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert data_files() - packed == set()
    assert "faultline/broker/triggers.yaml" in packed
