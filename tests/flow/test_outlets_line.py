"""The whole line with GitHub and Slack at its end: what people get, from the alert to the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from github_fake import GitHubFake, said
from slack_fake import CHANNEL, TOKEN, SlackFake
from world import World

from faultline import keys
from faultline.adapters.manifests import GitHubManifests
from faultline.adapters.outlets.github import GitHubOutlet
from faultline.adapters.outlets.slack import SlackOutlet
from faultline.event import CONTEXT_READY, INCIDENT_CLOSED
from faultline.model import ClosedBecause, Policy
from faultline.ports import Ports


class Town:
    """The world with a GitHub and a Slack in it."""

    def __init__(self, policy: Policy | None = None, *, safe_mode: bool = False) -> None:
        self.slack = SlackFake()
        self.hub: Any = None
        self.safe_mode = safe_mode
        self.world = World(wrap=self.wrap, policy=policy)

    def wrap(self, ports: Ports) -> Ports:
        clock: Callable[[], dt.datetime] = ports.clock
        self.hub = GitHubFake(dict(ports.manifests.files()))
        hub = self.hub.github()
        pulls = GitHubOutlet(hub, clock=clock, safe_mode=self.safe_mode)
        chat = SlackOutlet(TOKEN, CHANNEL, clock=clock, client=self.slack.client)
        return replace(ports, manifests=GitHubManifests(hub), outlets=[pulls, chat])

    def merge(self) -> None:
        self.hub.merge(1)
        stamp = f"{self.world.clock():%Y-%m-%dT%H:%M:%SZ}"
        self.hub.pulls[1]["merged_at"] = stamp

    def threads(self) -> list[str]:
        return [reply["text"] for reply in self.slack.replies()]


@pytest.mark.covers("S3-48")
def test_an_alert_becomes_a_pull_request_and_a_message_that_links_it() -> None:
    town = Town()

    town.world.alert().settle()

    [pull] = town.hub.pulls.values()
    [message] = town.slack.top()
    assert "256Mi" in pull["body"]
    [file] = town.world.incidents.proposal(town.world.only, 1).files
    assert town.hub.file(pull["head"]["ref"], file.path).decode() == file.after
    buttons = next(b for b in message["blocks"] if b["type"] == "actions")["elements"]
    assert buttons[0]["url"] == pull["html_url"]
    receipts = {r.outlet: r.url for r in town.world.incidents.receipts(town.world.only)}
    assert receipts["github"] == pull["html_url"]


def test_a_merge_and_the_end_of_the_fault_are_said_in_the_thread() -> None:
    town = Town()
    town.world.fault().settle().pass_time(60)
    town.merge()

    town.world.pass_time(60).clear().settle()

    closed = town.world.incidents.closed(town.world.only)
    assert closed is not None
    assert closed.because is ClosedBecause.VERIFIED
    [reply] = town.threads()
    assert "as verified: our change was merged, then every fault cleared" in reply
    assert "as verified" in town.hub.said_on(1)[0]
    assert len(town.slack.top()) == 1


def test_the_end_is_said_once_however_often_it_is_heard() -> None:
    town = Town()
    town.world.fault().settle().pass_time(60).clear().settle()

    town.world.clear().settle()
    town.world.pass_time(5).clear(ends_at=town.world.clock()).settle()

    assert len(town.threads()) == 1
    assert "as cleared" in town.threads()[0]
    assert "verified" not in town.threads()[0]


def test_an_incident_that_ends_before_it_was_told_tells_nobody() -> None:
    town = Town()
    town.world.fault()
    town.world.clear().settle()

    assert town.world.incidents.closed(town.world.only)
    assert town.slack.messages == []
    assert not town.hub.pulls


def test_a_chat_that_is_down_hears_the_end_when_it_is_back() -> None:
    town = Town()
    town.world.fault().settle().pass_time(60)
    left = iter(range(3))
    town.slack.accidents = lambda _: None if next(left, None) is None else httpx.Response(503)

    town.world.clear().settle()

    assert len(town.threads()) == 1
    noted = keys.incident(town.world.only, keys.told(INCIDENT_CLOSED))
    assert town.world.keys(noted) == [noted]


@pytest.mark.covers("S3-84")
def test_in_safe_mode_nobody_is_told_of_a_pull_request() -> None:
    town = Town(safe_mode=True)

    town.world.alert().settle()

    [message] = town.slack.top()
    assert not town.hub.pulls
    assert len(town.hub.comments) == 1
    assert "pull request" not in str(message["blocks"][3])
    assert "suggested" in str(message["blocks"][3])


def refuse(method: str, path: str) -> httpx.Response | None:
    """Make no pull request."""
    making = method == "POST" and path.endswith("/pulls")
    return said(403, "Resource not accessible") if making else None


def test_a_pull_request_that_failed_is_an_issue_and_the_message_claims_none() -> None:
    town = Town()

    town.hub.accidents = refuse
    town.world.alert().settle()

    [message] = town.slack.top()
    assert "No pull request could be made" in town.hub.said_on(1)[0]
    assert "issue" in str(next(b for b in message["blocks"] if b["type"] == "actions"))
    assert "A pull request is there" not in str(message)


# templates and links


def test_the_operators_own_words_are_used(tmp_path: Path) -> None:
    (tmp_path / "pull-request.md.j2").write_text("Ours: {{ diagnosis.root_cause | prose(60) }}\n")
    town = Town(Policy(templates=str(tmp_path)))

    town.world.alert().settle()

    assert "\nOurs: " in town.hub.pulls[1]["body"]
    assert "## What happened" not in town.hub.pulls[1]["body"]


def test_where_the_operators_words_fail_ours_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pull-request.md.j2").write_text("{{ nothing.of.that.name }}")
    town = Town(Policy(templates=str(tmp_path)))

    town.world.alert().settle()

    assert "## What happened" in town.hub.pulls[1]["body"]
    assert "pull-request.md.j2 failed, ours is used" in caplog.text


def test_messages_link_the_console_where_its_address_is_known() -> None:
    town = Town(Policy(console_url="https://faultline.acme.example"))

    town.world.alert().settle()

    link = f"https://faultline.acme.example/incidents/{town.world.only}"
    [message] = town.slack.top()
    assert link in str(message["blocks"][-1])
    assert f"<{link}>" in town.hub.pulls[1]["body"]


def test_a_token_that_is_no_longer_good_holds_no_incident_open() -> None:
    town = Town()
    town.world.fault().settle().pass_time(60)
    town.hub.token = "another"

    town.world.clear().settle()

    closed = town.world.incidents.closed(town.world.only)
    assert closed is not None
    assert closed.because is ClosedBecause.CLEARED
    assert len(town.threads()) == 1


def test_whether_the_fix_held_is_said_in_the_thread_and_on_the_pull_request() -> None:
    town = Town()
    town.world.fault().settle().pass_time(60)
    town.merge()
    town.world.pass_time(60).clear().settle()

    for _ in range(3):
        town.world.pass_time(600).ping().settle()

    [closed, held] = town.threads()
    assert "as verified" in closed
    assert held == "Verified: the change held, nothing came back for 600 s after it had cleared."
    assert held in town.hub.said_on(1)[0]
    assert len(town.hub.said_on(1)) == 1


def test_a_fix_that_failed_names_the_next_incident_in_the_thread_of_the_first() -> None:
    town = Town()
    town.world.fault().settle().pass_time(60)
    town.merge()
    first = town.world.only
    town.world.pass_time(60).clear().settle().pass_time(60)

    town.world.fault(starts_at=town.world.clock()).settle().ping().settle()

    [second] = [id for id in town.world.ids if id != first]
    assert f"did not hold: KubePodCrashLooping came back, see {second}." in " ".join(town.threads())


def test_a_retry_that_gets_the_pull_request_is_what_the_message_links() -> None:
    town = Town()
    town.hub.accidents = refuse
    town.world.alert().settle()
    town.hub.accidents = lambda *_: None

    again = town.world.incidents.opener(town.world.only).caused(
        CONTEXT_READY, source="/test", subject=town.world.only, data={"run": 2}
    )
    town.world.send(again)
    town.world.settle()

    [pull] = town.hub.pulls.values()
    [message] = town.slack.top()
    assert pull["html_url"] in str(message["blocks"][-1])
    told = town.world.incidents.packaged(town.world.only, 2)
    assert told is not None
    assert told.outlets["github"] == pull["html_url"]
    assert "Run 2" in town.threads()[0]
