"""The report as JSON, signed, and a receiver that checks it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from outlet_world import INCIDENT, NOW, report, repository

from faultline.adapters.outlets.webhook import WebhookOutlet, signature
from faultline.errors import Rejected

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
OLD = "whsec_" + base64.b64encode(b"an older secret, 24 bytes").decode()
FILE = Path(__file__).parents[2] / "examples" / "receiver.py"


class Inbox:
    def __init__(self) -> None:
        self.got: list[httpx.Request] = []
        self.client = httpx.Client(transport=httpx.MockTransport(self.take))

    def take(self, request: httpx.Request) -> httpx.Response:
        self.got.append(request)
        return httpx.Response(204)


def sent(*secrets: str, **more: Any) -> httpx.Request:
    inbox = Inbox()
    outlet = WebhookOutlet(
        "https://ops.example/hook", secrets=secrets, clock=lambda: NOW, client=inbox.client
    )
    outlet.deliver(report(**more), None)
    return inbox.got[0]


@pytest.fixture(scope="module")
def receiver() -> ModuleType:
    spec = importlib.util.spec_from_file_location("receiver", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_signature_is_that_of_the_specification() -> None:
    # the example of the Standard Webhooks libraries' own tests
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    id, stamp, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'

    made = signature(key, id, stamp, body)

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_signed_over_the_bytes_that_are_sent() -> None:
    request = sent(SECRET)

    signed = f"{INCIDENT.id}-1.{int(NOW.timestamp())}.".encode() + request.content
    wanted = hmac.new(b"0123456789abcdef01234567", signed, hashlib.sha256).digest()
    assert request.headers["webhook-id"] == f"{INCIDENT.id}-1"
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(wanted).decode()}"


def test_while_a_secret_is_changed_both_sign(receiver: ModuleType) -> None:
    request = sent(SECRET, OLD)

    for secret in (SECRET, OLD):
        assert receiver.problem(request.headers, request.content, secret, NOW.timestamp()) == ""


def test_a_message_that_comes_again_has_the_same_id_and_the_same_bytes() -> None:
    first, again = sent(SECRET), sent(SECRET)

    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.content == again.content


def test_each_run_and_the_end_are_messages_of_their_own() -> None:
    inbox = Inbox()
    outlet = WebhookOutlet("https://x.example", secrets=(), clock=lambda: NOW, client=inbox.client)
    receipt = outlet.deliver(report(), None)

    outlet.deliver(report(), receipt)
    outlet.deliver(report(run=2), receipt)
    outlet.deliver(report(ending="Closed as cleared."), receipt)
    outlet.deliver(report(ending="Closed as cleared. It held.", held="It held."), receipt)

    ids = [request.headers["webhook-id"] for request in inbox.got]
    assert ids == [f"{INCIDENT.id}-{part}" for part in ("1", "2", "1-ended", "1-held")]
    types = [json.loads(request.content)["type"] for request in inbox.got]
    assert types == ["incident.packaged", "incident.packaged", "incident.closed", "fix.settled"]
    assert "webhook-signature" not in inbox.got[0].headers


def test_the_body_is_the_report_with_its_diff_and_without_whole_files(tmp_path: Path) -> None:
    inbox = Inbox()
    outlet = WebhookOutlet("https://x.example", secrets=(), clock=lambda: NOW, client=inbox.client)

    outlet.deliver(report(repository(tmp_path / "shop")), None)

    data = json.loads(inbox.got[0].content)["data"]
    assert data["incident"]["id"] == INCIDENT.id
    assert "+              memory: 256Mi" in data["patch"].replace("\t", " ")
    assert "files" not in data["proposal"]


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "plain words", "whsec_***"])
def test_a_secret_has_the_form_that_receivers_know_and_is_never_shown(secret: str) -> None:
    with pytest.raises(Rejected, match="whsec_") as caught:
        WebhookOutlet("https://x.example", secrets=[secret], clock=lambda: NOW, client=object())

    assert not secret or secret not in str(caught.value) or secret == "whsec_"


# the example receiver


@pytest.mark.parametrize("seconds", [-301, 301])
def test_the_receiver_refuses_what_is_too_old_or_from_the_future(
    receiver: ModuleType, seconds: int
) -> None:
    request = sent(SECRET)
    now = NOW.timestamp() + seconds

    assert "too old" in receiver.problem(request.headers, request.content, SECRET, now)


def test_the_receiver_refuses_other_bytes_and_other_secrets(receiver: ModuleType) -> None:
    request = sent(SECRET)
    now = NOW.timestamp()

    assert "signature" in receiver.problem(request.headers, request.content + b" ", SECRET, now)
    assert "signature" in receiver.problem(request.headers, request.content, OLD, now)
    assert "expected" in receiver.problem({}, request.content, SECRET, now)


@pytest.fixture
def listening(receiver: ModuleType) -> Iterator[str]:
    kind = type("Here", (receiver.Receiver,), {"secret": SECRET, "seen": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_receiver_prints_a_message_once_and_takes_it_again(
    listening: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import datetime as dt

    outlet = WebhookOutlet(listening, secrets=[SECRET], clock=lambda: dt.datetime.now(dt.UTC))

    for _ in range(2):
        outlet.deliver(report(), None)

    said = capsys.readouterr().out
    assert said.count(f"got: {INCIDENT.id}-1") == 1
    assert f"again: {INCIDENT.id}-1" in said
    assert said.count('"root_cause"') == 1


def test_the_receiver_answers_401_to_a_stranger(listening: str) -> None:
    outlet = WebhookOutlet(listening, secrets=[OLD], clock=lambda: NOW)

    with pytest.raises(Rejected, match="401"):
        outlet.deliver(report(), None)
