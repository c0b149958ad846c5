"""AlertManager's webhook, payload version 4, to faults. Pure; one fault per alert.

A message carries no delivery id, repeats and retries are equal to the byte, and the peers of a pair
differ in order and addresses: identity comes from fingerprint and start alone, never from the
bytes. An alert that is not listed is of unknown state. Format: prometheus/alertmanager, template
`Data`. `events.py` turns a fault into its event, `app.py` receives the message.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any

from faultline.bridge.events import (
    annotation_chars_max,
    cluster_or,
    name_or_nothing,
    severity_of,
    shortened,
    strict_json,
    web_links,
)
from faultline.correlate import WORKLOAD_LABELS
from faultline.errors import Rejected
from faultline.event import parse_time
from faultline.limits import statement_chars_max
from faultline.model import Fault, Resource

TRUNCATED = "truncated_alerts"  # annotation: how many alerts of the group were not listed

# Labels that name an object in a namespace, the workloads first: kind and apiVersion of each.
_WORKLOADS = {
    "deployment": ("Deployment", "apps/v1"),
    "statefulset": ("StatefulSet", "apps/v1"),
    "daemonset": ("DaemonSet", "apps/v1"),
    "cronjob": ("CronJob", "batch/v1"),
    "job_name": ("Job", "batch/v1"),
    "replicaset": ("ReplicaSet", "apps/v1"),
}
_OBJECTS = {
    "persistentvolumeclaim": ("PersistentVolumeClaim", "v1"),
    "horizontalpodautoscaler": ("HorizontalPodAutoscaler", "autoscaling/v2"),
    "poddisruptionbudget": ("PodDisruptionBudget", "policy/v1"),
    "resourcequota": ("ResourceQuota", "v1"),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of a message, checked."""

    resolved: bool
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: dt.datetime
    ends_at: dt.datetime | None
    generator_url: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Message:
    """One webhook message. `truncated` more alerts of the group are not listed: state unknown."""

    group_key: str
    receiver: str
    status: str
    external_url: str
    truncated: int
    alerts: tuple[Alert, ...]

    @property
    def identity(self) -> str:
        """The same for a retry, a repeat and the other peer's copy (64 hex digits)."""
        alerts = sorted(f"{a.fingerprint} {a.starts_at} {a.resolved}" for a in self.alerts)
        text = "\n".join((self.receiver, self.group_key, self.status, *alerts))
        return hashlib.sha256(text.encode()).hexdigest()


def parse(body: bytes) -> Message:
    """Read a message. Unknown fields are tolerated, newer versions send more.

    Raises Rejected, naming the field, for anything that is not version "4" in strict JSON.
    """
    message = strict_json(body)
    if not isinstance(message, dict):
        raise Rejected("expected AlertManager's webhook message, got JSON that is no object")
    _known_version(message)
    alerts = message["alerts"]
    if not isinstance(alerts, list):
        raise Rejected(f"expected a list in alerts, got {type(alerts).__name__}")
    return Message(
        group_key=_text(message, "groupKey"),
        receiver=_text(message, "receiver"),
        status=_text(message, "status"),
        external_url=_text(message, "externalURL"),
        truncated=_count(message.get("truncatedAlerts", 0)),
        alerts=tuple([_alert(alert, place) for place, alert in enumerate(alerts)]),
    )


def _known_version(message: dict[str, Any]) -> None:
    for name in ("version", "groupKey", "alerts"):
        if name not in message:
            raise Rejected(
                f"expected AlertManager's webhook message, {name} is missing; "
                "leave the receiver's payload template out"
            )
    if message["version"] != "4":
        raise Rejected(f'expected version "4", got {str(message["version"])[:20]!r}')
    if message.get("status", "firing") not in ("firing", "resolved"):
        raise Rejected("expected status firing or resolved in the message")


def _text(values: dict[str, Any], name: str) -> str:
    found = values.get(name, "")
    if not isinstance(found, str):
        raise Rejected(f"expected text in {name}, got {type(found).__name__}")
    return found


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise Rejected("expected a number of alerts in truncatedAlerts")
    return value


def _alert(alert: Any, place: int) -> Alert:
    try:
        resolved = _resolved(alert["status"])
        return Alert(
            resolved,
            _texts(alert["labels"]),
            _texts(alert.get("annotations") or {}),
            parse_time(alert["startsAt"]),
            _end(alert.get("endsAt")) if resolved else None,
            _text(alert, "generatorURL"),
            _text(alert, "fingerprint"),
        )
    except KeyError as error:
        raise Rejected(f"alerts[{place}]: {error.args[0]} is missing") from None
    except (Rejected, ValueError) as error:
        raise Rejected(f"alerts[{place}]: {str(error)[:200]}") from None
    except (TypeError, AttributeError):
        raise Rejected(f"alerts[{place}]: expected an alert with labels and startsAt") from None


def _resolved(status: object) -> bool:
    if status not in ("firing", "resolved"):
        raise Rejected("expected status firing or resolved")
    return status == "resolved"


def _texts(values: Any) -> dict[str, str]:
    if type(values) is not dict:
        raise Rejected("expected labels and annotations as an object of texts")
    for value in values.values():
        if type(value) is not str:
            raise Rejected("expected labels and annotations as an object of texts")
    return values


def _end(text: str | None) -> dt.datetime | None:
    """AlertManager writes the year 1 for "not yet"."""
    if not text or text.startswith("0001-01-01"):
        return None
    return parse_time(text)


def faults(message: Message, *, cluster: str, payload: str) -> list[Fault]:
    """Return one fault per alert, in their order: `message.alerts[i].resolved` says if it is over.

    `cluster` is used where an alert has no such label; `payload` is the key of the message as it
    came.
    """
    return [_fault(message, alert, cluster, payload) for alert in message.alerts]


def _fault(message: Message, alert: Alert, cluster: str, payload: str) -> Fault:
    labels, annotations = alert.labels, alert.annotations
    name = labels.get("alertname") or "Alert"
    summary = annotations.get("summary") or annotations.get("message") or name
    return Fault(
        name=name,
        summary=summary[:statement_chars_max],
        severity=severity_of(labels.get("severity")),
        cluster=cluster_or(labels.get("cluster"), cluster),
        resource=resource_of(labels),
        labels=labels,
        annotations=_described(annotations, message.truncated),
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        condition=alert.fingerprint or _fingerprint(labels),
        origin="alertmanager",
        links=web_links(
            runbook=annotations.get("runbook_url"),
            dashboard=annotations.get("dashboard_url"),
            rule=alert.generator_url,
            AlertManager=message.external_url,
        ),
        payload=payload,
    )


def _described(annotations: dict[str, str], truncated: int) -> dict[str, str]:
    if any(len(text) > annotation_chars_max for text in annotations.values()):
        annotations = {k: shortened(v) for k, v in annotations.items()}
    return annotations | {TRUNCATED: str(truncated)} if truncated else annotations


def _fingerprint(labels: dict[str, str]) -> str:
    text = "\n".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def resource_of(labels: dict[str, str]) -> Resource | None:
    """Return the object that an alert is about, from its labels; None if they name none.

    `job`, `instance`, `service` and `endpoint` describe the exporter, and so do `pod` and
    `namespace` of a node's alert. `exported_…` is the subject where the scrape took the plain name.
    """
    if any(not name_or_nothing(labels[name]) for name in WORKLOAD_LABELS if labels.get(name)):
        return None  # no object can be called that; the fingerprint is the key
    namespace = name_or_nothing(labels.get("exported_namespace") or labels.get("namespace"))
    pod = _pod(labels)
    if namespace:
        if found := _named(labels, _WORKLOADS, namespace):
            return found
        exporter = _is_exporter(labels, pod)
        if not exporter and pod:
            return _resource("Pod", "v1", pod, namespace)
        if found := _named(labels, _OBJECTS, namespace):
            return found
    if node := name_or_nothing(labels.get("exported_node") or labels.get("node")):
        return _resource("Node", "v1", node, "")
    return _resource("Pod", "v1", pod, namespace) if pod and namespace else None


def _pod(labels: dict[str, str]) -> str:
    if "exported_namespace" in labels or "exported_pod" in labels:
        return name_or_nothing(labels.get("exported_pod"))
    return name_or_nothing(labels.get("pod"))


def _is_exporter(labels: dict[str, str], pod: str) -> bool:
    if "exported_pod" in labels:
        return False
    return any(own and pod.startswith(own) for own in (labels.get("job"), labels.get("service")))


def _named(
    labels: dict[str, str], kinds: dict[str, tuple[str, str]], namespace: str
) -> Resource | None:
    for label, (kind, api_version) in kinds.items():
        if name := name_or_nothing(labels.get(label)):
            return _resource(kind, api_version, name, namespace)
    return None


def _resource(kind: str, api_version: str, name: str, namespace: str) -> Resource:
    return Resource(kind=kind, name=name, namespace=namespace, api_version=api_version)
