"""The runbook of an alert, from a local folder: `<alertname>.md`. It is never fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from faultline.errors import NotFound
from faultline.limits import context_file_bytes_max
from faultline.model import Incident


def find_runbook(folder: Path, alert: str) -> bytes | None:
    """Return the runbook of this alert, cut to its limit; None if there is none."""
    if not alert or "/" in alert or alert.startswith("."):
        return None
    path = folder / f"{alert}.md"
    return path.read_bytes()[:context_file_bytes_max] if path.is_file() else None


class RunbookSource:
    """Reads runbooks that lie in a folder."""

    name = "runbooks"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self, incident: Incident) -> Iterator[tuple[str, bytes]]:
        """Yield the runbook. Raises NotFound if the folder has none for this alert."""
        found = find_runbook(self._folder, incident.fault.name)
        if found is None:
            raise NotFound(f"no runbook called {incident.fault.name}.md in {self._folder.name}/")
        yield "context/runbook.md", found
