"""From settings to the doors of a process: what the bridge takes in, what the console shows.

`bootstrap.py` makes what steps need; this makes what people and senders meet. `dev` opens all of
them in one process, `faultline bridge` and `faultline web` one each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from faultline.bootstrap import now
from faultline.bridge.app import Doors
from faultline.bridge.follow import Client, Follower
from faultline.bridge.gate import App
from faultline.bridge.intake import Intake
from faultline.ports import Ports
from faultline.redact import redact
from faultline.settings import Settings


def listed(text: str) -> list[str]:
    """Split a setting that holds several values, at commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def intake(settings: Settings, ports: Ports) -> Intake:
    """Return what turns foreign messages into fault events."""
    return Intake(
        sink=ports.sink,
        store=ports.incidents.store,
        cluster=settings.cluster,
        clock=now,
        clean=redact,
    )


def doors_of(settings: Settings, taken: Intake, streams: Sequence[Follower]) -> Doors:
    """Return the bridge's doors: who may come in, and the state of the streams."""

    def states() -> Mapping[str, Any]:
        return {follower.name: follower.status for follower in streams}

    return Doors(
        taken,
        tokens=listed(settings.webhook_token),
        hmac_secrets=listed(settings.webhook_hmac),
        streams=states,
    )


def followers(settings: Settings, taken: Intake) -> list[Follower]:
    """Return one follower per stream of faults that is configured."""
    return [
        Follower(url, Client(url, cluster=settings.cluster, clock=now), taken)
        for url in listed(settings.sse_endpoint)
    ]


def pages_of(settings: Settings, ports: Ports) -> App:
    """Return the web console."""
    from faultline.web.app import app

    pages: App = app(
        ports.incidents, send=ports.sink.send, clock=now, token=settings.console_token or None
    )
    return pages
