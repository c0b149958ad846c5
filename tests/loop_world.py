"""A workspace as the built-in loop finds it, and the loop run in it, over real HTTP on loopback."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from model_fake import ModelFake, serving
from world import example

from faultline import keys
from faultline.agent import built_in
from faultline.agent.record import entries
from faultline.capsule import Capsule, seal
from faultline.cases import capture
from faultline.diagnosis import diagnose
from faultline.incidents import content

KEY = "sk-canary-0123456789abcdefghij"
APP = "spec.template.spec.containers[name=app]"
ANSWER: dict[str, Any] = {
    "title": "The memory limit of checkout is too small",
    "summary": "The container is killed when it reaches 64Mi.",
    "root_cause": "The limit of 64Mi is less than checkout needs since revision 7.",
    "confidence": "high",
    "evidence": [{"file": "context/logs.txt", "line": 0, "quote": "garbage collection took"}],
    "actions": [{"action": "Raise the limit", "check": "no OOMKilled", "way_back": "set 64Mi"}],
    "changes": [
        {
            "target": {"kind": "Deployment", "name": "checkout", "namespace": "shop"},
            "field": f"{APP}.resources.limits.memory",
            "before": "64Mi",
            "after": "256Mi",
            "reason": "it used 200Mi before the limit was lowered",
        }
    ],
    "witty_line": "This pod crashed harder than my hopes for Monday.",
}


class Time:
    """Seconds that pass when somebody sleeps, and a little at each look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step, self.slept = 1_795_000_000.0, step, 0.0

    def clock(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@cache
def captured(scenario: str) -> Mapping[str, bytes]:
    """Return a fault's evidence; of its objects only those that the tests speak of."""
    folder = example(scenario)
    files = capture(folder, alert=(folder / "alert.json").read_bytes())
    spoken_of = ("context/objects/pod/", "context/objects/deployment/")
    return {
        name: data
        for name, data in files.items()
        if not name.startswith("context/objects/") or name.startswith(spoken_of)
    }


@cache
def findings(scenario: str) -> bytes:
    return content(diagnose(Capsule(captured(scenario))))


def laid_out(
    folder: Path, scenario: str = "memory", more: Mapping[str, bytes] | None = None
) -> Path:
    """Make a workspace of a recorded fault; `more` are further files of its capsule."""
    files = dict(captured(scenario)) | dict(more or {})
    files[keys.INDEX] = content(seal(files.items(), {}, {}))
    files |= {keys.INCIDENT: files["context/incident.json"], keys.FINDINGS: findings(scenario)}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "output").mkdir()
    return folder


class Ran:
    """How a run of the loop ended, and what it left."""

    def __init__(self, workspace: Path, code: int, output: str) -> None:
        self.workspace, self.code, self.output = workspace, code, output
        self.lines = [json.loads(line) for line in output.splitlines()]
        self.last = self.lines[-1]

    def left(self, name: str) -> bytes:
        return (self.workspace / "output" / name).read_bytes()

    @property
    def asked(self) -> list[dict[str, Any]]:
        return list(entries(self.left(keys.TOOLS)))


def run(
    workspace: Path,
    model: ModelFake | None = None,
    *,
    provider: str = "compatible",
    argv: tuple[str, ...] = ("--capsule",),
    time: Time | None = None,
    **environment: str,
) -> Ran:
    """Run the loop in this process; the model's service answers on loopback."""
    time = time or Time()
    told = {"FAULTLINE_MODEL_PROVIDER": provider, "FAULTLINE_MODEL_KEY": KEY}
    told |= {"FAULTLINE_MODEL_URL": model.url} if model else {}
    words = ["--seconds", "600", "--model", "m1", *argv]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), serving(model) if model else contextlib.nullcontext():
        code = built_in.main(
            words, told | environment, workspace, clock=time.clock, sleep=time.sleep
        )
    return Ran(workspace, code, said.getvalue())
