"""Who delivered which commit, and when: from Argo CD's and Flux' own messages. Pure.

Argo CD sends what its template says; ours is the whole Application (`{{toJson .app}}`). Flux sends
its Event through a provider of type `generic` (fluxcd.io/flux/components/notification). What is no
finished delivery of a Git commit is none: a failure, a chart's version, a health report.
"""

from __future__ import annotations

import json
import re
from typing import Any

from faultline.errors import Rejected
from faultline.event import parse_time
from faultline.fixes import Synced

_COMMIT = re.compile(r"(?:^|[:/@])([0-9a-f]{64}|[0-9a-f]{40})$")
_DELIVERED = ("ReconciliationSucceeded", "HealthCheckSucceeded")


def parse(body: bytes) -> Synced | None:
    """Return what was delivered; None if the message tells of something else.

    Raises Rejected for what is neither an Application of Argo CD nor an Event of Flux.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise Rejected("expected JSON of Argo CD or Flux") from None
    if isinstance(message, dict) and isinstance(message.get("involvedObject"), dict):
        return _flux(message)
    if isinstance(message, dict) and isinstance(message.get("status"), dict):
        return _argocd(message)
    raise Rejected("expected an Application of Argo CD ({{toJson .app}}) or an Event of Flux")


def _flux(message: dict[str, Any]) -> Synced | None:
    about = message["involvedObject"]
    metadata = message.get("metadata")
    said = metadata if isinstance(metadata, dict) else {}
    revision = next((v for k, v in said.items() if k.rsplit("/", 1)[-1] == "revision"), "")
    if message.get("severity") == "error" or message.get("reason") not in _DELIVERED:
        return None
    if about.get("kind") not in ("Kustomization", "HelmRelease"):
        return None  # a source was fetched: nothing is in the cluster yet
    what = "/".join(str(about.get(k, "")) for k in ("kind", "namespace", "name"))
    return _synced("flux", what, revision, message.get("timestamp"))


def _argocd(message: dict[str, Any]) -> Synced | None:
    status = message["status"]
    operation, metadata = _mapping(status, "operationState"), _mapping(message, "metadata")
    if operation.get("phase") != "Succeeded":
        return None
    revision = _mapping(operation, "syncResult").get("revision")
    what = f"Application/{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return _synced("argocd", what, revision, operation.get("finishedAt"))


def _mapping(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _synced(by: str, what: str, revision: object, at: object) -> Synced | None:
    commit = _COMMIT.search(str(revision or ""))
    if commit is None:
        return None
    try:
        moment = parse_time(str(at))
    except ValueError as error:
        raise Rejected(f"the time of a delivery: {error}") from None
    return Synced(by=by, what=what[:300], revision=commit[1], at=moment)
