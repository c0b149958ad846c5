"""A run as a child process: real commands, a directory as store, a broker that takes the event."""

import json
import os
import re
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from faultline import keys
from faultline.adapters.runners.processes import Known
from faultline.adapters.runners.subprocess import SubprocessRunner
from faultline.adapters.stores import open_store
from faultline.capsule import seal
from faultline.event import CONTEXT_READY, RUN_FINISHED, Event, to_json
from faultline.incidents import Incidents, content
from faultline.model import (
    Certainty,
    Evidence,
    Fault,
    Finding,
    Incident,
    JobState,
    Resource,
    Run,
    RunStatus,
    Verdict,
)
from faultline.wire import decode, to_bytes

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
FAKE_AGENT = Path(__file__).parents[2] / "examples/fake-agent"
PYTHON = (sys.executable, "-I", "-c")
ANSWER = (
    "import pathlib, subprocess; "
    f"subprocess.run([{str(FAKE_AGENT)!r}], check=True); out = pathlib.Path('output'); "
)


class Broker(ThreadingHTTPServer):
    """Takes events, and keeps them."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Ingress)
        self.events = []
        self.url = f"http://127.0.0.1:{self.server_port}/"


class _Ingress(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.events.append(decode(dict(self.headers), body))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def broker():
    server = Broker()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Laptop:
    """A store, a runner, and incidents that are ready to be looked into."""

    def __init__(self, folder, broker, store_url=""):
        self.folder, self.broker = folder, broker
        self.store_url = store_url or f"file://{folder}/store"
        self.incidents = Incidents(open_store(self.store_url))
        self.runner = self.another_runner()

    def another_runner(self, **env):
        base = {"PATH": os.environ["PATH"], "AGENT_RUNTIME_CLEANUP": "keep", **env}
        return SubprocessRunner(
            self.folder / "runs",
            store_url=self.store_url,
            sink_url=self.broker.url,
            grace_s=0.5,
            env=base,
        )

    def run(self, engine="command", command=(), *, number=1, deadline_s=20, name="api", cause="e1"):
        event = Event(
            id=cause, source="/faultline/context", type=CONTEXT_READY, time="2026-11-21T10:00:00Z"
        )
        fault = Fault(
            name="KubePodCrashLooping",
            cluster="kind",
            starts_at=NOW,
            resource=Resource(kind="Pod", name=name, namespace="shop"),
        )
        incident = Incident.begin(fault, key=f"resource/kind/shop/{name}", name=name, because=event)
        files = {
            "context/logs.txt": b"panic: no such file /etc/app.yaml\n",
            "context/system-instructions.txt": b"You are in READ-ONLY triage mode.\n",
            keys.PROMPT: b"# Investigate\n",
        }
        index = content(seal(files.items(), {}, {}))
        finding = Finding(
            analyzer="crash_loop.missing-file",
            certainty=Certainty.LIKELY,
            title="A file is missing",
            statement="The process stops because a file is missing.",
            evidence=(Evidence(file="context/logs.txt", line=1, quote="no such file"),),
        )
        verdict = Verdict(findings=(finding,))
        for record, data in (
            (keys.EVENT, to_bytes(event)),
            (keys.INCIDENT, incident),
            *files.items(),
            (keys.INDEX, index),
            (keys.run_record(number, keys.FINDINGS), verdict),
        ):
            self.incidents.record(incident.id, record, data)
        run = Run(
            incident_id=incident.id,
            number=number,
            engine=engine,
            command=tuple(str(part) for part in command),
            deadline_s=deadline_s,
            capsule_sha256=self.incidents.capsule(incident.id).sha256,
            cluster="kind",
            namespace="shop",
            created_at=NOW,
            cause=to_json(event),
        )
        self.incidents.record(incident.id, keys.run_record(number, keys.RUN), run)
        return run

    def workspace(self, run):
        return self.folder / "runs" / run.id

    def wait(self, run, until=lambda: False):
        deadline = time.monotonic() + 30
        while self.runner.state(run) is JobState.LIVE and not until():
            assert time.monotonic() < deadline, self.wrapper_log(run)
            time.sleep(0.02)

    def wrapper_log(self, run):
        return (self.folder / "runs" / f"{run.id}.wrapper.log").read_text()

    def finish(self, run, runner=None):
        (runner or self.runner).start(run)
        self.wait(run)
        result = self.incidents.result(run.incident_id, run.number)
        assert result is not None, self.wrapper_log(run)
        return result

    def left(self, run, name):
        record = keys.run_record(run.number, name)
        return self.incidents.read(run.incident_id, record).decode()

    def told(self, run):
        return [e for e in self.broker.events if e.source == f"/faultline/runs/{run.id}"]


@pytest.fixture
def laptop(tmp_path, broker):
    broker.events.clear()
    return Laptop(tmp_path, broker)


@pytest.mark.covers("S1-068", "S1-123", "S1-125", "S1-127", "S1-129")
def test_the_fake_agent_answers_and_everyone_hears_of_it_once(laptop):
    run = laptop.run(command=[FAKE_AGENT])

    result = laptop.finish(run)

    assert (result.status, result.reason, result.exit_code) == (RunStatus.SUCCESS, "", 0)
    assert [o.name for o in result.outputs] == [
        "output/agent.log",
        "output/diagnosis.json",
        "output/investigation.md",
    ]
    assert laptop.left(run, keys.AGENT_LOG) == f"looking at incident {run.incident_id}\n"
    [event] = laptop.told(run)
    assert (event.type, event.subject) == (RUN_FINISHED, run.incident_id)
    assert event.extensions["causationid"] == "e1"
    assert event.data == result.model_dump(mode="json")


@pytest.mark.covers("S0-17", "S0-20")
def test_the_stub_says_which_incident_it_was_given_and_is_judged_by_its_exit_code(laptop):
    run = laptop.run(engine="stub")

    result = laptop.finish(run)

    assert result.status is RunStatus.SUCCESS
    assert laptop.left(run, keys.AGENT_LOG) == f"Processing incident: {run.incident_id}\n"


def test_the_built_in_rules_leave_an_honest_investigation(laptop):
    run = laptop.run(engine="rules")

    result = laptop.finish(run)

    assert (result.status, result.reason) == (RunStatus.SUCCESS, "")
    diagnosis = laptop.incidents.diagnosis(run.incident_id, 1)
    assert diagnosis.root_cause.startswith("Not proved. Most likely: The process stops")
    assert diagnosis.changes == ()
    assert "### H1: A file is missing" in laptop.left(run, keys.INVESTIGATION)


PROBE = """
import json, os, pathlib, stat, sys
root = pathlib.Path.cwd()
found = {
    "env": dict(os.environ), "cwd": str(root), "stdin": sys.stdin.read(),
    "group": os.getpgid(0) == os.getpid(), "fds": sorted(os.listdir("/proc/self/fd")),
    "modes": {str(p.relative_to(root)): oct(stat.S_IMODE(p.lstat().st_mode))
              for p in [root, *root.rglob("*")]},
    "log": pathlib.Path("output/agent.log").exists(),
    "parent": pathlib.Path(f"/proc/{os.getppid()}/comm").exists(),
}
pathlib.Path("output/artifacts/probe.json").write_text(json.dumps(found))
"""


@pytest.mark.covers("S0-15", "S0-19", "S1-019", "S1-020", "S1-039", "S1-041")
@pytest.mark.covers("S1-057", "S1-058", "S1-059", "S1-063")
def test_the_engine_finds_its_workspace_and_a_clean_environment(laptop):
    run = laptop.run(command=[*PYTHON, PROBE])
    rich = laptop.another_runner(
        AWS_SECRET_ACCESS_KEY="planted-aws-secret",
        GITHUB_TOKEN="planted-git-token",
        FAULTLINE_WEBHOOK_TOKEN="planted-webhook",
        ANTHROPIC_API_KEY="planted-model-key",
    )

    laptop.finish(run, rich)

    found = json.loads(laptop.left(run, "output/artifacts/probe.json"))
    workspace = str(laptop.workspace(run))
    assert found["cwd"] == workspace
    env = found["env"]
    assert env.keys() <= {
        *("PATH", "HOME", "TMPDIR", "LC_CTYPE", "LANG", "LC_ALL", "TZ"),
        *("INCIDENT_ID", "INCIDENT_WORKSPACE", "KUBERNETES_CLUSTER", "KUBERNETES_NAMESPACE"),
        *("CLAUDE_READ_ONLY_MODE", "AGENT_READ_ONLY_MODE"),
    }
    assert (env["INCIDENT_ID"], env["INCIDENT_WORKSPACE"]) == (run.incident_id, workspace)
    assert (env["KUBERNETES_CLUSTER"], env["KUBERNETES_NAMESPACE"]) == ("kind", "shop")
    assert (env["CLAUDE_READ_ONLY_MODE"], env["AGENT_READ_ONLY_MODE"]) == ("true", "true")
    assert env["HOME"].startswith(workspace)
    assert found["stdin"] == ""
    assert found["group"]
    assert found["log"]
    modes = found["modes"]
    folders = {".", ".claude", "context", "home", "output", "output/artifacts", "tmp"}
    assert {modes[name] for name in folders} == {"0o700"}
    files = modes.keys() - folders
    assert files >= {"event.json", "incident.json", "findings.json", "PROMPT.md"}
    assert files >= {"context/logs.txt", "context/index.json"}
    assert {modes[name] for name in files} == {"0o600"}


@pytest.mark.covers("S1-095")
def test_no_credential_of_ours_is_in_the_engines_reach_or_in_what_is_uploaded(laptop):
    planted = {
        "AWS_SECRET_ACCESS_KEY": "planted/aws+secret0123456789",
        "GITHUB_TOKEN": "planted-git-token-0123456789",
    }
    search = (
        "import os, pathlib, sys\n"
        "print(dict(os.environ))\n"
        "for p in pathlib.Path('.').rglob('*'):\n"
        "    p.is_file() and sys.stdout.write(p.read_text())\n"
        "print(sys.argv)\n"
    )
    run = laptop.run(command=[*PYTHON, search])

    laptop.finish(run, laptop.another_runner(**planted))

    everything = b"".join(
        path.read_bytes() for path in laptop.folder.rglob("*") if path.is_file()
    ).decode("utf-8", "replace")
    assert "INCIDENT_ID" in laptop.left(run, keys.AGENT_LOG)
    for secret in planted.values():
        assert secret not in everything


def test_a_secret_that_the_engine_was_given_is_redacted_from_all_it_leaves(laptop, tmp_path):
    secret = "correct-horse-battery-staple-9"
    leak = ANSWER + (
        f"print('{secret}'); (out/'artifacts'/'notes.txt').write_text('x {secret} y'); "
        f"(out/'artifacts'/'{secret}.txt').write_text('z')"
    )
    run = laptop.run(command=[*PYTHON, leak])

    result = laptop.finish(run, laptop.another_runner(MODEL_API_KEY=secret))

    assert result.status is RunStatus.SUCCESS
    assert "[REDACTED:known" in laptop.left(run, "output/artifacts/notes.txt")
    stored = [
        p for p in (tmp_path / "store").rglob("*") if p.is_file() and "/runs/1/output" in str(p)
    ]
    assert len(stored) == 4
    assert not any(secret.encode() in p.read_bytes() or secret in p.name for p in stored)


HALF = "open('output/artifacts/so-far.txt', 'w').write('half'); "


@pytest.mark.parametrize(
    ("code", "status", "reason", "exit_code"),
    [
        ("raise SystemExit(3)", "failed", "exit", 3),
        ("import os; os.kill(os.getpid(), 9)", "failed", "sigkill", -9),
        ("pass", "failed", "empty_report", 0),
        ("import time; time.sleep(60)", "timeout", "deadline", -2),
    ],
)
@pytest.mark.covers("S0-18", "S1-090", "S1-129")
def test_the_true_exit_code_is_told_and_what_there_is_is_uploaded_and_stays(
    laptop, code, status, reason, exit_code
):
    run = laptop.run(command=[*PYTHON, HALF + code], deadline_s=3 if status == "timeout" else 20)

    result = laptop.finish(run, laptop.another_runner(AGENT_RUNTIME_CLEANUP="keep_on_failure"))

    assert (str(result.status), result.reason, result.exit_code) == (status, reason, exit_code)
    assert laptop.left(run, "output/artifacts/so-far.txt") == "half"
    assert (laptop.workspace(run) / "output/artifacts/so-far.txt").read_text() == "half"


@pytest.mark.covers("S1-065")
@pytest.mark.parametrize(
    ("command", "exit_code"), [(["/no/such/agent"], 127), (["/etc/hostname"], 126)]
)
def test_a_command_that_cannot_start_is_a_failed_run_with_a_log(laptop, command, exit_code):
    run = laptop.run(command=command)

    result = laptop.finish(run)

    assert (str(result.status), result.reason) == ("failed", "start")
    assert result.exit_code == exit_code
    assert "cannot start" in laptop.left(run, keys.AGENT_LOG)
    assert len(laptop.told(run)) == 1


@pytest.mark.covers("S1-066")
def test_a_parent_that_waits_for_no_child_does_not_hide_how_the_engine_ended(laptop):
    run = laptop.run(command=[*PYTHON, "raise SystemExit(3)"])
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # inherited by whoever is started
    try:
        laptop.runner.start(run)
    finally:
        signal.signal(signal.SIGCHLD, before)
    laptop.wait(run)

    result = laptop.incidents.result(run.incident_id, 1)
    assert result is not None, laptop.wrapper_log(run)
    assert (str(result.status), result.reason, result.exit_code) == ("failed", "exit", 3)


@pytest.mark.covers("S0-21")
def test_what_the_engine_says_is_in_its_file_and_at_level_debug_in_our_log(laptop):
    secret = "correct-horse-battery-staple-9"
    talk = f"import sys; print('to out {secret}', flush=True); print('to err', file=sys.stderr)"
    run = laptop.run(command=[*PYTHON, talk])

    laptop.finish(run, laptop.another_runner(LOG_LEVEL="debug", MODEL_API_KEY=secret))

    assert [line.split()[:2] for line in laptop.left(run, keys.AGENT_LOG).splitlines()] == [
        ["to", "out"], ["to", "err"],
    ]  # fmt: skip
    said = [json.loads(line)["message"] for line in laptop.wrapper_log(run).splitlines()]
    heard = [message for message in said if message.startswith("engine says: ")]
    assert [message.split()[2:4] for message in heard] == [["to", "out"], ["to", "err"]]
    assert secret not in laptop.wrapper_log(run)


def test_an_engine_that_does_not_exist_is_a_failed_run_too(laptop):
    run = laptop.run(engine="oracle")

    result = laptop.finish(run)

    assert (str(result.status), result.reason, result.exit_code) == ("failed", "start", None)
    assert "expected an engine among" in laptop.left(run, keys.AGENT_LOG)


STUBBORN = (
    "trap 'echo interrupted' INT; setsid sh -c 'echo escaped $$; exec sleep 60' & "
    "echo working; while :; do sleep 0.1; done"
)


@pytest.mark.covers("S1-060", "S1-061", "S1-064", "S1-079")
@pytest.mark.covers("S1-129")
def test_at_the_deadline_everything_is_interrupted_then_killed_and_the_log_is_kept(laptop):
    run = laptop.run(command=["sh", "-c", STUBBORN], deadline_s=1)

    result = laptop.finish(run)

    assert (str(result.status), result.reason, result.exit_code) == ("timeout", "deadline", -9)
    words = laptop.left(run, keys.AGENT_LOG).split()
    assert {"working", "interrupted", "escaped"} <= set(words)
    escaped = int(words[words.index("escaped") + 1])
    assert not Known(escaped, Known.of(escaped).started).alive


def test_an_engine_that_heeds_the_interrupt_is_not_killed(laptop):
    polite = "trap 'exit 5' INT; while :; do sleep 0.05; done"

    result = laptop.finish(laptop.run(command=["sh", "-c", polite], deadline_s=1))

    assert (str(result.status), result.exit_code) == ("timeout", 5)


@pytest.mark.covers("S1-080")
@pytest.mark.parametrize("way", ["runner", "record"])
@pytest.mark.covers("S1-129")
def test_a_run_can_be_cancelled_while_it_works_and_still_hands_in(laptop, way):
    run = laptop.run(command=[*PYTHON, "import time; print('working', flush=True); time.sleep(60)"])
    laptop.runner.start(run)
    log = laptop.workspace(run) / keys.AGENT_LOG
    laptop.wait(run, until=lambda: log.exists() and log.read_bytes())

    if way == "runner":
        laptop.runner.cancel(run)
    else:
        laptop.incidents.record(run.incident_id, keys.run_record(1, keys.CANCEL), b"{}\n")
    laptop.wait(run)

    result = laptop.incidents.result(run.incident_id, 1)
    assert (str(result.status), result.reason) == ("cancelled", "cancelled")
    assert laptop.left(run, keys.AGENT_LOG).startswith("working\n")
    assert len(laptop.told(run)) == 1


@pytest.mark.covers("ISO-08")
def test_a_runtime_that_is_told_to_end_hands_in_what_is_there(laptop):
    partial = ANSWER + (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "(out/'artifacts'/'so-far.txt').write_text('half'); print('x', flush=True); time.sleep(60)"
    )
    run = laptop.run(command=[*PYTHON, partial])
    laptop.runner.start(run)
    so_far = laptop.workspace(run) / "output/artifacts/so-far.txt"
    laptop.wait(run, until=lambda: so_far.exists() and so_far.read_bytes())

    told = time.monotonic()
    laptop.runner.cancel(run)
    laptop.wait(run)

    assert time.monotonic() - told < 10
    assert str(laptop.incidents.result(run.incident_id, 1).status) == "cancelled"
    assert laptop.left(run, "output/artifacts/so-far.txt") == "half"
    assert laptop.incidents.diagnosis(run.incident_id, 1) is not None


@pytest.mark.covers("S1-107", "S1-108", "S1-110")
def test_the_runtime_logs_what_it_does_as_json_with_the_incident(laptop):
    run = laptop.run(command=[FAKE_AGENT, "--password=hunter2hunter2"])

    laptop.finish(run)

    lines = [json.loads(line) for line in laptop.wrapper_log(run).splitlines()]
    assert {line["incident_id"] for line in lines} == {run.incident_id}
    messages = "\n".join(line["message"] for line in lines)
    workspace = str(laptop.workspace(run))
    assert f"workspace made: {workspace}" in messages
    assert f"engine started: {FAKE_AGENT} " in messages
    assert f" in {workspace}, process " in messages
    assert "hunter2" not in messages
    assert "run finished: success after " in messages
    assert [line["status"] for line in lines if "status" in line] == ["success"]


def test_a_run_that_was_cancelled_before_it_began_starts_nothing(laptop):
    run = laptop.run(command=[FAKE_AGENT])
    laptop.incidents.record(run.incident_id, keys.run_record(1, keys.CANCEL), b"{}\n")

    result = laptop.finish(run)

    assert (str(result.status), result.exit_code) == ("cancelled", None)
    assert laptop.left(run, keys.AGENT_LOG) == ""


@pytest.mark.covers("S1-082", "S1-084", "S1-085")
@pytest.mark.covers("S1-129")
def test_artifacts_are_collected_and_what_leads_outside_stays_outside(laptop, tmp_path):
    (tmp_path / "secret.txt").write_text("not yours")
    leave = ANSWER + (
        "import os; a = out/'artifacts'; (a/'deep').mkdir(); "
        "(a/'deep'/'pods.txt').write_text('api 0/1'); (a/'page.html').write_text('<b>'); "
        f"os.symlink({str(tmp_path / 'secret.txt')!r}, a/'link'); "
        f"os.link({str(tmp_path / 'secret.txt')!r}, a/'hard'); os.mkfifo(a/'pipe'); "
        f"os.symlink({str(tmp_path)!r}, a/'folder'); "
        "(a/'zeros.bin').write_bytes(bytes([255]))"
    )
    run = laptop.run(command=[*PYTHON, leave])

    result = laptop.finish(run)

    assert {o.name for o in result.outputs if "artifacts" in o.name} == {
        "output/artifacts/deep/pods.txt",
        "output/artifacts/page.html",
    }
    log = laptop.left(run, keys.AGENT_LOG)
    assert "left out output/artifacts/link: a symbolic link" in log
    assert "left out output/artifacts/folder: a symbolic link" in log
    assert "left out output/artifacts/hard: a hard link" in log
    assert "left out output/artifacts/pipe: not a plain file" in log
    assert "left out output/artifacts/zeros.bin: not text" in log
    assert "not yours" not in log


@pytest.mark.parametrize("name", ["final-report.md", "report.md"])
def test_a_report_under_another_name_gets_ours(laptop, name):
    moved = ANSWER + f"(out/'investigation.md').rename(out/{name!r})"
    run = laptop.run(command=[*PYTHON, moved])

    assert laptop.finish(run).status is RunStatus.SUCCESS
    assert laptop.left(run, keys.INVESTIGATION) == laptop.left(run, f"output/{name}")


def test_what_is_no_diagnosis_is_kept_under_another_name(laptop):
    wrong = ANSWER + "(out/'diagnosis.json').write_text('{\"title\": NaN}')"
    run = laptop.run(command=[*PYTHON, wrong])

    result = laptop.finish(run)

    assert (str(result.status), result.reason) == ("failed", "bad_diagnosis")
    assert laptop.incidents.diagnosis(run.incident_id, 1) is None
    assert laptop.left(run, "output/diagnosis-refused.txt") == '{"title": NaN}'


def test_evidence_that_is_not_what_the_run_was_made_for_is_not_investigated(laptop):
    run = laptop.run(command=[FAKE_AGENT])
    path = f"incidents/{run.incident_id}/context/logs.txt"
    (laptop.folder / "store" / path).write_text("all is well\n")

    result = laptop.finish(run)

    assert (str(result.status), result.reason) == ("failed", "start")
    assert "does not match its index" in laptop.left(run, keys.AGENT_LOG)


@pytest.mark.covers("S1-129")
def test_runs_beside_each_other_do_not_see_each_other(laptop):
    mine = ANSWER + (
        "import os; print(os.environ['INCIDENT_ID']); "
        "(out/'artifacts'/'mine.txt').write_text(os.environ['INCIDENT_ID'])"
    )
    runs = [laptop.run(command=[*PYTHON, mine], name=n, cause=n) for n in ("api", "db", "web")]

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(laptop.finish, runs))

    assert {str(result.status) for result in results} == {"success"}
    for run in runs:
        assert laptop.left(run, "output/artifacts/mine.txt") == run.incident_id


@pytest.mark.covers("S1-129")
def test_the_folder_goes_after_success_and_stays_after_failure(laptop):
    tidy = laptop.another_runner(AGENT_RUNTIME_CLEANUP="keep_on_failure")
    good = laptop.run(command=[FAKE_AGENT])
    bad = laptop.run(command=[*PYTHON, "raise SystemExit(1)"], name="db", cause="e2")

    laptop.finish(good, tidy)
    laptop.finish(bad, tidy)

    assert not laptop.workspace(good).exists()
    assert (laptop.workspace(bad) / keys.AGENT_LOG).exists()


@pytest.mark.covers("S1-006", "S1-022", "S1-032", "S1-142")
def test_a_run_is_given_its_skill_names_it_and_takes_folders_past_the_retention_away(
    laptop, tmp_path
):
    old = laptop.run(command=[*PYTHON, "raise SystemExit(1)"])
    laptop.finish(old, laptop.another_runner(AGENT_RUNTIME_CLEANUP="keep_on_failure"))
    assert laptop.workspace(old).exists()
    three_hours_ago = time.time() - 3 * 3_600
    os.utime(laptop.folder / "runs" / f"{old.id}.ended", (three_hours_ago, three_hours_ago))
    source = tmp_path / "k8s-troubleshooter"
    for name in ("SKILL.md", "references/events.md", "scripts/triage.sh"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)

    read = "print(pathlib.Path('.claude/skills/k8s-troubleshooter/SKILL.md').read_text())"
    run = laptop.run(command=[*PYTHON, ANSWER + read], name="db", cause="db")
    skilled = laptop.another_runner(
        AGENT_RUNTIME_SKILLS_SOURCE=str(source),
        AGENT_RUNTIME_CLEANUP="keep_on_failure",
        AGENT_RUNTIME_RETENTION="2",
    )
    result = laptop.finish(run, skilled)

    assert "SKILL.md" in laptop.left(run, keys.AGENT_LOG)
    assert re.fullmatch(r"k8s-troubleshooter@sha256:[0-9a-f]{64}", result.skill)
    assert json.loads(laptop.left(run, keys.RESULT))["skill"] == result.skill
    assert not laptop.workspace(run).exists()
    assert not laptop.workspace(old).exists()
    assert laptop.incidents.result(old.incident_id, 1) is not None


def test_the_same_run_over_s3_keeps_the_stores_credentials_to_the_runtime(
    tmp_path, broker, monkeypatch
):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    aws = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "planted-aws-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="faultline")
    laptop = Laptop(tmp_path, broker, "s3://faultline/here")
    laptop.runner = laptop.another_runner(**aws)
    run = laptop.run(command=["sh", "-c", f"env; {FAKE_AGENT}"])

    result = laptop.finish(run)

    assert (result.status, result.reason) == (RunStatus.SUCCESS, "")
    log = laptop.left(run, keys.AGENT_LOG)
    assert "INCIDENT_ID=" in log
    assert "AWS_" not in log
    key = "here/" + keys.incident(run.incident_id, keys.run_record(1, keys.INVESTIGATION))
    assert s3.head_object(Bucket="faultline", Key=key)["ContentDisposition"] == "inline"
    server.stop()


COUNTED = ANSWER + "open({0!r}, 'a').write('x'); "


def test_started_twice_a_run_happens_once(laptop, tmp_path):
    run = laptop.run(command=[*PYTHON, COUNTED.format(str(tmp_path / "count"))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(laptop.runner.start, [run] * 4))
    laptop.finish(run)
    laptop.another_runner().start(run)

    assert (tmp_path / "count").read_text() == "x"
    assert len(laptop.told(run)) == 1


def test_a_run_outlives_its_starter_and_the_next_one_sees_it(laptop):
    run = laptop.run(command=[*PYTHON, "import time; time.sleep(60)"])
    laptop.runner.start(run)

    after_restart = laptop.another_runner()

    assert after_restart.state(run) is JobState.LIVE
    assert list(after_restart.live()) == [run.id]
    after_restart.cancel(run)
    laptop.wait(run)
    assert after_restart.state(run) is JobState.ENDED
    assert list(after_restart.live()) == []


def killed_and_started_again(laptop, run, when):
    """Kill the runtime without mercy at some moment, then start it as a new Pod would."""
    laptop.runner.start(run)
    laptop.wait(run, until=when)
    Known.read(laptop.folder / "runs" / f"{run.id}.pid").signal(signal.SIGKILL)
    laptop.wait(run)
    (laptop.folder / "runs" / f"{run.id}.pid").unlink()
    return laptop.finish(run)


def test_an_attempt_that_was_killed_leaves_nothing_running_and_is_made_anew(laptop, tmp_path):
    slow_once = ANSWER + (
        f"import os, time; f = pathlib.Path({str(tmp_path / 'pids')!r}); again = f.exists(); "
        "f.open('a').write(f'{os.getpid()} '); again or time.sleep(60)"
    )
    run = laptop.run(command=[*PYTHON, slow_once])
    pids = tmp_path / "pids"

    result = killed_and_started_again(laptop, run, lambda: pids.exists() and pids.read_text())

    assert result.status is RunStatus.SUCCESS
    first = int(pids.read_text().split()[0])
    assert not Known(first, Known.of(first).started).alive
    assert len(laptop.told(run)) == 1


def test_an_engine_whose_runtime_was_killed_ends_when_someone_looks(laptop):
    talk = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    run = laptop.run(command=[*PYTHON, talk])
    log = laptop.workspace(run) / keys.AGENT_LOG
    laptop.runner.start(run)
    laptop.wait(run, until=lambda: log.exists() and log.read_bytes())
    engine = Known.of(int(log.read_bytes()))

    Known.read(laptop.folder / "runs" / f"{run.id}.pid").signal(signal.SIGKILL)
    laptop.wait(run)

    assert laptop.runner.state(run) is JobState.ENDED
    deadline = time.monotonic() + 10
    while engine.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not engine.alive


def test_an_engine_that_has_ended_is_not_run_again_only_collected(laptop, tmp_path):
    run = laptop.run(command=[*PYTHON, COUNTED.format(str(tmp_path / "count"))])
    blocked = laptop.folder / "store/incidents" / run.incident_id / "runs/1/output"
    blocked.write_text("in the way, so that the upload fails")
    ended = laptop.folder / "runs" / f"{run.id}.ended"
    laptop.runner.start(run)
    laptop.wait(run)
    assert ended.exists()
    assert laptop.incidents.result(run.incident_id, 1) is None

    blocked.unlink()
    (laptop.folder / "runs" / f"{run.id}.pid").unlink()
    result = laptop.finish(run)

    assert result.status is RunStatus.SUCCESS
    assert (tmp_path / "count").read_text() == "x"


def test_a_result_that_stands_is_only_announced_again(laptop, tmp_path):
    run = laptop.run(command=[*PYTHON, COUNTED.format(str(tmp_path / "count"))])
    first = laptop.finish(run)

    (laptop.folder / "runs" / f"{run.id}.pid").unlink()
    second = laptop.finish(run)

    assert first == second
    assert (tmp_path / "count").read_text() == "x"
    assert len({event.id for event in laptop.told(run)}) == 1
    assert len(laptop.told(run)) == 2
