"""Write docs/schemas/, infra/knative/eventtypes.yaml and configs/ from the models.

python tools/schemas.py            writes them
python tools/schemas.py --check    says which would change, and fails if any would
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from faultline.schemas import EVENTS, event_type, schema
from faultline.settings import Settings, fields, secret

REPO = Path(__file__).parents[1]
HEAD = "# Made by tools/schemas.py from the models: change those. One EventType for each event.\n"
EXAMPLE_HEAD = """\
# yaml-language-server: $schema=../docs/schemas/config/faultline.json
# How runs are done, with the defaults. Copy what you change into faultline.yaml, or name this
# file: faultline --config configs/agent-runtime.yaml dev. The environment (in brackets) wins.
# Made by tools/schemas.py from the settings. A key of a model comes from FAULTLINE_MODEL_KEY or
# FAULTLINE_MODEL_KEY_FILE, never from here. All other settings: docs/operate.md.
"""


def files() -> dict[Path, str]:
    """Return path -> text of every file that is made."""
    made = {
        REPO / "docs" / "schemas" / f"{type}.json": json.dumps(schema(type), indent=2) + "\n"
        for type in EVENTS
    }
    manifests = yaml.safe_dump_all([event_type(type) for type in EVENTS], sort_keys=False)
    made[REPO / "infra" / "knative" / "eventtypes.yaml"] = HEAD + manifests
    made[REPO / "docs/schemas/config/faultline.json"] = (
        json.dumps(settings_schema(), indent=2) + "\n"
    )
    made[REPO / "configs/agent-runtime.yaml"] = example()
    return made


def settings_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `faultline.yaml`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:faultline:config",
        **Settings.model_json_schema(),
        "title": "faultline.yaml",
    }


def example() -> str:
    """Return every setting of the section `agent_runtime` with its default and what it does.

    A secret is left out: it comes from the environment or a mounted file.
    """
    lines = []
    for name, (variable, field) in fields().items():
        section, _, key = name.partition(".")
        if section == "agent_runtime" and not secret(name):
            lines += [
                f"  # {field.description} ({variable})", f"  {key}: {json.dumps(field.default)}"
            ]  # fmt: skip
    return EXAMPLE_HEAD + "agent_runtime:\n" + "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    stale = [
        path
        for path, text in files().items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]
    for path in stale:
        sys.stdout.write(f"{path.relative_to(REPO)}\n")
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files()[path], "utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
