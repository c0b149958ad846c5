"""The command `faultline`. This file has the words and their help; what they do is beside it.

`serving.py` starts things, `reading.py` shows what is in the store, `writing.py` sends and changes,
`bundling.py` packs an incident, `healing.py` resets a workload's healing score.
Imports are made when a command needs them, so that `faultline --version` is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faultline import __version__
from faultline.errors import FaultlineError, NotFound, TryAgain

# setting -> (flag, help); a flag overrides the environment
FLAGS = {
    "store": ("--store", "where records are kept: memory:, file://<folder>, s3://<bucket>"),
    "sse_endpoint": ("--sse-endpoint", "stream of faults to follow; repeat with commas"),
    "agent_runtime.workspace_root": ("--workspace-root", "folder for the workspaces of runs"),
    "host": ("--host", "address to listen on"),
    "port": ("--port", "port to listen on; 0: a free one"),
    "cluster": ("--cluster", "name of the cluster, where a message does not say it"),
    "recorded_cluster": ("--recorded-cluster", "folder of what kubectl printed, as the cluster"),
    "manifests": ("--manifests", "Git repository that the cluster is deployed from"),
    "agent_runtime.engine": ("--engine", "rules, stub, command, claude, codex or gemini"),
    "agent_runtime.agent_command": ("--agent-command", "a command of your own as the agent"),
    "log_level": ("--log-level", "debug, info, warn or error"),
    "dry_run": ("--dry-run", "nothing leaves; what would be sent is written to the store"),
}
SERVING = tuple(FLAGS)
READING = ("store",)
STATUSES = ("open", "ready", "investigating", "investigated", "packaged", "closed")
NAMED = "an incident's id, the last 8 digits of it, or `last`"
EXAMPLES = {
    "demo": "faultline demo --scenario list   names the faults that can be shown",
    "dev": "faultline dev --manifests ../gitops --recorded-cluster dumps/today",
    "incidents": "faultline incidents --status packaged --json",
    "tail": "faultline tail last --until packaged",
    "parked": "faultline resend KEY   sends one of them again, once its cause is mended",
    "send": """\
faultline send alert examples/alerts/crash-looping.json
faultline send alert examples/alerts/crash-looping.json --resolved
kubectl get ... | faultline send fault -""",
    "bundle": "faultline bundle last --out bundle.tar.gz",
    "retry": "faultline retry last --engine claude",
    "reset": 'faultline heal reset prod-eu/shop/api --note "the cache is bounded now"',
    "close": 'faultline close last --note "known, see the runbook"',
}
PROMOTING = ("store", "manifests")

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 refused or failed, 2 wrong usage."""
    parsed = parser().parse_args(arguments)
    if not hasattr(parsed, "command"):
        parser().print_help()
        return 2
    try:
        code = int(_command(parsed.command)(parsed))
        sys.stdout.flush()  # a pipe that is closed says so here, not at exit
    except BrokenPipeError:  # `faultline incidents | head`: who reads has what they wanted
        _say_no_more()
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if sys.flags.dev_mode and not isinstance(error, FaultlineError):
            raise
        return _complain(_words(error))
    return code


def _words(error: Exception) -> str:
    match error:
        case NotFound():
            return f"not there: {error}"
        case TryAgain():
            return f"{error} (this may pass: try again)"
        case FaultlineError():
            return str(error)
        case _:
            return _flaw(error)


def _flaw(error: Exception) -> str:
    """Say in one line what nobody expected, and how to see all of it."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    place = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
    says = " ".join(str(error).split())[:200]
    return (
        f"a flaw of Faultline's own: {type(error).__name__} at {place}: {says}; "
        "`python -X dev -m faultline …` shows the whole traceback"
    )


def _say_no_more() -> None:
    """Point standard output at nothing, so that the interpreter does not complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _complain(message: str) -> int:
    from faultline.style import paint

    sys.stderr.write(f"{paint('faultline:', 'red', sys.stderr)} {message}\n")
    return 1


def _command(name: str) -> Command:
    import importlib

    module, function = name.rsplit(".", 1)
    found: Command = getattr(importlib.import_module(f"faultline.cli.{module}"), function)
    return found


def parser() -> argparse.ArgumentParser:
    """Return the whole grammar; `docs/operate.md` is compared with it by a test."""
    top = argparse.ArgumentParser(
        prog="faultline",
        description="From a fault in a Kubernetes cluster to the pull request that fixes it.",
        epilog="Start with `faultline demo`. Settings: `faultline config check`.",
    )
    top.add_argument("--version", action="version", version=f"faultline {__version__}")
    top.add_argument("--config", type=Path, help="file of settings (default: faultline.yaml)")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    _serving(commands)
    _reading(commands)
    _writing(commands)
    _casework(commands)
    return top


def _casework(commands: Any) -> None:
    capture = _add(
        commands, "capture", "casework.capture", "a capsule of what kubectl printed", ("cluster",)
    )
    capture.add_argument("folder", type=Path, help="as docs/capsule.md has it")
    capture.add_argument("--namespace", default="", help="of the workload")
    capture.add_argument("--workload", default="", help="name of the workload that is in trouble")
    capture.add_argument("--alert", type=Path, help="AlertManager's message, if there was one")
    capture.add_argument("--out", type=Path, required=True, help="folder to make")
    diagnose = _add(
        commands, "diagnose", "casework.diagnose", "what the analyzers say of a capsule", ()
    )
    diagnose.add_argument("capsule", type=Path, help="its folder, or that of a recorded cluster")
    _json(diagnose)
    promote = _add(
        commands, "promote", "casework.promote", "a closed incident as a case", PROMOTING
    )
    promote.add_argument("incident")
    promote.add_argument("--out", type=Path, required=True, help="folder of cases; one is added")
    bundle = _add(commands, "bundle", "bundling.bundle", "all of an incident in one file", READING)
    bundle.add_argument("incident", help=NAMED)
    bundle.add_argument("--out", type=Path, required=True, help="file to make, a tar.gz")
    judge = _add(
        commands, "eval", "casework.evaluate", "how good an engine is over a folder of cases",
        ("agent_runtime.agent_command",),
    )  # fmt: skip
    judge.add_argument("folder", type=Path, help="of cases: capsules or clusters with truth.json")
    judge.add_argument(
        "--engine", dest="with_engine", default="analyzers", help="analyzers, or one of `retry`"
    )
    judge.add_argument("--json", type=Path, help="file to write the report to")
    judge.add_argument("--keep", type=Path, help="folder to leave the engine's runs in")


def _add(commands: Any, name: str, command: str, says: str, flags: Sequence[str]) -> Any:
    added = commands.add_parser(
        name,
        help=says,
        description=says[0].upper() + says[1:] + ".",
        epilog=EXAMPLES.get(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(command=command)
    for setting in flags:
        flag, help = FLAGS[setting]
        kind: dict[str, Any] = (
            {"action": "store_const", "const": True}
            if setting == "dry_run"
            else {"metavar": flag[2:].rpartition("-")[2].upper()}
        )
        added.add_argument(flag, dest=f"setting:{setting}", help=help, **kind)
    return added


def _json(added: Any) -> None:
    added.add_argument("--json", action="store_true", help="for machines")


def _serving(commands: Any) -> None:
    demo = _add(commands, "demo", "serving.demo", "one incident, from alert to verified fix", ())
    demo.add_argument("--scenario", default="memory", help="which fault; `list` names them")
    demo.add_argument("--keep", type=Path, help="folder to leave everything in")
    _add(commands, "dev", "serving.dev", "the whole line in one process, on loopback", SERVING)
    serve = _add(commands, "serve", "serving.serve", "one step behind HTTP", SERVING)
    serve.add_argument("step", help="triage, context, launch, package, close, sweep or verify")
    _add(commands, "bridge", "serving.bridge", "webhooks and streams into events", SERVING)
    _add(commands, "gateway", "serving.gateway", "what agents' Jobs may reach, alone", SERVING)
    _add(commands, "web", "serving.web", "the pages alone, over a store", SERVING)


def _reading(commands: Any) -> None:
    listed = _add(commands, "incidents", "reading.incidents", "list incidents", READING)
    listed.add_argument("--status", choices=STATUSES, help="only those with this status")
    _json(listed)
    show = _add(commands, "show", "reading.show", "show one incident", READING)
    show.add_argument("incident", help=NAMED)
    _json(show)
    tail = _add(commands, "tail", "reading.tail", "print what happens, as it happens", READING)
    tail.add_argument("incident", nargs="?", help=f"only this one: {NAMED}")
    tail.add_argument(
        "--until",
        choices=STATUSES,
        help="stop when it is that far (without an incident: the newest one)",
    )
    replay = _add(
        commands, "replay", "reading.replay", "the result again, from the store alone", READING
    )
    replay.add_argument("incident", help=NAMED)
    replay.add_argument("--run", type=int, help="which run (default: the newest)")
    replay.add_argument(
        "--from", dest="first", default="launch", choices=("launch", "package"), help="first step"
    )
    replay.add_argument("--engine", dest="with_engine", help="ask this engine, and compare")
    replay.add_argument("--keep", type=Path, help="folder to leave that engine's run in")
    _json(replay)
    parked = _add(commands, "parked", "reading.parked", "list events that were given up", READING)
    _json(parked)
    spent = _add(commands, "budgets", "spending.budgets", "what agents spent and may", READING)
    _json(spent)
    routes = _add(commands, "routes", "reading.routes", "the flow, on one screen", ())
    _json(routes)
    config = commands.add_parser("config", help="the settings in force")
    inner = config.add_subparsers(metavar="COMMAND", required=True)
    check = _add(
        inner, "check", "reading.config_check", "each setting and where it came from", SERVING
    )
    _json(check)


def _writing(commands: Any) -> None:
    send = _add(commands, "send", "writing.send", "send a message from a file", ("host", "port"))
    send.add_argument("kind", choices=("alert", "fault", "event"))
    send.add_argument("file", type=Path, help="JSON; - for standard input")
    send.add_argument("--to", help="address of the bridge (default: the one `dev` listens on)")
    send.add_argument("--resolved", action="store_true", help="send the alert as resolved now")
    cancel = _add(commands, "cancel", "writing.cancel", "stop the run of an incident", READING)
    cancel.add_argument("incident", help=NAMED)
    _json(cancel)
    retry = _add(
        commands, "retry", "writing.retry", "investigate once more", ("store", "host", "port")
    )
    retry.add_argument("incident", help=NAMED)
    retry.add_argument("--engine", dest="with_engine", help="with this engine")
    retry.add_argument("--to", help="address of the broker (default: the one of `dev`)")
    _json(retry)
    resend = _add(
        commands, "resend", "writing.resend", "send a parked event again", ("store", "host", "port")
    )
    resend.add_argument("key", help="as `faultline parked` lists it")
    resend.add_argument("--to", help="address of the broker (default: the one of `dev`)")
    heal = commands.add_parser("heal", help="what holds a workload back from being healed")
    inner = heal.add_subparsers(metavar="COMMAND", required=True)
    reset = _add(
        inner, "reset", "healing.reset", "let pull requests be made for a workload again", READING
    )
    reset.add_argument("workload", help="<cluster>/<namespace>/<name>, or as much of its end")
    reset.add_argument("--note", default="", help="why")
    _json(reset)
    close = _add(commands, "close", "writing.close", "close an incident by hand", READING)
    close.add_argument("incident", help=NAMED)
    _json(close)
    close.add_argument("--note", default="", help="why")
