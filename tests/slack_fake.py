"""A small Slack with a memory: one channel, threads, metadata. Behind `httpx.MockTransport`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import httpx

TOKEN, CHANNEL = "xoxb-secret", "C0123456789"


class SlackFake:
    """Methods of the Web API that we call. `accidents` may lose a reply or answer in its place."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.accidents: Callable[[str], httpx.Response | Said | str | None] = lambda _: None
        self.page = 200

    def request(self, method: str, url: str, **sent: Any) -> httpx.Response | Said:
        """Stand in for the client itself, for thousands of histories."""
        name = url.rsplit("/", 1)[1]
        verdict = self.accidents(name)
        if isinstance(verdict, httpx.Response | Said):
            return verdict
        made = self.act(name, sent.get("json") or sent["data"])
        if verdict == "lost":
            raise httpx.ReadTimeout("the reply was lost")
        return made

    @property
    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.answer))

    def top(self) -> list[dict[str, Any]]:
        return [m for m in self.messages if "thread_ts" not in m]

    def replies(self) -> list[dict[str, Any]]:
        return [m for m in self.messages if "thread_ts" in m]

    def answer(self, request: httpx.Request) -> httpx.Response:
        method = request.url.path.rsplit("/", 1)[1]
        self.calls.append(method)
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in str(request.url)
        verdict = self.accidents(method)
        if isinstance(verdict, httpx.Response | Said):
            return verdict if isinstance(verdict, httpx.Response) else verdict.response()
        text = request.content.decode()
        assert len(text) < 10_000
        is_json = "json" in request.headers["content-type"]
        assert is_json != method.startswith("conversations."), "these methods take a form"
        made = self.act(method, json.loads(text) if is_json else dict(parse_qsl(text)))
        if verdict == "lost":
            raise httpx.ReadTimeout("the reply was lost", request=request)
        return made.response()

    def act(self, method: str, body: dict[str, Any]) -> Said:
        if body["channel"] != CHANNEL:
            return no("channel_not_found")
        acts = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": lambda b: self._list(reversed(self.top()), b),
            "conversations.replies": self._thread,
        }
        return acts[method](body)

    def _post(self, body: dict[str, Any]) -> Said:
        assert body["text"]
        stamp = f"{1_795_255_200 + len(self.messages)}.000100"
        self.messages.append({"type": "message", "ts": stamp} | body)
        return yes(ts=stamp, channel=CHANNEL)

    def _update(self, body: dict[str, Any]) -> Said:
        for message in self.messages:
            if message["ts"] == body["ts"]:
                message.update(body)
                return yes(ts=body["ts"])
        return no("message_not_found")

    def _thread(self, body: dict[str, Any]) -> Said:
        found = [m for m in self.messages if body["ts"] in (m["ts"], m.get("thread_ts"))]
        return self._list(found, body) if found else no("thread_not_found")

    def _list(self, messages: Any, body: dict[str, Any]) -> Said:
        assert body["include_all_metadata"] == "true"
        found = [m for m in messages if float(m["ts"]) >= float(body.get("oldest", 0))]
        start = int(body.get("cursor", "0"))
        more = str(start + self.page) if len(found) > start + self.page else ""
        shown = found[start : start + self.page]
        return yes(messages=shown, response_metadata={"next_cursor": more})


class Said:
    """An answer of Slack's own, as far as it is read: a whole response is slow to make."""

    status_code, headers = 200, httpx.Headers()

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body

    def json(self) -> dict[str, Any]:
        return self._body

    def response(self) -> httpx.Response:
        return httpx.Response(200, json=self._body)


def yes(**said: Any) -> Said:
    return Said({"ok": True} | said)


def no(error: str, **more: Any) -> Said:
    return Said({"ok": False, "error": error} | more)
