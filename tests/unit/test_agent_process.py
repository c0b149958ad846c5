"""Running one command: its output, its end, and what it leaves running."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from faultline.adapters.runners.processes import Known
from faultline.agent import process
from faultline.agent.process import Exit


@pytest.fixture
def run(tmp_path):
    def run(code, **options):
        options = {"deadline_s": 20, "grace_s": 0.2, "env": {}} | options
        argv = options.pop("argv", [sys.executable, "-I", "-u", "-c", code])
        return process.run(argv, cwd=tmp_path, log=tmp_path / "agent.log", **options)

    return run


@pytest.fixture
def log(tmp_path):
    return lambda: (tmp_path / "agent.log").read_bytes()


@pytest.mark.covers("S1-067", "S0-22")
@pytest.mark.parametrize("code", [0, 1, 3, 42, 255])
def test_the_exit_code_is_the_commands_own(run, code):
    assert run(f"raise SystemExit({code})") == Exit(code)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_is_told_from_an_exit(run, number):
    assert run(f"import os; os.kill(os.getpid(), {number:d})") == Exit(-number)


@pytest.mark.covers("S1-062")
def test_output_and_errors_are_kept_in_order(run, log):
    run("import os; os.write(1, b'one\\n'); os.write(2, b'two\\n'); os.write(1, b'no newline')")

    assert log() == b"one\ntwo\nno newline"


def test_every_line_is_shown_to_the_watcher(run):
    seen = []

    run("print('a'); print('b'); print('x' * 100_000)", watch=lambda line: seen.append(line) or "")

    assert seen == [b"a", b"b", b"x" * 100_000]


def test_a_watcher_may_stop_it_with_a_reason(run):
    ended = run(
        "import time; print('no hope'); time.sleep(60)",
        watch=lambda line: "auth" if line == b"no hope" else "",
    )

    assert ended.stopped == "auth"
    assert ended.code in (-signal.SIGINT, 1, 130)


def test_a_long_log_keeps_its_beginning_and_its_end_and_says_what_is_missing(run, log):
    run("for n in range(20_000): print(f'line {n}')", log_bytes_max=10_000)

    kept = log()
    assert kept.startswith(b"line 0\nline 1\n")
    assert kept.endswith(b"line 19998\nline 19999\n")
    assert b"bytes of output left out here]" in kept
    assert len(kept) < 10_100


def test_a_log_of_exactly_the_limit_has_no_mark(run, log):
    run("import os; os.write(1, b'x' * 1000)", log_bytes_max=1000)

    assert log() == b"x" * 1000


def test_output_is_in_the_file_while_it_runs(run, log, tmp_path):
    def stop_once_seen():
        return b"early" in log()

    ended = run("import time; print('early'); time.sleep(60)", cancelled=stop_once_seen)

    assert ended.stopped == "cancelled"


def test_it_may_close_its_output_and_go_on(run):
    assert run("import os, time; os.close(1); os.close(2); time.sleep(0.2)").code == 0


def test_a_child_that_keeps_the_pipe_open_does_not_keep_us(run, log):
    holder = (
        "import subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-I', '-c', "
        "'import time; time.sleep(60)'], start_new_session=True); print(p.pid)"
    )
    started = time.monotonic()

    assert run(holder).code == 0

    assert time.monotonic() - started < 30
    os.kill(int(log()), signal.SIGKILL)


def test_what_is_left_of_the_group_is_killed_after_a_normal_end(run, log):
    run(
        "import subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-I', '-c', 'import time; time.sleep(60)']); "
        "print(p.pid)"
    )

    child = int(log())
    deadline = time.monotonic() + 10
    while Known(child, Known.of(child).started).alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Known(child, Known.of(child).started).alive


@pytest.mark.covers("S1-056")
def test_at_the_deadline_it_is_interrupted_and_after_the_grace_killed(run, log):
    deaf = ["/bin/sh", "-c", "trap 'echo heard' INT; echo up; while :; do sleep 0.05; done"]

    ended = run("", argv=deaf, env={"PATH": os.environ["PATH"]}, deadline_s=0.5)

    assert ended == Exit(-signal.SIGKILL, stopped="timeout")
    assert log() == b"up\nheard\n"


LOOPING = """
import os, subprocess, sys, time
calls, number = open("calls.txt", "a", buffering=1), 0
child = "import signal, time; signal.signal(2, signal.SIG_IGN); time.sleep(60)"
children = [subprocess.Popen([sys.executable, "-I", "-c", child]) for _ in range(5)]
import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)
for child in children: calls.write(f"child {child.pid}\\n")
while True:
    number += 1
    calls.write(f"call {number} {time.time()}\\n")
    print("x" * 1000)
    time.sleep(0.002)
"""


@pytest.mark.covers("STM-07")
def test_an_agent_that_loops_for_ever_ends_at_its_cap_with_all_it_started(run, log, tmp_path):
    began = time.monotonic()

    ended = run(LOOPING, deadline_s=1.5, grace_s=0.3, log_bytes_max=50_000)

    over = time.time()
    assert ended == Exit(-signal.SIGKILL, stopped="timeout")
    assert time.monotonic() - began < 10
    lines = [line.split() for line in (tmp_path / "calls.txt").read_text().splitlines()]
    children = [int(line[1]) for line in lines if line[0] == "child"]
    assert len(children) == 5
    time.sleep(0.3)
    assert [pid for pid in children if (found := Known.of(pid)) and found.alive] == []
    calls = [float(line[2]) for line in lines if line[0] == "call" and len(line) == 3]
    assert calls
    assert max(calls) <= over  # not one more
    assert len((tmp_path / "calls.txt").read_text().splitlines()) == len(lines)
    assert len(log()) < 51_000


@pytest.mark.covers("S1-088")
def test_an_error_of_ours_while_it_runs_leaves_nothing_running(run, log):
    def broken(line):
        raise RuntimeError("ours")

    talk = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(RuntimeError, match="ours"):
        run(talk, watch=broken)

    with pytest.raises(ProcessLookupError):
        os.kill(int(log()), 0)


def test_cancelled_goes_before_a_deadline_that_comes_during_the_grace(run):
    deaf = ["/bin/sh", "-c", "trap '' INT; sleep 60"]
    asked = threading.Event()
    threading.Timer(0.3, asked.set).start()

    ended = run(
        "", argv=deaf, env={"PATH": os.environ["PATH"]}, deadline_s=0.4, cancelled=asked.is_set
    )

    assert ended == Exit(-signal.SIGKILL, stopped="cancelled")


@pytest.mark.parametrize(
    ("argv", "code"), [(["/no/such"], 127), (["no-such-command"], 127), (["/etc/hostname"], 126)]
)
def test_what_cannot_be_started_says_why_as_a_shell_would(run, log, argv, code):
    ended = run("", argv=argv, env={"PATH": "/nonexistent"})

    assert ended.code == code
    assert ended.error
    assert log().startswith(b"faultline: cannot start ")


def test_nothing_of_ours_is_in_its_environment(run, log, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "planted")

    run("import os; print(sorted(os.environ))", env={"INCIDENT_ID": "x"})

    assert log().replace(b"'LC_CTYPE'", b"").replace(b", ", b"") == b"['INCIDENT_ID']\n"


def test_the_log_is_never_written_through_a_link(run, tmp_path):
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "agent.log").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        run("print('x')")

    assert (tmp_path / "elsewhere").read_text() == "untouched"


def test_a_number_given_again_is_another_process():
    ours = Known.of(os.getpid())

    assert ours.alive
    assert not Known(os.getpid(), "12345").alive
    assert not Known(2**22 + 1, "12345").alive


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "started": "1"}'])
def test_a_file_that_names_no_process_is_none(tmp_path, text):
    (tmp_path / "x.pid").write_text(text)

    assert Known.read(tmp_path / "x.pid") is None
    assert Known.read(tmp_path / "none.pid") is None


HARDENED = """
import ctypes, os
from faultline.agent.process import harden

if os.getuid() == 0:  # root may read everything
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)

def a_child_reads_our_environment():
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    try:
        os._exit(0 if b"planted" in open(f"/proc/{os.getppid()}/environ", "rb").read() else 2)
    except PermissionError:
        os._exit(1)

print(a_child_reads_our_environment())
harden()
print(a_child_reads_our_environment())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux'")
def test_a_hardened_runtime_does_not_show_its_environment_to_the_engine(tmp_path):
    environment = {"STORE_SECRET": "planted", "PATH": os.environ["PATH"]}

    done = subprocess.run(
        [sys.executable, "-c", HARDENED],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["True", "False"]
