"""Two hundred incidents and one channel: its pace, one summary, and nobody forgotten."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest
from outlet_world import INCIDENT, report
from slack_fake import CHANNEL, TOKEN, SlackFake, no
from world import Clock, World

from faultline.adapters.outlets.slack import SlackOutlet
from faultline.adapters.outlets.storm import CALM_MAX, EDIT_S, Paced
from faultline.adapters.stores.memory import MemoryStore
from faultline.errors import TryAgain
from faultline.model import Receipt, Report, Status
from faultline.ports import Ports


class Channel:
    """A channel that refuses more than a message a second, and who delivers to it again and again.

    Deliveries come again as Knative's do by default: after 1, 2, 4, … seconds, all in step, and
    without regard to Retry-After.
    """

    def __init__(self, chance: random.Random | None = None, clock: Clock | None = None) -> None:
        self.slack, self.clock, self.chance = SlackFake(), clock or Clock(), chance
        self.slack.accidents = self._accident
        self.store = MemoryStore()
        self.calls: list[tuple[float, str]] = []
        self.limited = 0
        self.receipts: dict[str, Receipt] = {}
        self.attempts: Counter[str] = Counter()

    def outlet(self) -> Paced:
        """Made anew for each delivery: whatever a process remembers is gone."""
        chat = SlackOutlet(TOKEN, CHANNEL, clock=self.clock, client=self.slack)
        return Paced(chat, self.store, clock=self.clock)

    def _accident(self, method: str) -> httpx.Response | str | None:
        now = self.clock.seconds()
        posts = self.moments("chat.postMessage")
        if method == "chat.postMessage" and posts and now - posts[-1] < 1:
            self.limited += 1
            return httpx.Response(429, headers={"Retry-After": "1"})
        if self.chance and method.startswith("chat.") and self.chance.random() < 0.15:
            answers = [no("internal_error"), httpx.Response(502), no("ratelimited")]
            return self.chance.choice(answers)
        self.calls.append((now, method))
        lost = self.chance and method.startswith("chat.") and self.chance.random() < 0.1
        return "lost" if lost else None

    def tell(self, *reports: Report, every_s: float = 0) -> Channel:
        """Deliver each until it is told."""
        began = self.clock.seconds()
        owed = [(began + n * every_s, n, 0, each) for n, each in enumerate(reports)]
        while owed:
            due, order, failed, told = heapq.heappop(owed)
            self.clock.wait(max(0.0, due - self.clock.seconds()))
            id = told.incident.id
            self.attempts[id] += 1
            try:
                receipt = self.outlet().deliver(told, self.receipts.get(id))
            except TryAgain:
                heapq.heappush(owed, (due + 2.0**failed, order, failed + 1, told))
                continue
            if self.chance and self.chance.random() < 0.1:  # a crash before the receipt
                heapq.heappush(owed, (due + 2.0**failed, order, failed + 1, told))
                continue
            self.receipts.setdefault(id, receipt)
        return self

    def moments(self, method: str) -> list[float]:
        return [at for at, name in self.calls if name == method]

    def own(self) -> list[str]:
        told = (m["metadata"]["event_payload"].get("incident") for m in self.slack.top())
        return [incident for incident in told if incident]

    def summaries(self) -> list[dict[str, Any]]:
        payloads = ((m, m["metadata"]["event_payload"]) for m in self.slack.top())
        return [message for message, payload in payloads if "incident" not in payload]


def reports(count: int, first: int = 0, **more: Any) -> list[Report]:
    found = []
    for number in range(first, first + count):
        incident = INCIDENT.model_copy(update={"id": f"20261121-api{number}-{number:08x}"})
        found.append(report(incident=incident, title=f"fix(api{number}): memory", **more))
    return found


def assert_paced(channel: Channel) -> None:
    posts, edits = channel.moments("chat.postMessage"), channel.moments("chat.update")
    assert all(b - a >= 1 for a, b in itertools.pairwise(posts))
    turns = [at // EDIT_S for at in edits]
    assert len(turns) == len(set(turns))
    assert all(count == 1 for count in Counter(channel.own()).values())


@pytest.mark.covers("STM-09")
def test_two_hundred_incidents_are_told_at_the_channels_pace_and_most_in_one_summary() -> None:
    channel = Channel().tell(*reports(200))

    assert_paced(channel)
    assert channel.limited == 0
    (summary,) = channel.summaries()
    in_summary = {id for id, r in channel.receipts.items() if r.details.get("storm")}
    assert in_summary.isdisjoint(channel.own())
    assert len(in_summary) + len(channel.own()) == 200
    assert summary["text"].startswith(f"A storm: {len(in_summary)} incidents since 10:00 UTC")
    assert len(summary["text"]) < 4_000
    took = channel.clock.seconds() - channel.calls[0][0]
    print(f"{len(channel.own())} messages, {len(in_summary)} in the summary, all within {took} s")
    assert took <= 120
    assert max(channel.attempts.values()) <= 10  # then a broker gives up


def test_incidents_that_come_one_after_the_other_are_counted_too() -> None:
    channel = Channel().tell(*reports(60), every_s=3)

    assert_paced(channel)
    assert len(channel.own()) == CALM_MAX
    assert len(channel.summaries()) == 1


@pytest.mark.parametrize("seed", range(20))
def test_lost_replies_limits_and_crashes_in_a_storm_double_and_forget_nobody(seed: int) -> None:
    channel = Channel(random.Random(seed)).tell(*reports(60))

    assert all(count == 1 for count in Counter(channel.own()).values())
    assert len({m["metadata"]["event_payload"]["note"] for m in channel.summaries()}) == len(
        channel.summaries()
    )
    for id, receipt in channel.receipts.items():
        assert receipt.details.get("storm") or id in channel.own()
    assert len(channel.receipts) == 60


def test_when_the_storm_is_over_an_incident_has_a_message_of_its_own_again() -> None:
    channel = Channel().tell(*reports(30))
    before = len(channel.own())
    channel.clock.wait(301)

    (late,) = reports(1, first=500)
    channel.tell(late)

    assert len(channel.own()) == before + 1
    assert late.incident.id in channel.own()


def test_how_an_incident_of_the_storm_ends_is_no_message_but_another_run_is() -> None:
    channel = Channel().tell(*reports(30))
    (id, *_) = [id for id, r in channel.receipts.items() if r.details.get("storm")]
    number = int(id[-8:], 16)
    channel.clock.wait(600)
    before = len(channel.slack.messages)

    channel.tell(*reports(1, first=number, ending="Closed as cleared."))
    assert len(channel.slack.messages) == before

    channel.tell(*reports(1, first=number, run=2))
    assert channel.own()[-1] == id
    channel.clock.wait(60)
    channel.tell(*reports(1, first=number, run=2, ending="Closed as cleared."))
    assert channel.own().count(id) == 1
    assert len(channel.slack.replies()) == 1


def test_on_the_whole_line_a_few_at_once_each_get_their_message() -> None:
    channel = Channel()

    def told(ports: Ports) -> Ports:
        channel.clock, channel.store = ports.clock, ports.incidents.store  # type: ignore[assignment]
        return replace(ports, outlets=[channel.outlet()])

    world = World(wrap=told)
    for number in range(3):
        world.fault(cluster=f"prod-{number}")
    world.settle()

    assert {world.status(id) for id in world.ids} == {Status.PACKAGED}
    assert sorted(channel.own()) == world.ids
    assert channel.summaries() == []
    assert_paced(channel)
