"""What stands before every page: hosts, the token, cross-site requests, sizes, and headers.

A console on a laptop can be reached by every page in the same browser, so it answers to its own
names only and changes nothing that another site asks for. What the pages are: `app.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE = ("GET", "HEAD")
_HEALTH = "/health"


class Refused(Exception):
    """This request is answered here, and goes no further."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.headers = status, headers


class Guard:
    """An ASGI app around another. `hosts`: names it answers to; empty: any, if there is a token."""

    def __init__(self, app: App, *, token: str | None, hosts: Iterable[str] = ()) -> None:
        self._app, self._token = app, token
        self._hosts = frozenset(hosts) or (frozenset() if token else LOOPBACK)
        self._secret = token.encode() if token else secrets.token_bytes(32)

    def form_token(self, path: str) -> str:
        """Return what a form that posts to `path` has to carry."""
        return hmac.new(self._secret, b"form " + path.encode(), hashlib.sha256).hexdigest()

    def holds(self, path: str, token: str) -> bool:
        """Say whether a form's token is the one for `path`."""
        return hmac.compare_digest(self.form_token(path).encode(), token.encode("utf-8", "replace"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _completed(message.get("headers", []))
            await send(message)

        try:
            self._check(scope)
        except Refused as no:
            await _refuse(no, sealed)
        else:
            await self._app(scope, receive, sealed)

    def _check(self, scope: Scope) -> None:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        if scope["path"].startswith(_HEALTH):
            return
        self._check_host(headers.get("host", ""))
        scope["faultline.person"] = self._person(headers.get("authorization", ""))
        if scope["method"] not in _SAFE:
            _check_origin(headers)

    def _check_host(self, host: str) -> None:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if self._hosts and name not in self._hosts:
            raise Refused(421, "This console does not answer to that name.")

    def _person(self, authorization: str) -> str:
        """Return who says to be asking. Raises Refused if a token is wanted and not there."""
        kind, _, value = authorization.partition(" ")
        name, said = "", value.strip()
        if kind.lower() == "basic":
            name, said = _basic(said)
        if self._token is None:
            return name
        wanted, got = self._token.encode(), said.encode("utf-8", "replace")
        if not hmac.compare_digest(wanted, got):
            how = 'Basic realm="Faultline", charset="UTF-8"'
            raise Refused(401, "Expected the token as password.", **{"www-authenticate": how})
        return name


def _basic(value: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return name, password


def _check_origin(headers: dict[str, str]) -> None:
    """Refuse what another site's page sent: a browser always says so, in one way or the other."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin", "")
    ours = site == "same-origin" if site else bool(origin) and _host_of(origin) == headers["host"]
    if not ours:
        raise Refused(403, "This came from another site, or from a browser that does not say.")


def _host_of(origin: str) -> str:
    return urlsplit(origin).netloc if origin != "null" else ""


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add what a response has not set itself."""
    there = {name.lower() for name, _ in headers}
    ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    return [*headers, *(pair for pair in ours if pair[0] not in there)]


async def _refuse(no: Refused, send: Send) -> None:
    body = f"{no}\n".encode()
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))}
    pairs = [(k.encode(), v.encode()) for k, v in (headers | no.headers).items()]
    await send({"type": "http.response.start", "status": no.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
