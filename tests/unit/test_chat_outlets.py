"""Messages: once per incident where a channel allows it, short, and nothing in them acts."""

from __future__ import annotations

import json
import os
import random
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import httpx
import pytest
from outlet_world import INCIDENT, NOW, Hour, report
from slack_fake import CHANNEL, TOKEN, Said, SlackFake, no

from faultline.adapters.outlets.discord import DiscordOutlet, embed
from faultline.adapters.outlets.slack import LOOK_HOLDS_S, SlackOutlet, SlackWebhookOutlet, payload
from faultline.adapters.outlets.summary import summary
from faultline.adapters.outlets.teams import TeamsOutlet, card
from faultline.adapters.posting import wait
from faultline.errors import Busy, Rejected, TryAgain, Unavailable
from faultline.model import Diagnosis, Report, Resource
from faultline.ports import Outlet

PULL = "https://github.com/acme/shop/pull/7"
SECRET_URL = "https://hooks.example/services/T0/B0/verysecret"
HOSTILE = (
    "<!channel> @here <@U123> <https://evil.example|shop.example> @everyone [a](https://evil.example)"
    " & *bold* `x` ![i](http://evil.example/i.png) www.evil.example \x1b[2J \u202egnp.exe"
)


def slack(fake: SlackFake, channel: str = CHANNEL) -> SlackOutlet:
    return SlackOutlet(TOKEN, channel, clock=Hour(), client=fake.client)


class Inbox:
    """The other end of a webhook's address: keeps what it gets, answers as told."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.got: list[httpx.Request] = []
        self.answers = list(answers)
        self.client = httpx.Client(transport=httpx.MockTransport(self.take))

    def take(self, request: httpx.Request) -> httpx.Response:
        self.got.append(request)
        return self.answers.pop(0) if self.answers else httpx.Response(200, json={"id": "4711"})

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.got]


def hostile() -> Report:
    """Return a report in which everything that comes from a cluster tries to act."""
    fault = INCIDENT.fault.model_copy(
        update={
            "name": HOSTILE,
            "cluster": HOSTILE,
            "resource": Resource(kind=HOSTILE, name=HOSTILE, namespace=HOSTILE),
        }
    )
    diagnosis = Diagnosis(title=HOSTILE, root_cause=HOSTILE * 200, witty_line=HOSTILE[:110])
    return report(
        incident=INCIDENT.model_copy(update={"fault": fault}),
        diagnosis=diagnosis,
        title=HOSTILE * 3,
        ending=HOSTILE,
    )


# what a message says


@pytest.mark.covers("S3-60")
def test_slack_gets_a_header_the_details_and_a_link_to_the_pull_request() -> None:
    found = payload(summary(report(links={"github": PULL})))

    kinds = [block["type"] for block in found["blocks"]]
    assert kinds == ["header", "section", "section", "section", "context", "actions"]
    header, fields, cause, action, context, actions = found["blocks"]
    assert header["text"]["text"].startswith(":white_check_mark: fix(api)")
    assert [f["text"] for f in fields["fields"]] == [
        "*Cluster:*\nprod",
        "*Namespace:*\nnone",
        "*Resource:*\nnone",
        "*Reason:*\nKubePodCrashLooping",
    ]
    assert cause["text"]["text"].startswith("*Root cause (low confidence):*\nThe limit of 64Mi")
    assert "pull request" in action["text"]["text"]
    assert INCIDENT.id in context["elements"][0]["text"]
    assert actions["elements"][0]["url"] == PULL
    assert found["attachments"][0]["color"] == "good"


@pytest.mark.covers("S3-61")
def test_discord_gets_an_embed_that_is_green_with_a_pull_request_and_yellow_without() -> None:
    with_one = embed(summary(report(links={"github": PULL})))
    without = embed(summary(report(links={"github": "https://github.com/acme/shop/issues/3"})))

    assert (with_one["color"], without["color"]) == (0x57F287, 0xFEE75C)
    assert with_one["url"] == PULL
    assert [f["name"] for f in with_one["fields"]][:4] == [
        "Cluster",
        "Namespace",
        "Resource",
        "Reason",
    ]
    assert INCIDENT.id in with_one["footer"]["text"]
    assert "64Mi" in with_one["description"]


def test_no_pull_request_is_claimed_where_none_is() -> None:
    nothing = summary(report(links={}))
    suggested = summary(report(links={}, patch="+ memory: 256Mi\n"))
    issue = summary(report(links={"github": "https://github.com/acme/shop/issues/3"}))
    failed = summary(report(links={}, diagnosis=None))

    assert nothing.action == "No change is proposed. A person has to decide."
    assert suggested.action.startswith("A change is suggested")
    assert failed.action == "No change is proposed. A person has to look."
    assert issue.buttons == (("View issue", "https://github.com/acme/shop/issues/3"),)
    for found in (nothing, suggested, issue, failed):
        assert not found.proposed
        assert "pull request" not in found.action


def test_a_run_without_an_answer_says_so() -> None:
    found = payload(summary(report(diagnosis=None)))

    assert found["blocks"][0]["text"]["text"].startswith(":x:")
    assert found["attachments"][0]["color"] == "danger"


def test_a_long_cause_is_cut_after_a_sentence() -> None:
    long = report().model_copy(
        update={"diagnosis": Diagnosis(title="t", root_cause="A sentence of some length. " * 40)}
    )

    cause = summary(long).cause

    assert cause.endswith("length. …")
    assert len(cause) <= 302


@pytest.mark.parametrize("make", [payload, embed, card])
def test_text_from_a_cluster_mentions_nobody_and_links_nowhere(make: Any) -> None:
    shown = json.dumps(make(summary(hostile())), ensure_ascii=False)

    for acts in ("<!", "<@", "<http", "@here", "@everyone", "://evil", "](", "\x1b", "\u202e"):
        assert acts not in shown, acts
    assert "evil" in shown


@pytest.mark.parametrize(("make", "most"), [(payload, 10_000), (embed, 6_000), (card, 28_000)])
def test_a_message_stays_below_what_its_channel_takes(make: Any, most: int) -> None:
    assert len(json.dumps(make(summary(hostile())))) < most


def test_links_that_are_no_addresses_are_no_buttons() -> None:
    odd = report(links={"github": "javascript:alert(1)", "report": "https://u:p@evil.example/"})

    assert summary(odd).buttons == ()


# Slack, with a token


def test_what_follows_an_incident_stands_in_its_thread() -> None:
    fake = SlackFake()
    outlet = slack(fake)
    receipt = outlet.deliver(report(), None)
    second = report(run=2, title="fix(api): proved remediation [Faultline #1]")

    for _ in range(2):
        outlet.deliver(second, receipt)
        outlet.deliver(second.model_copy(update={"ending": "Closed as cleared."}), receipt)

    [message] = fake.top()
    assert "proved remediation" in message["text"]
    assert [r["text"][:12] for r in fake.replies()] == ["Run 2: Root ", "Closed as cl"]
    assert {r["thread_ts"] for r in fake.replies()} == {message["ts"]}


def test_a_message_whose_reply_was_lost_is_adopted_from_the_channel() -> None:
    fake = SlackFake()
    fake.accidents = lambda method: "lost" if method == "chat.postMessage" else None
    with pytest.raises(Unavailable):
        slack(fake).deliver(report(), None)
    fake.accidents = lambda _: None
    fake.page = 2
    for n in range(5):
        other = INCIDENT.model_copy(update={"id": f"20261121-web-0000000{n}"})
        slack(fake).deliver(report(incident=other), None)

    receipt = slack(fake).deliver(report(), None)

    mine = [m for m in fake.top() if m["metadata"]["event_payload"]["incident"] == INCIDENT.id]
    assert [m["ts"] for m in mine] == [receipt.reference]


def test_a_message_that_a_person_deleted_is_not_posted_again() -> None:
    fake = SlackFake()
    receipt = slack(fake).deliver(report(), None)
    fake.messages.clear()

    again = slack(fake).deliver(report(run=2, ending="Closed."), receipt)

    assert fake.messages == []
    assert again.reference == receipt.reference


def test_after_a_long_stop_between_the_look_and_the_message_it_looks_again() -> None:
    fake, seconds = SlackFake(), iter([0.0, LOOK_HOLDS_S + 1, 100.0])
    late = SlackOutlet(
        TOKEN, CHANNEL, clock=Hour(), client=fake.client, monotonic=lambda: next(seconds)
    )

    with pytest.raises(Unavailable, match="too long ago"):
        late.deliver(report(), None)
    assert fake.messages == []
    slack(fake).deliver(report(), None)  # somebody else did it meanwhile
    late.deliver(report(), None)
    assert len(fake.messages) == 1


def accident(chance: random.Random) -> Any:
    """Lose replies, refuse for a while, fail: one call of six."""

    def act(method: str) -> httpx.Response | Said | str | None:
        dice = chance.random()
        if dice < 0.07:
            return "lost"
        if dice < 0.11:
            return LIMITED
        if dice < 0.14:
            return no("internal_error")
        return BROKEN if dice < 0.17 else None

    return act


OTHER = INCIDENT.model_copy(update={"id": "20261121-web-00000001"})
LIMITED = httpx.Response(429, headers={"Retry-After": "1"})
BROKEN = httpx.Response(502)


def history(seed: int) -> list[str]:
    """Tell one incident twice and another once, by deliveries that come again until they succeed.

    Return what was doubled or is missing.
    """
    chance = random.Random(seed)
    fake = SlackFake()
    fake.accidents = accident(chance)
    outlet = SlackOutlet(TOKEN, CHANNEL, clock=Hour(), client=fake)
    owed = [(INCIDENT, 1), (INCIDENT, 2), (OTHER, 1)]
    receipts: dict[str, Any] = {}
    while owed:
        incident, run = chance.choice(owed)
        told = REPORTS[run].model_copy(update={"incident": incident})
        try:
            receipt = outlet.deliver(told, receipts.get(incident.id))
        except TryAgain:
            continue
        if chance.random() < 0.8:  # else we crashed before the receipt was written
            receipts.setdefault(incident.id, receipt)
            owed.remove((incident, run))
    told = [m["metadata"]["event_payload"]["incident"] for m in fake.top()]
    notes = [(m["thread_ts"], m["metadata"]["event_payload"]["note"]) for m in fake.replies()]
    wanted = {"top-level": (told, 2), "thread": (notes, 2)}
    return [
        f"seed {seed}, {what}: {found}"
        for what, (found, number) in wanted.items()
        if len(found) != number or len(set(found)) != number
    ]


REPORTS = {1: report(), 2: report(run=2, ending="Closed as cleared: every fault cleared.")}


@pytest.mark.covers("IDM-13")
def test_lost_replies_limits_and_failures_never_double_a_message() -> None:
    with ProcessPoolExecutor() as pool:
        wrong = [each for found in pool.map(history, range(SEEDS), chunksize=100) for each in found]

    assert wrong == []


SEEDS = int(os.environ.get("SEEDS", "10000"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(429, headers={"Retry-After": "30"}), Busy),
        (no("ratelimited"), Busy),
        (no("fatal_error"), Unavailable),
        (httpx.Response(503), Unavailable),
        (httpx.Response(200, text="<html>"), Unavailable),
        (no("invalid_auth"), Rejected),
        (no("missing_scope", needed="channels:history"), Rejected),
        (httpx.Response(200, json=[]), Rejected),
    ],
)
def test_what_slack_answers_is_told_apart(answer: httpx.Response, error: type[Exception]) -> None:
    fake = SlackFake()
    fake.accidents = lambda _: answer

    with pytest.raises(error) as caught:
        slack(fake).deliver(report(), None)

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("channel", ["general", "#general", "", "C0123 OR 1"])
def test_a_channel_is_named_by_its_id(channel: str) -> None:
    with pytest.raises(Rejected, match="slack_channel"):
        slack(SlackFake(), channel)


# webhooks


KINDS: dict[str, Any] = {
    "slack": SlackWebhookOutlet,
    "discord": DiscordOutlet,
    "teams": TeamsOutlet,
}


def told_by(name: str, inbox: Inbox) -> Outlet:
    made: Outlet = KINDS[name](SECRET_URL, clock=Hour(), client=inbox.client)
    return made


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(429, headers={"Retry-After": "7"}), Busy),
        (httpx.Response(500), Unavailable),
        (httpx.Response(404, text=SECRET_URL), Rejected),
        (httpx.Response(302, headers={"Location": "http://169.254.169.254/"}), Rejected),
    ],
)
def test_the_address_of_a_webhook_is_never_in_an_error(
    name: str, answer: httpx.Response, error: type[Exception]
) -> None:
    inbox = Inbox(answer)
    outlet = told_by(name, inbox)

    with pytest.raises(error) as caught:
        outlet.deliver(report(), None)

    assert "verysecret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(inbox.got) == 1


@pytest.mark.parametrize("name", ["slack", "teams"])
def test_where_nothing_can_be_edited_only_news_is_posted(name: str) -> None:
    inbox = Inbox()
    outlet = told_by(name, inbox)
    receipt = outlet.deliver(report(), None)

    outlet.deliver(report(text="the same run"), receipt)
    outlet.deliver(report(run=2), receipt)
    outlet.deliver(report(run=2, ending="Closed as cleared."), receipt)

    assert len(inbox.got) == 3
    assert "Closed as cleared" in inbox.got[2].content.decode()


def test_discord_edits_the_message_it_made() -> None:
    inbox = Inbox()
    outlet = DiscordOutlet(f"{SECRET_URL}?thread_id=9", clock=Hour(), client=inbox.client)
    receipt = outlet.deliver(report(), None)

    outlet.deliver(report(ending="Closed as cleared."), receipt)

    post, patch = inbox.got
    assert (post.method, str(post.url)) == ("POST", f"{SECRET_URL}?thread_id=9&wait=true")
    assert patch.method == "PATCH"
    assert str(patch.url) == f"{SECRET_URL}/messages/4711?thread_id=9"
    assert all(body["allowed_mentions"] == {"parse": []} for body in inbox.bodies())
    assert inbox.bodies()[1]["embeds"][0]["fields"][-2]["value"].startswith("Closed as cleared")


def test_a_discord_message_that_a_person_deleted_is_not_posted_again() -> None:
    inbox = Inbox(httpx.Response(200, json={"id": "4711"}), httpx.Response(404))
    outlet = DiscordOutlet(SECRET_URL, clock=Hour(), client=inbox.client)

    receipt = outlet.deliver(report(), None)
    outlet.deliver(report(run=2), receipt)

    assert [request.method for request in inbox.got] == ["POST", "PATCH"]


def test_a_teams_connector_that_hides_a_limit_behind_200_is_busy() -> None:
    told = "Webhook delivery failed: Microsoft Teams endpoint returned HTTP error 429"
    inbox = Inbox(httpx.Response(200, text=told))

    with pytest.raises(Busy):
        TeamsOutlet(SECRET_URL, clock=Hour(), client=inbox.client).deliver(report(), None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0", 1), ("1.2", 2), ("", 60), ("soon", 60), ("nan", 60), ("99999999", 3600)],
)
def test_a_wait_is_read_from_a_header_within_reason(header: str, seconds: int) -> None:
    assert wait(header) == seconds


def test_a_message_is_about_when_the_incident_was() -> None:
    assert report().incident.opened_at == NOW
