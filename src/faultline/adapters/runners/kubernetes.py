"""A run as a Kubernetes Job, named after the run: created once, and never with more than it needs.

The Job is told one thing, the key of its `run.json`; everything else lies in the store before the
Job exists. Its pod passes the Pod Security level "restricted", has no token mounted but a bound one
that lives for minutes, and may not write but to its scratch folder. `agent-job/README.md` is the
contract of what runs in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from faultline import keys
from faultline.errors import Rejected, Unavailable
from faultline.model import JobState, Run

APP = "faultline-agent"
SPEC_HASH = "faultline.dev/spec-hash"
UPLOAD_S = 60  # what the wrapper needs after its own deadline and grace
TOKEN_S = 900
KEPT_S = 3_600  # how long an ended Job stays to be looked at; its records stay longer
USER = 10_001
TIMEOUT_S = 10


@dataclass(frozen=True)
class JobTemplate:
    """What every Job of ours has: image, namespace, and where the records are."""

    image: str
    namespace: str
    store_url: str
    sink_url: str
    service_account: str = "agent"
    secret: str = "agent"  # model keys, as environment; optional  # noqa: S105 - a name
    grace_s: float = 30.0
    memory: str = "2Gi"
    cpu: str = "1"
    scratch: str = "2Gi"


class KubernetesRunner:
    """Runs as Jobs of batch/v1 in one namespace; connects when first asked."""

    def __init__(self, template: JobTemplate, *, api: Any = None) -> None:
        self._template = template
        self._given = api

    @cached_property
    def _api(self) -> Any:
        return self._given or _connect()

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


def job(run: Run, template: JobTemplate) -> dict[str, Any]:
    """Return the Job of a run, as batch/v1 wants it. The same run has the same Job, to the byte."""
    labels = {
        "app.kubernetes.io/name": APP,
        "app.kubernetes.io/part-of": "faultline",
        "faultline.dev/incident": run.incident_id,
        "faultline.dev/run": str(run.number),
    }
    outer_s = run.deadline_s + int(template.grace_s) + UPLOAD_S
    spec = {
        "backoffLimit": 1,
        "activeDeadlineSeconds": outer_s,
        "ttlSecondsAfterFinished": KEPT_S,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "Ignore",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [78]}},
            ]
        },
        "template": {"metadata": {"labels": labels}, "spec": _pod(run, template)},
    }
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:32]
    metadata = {"name": run.id, "labels": labels, "annotations": {SPEC_HASH: digest}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _pod(run: Run, template: JobTemplate) -> dict[str, Any]:
    resources = {
        "cpu": template.cpu,
        "memory": template.memory,
        "ephemeral-storage": template.scratch,
    }
    return {
        "restartPolicy": "Never",
        "serviceAccountName": template.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": int(template.grace_s) + UPLOAD_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "agent",
                "image": template.image,
                "env": [{"name": name, "value": value} for name, value in _told(run, template)],
                "envFrom": [{"secretRef": {"name": template.secret, "optional": True}}],
                "resources": {"requests": resources | {"cpu": "100m"}, "limits": resources},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "workspace", "mountPath": "/workspace"},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
                    {"name": "token", "mountPath": TOKEN_PATH, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "workspace", "emptyDir": {"sizeLimit": template.scratch}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "token", "projected": {"sources": _bound_token()}},
        ],
    }  # fmt: skip


TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - where kubectl looks


def _bound_token() -> list[dict[str, Any]]:
    """Return what automounting would mount, with a token that lives for minutes."""
    field = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_S}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [field]}},
    ]


def _told(run: Run, template: JobTemplate) -> tuple[tuple[str, str], ...]:
    return (
        ("FAULTLINE_RUN", keys.incident(run.incident_id, keys.run_record(run.number, keys.RUN))),
        ("FAULTLINE_STORE", template.store_url),
        ("K_SINK", template.sink_url),
        ("FAULTLINE_CONTAINED", "1"),
        ("AGENT_RUNTIME_GRACE", str(template.grace_s)),
    )


def _ended(found: Any) -> bool:
    conditions = (found.status.conditions if found.status else None) or []
    return any(c.type in ("Complete", "Failed") and c.status == "True" for c in conditions)


def _status(error: Exception) -> int:
    return int(getattr(error, "status", 0) or 0)


def _explained(error: Exception, what: str) -> Exception:
    """Return our error for the client's: quota and conflicts pass, a missing right does not."""
    status = _status(error)
    reason = getattr(error, "reason", "") or type(error).__name__
    if status == 403 and "exceeded quota" not in str(getattr(error, "body", "")):
        return Rejected(f"{what}: forbidden; check the Role of this service account")
    if status in (400, 422):
        return Rejected(f"{what}: the API server refused it: {reason}")
    return Unavailable(f"{what}: the API server answered {status or reason}")


def _connect() -> Any:
    """Return the batch/v1 client of the cluster that this process runs in, or of KUBECONFIG."""
    import kubernetes

    client: Any = kubernetes.client
    config: Any = kubernetes.config
    try:
        config.load_incluster_config()
    except config.ConfigException:
        try:
            config.load_kube_config()
        except config.ConfigException as error:
            raise Rejected(f"expected to run in a cluster, or a KUBECONFIG: {error}") from None
    return client.BatchV1Api()
