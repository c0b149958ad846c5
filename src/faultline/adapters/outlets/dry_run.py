"""Instead of an outlet: write down what it would have been sent, and send nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

from faultline.model import Merged, Receipt, Report

CODE_HOSTS = frozenset({"git", "github", "gitlab", "gitea"})


class DryRunOutlet:
    """Stands in for the outlet of that name; `write` keeps `pr.patch`, `pr.md`, `<name>.json`."""

    def __init__(
        self,
        name: str,
        write: Callable[[str, bytes], None],
        *,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self.name = name
        self._write = write
        self._clock = clock

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Write what would have been sent, again if it is asked again."""
        written = self._artefacts(report)
        for name, content in written.items():
            self._write(name, content)
        if receipt is not None:
            return receipt
        details = {"dry_run": "true", "files": " ".join(written)}
        reference = f"dry-run-{report.incident.id}"
        return Receipt(
            outlet=self.name, reference=reference, made_at=self._clock(), details=details
        )

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing was proposed."""
        return None

    def _artefacts(self, report: Report) -> dict[str, bytes]:
        if self.name not in CODE_HOSTS:
            told = {"incident": report.incident.id, "title": report.title, "text": report.message}
            return {f"{self.name}.json": json.dumps(told, indent=2, sort_keys=True).encode()}
        page = f"# {report.title}\n\n{report.text}\n".encode()
        return {"pr.md": page} | ({"pr.patch": report.patch.encode()} if report.patch else {})
