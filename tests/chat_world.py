"""Chats and webhooks to tell, for the contract of outlets: each drops what it knows already."""

from __future__ import annotations

import json
from typing import Any

import httpx


class Channel:
    """A webhook's other end: names what it is sent, edits it, and knows an id that comes again."""

    def __init__(self) -> None:
        self.messages: dict[str, Any] = {}
        self.client = httpx.Client(transport=httpx.MockTransport(self.take))

    def take(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        id = request.headers.get("webhook-id") or str(len(self.messages) + 1)
        if request.method == "PATCH":
            id = request.url.path.rsplit("/", 1)[1]
        self.messages[id] = body
        return httpx.Response(200, json={"id": id})
