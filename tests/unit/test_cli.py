"""The command as people and scripts meet it: words, codes, JSON; never a traceback."""

from __future__ import annotations

import datetime as dt
import io
import json
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from world import START, World

from faultline import keys
from faultline.adapters.stores.files import FilesStore
from faultline.bridge.events import event_of
from faultline.cli import STATUSES, main, parser
from faultline.event import format_time, to_json
from faultline.incidents import Incidents
from faultline.model import ClosedBecause, Resource, Status
from faultline.style import paint, paint_diff

ROOT = Path(__file__).resolve().parents[2]
WEB = Resource(kind="Deployment", namespace="shop", name="web")
NOWHERE = "http://127.0.0.1:9"  # discard: nothing listens there


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FAULTLINE_STORE", "FAULTLINE_CONFIG", "PORT", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one packaged incident, and one whose agent is at work."""
    root = tmp_path_factory.mktemp("made") / "store"
    store = FilesStore(root)
    World(store=store).fault().settle()
    world = World("healthy-1", store=store)
    world.clock.wait(60)
    world.fault(resource=WEB, condition="c2", starts_at=world.clock()).settle()
    assert sorted(str(world.status(id)) for id in world.ids) == ["investigating", "packaged"]
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> str:
    shutil.copytree(made, tmp_path / "store")
    return f"file://{tmp_path / 'store'}"


def memory(folder: str) -> Incidents:
    return Incidents(FilesStore(folder.removeprefix("file://")))


def named(folder: str, status: Status) -> str:
    found = memory(folder)
    return next(id for id in found.ids() if found.status(id) is status)


class Said:
    """What a command said, and its code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Said:
    try:
        code = main([str(word) for word in words])
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "flaw" not in err
    return Said(code, out, err)


# help


def commands() -> list[str]:
    (found,) = [a for a in parser()._actions if a.dest == "==SUPPRESS=="]
    return sorted(found.choices)  # type: ignore[arg-type]


@pytest.mark.covers("S0-07")
def test_help_and_version_answer_and_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version").out.startswith("faultline ")
    found = run(capsys, "--help")

    assert found.code == 0
    assert all(f"    {name}" in found.out for name in commands())


@pytest.mark.parametrize("name", commands())
def test_each_command_explains_itself_without_words_of_the_inside(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, name, "--help")

    assert found.code == 0
    assert "setting:" not in found.out.lower()
    assert found.out.count("\n") > 3


def test_no_command_is_wrong_usage_and_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys)

    assert (found.code, "COMMAND" in found.out) == (2, True)


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["show"], ["send", "alert"], ["incidents", "--status", "odd"], ["config"],
     ["tail", "--until", "odd"], ["incidents", "--nonsense"]],
)  # fmt: skip
def test_wrong_usage_is_code_2_and_says_so_on_standard_error(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, *words)

    assert (found.code, found.out) == (2, "")
    assert "usage: faultline" in found.err


def test_the_statuses_that_can_be_asked_for_are_all_there_are() -> None:
    assert tuple(status.value for status in Status) == STATUSES


# reading


@pytest.mark.parametrize(
    "words",
    [["incidents"], ["show", "last"], ["replay", "last"], ["parked"], ["routes"], ["budgets"],
     ["config", "check"]],
)  # fmt: skip
def test_json_is_all_that_is_on_standard_output(
    words: list[str], folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [] if words == ["routes"] else ["--store", folder]
    if words == ["replay", "last"]:
        words = ["replay", named(folder, Status.PACKAGED)]
    found = run(capsys, *words, *where, "--json")

    assert found.code == 0
    assert json.loads(found.out) is not None
    assert found.err == ""


def test_incidents_are_listed_one_a_line_and_by_status(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    every = run(capsys, "incidents", "--store", folder)
    packaged = run(capsys, "incidents", "--store", folder, "--status", "packaged")

    assert len(every.out.splitlines()) == 2
    (line,) = packaged.out.splitlines()
    assert line.split()[:2] == [named(folder, Status.PACKAGED), "packaged"]


def test_an_empty_store_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "incidents")

    assert found.code == 0
    assert "faultline demo" in found.out
    assert json.loads(run(capsys, "incidents", "--json").out) == []
    assert "nothing is parked" in run(capsys, "parked").out


def test_last_is_the_one_that_was_opened_last_whatever_it_is_called(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = list(memory(folder).ids())
    newest = max(ids, key=lambda id: memory(folder).incident(id).opened_at)  # noqa: A006
    words = [["show", "last"], ["show", newest], ["show", newest[-8:]]]
    said = [run(capsys, *each, "--store", folder, "--json").out for each in words]

    assert [json.loads(each)["incident"]["id"] for each in said] == [newest] * 3
    assert newest in said.pop()


def test_show_says_the_cause_and_the_change(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, "show", named(folder, Status.PACKAGED), "--store", folder)

    assert "64Mi" in found.out
    assert "+              memory: 256Mi" in found.out
    assert "\x1b[" not in found.out  # no terminal, no colour


@pytest.mark.covers("S1-072")
@pytest.mark.parametrize("status", [Status.INVESTIGATING, Status.PACKAGED])
def test_show_says_how_the_newest_run_stands_since_when_how_long_and_where(
    folder: str, status: Status, capsys: pytest.CaptureFixture[str]
) -> None:
    id = named(folder, status)
    began = memory(folder).run(id, 1)
    ended = memory(folder).result(id, 1)
    assert began is not None

    told = json.loads(run(capsys, "show", id, "--store", folder, "--json").out)["attempt"]

    assert told["folder"] == f"incidents/{id}/runs/1/"
    if ended is None:
        assert (told["status"], told["started_at"]) == ("running", format_time(began.created_at))
        so_far = (dt.datetime.now(dt.UTC) - began.created_at).total_seconds()
        assert so_far - 60 < told["seconds"] <= so_far
    else:
        assert (told["status"], told["started_at"]) == ("success", format_time(ended.started_at))
        assert told["seconds"] == (ended.completed_at - ended.started_at).total_seconds()


@pytest.mark.parametrize("status", STATUSES[:5])
def test_tail_ends_when_the_incident_is_that_far_or_farther(
    status: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    id = named(folder, Status.PACKAGED)
    found = run(capsys, "tail", id, "--until", status, "--store", folder)

    assert found.code == 0
    assert all(id in line for line in found.out.splitlines())
    assert len(found.out.splitlines()) > 3


def test_tail_without_an_incident_waits_for_the_newest(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, "tail", "--until", "investigating", "--store", folder)

    assert found.code == 0
    assert len({line.split()[1] for line in found.out.splitlines()}) == 2


def test_replay_says_that_all_came_out_the_same(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(capsys, "replay", named(folder, Status.PACKAGED), "--store", folder)

    assert found.code == 0
    assert "identical" in found.out


def test_replay_of_a_page_that_was_changed_is_code_1(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    id = named(folder, Status.PACKAGED)
    memory(folder).put_view(id, keys.REPORT, b"somebody else's")
    found = run(capsys, "replay", id, "--store", folder)

    assert found.code == 1
    assert "different: report/index.html" in found.out


# acting


@pytest.mark.covers("S1-143")
def test_a_bundle_holds_all_of_an_incident_and_unpacked_it_is_a_store(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    id, out = named(folder, Status.PACKAGED), tmp_path / "bundle.tar.gz"
    found = run(capsys, "bundle", id, "--out", str(out), "--store", folder)
    run(capsys, "bundle", id, "--out", str(tmp_path / "again.tar.gz"), "--store", folder)
    again = run(capsys, "bundle", id, "--out", str(out), "--store", folder)

    with tarfile.open(out) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    other = f"file://{tmp_path / 'unpacked'}"
    shown = [run(capsys, "show", id, "--json", "--store", each).out for each in (folder, other)]

    assert found.code == 0
    assert memory(other).names(id) == memory(folder).names(id)
    assert shown[0] == shown[1] != ""
    assert run(capsys, "replay", id, "--store", other).code == 0
    assert out.read_bytes() == (tmp_path / "again.tar.gz").read_bytes()
    assert (again.code, "there is one" in again.err) == (1, True)


def test_close_writes_the_record_and_the_page(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    id = named(folder, Status.PACKAGED)
    found = run(capsys, "close", id, "--store", folder, "--note", "known", "--json")
    closed = memory(folder).closed(id)

    assert json.loads(found.out) == {"incident": id, "because": "person"}
    assert closed is not None
    assert (closed.because, closed.note) == (ClosedBecause.PERSON, "known")
    assert b"closed" in memory(folder).read(id, keys.README)
    again = run(capsys, "close", id, "--store", folder)
    assert (again.code, "was closed before" in again.err) == (1, True)


def test_cancel_asks_the_run_under_way_to_stop(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    id = named(folder, Status.INVESTIGATING)
    found = run(capsys, "cancel", id, "--store", folder, "--json")

    assert json.loads(found.out) == {"incident": id, "run": 1, "cancelled": True}
    assert b'"by": "cli"' in memory(folder).read(id, keys.run_record(1, keys.CANCEL))
    ended = run(capsys, "cancel", named(folder, Status.PACKAGED), "--store", folder)
    assert (ended.code, "has ended already" in ended.err) == (1, True)


def test_retry_waits_for_the_run_under_way(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "retry", named(folder, Status.INVESTIGATING), "--store", folder)

    assert found.code == 1
    assert "is still going; `faultline cancel` stops it" in found.err


def test_parked_events_are_listed_with_reason_and_key(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = memory(folder).store
    fault = World().made_fault()
    event = event_of(fault, cleared=False, cluster="prod-a", time=START)
    record = {"reason": "because", "by": "triage", "event": to_json(event)}
    store.put("parked/2026-11-21/one.json", json.dumps(record).encode())
    store.put("parked/2026-11-21/two.json", b"\xff no event")
    found = run(capsys, "parked", "--store", folder)
    rows = json.loads(run(capsys, "parked", "--store", folder, "--json").out)

    assert "fault.detected" in found.out
    assert "triage: because" in found.out
    assert [row["key"] for row in rows] == [
        "parked/2026-11-21/one.json", "parked/2026-11-21/two.json",
    ]  # fmt: skip
    refused = run(capsys, "resend", rows[1]["key"], "--store", folder)
    assert (refused.code, "never was one" in refused.err) == (1, True)


# sending


class Door:
    """Somebody who listens: keeps what came, answers as told."""

    def __init__(self) -> None:
        self.status, self.came = 202, []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                door.came.append((self.path, dict(self.headers), body))
                self.send_response(door.status)
                self.end_headers()
                self.wfile.write(b"said the door")

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = str(self.server.server_port)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def door() -> Iterator[Door]:
    found = Door()
    yield found
    found.server.shutdown()
    found.server.server_close()


FAULT = {
    "cluster_id": "c", "namespace": "shop", "resource_type": "Pod", "resource_name": "api-0",
    "severity": "critical", "message": "it is down", "timestamp": "2026-11-21T10:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["alert", "fault", "event"])
def test_each_kind_of_message_goes_to_its_door_with_the_token(
    kind: str, door: Door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAULTLINE_WEBHOOK_TOKEN", "first,second")
    Path("message.json").write_text(json.dumps(FAULT | {"alerts": []}), "utf-8")
    found = run(capsys, "send", kind, "message.json", "--port", door.port)
    ((path, headers, body),) = door.came

    assert (found.code, "taken on" in found.out) == (0, True)
    assert path == ("/alertmanager" if kind == "alert" else "/events")
    assert headers["authorization"] == "Bearer first"
    if kind == "fault":
        assert json.loads(body)["type"] == "dev.faultline.fault.detected.v1"


@pytest.mark.parametrize(
    ("status", "expected"), [(503, "try again"), (429, "try again"), (400, "")]
)
def test_what_the_door_answers_is_told(
    status: int, expected: str, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    door.status = status
    Path("message.json").write_text("{}", "utf-8")
    found = run(capsys, "send", "alert", "message.json", "--port", door.port)

    assert found.code == 1
    assert f"answered {status}: said the door" in found.err
    assert expected in found.err


def test_an_alert_is_sent_as_resolved_now(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    alert = (ROOT / "examples/alerts/crash-looping.json").read_text("utf-8")
    Path("message.json").write_text(alert, "utf-8")
    run(capsys, "send", "alert", "message.json", "--resolved", "--port", door.port)
    sent = json.loads(door.came[0][2])

    assert sent["status"] == "resolved"
    assert all(each["status"] == "resolved" for each in sent["alerts"])


def test_retry_asks_the_broker_for_the_next_run_with_an_engine(
    folder: str, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    id = named(folder, Status.PACKAGED)
    words = ["retry", id, "--store", folder, "--port", door.port]
    found = run(capsys, *words, "--engine", "stub", "--json")
    refused = run(capsys, *words, "--engine", "nix")
    ((path, headers, body),) = door.came

    assert json.loads(found.out) == {"incident": id, "run": 2}
    assert path == "/broker/faultline/faultline"
    assert headers["ce-type"] == "dev.faultline.context.ready.v1"
    assert json.loads(body) == {"run": 2, "engine": "stub"}
    assert "expected an engine among" in refused.err


def test_a_parked_event_is_sent_again_as_it_was(
    folder: str, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    event = event_of(World().made_fault(), cleared=False, cluster="prod-a", time=START)
    record = json.dumps({"reason": "because", "by": "triage", "event": to_json(event)})
    key = "parked/2026-11-21/one.json"
    memory(folder).store.put(key, record.encode())
    to = f"http://127.0.0.1:{door.port}/ns/mine"
    found = run(capsys, "resend", key, "--store", folder, "--to", to)
    ((path, headers, body),) = door.came

    assert found.code == 0
    assert path == "/ns/mine"  # a broker's address is taken with its path
    assert json.loads(body) == event.data
    assert headers["ce-type"] == event.type


# the wrong thing, at every door


BAD = {
    "an unknown incident": (["show", "20261121-api-5c1e9b2a"], "is unknown here"),
    "no id at all": (["show", "nonsense"], "expected an incident's id"),
    "no incident yet": (["show", "last", "--store", "memory:"], "no incident yet"),
    "nothing to replay": (["replay", "last", "--store", "memory:"], "no incident yet"),
    "a store that is none": (["incidents", "--store", "foo"], "expected a store such as"),
    "a store nobody may write": (["incidents", "--store", "file:///proc/x"], "try again"),
    "no config file": (["--config", "nowhere.yaml", "incidents"], "expected a configuration file"),
    "a port that is none": (["dev", "--port", "99999"], "setting port (flag)"),
    "an engine that is none": (["dev", "--port", "0", "--engine", "nix"], "agent_runtime.engine"),
    "no repository": (["dev", "--port", "0", "--manifests", "nowhere"], "manifests: expected"),
    "no step": (["serve", "nonsense"], "expected one of triage"),
    "no scenario": (["demo", "--scenario", "nonsense"], "expected a scenario"),
    "a file that is not there": (["send", "alert", "nowhere.json"], "cannot read nowhere.json"),
    "a folder for a file": (["send", "alert", "."], "cannot read"),
    "not JSON": (["send", "fault", "text.txt"], "expected JSON"),
    "not an object": (["send", "fault", "list.json"], "expected a JSON object, got list"),
    "no alerts": (["send", "alert", "empty.json", "--resolved"], "a list `alerts`"),
    "no fault": (["send", "fault", "empty.json"], "expected"),
    "nobody listens": (["send", "alert", "empty.json", "--to", NOWHERE], "is `faultline dev` run"),
    "no http": (["send", "alert", "empty.json", "--to", "ftp://x"], "expected an http(s) address"),
    "half an address": (["send", "alert", "empty.json", "--to", "http://[x"], "http"),
    "resolved, but no alert": (["send", "fault", "empty.json", "--resolved"], "is for alerts"),
    "a parked event that is not there": (["resend", "parked/2026-11-21/x.json"], "not there"),
    "a key outside": (["resend", "../../etc/passwd"], "expected a parked event"),
    "a folder that is not a demo's": (["demo", "--keep", "."], "holds other files"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.covers("S4-29")
def test_what_is_wrong_is_said_in_one_line_with_code_1(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("no JSON here", "utf-8")
    (tmp_path / "list.json").write_text("[]", "utf-8")
    (tmp_path / "empty.json").write_text("{}", "utf-8")
    words, expected = BAD[what]
    found = run(capsys, *words)

    assert found.code == 1
    assert expected in found.err
    assert found.err.startswith("faultline: ")
    assert len(found.err.splitlines()) == 1
    assert (tmp_path / "text.txt").exists()


@pytest.mark.parametrize("command", [["dev"], ["web"], ["bridge"], ["serve", "triage"]])
def test_a_port_in_use_is_said_with_what_to_do(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = run(capsys, *command, "--port", str(taken.getsockname()[1]))

    assert found.code == 1
    assert "stop what is there or set --port" in found.err


def test_what_nobody_expected_is_one_line_with_the_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "store/incidents/20261121-api-5c1e9b2a").mkdir(parents=True)
    (tmp_path / "store/incidents/20261121-api-5c1e9b2a/incident.json").write_text("{", "utf-8")
    code = main(["show", "20261121-api-5c1e9b2a", "--store", f"file://{tmp_path / 'store'}"])
    err = capsys.readouterr().err

    assert code == 1
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.covers("S0-06")
def test_a_flag_wins_over_the_environment_and_the_environment_over_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSE_ENDPOINT", "http://of-the-environment/")
    monkeypatch.setenv("WORKSPACE_ROOT", "/of/the/environment")
    words = ["config", "check", "--json"]
    from_environment = json.loads(run(capsys, *words).out)
    flags = ["--sse-endpoint", "http://of-the-flag/", "--workspace-root", "/of/the/flag"]
    from_flags = json.loads(run(capsys, *words, *flags).out)

    for name in ("sse_endpoint", "agent_runtime.workspace_root"):
        assert "environment" in from_environment[name]["from"]
        assert from_flags[name]["from"] == "flag"
        assert "flag" in from_flags[name]["value"]
    assert from_flags["host"]["from"] == "default"


def test_config_check_refuses_what_cannot_work_and_prints_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAULTLINE_WEBHOOK_TOKEN", "hunter2")
    found = run(capsys, "config", "check")

    assert "hunter2" not in found.out
    assert "(set)" in found.out
    assert run(capsys, "config", "check", "--engine", "nix").code == 1


# terminals and pipes


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert paint("x", "red", Terminal()) == "\x1b[31mx\x1b[0m"
    assert paint("x", "red", io.StringIO()) == "x"
    assert "\x1b[32m+b" in paint_diff("a\n+b\n-c", Terminal())

    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "red", Terminal()) == "x"


def test_a_reader_that_goes_away_is_met_with_silence(folder: str) -> None:
    shell = (
        f"{sys.executable} -m faultline incidents --store {folder} | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)

    assert done.stderr == ""
    assert done.stdout.strip() == "0"


def test_the_module_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faultline", "--version"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("faultline ")
