"""World: the whole product in memory, spoken to as its users do.

The steps, the wire format, the Triggers and the broker are the real ones. Fakes stand at ports:
a forge where pull requests are made, a chat, a runner without processes. Time is the test's.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultline.adapters.sources.alert import AlertSource
from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.adapters.stores.memory import MemoryStore
from faultline.answers import Answer
from faultline.bridge.events import event_of
from faultline.bridge.intake import Intake
from faultline.broker.broker import Broker
from faultline.broker.triggers import load, manifest_text
from faultline.event import PING, Event, format_time
from faultline.incidents import Incidents
from faultline.model import (
    Fault,
    JobState,
    Merged,
    Policy,
    Receipt,
    Report,
    Resource,
    Result,
    Run,
    RunStatus,
    Severity,
    Status,
)
from faultline.ports import Ports
from faultline.routes import STEPS
from faultline.serve import Request, answer
from faultline.store import Store

ROOT = Path(__file__).resolve().parent.parent
START = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)


class Clock:
    """Time that passes when told to."""

    def __init__(self, now: dt.datetime = START) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def wait(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)


class Forge:
    """A Git host: one pull request per incident, found again by its id, merged by people."""

    name = "forge"

    def __init__(self, clock: Clock) -> None:
        self.clock, self.pull_requests, self.merges = clock, {}, {}
        self.made = self.edited = 0
        self.down = False

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        if self.down:
            from faultline.errors import Unavailable

            raise Unavailable("the forge does not answer")
        id = report.incident.id
        if id in self.pull_requests:
            self.edited += 1
        else:
            self.made += 1
        self.pull_requests[id] = report
        return receipt or Receipt(outlet=self.name, reference=id, made_at=self.clock())

    def merge(self, incident_id: str) -> None:
        self.merges[incident_id] = Merged(outlet=self.name, at=self.clock(), by="a person")

    def merged(self, receipt: Receipt) -> Merged | None:
        return self.merges.get(receipt.reference)


class Chat:
    """A chat without idempotency keys: every delivery without a receipt is a new message."""

    name = "chat"

    def __init__(self, clock: Clock) -> None:
        self.clock, self.messages, self.edits = clock, [], 0

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        if receipt:
            self.edits += 1
            return receipt
        self.messages.append(report.message)
        number = str(len(self.messages))
        return Receipt(outlet=self.name, reference=number, made_at=self.clock())

    def merged(self, receipt: Receipt) -> Merged | None:
        return None


class Jobs:
    """A runner without processes: what starts and what lives is for the test to say."""

    def __init__(self) -> None:
        self.started: dict[str, Run] = {}
        self.ended: set[str] = set()
        self.starts = 0

    def start(self, run: Run) -> None:
        self.starts += run.id not in self.started
        self.started.setdefault(run.id, run)

    def state(self, run: Run) -> JobState:
        if run.id in self.ended:
            return JobState.ENDED
        return JobState.LIVE if run.id in self.started else JobState.ABSENT

    def live(self) -> Sequence[str]:
        return [id for id in self.started if id not in self.ended]

    def cancel(self, run: Run) -> None:
        self.ended.add(run.id)


class Files:
    """Manifests in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def files(self) -> Mapping[str, bytes]:
        return self._files

    def revision(self) -> str:
        return "0" * 40


def example(name: str) -> Path:
    return ROOT / "examples/clusters" / name


class World:
    """One line: bridge, broker, steps, store. `settle()` lets everything happen that will."""

    def __init__(
        self,
        scenario: str = "memory",
        *,
        store: Store | None = None,
        policy: Policy | None = None,
        seed: int | None = None,
        wrap: Callable[[Ports], Ports] = lambda ports: ports,
    ) -> None:
        self.clock, self.store = Clock(), store or MemoryStore()
        self.forge, self.chat, self.jobs = Forge(self.clock), Chat(self.clock), Jobs()
        self.scenario = example(scenario)
        root = self.scenario / "manifests"
        files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.yaml")}
        chance = None if seed is None else random.Random(seed)
        self.broker = Broker(
            load(manifest_text()),
            {name: self._subscriber(name) for name in STEPS} | {"bridge": self._parked},
            clock=self.clock.seconds,
            serial={"launch"},
            chance=chance,
        )
        self.incidents = Incidents(self.store)
        self.ports = wrap(
            Ports(
                incidents=self.incidents,
                runner=self.jobs,
                sources=[
                    AlertSource(self.store.get),
                    ClusterSource(RecordedCluster(self.scenario)),
                ],
                manifests=Files(files),
                outlets=[self.forge, self.chat],
                sink=self.broker.sink(),
                policy=policy or Policy(),
                clock=self.clock,
            )
        )
        self.intake = Intake(
            sink=self.broker.sink(), store=self.store, cluster="prod-a", clock=self.clock
        )

    # what happens to it

    def alert(self, body: bytes | None = None) -> World:
        """AlertManager posts a message; the scenario's own by default."""
        self.intake.alertmanager(body or (self.scenario / "alert.json").read_bytes())
        return self

    def fault(self, **fields: Any) -> World:
        """A fault event arrives, about pod checkout-… of namespace shop unless said otherwise."""
        self.send(
            event_of(self.made_fault(**fields), cleared=False, cluster="prod-a", time=self.clock())
        )
        return self

    def clear(self, **fields: Any) -> World:
        fault = self.made_fault(**fields)
        fault = fault.model_copy(update={"ends_at": fault.ends_at or self.clock()})
        self.send(event_of(fault, cleared=True, cluster="prod-a", time=self.clock()))
        return self

    def made_fault(self, **fields: Any) -> Fault:
        resource = Resource(kind="Pod", namespace="shop", name="checkout-7d9f6c5b4-x2x9z")
        plain: dict[str, Any] = {
            "name": "KubePodCrashLooping", "severity": Severity.CRITICAL, "cluster": "prod-a",
            "resource": resource, "starts_at": START, "condition": "c1", "origin": "alertmanager",
        }  # fmt: skip
        return Fault(**(plain | fields))

    def send(self, event: Event) -> None:
        self.broker.sink().send(event)

    def ping(self) -> World:
        moment = format_time(self.clock())
        self.send(Event(id=moment, source="/test", type=PING, time=moment))
        return self

    def pass_time(self, seconds: float) -> World:
        self.clock.wait(seconds)
        return self

    def finish(self, run_id: str, status: RunStatus = RunStatus.FAILED, reason: str = "") -> World:
        """An agent ends without an answer: it writes its result and says so."""
        from faultline import keys
        from faultline.event import RUN_FINISHED, from_json

        run = self.jobs.started[run_id]
        result = Result(
            incident_id=run.incident_id, run=run.number, status=status, reason=reason,
            exit_code=1, started_at=run.created_at, completed_at=self.clock(), engine=run.engine,
        )  # fmt: skip
        self.incidents.record(run.incident_id, keys.run_record(run.number, keys.RESULT), result)
        self.jobs.ended.add(run_id)
        data = result.model_dump(mode="json")
        cause = from_json(run.cause)
        self.send(
            cause.caused(
                RUN_FINISHED, source=f"/faultline/runs/{run.id}", subject=run.incident_id, data=data
            )
        )
        return self

    def settle(self, limit_s: float = 86_400) -> World:
        """Deliver until nothing is owed, retries included; time passes as they wait."""
        self.broker.run_until_idle(limit_s, wait=self.clock.wait)
        return self

    # what can be seen of it

    @property
    def ids(self) -> list[str]:
        return list(self.incidents.ids())

    @property
    def only(self) -> str:
        """The id of the one incident there is."""
        (id,) = self.ids
        return id

    def status(self, incident_id: str | None = None) -> Status | None:
        return self.incidents.status(incident_id or self.only)

    def keys(self, prefix: str = "") -> list[str]:
        return list(self.store.list(prefix))

    # inside

    def _subscriber(self, name: str) -> Callable[[Request], Answer]:
        return lambda request: answer(STEPS[name], self.ports, request)

    def _parked(self, request: Request) -> Answer:
        from faultline.answers import to_broker

        return to_broker(self.intake.parked(request.headers, request.body))
