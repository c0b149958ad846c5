"""What commands share: settings from flags, the store, which incident is meant, printing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from faultline import keys
from faultline.adapters.stores import open_store
from faultline.errors import Rejected
from faultline.incidents import Incidents
from faultline.settings import Settings, load


def settings_of(arguments: argparse.Namespace) -> tuple[Settings, dict[str, str]]:
    """Return the settings in force and where each came from; flags win."""
    flags = {
        name.removeprefix("setting:"): value
        for name, value in vars(arguments).items()
        if name.startswith("setting:") and value is not None
    }
    return load(os.environ, file=arguments.config, flags=flags)


def incidents_of(arguments: argparse.Namespace) -> Incidents:
    return Incidents(open_store(settings_of(arguments)[0].store))


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say(line: str = "") -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def resolve(memory: Incidents, text: str) -> str:
    """Return the id of the incident that is meant: an id, its hex, or `last`."""
    if keys.INCIDENT_ID.fullmatch(text):
        memory.incident(text)
        return text
    if text == "last":
        if newest := newest_of(memory):
            return newest
        raise Rejected("there is no incident yet; `faultline incidents` lists what there is")
    found = [i for i in memory.ids() if i.endswith(f"-{text}") and len(text) == 8]
    if not found:
        raise Rejected(
            f"expected an incident's id, its last 8 digits or `last`, got {text[:60]!r}; "
            "`faultline incidents` lists what there is"
        )
    return found[-1]


def newest_of(memory: Incidents) -> str | None:
    """Return the id of the incident that was opened last; ids sort by day, not by time."""
    found = [incident_id for incident_id in memory.ids() if memory.status(incident_id)]
    today = [memory.incident(i) for i in found if i[:8] == found[-1][:8]]
    return max(today, key=lambda incident: incident.opened_at).id if today else None
