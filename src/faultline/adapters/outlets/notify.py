"""Which chat an address belongs to: Slack, Discord, Teams, else anyone who takes JSON.

Only the address' host decides. The address is a secret, and stands in no message.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from urllib.parse import urlsplit

from faultline.errors import Rejected
from faultline.ports import Outlet

_HOSTS = {
    "hooks.slack.com": "slack",
    "hooks.slack-gov.com": "slack",
    "discord.com": "discord",
    "discordapp.com": "discord",
    "webhook.office.com": "teams",
    "logic.azure.com": "teams",
    "api.powerplatform.com": "teams",
}


def kind_of(url: str) -> str:
    """Return slack, discord, teams or webhook. Raises Rejected if it is no http(s) address."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise Rejected("notify_url: expected an address that begins with https://")
    found = (kind for name, kind in _HOSTS.items() if host == name or host.endswith(f".{name}"))
    return next(found, "webhook")


def outlet(
    url: str, *, secrets: tuple[str, ...], author: str, clock: Callable[[], dt.datetime]
) -> Outlet:
    """Return the outlet of this address."""
    kind = kind_of(url)
    if kind == "slack":
        from faultline.adapters.outlets.slack import SlackWebhookOutlet

        return SlackWebhookOutlet(url, clock=clock)
    if kind == "discord":
        from faultline.adapters.outlets.discord import DiscordOutlet

        return DiscordOutlet(url, clock=clock, author=author)
    if kind == "teams":
        from faultline.adapters.outlets.teams import TeamsOutlet

        return TeamsOutlet(url, clock=clock)
    from faultline.adapters.outlets.webhook import WebhookOutlet

    return WebhookOutlet(url, secrets=secrets, clock=clock)
