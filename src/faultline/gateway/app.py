"""The gateway's doors over HTTP: /store, /events, /model; health.

Async only here: a body is read within its limit, the rest is a function in a thread. Who asks is
`review.py`'s, what it may `rights.py`'s, what the model may be asked `model.py`'s. In front of it
stands the same gate as before the bridge (`bridge/gate.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

from faultline import keys
from faultline.answers import reason
from faultline.errors import (
    AlreadyExists,
    Busy,
    FaultlineError,
    NotAllowed,
    NotFound,
    Rejected,
    TooLarge,
    TryAgain,
)
from faultline.gateway import rights
from faultline.gateway.rights import Asker
from faultline.limits import gateway_body_bytes_max
from faultline.ports import Sink
from faultline.store import Store
from faultline.wire import decode

logger = logging.getLogger("faultline.gateway")

STORE, MODEL = "faultline-gateway", "faultline-model"  # audiences of tokens

Who = Callable[[str, str], Asker]  # token and audience -> the run
_KEY_HEADERS = ("x-api-key", "x-goog-api-key")  # where clients of models put what they take for one
_STATUS: dict[type[Exception], int] = {  # the first that fits
    NotFound: 404, AlreadyExists: 412, TooLarge: 413, NotAllowed: 403, Rejected: 400, Busy: 429,
    TryAgain: 503,
}  # fmt: skip


class NoToken(Exception):
    """The request does not say who asks."""


@dataclass(frozen=True)
class Gateway:
    """What stands behind the doors: the store, the broker, and who knows the runs."""

    store: Store
    sink: Sink
    who: Who

    # the store

    async def records(self, request: Request) -> Response:
        if request.method == "PUT":
            body = await _body(request)
            return await run_in_threadpool(self._put, request, body)
        look = self._get if "key" in request.query_params else self._list
        return await run_in_threadpool(look, request)

    def _get(self, request: Request) -> Response:
        asker, key = self.who(_token(request), STORE), request.query_params["key"]
        rights.check_read(asker, key)
        return Response(self.store.get(key), media_type="application/octet-stream")

    def _put(self, request: Request, body: bytes) -> Response:
        asker, key = self.who(_token(request), STORE), request.query_params.get("key", "")
        once = request.headers.get("if-none-match") == "*"
        rights.check_write(asker, key, once=once)
        rights.check_form(asker, key, body)
        self.store.put(key, body, if_absent=once)
        return Response(status_code=204)

    def _list(self, request: Request) -> Response:
        asker, prefix = self.who(_token(request), STORE), request.query_params.get("prefix", "")
        rights.check_list(asker, prefix)
        look = self.store.folders if "folders" in request.query_params else self.store.list
        return JSONResponse(list(look(prefix)))

    # the broker

    async def event(self, request: Request) -> Response:
        body = await _body(request)
        return await run_in_threadpool(self._event, request, body)

    def _event(self, request: Request, body: bytes) -> Response:
        asker = self.who(_token(request), STORE)
        event = decode(dict(request.headers), body)
        rights.check_event(asker, event)
        self.sink.send(event)
        return Response(status_code=202)

    # ourselves

    async def alive(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        await run_in_threadpool(lambda: next(iter(self.store.folders(keys.INCIDENTS)), None))
        return PlainTextResponse("ok\n")


def app(gateway: Gateway) -> Router:
    """Return the doors as an ASGI app."""

    def door(path: str, take: Callable[[Request], Any], *methods: str) -> Route:
        async def answered(request: Request) -> Response:
            try:
                return await take(request)  # type: ignore[no-any-return]
            except (FaultlineError, NoToken) as error:
                return _refused(request, error)

        return Route(path, answered, methods=list(methods))

    return Router(
        [
            door("/store", gateway.records, "GET", "PUT"),
            door("/events", gateway.event, "POST"),
            door("/health/liveness", gateway.alive, "GET"),
            door("/health/readiness", gateway.ready, "GET"),
        ],
        redirect_slashes=False,
    )


def _token(request: Request) -> str:
    """Return the token, from wherever the client of a store or of a model puts it."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    for name in _KEY_HEADERS:
        if found := request.headers.get(name, "").strip():
            return found
    raise NoToken("expected a token of the pod: authorization: Bearer …")


async def _body(request: Request) -> bytes:
    """Return the body. Raises TooLarge as soon as it is."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > gateway_body_bytes_max:
            raise TooLarge(f"expected at most {gateway_body_bytes_max} bytes")
    return bytes(body)


def _refused(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 401)
    if status in (401, 403):
        logger.warning("refused", extra={"path": request.url.path[:300], "error": str(error)})
    headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Busy) else {}
    return PlainTextResponse(reason(error) + "\n", status, headers=headers)
