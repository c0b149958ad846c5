"""One incident on one machine, from the alert to the verified fix, printed as it happens.

Nothing in it is staged but the input: the line is the one of `faultline dev`, over a folder of its
own. The alert comes in as AlertManager posts it, the fault over a stream; the cluster is a recorded
one from `examples/clusters/`; the repository is a real Git repository, and a person's part, the
merge, is done with git.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from faultline import keys, views
from faultline.bootstrap import now, policy
from faultline.dev import Line
from faultline.errors import Rejected, Unavailable
from faultline.event import FIX_FAILED, FIX_VERIFIED, format_time
from faultline.fixes import Outcome
from faultline.logs import configure
from faultline.model import Certainty, Closed, ClosedBecause, Status
from faultline.replay import replay
from faultline.scenarios import Scenario, find
from faultline.sections import AgentRuntime
from faultline.settings import Settings
from faultline.style import paint, paint_diff

Say = Callable[[str], None]

QUIET_S = 1  # how long it has to stay quiet here
WAIT_S = 60.0


def run(name: str, folder: Path, say: Say) -> int:
    """Show one scenario in `folder`; return 0 if it ended as the list of scenarios says."""
    scenario = find(name)
    _clear(folder)
    repository = _repository(scenario.folder / "manifests", folder / "repository")
    console = io.StringIO()
    configure("error")
    with _stream(scenario.folder) as stream:
        settings = _settings(scenario.folder, folder, repository, stream)
        line = Line(settings, console=console)
        line.start()
        try:
            return _show(line, scenario, repository, folder, console, say)
        finally:
            line.stop()


def _clear(folder: Path) -> None:
    """Make the folder empty. Raises Rejected if something lies there that is not a demo's."""
    journal = {f"journal.sqlite{end}" for end in ("", "-shm", "-wal")}
    ours = {"store", "repository", "runs"} | journal
    try:
        if not folder.exists() or {path.name for path in folder.iterdir()} <= ours:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            return
    except OSError as error:
        raise Rejected(f"cannot make the folder {folder}: {error.strerror}") from None
    raise Rejected(f"expected an empty folder or an earlier demo's, but {folder} holds other files")


def _settings(example: Path, folder: Path, repository: Path, stream: str) -> Settings:
    return Settings(
        store=f"file://{folder / 'store'}",
        journal=str(folder / "journal.sqlite"),
        port=0,
        cluster="prod-a",
        sse_endpoint=stream,
        quiet_s=QUIET_S,
        close_after_s=QUIET_S,
        recorded_cluster=str(example),
        manifests=str(repository),
        images=True,
        agent_runtime=AgentRuntime(workspace_root=str(folder / "runs")),
    )


def _show(
    line: Line, scenario: Scenario, repository: Path, folder: Path, console: io.StringIO, say: Say
) -> int:
    incidents = line.ports.incidents
    alert = json.loads((scenario.folder / "alert.json").read_bytes())
    incident_id = _break(line, scenario.folder, alert, say)
    _title(say, "2", "What Faultline found, and what it proposes")
    say(paint_diff(views.result_text(views.load(incidents, incident_id)), sys.stdout))
    _title(say, "3", "The message that people get")
    say("\n".join("  | " + text for text in console.getvalue().rstrip().splitlines()))
    patched = bool((made := incidents.proposal(incident_id, 1)) and not made.empty)
    mend = _merge if patched else _by_hand
    ended_well = mend(line, incident_id, repository, alert, say) and patched is scenario.patched
    same = _again(line, incident_id, say)
    _farewell(say, folder, repository, incident_id)
    return 0 if ended_well and same else 1


def _break(line: Line, example: Path, alert: dict[str, Any], say: Say) -> str:
    """Post the alert; return the incident's id once its answer is there."""
    incidents = line.ports.incidents
    streamed = (example / "fault.json").is_file()
    also = ", a stream reports a fault" if streamed else ""
    _title(say, "1", f"Something breaks: AlertManager posts an alert{also}")
    _post(line.url + "/alertmanager", alert)
    say(f"  {alert['alerts'][0]['labels']['alertname']} -> {line.url}/alertmanager")
    incident_id = str(_wait(lambda: next(iter(incidents.ids()), None), "an incident was opened"))
    if streamed:
        _wait(lambda: len(incidents.faults(incident_id)) > 1, "the stream's fault joined")
        say(f"  {len(incidents.faults(incident_id))} signals, one incident: {incident_id}")
    _wait(lambda: incidents.status(incident_id) is Status.PACKAGED, "the incident was packaged")
    return incident_id


def _merge(line: Line, incident_id: str, repository: Path, alert: dict[str, Any], say: Say) -> bool:
    """Merge the branch, let the alert resolve; True if the incident ends as verified."""
    _title(say, "4", "A person merges the branch, then the alert resolves")
    receipts = line.ports.incidents.receipts(incident_id)
    branch = next(r.details["branch"] for r in receipts if r.details)
    _git(repository, "merge", "--no-edit", "--quiet", branch, person=True)
    say(f"  git merge {branch}")
    time.sleep(1.05 - time.time() % 1.0)  # Git counts whole seconds
    because = _resolve(line, incident_id, alert, say)
    return _held(line, incident_id, say) and because is ClosedBecause.VERIFIED


def _by_hand(
    line: Line, incident_id: str, repository: Path, alert: dict[str, Any], say: Say
) -> bool:
    """Let the alert resolve without a change of ours; True if the incident says so."""
    _title(say, "4", "No change is proposed: people get an issue, one of them mends it by hand")
    incidents = line.ports.incidents
    proposal = incidents.proposal(incident_id, 1)
    diagnosis = incidents.diagnosis(incident_id, 1)
    proved = diagnosis is not None and diagnosis.certainty is Certainty.PROVED
    nothing = "the cause is proved, and no field of a manifest would mend it"
    reasons = list(proposal.refused.values() if proposal else ())
    for reason in reasons or [nothing if proved else "no cause is proved"]:
        say(f"  because {reason}")
    return _resolve(line, incident_id, alert, say) is ClosedBecause.CLEARED


def _resolve(line: Line, incident_id: str, alert: dict[str, Any], say: Say) -> ClosedBecause:
    _post(line.url + "/alertmanager", _resolved(alert))
    incidents = line.ports.incidents
    closed: Closed = _pinged(line, lambda: incidents.closed(incident_id), "the incident closed")
    say(f"  closed as {paint(closed.because.value, 'green', sys.stdout)}")
    return closed.because


def _held(line: Line, incident_id: str, say: Say) -> bool:
    """Ping until it is known, and said, whether the fix held; True if it did."""
    incidents = line.ports.incidents
    said = {keys.announced(FIX_VERIFIED), keys.announced(FIX_FAILED)}

    _pinged(line, lambda: said & incidents.names(incident_id), "the fix was verified")
    held = incidents.verification(incident_id)
    quiet = f"nothing came back for {QUIET_S} s (here; {Settings().quiet_s} s by default)"
    if held is None or held.outcome is not Outcome.VERIFIED:
        say("  the fix did not hold")
        return False
    say(f"  {quiet}: the fix held")
    return True


def _pinged(line: Line, found: Callable[[], Any], what: str) -> Any:
    """Wait for what a ping brings about: here it comes each moment, else each minute."""

    def look() -> Any:
        line.ping()
        time.sleep(0.2)  # a second's worth of pings, not a thousand
        return found()

    return _wait(look, what)


def _again(line: Line, incident_id: str, say: Say) -> bool:
    """Replay; True if everything came out byte for byte as it is in the store."""
    incidents = line.ports.incidents
    _title(say, "5", "The same result again, from the store alone")
    replayed = replay(incidents, incident_id, policy=policy(line.settings))
    count = len(replayed.same) + len(replayed.different)
    text = views.result_text(views.load(incidents, incident_id))
    same = replayed.identical and replayed.text == text
    verdict = "byte for byte the same" if same else "DIFFERENT: " + ", ".join(replayed.different)
    say(f"  faultline replay: {count} records and pages made again, {verdict}")
    return same


def _farewell(say: Say, folder: Path, repository: Path, incident_id: str) -> None:
    store, command = _short(folder / "store"), _short(Path(sys.argv[0]))
    _title(say, "", "Look at it")
    say(f"  {store}/incidents/{incident_id}/report/index.html   the report: open it in a browser")
    say(f"  {store}/README.md   what lies where")
    say("")
    say(f"  git -C {_short(repository)} log --stat -2")
    for words in ("show last", "replay last", "web"):
        say(f"  {command} {words} --store file://{store}")
    say("")
    say("  make demo SCENARIO=list   other faults")
    say("  make dev                  the line itself, waiting for yours")


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)


def _title(say: Say, number: str, text: str) -> None:
    say("")
    say(paint(f"{number + '. ' if number else ''}{text}", "bold", sys.stdout))


def _wait(found: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.02)
    raise Unavailable(f"waited {WAIT_S:.0f} s, but it did not happen that {what}")


def _resolved(alert: dict[str, Any]) -> dict[str, Any]:
    ended = [a | {"status": "resolved", "endsAt": format_time(now())} for a in alert["alerts"]]
    return alert | {"status": "resolved", "alerts": ended}


def _post(url: str, body: dict[str, Any]) -> None:
    import httpx

    answer = httpx.post(url, json=body, timeout=10)
    if answer.status_code >= 300:
        raise Rejected(f"{url} answered {answer.status_code}: {answer.text}")


def _repository(manifests: Path, folder: Path) -> Path:
    """Make a Git repository of the example's manifests, as the team has it."""
    shutil.copytree(manifests, folder)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "add", ".", person=True)
    _git(folder, "commit", "--quiet", "--message", "Manifests of the shop", person=True)
    return folder


def _git(folder: Path, *arguments: str, person: bool = False) -> None:
    who = {"NAME": "A Person", "EMAIL": "person@example.com"}
    named = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    clean = {"PATH": os.environ.get("PATH", ""), "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(folder)}
    try:
        subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=True,
            capture_output=True,
            env=clean | (named if person else {}),
        )
    except FileNotFoundError:
        raise Unavailable("git is missing; install it and try again") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"git {arguments[0]}: {error.stderr.decode().strip()}") from None


@contextlib.contextmanager
def _stream(example: Path) -> Iterator[str]:
    """Serve the example's fault as a stream of server-sent events; "" if it has none."""
    path = example / "fault.json"
    if not path.is_file():
        yield ""
        return
    message = f"data: {json.dumps(json.loads(path.read_bytes()))}\n\n".encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(message)
                while not over.wait(1.0):
                    self.wfile.write(b": still here\n\n")

        def log_message(self, *_: object) -> None:
            return

    over = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/events"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
