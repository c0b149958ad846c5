"""A mail server on loopback, with or without TLS, that answers as it is told."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from faultline.adapters.outlets.email import EmailOutlet

USER, PASSWORD = "faultline", "very-secret-mail-password"


class Mailbox:
    """What came in. `says` answers instead of a 250: by recipient, or by DATA and MAIL."""

    def __init__(self, **says: str) -> None:
        self.raw: list[bytes] = []
        self.to: list[list[str]] = []
        self.logins: list[bool] = []
        self.encrypted: list[bool] = []
        self.says: dict[str, str] = says

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(raw, policy=default) for raw in self.raw]  # type: ignore[misc]

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.says.get("MAIL", "250 2.1.0 OK")

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.says:
            return self.says[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        if "DATA" in self.says:
            return self.says["DATA"]
        self.raw.append(bytes(envelope.content or b""))
        self.to.append(list(envelope.rcpt_tos))
        self.encrypted.append(server.transport.get_extra_info("cipher") is not None)
        return "250 2.0.0 kept"

    def login(self, server: Any, session: Any, envelope: Any, how: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
        self.logins.append(good)
        return AuthResult(success=good, handled=good)


class MailServer:
    """Listens at `url` until stopped. `tls`: as in EmailOutlet's addresses; `folder`: for keys."""

    def __init__(self, box: Mailbox, *, tls: str = "smtp+plain", folder: Path | None = None):
        self.trust: ssl.SSLContext | None = None
        more: dict[str, Any] = {}
        if folder is not None and tls != "smtp+plain":
            certificate = make_certificate(folder)
            ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ours.load_cert_chain(certificate)
            self.trust = ssl.create_default_context(cafile=str(certificate))
            more = {"authenticator": box.login, "auth_require_tls": tls == "smtp"}
            more["ssl_context" if tls == "smtps" else "tls_context"] = ours
        self._controller = Controller(box, hostname="127.0.0.1", port=0, **more)
        self._controller.port = free_port()
        self._controller.start()
        self.url = f"{tls}://127.0.0.1:{self._controller.port}"

    def outlet(self, clock: Any, **more: Any) -> EmailOutlet:
        given: dict[str, Any] = {
            "sender": "faultline@acme.example", "to": ["oncall@acme.example"], "trust": self.trust,
        }  # fmt: skip
        return EmailOutlet(self.url, clock=clock, **(given | more))

    def stop(self) -> None:
        self._controller.stop()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificate(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 with its key, good for a day."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "mail.pem"
    plain = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file
