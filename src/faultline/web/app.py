"""The console's routes: which page, which record, which act. Start at `app`.

`/` the list · `/incidents/<id>` one · `/incidents/<id>/files/<name>` one record ·
`/incidents/<id>/report` · `/watch/<name>` one workload · `/dead-letters` · `/monitor` ·
`/budgets` · `/events` and `/api/…` for programs · `/health`
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import re
import threading
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from faultline import keys, views
from faultline.errors import FaultlineError, NotFound, Rejected, TryAgain
from faultline.event import Event
from faultline.healing_cap import score
from faultline.incidents import Incidents
from faultline.ledger import standing
from faultline.model import Policy, Status
from faultline.views.render import style_hash
from faultline.web import pages, watches
from faultline.web.acts import Acts
from faultline.web.guard import POLICY, App, Guard
from faultline.web.live import Live
from faultline.web.shelf import Row, Shelf, Wanted

FORM_BYTES_MAX = 16 * 1024
_STATIC = {"page.css": "texts", "style.css": "web/static", "live.js": "web/static"}
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


def app(
    incidents: Incidents,
    *,
    send: Callable[[Event], None] | None,
    clock: Callable[[], dt.datetime],
    token: str | None = None,
    title: str = "Faultline",
    hosts: tuple[str, ...] = (),
    bus: Callable[[], bool] | None = None,
    look_s: float = 1.0,
    policy: Policy | None = None,
    warm: bool = False,
) -> App:
    """Return the console as an ASGI app.

    `send` passes an event to the broker; without it nothing can be retried or sent again. `token`
    is asked for as the password of any user; without one only loopback names are answered, unless
    `hosts` names others. `bus` says whether the broker answers; `look_s` is how often live pages
    look for new records; `policy` has the limits that `/budgets` shows. `warm`: begin at once to
    read what the list needs.
    """
    console = Console(incidents, send, clock, title, bus, look_s)
    console.policy = policy or console.policy
    if warm:
        threading.Thread(target=console.shelf.warm, name="warm", daemon=True).start()
    inner = Starlette(
        routes=[
            Route(path, endpoint, methods=["POST"] if act else ["GET"])
            for path, endpoint, act in console.routes()
        ],
        exception_handlers={
            FaultlineError: console.failed,
            HTTPException: console.failed,
            Exception: console.broken,
        },
    )
    inner.router.redirect_slashes = False
    console.guard = Guard(inner, token=token, hosts=hosts)
    return console.guard


class Console:
    """The endpoints. Those that read run in threads; the few that wait are coroutines."""

    guard: Guard
    policy: Policy = Policy()

    def __init__(
        self,
        incidents: Incidents,
        send: Callable[[Event], None] | None,
        clock: Callable[[], dt.datetime],
        title: str,
        bus: Callable[[], bool] | None,
        look_s: float,
    ) -> None:
        self.incidents, self.clock, self.title, self.bus = incidents, clock, title, bus
        self.shelf = Shelf(incidents, clock)
        self.acts = Acts(incidents, send, clock)
        self.live = Live(incidents, self.shelf, look_s=look_s)
        self.sends = send is not None

    def routes(self) -> list[tuple[str, Any, bool]]:
        """Return (path, endpoint, does it change something)."""
        return [
            ("/", self.index, False),
            ("/incidents", self.index, False),
            ("/incidents/{id}", self.incident, False),
            ("/incidents/{id}/report", self.report, False),
            ("/incidents/{id}/files/{name:path}", self.record, False),
            ("/incidents/{id}/{act:str}", self.act, True),
            ("/watch/{name}", self.watch, False),
            ("/dead-letters", self.dead_letters, False),
            ("/dead-letters/{day}/{name}/send", self.send_again, True),
            ("/monitor", self.monitor, False),
            ("/budgets", self.budgets, False),
            ("/events", self.events, False),
            ("/api/events", self.events, False),
            ("/api/agents", self.agents, False),
            ("/api/watch/{name}", self.watch_status, False),
            ("/health", self.health, False),
            ("/health/liveness", self.alive, False),
            ("/health/readiness", self.health, False),
            ("/static/{name}", self.static, False),
        ]

    # pages

    def index(self, request: Request) -> Response:
        asked = request.query_params
        wanted = Wanted(
            status=asked.get("status", ""),
            severity=asked.get("severity", ""),
            text=asked.get("q", "")[:100],
        )
        number = (
            max(1, int(asked["page"])) if re.fullmatch(r"\d{1,6}", asked.get("page", "")) else 1
        )
        seen = self.live.mark()
        rows, more = self.shelf.page(wanted, number)
        return HTMLResponse(
            pages.listed(rows, wanted, number, more, now=self.clock(), title=self.title, seen=seen)
        )

    def incident(self, request: Request) -> Response:
        seen = self.live.mark(self._id(request))
        case = views.load(self.incidents, self._id(request))
        quotes = views.quoted(self.incidents, case.incident.id, case.diagnosis)
        base = f"/incidents/{case.incident.id}/"
        can = [
            (base + act, act, self.guard.form_token(base + act)) for act in self.acts.possible(case)
        ]
        known = {"title": self.title, "seen": seen, "later": self.incidents.later(case.incident)}
        return HTMLResponse(pages.incident(case, quotes, now=self.clock(), can=can, **known))

    def record(self, request: Request) -> Response:
        id, name = self._id(request), request.path_params["name"]
        if name not in self.incidents.names(id):
            raise NotFound("expected a record of this incident")
        if name == keys.REPORT and "download" not in request.query_params:
            return self.report(request)
        data = self.incidents.read(id, name)
        if "download" in request.query_params or "/artifacts/" in f"/{name}":
            return _download(name, data)
        return HTMLResponse(pages.record(id, name, data, self.title))

    def report(self, request: Request) -> Response:
        """Our own page, as package wrote it, under the policy that it was made with."""
        data = self.incidents.read(self._id(request), keys.REPORT)
        style = re.search(r"<style>(.*?)</style>", data.decode("utf-8", "replace"), re.DOTALL)
        allowed = f"style-src '{style_hash(style[1])}'" if style else "style-src 'none'"
        policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'; "
        return HTMLResponse(
            data, headers={"content-security-policy": policy + "frame-ancestors 'none'"}
        )

    def watch(self, request: Request) -> Response:
        """One workload: its last incidents, how often we proposed something, and the last time."""
        seen, found = self.live.mark(), self._watched(request)
        status, rows = self._status(request, found)
        others = [row for row in watches.newest(found) if row.incident.key != rows[0].incident.key]
        page = pages.page(
            "watch.html.j2", title=self.title, name=rows[0].name, rows=rows, seen=seen,
            status=status, most=self.policy.max_healing_attempts, others=others,
        )  # fmt: skip
        return HTMLResponse(page)

    def watch_status(self, request: Request) -> Response:
        return JSONResponse(self._status(request, self._watched(request))[0])

    def _status(self, request: Request, found: list[Row]) -> tuple[dict[str, Any], list[Row]]:
        """Return the status of one workload of a name, the newest or as asked, and its rows."""
        rows = watches.of_one(found, request.query_params.get("key", ""))
        if not rows:
            raise NotFound("expected the key of a workload of this name")
        made = score(rows[0].incident.key, self.incidents)
        return watches.status(rows, made, self.policy.max_healing_attempts), rows

    def _watched(self, request: Request) -> list[Row]:
        wanted = Wanted(name=request.path_params["name"])
        rows, _ = self.shelf.page(wanted, size=100)
        if not rows:  # perhaps its first incident has only just begun
            self.shelf.renew()
            rows, _ = self.shelf.page(wanted, size=100)
        if not rows:
            raise NotFound("expected a workload that had an incident")
        return rows

    def dead_letters(self, request: Request) -> Response:
        letters = self.acts.dead_letters()
        for letter in letters:
            letter["path"] = f"/dead-letters/{letter['day']}/{quote(letter['name'], safe='')}/send"
            bare = f"/dead-letters/{letter['day']}/{letter['name']}/send"
            letter["token"] = self.guard.form_token(bare)
        page = pages.page(
            "dead-letters.html.j2", title=self.title, letters=letters, sends=self.sends,
            sent="sent" in request.query_params,
        )  # fmt: skip
        return HTMLResponse(page)

    def monitor(self, request: Request) -> Response:
        health, agents = self._health(), self._agents()
        page = pages.page("monitor.html.j2", title=self.title, health=health, agents=agents)
        return HTMLResponse(page)

    def budgets(self, request: Request) -> Response:
        now = self.clock()
        found = standing(self.incidents, self.policy, now)
        return HTMLResponse(pages.budgets(found, self.policy, now=now, title=self.title))

    def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            raise NotFound("expected one of our own files")
        kept = {"cache-control": "max-age=60"}
        return Response(_static(name), media_type=_TYPES[name.rsplit(".", 1)[1]], headers=kept)

    # for programs

    async def events(self, request: Request) -> Response:
        id = request.query_params.get("incident", "")
        if id:
            keys.checked_incident_id(id)
        if self.live.full:
            return PlainTextResponse("Too many are watching.\n", 503, {"retry-after": "10"})
        seen = request.query_params.get("seen", "")
        last_seen = request.headers.get("last-event-id", seen)[:100]
        headers = {
            "cache-control": "no-cache", "connection": "keep-alive", "x-accel-buffering": "no",
        }  # fmt: skip
        stream = self.live.follow(id, last_seen)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    def agents(self, request: Request) -> Response:
        return JSONResponse({"agents": self._agents()})

    def health(self, request: Request) -> Response:
        known = self._health()
        return JSONResponse(known, 200 if known["status"] == "healthy" else 503)

    def alive(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    def _agents(self) -> list[dict[str, str]]:
        """Return the runs under way, of the newest incidents."""
        rows, _ = self.shelf.page(Wanted(status=Status.INVESTIGATING), size=100)
        found = ((row, self.incidents.run(row.id, row.run)) for row in rows)
        return [
            {"id": f"{row.id}-{row.run}", "session_id": row.id, "status": "running",
             "role": run.engine if run else ""}
            for row, run in found
        ]  # fmt: skip

    def _health(self) -> dict[str, str]:
        """Say whether store and broker answer now; `nats` is what others call the broker."""
        try:
            next(iter(self.incidents.store.folders(keys.INCIDENTS)), None)
            status = "healthy"
        except FaultlineError:
            status = "unhealthy"
        known = self.bus() if self.bus else self.sends or None
        broker = "none" if known is None else "connected" if known else "disconnected"
        return {"status": status, "broker": broker, "nats": broker}

    # acts

    async def act(self, request: Request) -> Response:
        id, act = self._id(request), request.path_params["act"]
        form = await self._form(request)
        by = request.scope.get("faultline.person") or "someone at the web console"
        if act == "close":
            await asyncio.to_thread(self.acts.close, id, by=by, note=form.get("note", ""))
        elif act == "retry":
            await asyncio.to_thread(self.acts.retry, id)
        elif act == "cancel":
            await asyncio.to_thread(self.acts.cancel, id, by=by)
        else:
            raise NotFound("expected close, retry or cancel")
        return RedirectResponse(f"/incidents/{id}", 303)

    async def send_again(self, request: Request) -> Response:
        await self._form(request)
        day, name = request.path_params["day"], request.path_params["name"]
        await asyncio.to_thread(self.acts.replay, day, name)
        return RedirectResponse("/dead-letters?sent=1", 303)

    async def _form(self, request: Request) -> dict[str, str]:
        """Return the form's fields. Refuses large ones and those without their token."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES_MAX:
                raise HTTPException(413, "expected a form of at most 16 KiB")
        form = {k: v[0] for k, v in parse_qs(body.decode("utf-8", "replace")).items()}
        if not self.guard.holds(request.scope["path"], form.get("token", "")):
            raise HTTPException(403, "expected the form of this page; reload it and try again")
        return form

    # what goes wrong

    def failed(self, request: Request, error: Exception) -> Response:
        status, why = 409, str(error)
        if isinstance(error, HTTPException):
            status, why = error.status_code, error.detail
        elif isinstance(error, NotFound) or (
            isinstance(error, Rejected) and "GET" in request.method
        ):
            status = 404
        elif isinstance(error, TryAgain):
            status = 503
        page = pages.page("wrong.html.j2", title=self.title, status=status, why=why)
        return HTMLResponse(page, status, {"retry-after": "5"} if status == 503 else None)

    def broken(self, request: Request, error: Exception) -> Response:
        return PlainTextResponse("Something of ours is broken; the log says what.\n", 500)

    @staticmethod
    def _id(request: Request) -> str:
        return keys.checked_incident_id(request.path_params["id"])


def _download(name: str, data: bytes) -> Response:
    """Whatever it is, the browser shall keep it, not show it."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name.rsplit("/", 1)[-1])[:100]
    headers = {
        "content-disposition": f'attachment; filename="{plain}"',
        "content-security-policy": POLICY + "; sandbox",
    }
    return Response(data, media_type="application/octet-stream", headers=headers)


@functools.cache
def _static(name: str) -> bytes:
    place = files("faultline")
    for part in (*_STATIC[name].split("/"), name):
        place = place / part
    return place.read_bytes()
