"""E-mail, over SMTP: one thread for each incident, as text and as simple HTML.

The ids of messages follow from incident and run, so a message that comes again (a lost reply) has
the id of the first: many mailboxes show it once, none has to. So the last hop is at least once.
Somebody who is refused for now is waited for before anybody is told; somebody who is refused for
good stops nobody else. Sources: RFC 5321 (replies, section 4.2.1), 5322 (threads, 3.6.4), 3207
(STARTTLS), 3834 (what no out-of-office note should answer).
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import smtplib
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.charset import QP, Charset
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime
from urllib.parse import urlsplit

from faultline.adapters import posting
from faultline.adapters.outlets.summary import Summary, summary
from faultline.errors import FaultlineError, Rejected, Unavailable
from faultline.model import Merged, Receipt, Report
from faultline.views.neutral import inert
from faultline.views.render import BRAND, diff_lines, environment

TIMEOUT_S = 20.0
RECIPIENTS_MAX = 50
_PORTS = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.?){1,8}")
_WIRE = compat32.clone(linesep="\r\n")  # the newer policy encodes ids that are longer than a line
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Server:
    """Where mail is given to: `smtps` speaks TLS from the start, `smtp` insists on STARTTLS."""

    host: str
    port: int
    tls: str  # smtps, smtp, smtp+plain


def server(url: str) -> Server:
    """Read `smtp://mail.example:587`. Raises Rejected for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    bare = not (parts.username or parts.password or parts.path.strip("/") or parts.query)
    if not host or parts.scheme not in _PORTS or not bare:
        raise Rejected(
            "smtp_url: expected smtps://host, smtp://host (with STARTTLS) or smtp+plain://host "
            "(without TLS), with a port if need be; user and password are settings of their own"
        )
    return Server(host, port or _PORTS[parts.scheme], parts.scheme)


class EmailOutlet:
    """Tells these people. Raises Unavailable, Rejected."""

    name = "email"

    def __init__(
        self,
        url: str,
        *,
        sender: str,
        to: Sequence[str],
        clock: Callable[[], dt.datetime],
        login: tuple[str, str] = ("", ""),
        author: str = BRAND,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._server, self._trust = server(url), trust
        self._sender = _address("email_from", sender)
        self._to = [_address("email_to", one) for one in to]
        if not 0 < len(self._to) <= RECIPIENTS_MAX:
            raise Rejected(f"email_to: expected 1 to {RECIPIENTS_MAX} addresses, got {len(to)}")
        self._clock, self._login, self._author = clock, login, author
        if login[0] and self._server.tls == "smtp+plain":
            raise Rejected("smtp_user: expected smtps:// or smtp://, for a password travels there")

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Write once for each run, at the end, and when it is known if a fix held."""
        end = "-held" if report.held else "-ended" if report.ending else ""
        id = f"{report.incident.id}-{report.run}{end}"
        if receipt and receipt.details.get("run") == str(report.run) and not end:
            return receipt
        now = self._clock()
        refused = self._send(self._message(id, report, receipt, now))
        if receipt:
            return receipt
        made = posting.receipt(self.name, report, now, f"{id}@{self._domain}")
        return made.model_copy(update={"details": made.details | refused})

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing is merged in a mailbox."""
        return None

    @property
    def _domain(self) -> str:
        return self._sender.rpartition("@")[2]

    def _message(self, id: str, report: Report, receipt: Receipt | None, now: dt.datetime) -> bytes:
        told = mail(report)
        message = MIMEMultipart("alternative", boundary=f"=_{id}")  # not in RFC 2045's printable
        message["From"] = f'"{_quoted(self._author)}" <{self._sender}>'
        message["To"] = ", ".join(self._to)
        message.add_header(
            "Subject", Header(f"Re: {told['subject']}" if receipt else told["subject"]).encode()
        )
        message["Date"] = format_datetime(now)
        message["Auto-Submitted"] = "auto-generated"
        printable = Charset("utf-8")
        printable.body_encoding = QP
        for kind in ("plain", "html"):
            message.attach(MIMEText(told[kind], kind, printable))  # type: ignore[arg-type]
        return self._thread(id, report, receipt) + message.as_bytes(policy=_WIRE)

    def _thread(self, id: str, report: Report, receipt: Receipt | None) -> bytes:
        """Return the headers that hold a thread together, each in one line, however long."""
        first = f"<{receipt.reference}>" if receipt else ""
        headers = {
            "Message-ID": f"<{id}@{self._domain}>",
            "In-Reply-To": first,
            "References": f"<{report.incident.id}@{self._domain}> {first}".strip(),
        }
        return "".join(f"{k}: {v}\r\n" for k, v in headers.items() if v).encode("ascii")

    def _send(self, message: bytes) -> dict[str, str]:
        """Hand it over; return who was refused for good, if somebody was."""
        try:
            smtp = self._connected()
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise _failure(error, self._server.host) from None
        try:
            return self._handed_over(smtp, message)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise _failure(error, self._server.host) from None
        finally:
            with suppress(smtplib.SMTPException, OSError):  # what is accepted is accepted
                smtp.quit()
            smtp.close()

    def _connected(self) -> smtplib.SMTP:
        at, tls = self._server, self._server.tls
        if self._login[0] and not self._login[1]:
            raise Rejected("smtp_password: expected one beside smtp_user")
        trust = self._trust or ssl.create_default_context()
        hello = self._domain
        if tls == "smtps":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                at.host, at.port, hello, timeout=TIMEOUT_S, context=trust
            )
        else:
            smtp = smtplib.SMTP(at.host, at.port, hello, TIMEOUT_S)
        try:
            if tls == "smtp":
                smtp.starttls(context=trust)
            if self._login[0]:
                smtp.login(*self._login)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _handed_over(self, smtp: smtplib.SMTP, message: bytes) -> dict[str, str]:
        smtp.ehlo_or_helo_if_needed()
        _expected(smtp.mail(self._sender), "the sender")
        refused = []
        for one in self._to:
            code, said = smtp.rcpt(one)
            if 500 <= code < 600:
                refused.append(one)
                log.warning("e-mail to one of email_to is refused: %s", _reply(code, said))
            else:
                _expected((code, said), "a recipient")
        if len(refused) == len(self._to):
            raise Rejected("the mail server refused everybody in email_to: are they spelt right?")
        _expected(smtp.data(message), "the message")
        return {"refused": ", ".join(refused)} if refused else {}


def mail(report: Report) -> dict[str, str]:
    """Return what a message says: subject, plain, html. The subject is the same for an incident."""
    found = summary(report)
    values = {"found": found, "patch": report.patch, "diff": diff_lines(report.patch)}
    return {
        "subject": _subject(report, found),
        "plain": environment(html=False).get_template("email.txt.j2").render(values),
        "html": environment(html=True).get_template("email.html.j2").render(values),
    }


def _subject(report: Report, found: Summary) -> str:
    """Mailboxes hold a thread together by its subject, so nothing in it may change."""
    incident, where = report.incident, report.incident.fault.resource
    of = f"{inert(where.kind, 40)}/{inert(where.name, 80)}" if where else "cluster"
    tag = f"[{BRAND} #{incident.episode}]"
    return f"{tag} {inert(incident.fault.name, 80)}: {of} on {inert(incident.fault.cluster, 60)}"


def _quoted(name: str) -> str:
    return re.sub(r"[^ -~]|[\"\\]", "", name)[:60]


def _address(setting: str, text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise Rejected(f"{setting}: expected an address such as oncall@acme.example")
    return text


def _reply(code: int, said: bytes | str) -> str:
    """Return a reply's code and enhanced code (RFC 3463); its words may name people."""
    text = said.decode("ascii", "replace") if isinstance(said, bytes) else said
    detail = re.match(r"[245]\.\d{1,3}\.\d{1,3}", text)
    return f"{code} {detail[0]}" if detail else str(code)


def _expected(answer: tuple[int, bytes], what: str) -> None:
    code, said = answer
    if not 200 <= code < 300:
        raise _refusal(code, said, f"refused {what}")


def _refusal(code: int, said: bytes | str, what: str) -> FaultlineError:
    told = f"the mail server {what}: {_reply(code, said)}"
    if 500 <= code < 600:
        return Rejected(f"{told}; are smtp_user, email_from and email_to right?")
    return Unavailable(told)


def _failure(error: Exception, host: str) -> FaultlineError:
    """Return what an exception of smtplib means: 5yz never again, all else may pass."""
    if isinstance(error, smtplib.SMTPResponseException):
        return _refusal(error.smtp_code, error.smtp_error, "answered")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Rejected(f"{host} offers no STARTTLS or no login: is smtp_url right?")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unavailable(f"{host} shows a certificate that is not trusted; see SSL_CERT_FILE")
    return Unavailable(f"{host} did not answer as a mail server: {type(error).__name__}")
