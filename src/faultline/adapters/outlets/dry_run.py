"""Instead of an outlet: write down what it would have been sent, and send nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from faultline.adapters.outlets.discord import embed
from faultline.adapters.outlets.email import mail
from faultline.adapters.outlets.slack import payload
from faultline.adapters.outlets.summary import summary
from faultline.adapters.outlets.teams import card
from faultline.adapters.outlets.webhook import content
from faultline.model import Merged, Receipt, Report

CODE_HOSTS = frozenset({"git", "github", "gitlab", "gitea"})


class DryRunOutlet:
    """Stands in for the outlet of that name. `write` is given the incident's id, a name (`pr.md`,
    `pr.patch`, `<outlet>.json`) and what would have been sent.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[str, str, bytes], None],
        *,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self.name = name
        self._write = write
        self._clock = clock

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Write what would have been sent, again if it is asked again."""
        written = self._artefacts(report)
        for name, data in written.items():
            self._write(report.incident.id, name, data)
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
            return {f"{self.name}.json": _message(self.name, report)}
        page = f"# {report.title}\n\n{report.text}\n".encode()
        return {"pr.md": page} | ({"pr.patch": report.patch.encode()} if report.patch else {})


def _message(name: str, report: Report) -> bytes:
    """Return the body that the outlet of this name would have posted."""
    if name == "webhook":
        return content("incident.packaged", report)
    found = summary(report)
    forms = {"slack": payload, "discord": embed, "teams": card}
    if name == "email":
        told: dict[str, Any] = mail(report)
    elif name in forms:
        told = forms[name](found)
    else:
        told = {"incident": report.incident.id, "title": report.title, "text": report.message}
    return json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False).encode()
