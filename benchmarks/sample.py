"""The messages that the benchmarks send: AlertManager's, as large and as different as asked for."""

from __future__ import annotations

import json


def alert(number: int, workload: int | None = None) -> dict[str, object]:
    """Return one alert, about a pod of its own in the workload of that number."""
    owner = number if workload is None else workload
    pod = f"checkout-{owner}-7d9f6c5b4-{number:05d}"
    return {
        "status": "firing",
        "labels": {
            "alertname": "KubePodCrashLooping",
            "cluster": "prod-a",
            "container": "app",
            "deployment": f"checkout-{owner}",
            "namespace": "shop",
            "pod": pod,
            "reason": "CrashLoopBackOff",
            "severity": "warning",
        },
        "annotations": {
            "description": f"Pod shop/{pod} (app) is in waiting state (reason: CrashLoopBackOff).",
            "runbook_url": "https://runbooks.example/kubepodcrashlooping",
            "summary": "Pod is crash looping.",
        },
        "startsAt": "2026-11-21T10:00:00.123Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=up&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }


def message(first: int, count: int, workloads: int | None = None) -> bytes:
    """Return a webhook message of `count` alerts, numbered from `first`."""
    numbers = range(first, first + count)
    alerts = [alert(n, None if workloads is None else n % workloads) for n in numbers]
    return json.dumps(
        {
            "version": "4",
            "groupKey": '{}:{alertname="KubePodCrashLooping"}',
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "faultline",
            "groupLabels": {"alertname": "KubePodCrashLooping"},
            "commonLabels": {"alertname": "KubePodCrashLooping"},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example",
            "alerts": alerts,
        }
    ).encode()
