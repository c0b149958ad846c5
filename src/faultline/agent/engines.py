"""The engines: a name becomes a command and the environment it may see. `engines.toml` has them.

Nothing is run here. The prompt is never an argument: what comes from a cluster stays in files, and
the command only says which file to read.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faultline.errors import Rejected
from faultline.model import Run

PROMPT = "Read PROMPT.md in the working directory and do what it says."
CONTAINED = "FAULTLINE_CONTAINED"  # set to 1 by an operator whose container is the wall
_DANGEROUS = (
    "--dangerously-skip-permissions",
    "--dangerously-bypass-approvals-and-sandbox",
    "--yolo",
    "bypassPermissions",
    "danger-full-access",
    "Bash(*)",
)


@dataclass(frozen=True)
class Engine:
    """How to run one engine. Placeholders in `argv`: {python}, {prompt}, {model}, {seconds},
    {tokens}, {codex_url}."""

    argv: tuple[str, ...]
    model_argv: tuple[str, ...] = ()  # put where {model...} stands, if the run names a model
    environment: tuple[str, ...] = ()  # variables passed on from ours, if they are set
    settings: Mapping[str, str] = field(default_factory=dict)  # variables set to fixed values
    home: Mapping[str, str] = field(default_factory=dict)  # files written into its home
    stream: str = ""  # how its output is read: claude, codex, gemini; empty: plain text
    writes_report: bool = True  # False: judged by its exit code alone
    asks_cluster: bool = (
        False  # it can reach the API server: our rights are checked before it starts
    )


def engine(run: Run, table: Path | None = None) -> Engine:
    """Return the engine that a run names. Raises Rejected if there is none of that name."""
    found = _table(table)
    if run.engine not in found:
        raise Rejected(f"expected an engine among {', '.join(sorted(found))}, got {run.engine!r}")
    chosen = found[run.engine]
    if run.engine == "command" and not run.command:
        raise Rejected("the engine `command` needs agent_command: what should it run?")
    return chosen


def command(chosen: Engine, run: Run, environment: Mapping[str, str]) -> list[str]:
    """Return the argument list. Raises Rejected for switches that turn protection off.

    An operator whose container is the wall says so with FAULTLINE_CONTAINED=1.
    """
    words = {"{python}": sys.executable, "{prompt}": PROMPT, "{model}": run.model}
    words |= {"{seconds}": str(run.deadline_s), "{tokens}": str(run.tokens_max)}
    openai = environment.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    words["{codex_url}"] = f"model_providers.direct.base_url={openai}"
    argv: list[str] = []
    for part in chosen.argv:
        if part == "{model...}":
            argv += [words.get(p, p) for p in chosen.model_argv] if run.model else []
        elif part == "{command...}":
            argv += run.command
        else:
            argv.append(words.get(part, part))
    dangerous = [part for part in argv if any(switch in part for switch in _DANGEROUS)]
    if dangerous and environment.get(CONTAINED) != "1":
        raise Rejected(
            f"{dangerous[0]} turns the engine's own protection off; if the container is the wall, "
            f"say so with {CONTAINED}=1"
        )
    return argv


def tools(argv: Sequence[str]) -> frozenset[str]:
    """Return the tools that a command gives its engine by `--tools`; none if it does not say."""
    given = [argv[n + 1] for n, part in enumerate(argv[:-1]) if part == "--tools"]
    return frozenset(given[-1].split(",")) if given else frozenset()


def clean_environment(
    chosen: Engine, run: Run, workspace: Path, ours: Mapping[str, str]
) -> dict[str, str]:
    """Return the engine's whole environment, made from nothing.

    Of ours it gets what its entry names, and never the store's, the broker's or Git's credentials.
    """
    passed = {name: ours[name] for name in (*_BASE, *chosen.environment) if ours.get(name)}
    return (
        {"PATH": "/usr/local/bin:/usr/bin:/bin"}
        | passed
        | dict(chosen.settings)
        | {
            "HOME": str(workspace / "home"),
            "TMPDIR": str(workspace / "tmp"),
            "INCIDENT_ID": run.incident_id,
            "INCIDENT_WORKSPACE": str(workspace),
            "KUBERNETES_CLUSTER": run.cluster,
            "KUBERNETES_NAMESPACE": run.namespace,
            "CLAUDE_READ_ONLY_MODE": "true",
            "AGENT_READ_ONLY_MODE": "true",
        }
    )


_BASE = ("PATH", "LANG", "LC_ALL", "TZ")


def reachable(chosen: Engine, ours: Mapping[str, str]) -> dict[str, str]:
    """Return those of our variables by which an engine finds a cluster: what it is given, and what
    every process of a pod has, for its token lies in a file."""
    pod = {name: ours[name] for name in ("KUBERNETES_SERVICE_HOST",) if ours.get(name)}
    return pod | {name: ours[name] for name in chosen.environment if ours.get(name)}


def _table(path: Path | None) -> dict[str, Engine]:
    text = (path or Path(__file__).with_name("engines.toml")).read_text("utf-8")
    try:
        return {name: _engine(name, entry) for name, entry in tomllib.loads(text).items()}
    except (TypeError, ValueError) as error:
        raise Rejected(f"engines.toml is not a table of engines: {error}") from None


def _engine(name: str, entry: Mapping[str, object]) -> Engine:
    known = Engine.__dataclass_fields__
    if not isinstance(entry, dict) or not isinstance(entry.get("argv"), list):
        raise Rejected(f"engine {name}: expected a table with argv, a list of words")
    if unknown := sorted(entry.keys() - known):
        raise Rejected(f"engine {name}: expected {', '.join(known)}, got {unknown[0]}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return Engine(**values)  # type: ignore[arg-type]  # its types are the table's, tested
