"""What commands share: settings from flags, the store, and how JSON is printed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from faultline.adapters.stores import open_store
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
