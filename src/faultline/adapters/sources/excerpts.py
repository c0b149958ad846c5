"""The end of a container's log as `context/logs.txt` has it. Nothing is redacted here."""

from __future__ import annotations

import re

from faultline.limits import log_line_chars_max
from faultline.observability import CUT

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def excerpt(whose: str, log: str, most: int) -> str:
    """Return the last lines under a heading. A line of the log cannot pass for a heading."""
    lines = [_CONTROL.sub("", line) for line in log.split("\n")]
    lines = (lines[:-1] if lines[-1] == "" else lines)[-most:]
    shown = [
        (" " + line if line.startswith("==>") else line)[:log_line_chars_max]
        + (CUT if len(line) > log_line_chars_max else "")
        for line in lines
    ]
    return "\n".join([f"==> {whose} <==", *shown]) + "\n"
