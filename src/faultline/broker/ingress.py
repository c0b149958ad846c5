"""Where events come in over HTTP: `POST /<namespace>/<broker>`, what K_SINK points to on a laptop.

The answers are those of Knative's ingress (knative/eventing, and the CloudEvents webhook handshake
for OPTIONS). A 202 means that the event is on disk. Requests that arrive while a commit is under
way share the next one. What happens to the event then: `broker.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from faultline import wire
from faultline.answers import Answer, Outcome, to_broker
from faultline.broker.broker import Broker
from faultline.broker.journal import Entry
from faultline.errors import NotAnEvent, Rejected, TooLarge
from faultline.limits import event_read_bytes_max

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HANDSHAKE = {
    "allow": "POST, OPTIONS",
    "webhook-allowed-origin": "*",
    "webhook-allowed-rate": "*",
}


class Ingress:
    """An ASGI application in front of one broker."""

    def __init__(
        self,
        broker: Broker,
        *,
        namespace: str = "default",
        name: str = "faultline",
        bytes_max: int = event_read_bytes_max,
    ) -> None:
        """Serve `/<namespace>/<name>`; events of more than `bytes_max` bytes are refused."""
        self._broker = broker
        self._place = (namespace, name)
        self._bytes_max = bytes_max
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            await _answer(send, await self._respond(scope, receive))

    async def _respond(self, scope: Scope, receive: Receive) -> Answer:
        refusal = self._refusal(scope)
        if refusal is not None:
            return refusal
        try:
            headers = _headers(scope)
            body = await _body(receive, headers, self._bytes_max)
            event = wire.decode(headers, body, bytes_max=self._bytes_max)
        except Rejected as error:
            self._broker.refused()
            return to_broker(error)
        try:
            await self._store(self._broker.admit(event))
        except Exception as error:  # the table knows what to answer, whatever it is
            return to_broker(error)
        return to_broker(Outcome.ACCEPTED)

    def _refusal(self, scope: Scope) -> Answer | None:
        """Say what is wrong with the path or the method; None if nothing is."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path == "/healthz":
            return Answer(200, {}, b"")
        parts = path.strip("/").split("/")
        if parts == [""]:
            return Answer(404, {}, b"")
        if len(parts) != 2:
            return Answer(400, {}, b"")
        if tuple(parts) != self._place:
            return Answer(404, {}, b"")
        if scope["method"] == "OPTIONS":
            return Answer(200, _HANDSHAKE, b"")
        return None if scope["method"] == "POST" else to_broker(Outcome.NOT_A_POST)

    async def _store(self, entry: Entry) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await future

    async def _write(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._broker.store, [entry for entry, _ in together])
            except Exception as error:  # each sender is told
                self._tell(together, error)
            else:
                self._tell(together, None)

    @staticmethod
    def _tell(together: list[tuple[Entry, asyncio.Future[None]]], error: Exception | None) -> None:
        for _, future in together:
            if future.done():  # the sender has gone
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in headers and name.startswith(("ce-", "content-type")):
            raise NotAnEvent(f"expected the header {name} once, got it twice")
        headers[name] = value.decode("latin-1")
    return headers


async def _body(receive: Receive, headers: dict[str, str], bytes_max: int) -> bytes:
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > bytes_max:
        raise TooLarge(f"expected an event of at most {bytes_max} bytes, got {length[:20]}")
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise NotAnEvent("expected a whole event, the sender has gone")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > bytes_max:
            raise TooLarge(f"expected an event of at most {bytes_max} bytes, got more")
    return body


async def _answer(send: Send, answer: Answer) -> None:
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in answer.headers.items()]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
