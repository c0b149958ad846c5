"""Microsoft Teams, through the address of a workflow or connector: an adaptive card.

Teams names nothing that could be edited or found, so what follows is a new card, and a lost reply
means a second one. Source: learn.microsoft.com, adaptive cards 1.4 for webhooks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from faultline.adapters import posting
from faultline.adapters.outlets.discord import plain
from faultline.adapters.outlets.summary import Summary, summary
from faultline.errors import Busy
from faultline.model import Merged, Receipt, Report


class TeamsOutlet:
    """Tells one channel. Raises Busy, Unavailable, Rejected."""

    name = "teams"

    def __init__(self, url: str, *, clock: Callable[[], dt.datetime], client: Any = None) -> None:
        self._url, self._clock = url, clock
        self._client = client or posting.client(self._url)

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Post the card once; another for a later run, or for the end."""
        news = receipt is None or receipt.details.get("run") != str(report.run)
        if news or report.ending:
            self._post(card(summary(report)))
        if receipt:
            return receipt
        return posting.receipt(self.name, report, self._clock())

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing is merged in a chat."""
        return None

    def _post(self, body: dict[str, Any]) -> None:
        answer = posting.send(self._client, "POST", self._url, to="Teams' webhook", json=body)
        if "error 429" in answer.text[:500]:  # connectors say 200, and this
            raise Busy("Teams' webhook has no room for us: wait 60 s", retry_after_s=60)


def card(found: Summary) -> dict[str, Any]:
    """Return a message as an adaptive card, below 28 KB."""
    colour = "Good" if found.proposed else "Warning" if found.solved else "Attention"
    title = {"weight": "Bolder", "size": "Medium", "color": colour}
    facts = [{"title": name, "value": plain(value)} for name, value in found.fields]
    body: list[dict[str, Any]] = [
        _text(plain(found.title)) | title,
        {"type": "FactSet", "facts": facts},
        _text(found.cause_title) | {"weight": "Bolder"},
        _text(plain(found.cause)),
        _text(plain(found.action)),
        *([_text(plain(found.ending)) | {"weight": "Bolder"}] if found.ending else ()),
        _text(found.footer) | {"isSubtle": True, "size": "Small"},
        *([_text(plain(found.joke)) | {"isSubtle": True}] if found.joke else ()),
    ]
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": n, "url": u} for n, u in found.buttons],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}


def _text(text: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True}
