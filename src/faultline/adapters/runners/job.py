"""The Job of a run, as batch/v1 wants it. Pure: the same run has the same Job, to the byte.

The Job is told one thing, the key of its `run.json`; everything else lies in the store before the
Job exists. Its pod passes the Pod Security level "restricted", has no token mounted but bound ones
that live for minutes, and may not write but to its scratch folders. With a gateway (decision 47)
it knows neither store, broker nor model and gets no Secret: two more tokens open its doors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from faultline import keys
from faultline.model import Run

APP = "faultline-agent"
SPEC_HASH = "faultline.dev/spec-hash"
UPLOAD_S = 60  # what the wrapper needs after its own deadline and grace
TOKEN_S = 900
KEPT_S = 3_600  # how long an ended Job stays to be looked at; its records stay longer
USER = 10_001


@dataclass(frozen=True)
class JobTemplate:
    """What every Job of ours has: image, namespace, and where the records are."""

    image: str
    namespace: str
    store_url: str
    sink_url: str
    gateway: str = ""  # base URL of what the pod talks to instead of both; empty: to both itself
    service_account: str = "agent"
    secret: str = "agent"  # model keys, if there is no gateway  # noqa: S105  # the name of a Secret, not one
    grace_s: float = 30.0
    memory: str = "2Gi"
    cpu: str = "1"
    scratch: str = "2Gi"
    model: tuple[tuple[str, str], ...] = ()  # what the built-in loop is told of it; never a key


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
        "containers": [_container(run, template)],
        "volumes": [
            {"name": "workspace", "emptyDir": {"sizeLimit": template.scratch}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
            {"name": "token", "projected": {"sources": _bound_token()}},
            *_doors(template, {"projected": {"sources": _door_tokens()}}),
        ],
    }


def _container(run: Run, template: JobTemplate) -> dict[str, Any]:
    resources = {
        "cpu": template.cpu,
        "memory": template.memory,
        "ephemeral-storage": template.scratch,
    }
    keys_of_models = [{"secretRef": {"name": template.secret, "optional": True}}]
    return {
        "name": "agent",
        "image": template.image,
        "env": [{"name": name, "value": value} for name, value in _told(run, template)],
        **({} if template.gateway else {"envFrom": keys_of_models}),
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
            *_doors(template, {"mountPath": DOORS_PATH, "readOnly": True}),
        ],
    }


TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - where kubectl looks
DOORS_PATH = "/var/run/secrets/faultline"
DOORS = {"token": "faultline-gateway", "model-token": "faultline-model"}  # file -> audience


def _bound_token() -> list[dict[str, Any]]:
    """Return what automounting would mount, with a token that lives for minutes."""
    field = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_S}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [field]}},
    ]


def _door_tokens() -> list[dict[str, Any]]:
    """Return one token for the runtime and one for the engine: neither opens the other's doors."""
    return [
        {"serviceAccountToken": {"path": path, "audience": who, "expirationSeconds": TOKEN_S}}
        for path, who in DOORS.items()
    ]


def _doors(template: JobTemplate, more: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "gateway", **more}] if template.gateway else []


def _told(run: Run, template: JobTemplate) -> tuple[tuple[str, str], ...]:
    return (
        ("FAULTLINE_RUN", keys.incident(run.incident_id, keys.run_record(run.number, keys.RUN))),
        *_where(template),
        ("FAULTLINE_CONTAINED", "1"),
        ("AGENT_RUNTIME_GRACE", str(template.grace_s)),
        *_of_model(template),
    )


def _where(template: JobTemplate) -> tuple[tuple[str, str], ...]:
    """Return where records and events are, and if there is one the gateway's own address."""
    if not template.gateway:
        return (("FAULTLINE_STORE", template.store_url), ("K_SINK", template.sink_url))
    return (
        ("FAULTLINE_STORE", f"gateway+{template.gateway}"),
        ("K_SINK", f"{template.gateway}/events"),
        ("FAULTLINE_GATEWAY", template.gateway),
    )


def _of_model(template: JobTemplate) -> tuple[tuple[str, str], ...]:
    """Return what the built-in loop is told; the model's address only if it asks there itself."""
    hidden = "FAULTLINE_MODEL_URL" if template.gateway else ""
    return tuple(told for told in template.model if told[0] != hidden)
