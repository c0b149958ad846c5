"""Print which requirement rows and reliability cases a test shows, and which are still missing.

A row counts as shown if a test names it with `@pytest.mark.covers(...)` and passed in the last run;
a test that was skipped or failed shows nothing. Without a last run, what tests name is printed.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAST_RUN = ROOT / ".pytest_cache/v/faultline/covers"


def ids() -> dict[str, tuple[str, str, str]]:
    """Return every known id: (kind, component or priority, what it asks for)."""
    lines = (ROOT / "tests/fixtures/spec/ids.tsv").read_text("utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return {id: (kind, group, text) for kind, id, group, text in rows}


def named() -> dict[str, set[str]]:
    """Return the ids that tests name, each with its files."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "covers":
                for arg in node.args:
                    if isinstance(arg, ast.Constant):
                        found[str(arg.value)].add(path.relative_to(ROOT).as_posix())
    return found


def main() -> int:
    known, cited = ids(), named()
    passed = set(json.loads(LAST_RUN.read_text("utf-8"))) if LAST_RUN.is_file() else set(cited)
    shown = passed & known.keys()
    groups: dict[str, list[str]] = defaultdict(list)
    for id in known:
        groups[id.split("-")[0]].append(id)
    write = sys.stdout.write
    write(f"{'group':<6}{'shown':>6}{'of':>5}  missing\n")
    for group, members in groups.items():
        missing = [id for id in members if id not in shown]
        write(f"{group:<6}{len(members) - len(missing):>6}{len(members):>5}  {' '.join(missing)}\n")
    if unproved := sorted(set(cited) - passed):
        write(f"named, but not passed in the last run: {' '.join(unproved)}\n")
    if "--verbose" in sys.argv:
        for id in sorted(shown):
            write(f"{id}\t{', '.join(sorted(cited[id]))}\n")
    source = "the last test run" if LAST_RUN.is_file() else "the marks alone: run `make test` first"
    write(f"{len(shown)} of {len(known)} shown, by {source}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
