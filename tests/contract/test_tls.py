"""TLS of our own: a client's certificate as credentials, over a real handshake on loopback."""

from __future__ import annotations

import datetime as dt
import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from test_who_may_send import ALERT, NOW, OTHERS, TOKENS, Kept, basic, bearer, sign

from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.app import Doors, router
from faultline.bridge.gate import Gate, listen, serve_config
from faultline.bridge.intake import Intake
from faultline.doors import tls_of
from faultline.errors import Rejected
from faultline.settings import Settings

BODY = ALERT.read_bytes()
DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates, as a company's own authority does."""

    def __init__(self, folder: Path, name: str) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = self.issue(name, authority=True)

    def issue(self, name: str, *, ends: dt.timedelta = DAY, authority: bool = False) -> Path:
        """Write a certificate and its key into one file."""
        import ipaddress

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        key = self._key if authority else ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 9 * DAY)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(here, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path = self._folder / f"{self._name}-{name}.pem"
        path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, *plain))
        return path


@dataclass
class Served:
    port: int
    sink: Kept
    store: MemoryStore
    ours: Authority
    others: Authority

    def post(self, headers: dict[str, str], certificate: Path | None) -> int:
        """Post an alert; 0 if the handshake was refused."""
        context = ssl.create_default_context(cafile=str(self.ours.file))
        if certificate:
            context.load_cert_chain(certificate)
        client = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)
        try:
            client.request(
                "POST", "/alertmanager", BODY, {"content-type": "application/json"} | headers
            )
            return client.getresponse().status
        except (ssl.SSLError, ConnectionError):
            return 0
        finally:
            client.close()

    def written(self) -> int:
        return len(self.sink.events) + len(list(self.store.list("")))


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "ours"), Authority(folder, "others")


@pytest.fixture
def served(authorities: tuple[Authority, Authority]) -> Iterator[Served]:
    ours, others = authorities
    files = {"tls_cert": str(ours.issue("bridge")), "tls_client_ca": str(ours.file)}
    tls = tls_of(Settings(**files))
    sink, store = Kept(), MemoryStore()
    intake = Intake(sink=sink, store=store, cluster="here", clock=lambda: NOW)
    app = Gate(router(Doors(intake, tokens=TOKENS, certificates=True)))
    bound = listen("127.0.0.1", 0)
    server = uvicorn.Server(serve_config(app, "127.0.0.1", 0, **tls))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Served(bound.getsockname()[1], sink, store, ours, others)
    server.should_exit = True
    thread.join(10)
    bound.close()


@pytest.mark.covers("INB-01")
def test_a_certificate_of_our_authority_opens_and_any_other_ends_in_the_handshake(
    served: Served,
) -> None:
    rows = {
        "nothing": ({}, None, 401),
        "ours": ({}, served.ours.issue("am"), 202),
        "of another authority": ({}, served.others.issue("am"), 0),
        "expired": ({}, served.ours.issue("old", ends=-DAY), 0),
        "signed by nobody": ({}, served.others.file, 0),
        "of another authority, with a token": (bearer("current"), served.others.issue("b"), 0),
        "ours, with a wrong token": (bearer("wrong"), served.ours.issue("c"), 202),
        "none, with a token": (bearer("current"), None, 202),
        "none, with basic": (basic("prometheus:pair"), None, 202),
        "none, with a wrong token": (bearer("wrong"), None, 401),
        "none, signed by a stranger": (sign(OTHERS, BODY), None, 401),
        "a header that says it is known": ({"x-client-verified": "SUCCESS"}, None, 401),
    }
    for row, (headers, certificate, expected) in rows.items():
        before = served.written()
        assert served.post(headers, certificate) == expected, row
        assert expected == 202 or served.written() == before, row
    assert served.written() > 0


def test_plain_http_is_not_spoken_where_tls_is(served: Served) -> None:
    client = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        _ = client.request("POST", "/alertmanager", BODY, bearer("current")), client.getresponse()
    client.close()

    assert served.written() == 0


@pytest.mark.parametrize(
    "files",
    [
        {"tls_client_ca": "{ca}"},
        {"tls_key": "{ca}"},
        {"tls_cert": "/nowhere.pem"},
        {"tls_cert": "{text}"},
        {"tls_cert": "{ca}", "tls_client_ca": "{text}"},
        {"tls_cert": "{ca}", "tls_key": "{other}"},
    ],
)
def test_files_that_cannot_be_used_are_refused_at_the_start(
    files: dict[str, str], authorities: tuple[Authority, Authority], tmp_path: Path
) -> None:
    (tmp_path / "text.pem").write_text("no certificate\n")
    ours, others = authorities
    known = {"ca": ours.file, "other": others.file, "text": tmp_path / "text.pem"}

    with pytest.raises(Rejected, match="tls_cert"):
        tls_of(Settings(**{name: text.format(**known) for name, text in files.items()}))
