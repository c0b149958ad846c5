"""Incidents written by hand, record by record, for tests of what people look at."""

from __future__ import annotations

import datetime as dt
from typing import Any

from faultline import healing_cap, keys
from faultline.capsule import seal
from faultline.correlate import correlation_key, subject_name
from faultline.event import FAULT_DETECTED, Event, to_json
from faultline.incidents import Incidents, content
from faultline.model import (
    Action,
    Certainty,
    Change,
    Claim,
    Cleared,
    Closed,
    ClosedBecause,
    Confidence,
    Diagnosis,
    Evidence,
    Fault,
    FileChange,
    Finding,
    Incident,
    Merged,
    Packaged,
    Proposal,
    Receipt,
    Resource,
    Result,
    Run,
    RunStatus,
    Severity,
    Target,
    Verdict,
)

T0 = dt.datetime(2026, 11, 21, 3, 12, 4, tzinfo=dt.UTC)

LOGS = """[pod shop/api-7d9f6c5b4-x2x9z container api]
2026-11-21T03:10:58Z INFO  listening on :8080
2026-11-21T03:11:02Z INFO  warming the catalogue cache, 48210 products
2026-11-21T03:11:31Z WARN  heap at 231 MiB of 256 MiB
2026-11-21T03:11:49Z WARN  heap at 251 MiB of 256 MiB, collecting
2026-11-21T03:11:58Z ERROR cannot allocate 8388608 bytes
[previous container]
2026-11-21T03:09:47Z INFO  listening on :8080
2026-11-21T03:10:41Z ERROR cannot allocate 8388608 bytes
"""
POD = """kind: Pod
metadata:
  name: api-7d9f6c5b4-x2x9z
  namespace: shop
status:
  containerStatuses:
  - name: api
    restartCount: 7
    lastState:
      terminated:
        exitCode: 137
        reason: OOMKilled
"""
BEFORE = """# the shop's front door
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
  namespace: shop
spec:
  replicas: 3
  template:
    spec:
      containers:
        - name: api
          image: registry.example/shop/api:4.18.2
          resources:
            requests:
              memory: 256Mi
            limits:
              memory: 256Mi  # raised last in March
"""
AFTER = BEFORE.replace("memory: 256Mi  #", "memory: 512Mi  #")
FIELD = "spec.template.spec.containers[name=api].resources.limits.memory"
TARGET = Target(kind="Deployment", name="api", namespace="shop")
CHANGE = Change(
    target=TARGET,
    field=FIELD,
    before="256Mi",
    after="512Mi",
    reason="the working set reached the limit three times in ten minutes",
)
PROVED = Diagnosis(
    title="The memory limit of api is lower than what it needs",
    summary="Container api was killed for memory seven times since 03:05.",
    root_cause="Since release 4.18.2 the catalogue cache holds every product. Its working set "
    "passes the limit of 256Mi about 50 seconds after start, and the kernel kills the container.",
    confidence=Confidence.HIGH,
    certainty=Certainty.PROVED,
    evidence=(
        Evidence(file="context/objects/pod/api-7d9f6c5b4-x2x9z.yaml", quote="reason: OOMKilled"),
        Evidence(file="context/logs.txt", line=5, quote="heap at 251 MiB of 256 MiB, collecting"),
    ),
    alternatives=("A leak: ruled out, the heap stays level at 300 MiB when it is not limited.",),
    actions=(
        Action(
            action="Raise the memory limit of api to 512Mi.",
            check="No restart for ten minutes.",
            way_back="Revert the commit.",
        ),
    ),
    changes=(CHANGE,),
    witty_line="The cache remembered everything, except to stop.",
)


def fault(**changes: Any) -> Fault:
    known = {
        "name": "KubePodCrashLooping",
        "summary": "Pod shop/api-7d9f6c5b4-x2x9z restarts again and again",
        "severity": Severity.CRITICAL,
        "cluster": "prod-eu",
        "resource": Resource(kind="Pod", name="api-7d9f6c5b4-x2x9z", namespace="shop"),
        "labels": {"alertname": "KubePodCrashLooping", "namespace": "shop"},
        "starts_at": T0,
        "condition": "5c1e9b2a40d1f00d",
        "origin": "alertmanager",
    }
    return Fault(**known | changes)


class Casebook:
    """Writes an incident as far as a test wants it. Every method returns the incident's id."""

    def __init__(self, incidents: Incidents) -> None:
        self.incidents = incidents

    def opened(self, of: Fault | None = None, *, source: str = "/faultline/bridge/prod-eu") -> str:
        of = of or fault()
        event = Event(
            id=f"{of.occurrence}/detected", source=source, type=FAULT_DETECTED,
            subject=correlation_key(of), time=of.starts_at.isoformat().replace("+00:00", "Z"),
            data=of.model_dump(mode="json"),
        )  # fmt: skip
        incident = Incident.begin(of, key=correlation_key(of), name=subject_name(of), because=event)
        claim = Claim(incident=incident, event=to_json(event))
        self.incidents.join(claim, of)
        self.incidents.open(claim)
        return incident.id

    def ready(self, of: Fault | None = None, files: dict[str, str] | None = None) -> str:
        id = self.opened(of)
        known = {
            "context/logs.txt": LOGS,
            "context/objects/pod/api-7d9f6c5b4-x2x9z.yaml": POD,
            "PROMPT.md": "# Investigate\n",
        } | (files or {})
        found = [(name, text.encode()) for name, text in known.items()]
        for name, data in found:
            self.incidents.record(id, name, data)
        origins = dict.fromkeys(known, "cluster")
        index = seal(found, origins, {"prometheus": "no address is configured"})
        self.incidents.record(id, keys.INDEX, index)
        return id

    def investigating(
        self, of: Fault | None = None, *, engine: str = "analyzers", **more: Any
    ) -> str:
        id = self.ready(of, **more)
        self.run(id, 1, engine=engine)
        return id

    def run(self, id: str, number: int, *, engine: str = "analyzers") -> None:
        run = Run(
            incident_id=id, number=number, engine=engine, deadline_s=600, cluster="prod-eu",
            model="" if engine == "analyzers" else "model-x", namespace="shop",
            capsule_sha256=self.incidents.capsule(id).sha256, cause={},
            created_at=T0 + dt.timedelta(seconds=2 + 600 * (number - 1)),
        )  # fmt: skip
        self.incidents.record(id, keys.run_record(number, keys.RUN), run)

    def investigated(
        self,
        of: Fault | None = None,
        *,
        diagnosis: Diagnosis | None = PROVED,
        status: RunStatus = RunStatus.SUCCESS,
        reason: str = "",
        engine: str = "analyzers",
        **more: Any,
    ) -> str:
        id = self.investigating(of, engine=engine, **more)
        finding = Finding(
            analyzer="memory.limit-exceeded", certainty=Certainty.PROVED,
            title="Killed for memory", statement="The container was killed at its limit.",
        )  # fmt: skip
        verdict = Verdict(findings=(finding,), diagnosis=diagnosis)
        self.incidents.record(id, keys.run_record(1, keys.FINDINGS), verdict)
        if diagnosis:
            self.incidents.record(id, keys.run_record(1, keys.DIAGNOSIS), diagnosis)
            text = f"# Kubernetes Incident Triage Report\n\n{diagnosis.root_cause}\n"
            self.incidents.record(id, keys.run_record(1, keys.INVESTIGATION), text.encode())
        result = Result(
            incident_id=id, run=1, status=status, reason=reason, engine=engine,
            model="" if engine == "analyzers" else "model-x",
            started_at=T0 + dt.timedelta(seconds=2),
            completed_at=T0 + dt.timedelta(seconds=3 if engine == "analyzers" else 161),
        )  # fmt: skip
        self.incidents.record(id, keys.run_record(1, keys.RESULT), result)
        return id

    def packaged(
        self,
        of: Fault | None = None,
        *,
        proposal: Proposal | None = None,
        url: str = "",
        **more: Any,
    ) -> str:
        id = self.investigated(of, **more)
        self.incidents.record(id, keys.run_record(1, keys.CHANGE), proposal or proposed())
        receipt = Receipt(
            outlet="github", reference=f"faultline/fix-{id[9:]}", details={"pull": "214"},
            url=url or "https://git.example/shop/deploy/pull/214",
            made_at=T0 + dt.timedelta(seconds=5),
        )  # fmt: skip
        healing_cap.count(self.incidents.incident(id), receipt, self.incidents)
        self.incidents.record(id, keys.receipt("github"), receipt)
        packaged = Packaged(run=1, at=receipt.made_at, outlets={"github": receipt.url})
        self.incidents.record(id, keys.run_record(1, keys.PACKAGED), packaged)
        return id

    def merged(self, of: Fault | None = None, **more: Any) -> str:
        id = self.packaged(of, **more)
        at = T0 + dt.timedelta(minutes=9)
        merged = Merged(outlet="github", at=at, revision="9f3c0de1a2b4", by="maria")
        self.incidents.record(id, keys.merged("github"), merged)
        return id

    def closed(self, of: Fault | None = None, **more: Any) -> str:
        id = self.merged(of, **more)
        known = self.incidents.incident(id).fault
        at = T0 + dt.timedelta(minutes=14)
        end = Cleared(fault=known, at=at)
        self.incidents.record(id, keys.fault_cleared(known.occurrence), end)
        closed = Closed(
            because=ClosedBecause.VERIFIED, by="faultline", at=at + dt.timedelta(seconds=1),
            occurrences=(known.occurrence,), merged_at=T0 + dt.timedelta(minutes=9),
        )  # fmt: skip
        self.incidents.record(id, keys.CLOSED, closed)
        return id


def proposed() -> Proposal:
    file = FileChange(path="deploy/api/deployment.yaml", before=BEFORE, after=AFTER)
    return Proposal(
        accepted=(CHANGE,),
        files=(file,),
        base="4be64c3",
        checks=("One field of one object changes, and nothing else.",),
    )


def event_of(incidents: Incidents, id: str) -> bytes:
    return content(incidents.incident(id))
