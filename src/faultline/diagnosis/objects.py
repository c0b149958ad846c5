"""Objects of a cluster and the states of their containers, each able to say where it was read."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from faultline.diagnosis.documents import Document, at, items, mapping, text
from faultline.model import Evidence, Target

CONTROLLER_REVISION = "ControllerRevision"
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Object:
    """One object of the cluster, as it was."""

    kind: str
    namespace: str
    name: str
    doc: Document

    def get(self, path: str) -> Any:
        return at(self.doc.value, path)

    def cite(self, path: str) -> Evidence | None:
        return self.doc.cite(path)

    def items(self, path: str) -> list[dict[str, Any]]:
        return items(self.get(path))

    @property
    def target(self) -> Target:
        return Target(kind=self.kind, name=self.name, namespace=self.namespace)

    @property
    def owner(self) -> tuple[str, str]:
        """Kind and name of its controller; empty if it has none."""
        owners = self.items("metadata.ownerReferences")
        owner = next(
            (o for o in owners if o.get("controller") is True), owners[0] if owners else {}
        )
        return text(owner.get("kind")), text(owner.get("name"))

    @property
    def revision(self) -> int:
        """Number of a revision: a ReplicaSet's note, a ControllerRevision's own, a run's ending.

        A CronJob's runs are called after the minute they were due in, counted since 1970.
        """
        noted = self.get("revision") if self.kind == CONTROLLER_REVISION else None
        noted = self.name.rpartition("-")[2] if self.kind == "Job" else noted
        digits = text(noted or mapping(self.get("metadata.annotations")).get(REVISION))
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0

    def kept(self, field: str) -> Any:
        """Return a field of the pod template that this revision keeps."""
        return self.get(f"{self._template}.{field}")

    def cite_kept(self, field: str) -> Evidence | None:
        return self.cite(f"{self._template}.{field}")

    @property
    def _template(self) -> str:
        inside = self.kind == CONTROLLER_REVISION  # apps/v1, ControllerRevision: data is a patch
        return "data.spec.template" if inside else "spec.template"

    def state(self, condition: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition; "" for what it does not say."""
        said = mapping(self.get(f"status.conditions[type={condition}]"))
        return text(said.get("status")), text(said.get("reason")), text(said.get("message"))

    def cite_state(self, condition: str) -> Evidence | None:
        """Quote what a condition says: its message, else its reason, else its status."""
        path = f"status.conditions[type={condition}]"
        fields = (f for f in ("message", "reason", "status") if self.get(f"{path}.{f}"))
        return next((e for e in (self.cite(f"{path}.{f}") for f in fields) if e), None)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True)
class Was:
    """What a field was in the previous revision, where it differs from now."""

    value: Any
    revision: int
    evidence: Evidence | None


@dataclass(frozen=True)
class Ended:
    """A container's end."""

    reason: str  # OOMKilled, Error, StartError, Completed, ContainerCannotRun
    exit_code: int
    message: str
    at: dt.datetime | None
    pod: Object
    path: str  # of this state, in the pod

    def cite(self, field: str) -> Evidence | None:
        return self.pod.cite(f"{self.path}.{field}")


@dataclass(frozen=True)
class Waiting:
    """A container that waits to run."""

    reason: str
    message: str
    pod: Object
    path: str

    def cite(self, field: str) -> Evidence | None:
        return self.pod.cite(f"{self.path}.{field}")
