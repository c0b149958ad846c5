"""Listens to one kind of objects for ever: list them, watch them, say what is due.

A watch is resumed from the last resource version it brought; bookmarks move that on while nothing
happens. After 410 Gone, and after every connection that broke or fell silent, everything is listed
again, so nothing is missed, deletions included. Kubernetes API concepts, "Efficient detection of
changes" (kubernetes.io/docs/reference/using-api/api-concepts).
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote

from faultline.adapters.kubeconfig import Api
from faultline.bridge.events import cleaned
from faultline.bridge.intake import Intake
from faultline.bridge.stream import EventStream, Refused, StreamEnded, retry_after
from faultline.bridge.supervisor import Supervisor
from faultline.bridge.watch.board import Board, Due
from faultline.bridge.watch.occurrences import Occurrences
from faultline.bridge.watch.symptoms import Object, mapping, text
from faultline.errors import FaultlineError, TooLarge, Unavailable
from faultline.limits import watch_object_bytes_max, watch_page_objects
from faultline.model import Fault

logger = logging.getLogger("faultline.bridge")


class Endpoint(NamedTuple):
    """Where the API server has a kind."""

    prefix: str  # group and version
    plural: str
    namespaced: bool = True
    everywhere: bool = True  # else a cluster may not know it


WATCHED = {
    "Pod": Endpoint("api/v1", "pods"),
    "Deployment": Endpoint("apis/apps/v1", "deployments"),
    "StatefulSet": Endpoint("apis/apps/v1", "statefulsets"),
    "DaemonSet": Endpoint("apis/apps/v1", "daemonsets"),
    "Job": Endpoint("apis/batch/v1", "jobs"),
    "Node": Endpoint("api/v1", "nodes", namespaced=False),
    "PersistentVolumeClaim": Endpoint("api/v1", "persistentvolumeclaims"),
    "Event": Endpoint("api/v1", "events"),
    "Application": Endpoint("apis/argoproj.io/v1alpha1", "applications", everywhere=False),
    "Kustomization": Endpoint(
        "apis/kustomize.toolkit.fluxcd.io/v1", "kustomizations", everywhere=False
    ),
}

NOT_INSTALLED, NOT_ALLOWED = "not_installed", "not_allowed"
look_again_s = 300.0  # for a kind that is not installed, or that we may not see


class Pace(NamedTuple):
    """How long a watch lasts and how often to look, in seconds."""

    watch_s: int = 300  # the server ends the watch then; up to half as long again, by chance
    silence_s: float = 90.0  # bookmarks come about every minute
    tick_s: float = 1.0  # between two looks at what is due


USUAL = Pace()


class Gone(Unavailable):
    """The resource version is too old (410): what happened since is not known any more."""


class Scope(NamedTuple):
    """What one watcher looks at: a kind, in one namespace or in all, by a label selector."""

    kind: str
    namespace: str = ""
    selector: str = ""

    @property
    def name(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"watch {where}{WATCHED[self.kind].plural}"

    @property
    def path(self) -> str:
        at = WATCHED[self.kind]
        inside = at.namespaced and self.namespace
        where = f"namespaces/{quote(self.namespace, safe='')}/" if inside else ""
        return f"/{at.prefix}/{where}{at.plural}"

    @property
    def version(self) -> str:
        """What objects of a list do not say themselves."""
        return WATCHED[self.kind].prefix.partition("/")[2]

    @property
    def query(self) -> dict[str, str]:
        chosen = {"labelSelector": self.selector} if self.selector else {}
        return chosen | ({"fieldSelector": "type=Warning"} if self.kind == "Event" else {})


def scopes(namespaces: list[str], selector: str = "") -> Iterator[Scope]:
    """Yield what to watch. With a selector no k8s events: they carry no labels."""
    for kind, at in WATCHED.items():
        if selector and kind == "Event":
            continue
        for namespace in (namespaces if at.namespaced else []) or [""]:
            yield Scope(kind, namespace, selector)


class Lines:
    """Bytes to lines of JSON, as a watch sends them."""

    def __init__(self, bytes_max: int = watch_object_bytes_max) -> None:
        self._rest, self._bytes_max = b"", bytes_max

    def feed(self, chunk: bytes) -> list[bytes]:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > self._bytes_max:
            raise TooLarge(f"expected an object of at most {self._bytes_max} bytes, got more")
        return [line for line in whole if line.strip()]

    def end(self) -> None:
        self._rest = b""


class Watcher(Supervisor):
    """The supervisor of one watch."""

    def __init__(
        self,
        scope: Scope,
        api: Api,
        board: Board,
        occurrences: Occurrences,
        intake: Intake,
        *,
        pace: Pace = USUAL,
        **more: Any,
    ) -> None:
        super().__init__(scope.name, intake, **more)
        self.scope, self.api, self.board, self.occurrences = scope, api, board, occurrences
        self.pace = pace
        self._version = ""  # empty: list first
        self._remembered = False
        self._looked_at: float | None = None

    def _follow_once(self) -> None:
        began: float | None = None
        self._proved = False
        if self.status.state != NOT_INSTALLED:
            self.status.state = "connecting"
        stream: EventStream[bytes] | None = None
        try:
            if not self._version:
                self._list()
            stream = EventStream(self._open(), Lines())
            began = self._connected()
            self._listen(stream)
        except StreamEnded:
            if not self._proved and began is not None and self.monotonic() - began < 1:
                raise  # a server that ends each watch at once is not to be hammered
        except FaultlineError:
            self._version = ""
            raise
        finally:
            if stream is not None:
                stream.close()
            self._disconnected(began)

    def _listen(self, stream: EventStream[bytes]) -> None:
        while not self.stop.is_set():
            line = stream.next(self.pace.tick_s)
            if line is not None:
                self._hear(_parsed(line))
            if line is None or self._is_time():
                self._say_what_is_due()

    def _is_time(self) -> bool:
        return self._looked_at is None or self.monotonic() - self._looked_at >= self.pace.tick_s

    # listing

    def _list(self) -> None:
        """Look at every object there is, page by page, then at what has gone."""
        self._remember()
        uids: set[str] = set()
        before, asked = self.status.faults_total, {"limit": str(watch_page_objects)}
        while True:
            page = self._page(asked)
            for obj in page.get("items") or ():
                if isinstance(obj, dict):
                    uids.add(text(obj.get("metadata"), "uid"))
                    self._see({"apiVersion": self.scope.version} | obj)
            metadata = mapping(page, "metadata")
            if not text(metadata, "continue"):
                break
            asked = asked | {"continue": text(metadata, "continue")}
        self.board.listed(self.scope.kind, self.scope.namespace, uids, self.intake.clock())
        self._say_what_is_due()
        self._version = text(metadata, "resourceVersion")
        self.status.listed_total += self.status.faults_total - before

    def _page(self, asked: dict[str, str]) -> Object:
        status, body = self.api.get(self.scope.path, self.scope.query | asked)
        if status != 200:
            raise self._refused(status, None)
        return _parsed(body)

    def _remember(self) -> None:
        """Say again, once in this process, what was open when a bridge was here before.

        Whoever put it on file may have gone before it was said; the event is the same.
        """
        if self._remembered:
            return
        for fault in self.occurrences.open_ones(self.scope.kind):
            resource = fault.resource
            if self.scope.namespace in ("", resource.namespace if resource else ""):
                self._insist(partial(self._pass_on, fault), b"{}")
                self.board.opened(self.scope.kind, fault)
        self._remembered = True

    # watching

    def _open(self) -> Any:
        lasts = round(self.pace.watch_s * (1 + self.random() / 2))
        asked = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, lasts)),
        }
        query = self.scope.query | asked
        response = self.api.open(self.scope.path, query, silence_s=self.pace.silence_s)
        if response.status_code != 200:
            response.close()
            raise self._refused(response.status_code, retry_after(response.headers))
        return response

    def _hear(self, said: Object) -> None:
        kind, obj = text(said, "type"), mapping(said, "object")
        if kind == "ERROR":
            code = obj.get("code")
            what = Gone if code == 410 else Unavailable
            raise what(f"{self.name}: the server ended the watch: {code} {text(obj, 'reason')}")
        self._proved = True
        self.status.last_event_at = self.intake.clock()
        metadata = mapping(obj, "metadata")
        if kind in ("ADDED", "MODIFIED"):
            self._see(obj)
        elif kind == "DELETED" and self.scope.kind != "Event":
            self.board.gone(self.scope.kind, text(metadata, "uid"), self.intake.clock())
        self._version = text(metadata, "resourceVersion") or self._version

    def _refused(self, status: int, retry_after_s: float | None) -> FaultlineError:
        if status == 410:
            return Gone(f"{self.name}: the resource version is too old (410)")
        advice = {
            401: "not authorised: check the token or the KUBECONFIG",
            403: "not allowed: this account needs get, list and watch there",
            404: "this kind is not installed here",
        }
        said = f"{self.name}: {status}, {advice.get(status, 'expected a list or a watch')}"
        wait = look_again_s if status in (403, 404) else retry_after_s
        return Refused(said, status=status, retry_after_s=wait)

    def _state_after(self, error: Exception) -> str:
        status = error.status if isinstance(error, Refused) else 0
        optional = not WATCHED[self.scope.kind].everywhere
        if status == 404 and optional:
            return NOT_INSTALLED
        return NOT_ALLOWED if status == 403 else super()._state_after(error)

    # saying

    def _see(self, obj: Object) -> None:
        now = self.intake.clock()
        self._say(self.board.saw(self.scope.kind, obj, now), now)

    def _say_what_is_due(self) -> None:
        self._looked_at = self.monotonic()
        now = self.intake.clock()
        self._say(self.board.due(self.scope.kind, self.scope.namespace, now), now)

    def _say(self, found: Sequence[Due], now: dt.datetime) -> None:
        for due in found:
            do = self._end if due.ends_at else self._begin
            if not self._insist(partial(do, due, now), due.payload):
                self.board.dropped(self.scope.kind, due.fault)

    def _begin(self, due: Due, now: dt.datetime) -> None:
        """Keep what was seen, put the fault on file, say it: in this order."""
        clean = self.intake.clean
        fault = cleaned(due.fault, clean) if clean else due.fault
        kept = fault.model_copy(update={"payload": self.intake.keep(due.payload, now)})
        named = self.occurrences.begin(self.scope.kind, kept, edge=due.edge, now=now)
        if named is None:
            self.board.dropped(self.scope.kind, due.fault)
            return
        self._pass_on(named)
        self.board.opened(self.scope.kind, named)

    def _end(self, due: Due, now: dt.datetime) -> None:
        for key, fault in self.occurrences.ending(self.scope.kind, due.fault):
            over = fault.model_copy(update={"ends_at": due.ends_at})
            self._pass_on(over)
            self.occurrences.end(key, over)
        self.board.dropped(self.scope.kind, due.fault)

    def _pass_on(self, fault: Fault) -> None:
        over = fault.ends_at is not None
        self.intake.pass_on([(fault, over)], self.intake.clock())
        self.status.faults_total += 1
        resource = fault.resource
        named = f"{resource.kind} {resource.namespace}/{resource.name}" if resource else ""
        about = {"stream": self.name, "fault": fault.name, "resource": named}
        said = "fault cleared" if over else "fault detected"
        logger.info(said, extra=about | {"summary": fault.summary})


def _parsed(data: bytes) -> Object:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable("expected a JSON object from the API server")
    return found
