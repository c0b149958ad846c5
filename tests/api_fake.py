"""An API server on loopback over a recording, with secrets in it and doors that must stay shut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from faultline.adapters.sources.live import KINDS
from faultline.adapters.sources.recorded import RecordedCluster

ROOT = Path(__file__).resolve().parent.parent
CANARIES = {
    name: f"c4n4ry-{name}-9f8e7d6c5b4a3f2e1d0c9b8a7f6e5d4c"
    for name in ("secret", "helm", "docker", "kubeconfig", "applied", "token", "environment")
}
_PLURALS = {(prefix, plural): kind for kind, (prefix, plural) in KINDS.items()}
READER = [
    rule
    for document in yaml.safe_load_all((ROOT / "infra/knative/agent-rbac.yaml").read_text("utf-8"))
    if document["kind"] == "ClusterRole"
    for rule in document["rules"]
]
EVERYONE = [
    {"apiGroups": ["authorization.k8s.io"], "verbs": ["create"],
     "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
    {"apiGroups": ["authentication.k8s.io"], "verbs": ["create"],
     "resources": ["selfsubjectreviews"]},
]  # fmt: skip


def rule(verbs: str, resources: str, group: str = "") -> dict[str, list[str]]:
    """Return one rule of a Role."""
    return {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": [group]}


class ApiFake(ThreadingHTTPServer):
    """`asked` are the requests: method, path, query. `rules` are what our account may do."""

    daemon_threads = True

    def __init__(self, folder: Path, rules: Iterable[Any] = READER) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.recorded = RecordedCluster(folder)
        self.rules = [*rules, *EVERYONE]
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.more: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.log_bytes = 0

    def handle_error(self, *_: Any) -> None:
        """Whoever asked may have hung up: a log can be too long for it."""

    def kubeconfig(self, folder: Path) -> Path:
        server = f"http://127.0.0.1:{self.server_port}"
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        }  # fmt: skip
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def objects(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        return [*self.recorded.objects(kind, namespace), *self.more.get((kind, namespace), ())]

    def allows(self, asked: dict[str, str]) -> bool:
        what = "/".join(filter(None, (asked["resource"], asked["subresource"])))
        return any(
            {asked["verb"], "*"} & set(rule["verbs"])
            and {what, "*"} & set(rule["resources"])
            and {asked["group"], "*"} & set(rule["apiGroups"])
            for rule in self.rules
        )


class _Handler(BaseHTTPRequestHandler):
    server: ApiFake

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.server.asked.append(("GET", parts.path, query))
        self._answer(*self._found([unquote(p) for p in parts.path.strip("/").split("/")], query))

    def _found(self, parts: list[str], query: dict[str, list[str]]) -> tuple[int, Any]:
        size = 2 if parts[0] == "api" else 3
        prefix, rest = "/".join(parts[:size]), parts[size:]
        namespace = rest[1] if rest[0] == "namespaces" and len(rest) > 2 else ""
        rest = rest[2:] if namespace else rest
        if rest[0] == "secrets":
            secret = {"kind": "Secret", "data": {"key": CANARIES["secret"]}}
            return 200, {"items": [secret], "metadata": {}, **secret}
        if rest[0] == "events":
            return 200, {"items": list(self.server.recorded.events(namespace))}
        if rest[0] == "pods" and rest[2:] == ["log"]:
            return self._log(namespace, rest[1], query)
        kind = _PLURALS.get((prefix, rest[0]))
        if kind is None or len(rest) > 2:
            return 404, {}
        found = self.server.objects(kind, namespace)
        if len(rest) == 1:
            return 200, {"items": found}
        named = [o for o in found if o["metadata"]["name"] == rest[1]]
        return (200, named[0]) if named else (404, {})

    def _log(self, namespace: str, pod: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if self.server.log_bytes:
            return 200, b"x" * 99 + b"\n"
        container = query.get("container", ["app"])[0]
        previous = query["previous"] == ["true"]
        log = self.server.recorded.log(namespace, pod, container, previous=previous)
        if log is None:
            return 404, {}
        return 200, f"{log}\npassword={CANARIES['token']}\n".encode()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(("POST", self.path, {}))
        if body.get("kind") == "SelfSubjectRulesReview":
            self._answer(201, {"status": {"resourceRules": self.server.rules}})
        elif body.get("kind") == "SelfSubjectAccessReview":
            allowed = self.server.allows(body["spec"]["resourceAttributes"])
            self._answer(201, {"status": {"allowed": allowed}})
        else:
            self._answer(201, {})

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 - the server calls them so

    def _answer(self, status: int, found: Any) -> None:
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        self.end_headers()
        for _ in range(max(1, self.server.log_bytes // len(data)) if found == data else 1):
            try:
                self.wfile.write(data)
            except OSError:  # whoever asked has had enough
                return

    def log_message(self, *_: Any) -> None:
        pass
