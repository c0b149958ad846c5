"""A run as a Kubernetes Job, named after the run: created once, and never with more than it needs.

What the Job looks like is `job.py`; what runs in it has its contract in `agent-job/README.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from faultline.adapters import kubeconfig
from faultline.adapters.runners.job import APP, SPEC_HASH, JobTemplate, job
from faultline.errors import Busy, Rejected, Unavailable
from faultline.model import JobState, Run

TIMEOUT_S = 10


class KubernetesRunner:
    """Runs as Jobs of batch/v1 in one namespace; connects when first asked."""

    def __init__(self, template: JobTemplate, *, api: Any = None) -> None:
        self._template = template
        self._given = api

    @cached_property
    def _api(self) -> Any:
        return self._given or kubeconfig.load().BatchV1Api()

    def start(self, run: Run) -> None:
        """Create the Job. One that exists and is the same is success; another one is refused."""
        manifest = job(run, self._template)
        try:
            self._api.create_namespaced_job(
                self._template.namespace, manifest, _request_timeout=TIMEOUT_S
            )
        except Exception as error:
            if _status(error) != 409:
                raise _explained(error, f"create Job {run.id}") from None
            self._recognise(run, manifest)

    def _recognise(self, run: Run, manifest: dict[str, Any]) -> None:
        found = self._read(run)
        if found is None:  # it went between the two calls: whoever asks again finds no Job
            raise Unavailable(f"Job {run.id} existed and is gone; try again")
        wanted = manifest["metadata"]["annotations"][SPEC_HASH]
        if (found.metadata.annotations or {}).get(SPEC_HASH) != wanted:
            raise Rejected(
                f"a Job called {run.id} exists and is not the one that this run describes; "
                f"look at it with kubectl and delete it if it is not yours"
            )

    def state(self, run: Run) -> JobState:
        found = self._read(run)
        if found is None:
            return JobState.ABSENT
        return JobState.ENDED if _ended(found) else JobState.LIVE

    def live(self) -> Sequence[str]:
        try:
            found = self._api.list_namespaced_job(
                self._template.namespace,
                label_selector=f"app.kubernetes.io/name={APP}",
                _request_timeout=TIMEOUT_S,
            )
        except Exception as error:
            raise _explained(error, "list Jobs") from None
        return [item.metadata.name for item in found.items if not _ended(item)]

    def cancel(self, run: Run) -> None:
        """Delete the Job and then its pod, which stops its run with its grace. Gone is fine."""
        try:
            self._api.delete_namespaced_job(
                run.id,
                self._template.namespace,
                propagation_policy="Foreground",
                _request_timeout=TIMEOUT_S,
            )
        except Exception as error:
            if _status(error) != 404:
                raise _explained(error, f"delete Job {run.id}") from None

    def _read(self, run: Run) -> Any:
        try:
            return self._api.read_namespaced_job(
                run.id, self._template.namespace, _request_timeout=TIMEOUT_S
            )
        except Exception as error:
            if _status(error) == 404:
                return None
            raise _explained(error, f"read Job {run.id}") from None


def _ended(found: Any) -> bool:
    conditions = (found.status.conditions if found.status else None) or []
    return any(c.type in ("Complete", "Failed") and c.status == "True" for c in conditions)


def _status(error: Exception) -> int:
    return int(getattr(error, "status", 0) or 0)


def _explained(error: Exception, what: str) -> Exception:
    """Return our error for the client's: quota and conflicts pass, a missing right does not."""
    status = _status(error)
    reason = getattr(error, "reason", "") or type(error).__name__
    if status == 403 and "exceeded quota" in str(getattr(error, "body", "")):
        return Busy(f"{what}: a ResourceQuota is full", retry_after_s=60)
    if status == 403:
        return Rejected(f"{what}: forbidden; check the Role of this service account")
    if status in (400, 422):
        return Rejected(f"{what}: the API server refused it: {reason}")
    return Unavailable(f"{what}: the API server answered {status or reason}")
