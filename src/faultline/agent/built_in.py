"""The built-in engine as it runs: a model behind HTTP, its tools, the workspace.

    python -I -m faultline.agent.built_in --seconds 600 --tokens 200000 [--model NAME]
                                          [--capsule] [--recorded]

It leaves `investigation.md`, `diagnosis.json`, and the records `tools.jsonl` and `model.jsonl`
below `output/`. `--capsule` asks no cluster. `--recorded` asks no model either: it answers from
`recorded/`, and the same question gets the same answer to the byte. Standard output is one JSON
object a line, read by `outcome.py`; no line of it holds the model's address or its key. The loop
itself is `loop.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultline import keys
from faultline.agent import briefing
from faultline.agent.backends import HttpModel, Service, service
from faultline.agent.loop import Bounds, Spent, investigate
from faultline.agent.mcp_tools import PREFIX, Allowed, Beside, Others, allowed, connect, recalled
from faultline.agent.record import UNRECORDED, Chain, Recorded
from faultline.agent.rights import CLUSTER
from faultline.agent.tools import Tools
from faultline.agent.transcript import Kept, Model, RecordedModel
from faultline.agent.worlds import CapsuleCluster, World, live
from faultline.capsule import Capsule, belongs, objects
from faultline.errors import FaultlineError, Rejected
from faultline.evidence import check
from faultline.model import Diagnosis, Incident, Severity, Verdict
from faultline.redact import Redactor
from faultline.views.render import environment as templates

_PRIORITY = {Severity.CRITICAL: "P1", Severity.WARNING: "P3", Severity.INFO: "P4"}

Clock = Callable[[], float]


class Run:
    """One run of the engine, in the workspace, within the limits that it was told."""

    def __init__(
        self, told: argparse.Namespace, environment: Mapping[str, str], workspace: Path
    ) -> None:
        self._told, self._environment, self._workspace = told, environment, workspace
        self.spent = Spent()
        self.service: Service | None = None
        self.name = told.model
        self.notes: dict[str, int] = {}

    def go(self, clock: Clock, sleep: Callable[[float], None]) -> Diagnosis:
        """Investigate and write what came out. Raises GaveUp, ModelFailed, Rejected."""
        files = evidence(self._workspace)
        capsule = Capsule({name: data for name, data in files.items() if belongs(name)})
        incident = Incident.model_validate_json(files[keys.INCIDENT])
        verdict = Verdict.model_validate_json(files.get(keys.FINDINGS) or b"{}")
        of_others = allowed(self._environment)
        model, nonce = self._model(sleep)
        ours = (self.service.key if self.service else "", of_others.token)
        redactor = Redactor(incident.id, known=ours)
        others = self._others(of_others, redactor)
        asks_live = self._asks_live()
        live_then = model.about["live"] if isinstance(model, RecordedModel) else asks_live
        chains = [Chain(self._workspace / "output" / n) for n in (keys.TOOLS, keys.TRANSCRIPT)]
        about = {"model": self.name, "nonce": nonce, "live": live_then}
        chains[1].add(about | others.record)
        things = objects(capsule)
        cluster = live(lambda: tools.left()) if asks_live else CapsuleCluster(capsule, things)
        world = World(files, cluster, redactor)
        tools = Tools(
            Beside(world, others, redactor, lambda: tools.left()),
            chains[0],
            redactor,
            nonce,
            clock=clock,
            sleep=sleep,
            recorded=Recorded(self._recorded(keys.TOOLS)) if self._has_record() else None,
            local=World.local,
            others=others.offered,
        )
        question = briefing.question(
            incident, verdict, capsule, things, nonce, live=live_then, others=others.words
        )
        bounds = Bounds(
            tokens=self._told.tokens,
            seconds=self._told.seconds,
            ends_at=clock() + (self._told.seconds or float("inf")),
        )
        try:
            kept = Kept(model, chains[1], redactor)
            diagnosis = investigate(kept, tools, redactor.text(question), bounds, self.spent, clock)
        finally:
            others.close()
            for chain in chains:
                chain.close()
            self.notes = {"questions": tools.calls, "unrecorded": tools.outcomes[UNRECORDED]}
            if isinstance(model, RecordedModel):
                self.notes["drifted"] = model.drifted
        self._leave(diagnosis, incident, capsule, tools.asked)
        return diagnosis

    def _model(self, sleep: Callable[[float], None]) -> tuple[Model, str]:
        """Return who answers, and the run's nonce: a new one, or that of the record."""
        if self._told.recorded:
            recorded = RecordedModel(self._recorded(keys.TRANSCRIPT))
            self.name = str(recorded.about["model"])
            return recorded, str(recorded.about["nonce"])
        self.service = service(self._environment, self._told.model)
        self.name = self.service.model
        _say(type="init", model=self.name, provider=self.service.provider)
        return HttpModel(self.service, sleep=sleep), secrets.token_hex(16)

    def _asks_live(self) -> bool:
        alone = self._told.capsule or self._told.recorded or self._has_record()
        return not alone and any(self._environment.get(name) for name in CLUSTER)

    def _others(self, of: Allowed, redactor: Redactor) -> Others:
        """Return the tools of others: those of the record in a replay, else those of the server."""
        if self._told.recorded or self._has_record():
            path = self._workspace / keys.recorded(keys.TRANSCRIPT)
            return recalled(RecordedModel(path.read_bytes()).about) if path.is_file() else Others()
        return Others() if self._told.capsule else connect(of, redactor)

    def _has_record(self) -> bool:
        return (self._workspace / keys.recorded(keys.TOOLS)).is_file()

    def _recorded(self, name: str) -> bytes:
        path = self._workspace / keys.recorded(name)
        if not path.is_file():
            raise Rejected(f"expected {name} of an earlier run: only the built-in loop leaves one")
        return path.read_bytes()

    def _leave(
        self, diagnosis: Diagnosis, incident: Incident, capsule: Capsule, asked: Sequence[str]
    ) -> None:
        """Write the two files of the contract."""
        resource = incident.fault.resource
        where = (resource.namespace, resource.kind, resource.name) if resource else ()
        stands = [n for n, quote in enumerate(diagnosis.evidence) if check(capsule, quote)]
        page = templates(html=False).get_template("answered.md.j2")
        report = page.render(
            diagnosis=diagnosis,
            incident=incident,
            model=self.name,
            priority=_PRIORITY[incident.fault.severity],
            confidence=diagnosis.confidence.value.title(),
            where="/".join(filter(None, where)),
            stands=stands,
            asked=asked,
            others=any(question.startswith(PREFIX) for question in asked),
        )
        (self._workspace / keys.INVESTIGATION).write_bytes(report.encode("utf-8", "replace"))
        text = diagnosis.model_dump_json(indent=2) + "\n"
        (self._workspace / keys.DIAGNOSIS).write_bytes(text.encode("utf-8", "replace"))

    def bill(self) -> dict[str, Any]:
        """Return what it took: tokens, and money if the price is known."""
        spent, of = self.spent, self.service
        return {
            "steps": spent.steps,
            "tokens": spent.tokens,
            "cost_usd": of.cost_usd(spent.tokens_in, spent.tokens_out) if of else 0.0,
            "cost_known": bool(of and of.price),
        } | self.notes


def evidence(workspace: Path) -> dict[str, bytes]:
    """Return the files that an agent may read, by name: plain ones, of the capsule and the run."""
    beside = (keys.INCIDENT, keys.FINDINGS)
    found = {p.relative_to(workspace).as_posix(): p for p in sorted(workspace.rglob("*"))}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if (belongs(name) or name in beside) and path.is_file() and not path.is_symlink()
    }


def main(
    argv: Sequence[str],
    environment: Mapping[str, str],
    workspace: Path,
    *,
    clock: Clock,
    sleep: Callable[[float], None],
) -> int:
    """Do the run; return the exit code. What went wrong is said in the last line."""
    run = Run(_arguments(argv), environment, workspace)
    try:
        diagnosis = run.go(clock, sleep)
    except FaultlineError as error:
        reason = getattr(error, "reason", "") or "start"
        _say(type="result", status="error", error=reason, message=str(error), **run.bill())
        return 1
    joke = f" — *{diagnosis.witty_line}*" if diagnosis.witty_line else ""
    words = f"AI says: {diagnosis.title}{joke}"
    _say(type="result", status="success", message=words, model=run.name, **run.bill())
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=0)
    parser.add_argument("--model", default="")
    parser.add_argument("--capsule", action="store_true")
    parser.add_argument("--recorded", action="store_true")
    return parser.parse_args(argv)


def _say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ, Path.cwd(), clock=time.time, sleep=time.sleep))
