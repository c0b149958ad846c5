"""The skill of a run: a folder of instructions and scripts that its engine finds in the workspace.

Which one stands in AGENT_RUNTIME_SKILLS_SOURCE; what it has to hold, in `agent-job/README.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from faultline.errors import Rejected


def given(environment: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files of the skill that the environment names; none if it names none."""
    source = environment.get("AGENT_RUNTIME_SKILLS_SOURCE")
    return skill(Path(source)) if source else {}


def version_given(environment: Mapping[str, str]) -> str:
    """Return that skill's version; "" if there is none, or none that is whole: nothing ran then."""
    try:
        return skill_version(given(environment))
    except Rejected:
        return ""


def skill(source: Path) -> dict[str, bytes]:
    """Return a skill's files as the workspace has them: `.claude/skills/<its name>/…`.

    Raises Rejected unless `SKILL.md`, `references/` and `scripts/` are there.
    """
    parts = {"SKILL.md": Path.is_file, "references": Path.is_dir, "scripts": Path.is_dir}
    if missing := [part for part, there in parts.items() if not there(source / part)]:
        raise Rejected(f"expected a skill at {source}, but it has no {', '.join(missing)}")
    files = (
        path for path in sorted(source.rglob("*")) if path.is_file() and ".git" not in path.parts
    )
    folder = f".claude/skills/{source.resolve().name}"
    return {f"{folder}/{path.relative_to(source)}": path.read_bytes() for path in files}


def skill_version(files: Mapping[str, bytes]) -> str:
    """Return `<name>@sha256:<64 hex>` of the files that `skill` found: the same for the same files.

    "" without any.
    """
    if not files:
        return ""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{len(data)}\0".encode("utf-8", "surrogateescape") + data)
    return f"{next(iter(files)).split('/')[2]}@sha256:{digest.hexdigest()}"
