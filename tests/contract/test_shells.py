"""One table of requests through every door of a step: the shell must make no difference.

Each door is a real process on the loopback. Both environments run this file; a door whose server
is in the other environment is skipped and says so.
"""

import contextlib
import datetime as dt
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from test_wire import WRONG

from faultline import wire
from faultline.adapters.stores import open_store
from faultline.event import FAULT_DETECTED, INCIDENT_OPENED, Event, format_time
from faultline.routes import STEPS

REPO = Path(__file__).parents[2]
SHELL = REPO / "functions" / "triage"

AS_ASGI_APP = """
import sys, uvicorn
sys.path.insert(0, sys.argv[1])
from function import new
uvicorn.run(new(), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""
AS_FUNC_PYTHON_DOES = """
import sys
sys.path.insert(0, sys.argv[1])
from func_python.http import serve
from function import new
serve(new)
"""
FRAMEWORK = [sys.executable, "-m", "functions_framework", "--host", "127.0.0.1"]
DOORS = {
    "asgi": (None, [sys.executable, "-c", AS_ASGI_APP, str(SHELL), "{port}"]),
    "func": ("func_python", [sys.executable, "-c", AS_FUNC_PYTHON_DOES, str(SHELL)]),
    "framework": (
        "functions_framework",
        [*FRAMEWORK, "--port", "{port}", "--target", "triage", "--source", f"{SHELL}/main.py"],
    ),
    "faultline": (None, [sys.executable, "-m", "faultline", "serve", "triage"]),
}

FAULT = {
    "name": "KubePodCrashLooping",
    "severity": "critical",
    "cluster": "prod",
    "resource": {"kind": "Pod", "name": "api-7d9f6c5b4-x2x9z", "namespace": "shop"},
    "starts_at": "2026-11-21T10:00:00Z",
}


def elsewhere(name, **more):
    """Return what makes FAULT one about another workload: it opens an incident of its own."""
    return {"resource": {"kind": "Deployment", "name": name, "namespace": "shop"}, **more}


DETECTED = Event(
    id="5c1e9b2a/detected",
    source="/faultline/bridge/prod",
    type=FAULT_DETECTED,
    subject="resource/prod/shop/api",
    time=format_time(dt.datetime.now(dt.UTC)),  # of a day ago it would open nothing
    data=FAULT,
    extensions={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
)


@dataclass
class Door:
    """A step behind a server, and the store it writes to."""

    port: int
    store_url: str

    @property
    def store(self):
        return open_store(self.store_url)

    def ask(self, method, path, headers, body=b""):
        """Send exactly these bytes, whatever HTTP thinks of them; return status, headers, body."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (
            f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n{head}\r\n"
        )
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as link:
            with contextlib.suppress(OSError):  # it may say no before it has everything
                link.sendall(request.encode("latin-1") + body)
            received = b"".join(iter(lambda: link.recv(65536), b""))
        head, _, answer = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        told = dict(line.split(": ", 1) for line in lines)
        return int(status.split()[1]), {k.lower(): v for k, v in told.items()}, answer

    def send(self, event, *, structured=False):
        return self.ask("POST", "/", *wire.encode(event, structured=structured))


@pytest.fixture(scope="module", params=DOORS)
def door(request, tmp_path_factory):
    needs, command = DOORS[request.param]
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is in the other environment")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("door")
    url = f"file://{folder}/store"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FAULTLINE", "K_"))} | {
        "FAULTLINE_STORE": url,
        "FAULTLINE_HOST": "127.0.0.1",
        "PORT": str(port),
        "LISTEN_ADDRESS": f"127.0.0.1:{port}",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    found = Door(port, url)
    try:
        wait_until_ready(found, process, folder / "log")
        yield found
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(door, process, log):
    for _ in range(600):
        assert process.poll() is None, log.read_text("utf-8")
        with contextlib.suppress(OSError):
            if door.ask("GET", "/health/readiness", {})[0] == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"not ready: {log.read_text('utf-8')}")


# the table


def test_the_probes_are_answered(door):
    assert door.ask("GET", "/health/liveness", {})[0] == 200
    assert door.ask("GET", "/health/readiness", {})[0] == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_posts_are_taken(door, method):
    status, headers, body = door.ask(method, "/", {})

    assert (status, headers["allow"], body) == (405, "POST, OPTIONS", b"")


def test_the_handshake_is_answered(door):
    status, headers, _ = door.ask("OPTIONS", "/", {"webhook-request-origin": "broker.example"})

    assert (status, headers["webhook-allowed-origin"]) == (200, "*")


def test_a_fault_opens_an_incident_and_every_copy_of_it_gets_the_same_reply(door):
    answers = [door.send(DETECTED), door.send(DETECTED), door.send(DETECTED, structured=True)]

    replies = [wire.decode(headers, body) for _, headers, body in answers]
    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert replies[0] == replies[1] == replies[2]
    reply = replies[0]
    assert (reply.type, reply.source) == (INCIDENT_OPENED, "/faultline/triage")
    assert reply.extensions["causationid"] == DETECTED.id
    assert reply.extensions["traceparent"] == DETECTED.extensions["traceparent"]
    assert reply.data["incident"] == reply.subject
    assert f"incidents/{reply.subject}/incident.json" in set(door.store.list("incidents/"))


def test_a_fault_that_is_too_minor_is_put_on_file_and_answered_with_nothing(door):
    minor = replace(DETECTED, id="minor", data=FAULT | {"severity": "info", "name": "Minor"})

    status, _, body = door.send(minor)

    assert (status, body) == (204, b"")
    assert len(list(door.store.list("ignored/"))) == 1


def test_data_that_is_no_fault_is_parked_and_refused(door):
    status, _, body = door.send(replace(DETECTED, id="no-fault", data={"name": 1}))

    assert (status, body) == (400, b"")
    [key] = [key for key in door.store.list("parked/") if key.endswith("/no-fault.json")]
    assert json.loads(door.store.get(key))["by"] == "triage"


def test_an_event_over_the_limit_is_refused(door):
    headers, _ = wire.encode(DETECTED)

    for size in (65_537, 500_000):
        assert door.ask("POST", "/", headers, b" " * size)[0] == 413


def test_data_by_reference_is_fetched_from_the_store_and_nowhere_else(door):
    big = replace(DETECTED, id="big", data=FAULT | elsewhere("big", summary="x" * 60_000))
    small = wire.fit(big, door.store.put, dt.date(2026, 11, 21))
    foreign = replace(small, id="foreign", extensions={"dataref": "http://127.0.0.1:1/x"})

    assert door.send(small)[0] == 200
    assert door.send(foreign)[0] == 400


NOT_OVER_A_SOCKET = {
    "header twice",  # servers join the two
    "name with an underscore",  # some servers drop it
    "line end",  # ends the line: what follows is another header
    "content type with a line end",
}


@pytest.mark.covers("CE-11")
def test_headers_that_are_no_event_are_refused_and_no_step_sees_them(door):
    for case in WRONG.keys() - NOT_OVER_A_SOCKET:
        status, _, _ = door.ask("POST", "/", *WRONG[case])
        assert status == 400, case
    strange = replace(DETECTED, id='Grüße, "Welt" 100 % 🌎', data=FAULT | elsewhere("strange"))
    status, headers, body = door.send(strange)

    assert wire.decode(headers, body).extensions["causationid"] == strange.id
    parked = [key.rsplit("/", 1)[1] for key in door.store.list("parked/")]
    assert {name for name in parked if not name.startswith("unreadable-")} <= {
        "no-fault.json",
        "foreign.json",
    }


# the folders


def folders():
    return sorted(path.name for path in (REPO / "functions").iterdir() if path.is_dir())


def test_there_is_one_folder_for_each_step():
    assert folders() == sorted(STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_a_folder_holds_four_files_that_differ_in_nothing_but_the_name(name):
    folder = REPO / "functions" / name
    for file in ("main.py", "function/__init__.py"):
        text = (folder / file).read_text("utf-8")
        assert text == (SHELL / file).read_text("utf-8").replace("triage", name)
    func = yaml.safe_load((folder / "func.yaml").read_text("utf-8"))
    assert (func["name"], func["deploy"]["serviceAccountName"]) == (name, name)
    assert func["created"]
    assert "invoke" not in func


HEAVY = {
    *("boto3", "botocore", "kubernetes", "httpx", "uvicorn", "starlette"),
    *("jinja2", "prometheus_client", "faultline.bridge", "faultline.broker"),
}
READS_YAML = {"context", "launch", "package", "close", "verify"}  # and makes pages


@pytest.mark.parametrize("name", STEPS)
def test_a_shell_imports_nothing_heavy_before_it_is_asked(name):
    look = "import sys; sys.path.insert(0, sys.argv[1]); import function;print(*sys.modules)"
    shell = REPO / "functions" / name
    command = [sys.executable, "-c", look, str(shell)]
    denied = HEAVY if name in READS_YAML else HEAVY | {"yaml", "faultline.views"}
    others = {f"faultline.steps.{other}" for other in STEPS if other != name}

    seen = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert denied & {*seen} == set()
    assert not others & {*seen} or name == "verify"  # it closes, and looks at what sweep does
    assert len(seen) < (500 if name in READS_YAML else 400)  # modules; each costs every cold start


def test_every_shell_for_functions_framework_is_loaded_by_it():
    framework = pytest.importorskip("functions_framework", reason="in the other environment")
    for name in STEPS:
        app = framework.create_app(name, str(REPO / "functions" / name / "main.py"))
        assert app.test_client().get("/health/liveness").status_code in (200, 500)


def test_what_a_builder_makes_of_a_folder_holds_the_package(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not in this environment")
    checkout, alone, built = tmp_path / "checkout", tmp_path / "alone", tmp_path / "built"
    ignore = shutil.ignore_patterns("__pycache__", "vendor")
    for part in ("src/faultline", "functions/triage"):
        shutil.copytree(REPO / part, checkout / part, ignore=ignore)
    (checkout / "infra/knative").mkdir(parents=True)
    for file in ("Makefile", ".gitignore", "infra/knative/triggers.yaml"):
        shutil.copy(REPO / file, checkout / file)
    subprocess.run(["make", "vendor", "FN=triage"], cwd=checkout, check=True, capture_output=True)
    shutil.copytree(checkout / "functions/triage", alone)  # a builder sees its folder alone

    offline = ["--no-deps", "--no-build-isolation", "--quiet", "--target", str(built), str(alone)]
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *offline],
        check=True,
        capture_output=True,
    )
    look = (
        "import sys; sys.path.insert(0, sys.argv[1]); import function, faultline, faultline.broker;"
        "print(faultline.__file__, function.__file__, function.new.__name__)"
    )
    seen = subprocess.run(
        [sys.executable, "-c", look, str(built)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert seen == [
        str(built / "faultline/__init__.py"),
        str(built / "function/__init__.py"),
        "new",
    ]
    assert (built / "faultline/broker/triggers.yaml").is_file()
