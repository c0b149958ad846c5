"""The whole line with an agent that is a process of its own, as a Job would run it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from loop_world import ANSWER, KEY
from model_fake import ModelFake, serving
from world import World, example

from faultline import keys
from faultline.adapters.manifests import GitManifests
from faultline.adapters.outlets.git import GitOutlet
from faultline.adapters.stores import open_store
from faultline.event import CONTEXT_READY, RUN_FINISHED, Event, format_time, from_json
from faultline.model import Result

POD = "checkout-vxn7njk876-zv8zp"
ASKS: list[tuple[str, Any]] = [
    ("logs", {"namespace": "shop", "pod": POD, "previous": True}),
    ("get_object", {"kind": "Deployment", "namespace": "shop", "name": "checkout"}),
    ("get_object", {"kind": "Secret", "namespace": "shop", "name": "db"}),
]
MINE = ANSWER | {"changes": [ANSWER["changes"][0] | {"after": "192Mi"}]}


def git(repository: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), *words], check=True, capture_output=True, text=True
    ).stdout


def deployed_from(repository: Path) -> Path:
    shutil.copytree(example("memory") / "manifests", repository, dirs_exist_ok=True)
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", "-A")
    git(repository, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "as deployed")
    return repository


class Line:
    """A world whose store lies on disk, so that a run is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.gitops = folder, deployed_from(folder / "gitops")
        self.store = f"file://{folder}/store"
        self.world = World(store=open_store(self.store), wrap=self._on_disk)

    def _on_disk(self, ports: Any) -> Any:
        outlet = GitOutlet(self.gitops, clock=ports.clock)
        return dataclasses.replace(
            ports, outlets=[outlet, *ports.outlets], manifests=GitManifests(self.gitops)
        )

    def asked(self, engine: str) -> str:
        """Return the id of a run by this engine on the scenario's evidence."""
        self.world.alert().settle()
        data = {"run": 2, "engine": engine, "model": "m1"}
        moment = format_time(self.world.clock())
        event = Event(id="again", source="/test", type=CONTEXT_READY, subject=self.world.only,
                      time=moment, data=data)  # fmt: skip
        self.world.send(event)
        self.world.settle()
        (run_id,) = self.world.jobs.live()
        return run_id

    def run(self, engine: str, model: ModelFake, **environment: str) -> Result:
        """Have a run by this engine, and do it."""
        return self.do(self.asked(engine), model, **environment)

    def do(self, run_id: str, model: ModelFake, **environment: str) -> Result:
        """Do the run as a Job would: the runtime, and the engine as its child."""
        run = self.world.jobs.started[run_id]
        told = {
            "PATH": os.environ["PATH"],
            "FAULTLINE_STORE": self.store,
            "FAULTLINE_RUN": keys.incident(run.incident_id, keys.run_record(run.number, keys.RUN)),
            "WORKSPACE_ROOT": str(self.folder / "runs"),
            "AGENT_RUNTIME_CLEANUP": "keep",
            "FAULTLINE_MODEL_PROVIDER": "ollama",
            "FAULTLINE_MODEL_URL": model.url,
            "FAULTLINE_MODEL_KEY": KEY,
            "FAULTLINE_MODEL_PRICES": "m1=1000/1000",
        }
        command = [sys.executable, "-P", "-m", "faultline.agent"]
        with serving(model):
            done = subprocess.run(
                command, env=told | environment, capture_output=True, text=True, timeout=60,
                check=False,
            )  # fmt: skip
        self.said = done.stderr
        assert done.returncode == 0, done.stderr
        self.world.jobs.ended.add(run.id)
        self.world.send(
            from_json(run.cause).caused(
                RUN_FINISHED, source=f"/faultline/runs/{run.id}", subject=run.incident_id,
                data={"run": run.number},
            )
        )  # fmt: skip
        self.world.settle()
        result = self.world.incidents.result(run.incident_id, run.number)
        assert result is not None
        return result

    def left(self, name: str) -> bytes:
        return self.world.incidents.read(self.world.only, keys.run_record(2, name))
