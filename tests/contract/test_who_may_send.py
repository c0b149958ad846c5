"""Who may send at the bridge's doors: credentials of every kind, and signatures of webhooks.

Client certificates are shown in `test_tls.py`, GitHub's signature in `test_github_door.py`; why
there is none of Slack's is said in decision 35.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.app import app
from faultline.bridge.gate import signature_known
from faultline.event import Event
from faultline.model import Fault

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
ALERT = Path(__file__).parent.parent / "fixtures/alertmanager/am025-firing-1alert.json"
FAULT = Fault(name="Broken", cluster="eu", starts_at=NOW).model_dump(mode="json")
EVENT = {
    "specversion": "1.0", "id": "1", "source": "/others",
    "type": "dev.faultline.fault.detected.v1", "data": FAULT,
}  # fmt: skip
SYNCED = {"metadata": {"name": "shop"}, "status": {}}
DOORS = {
    "/alertmanager": (ALERT.read_bytes(), "application/json"),
    "/events": (json.dumps(EVENT).encode(), "application/cloudevents+json"),
    "/synced": (json.dumps(SYNCED).encode(), "application/json"),
}
TOKENS = ("current", "next", "prometheus:pair")
OLD, NEW, OTHERS = (
    b"old key of this bridge..",
    b"new key of this bridge..",
    b"key of another tenant...",
)
KEYS = tuple("whsec_" + base64.b64encode(key).decode() for key in (OLD, NEW))


class Kept:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.events.append(event)


def basic(pair: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def sign(key: bytes, body: bytes, *, age_s: int = 0, id: str = "msg_1") -> dict[str, str]:
    stamp = str(int(NOW.timestamp()) - age_s)
    digest = hmac.digest(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256)
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": signature}


async def _post(path: str, body: bytes, headers: Mapping[str, str], **options: object) -> tuple:
    sink, store = Kept(), MemoryStore()
    made = app(sink=sink, store=store, cluster="here", clock=lambda: NOW, **options)
    transport = httpx.ASGITransport(made, client=("10.0.0.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post(path, content=body, headers=headers)
    return answer.status_code, len(sink.events) + len(list(store.list("")))


def post(path: str, headers: Mapping[str, str], body: bytes | None = None, **options: object):
    """Send the door's own message from another machine; return the status, and what it wrote."""
    message, kind = DOORS[path]
    named = {"content-type": kind, **headers}
    return asyncio.run(_post(path, message if body is None else body, named, **options))


def rows(body: bytes) -> dict[str, tuple[dict[str, str], bool]]:
    """Headers, and whether they open the door. An expired token is one taken off the list."""
    good = sign(NEW, body)
    return {
        "nothing": ({}, False),
        "an empty authorization": ({"authorization": ""}, False),
        "bearer, current": (bearer("current"), True),
        "bearer, next, while tokens rotate": (bearer("next"), True),
        "bearer, wrong": (bearer("wrong"), False),
        "bearer, expired": (bearer("previous"), False),
        "bearer, of another tenant": (bearer("other-tenant"), False),
        "bearer, empty": (bearer(""), False),
        "bearer, the beginning of a token": (bearer("curren"), False),
        "bearer, a token and more": (bearer("currentt"), False),
        "basic, any user with a token": (basic("anyone:current"), True),
        "basic, a whole pair": (basic("prometheus:pair"), True),
        "basic, the pair's password alone": (basic("other:pair"), False),
        "basic, wrong": (basic("prometheus:wrong"), False),
        "basic, not base64": ({"authorization": "Basic ???"}, False),
        "another scheme": ({"authorization": "Digest current"}, False),
        "a token without a scheme": ({"authorization": "current"}, False),
        "signed, new key": (good, True),
        "signed, old key, while keys rotate": (sign(OLD, body), True),
        "signed, key of another tenant": (sign(OTHERS, body), False),
        "signed, replayed after five minutes": (sign(NEW, body, age_s=301), False),
        "signed, from the future": (sign(NEW, body, age_s=-301), False),
        "signed, another body": (sign(NEW, body + b" "), False),
        "signed, another id": (good | {"webhook-id": "msg_2"}, False),
    }


@pytest.mark.covers("INB-01")
@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("row", rows(b""))
def test_a_door_opens_to_who_is_known_and_nothing_is_written_for_anyone_else(
    path: str, row: str
) -> None:
    headers, known = rows(DOORS[path][0])[row]

    status, written = post(path, headers, tokens=TOKENS, hmac_secrets=KEYS)

    assert len(rows(b"")) == 24
    assert status in ((200, 202) if known else (401,))
    assert known or written == 0


@pytest.mark.parametrize("path", DOORS)
def test_while_nobody_said_who_may_send_no_other_machine_may(path: str) -> None:
    for headers in ({}, bearer("current"), basic("a:b"), sign(NEW, DOORS[path][0])):
        assert post(path, headers) == (401, 0)


# Standard Webhooks: what its own verifiers are tested for


PING = b'{"test": 2432232314}'
SIGNED = sign(NEW, PING)
SIGNATURE = SIGNED["webhook-signature"]
CASES: dict[str, tuple[dict[str, str], bool]] = {
    "valid": (SIGNED, True),
    "no id": ({k: v for k, v in SIGNED.items() if k != "webhook-id"}, False),
    "no time": ({k: v for k, v in SIGNED.items() if k != "webhook-timestamp"}, False),
    "no signature": ({k: v for k, v in SIGNED.items() if k != "webhook-signature"}, False),
    "a time that is no number": (SIGNED | {"webhook-timestamp": "hello"}, False),
    "another time than was signed": (
        SIGNED | {"webhook-timestamp": str(int(NOW.timestamp()) - 1)},
        False,
    ),
    "a signature that is none": (SIGNED | {"webhook-signature": "v1,dGhpcyBpcyBub25l"}, False),
    "half a signature": (SIGNED | {"webhook-signature": SIGNATURE[:8]}, False),
    "a signature's version alone": (SIGNED | {"webhook-signature": "v1,"}, False),
    "a signature without a version": (SIGNED | {"webhook-signature": SIGNATURE[3:]}, False),
    "too old": (sign(NEW, PING, age_s=301), False),
    "just not too old": (sign(NEW, PING, age_s=300), True),
    "too new": (sign(NEW, PING, age_s=-301), False),
    "one of several signatures": (
        SIGNED | {"webhook-signature": f"v1,AAAA v2,BBBB {SIGNATURE} v1,CCCC"},
        True,
    ),
    "a public key's signature": (
        SIGNED | {"webhook-signature": SIGNATURE.replace("v1,", "v1a,")},
        False,
    ),
}


@pytest.mark.covers("INB-02")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("prefix", ["whsec_", ""])
def test_signatures_are_judged_as_standard_webhooks_says(case: str, prefix: str) -> None:
    headers, holds = CASES[case]
    secret = prefix + base64.b64encode(NEW).decode()

    assert signature_known(headers, PING, [secret], now_s=NOW.timestamp()) is holds
    assert not signature_known(headers, PING, [KEYS[0]], now_s=NOW.timestamp())


def test_a_signature_made_by_the_standards_own_library_holds() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    assert signature_known(headers, PING, [secret], now_s=1_614_265_330)
    assert not signature_known(headers, PING + b"\n", [secret], now_s=1_614_265_330)


@pytest.mark.covers("INB-02")
def test_the_bytes_as_they_came_are_what_was_signed_not_what_they_mean() -> None:
    body = DOORS["/alertmanager"][0]
    other = json.dumps(json.loads(body), indent=3).encode()
    assert json.loads(other) == json.loads(body)

    assert post("/alertmanager", sign(NEW, body), hmac_secrets=KEYS)[0] == 202
    assert post("/alertmanager", sign(NEW, body), other, hmac_secrets=KEYS) == (401, 0)
    assert post("/alertmanager", sign(NEW, other), other, hmac_secrets=KEYS)[0] == 202


@pytest.mark.covers("INB-02")
def test_a_key_is_changed_without_a_message_lost_and_the_old_one_ends() -> None:
    body = DOORS["/alertmanager"][0]
    old, new = sign(OLD, body), sign(NEW, body)
    both = old | {"webhook-signature": f"{old['webhook-signature']} {new['webhook-signature']}"}
    lives = {"before": KEYS[:1], "while": KEYS, "after": KEYS[1:]}

    taken = {
        life: [post("/alertmanager", h, hmac_secrets=keys)[0] for h in (old, both, new)]
        for life, keys in lives.items()
    }

    assert taken == {"before": [202, 202, 401], "while": [202] * 3, "after": [401, 202, 202]}


# CloudEvents' handshake


ASKED = {"webhook-request-origin": "events.example.com", "webhook-request-rate": "120"}


def ask(headers: Mapping[str, str], *origins: str) -> httpx.Response:
    async def options() -> httpx.Response:
        made = app(
            sink=Kept(), store=MemoryStore(), cluster="here", clock=lambda: NOW,
            tokens=TOKENS, origins=origins,
        )  # fmt: skip
        transport = httpx.ASGITransport(made, client=("10.0.0.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.options("/events", headers=headers)

    return asyncio.run(options())


def told(answer: httpx.Response) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if k.startswith("webhook-")}


@pytest.mark.covers("CE-10")
def test_an_origin_on_the_list_is_named_with_a_rate_that_holds_and_another_hears_nothing() -> None:
    named = {"webhook-allowed-origin": "events.example.com"}
    allowed = ask(ASKED, "events.example.com", "other.example.com")

    assert (allowed.status_code, allowed.headers["allow"]) == (200, "POST, OPTIONS")
    assert told(allowed) == named | {"webhook-allowed-rate": "120"}
    for rate, answered in (("999999", "6000"), ("0", "6000"), ("-1", "6000"), ("*", "6000")):
        asked = ASKED | {"webhook-request-rate": rate}
        assert told(ask(asked, "events.example.com"))["webhook-allowed-rate"] == answered
    assert (
        told(ask({"webhook-request-origin": "events.example.com"}, "events.example.com")) == named
    )

    unknown = [
        ask(ASKED, "other.example.com"),
        ask(ASKED, "example.com", ".example.com", "events.example.com.evil.example"),
        ask({}, "events.example.com"),
        ask(ASKED | {"webhook-request-origin": "*"}, "events.example.com"),
        ask(ASKED),  # nobody is on the list unless the operator says so
    ]
    assert [answer.status_code for answer in unknown] == [405] * 5
    assert [told(answer) for answer in unknown] == [{}] * 5


def test_an_origin_on_the_list_needs_credentials_all_the_same() -> None:
    status = post("/events", {"origin": "events.example.com"}, origins=("events.example.com",))

    assert status == (401, 0)
