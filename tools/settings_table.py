"""Write the table of settings into docs/operate.md; `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from faultline.settings import Settings, fields, value

PAGE = Path(__file__).resolve().parent.parent / "docs/operate.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->"


def table() -> str:
    rows = ["| setting | variable | default | what it does |", "|---|---|---|---|"]
    defaults = Settings()
    for name, (variable, field) in fields().items():
        default = value(defaults, name)
        shown = f"`{default}`" if default not in ("", None) else ""
        rows.append(f"| `{name}` | `{variable}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    before = PAGE.read_text("utf-8")
    head, rest = before.split(BEGIN)
    after = head + BEGIN + table() + END + rest.split(END)[1]
    if "--check" in sys.argv:
        return int(before != after)
    PAGE.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
