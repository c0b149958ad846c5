"""Whatever is posted, no door answers with an error of ours, and nothing half read is sent.

`EXAMPLES=20000` asks for more of each; decision 35 has the figures of a long run.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from faultline import wire
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.app import Doors, router
from faultline.bridge.gate import Gate
from faultline.bridge.intake import Intake
from faultline.event import PING, Event
from faultline.model import Fault
from faultline.redact import redact

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
FILE = Path(__file__).parent.parent / "fixtures/alertmanager/am025-firing-1alert.json"
ALERTS = json.loads(FILE.read_bytes())
FAULT = Fault(name="Broken", cluster="eu", starts_at=NOW).model_dump(mode="json")
EVENT = {
    "specversion": "1.0", "id": "1", "source": "/others",
    "type": "dev.faultline.fault.detected.v1", "data": FAULT,
}  # fmt: skip
FLUX = {"involvedObject": {"kind": "Kustomization"}, "metadata": {"revision": "a" * 40}}
SECRET = "of the webhook"
GITHUB = {
    "ref": "refs/heads/main", "action": "closed", "commits": [{"message": "x"}],
    "repository": {"full_name": "acme/shop", "default_branch": "main"},
    "pull_request": {
        "merged": True,
        "head": {"ref": "f/fix-api-5c1e9b2a", "repo": {"full_name": "acme/shop"}},
    },
}  # fmt: skip
FUZZED = settings(
    max_examples=int(os.environ.get("EXAMPLES", "250")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
VALUES = st.recursive(
    PLAIN | st.sampled_from(["", "0001-01-01T00:00:00Z", "\x00", "../..", "\ud800", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


def paths(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place within a value."""
    if not isinstance(value, dict | list):
        return [so_far]
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    return [so_far, *(p for key, each in inside for p in paths(each, (*so_far, key)))]


@st.composite
def bent(draw: st.DrawFn, message: dict[str, Any]) -> bytes:
    """A message as it should be, with something else in one to three of its places."""
    made = json.loads(json.dumps(message))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from([p for p in paths(made) if p]))
        place = made
        for key in way:
            place = place[key]
        if isinstance(place, dict) and draw(st.booleans()):
            del place[last]
        else:
            place[last] = draw(VALUES)
        if not [p for p in paths(made) if p]:
            break
    return json.dumps(made).encode("utf-8", "surrogatepass")


class Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        wire.decode(*wire.encode(event))  # whatever is sent is an event that others can read
        if event.type != PING:
            Fault.model_validate(event.data)
        self.events.append(event)


def post(path: str, body: bytes, headers: dict[Any, Any]) -> int:
    sink, store = Kept(), MemoryStore()
    intake = Intake(sink=sink, store=store, cluster="here", clock=lambda: NOW, clean=redact)
    made = Gate(router(Doors(intake, github_secrets=(SECRET,), github_ours=("acme/shop", "f/"))))

    async def answered() -> int:
        transport = httpx.ASGITransport(made)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.post(path, content=body, headers=headers)).status_code

    status = asyncio.run(answered())
    assert status < 300 or not sink.events
    return status


@FUZZED
@given(bent(ALERTS) | VALUES.map(lambda v: json.dumps(v).encode("utf-8", "surrogatepass")))
@example(b"\xff\xfe[]")
def test_no_message_of_alertmanagers_shape_makes_an_error_of_ours(body: bytes) -> None:
    assert post("/alertmanager", body, {"content-type": "application/json"}) in (202, 400, 413)


@FUZZED
@given(bent(EVENT) | st.binary(max_size=200), st.sampled_from(["", "-batch"]))
def test_no_structured_event_makes_an_error_of_ours(body: bytes, batch: str) -> None:
    kind = f"application/cloudevents{batch}+json"

    assert post("/events", body, {"content-type": kind}) in (200, 202, 400, 403, 413)


HEADERS = st.dictionaries(
    st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-time", "ce-dataschema", "ce-subject",
                     "ce-specversion", "ce-x", "ce-dataref", "ce-traceparent", "content-type"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f")),
)  # fmt: skip


@FUZZED
@given(bent(FAULT), HEADERS)
def test_no_binary_event_makes_an_error_of_ours(body: bytes, changed: dict[str, str]) -> None:
    plain = {f"ce-{name}": value for name, value in EVENT.items() if isinstance(value, str)}
    headers = plain | {"content-type": "application/json"} | changed
    named = {k.encode(): v.encode("latin-1") for k, v in headers.items()}

    assert post("/events", body, named) in (200, 202, 400, 403, 413, 415)


@FUZZED
@given(bent(FLUX) | st.binary(max_size=200))
def test_no_word_of_a_delivery_makes_an_error_of_ours(body: bytes) -> None:
    assert post("/synced", body, {"content-type": "application/json"}) in (202, 400, 413)


@FUZZED
@given(bent(GITHUB) | st.binary(max_size=200), st.sampled_from(["push", "pull_request", "", "x"]))
def test_no_word_of_a_merge_makes_an_error_of_ours(body: bytes, kind: str) -> None:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature-256": f"sha256={digest}", "x-github-event": kind}

    assert post("/github", body, headers) in (202, 400, 413)
