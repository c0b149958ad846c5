"""How many pods a workload has, and what each asks for. Pure, over objects as a cluster shows them.

Defaults of LimitRanges are filled in as the cluster does. Whether it fits is `fits.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from faultline import fields
from faultline.amounts import amount

Object = dict[str, Any]

_POD = ("spec", "template", "spec")
_PODS = {"CronJob": ("spec", "jobTemplate", *_POD), "Pod": ("spec",)}
RESOURCES = ("cpu", "memory", "ephemeral-storage")


def pod(value: Object, ranges: Sequence[Object]) -> dict[str, Decimal]:
    """Return what a pod asks for, as `requests.memory`: its containers together, or its largest
    init container.
    """
    spec = _pod_spec(value)
    total: dict[str, Decimal] = {}
    most: dict[str, Decimal] = {}
    for container in listed(spec, "containers"):
        for name, number in asked(container, ranges).items():
            total[name] = total.get(name, Decimal(0)) + number
    for container in listed(spec, "initContainers"):
        stays = container.get("restartPolicy") == "Always"
        for name, number in asked(container, ranges).items():
            if stays:
                total[name] = total.get(name, Decimal(0)) + number
            else:
                most[name] = max(most.get(name, Decimal(0)), number)
    names = total.keys() | most.keys()
    least = Decimal(0)
    made = {name: max(total.get(name, least), most.get(name, least)) for name in names}
    return made | {"pods": Decimal(1)}


def asked(container: Object, ranges: Sequence[Object]) -> dict[str, Decimal]:
    """Return a container's requests and limits, with the defaults that a cluster fills in."""
    resources = part(container, "resources")
    made: dict[str, Decimal] = {}
    for resource in RESOURCES:
        own_limit = amount(part(resources, "limits").get(resource))
        limit = own_limit if own_limit is not None else _default(ranges, "default", resource)
        request = amount(part(resources, "requests").get(resource))
        if request is None:
            request = own_limit if own_limit is not None else None
        if request is None:
            request = _default(ranges, "defaultRequest", resource)
        for name, number in (("limits", limit), ("requests", request)):
            if number is not None:
                made[f"{name}.{resource}"] = number
    return made


def _default(ranges: Sequence[Object], key: str, resource: str) -> Decimal | None:
    for found in ranges:
        for item in listed(part(found, "spec"), "limits"):
            number = amount(part(item, key).get(resource))
            if item.get("type") == "Container" and number is not None:
                return number
    return None


def replicas_of(value: Object) -> int:
    """Return how many pods a workload wants; a DaemonSet: one for each node it was sent to."""
    daemons = value.get("kind") == "DaemonSet"
    key = ("status", "desiredNumberScheduled") if daemons else ("spec", "replicas")
    found = part(value, key[0]).get(key[1])
    return found if isinstance(found, int) else 1


def running(value: Object) -> int:
    """Return how many pods a workload has now."""
    daemons = value.get("kind") == "DaemonSet"
    key = "currentNumberScheduled" if daemons else "replicas"
    found = part(value, "status").get(key)
    return found if isinstance(found, int) else replicas_of(value)


def surge(value: Object, replicas: int) -> tuple[int, bool]:
    """Return how many pods a rollout adds, and whether it can go on without them."""
    strategy = part(part(value, "spec"), "strategy")
    if value.get("kind") != "Deployment" or strategy.get("type") == "Recreate":
        return 0, True
    rolling = part(strategy, "rollingUpdate")
    surge = share(rolling.get("maxSurge", "25%"), replicas, up=True) or 0
    waits = share(rolling.get("maxUnavailable", "25%"), replicas, up=False) or 0
    return surge, waits > 0


def share(value: Any, of: int, *, up: bool) -> int | None:
    """Read a number or a percentage of pods; None if it is neither."""
    if isinstance(value, int):
        return value
    text = str(value)
    if not text.endswith("%") or not text[:-1].isdigit():
        return None
    exact = int(text[:-1]) * of / 100
    return math.ceil(exact) if up else math.floor(exact)


def containers(value: Object) -> list[Object]:
    spec = _pod_spec(value)
    return [*listed(spec, "containers"), *listed(spec, "initContainers")]


def _pod_spec(value: Object) -> Object:
    found = fields.get(value, _PODS.get(str(value.get("kind")), _POD))
    return found if isinstance(found, dict) else {}


def name_of(value: Object) -> str:
    return str(part(value, "metadata").get("name", ""))


def part(value: Object, path: str) -> Object:
    found: Any = value
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def listed(value: Object, key: str) -> list[Object]:
    found = value.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
