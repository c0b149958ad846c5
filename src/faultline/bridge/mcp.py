"""What MCP servers and plain streams say, to faults; and what we say to MCP servers. Pure.

Three forms of a fault come in: flat with eight fields, the `params.data` of a notification, and the
whole JSON-RPC message; an older server sends an event with logs instead. JSON-RPC 2.0 and MCP
2025-06-18 (modelcontextprotocol.io). `session.py` speaks to servers, `follow.py` keeps it up.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, NamedTuple

from faultline.bridge.events import cluster_or, moment, name_or_nothing, severity_of, shortened
from faultline.errors import Rejected
from faultline.limits import statement_chars_max
from faultline.model import Fault, Resource

PROTOCOL = "2025-06-18"
LEGACY_PROTOCOL = "2024-11-05"
FAULTS = "kubernetes/faults"
SUBSCRIPTION_ERROR = "kubernetes/subscription_error"
_ENDED = ("resolved", "cleared", "ok")


class Setting(NamedTuple):
    """What a message does not say itself."""

    cluster: str
    now: dt.datetime
    origin: str = "mcp"


# faults


def fault_of(message: Any, setting: Setting) -> Fault | None:
    """Return the fault in a message; None if the message speaks of something else.

    A fault that carries its own end (`status: resolved`, or `ends_at`) has `ends_at` and is a
    cleared one. Raises Rejected if the message is none of the forms that are known.
    """
    if not isinstance(message, dict):
        raise Rejected(f"expected a JSON object, got {type(message).__name__}")
    if "jsonrpc" in message:
        return _of_rpc(message, setting)
    return _of_data(message, setting)


def _of_rpc(message: dict[str, Any], setting: Setting) -> Fault | None:
    if message["jsonrpc"] != "2.0" or not {"method", "result", "error"} & message.keys():
        raise Rejected("expected a JSON-RPC 2.0 message with a method or a result")
    if message.get("method") != "notifications/message":
        return None
    params = message.get("params")
    if not isinstance(params, dict) or "data" not in params:
        raise Rejected("expected params.data in a notification")
    if params.get("logger") != FAULTS:
        return None
    if not isinstance(params["data"], dict):
        raise Rejected("expected a fault as params.data")
    data = params["data"]
    return _of_data({"logs": [], **data} if "event" in data else data, setting)


def _of_data(data: dict[str, Any], setting: Setting) -> Fault | None:
    if isinstance(data.get("event"), dict):
        return _of_event(data, setting)
    if isinstance(data.get("resource"), dict):
        return _of_wire(data, setting)
    if "resource_type" in data or "resourceType" in data:
        return _of_flat(data, setting)
    raise Rejected("expected a fault: resource_type and resource_name, or resource")


def _of_wire(data: dict[str, Any], setting: Setting) -> Fault:
    resource = data["resource"]
    named = {
        "kind": _text(resource, "kind"),
        "name": _text(resource, "name"),
        "namespace": _text(resource, "namespace"),
        "api_version": _text(resource, "apiVersion", "api_version"),
        "uid": _text(resource, "uid"),
    }
    name = _text(data, "faultType", "fault_type") or "Fault"
    return _fault(
        data, setting, name=name, resource=named, message=_text(data, "context", "message")
    )


# Senders of flat faults write kinds as they like: pod, Pods, deployment.
_KINDS = {
    kind.lower(): kind
    for kind in (
        "Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "Node",
        "Service", "PersistentVolumeClaim", "Namespace", "HorizontalPodAutoscaler",
    )
}  # fmt: skip


def _of_flat(data: dict[str, Any], setting: Setting) -> Fault:
    written = _text(data, "resource_type", "resourceType")
    kind = _KINDS.get(written.lower().removesuffix("s"), written)
    named = {
        "kind": kind,
        "name": _text(data, "resource_name", "resourceName"),
        "namespace": _text(data, "namespace"),
        "uid": _text(data, "uid"),
    }
    name = _text(data, "fault_type", "faultType") or f"{kind or 'Resource'}Fault"
    return _fault(
        data, setting, name=name, resource=named, message=_text(data, "message", "context")
    )


def _of_event(data: dict[str, Any], setting: Setting) -> Fault | None:
    """An older server's fault: an event of Kubernetes with excerpts of logs. Without: an event."""
    event = data["event"]
    if "logs" not in data:
        return None
    resource = event.get("involvedObject")
    if not isinstance(resource, dict):
        raise Rejected("expected event.involvedObject in a fault")
    named = {
        "kind": _text(resource, "kind"),
        "name": _text(resource, "name"),
        "namespace": _text(resource, "namespace") or _text(event, "namespace"),
        "api_version": _text(resource, "apiVersion"),
        "uid": _text(resource, "uid"),
    }
    name = _text(event, "reason") or "Event"
    flat = {**data, "timestamp": event.get("timestamp"), "severity": event.get("severity")}
    return _fault(flat, setting, name=name, resource=named, message=_text(event, "message"))


def _fault(
    data: dict[str, Any], setting: Setting, *, name: str, resource: dict[str, str], message: str
) -> Fault:
    ends_at = _end(data, setting.now)
    cluster = cluster_or(data.get("cluster_id") or data.get("clusterId") or data.get("cluster"), "")
    place = f"{resource['kind']}/{resource['namespace']}/{resource['name']}/{name}"
    return Fault(
        name=name,
        summary=(message.split("\n", 1)[0] or f"{name} of {resource['kind']} {resource['name']}")[
            :statement_chars_max
        ],
        severity=severity_of(data.get("severity")),
        cluster=cluster or setting.cluster,
        resource=_resource(resource),
        annotations=_described(message, data.get("logs")),
        starts_at=_time(data, "timestamp", "starts_at", "startsAt") or setting.now,
        ends_at=ends_at,
        condition=_text(data, "faultId", "fault_id") or place,
        origin=setting.origin,
        clears=ends_at is not None,
    )


def _resource(named: dict[str, str]) -> Resource | None:
    usable = name_or_nothing(named["name"])
    if not usable or (named["namespace"] and not name_or_nothing(named["namespace"])):
        return None
    return Resource(**named)


def _described(message: str, logs: Any) -> dict[str, str]:
    described = {"message": shortened(message)} if message else {}
    if logs:
        text = logs if isinstance(logs, str) else json.dumps(logs, ensure_ascii=False)
        described["logs"] = shortened(text)
    return described


def _end(data: dict[str, Any], now: dt.datetime) -> dt.datetime | None:
    ended = _time(data, "ends_at", "endsAt")
    if ended is not None and ended.year > 1:
        return ended
    return now if str(data.get("status", "")).lower() in _ENDED else None


def _time(data: dict[str, Any], *names: str) -> dt.datetime | None:
    text = _text(data, *names)
    return moment(text) if text else None


def _text(data: dict[str, Any], *names: str) -> str:
    """Return the first of these fields that is set; fields that are missing or null are empty."""
    for name in names:
        value = data.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise Rejected(f"expected text in {name}, got {type(value).__name__}")
        return value
    return ""


# what a client says


def request(id: int, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a JSON-RPC request."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": method}
    return message if params is None else message | {"params": params}


def initialize(id: int, version: str = PROTOCOL) -> dict[str, Any]:
    client = {"name": "faultline", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": client}
    return request(id, "initialize", params)


def initialized() -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/initialized"}


def set_level(id: int) -> dict[str, Any]:
    """Without this a server drops every notification, silently."""
    return request(id, "logging/setLevel", {"level": "info"})


def ping(id: int) -> dict[str, Any]:
    return request(id, "ping")


def call(id: int, tool: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    return request(id, "tools/call", {"name": tool, "arguments": arguments or {}})


def subscribe(id: int) -> dict[str, Any]:
    """One subscription per cluster; its filters have no effect in this mode."""
    return call(id, "events_subscribe", {"mode": "faults"})


def list_subscriptions(id: int) -> dict[str, Any]:
    return call(id, "events_list_subscriptions")


def answer_to(message: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a server must hear back; None if it asked nothing. We can do nothing but ping."""
    if "method" not in message or "id" not in message:
        return None
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "ping":
        return reply | {"result": {}}
    return reply | {"error": {"code": -32601, "message": "not supported by this client"}}


# what a server answers


def result_of(message: dict[str, Any]) -> dict[str, Any]:
    """Return the result of an answer. Raises Rejected with the server's own words if it failed."""
    if isinstance(error := message.get("error"), dict):
        said = str(error.get("message"))[:200]
        raise Rejected(f"the server answered with error {error.get('code')}: {said!r}")
    result = message.get("result")
    if not isinstance(result, dict):
        raise Rejected("expected a result in the server's answer, got none")
    if result.get("isError"):
        raise Rejected(f"the server's tool failed: {text_of(result)[:200]!r}")
    return result


def text_of(result: dict[str, Any]) -> str:
    """Return the text of a tool's result."""
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def object_in(text: str) -> dict[str, Any]:
    """Return the JSON object in a text that has sentences around it. Raises Rejected."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    except (ValueError, RecursionError):
        raise Rejected(f"expected a JSON object in the text, got {text[:120]!r}") from None
    return dict(found)


def is_subscribed(listing: dict[str, Any], subscription: str) -> bool:
    """Is our subscription in the list, and sound?"""
    listed = listing.get("subscriptions")
    return any(
        isinstance(each, dict)
        and each.get("subscriptionId") == subscription
        and not each.get("degraded")
        for each in (listed if isinstance(listed, list) else [])
    )


def listed_faults(text: str) -> list[dict[str, str]]:
    """Return the warnings in what `events_list` answers, as flat faults.

    It answers YAML below a heading line. Such an event has neither uid nor count: namespace, kind,
    name, reason and time identify it. Raises Rejected if it is not that YAML.
    """
    from faultline import documents

    if text.startswith("# No events found"):
        return []
    found = documents.read(text[text.find("\n- ") + 1 :].encode("utf-8", "replace"))
    items = found[0].value if len(found) == 1 else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Rejected("expected a list of events as YAML, got other YAML")
    return [_listed(item) for item in items if item.get("Type") == "Warning"]


def _listed(item: dict[str, Any]) -> dict[str, str]:
    involved = item.get("InvolvedObject")
    if not isinstance(involved, dict):
        raise Rejected("expected InvolvedObject in a listed event")
    found = {
        "namespace": item.get("Namespace"),
        "resource_type": involved.get("Kind"),
        "resource_name": involved.get("Name"),
        "fault_type": item.get("Reason"),
        "severity": "warning",
        "message": item.get("Message"),
        "timestamp": item.get("Timestamp"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}
