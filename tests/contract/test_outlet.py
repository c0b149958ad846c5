"""What every outlet promises, whatever it is: `ports.Outlet`."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chat_world import Channel
from events_fake import EventsFake
from github_fake import GitHubFake
from outlet_world import FILE, Hour, git, report, repository
from slack_fake import CHANNEL, TOKEN, SlackFake
from smtp_world import Mailbox, MailServer

from faultline.adapters.outlets.console import ConsoleOutlet
from faultline.adapters.outlets.discord import DiscordOutlet
from faultline.adapters.outlets.dry_run import DryRunOutlet
from faultline.adapters.outlets.git import GitOutlet
from faultline.adapters.outlets.github import GitHubOutlet
from faultline.adapters.outlets.kubernetes_events import EventsOutlet
from faultline.adapters.outlets.slack import SlackOutlet, SlackWebhookOutlet
from faultline.adapters.outlets.teams import TeamsOutlet
from faultline.adapters.outlets.webhook import WebhookOutlet
from faultline.errors import Unavailable
from faultline.healing_cap import is_pull
from faultline.model import Proposal, Report, Resource
from faultline.ports import Outlet


class Place:
    """An outlet with what stands behind it: how often it was told, what it says, how it goes."""

    outlet: Outlet
    finds = True  # its own earlier work; else a lost receipt means a second message
    edits = True  # what it said before; else a later run is another message
    pulls = False  # is a change proposed there, which counts against the healing cap

    def told(self) -> int:
        raise NotImplementedError

    def report(self) -> Report:
        return report()

    def leave(self) -> None:
        """Close what was opened."""

    def merge(self) -> bool:
        """Do as people who merge; False where nothing can be merged."""
        return False


class Console(Place):
    def __init__(self, folder: Path) -> None:
        self.stream = io.StringIO()
        self.outlet = ConsoleOutlet(self.stream, clock=Hour())

    def told(self) -> int:
        return self.stream.getvalue().count("cause  ")


class Dry(Place):
    def __init__(self, folder: Path) -> None:
        self.written: dict[str, bytes] = {}
        self.outlet = DryRunOutlet("slack", self._write, clock=Hour())

    def _write(self, incident_id: str, name: str, data: bytes) -> None:
        self.written[f"{incident_id}/{name}"] = data

    def told(self) -> int:
        return len(self.written)


class Local(Place):
    pulls = True

    def __init__(self, folder: Path) -> None:
        self.path = repository(folder / "shop")
        self.outlet = GitOutlet(self.path, clock=Hour())

    def told(self) -> int:
        return len(git(self.path, "branch", "--list", "faultline/*").splitlines())

    def report(self) -> Report:
        return report(self.path)

    def merge(self) -> bool:
        git(self.path, "merge", "-q", "--no-ff", "faultline/fix-api-5c1e9b2a", "-m", "Merge")
        return True


class BareLocal(Local):
    def __init__(self, folder: Path) -> None:
        self.path = folder / "bare.git"
        git(folder, "clone", "-q", "--bare", str(repository(folder / "shop")), str(self.path))
        self.outlet = GitOutlet(self.path, clock=Hour())

    def merge(self) -> bool:
        git(self.path, "update-ref", "refs/heads/main", "refs/heads/faultline/fix-api-5c1e9b2a")
        return True


class Hub(Place):
    pulls = True

    def __init__(self, folder: Path) -> None:
        self.path = repository(folder / "shop")
        names = git(self.path, "ls-files").split()
        self.fake = GitHubFake({name: (self.path / name).read_bytes() for name in names})
        self.outlet = GitHubOutlet(self.fake.github(), clock=Hour())

    def told(self) -> int:
        return len(self.fake.pulls)

    def report(self) -> Report:
        return report(self.path)

    def merge(self) -> bool:
        self.fake.merge(1)
        return True


class HubInSafeMode(Hub):
    pulls = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.outlet = GitHubOutlet(self.fake.github(), clock=Hour(), safe_mode=True)

    def told(self) -> int:
        return len(self.fake.comments)

    def merge(self) -> bool:
        return False


class Slack(Place):
    def __init__(self, folder: Path) -> None:
        self.fake = SlackFake()
        self.outlet = SlackOutlet(TOKEN, CHANNEL, clock=Hour(), client=self.fake.client)

    def told(self) -> int:
        return len(self.fake.top())


class OnlyHook(Place):
    finds = edits = False
    kind: Callable[..., Outlet] = SlackWebhookOutlet

    def __init__(self, folder: Path) -> None:
        self.channel = Channel()
        made = type(self).kind("https://chat.example/x", clock=Hour(), client=self.channel.client)
        self.outlet = made

    def told(self) -> int:
        return len(self.channel.messages)


class Teams(OnlyHook):
    kind = TeamsOutlet


class Discord(OnlyHook):
    edits = True
    kind = DiscordOutlet


class Webhook(OnlyHook):
    finds = True  # the receiver does, by the message's id

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        url, client = "https://ops.example/x", self.channel.client
        self.outlet = WebhookOutlet(url, secrets=(), clock=Hour(), client=client)


class Mail(Place):
    finds = edits = False

    def __init__(self, folder: Path) -> None:
        self.box = Mailbox()
        self.server = MailServer(self.box)
        self.outlet = self.server.outlet(Hour())

    def told(self) -> int:
        return len(self.box.raw)

    def leave(self) -> None:
        self.server.stop()


class Events(Place):
    edits = False

    def __init__(self, folder: Path) -> None:
        self.fake = EventsFake()
        self.outlet = EventsOutlet("prod", clock=Hour(), write=self.fake.write())

    def report(self) -> Report:
        told = report()
        pod = Resource(kind="Pod", namespace="shop", name="api-0")
        fault = told.incident.fault.model_copy(update={"resource": pod})
        incident = told.incident.model_copy(update={"fault": fault})
        return told.model_copy(update={"incident": incident})

    def told(self) -> int:
        return self.fake.said().count("DiagnosisComplete")


PLACES = [Console, Dry, Local, BareLocal, Hub, HubInSafeMode, Slack, OnlyHook, Teams, Discord]


@pytest.fixture(params=[*PLACES, Webhook, Mail, Events])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    make: Callable[[Path], Place] = request.param
    made = make(tmp_path)
    yield made
    made.leave()


@pytest.mark.covers("S2-48")
def test_an_outlet_is_told_once(place: Place) -> None:
    told = place.report()
    first = place.outlet.deliver(told, None)

    second = place.outlet.deliver(told, first)

    assert place.told() == 1
    assert first.outlet == place.outlet.name
    assert (second.reference, second.made_at) == (first.reference, first.made_at)


def test_a_receipt_that_was_lost_is_written_again_for_the_same_thing(place: Place) -> None:
    told = place.report()
    first = place.outlet.deliver(told, None)

    again = place.outlet.deliver(told, None)

    assert place.told() == (1 if place.finds else 2)
    assert again.details == first.details
    assert not place.finds or again.reference == first.reference


def test_another_text_is_an_edit(place: Place) -> None:
    told = place.report()
    receipt = place.outlet.deliver(told, None)

    edited = place.outlet.deliver(told.model_copy(update={"text": "more", "run": 2}), receipt)

    assert place.told() == (1 if place.edits else 2)
    assert edited.reference == receipt.reference


def test_a_run_without_a_diagnosis_is_told_too(place: Place) -> None:
    failed = report().model_copy(update={"diagnosis": None})

    assert place.outlet.deliver(failed, None).outlet == place.outlet.name


def test_merged_is_said_only_after_people_merged(place: Place) -> None:
    receipt = place.outlet.deliver(place.report(), None)
    before = place.outlet.merged(receipt)

    if not place.merge():
        assert before is None
        return

    after = place.outlet.merged(receipt)
    assert before is None
    assert after is not None
    assert after.outlet == place.outlet.name
    assert after.revision


@pytest.mark.parametrize("kind", [Local, BareLocal])
def test_an_outlet_that_is_gone_is_unavailable(kind: type[Local], tmp_path: Path) -> None:
    place = kind(tmp_path)
    told = place.report()
    receipt = place.outlet.deliver(told, None)

    shutil.rmtree(place.path)

    with pytest.raises(Unavailable):
        place.outlet.deliver(told, receipt)
    with pytest.raises(Unavailable):
        place.outlet.merged(receipt)


@pytest.mark.covers("S3-63")
def test_the_receipt_of_a_pull_request_is_known_from_that_of_a_message(place: Place) -> None:
    made = place.outlet.deliver(place.report(), None)

    assert is_pull(made) is place.pulls


def test_where_no_change_is_proposed_no_receipt_is_one_of_a_pull_request(place: Place) -> None:
    without = place.report().model_copy(update={"proposal": Proposal(), "patch": ""})

    assert is_pull(place.outlet.deliver(without, None)) is False


def test_a_receipt_survives_its_record(place: Place) -> None:
    receipt = place.outlet.deliver(place.report(), None)

    assert type(receipt).model_validate_json(receipt.model_dump_json()) == receipt
    assert FILE not in receipt.reference
