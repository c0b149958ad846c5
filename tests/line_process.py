"""`faultline dev` as a child process on a folder of its own, to be killed and started again.

What came of it is read from its store and its repository, as a person would.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ports import free_port

from faultline.adapters.runners.processes import Known
from faultline.adapters.stores import open_store
from faultline.incidents import Incidents
from faultline.model import Status

ROOT = Path(__file__).resolve().parent.parent
NURSERY = ROOT / "tests/crash/nursery.py"
BEGAN = "2026-11-21T09:47:30.412Z"


def until(condition: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Any:
    """Poll until something is true; return it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what or 'it did not happen'}"
        time.sleep(0.02)
    return found


def alert(
    name: str, *, workload: str = "checkout", cluster: str = "prod-a", severity: str = "critical"
) -> dict[str, Any]:
    """One alert as AlertManager lists it. In the recorded cluster `memory`, checkout is proved."""
    labels = {"alertname": name, "namespace": "shop", "deployment": workload}
    return {
        "status": "firing",
        "labels": labels | {"cluster": cluster, "severity": severity},
        "annotations": {},
        "startsAt": BEGAN,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "",
    }


def resolved(firing: Mapping[str, Any]) -> dict[str, Any]:
    return dict(firing) | {"status": "resolved", "endsAt": dt.datetime.now(dt.UTC).isoformat()}


def message(alerts: Sequence[Mapping[str, Any]]) -> bytes:
    firing = any(one["status"] == "firing" for one in alerts)
    return json.dumps(
        {
            "version": "4",
            "groupKey": '{}:{alertname="x"}',
            "status": "firing" if firing else "resolved",
            "receiver": "faultline",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "",
            "truncatedAlerts": 0,
            "alerts": list(alerts),
        }
    ).encode()


class Nursery:
    """Starts lines without the second that imports take."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(NURSERY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def start(self, argv: list[str], env: Mapping[str, str], cwd: Path, log: Path) -> int:
        asked = {"argv": argv, "env": dict(env), "cwd": str(cwd), "log": str(log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class LineProcess:
    """One line, on one store, journal, repository and port through all its lives."""

    def __init__(
        self,
        folder: Path,
        *,
        scenario: str = "memory",
        store: str = "",
        seen: str = "",
        nursery: Nursery | None = None,
        **environment: str,
    ) -> None:
        """`seen` is the store's URL for us who look, where the line has to take another way."""
        self.folder, self._nursery = folder, nursery
        folder.mkdir(parents=True, exist_ok=True)
        self.store = store or f"file://{folder / 'store'}"
        self.seen = seen or self.store
        self.runs, self.log = folder / "runs", folder / "console.txt"
        self.repository = folder / "repository"
        self.port = free_port()
        self._known: Known | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PORT": str(self.port),
            "FAULTLINE_STORE": self.store,
            "FAULTLINE_JOURNAL": str(folder / "journal.sqlite"),
            "FAULTLINE_CLUSTER": "prod-a",
            "FAULTLINE_RECORDED_CLUSTER": str(ROOT / "examples/clusters" / scenario),
            "FAULTLINE_MANIFESTS": str(self.repository),
            "FAULTLINE_SLOTS": "4",
            "FAULTLINE_SLOTS_PER_CLUSTER": "4",
            "FAULTLINE_RUNS_PER_HOUR": "1000",
            "FAULTLINE_NUDGE_AFTER": "3",
            "FAULTLINE_CLOSE_AFTER": "1",
            "FAULTLINE_SWEEP_SECONDS": "1",
            "WORKSPACE_ROOT": str(self.runs),
            "AGENT_RUNTIME_GRACE": "1",
            "AGENT_RUNTIME_CLEANUP": "delete",
        } | environment
        if not self.repository.exists():
            self._make_repository(ROOT / "examples/clusters" / scenario / "manifests")

    def _make_repository(self, manifests: Path) -> None:
        shutil.copytree(manifests, self.repository)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "Manifests of the shop")

    def git(self, *arguments: str) -> str:
        who = {"NAME": "A Person", "EMAIL": "person@example.com"}
        named = {f"GIT_{r}_{k}": v for r in ("AUTHOR", "COMMITTER") for k, v in who.items()}
        clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(self.folder)}
        done = subprocess.run(
            ["git", "-C", str(self.repository), *arguments],
            check=True, capture_output=True, env=clean | named,
        )  # fmt: skip
        return done.stdout.decode()

    # its lives

    @property
    def pid(self) -> int:
        assert self._known is not None
        return self._known.pid

    @property
    def alive(self) -> bool:
        return self._known is not None and self._known.alive

    def start(self, *, wait_s: float = 30.0) -> LineProcess:
        if self._nursery:
            pid = self._nursery.start(["dev"], self._environment, self.folder, self.log)
        else:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "faultline", "dev"],
                    cwd=self.folder, env=self._environment,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            pid = self._process.pid
        self._known = Known.of(pid)
        if wait_s:
            self.until_up(wait_s)
        return self

    def until_up(self, seconds: float = 30.0) -> None:
        def up() -> bool:
            assert self.alive, f"it ended at once:\n{self.said()[-3000:]}"
            return self.request("GET", "/health/liveness", b"") == 200

        until(up, seconds, "the line is up")

    def kill(self, number: signal.Signals = signal.SIGKILL, *, wait_s: float = 15.0) -> None:
        if self._known is not None:
            self._known.signal(number)
            until(lambda: not self.alive, wait_s, "the line is gone")
        if self._process is not None:
            self._process.wait(5)

    def dispose(self) -> None:
        """Kill it, and the runs that outlive it."""
        self.kill()
        for ending in ("pid", "engine"):
            for path in self.runs.glob(f"*.{ending}"):
                if known := Known.read(path):
                    known.signal(signal.SIGKILL, group=True)

    # what is sent to it

    def request(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float = 15.0,
    ) -> int:
        """Return the status; 0 if nobody answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        else:
            return answer.status
        finally:
            connection.close()

    def post(self, alerts: Sequence[Mapping[str, Any]]) -> int:
        """Send one message as AlertManager does; return the status, 0 if nobody answered."""
        headers = {"content-type": "application/json"}
        return self.request("POST", "/alertmanager", message(alerts), headers)

    def insist(self, alerts: Sequence[Mapping[str, Any]], seconds: float = 30.0) -> None:
        """Send until it is taken, as AlertManager does."""
        until(lambda: 200 <= self.post(alerts) < 300, seconds, "the message is taken")

    # what came of it

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def incidents(self) -> Incidents:
        return Incidents(open_store(self.seen))

    def branches(self) -> dict[str, int]:
        """Return the proposed branches, with the number of their commits."""
        found = self.git("for-each-ref", "--format=%(refname:short)", "refs/heads/faultline/")
        return {
            name: int(self.git("rev-list", "--count", f"main..{name}")) for name in found.split()
        }

    def starts(self) -> dict[str, int]:
        """Return how many agents said that they had started an engine, by run."""
        return {
            path.name.removesuffix(".wrapper.log"): path.read_text("utf-8").count(
                '"message": "engine started'
            )
            for path in self.runs.glob("*.wrapper.log")
        }


class Census:
    """What the records of a line say, read at once."""

    def __init__(self, incidents: Incidents) -> None:
        self.status: dict[str, Status | None] = {}
        self.keys: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.receipts: dict[str, list[str]] = {}
        self.runs: dict[str, list[int]] = {}
        for id in incidents.ids():
            self._read(incidents, id)
        self.parked = list(incidents.store.list("parked/"))
        for key in incidents.store.list("ignored/"):
            self.faults[json.loads(incidents.store.get(key))["fault"]["name"]] += 1

    def _read(self, incidents: Incidents, id: str) -> None:
        names = incidents.names(id)
        self.status[id] = incidents.status(id)
        if self.status[id] is None:
            return
        self.keys[incidents.incident(id).key] += 1
        self.receipts[id] = sorted(receipt.outlet for receipt in incidents.receipts(id))
        self.runs[id] = incidents.run_numbers(id)
        for name in names:
            if name.startswith("faults/") and name.endswith("/detected.json"):
                self.faults[json.loads(incidents.read(id, name))["name"]] += 1

    def lost(self, accepted: Sequence[str]) -> list[str]:
        return sorted(set(accepted) - self.faults.keys())

    def unfinished(self, wanted: Sequence[Status] = (Status.PACKAGED, Status.CLOSED)) -> list[str]:
        return [f"{id} is {status}" for id, status in self.status.items() if status not in wanted]

    def doubled(self, line: LineProcess) -> list[str]:
        """Return everything of which there is more than one may be."""
        found = [f"incident {key}: {n}" for key, n in self.keys.items() if n > 1]
        found += [f"fault {name}: {n}" for name, n in self.faults.items() if n > 1]
        found += [f"runs of {id}: {numbers}" for id, numbers in self.runs.items() if numbers != [1]]
        found += [f"commits on {name}: {n}" for name, n in line.branches().items() if n != 1]
        found += [f"engines of {run}: {n}" for run, n in line.starts().items() if n > 1]
        if len(line.branches()) > len(self.keys):
            found.append(f"{len(line.branches())} branches of {len(self.keys)} incidents")
        return found


def until_settled(line: LineProcess, accepted: Sequence[str], seconds: float = 30.0) -> Census:
    """Wait until every accepted alert is on file and every incident has come to rest."""
    incidents, end = line.incidents(), time.monotonic() + seconds
    while True:
        census = Census(incidents)
        owed = census.lost(accepted) + census.unfinished()
        if not owed:
            return census
        assert time.monotonic() < end, f"after {seconds} s: {owed[:10]}\n{line.said()[-2000:]}"
        time.sleep(0.2 if line.seen.startswith("file:") else 1.0)


@contextlib.contextmanager
def disposed(line: LineProcess) -> Iterator[LineProcess]:
    try:
        yield line
    finally:
        line.dispose()
