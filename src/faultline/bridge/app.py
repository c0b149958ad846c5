"""The bridge's doors over HTTP: POST /alertmanager, /events, /synced, /github, /parked; health.

Async only here: reading a body within its limits and answering by the sender's table. What a
message leads to is `intake.py`, what stands before it `gate.py`. No address that comes in is ever
requested, no answer is ever a redirect.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import partial
from typing import Any

from starlette.routing import Route, Router

from faultline import keys
from faultline.answers import Answer, Outcome, is_final, to_alertmanager, to_broker
from faultline.bridge import github, k8sgpt
from faultline.bridge.gate import (
    CERTIFICATE,
    App,
    Gate,
    Receive,
    Scope,
    Send,
    handshake,
    is_local,
    respond,
    serve_config,
    signature_known,
    token_known,
)
from faultline.bridge.intake import Intake
from faultline.counters import Buckets, Tally
from faultline.errors import Busy, FaultlineError, NotFound, TooLarge, Unavailable
from faultline.limits import MIB, event_read_bytes_max, webhook_body_bytes_max
from faultline.ports import Sink
from faultline.store import Store

__all__ = ["Doors", "app", "serve_config"]

logger = logging.getLogger("faultline.bridge")

in_flight_max = 32  # messages being worked on at once
answer_s_max = 8.0  # AlertManager gives up after 10 s: a 503 before that is worth more
REASONS = {400: "invalid", 401: "unknown_sender", 403: "not_allowed", 405: "not_a_post",
           413: "too_large", 429: "busy", 500: "bug", 503: "unavailable"}  # fmt: skip
buffered_bytes_max = 64 * MIB  # bodies held in memory at once, whoever sends them


@dataclass
class Doors:
    """What all doors share: the intake, who may come in, and how much fits."""

    intake: Intake
    tokens: Sequence[str] = ()
    hmac_secrets: Sequence[str] = ()
    in_flight_max: int = in_flight_max
    answer_s_max: float = answer_s_max
    streams: Callable[[], Mapping[str, Any]] = dict  # state of the followers, for the health page
    origins: Sequence[str] = ()  # who hears in CloudEvents' handshake that it may send
    certificates: bool = False  # a client certificate that TLS has checked lets its owner in
    github_secrets: Sequence[str] = ()  # what GitHub signs with; none: there is no such door
    github_ours: tuple[str, str] = ("", "faultline/")  # our repository, how our branches begin
    answered: Tally = field(default_factory=Tally, init=False)  # refusals by reason
    durations: dict[str, Buckets] = field(default_factory=dict, init=False)  # by sender
    in_flight: int = field(default=0, init=False)
    full: bool = field(default=False, init=False)  # every place was taken, and most still are
    buffered: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.workers = ThreadPoolExecutor(max(1, self.in_flight_max), "faultline-intake")

    @property
    def open(self) -> bool:
        """Nobody said who may come in: then only this machine may."""
        return not (self.tokens or self.hmac_secrets or self.certificates)

    def enter(self) -> None:
        """Take one of the places for messages being worked on. Raises Busy if none is free."""
        if self.in_flight >= self.in_flight_max:
            raise Busy("too many messages at once")
        self.in_flight += 1
        self.full = self.full or self.in_flight >= self.in_flight_max

    def leave(self) -> None:
        """Give the place back. Full ends when half are free, so that it does not flap."""
        self.in_flight -= 1
        self.full = self.full and self.in_flight > self.in_flight_max // 2


@dataclass
class _Door:
    """One path that takes POSTs: an ASGI app."""

    doors: Doors
    bytes_max: int
    answer: Callable[[Outcome | BaseException], Answer]
    take: Callable[[Mapping[str, str], bytes], Answer]
    sender: str
    guarded: bool = True
    handshakes: bool = False
    signed: Callable[[Mapping[str, str], bytes], bool] | None = None  # its own way, and no other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, began = bytearray(), time.monotonic()
        try:
            answer = await self._receive(scope, receive, body)
        except Exception as error:
            answer = self._failed(error, bytes(body))
        finally:
            self.doors.buffered -= len(body)
        status, headers, text = answer
        self.doors.durations[self.sender].add(time.monotonic() - began)
        if status >= 400:
            self.doors.answered.add(REASONS.get(status, "other"))
        if status >= 400 and status != 503:
            headers = headers | {"connection": "close"}
        await respond(send, status, headers, text)

    async def _receive(self, scope: Scope, receive: Receive, body: bytearray) -> Answer:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        if scope["method"] == "OPTIONS" and self.handshakes:
            allowed = handshake(headers, self.doors.origins)
            return allowed or self.answer(Outcome.NOT_A_POST)
        if scope["method"] != "POST":
            return self.answer(Outcome.NOT_A_POST)
        known = self._known_by_head(scope, headers)
        if not (known or self.doors.hmac_secrets or self.signed):
            return self.answer(Outcome.UNKNOWN_SENDER)
        await self._read(receive, body, int(headers.get("content-length", "0")))
        if not known and not self._known_by_signature(headers, bytes(body)):
            return self.answer(Outcome.UNKNOWN_SENDER)
        return await self._work(headers, bytes(body))

    def _known_by_head(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        if self.signed or not self.guarded:
            return not self.signed
        if self.doors.open:
            return is_local(scope)
        if self.doors.certificates and scope.get(CERTIFICATE):
            return True
        given = headers.get("authorization", "").encode("latin-1")
        return token_known(given, self.doors.tokens)

    def _known_by_signature(self, headers: dict[str, str], body: bytes) -> bool:
        if self.signed:
            return self.signed(headers, body)
        now_s = self.doors.intake.clock().timestamp()
        return signature_known(headers, body, self.doors.hmac_secrets, now_s=now_s)

    async def _read(self, receive: Receive, body: bytearray, declared: int) -> None:
        """Read the body, or stop: at the limit by what was declared or what came."""
        more = True
        while more:
            if max(declared, len(body)) > self.bytes_max:
                raise TooLarge(f"expected at most {self.bytes_max} bytes, got more")
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the sender left before its message was whole")
            chunk = message.get("body", b"")
            if self.doors.buffered + len(chunk) > buffered_bytes_max:
                raise Busy("too many messages at once")
            body += chunk
            self.doors.buffered += len(chunk)
            more = message.get("more_body", False)
        if len(body) > self.bytes_max:
            raise TooLarge(f"expected at most {self.bytes_max} bytes, got {len(body)}")

    async def _work(self, headers: Mapping[str, str], body: bytes) -> Answer:
        self.doors.enter()
        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self.doors.workers, self._taken, headers, body)
        working.add_done_callback(self._done)
        done, _ = await asyncio.wait({working}, timeout=self.doors.answer_s_max)
        if not done:  # it goes on; when it is sent again, it makes the same events
            raise Unavailable("not everything was accepted in time")
        return working.result()

    def _done(self, working: asyncio.Future[Answer]) -> None:
        self.doors.leave()
        if not working.cancelled():
            working.exception()  # whoever waited has it; nobody waits for ever

    def _taken(self, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            return self.take(headers, body)
        except Exception as error:
            if is_final(error):
                self.doors.intake.refuse(body, error, self.sender)
            raise

    def _failed(self, error: Exception, body: bytes) -> Answer:
        answer = self.answer(error)
        known = isinstance(error, FaultlineError | ConnectionResetError) or is_final(error)
        logger.log(
            logging.WARNING if known else logging.ERROR,
            "message not taken",
            extra={"sender": self.sender, "status": answer.status, "bytes": len(body)},
            exc_info=None if known else error,
        )
        return answer


def app(
    *,
    sink: Sink,
    store: Store,
    cluster: str,
    clock: Callable[[], dt.datetime],
    tokens: Sequence[str] = (),
    hmac_secrets: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
    clean: Callable[[str], str] | None = None,
    streams: Callable[[], Mapping[str, Any]] = dict,
    origins: Sequence[str] = (),
) -> App:
    """Return the bridge as an ASGI app; serve it with `serve_config`.

    `cluster` names what a message does not say. Without `tokens` (bearer, or basic's password) and
    `hmac_secrets` only this machine may send. `clean` takes secrets out of a fault's texts.
    `streams` gives the state of the followers; `origins` who hears that it may send.
    """
    intake = Intake(sink=sink, store=store, cluster=cluster, clock=clock, clean=clean)
    doors = Doors(intake, tuple(tokens), tuple(hmac_secrets), streams=streams, origins=origins)
    return Gate(router(doors), allowed_hosts=allowed_hosts)


def router(doors: Doors) -> Router:
    """Return the doors alone, for a process that has other pages and a gate of its own."""
    intake = doors.intake

    def alertmanager(headers: Mapping[str, str], body: bytes) -> Answer:
        return to_alertmanager(intake.alertmanager(body))

    def events(headers: Mapping[str, str], body: bytes) -> Answer:
        taken = intake.event(headers, body)
        answer = to_broker(Outcome.ACCEPTED)
        return answer._replace(status=200) if taken.type == k8sgpt.TYPE else answer

    def synced(headers: Mapping[str, str], body: bytes) -> Answer:
        return to_broker(intake.synced(body))

    def merged(headers: Mapping[str, str], body: bytes) -> Answer:
        return to_broker(intake.github(headers, body, ours=doors.github_ours))

    def parked(headers: Mapping[str, str], body: bytes) -> Answer:
        return to_broker(intake.parked(headers, body))

    posts = {
        "/alertmanager": _Door(
            doors, webhook_body_bytes_max, to_alertmanager, alertmanager, "alertmanager"
        ),
        "/events": _Door(
            doors, event_read_bytes_max, to_broker, events, "cloudevents", handshakes=True
        ),
        "/synced": _Door(doors, MIB, to_broker, synced, "gitops"),
        "/parked": _Door(doors, MIB, to_broker, parked, "dead letter", guarded=False),
    }
    if secrets := doors.github_secrets:
        signed = partial(github.signature_known, secrets=secrets)
        posts["/github"] = _Door(doors, MIB, to_broker, merged, "github", signed=signed)
    doors.durations.update({door.sender: Buckets() for door in posts.values()})
    health = _Health(doors)
    pages = ("/health/liveness", "/health/readiness")
    routes = [Route(path, endpoint=door) for path, door in posts.items()]
    routes += [Route(path, endpoint=health) for path in pages]
    return Router(routes, redirect_slashes=False, default=_nothing_here)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, 404, {"connection": "close"})


def _told(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def answers(store: Store) -> bool:
    """Does the store answer now?"""
    try:
        store.get(keys.PROBE)
    except NotFound:
        return True
    except FaultlineError:
        return False
    return True


@dataclass
class _Health:
    """Alive: it answers. Ready: the store answers too, and there is room for another message.

    The streams are told, not judged.
    """

    doors: Doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            return await respond(send, 405, {"allow": "GET, HEAD", "connection": "close"})
        status = "ok"
        if scope["path"].endswith("/readiness"):
            status = await asyncio.to_thread(self._ready)
        said: dict[str, Any] = {"status": status, "streams": self.doors.streams()}
        if self.doors.intake.watchdog.interval_s:
            said["watchdog"] = self.doors.intake.watchdog.state()
        body = b"" if scope["method"] == "HEAD" else json.dumps(said, default=_told).encode()
        kind = {"content-type": "application/json", "cache-control": "no-store"}
        return await respond(send, 200 if status == "ok" else 503, kind, body)

    def _ready(self) -> str:
        if self.doors.full:
            return "too many messages at once"
        return "ok" if answers(self.doors.intake.store) else "store unavailable"
