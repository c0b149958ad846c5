"""What an API server makes of an Event, at the transport of httpx: it checks, keeps and refuses.

The checks are those of kubernetes/kubernetes, pkg/apis/core/validation/events.go, for
events.k8s.io/v1, written anew.
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

from faultline.adapters.apiserver import Write, event_writer

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class EventsFake:
    """`events` are those that are there; `answers` is what it says instead, one each request."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        self.answers: list[int] = []

    def write(self) -> Write:
        client = httpx.Client(
            transport=httpx.MockTransport(self._answer), base_url="https://cluster.example"
        )
        return event_writer((client, lambda: {"authorization": "Bearer t"}))

    def said(self) -> list[str]:
        return [event["reason"] for event in self.events]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path))
        if self.answers:
            return httpx.Response(self.answers.pop(0), json={"kind": "Status"})
        assert request.headers["authorization"] == "Bearer t"
        place = re.fullmatch(
            r"/apis/events\.k8s\.io/v1/namespaces/([a-z0-9-]+)/events", request.url.path
        )
        if request.method != "POST" or place is None:
            return httpx.Response(405, json={"kind": "Status"})
        event = json.loads(request.content)
        if wrong := _wrong(event, place[1]):
            return httpx.Response(422, json={"kind": "Status", "message": wrong})
        names = [(e["metadata"]["namespace"], e["metadata"]["name"]) for e in self.events]
        if (place[1], event["metadata"]["name"]) in names:
            return httpx.Response(409, json={"kind": "Status", "reason": "AlreadyExists"})
        self.events.append(event)
        return httpx.Response(201, json=event)


def _wrong(event: dict[str, Any], namespace: str) -> str:
    """Name the first field that a real server would refuse; "" if it takes the Event."""
    name, regarding = event["metadata"]["name"], event.get("regarding", {})
    checks = {
        "kind": (event["apiVersion"], event["kind"]) == ("events.k8s.io/v1", "Event"),
        "name": len(name) <= 253 and _SUBDOMAIN.fullmatch(name),
        "namespace": event["metadata"].get("namespace") == namespace,
        "regarding.namespace": regarding.get("namespace", "default") == namespace,
        "eventTime": _MICRO.fullmatch(event.get("eventTime", "")),
        "reportingController": _QUALIFIED.fullmatch(event.get("reportingController", "")),
        "reportingInstance": 0 < len(event.get("reportingInstance", "")) <= 128,
        "action": 0 < len(event.get("action", "")) <= 128,
        "reason": 0 < len(event.get("reason", "")) <= 128,
        "note": len(event.get("note", "").encode()) <= 1_024,
        "type": event.get("type") in ("Normal", "Warning"),
    }
    return next((field for field, fine in checks.items() if not fine), "")
