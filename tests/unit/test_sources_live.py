"""The live cluster gives the capsule that a recording of the same cluster gives."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.live import KINDS, LiveCluster, connect
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.bridge.alertmanager import faults, parse
from faultline.errors import Rejected, Unavailable
from faultline.model import Incident

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/clusters"
PATHS = {
    (prefix, plural): (kind, namespaced) for kind, (prefix, plural, namespaced) in KINDS.items()
}


class Api:
    """An API server over a recording: what it was asked, and its answers."""

    def __init__(self, recorded: RecordedCluster) -> None:
        self.recorded, self.asked, self.page = recorded, [], 500

    def __call__(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append(path)
        parts = path.strip("/").split("/")
        if parts == ["version"]:
            return 200, json.dumps(self.recorded.version().get("serverVersion", {})).encode()
        if parts[-1] == "log":
            previous = query["previous"] == "true"
            log = self.recorded.log(parts[3], parts[5], query["container"], previous=previous)
            return (404, b"") if log is None else (200, log.encode())
        size = 2 if parts[0] == "api" else 3
        prefix, rest = "/".join(parts[:size]), parts[size:]
        namespace = rest[1] if rest[0] == "namespaces" and len(rest) > 1 else ""
        if rest[-1] == "events":
            return self._listed(self.recorded.events(namespace), query)
        kind, namespaced = PATHS[prefix, rest[-1]]
        space = namespace or ("*" if namespaced else "")
        return self._listed(self.recorded.objects(kind, space), query)

    def _listed(self, items: object, query: dict[str, str]) -> tuple[int, bytes]:
        bare = [
            {k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items
        ]
        first = int(query.get("continue", "0"))
        last = first + self.page
        more = {"continue": str(last)} if last < len(bare) else {}
        return 200, json.dumps({"metadata": more, "items": bare[first:last]}).encode()


def incident(folder: Path) -> Incident:
    message = parse((folder / "alert.json").read_bytes())
    fault = next(iter(faults(message, cluster="prod-a", payload="")))
    fault = fault[0] if isinstance(fault, tuple) else fault
    return Incident(id="20261120-x-00000000", key="k", fault=fault, opened_at=fault.starts_at)


def gathered(cluster: object, case: Incident) -> dict[str, object]:
    files = dict(ClusterSource(cluster).collect(case))
    beside = ("metrics.json", "changes.json", "runbook.md", "permissions.json", "cluster-info.json")
    return {name: data for name, data in files.items() if not name.endswith(beside)}


def meaning(name: str, data: bytes) -> object:
    """The order of keys is the API server's."""
    return data if name.endswith(".txt") else yaml.safe_load(data)


@pytest.mark.parametrize("case", ["memory", "probe-port", "missing-key", "image-typo"])
def test_a_live_cluster_gives_the_capsule_of_its_recording(case: str) -> None:
    recorded, about = RecordedCluster(EXAMPLES / case), incident(EXAMPLES / case)
    api = Api(recorded)

    live = gathered(LiveCluster(api), about)

    of_secrets = [name for name in gathered(recorded, about) if "/secret/" in name]
    expected = {n: d for n, d in gathered(recorded, about).items() if n not in of_secrets}
    assert live.keys() == expected.keys()
    assert {n for n in live if meaning(n, live[n]) != meaning(n, expected[n])} == set()


@pytest.mark.covers("S1-092")
def test_secrets_are_never_asked_for() -> None:
    api = Api(RecordedCluster(EXAMPLES / "missing-secret"))

    list(ClusterSource(LiveCluster(api)).collect(incident(EXAMPLES / "missing-secret")))

    assert api.asked
    assert [path for path in api.asked if "secret" in path] == []


def test_long_lists_are_read_to_their_end() -> None:
    api = Api(RecordedCluster(EXAMPLES / "memory"))
    whole = LiveCluster(api).objects("Pod", "shop")
    api.page = 1

    assert LiveCluster(api).objects("Pod", "shop") == whole
    assert len(whole) > 1


@pytest.mark.parametrize(
    ("status", "error"), [(403, Rejected), (401, Rejected), (500, Unavailable)]
)
def test_what_may_not_be_read_and_what_does_not_answer_are_told_apart(
    status: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        LiveCluster(lambda path, query: (status, b"")).objects("Pod", "shop")


def test_a_kind_that_is_not_installed_has_no_objects() -> None:
    assert LiveCluster(lambda path, query: (404, b"")).objects("Rollout", "shop") == []


def test_names_cannot_leave_their_place_in_the_path() -> None:
    asked: list[str] = []

    def get(path: str, query: dict[str, str]) -> tuple[int, bytes]:
        asked.append(path)
        return 200, b'{"items": []}'

    LiveCluster(get).objects("Pod", "a/../../secrets?x=")
    LiveCluster(get).log("shop", "../../nodes/n/proxy", "c", previous=False)

    assert asked == [
        "/api/v1/namespaces/a%2F..%2F..%2Fsecrets%3Fx%3D/pods",
        "/api/v1/namespaces/shop/pods/..%2F..%2Fnodes%2Fn%2Fproxy/log",
    ]


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            found = urlsplit(self.path).path.endswith("/pods")
            body = b'{"items": [{"metadata": {"name": "p"}}]}' if found else b"{}"
            self.send_response(200 if found else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    }  # fmt: skip
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    yield seen
    server.shutdown()
    server.server_close()


def test_the_official_client_carries_the_questions(kubeconfig: list[str]) -> None:
    live = LiveCluster(connect())

    assert live.objects("Pod", "shop") == [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    ]
    with pytest.raises(Rejected):
        live.objects("Node")
    assert parse_qs(urlsplit(kubeconfig[0]).query) == {"limit": ["500"]}
