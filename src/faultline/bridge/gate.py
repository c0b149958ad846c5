"""What stands before every request: who may ask, how large, how slow, and in which words.

Nothing here knows what a message means. `Gate` wraps an ASGI app and refuses by what the head says;
`StrictProtocol` sits below it, on the bytes, because some refusals need them: time limits, sizes of
a head that never ends, targets that are no path. After a refusal the connection closes, so that
nothing smuggled behind it is ever read. RFC 9112 for messages, Standard Webhooks for signatures.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import hashlib
import hmac
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from faultline.answers import Answer
from faultline.errors import Rejected
from faultline.limits import header_bytes_max, headers_max

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

head_s_max = 9.0  # from the first moment of a connection to the end of a request's head
body_s_max = 9.0  # from there to the end of its body; who is slow has gone within ten
connections_max = 800
signature_age_s_max = 300
events_per_minute = 6_000  # what a sender is told it may send; a hundred a second is measured

PROBED = ("/health/liveness", "/health/readiness", "/metrics")
# what a proxy and a router could read as different paths
ODD_IN_PATHS = (b"..", b"//", b"\\", b";", b"%2e", b"%2f", b"%5c", b"%00")
CERTIFICATE = "faultline.certificate"  # in a request's scope: is there one, checked by TLS
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


# below: the bytes


class StrictProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with limits on time and size, and origin-form targets only."""

    head_s_max = head_s_max
    body_s_max = body_s_max

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._refusal = 400
        self._timer: asyncio.TimerHandle | None = None
        self._start_head()
        self._limit(self.head_s_max)

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # refused: whatever else comes is not read
        if self._in_head and self._timer is None:
            self._limit(self.head_s_max)  # a later request on the same connection
        self._unended += len(data)
        super().data_received(data)  # counts from zero again where a head or a message ends
        if self._in_head and self._unended > header_bytes_max and not self.transport.is_closing():
            self._refusal = 431
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._size(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._size(len(name) + len(value))
        if len(self.headers) > headers_max:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        if not self.url.startswith(b"/") or b"#" in self.url:
            self._refuse(400)
        self._in_head = False
        self._limit(self.body_s_max)
        tls = self.transport.get_extra_info("ssl_object")
        cast("Scope", self.scope)[CERTIFICATE] = bool(tls and tls.getpeercert())
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._start_head()
        self._limit(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer with what was found wrong, without a body, and close."""
        head = STATUS_LINE[self._refusal] + b"content-length: 0\r\nconnection: close\r\n\r\n"
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(head)
        self.transport.close()

    def _start_head(self) -> None:
        self._in_head, self._unended, self._head_bytes = True, 0, 0

    def _size(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > header_bytes_max:
            self._refuse(431)

    def _refuse(self, status: int) -> None:
        self._refusal = status
        raise httptools.HttpParserError(f"refused with {status}")

    def _limit(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = self.loop.call_later(seconds, self.transport.close)


def serve_config(app: App, host: str, port: int, **more: Any) -> uvicorn.Config:
    """Return how uvicorn has to serve `app`: the strict protocol, no redirects, no extras."""
    choices: dict[str, Any] = {
        "http": StrictProtocol,
        "ws": "none",
        "lifespan": "off",
        "server_header": False,
        "proxy_headers": False,
        "access_log": False,
        "log_config": None,
        "limit_concurrency": connections_max,
        "timeout_keep_alive": 5,
        "timeout_graceful_shutdown": 10,
    }
    return uvicorn.Config(app, host=host, port=port, **(choices | more))


listen_wait_s = 3.0


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to this address. Raises Rejected where that is not possible.

    A child that was being started when our predecessor was killed holds its port for a moment, so
    a port in use is asked for again for a while.
    """
    end = time.monotonic() + listen_wait_s
    while True:
        found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
        except OSError as error:
            found.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise Rejected(
                    f"cannot listen on {host}:{port}: {error.strerror or error}; "
                    "stop what is there or set --port"
                ) from None
            time.sleep(0.1)
        else:
            return found


# above: the head


class Gate:
    """An ASGI app that lets a request through to `app` only if its head says one thing.

    `allowed_hosts` are names without a port; empty means this machine's own. A name that begins
    with a dot allows everything below it; `*` allows any. The paths of `PROBED` are asked for by
    address, as the kubelet and Prometheus do, so the name does not matter there.
    """

    def __init__(self, app: App, *, allowed_hosts: Iterable[str] = ()) -> None:
        self.app = app
        self.allowed_hosts = tuple(h.lower() for h in allowed_hosts) or LOCAL_HOSTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed = ("*",) if scope.get("path") in PROBED else self.allowed_hosts
        status = refusal(scope, allowed) if scope["type"] == "http" else None
        if status is None:
            await self.app(scope, receive, send)
        else:
            await respond(send, status, {"connection": "close"})


def refusal(scope: Scope, allowed_hosts: Sequence[str]) -> int | None:
    """Return the status that this head deserves, or None if nothing is wrong with it."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > headers_max or size > header_bytes_max:
        return 431
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value)
    if _ambiguous(values) or not _host_allowed(values.get(b"host", []), allowed_hosts):
        return 400
    if any(v.strip().lower() != b"identity" for v in values.get(b"content-encoding", [])):
        return 415
    path = (scope.get("raw_path") or scope["path"].encode()).lower()
    return 404 if any(odd in path for odd in ODD_IN_PATHS) else None


def _ambiguous(values: dict[bytes, list[bytes]]) -> bool:
    """Could two readers disagree on where this message ends or what it is?"""
    lengths, encodings = values.get(b"content-length", []), values.get(b"transfer-encoding", [])
    if len(lengths) > 1 or len(encodings) > 1 or (lengths and encodings):
        return True
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) < 16):
        return True
    if encodings and encodings[0].strip().lower() != b"chunked":
        return True
    once = (b"authorization", b"content-type", b"content-encoding")
    twice = [name for name, found in values.items() if len(found) > 1]
    return any(name in once or name.startswith(b"ce-") for name in twice)


def _host_allowed(hosts: list[bytes], allowed: Sequence[str]) -> bool:
    if len(hosts) != 1:
        return False
    host = hosts[0].decode("latin-1").strip().lower()
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    if not (name and port.isdigit() and port.isascii()):
        return False
    return any(a in ("*", name) or (a.startswith(".") and name.endswith(a)) for a in allowed)


async def respond(
    send: Send, status: int, headers: MutableMapping[str, str], body: bytes = b""
) -> None:
    """Send a whole answer."""
    named = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
    if status != 204:
        named.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})


# who asks


def is_local(scope: Scope) -> bool:
    """Does the request come from this machine?"""
    client = scope.get("client")
    return client is not None and (client[0] == "::1" or client[0].startswith("127."))


def handshake(headers: Mapping[str, str], origins: Sequence[str]) -> Answer | None:
    """Answer a sender that asks whether it may send here; None for one that is not on the list.

    CloudEvents' handshake (cloudevents/spec: http-webhook.md, 4): the answer names the origin, and
    a rate in requests a minute if one was asked for. A callback address is never requested. It
    lets nobody in: the credentials do.
    """
    origin = headers.get("webhook-request-origin", "").strip().lower()
    if not origin or origin not in [each.lower() for each in origins]:
        return None
    told = {"allow": "POST, OPTIONS", "webhook-allowed-origin": origin}
    rate = headers.get("webhook-request-rate")
    if rate is not None:
        asked = int(rate) if rate.isascii() and rate.isdigit() and len(rate) < 10 else 0
        told["webhook-allowed-rate"] = str(min(asked or events_per_minute, events_per_minute))
    return Answer(200, told, b"")


def token_known(authorization: bytes, tokens: Sequence[str]) -> bool:
    """Say whether the header carries one of the tokens: as bearer, or as basic's password.

    A token `user:password` is basic's whole pair. Every token is compared, each in constant time.
    """
    scheme, _, given = authorization.strip().partition(b" ")
    given = given.strip()
    candidates = [given] if scheme.lower() == b"bearer" else []
    if scheme.lower() == b"basic":
        try:
            pair = base64.b64decode(given, validate=True)
        except binascii.Error:
            return False
        candidates = [pair, pair.partition(b":")[2]]
    wanted = [token.encode() for token in tokens if token]
    found = [hmac.compare_digest(c, w) for c in candidates for w in wanted]
    return any(found)


def signature_known(
    headers: dict[str, str], body: bytes, secrets: Sequence[str], *, now_s: float
) -> bool:
    """Say whether one of the secrets signed `id.timestamp.body` no more than five minutes ago.

    The form is that of Standard Webhooks: `webhook-id`, `webhook-timestamp` (Unix seconds) and
    `webhook-signature` (`v1,<base64>`, several with spaces between). A secret is base64, with or
    without `whsec_` before it, or else plain text; several are allowed while keys rotate.
    """
    id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 13):
        return False
    if abs(now_s - int(stamp)) > signature_age_s_max:
        return False
    signed = f"{id}.{stamp}.".encode("latin-1", "replace") + body
    given = [
        part[3:].encode("latin-1", "replace")
        for part in headers.get("webhook-signature", "").split()[:10]
        if part.startswith("v1,")
    ]
    found = [
        hmac.compare_digest(base64.b64encode(hmac.digest(key, signed, hashlib.sha256)), signature)
        for key in map(_key, filter(None, secrets))
        for signature in given
    ]
    return any(found)


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()
