"""Print an incident to a terminal: the laptop's chat.

What is printed may come from a cluster's logs, so control characters are taken out. A console
cannot be searched: a receipt that was lost in another process means a second print.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TextIO

from faultline.model import Merged, Receipt, Report

# a fault in the rock; only for people at a terminal
BANNER = r"""
 ____/\    ____/\__
       \/\/        \__  Faultline
"""

_BOLD, _RED, _GREEN, _CYAN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[36m"
_PLAIN = "\x1b[0m"


class ConsoleOutlet:
    """Prints once for each incident; later deliveries are one line. Colour on terminals only."""

    name = "console"

    def __init__(self, stream: TextIO, *, clock: Callable[[], dt.datetime]) -> None:
        self._stream = stream
        self._clock = clock
        self._told: dict[str, Receipt] = {}

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Print the report, or that it changed."""
        told = receipt or self._told.get(report.incident.id)
        if told is None:
            self._print(*self._lines(report))
            told = Receipt(outlet=self.name, reference=report.incident.id, made_at=self._clock())
        else:
            news = f"updated: {report.incident.id} run {report.run}: {report.title}"
            if report.ending:
                news = f"{report.incident.id}: {report.ending}"
            self._print(self._paint("", news))
        self._told[report.incident.id] = told
        return told

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing is merged on a console."""
        return None

    def _lines(self, report: Report) -> list[str]:
        lines = []
        if report.diagnosis:
            lines.append(f"cause       {' '.join(report.diagnosis.root_cause.split())}")
            lines.append(f"confidence  {report.diagnosis.confidence.value}")
            if report.diagnosis.witty_line:
                lines.append(f"wit         {report.diagnosis.witty_line}")
        else:
            lines.append(f"no diagnosis: the run ended with {report.result.status.value}")
        lines += [f"{name:<11} {link}" for name, link in report.links.items()]
        lines.append(f"patch       {_size(report.patch)}")
        lines += [f"not proposed: {what}: {why}" for what, why in report.proposal.refused.items()]
        plain = [self._paint("", line) for line in lines]
        banner = BANNER.split("\n") if self._stream.isatty() else [""]
        return [*banner, self._paint(_BOLD, report.title), *plain, *self._diff(report.patch)]

    def _diff(self, patch: str) -> list[str]:
        colours = {"+": _GREEN, "-": _RED, "@": _CYAN}
        return [self._paint(colours.get(line[:1], ""), line) for line in patch.splitlines()]

    def _paint(self, colour: str, text: str) -> str:
        shown = "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in text)
        return f"{colour}{shown}{_PLAIN}" if colour and self._stream.isatty() else shown

    def _print(self, *lines: str) -> None:
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()


def _size(patch: str) -> str:
    """Say how large a diff is; `none` for an empty one."""
    lines = patch.splitlines()
    files = sum(line.startswith("+++ ") for line in lines)
    more, less = (
        sum(line.startswith(sign) and not line.startswith(sign * 3) for line in lines)
        for sign in "+-"
    )
    return f"{files} file{'s' * (files > 1)}, +{more} -{less}" if files else "none"
