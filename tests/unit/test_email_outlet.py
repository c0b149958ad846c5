"""E-mail over real connections: threads, what is said, TLS and logins, and what replies mean."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from outlet_world import FILE, INCIDENT, NOW, Hour, report, repository
from smtp_world import PASSWORD, USER, Mailbox, MailServer, free_port

from faultline.adapters.outlets.email import EmailOutlet, mail, server
from faultline.errors import Rejected, Unavailable
from faultline.model import Diagnosis, Report, Resource

PULL = "https://github.com/acme/shop/pull/7"
Open = Callable[..., tuple[Mailbox, MailServer]]
BAD = (
    "a\r\nBcc: eve@evil.example\r\n\r\nhello <script>alert(1)</script> "
    "<img src=https://evil.example/i.png> https://evil.example @ada \x1b[2J \u202e =?utf-8?q?x?= "
)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    servers: list[MailServer] = []

    def start(tls: str = "smtp+plain", **says: str) -> tuple[Mailbox, MailServer]:
        box = Mailbox(**says)
        servers.append(MailServer(box, tls=tls, folder=tmp_path))
        return box, servers[-1]

    yield start
    for one in servers:
        one.stop()


def ended(told: Report, **more: Any) -> Report:
    return told.model_copy(update={"ending": "Closed: the faults have cleared."} | more)


# what comes


def test_a_message_has_text_and_html_the_fields_the_link_and_the_diff(
    opened: Open, tmp_path: Path
) -> None:
    box, place = opened()

    told = report(repository(tmp_path / "shop"), links={"github": PULL})
    receipt = place.outlet(Hour()).deliver(told, None)

    [message] = box.messages
    assert message["subject"] == "[Faultline #1] KubePodCrashLooping: cluster on prod"
    assert message["from"] == "Faultline <faultline@acme.example>"
    assert message["to"] == "oncall@acme.example"
    assert message["auto-submitted"] == "auto-generated"
    assert message["date"].datetime > NOW
    assert message["message-id"] == f"<{receipt.reference}>"
    [plain, page] = message.iter_parts()
    assert (plain.get_content_type(), page.get_content_type()) == ("text/plain", "text/html")
    for part in (plain, page):
        text = part.get_content()
        assert PULL in text
        assert FILE in text
        assert "64Mi" in text
        assert INCIDENT.id in text
    assert max(map(len, box.raw[0].split(b"\r\n"))) <= 78


def test_what_is_told_later_joins_the_thread_and_comes_once(opened: Open) -> None:
    box, place = opened()
    outlet, told = place.outlet(Hour()), report()
    second = told.model_copy(update={"run": 2, "title": "api: another cause"})

    first = outlet.deliver(told, None)
    assert outlet.deliver(told, first) == first
    outlet.deliver(second, first)
    outlet.deliver(ended(second), first)
    outlet.deliver(ended(second, held="The fix held."), first)

    ids = [message["message-id"] for message in box.messages]
    domain, id = "acme.example", INCIDENT.id
    assert ids == [f"<{id}-{n}@{domain}>" for n in ("1", "2", "2-ended", "2-held")]
    assert box.messages[0]["in-reply-to"] is None
    assert {m["in-reply-to"] for m in box.messages[1:]} == {ids[0]}
    assert all(f"<{id}@{domain}>" in m["references"] for m in box.messages)
    subjects = {m["subject"].removeprefix("Re: ") for m in box.messages}
    assert len(subjects) == 1
    assert "faults have cleared" in box.messages[2].get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_a_message_that_comes_again_has_the_id_and_the_parts_of_the_first(opened: Open) -> None:
    box, place = opened()

    for _ in range(2):
        place.outlet(lambda: NOW).deliver(report(), None)

    assert box.raw[0] == box.raw[1]


def test_long_names_break_no_id_and_no_line(opened: Open) -> None:
    box, place = opened()
    incident = INCIDENT.model_copy(update={"id": "20261121-aaaaaaaaaaaaaaaaaaaaaaaa-5c1e9b2a"})
    sender = "faultline@a-rather-long-host.of.a-long-company.example"
    long = report(incident=incident)
    outlet = place.outlet(Hour(), sender=sender)

    outlet.deliver(ended(long), outlet.deliver(long, None))

    told = box.messages[1]
    assert told["message-id"] == f"<{incident.id}-1-ended@{sender.partition('@')[2]}>"
    assert told["references"].count("<") == 2
    assert "=?" not in str(told["references"])


class Nodes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, str]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {(tag, name) for name, _ in attrs} | {(tag, "")}


def test_nothing_from_a_cluster_gets_into_a_header_or_acts(opened: Open) -> None:
    box, place = opened()
    where = Resource(kind=BAD, name=BAD, namespace=BAD)
    fault = INCIDENT.fault.model_copy(update={"name": BAD, "cluster": BAD, "resource": where})
    bad = report(
        incident=INCIDENT.model_copy(update={"fault": fault}),
        diagnosis=Diagnosis(title=BAD, root_cause=BAD * 30, witty_line=BAD[:100]),
        title=BAD,
        ending=BAD,
        links={"report": "javascript:alert(1)", "github": "https://x.example/\r\nBcc: e@e.example"},
    )

    place.outlet(Hour(), author=BAD).deliver(bad, None)

    [message] = box.messages
    known = "From To Subject Date Message-ID References Auto-Submitted Content-Type MIME-Version"
    head = box.raw[0].split(b"\r\n\r\n", 1)[0].decode("ascii")
    names = [line.split(":")[0] for line in head.split("\r\n") if not line.startswith((" ", "\t"))]
    assert {name for name in names if not name.startswith("X-")} == set(known.split())
    assert len(names) == len(set(names))
    assert message["bcc"] is None
    assert box.to == [["oncall@acme.example"]]
    html = message.get_body(("html",)).get_content()  # type: ignore[union-attr]
    nodes = Nodes()
    nodes.feed(html)
    tags = {tag for tag, _ in nodes.seen}
    assert not tags & {"script", "img", "a", "iframe", "style", "link", "form", "svg"}
    assert {name for _, name in nodes.seen} <= {"", "lang", "charset", "align"}
    assert "https://evil" not in html
    plain = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "\x1b" not in plain
    assert "https://evil" not in plain


def test_a_dot_on_a_line_of_its_own_ends_nothing(opened: Open) -> None:
    box, place = opened()

    place.outlet(Hour()).deliver(report(patch="+a\n.\n..\n+b\n"), None)

    [message] = box.messages
    assert "+a\r\n.\r\n..\r\n+b\r\n" in message.get_body(("plain",)).get_content()  # type: ignore[union-attr]


# how it goes there


@pytest.mark.parametrize("tls", ["smtp", "smtps"])
def test_with_tls_it_logs_in_and_sends(tls: str, opened: Open) -> None:
    box, place = opened(tls)

    place.outlet(Hour(), login=(USER, PASSWORD)).deliver(report(), None)

    assert (box.encrypted, box.logins) == ([True], [True])


@pytest.mark.parametrize("tls", ["smtp", "smtps"])
def test_a_certificate_that_nobody_vouches_for_gets_nothing(tls: str, opened: Open) -> None:
    box, place = opened(tls)

    with pytest.raises(Unavailable, match="SSL_CERT_FILE"):
        place.outlet(Hour(), trust=None, login=(USER, PASSWORD)).deliver(report(), None)

    assert box.logins == []


def test_a_server_without_starttls_gets_neither_mail_nor_password(opened: Open) -> None:
    box, place = opened()
    url = place.url.replace("smtp+plain", "smtp")
    outlet = EmailOutlet(
        url, sender="f@acme.example", to=["o@acme.example"], clock=Hour(), login=(USER, PASSWORD)
    )

    with pytest.raises(Rejected, match="STARTTLS"):
        outlet.deliver(report(), None)

    assert (box.raw, box.logins) == ([], [])


def test_a_wrong_password_is_refused_and_shown_to_nobody(opened: Open) -> None:
    box, place = opened("smtp")

    with pytest.raises(Rejected, match="535") as caught:
        place.outlet(Hour(), login=(USER, "hunter2-hunter2")).deliver(report(), None)

    assert "hunter2" not in str(caught.value)
    assert (set(box.logins), box.raw) == ({False}, [])


def test_a_user_without_a_password_starts_and_is_refused_when_it_tells(opened: Open) -> None:
    _, place = opened("smtp")

    with pytest.raises(Rejected, match="smtp_password"):
        place.outlet(Hour(), login=(USER, "")).deliver(report(), None)


# what replies mean


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ({"MAIL": "450 4.7.1 greylisted"}, Unavailable),
        ({"MAIL": "550 5.7.1 not you"}, Rejected),
        ({"oncall@acme.example": "451 4.3.0 later"}, Unavailable),
        ({"oncall@acme.example": "550 5.1.1 nobody"}, Rejected),
        ({"DATA": "452 4.3.1 full"}, Unavailable),
        ({"DATA": "554 5.6.0 spam"}, Rejected),
        ({"MAIL": "421 4.3.2 going down"}, Unavailable),
    ],
)
def test_4yz_is_tried_again_and_5yz_never(
    says: dict[str, str], kind: type[Exception], opened: Open
) -> None:
    box, place = opened(**says)

    with pytest.raises(kind) as caught:
        place.outlet(Hour()).deliver(report(), None)

    assert box.raw == []
    assert not any(word in str(caught.value) for word in ("greylisted", "not you", "spam"))


def test_one_of_several_who_has_to_wait_makes_all_wait(opened: Open) -> None:
    box, place = opened(**{"b@acme.example": "451 4.7.1 greylisted"})

    with pytest.raises(Unavailable, match=r"451 4\.7\.1"):
        place.outlet(Hour(), to=["a@acme.example", "b@acme.example"]).deliver(report(), None)

    assert box.raw == []


def test_one_of_several_who_is_refused_for_good_stops_nobody_else(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    box, place = opened(**{"b@acme.example": "550 5.1.1 nobody"})

    to = ["a@acme.example", "b@acme.example"]
    receipt = place.outlet(Hour(), to=to).deliver(report(), None)

    assert box.to == [["a@acme.example"]]
    assert receipt.details["refused"] == "b@acme.example"
    assert "550 5.1.1" in caplog.text


def answering(*lines: bytes) -> tuple[int, threading.Thread]:
    """Answer one connection with these lines, one for each that comes; then hang up."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as one, one.makefile("rb") as said:
            for line in lines:
                one.sendall(line)
                if not said.readline():
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listening.getsockname()[1], thread


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ((b"554 no service here\r\n",), Rejected),
        ((b"421 too busy\r\n",), Unavailable),
        ((b"HTTP/1.1 400 Bad Request\r\n",), Unavailable),
        ((b"220 hello\r\n", b"250 hello\r\n"), Unavailable),  # gone after MAIL
        ((b"\xff\xfe\r\n",), Unavailable),
    ],
)
def test_whoever_is_no_mail_server_or_hangs_up_is_one_of_two_errors(
    lines: tuple[bytes, ...], kind: type[Exception]
) -> None:
    port, thread = answering(*lines)
    outlet = EmailOutlet(
        f"smtp+plain://127.0.0.1:{port}", sender="f@a.example", to=["o@a.example"], clock=Hour()
    )

    with pytest.raises(kind):
        outlet.deliver(report(), None)
    thread.join(5)


def test_nobody_there_is_worth_another_try() -> None:
    outlet = EmailOutlet(
        f"smtp+plain://127.0.0.1:{free_port()}", sender="f@a.example", to=["o@a.example"],
        clock=Hour(),
    )  # fmt: skip

    with pytest.raises(Unavailable):
        outlet.deliver(report(), None)


# settings


@pytest.mark.parametrize(
    "url",
    ["", "mail.example", "http://mail.example", "smtp://", "smtp://u:p@mail.example",
     "smtp://mail.example:port", "smtp://mail.example/x", "smtps://[x"],
)  # fmt: skip
def test_what_is_no_mail_server_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Rejected, match="smtp_url") as caught:
        server(url)

    assert "u:p" not in str(caught.value)


def test_each_kind_of_server_has_its_usual_port() -> None:
    ports = [server(f"{tls}://m.example").port for tls in ("smtps", "smtp", "smtp+plain")]

    assert ports == [465, 587, 25]
    assert server("smtp://m.example:2525").port == 2525


@pytest.mark.parametrize(
    "address",
    ["", "ada", "ada@", "@acme.example", "ada@acme.example\r\nRCPT TO:<e@e.example>",
     "a b@c.example",
     "<ada@acme.example>", "ada@acme.example>", "ada@ä.example", "ada@acme.example,eve@e.example"],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_the_name_of_its_setting(address: str) -> None:
    made = {"clock": Hour()}
    with pytest.raises(Rejected, match="email_to"):
        EmailOutlet("smtp://m.example", sender="f@a.example", to=[address], **made)
    with pytest.raises(Rejected, match="email_from"):
        EmailOutlet("smtp://m.example", sender=address, to=["o@a.example"], **made)


def test_nobody_to_tell_and_a_password_in_the_open_are_refused() -> None:
    made = {"sender": "f@a.example", "clock": Hour()}
    with pytest.raises(Rejected, match="email_to"):
        EmailOutlet("smtp://m.example", to=[], **made)
    with pytest.raises(Rejected, match="smtp_user"):
        EmailOutlet("smtp+plain://m.example", to=["o@a.example"], login=(USER, PASSWORD), **made)


def test_the_parts_that_a_dry_run_writes_are_those_that_are_sent(opened: Open) -> None:
    box, place = opened()

    place.outlet(Hour()).deliver(report(), None)

    sent = message_from_bytes(box.raw[0], policy=default)
    for kind in ("plain", "html"):
        assert sent.get_body((kind,)).get_content().replace("\r", "") == mail(report())[kind]  # type: ignore[union-attr]
