"""infra/terraform holds together: format, and its own tests with a mocked provider."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "infra/terraform"
TERRAFORM = shutil.which("terraform")


def mirror() -> Path | None:
    """Find a local mirror of providers: nothing is downloaded by a test."""
    named = os.environ.get("TF_PLUGIN_MIRROR")
    roots = [Path(named)] if named else [Path("/opt"), Path("/usr/local/share")]
    for root in roots:
        for found in root.glob("**/hashicorp/aws") if root.is_dir() else ():
            return (
                found.parents[2] if found.parents[1].name.startswith("registry") else found.parent
            )
    return None


def run(folder: Path, *arguments: str, config: Path) -> str:
    done = subprocess.run(
        ["terraform", f"-chdir={folder}", *arguments],
        env=os.environ | {"TF_CLI_CONFIG_FILE": str(config), "TF_IN_AUTOMATION": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.real
@pytest.mark.skipif(TERRAFORM is None, reason="terraform is not installed")
def test_the_bucket_and_its_roles_plan_as_promised(tmp_path: Path) -> None:
    providers = mirror()
    if providers is None:
        pytest.skip("no local mirror of Terraform's AWS provider (set TF_PLUGIN_MIRROR)")
    config = tmp_path / "offline.tfrc"
    config.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{providers}"\n  }}\n}}\n'
        "disable_checkpoint = true\n"
    )
    folder = tmp_path / "terraform"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns(".terraform*"))

    run(folder, "fmt", "-check", "-recursive", config=config)
    run(folder, "init", "-input=false", config=config)

    assert "6 passed, 0 failed" in run(folder, "test", config=config)
