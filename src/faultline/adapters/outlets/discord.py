"""Discord, through the address of a webhook: one message per incident, an embed, edited later.

Discord names the message that a webhook makes, so it can be edited; it cannot be searched for, so a
lost reply means a second message. Source: docs.discord.com, resources/webhook.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from faultline.adapters import posting
from faultline.adapters.outlets.summary import Summary, summary
from faultline.errors import Unavailable
from faultline.model import Merged, Receipt, Report

GREEN, YELLOW = 0x57F287, 0xFEE75C  # a pull request is there; a person has to act without one


class DiscordOutlet:
    """Tells one channel. Raises Busy, Unavailable, Rejected."""

    name = "discord"

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], dt.datetime],
        author: str = "Faultline",
        client: Any = None,
    ) -> None:
        self._url, _, self._query = url.partition("?")
        self._url = self._url.rstrip("/")
        self._clock, self._author = clock, author
        self._client = client or posting.client(self._url)

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Post the incident's message, or edit it."""
        body = {"embeds": [embed(summary(report))], "allowed_mentions": {"parse": []}}
        if receipt:
            self._send("PATCH", f"/messages/{receipt.reference}", body, fine=(404,))
            return receipt
        said = self._send("POST", "", body | {"username": self._author}, wait="true")
        try:
            reference = str(int(said.json()["id"]))
        except (ValueError, KeyError, TypeError):
            raise Unavailable("Discord's webhook: expected a message with its id") from None
        made = Receipt(outlet=self.name, reference=reference, made_at=self._clock())
        return made.model_copy(update={"details": {"incident": report.incident.id}})

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing is merged in a chat."""
        return None

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any],
        *,
        fine: tuple[int, ...] = (),
        **query: str,
    ) -> Any:
        asked = "&".join([*filter(None, [self._query]), *(f"{k}={v}" for k, v in query.items())])
        url = f"{self._url}{path}" + (f"?{asked}" if asked else "")
        return posting.send(self._client, method, url, to="Discord's webhook", json=body, fine=fine)


def embed(found: Summary) -> dict[str, Any]:
    """Return a message as an embed, within Discord's limits."""
    fields = [{"name": n, "value": plain(v) or "none", "inline": True} for n, v in found.fields]
    fields.append({"name": "What is next", "value": plain(found.action), "inline": False})
    if found.ending:
        fields.append({"name": "Ended", "value": plain(found.ending), "inline": False})
    for name, url in found.buttons:
        fields.append({"name": name, "value": url[:1000], "inline": False})
    joke = f"\n\n{plain(found.joke)}" if found.joke else ""
    made = {
        "title": plain(found.title)[:256],
        "description": f"**{found.cause_title}.** {plain(found.cause)}{joke}",
        "color": GREEN if found.proposed else YELLOW,
        "fields": fields,
        "footer": {"text": found.footer},
    }
    return made | ({"url": found.buttons[0][1]} if found.buttons else {})


def plain(text: str) -> str:
    """Write Markdown's characters so that they only show."""
    return "".join(f"\\{c}" if c in "\\*_~`|>[]#" else c for c in text)
