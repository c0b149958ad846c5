"""Write docs/schemas/ and infra/knative/eventtypes.yaml from the registry in faultline.schemas.

python tools/schemas.py            writes them
python tools/schemas.py --check    says which would change, and fails if any would
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from faultline.schemas import EVENTS, event_type, schema

REPO = Path(__file__).parents[1]
HEAD = "# Made by tools/schemas.py from the models: change those. One EventType for each event.\n"


def files() -> dict[Path, str]:
    """Return path -> text of every file that is made."""
    made = {
        REPO / "docs" / "schemas" / f"{type}.json": json.dumps(schema(type), indent=2) + "\n"
        for type in EVENTS
    }
    manifests = yaml.safe_dump_all([event_type(type) for type in EVENTS], sort_keys=False)
    made[REPO / "infra" / "knative" / "eventtypes.yaml"] = HEAD + manifests
    return made


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
