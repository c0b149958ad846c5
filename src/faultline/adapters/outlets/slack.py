"""Slack, with a bot's token: one message per incident, edited, what follows in its thread.

Slack has no key against duplicates, so each message carries metadata with the incident's id: before
one is posted the channel is searched for it, and a message whose reply was lost is adopted. The bot
needs chat:write, channels:history (groups:history) and metadata.message:read. With the address of
an incoming webhook alone nothing can be found or edited: `SlackWebhookOutlet`, at least once.
Source: docs.slack.dev, methods chat.postMessage, chat.update, conversations.history and .replies.
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from faultline.adapters import posting
from faultline.adapters.outlets.summary import Summary, summary
from faultline.errors import Busy, FaultlineError, Rejected, Unavailable
from faultline.model import Merged, Receipt, Report

EVENT = "faultline_incident"
PAGES_MAX = 20
LOOK_HOLDS_S = 60.0  # less than it takes a broker to give an event to somebody else
_PASSING = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)
_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})


class SlackOutlet:
    """Tells one channel, named by its id. Raises Busy, Unavailable, Rejected."""

    name = "slack"

    def __init__(
        self,
        token: str,
        channel: str,
        *,
        clock: Callable[[], dt.datetime],
        url: str = "https://slack.com/api",
        client: Any = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not re.fullmatch(r"[CG][A-Z0-9]{5,20}", channel):
            raise Rejected(f"slack_channel: expected an id such as C0123456789, got {channel!r}")
        self._token, self._channel, self._clock = token, channel, clock
        self._url = url.rstrip("/")
        self._client = client or posting.client(self._url)
        self._monotonic = monotonic

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Post the incident's message, or edit it; say in its thread what is new."""
        began_s = self._monotonic()
        stamp, run = self._known(receipt) or self._find(report)
        run = run or str(report.run)
        sent = payload(summary(report)) | self._metadata(report, "report", run)
        if not stamp:
            self._still_so(began_s)
            stamp, there = self._call("chat.postMessage", sent), True
        else:
            there = self._edit(stamp, sent)
        if there and run != str(report.run):
            self._reply(stamp, report, f"run-{report.run}", self._news(report))
        if there and report.ending:
            self._reply(stamp, report, "ended", report.ending)
        if there and report.held:
            self._reply(stamp, report, "held", report.held)
        made_at = receipt.made_at if receipt else self._clock()
        details = {"channel": self._channel, "run": run, "incident": report.incident.id}
        return Receipt(outlet=self.name, reference=stamp, made_at=made_at, details=details)

    def _still_so(self, looked_at_s: float) -> None:
        """Raise Unavailable if it is long ago that no message was there.

        We may have been stopped, and somebody else have posted it since: it is looked for again.
        """
        if self._monotonic() - looked_at_s > LOOK_HOLDS_S:
            raise Unavailable("Slack was searched too long ago to post now")

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing is merged in a chat."""
        return None

    def summarize(self, note: str, text: str, *, since: dt.datetime) -> str:
        """Post the message that carries this note, or edit it; return its time stamp."""
        marks = {"event_type": EVENT, "event_payload": {"note": note}}
        sent = {"text": escaped(text), "metadata": marks} | _QUIET
        asked = {"oldest": str(since.timestamp() - 60), "include_all_metadata": True}
        for message in self._pages("conversations.history", asked):
            if _payload(message).get("note") == note:
                self._edit(str(message["ts"]), sent)
                return str(message["ts"])
        return self._call("chat.postMessage", sent)

    def _known(self, receipt: Receipt | None) -> tuple[str, str] | None:
        if receipt is None or receipt.details.get("channel") != self._channel:
            return None
        return receipt.reference, receipt.details.get("run", "")

    def _find(self, report: Report) -> tuple[str, str]:
        """Return (time stamp, run) of the incident's message; ("", "") if there is none."""
        oldest = str(report.incident.opened_at.timestamp() - 60)
        asked = {"oldest": oldest, "include_all_metadata": True}
        for message in self._pages("conversations.history", asked):
            if (known := _payload(message)).get("incident") == report.incident.id:
                return str(message["ts"]), str(known.get("run", ""))
        return "", ""

    def _reply(self, stamp: str, report: Report, note: str, text: str) -> None:
        """Say something in the thread, once."""
        asked = {"ts": stamp, "include_all_metadata": True}
        for message in self._pages("conversations.replies", asked):
            if _payload(message).get("note") == note:
                return
        marks = self._metadata(report, note, str(report.run))
        said = {"text": escaped(text), "thread_ts": stamp} | _QUIET | marks
        self._call("chat.postMessage", said)

    def _news(self, report: Report) -> str:
        found = summary(report)
        return f"Run {report.run}: {found.cause_title}: {found.cause} {found.action}"

    def _edit(self, stamp: str, sent: dict[str, Any]) -> bool:
        try:
            self._call("chat.update", sent | {"ts": stamp})
        except _GoneError:  # a person deleted it: it is not posted again
            return False
        return True

    def _metadata(self, report: Report, note: str, run: str) -> dict[str, Any]:
        known = {"incident": report.incident.id, "note": note, "run": run}
        return {"metadata": {"event_type": EVENT, "event_payload": known}}

    def _pages(self, method: str, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        cursor = ""
        for _ in range(PAGES_MAX):
            more = {"cursor": cursor} if cursor else {}
            said = self._post(method, asked | {"limit": 200} | more)
            yield from said.get("messages", ())
            cursor = (said.get("response_metadata") or {}).get("next_cursor", "")
            if not cursor:
                return

    def _call(self, method: str, body: dict[str, Any]) -> str:
        return str(self._post(method, body)["ts"])

    def _post(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        if not self._token:  # each process has its own Secret; only one that tells needs this
            raise Rejected("slack_token: expected one beside slack_channel")
        headers = {"Authorization": f"Bearer {self._token}"}
        wanted = {"channel": self._channel} | body
        to, url = f"Slack, {method}", f"{self._url}/{method}"
        if method.startswith("conversations."):  # these take no JSON
            form = {k: str(v).lower() if v is True else str(v) for k, v in wanted.items()}
            answer = posting.send(self._client, "POST", url, to=to, data=form, headers=headers)
        else:
            answer = posting.send(self._client, "POST", url, to=to, json=wanted, headers=headers)
        try:
            said = answer.json()
        except ValueError:
            raise Unavailable(f"{to}: expected JSON") from None
        if not isinstance(said, dict) or not said.get("ok"):
            raise _error(said if isinstance(said, dict) else {}, answer, to)
        return said


class _GoneError(Rejected):
    """The message is not there any more, or not ours."""


def _error(said: dict[str, Any], answer: Any, to: str) -> FaultlineError:
    code = re.sub(r"[^a-z_]", "", str(said.get("error", "")))[:60] or "nothing"
    if code in ("ratelimited", "rate_limited"):
        wait_s = posting.wait(answer.headers.get("retry-after", ""))
        return Busy(f"{to} has no room for us: wait {wait_s} s", retry_after_s=wait_s)
    if code in _PASSING:
        return Unavailable(f"{to} answered {code}")
    if code in _GONE:
        return _GoneError(f"{to} answered {code}")
    needed = re.sub(r"[^a-z_:.,]", "", str(said.get("needed", "")))[:100]
    more = f", it needs {needed}" if needed else ""
    return Rejected(f"{to} answered {code}{more}: check token, scopes and that the bot is invited")


def _payload(message: dict[str, Any]) -> dict[str, Any]:
    found = message.get("metadata") or {}
    return found.get("event_payload") or {} if found.get("event_type") == EVENT else {}


class SlackWebhookOutlet:
    """Tells the channel of an incoming webhook: no edits, and what follows is a new message."""

    name = "slack"

    def __init__(self, url: str, *, clock: Callable[[], dt.datetime], client: Any = None) -> None:
        self._url, self._clock = url, clock
        self._client = client or posting.client(self._url)

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Post the message once; later only what is new. Raises Busy, Unavailable, Rejected."""
        found = summary(report)
        run = receipt.details.get("run", "") if receipt else ""
        if not receipt or not (report.ending or run == str(report.run)):
            self._post(payload(found))
        if receipt and report.ending:
            self._post({"text": escaped(f"{found.title}: {found.ending}")})
        if receipt:
            return receipt
        return posting.receipt(self.name, report, self._clock())

    def merged(self, receipt: Receipt) -> Merged | None:
        """Nothing is merged in a chat."""
        return None

    def _post(self, body: dict[str, Any]) -> None:
        posting.send(self._client, "POST", self._url, to="Slack's webhook", json=body | _QUIET)


# the message

_QUIET = {"unfurl_links": False, "unfurl_media": False}


def escaped(text: str) -> str:
    """Write the three characters that act in Slack so that they do not."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def payload(found: Summary) -> dict[str, Any]:
    """Return a message as Block Kit, below 10 KB."""
    sign = ":white_check_mark:" if found.solved else ":x:"
    fields = [_marked(f"*{name}:*\n{escaped(value)}") for name, value in found.fields]
    joke = [escaped(found.joke)] if found.joke else []
    footer = [_marked(" | ".join([escaped(found.footer), *joke]))]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": f"{sign} {found.title}"[:150]}},
        {"type": "section", "fields": fields},
        _section(f"*{escaped(found.cause_title)}:*\n{escaped(found.cause)}"),
        _section(escaped(found.action)),
        {"type": "context", "elements": footer},
    ]
    if found.ending:
        blocks.insert(4, _section(f"*{escaped(found.ending)}*"))
    if found.buttons:
        blocks.append({"type": "actions", "elements": [_button(*b) for b in found.buttons]})
    words = escaped(f"{found.title}: {found.cause}")
    colour = "good" if found.solved else "danger"
    note = {"color": colour, "fallback": words, "footer": escaped(found.footer)}
    return {"text": words, "blocks": blocks, "attachments": [note]} | _QUIET


def _marked(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _marked(text)}


def _button(words: str, url: str) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": words}, "url": url}
