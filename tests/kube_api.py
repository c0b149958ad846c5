"""A Kubernetes API server on loopback, as far as list and watch go; what goes wrong the test says.

It keeps objects with uid and resourceVersion, pages lists by `limit` and `continue`, filters by
namespace and label, streams watches in chunks with bookmarks, and answers 410 for versions that it
has forgotten: by status or, as a real one does once a watch runs, by an ERROR event. Semantics:
kubernetes.io/docs/reference/using-api/api-concepts.
"""

from __future__ import annotations

import copy
import json
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from faultline.bridge.watch.watcher import WATCHED

PLACES = {f"/{at.prefix}/{at.plural}": kind for kind, at in WATCHED.items()}
Object = dict[str, Any]


class KubeApi(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *, token: str = "", bookmark_s: float = 0.1) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.token, self.bookmark_s = token, bookmark_s
        self.objects: dict[tuple[str, str, str], Object] = {}  # kind, namespace, name
        self.history: list[tuple[int, str, str, Object]] = []  # version, what, kind, object
        self.version, self.forgotten = 1000, 1000  # versions below `forgotten` are gone
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.refuse: dict[str, int] = {}  # kind -> status
        self.missing: set[str] = {"Application", "Kustomization"}  # kinds that are not installed
        self.deaf = False  # says nothing any more and closes nothing
        self.silent = False  # ends each watch at once, without a word
        self.gone_by_event = True  # 410 as an event of the stream; else as a status
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self.watches: set[Handler] = set()
        self._pages: dict[str, list[Object]] = {}
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    # what happens in the cluster

    def put(self, obj: Object) -> Object:
        """Make or change an object, as whoever owns it does."""
        obj = copy.deepcopy(obj)
        meta = obj.setdefault("metadata", {})
        key = (obj["kind"], meta.get("namespace", ""), meta["name"])
        with self.changed:
            before = self.objects.get(key)
            meta["uid"] = meta.get("uid") or (before or {}).get("metadata", {}).get("uid")
            meta["uid"] = meta["uid"] or str(uuid.uuid4())
            self._happened("MODIFIED" if before else "ADDED", obj)
            self.objects[key] = obj
        return obj

    def delete(self, kind: str, namespace: str, name: str) -> None:
        with self.changed:
            obj = copy.deepcopy(self.objects.pop((kind, namespace, name)))
            self._happened("DELETED", obj)

    def _happened(self, what: str, obj: Object) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, what, obj["kind"], obj))
        self.changed.notify_all()

    # what goes wrong

    def forget(self) -> None:
        """Compact: no watch can begin at a version before this one."""
        with self.changed:
            self.history, self.forgotten = [], self.version

    def cut(self) -> None:
        """Reset every watch that is open."""
        with self.changed:
            watches, self.watches = self.watches, set()
        for handler in watches:
            handler.reset()

    def stop(self) -> None:
        self.ended.set()
        with self.changed:
            self.changed.notify_all()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    # what is asked

    def page(self, kind: str, namespace: str, query: dict[str, str]) -> tuple[int, Object]:
        with self.changed:
            token = query.get("continue", "")
            if token and token not in self._pages:
                return 410, _status(410, "Expired")
            found = self._pages.pop(token, None) or [
                obj
                for (k, n, _), obj in sorted(self.objects.items())
                if k == kind and namespace in ("", n) and chosen(obj, query)
            ]
            version = token.partition("-")[0] or str(self.version)
            most = int(query.get("limit", "500"))
            meta = {"resourceVersion": version}
            if len(found) > most:
                meta["continue"] = f"{version}-{len(self._pages)}-{len(found)}"
                self._pages[meta["continue"]] = found[most:]
            said = ("kind", "apiVersion")  # of the list: its objects do not repeat it
            bare = [{k: v for k, v in o.items() if k not in said} for o in found[:most]]
            return 200, {"kind": f"{kind}List", "metadata": meta, "items": bare}

    def since(self, version: int) -> list[tuple[int, str, str, Object]] | None:
        """Return what happened after a version; None if that is not known any more."""
        if version < self.forgotten:
            return None
        return [entry for entry in self.history if entry[0] > version]


def _status(code: int, reason: str) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason}  # fmt: skip


def chosen(obj: Object, query: dict[str, str]) -> bool:
    """Do the selectors choose this object?"""
    labels = obj["metadata"].get("labels") or {}
    wanted = [s.partition("=") for s in query.get("labelSelector", "").split(",") if s]
    fields = [s.partition("=") for s in query.get("fieldSelector", "").split(",") if s]
    return all(labels.get(k) == v for k, _, v in wanted) and all(
        obj.get(k) == v for k, _, v in fields
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KubeApi

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.server.asked.append((parts.path, query))
        kind, namespace = self._place(parts.path)
        server = self.server
        if server.token and self.headers.get("authorization") != f"Bearer {server.token}":
            return self._say(401, _status(401, "Unauthorized"))
        if not kind or kind in server.missing:
            return self._say(404, _status(404, "NotFound"))
        if kind in server.refuse:
            return self._say(server.refuse[kind], _status(server.refuse[kind], "Refused"))
        if query.get("watch") != "true":
            return self._say(*server.page(kind, namespace, query))
        with suppress(OSError):
            self._watch(kind, namespace, query)
        with server.changed:
            server.watches.discard(self)
        self.close_connection = True
        return None

    def _place(self, path: str) -> tuple[str, str]:
        head, _, rest = path.partition("/namespaces/")
        namespace, _, plural = rest.partition("/")
        return PLACES.get(f"{head}/{plural}" if rest else path, ""), namespace

    def _say(self, status: int, body: Object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _watch(self, kind: str, namespace: str, query: dict[str, str]) -> None:
        server, version = self.server, int(query["resourceVersion"])
        if server.since(version) is None and not server.gone_by_event:
            return self._say(410, _status(410, "Expired"))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        with server.changed:
            server.watches.add(self)
        self.end_headers()
        until = time.monotonic() + float(query["timeoutSeconds"])
        for said in self._said(kind, namespace, query, version, until):
            line = json.dumps(said).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _said(
        self, kind: str, namespace: str, query: dict[str, str], version: int, until: float
    ) -> Iterator[Object]:
        server = self.server
        while time.monotonic() < until and not server.ended.is_set() and not server.silent:
            with server.changed:
                news = server.since(version) if self in server.watches else []
                if self not in server.watches:
                    return
                if news == [] or server.deaf:
                    server.changed.wait(server.bookmark_s)
                    news = server.since(version)
            if server.deaf:
                continue
            if news is None:
                yield {"type": "ERROR", "object": _status(410, "Expired")}
                return
            for _, what, of, obj in news:
                inside = namespace in ("", obj["metadata"].get("namespace", ""))
                if of == kind and inside and chosen(obj, query):
                    yield {"type": what, "object": obj}
            version = news[-1][0] if news else version
            mark = {"kind": kind, "metadata": {"resourceVersion": str(version)}}
            yield {"type": "BOOKMARK", "object": mark}

    def reset(self) -> None:
        """End the connection with a RST, in the middle of whatever is said."""
        with suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def kubeconfig(folder: Path, api: KubeApi) -> Path:
    """Write a KUBECONFIG that leads to it, and return where."""
    user: Object = {"name": "u", "user": {"token": api.token} if api.token else {}}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": api.url}}],
        "users": [user],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig.json"
    path.write_text(json.dumps(config))
    return path
