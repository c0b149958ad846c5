"""Colour on a terminal, none elsewhere; and never a control character of somebody else's."""

from __future__ import annotations

import os
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return the text in this style if the stream is a terminal and NO_COLOR is not set."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def paint_diff(diff: str, stream: TextIO) -> str:
    """Return a diff with added lines green and removed lines red."""
    styles = {"+": "green", "-": "red", "@": "cyan"}
    lines = (paint(line, styles[line[0]], stream) if line[:1] in styles else line
             for line in diff.splitlines())  # fmt: skip
    return "\n".join(lines)
