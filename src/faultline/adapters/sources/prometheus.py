"""Ask Prometheus for the series around a fault: CPU, memory and its limit, restarts.

`/api/v1/query_range` over the hour before the fault, a point a minute, and `/api/v1/query` for what
the workload's pods used together when the incident was opened. Yields `context/metrics.json` in the
form of `docs/capsule.md`. Never follows a redirect.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator
from typing import Any

from faultline.adapters.trust import trust
from faultline.correlate import owner_of
from faultline.errors import Unavailable
from faultline.model import Incident, Resource

TIMEOUT_S = 5.0
BEFORE = dt.timedelta(minutes=60)
AFTER = dt.timedelta(minutes=5)
STEP_S = 60

# name, unit, query; kubelet's cAdvisor and kube-state-metrics give these
QUERIES = (
    (
        "cpu_usage",
        "millicores",
        "sum by (pod, container) (rate(container_cpu_usage_seconds_total{%s}[2m])) * 1000",
    ),
    ("memory_working_set", "bytes", "container_memory_working_set_bytes{%s}"),
    (
        "memory_limit",
        "bytes",
        'kube_pod_container_resource_limits{%s, resource="memory"}',
    ),
    ("restarts", "restarts", "kube_pod_container_status_restarts_total{%s}"),
)

# the same of all pods together, as one number each
SNAPSHOT = (
    ("cpu", "millicores", "sum(rate(container_cpu_usage_seconds_total{%s}[2m])) * 1000"),
    ("memory", "MiB", "sum(container_memory_working_set_bytes{%s}) / 1024 / 1024"),
)


class PrometheusSource:
    """A context source over Prometheus' HTTP API."""

    name = "prometheus"

    def __init__(self, url: str, *, client: Any = None) -> None:
        import httpx

        self._url = url.rstrip("/")
        self._client = client or httpx.Client(
            verify=trust(url), timeout=TIMEOUT_S, follow_redirects=False
        )

    def collect(self, incident: Incident) -> Iterator[tuple[str, bytes]]:
        """Yield the series. Raises Unavailable, with the reason, if Prometheus does not answer."""
        resource = incident.fault.resource
        if resource is None or not resource.namespace:
            raise Unavailable("the fault names no workload in a namespace to ask about")
        where = _selector(resource, incident.fault.labels)
        start = incident.fault.starts_at - BEFORE
        end = max(incident.opened_at, incident.fault.starts_at) + AFTER
        series = [
            found
            for name, unit, query in QUERIES
            for found in self._series(name, unit, query % where, start, end)
        ]
        at = max(incident.opened_at, incident.fault.starts_at)
        snapshot = [
            found
            for name, unit, query in SNAPSHOT
            for found in self._now(name, unit, query % where, at)
        ]
        found = {"series": series, "snapshot": snapshot}
        yield "context/metrics.json", (json.dumps(found, indent=2) + "\n").encode()

    def _series(
        self, name: str, unit: str, query: str, start: dt.datetime, end: dt.datetime
    ) -> Iterator[dict[str, Any]]:
        asked = {"query": query, "start": f"{start.timestamp():.0f}",
                 "end": f"{end.timestamp():.0f}", "step": str(STEP_S)}  # fmt: skip
        for row in self._ask("query_range", asked):
            labels = {k: v for k, v in row.get("metric", {}).items() if k != "__name__"}
            points = [[at, value] for at, value in map(_point, row.get("values", ()))
                      if math.isfinite(value)]  # fmt: skip
            yield {"name": name, "query": query, "unit": unit, "labels": labels, "points": points}

    def _now(self, name: str, unit: str, query: str, at: dt.datetime) -> Iterator[dict[str, Any]]:
        for row in self._ask("query", {"query": query, "time": f"{at.timestamp():.0f}"}):
            when, value = _point(row.get("value"))
            if math.isfinite(value):
                yield {"name": name, "query": query, "unit": unit, "at": when, "value": value}

    def _ask(self, what: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        import httpx

        try:
            answer = self._client.get(f"{self._url}/api/v1/{what}", params=asked)
            body = answer.json() if answer.status_code == 200 else {}
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"Prometheus did not answer: {type(error).__name__}") from None
        if not isinstance(body, dict) or body.get("status") != "success":
            raise Unavailable(f"Prometheus answered {answer.status_code}, expected 200 and success")
        data = body.get("data")
        found = data.get("result") if isinstance(data, dict) else None
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Unavailable("Prometheus answered without a list of results")
        return found


def _point(pair: Any) -> tuple[int, float]:
    try:
        at, value = pair
        return int(at), float(value)
    except (TypeError, ValueError, OverflowError):
        raise Unavailable("Prometheus answered with what is no time and number") from None


def _selector(resource: Resource, labels: dict[str, str]) -> str:
    """Return label matchers for the pods of the workload; names are escaped for both grammars."""
    owner = owner_of(resource, labels)
    pods = json.dumps("".join(c if c.isalnum() or c == "-" else "." for c in owner) + "-.*")
    return f'namespace={json.dumps(resource.namespace)}, pod=~{pods}, container!=""'
