"""GitHub's webhook: its signature opens one door, and what it says leads to a look, no more."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any

import httpx
import pytest
from outlet_world import report
from test_who_may_send import KEYS, NEW, NOW, TOKENS, Kept, basic, bearer, sign
from world import World

from faultline.adapters.outlets.git import branch_name, message
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.app import Doors, router
from faultline.bridge.gate import Gate
from faultline.bridge.github import LOOKS_MAX
from faultline.bridge.intake import Intake
from faultline.event import PING
from faultline.model import Status
from faultline.verification import worth_asking

HEADER = "x-hub-signature-256"
SECRETS = ("next-secret", "It's a Secret to Everybody")
REPOSITORY = "acme/shop"
INCIDENT = "20261121-checkout-5c1e9b2a"


def pull(**changes: Any) -> dict[str, Any]:
    """A pull request of ours that people merged, with what we read of it and more."""
    head = {"ref": branch_name(INCIDENT), "repo": {"full_name": REPOSITORY}, "sha": "1" * 40}
    merged = {"number": 7, "merged": True, "merged_at": "2026-11-21T10:00:00Z", "head": head}
    return {
        "action": "closed",
        "repository": {"full_name": REPOSITORY, "default_branch": "main"},
        "pull_request": merged | changes.pop("pull_request", {}),
    } | changes


def push(*messages: str, **changes: Any) -> dict[str, Any]:
    return {
        "ref": "refs/heads/main",
        "repository": {"full_name": REPOSITORY, "default_branch": "main"},
        "commits": [{"id": "1" * 40, "message": text} for text in messages],
    } | changes


def signed(body: bytes, secret: str = SECRETS[1], hash: str = "sha256") -> dict[str, str]:
    return {HEADER: f"{hash}={hmac.new(secret.encode(), body, hash).hexdigest()}"}


class Door:
    def __init__(self, secrets: tuple[str, ...] = SECRETS) -> None:
        self.sink, self.store = Kept(), MemoryStore()
        intake = Intake(sink=self.sink, store=self.store, cluster="here", clock=lambda: NOW)
        doors = Doors(
            intake, TOKENS, KEYS, github_secrets=secrets, github_ours=(REPOSITORY, "faultline/")
        )
        self.app = Gate(router(doors))

    def post(self, body: bytes, headers: dict[str, str], kind: str = "pull_request") -> int:
        named = {"content-type": "application/json", "x-github-event": kind} | headers
        named |= {"x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}

        async def posted() -> int:
            transport = httpx.ASGITransport(self.app, client=("10.0.0.7", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return (await http.post("/github", content=body, headers=named)).status_code

        return asyncio.run(posted())

    def looks(self, body: dict[str, Any], kind: str = "pull_request") -> list[str]:
        """Post what GitHub signed; return the endings of ids that are looked at."""
        raw = json.dumps(body).encode()
        assert self.post(raw, signed(raw), kind) == 202
        return [ending for event in self.sink.events for ending in event.data["look"]]

    def written(self) -> int:
        return len(self.sink.events) + len(list(self.store.list("")))


def test_githubs_own_example_of_a_signature_holds() -> None:
    body = b"Hello, World!"
    given = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    door = Door()

    assert door.post(body, {"x-hub-signature-256": given}) == 400  # known, but no JSON
    assert door.post(body + b"\n", {"x-hub-signature-256": given}) == 401


FORGED = {
    "nothing": lambda body: {},
    "an empty signature": lambda body: {"x-hub-signature-256": ""},
    "a name without a hash": lambda body: {"x-hub-signature-256": "sha256="},
    "another tenant's secret": lambda body: signed(body, "another tenant's"),
    "an empty secret": lambda body: signed(body, ""),
    "another body": lambda body: signed(body + b" "),
    "the old header": lambda body: {"x-hub-signature": signed(body, hash="sha1")[HEADER]},
    "a hash without a name": lambda body: {HEADER: signed(body)[HEADER][7:]},
    "most of a hash": lambda body: {HEADER: signed(body)[HEADER][:-1]},
    "a letter of no hash": lambda body: {HEADER: "sha256=" + "x" * 64},
    "AlertManager's token": lambda body: bearer("current"),
    "AlertManager's password": lambda body: basic("prometheus:pair"),
    "another kind of signature": lambda body: sign(NEW, body),
}


@pytest.mark.covers("INB-11")
@pytest.mark.parametrize("row", FORGED)
def test_nothing_but_githubs_signature_opens_its_door(row: str) -> None:
    body, door = json.dumps(pull()).encode(), Door()

    assert door.post(body, FORGED[row](body)) == 401
    assert door.written() == 0


def test_githubs_signature_opens_no_other_door_and_without_a_secret_there_is_none() -> None:
    body = json.dumps(pull()).encode()

    async def other() -> int:
        transport = httpx.ASGITransport(Door().app, client=("10.0.0.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return (
                await http.post("/alertmanager", content=body, headers=signed(body))
            ).status_code

    assert asyncio.run(other()) == 401
    assert Door(secrets=()).post(body, signed(body)) == 404


def test_a_secret_is_changed_without_a_message_lost() -> None:
    body = json.dumps(pull()).encode()

    assert [Door().post(body, signed(body, secret)) for secret in SECRETS] == [202, 202]
    assert Door(SECRETS[:1]).post(body, signed(body, SECRETS[1])) == 401


@pytest.mark.covers("INB-11")
def test_only_a_merge_of_ours_leads_to_a_look_and_a_replay_to_the_same_one() -> None:
    fork = {"head": pull()["pull_request"]["head"] | {"repo": {"full_name": "stranger/shop"}}}
    ref = {"head": pull()["pull_request"]["head"] | {"ref": "feature"}}
    repository = pull()["repository"] | {"full_name": "stranger/shop"}

    assert Door().looks(pull()) == ["checkout-5c1e9b2a"]
    for told in (
        pull(action="synchronize"),
        pull(action="closed", pull_request={"merged": False}),
        pull(pull_request={"merged": "true"}),
        pull(pull_request=fork),
        pull(pull_request={"head": None}),
        pull(pull_request=ref),
        pull(repository=repository, pull_request=fork),
        {"zen": "Keep it logically awesome.", "repository": None},
    ):
        assert Door().looks(told) == [], told
    assert Door().looks(pull(), kind="pull_request_review") == []

    door = Door()
    for _ in range(3):
        door.looks(pull())
    assert len({(event.source, event.id) for event in door.sink.events}) == 1
    assert {event.type for event in door.sink.events} == {PING}


def test_a_push_names_the_incidents_of_its_commits() -> None:
    trailer = message(report()).decode()
    merge = f"Merge pull request #7 from acme/{branch_name(INCIDENT)}\n\nfix: more memory"
    squash = f"fix: more memory (#7)\n\nFaultline-Incident: {INCIDENT}\nSigned-off-by: a person"
    quoted = f"docs: a commit says `Faultline-Incident: {INCIDENT}`"

    assert Door().looks(push(trailer), "push") == [report().incident.id[9:]]
    assert Door().looks(push(merge, squash, "chore"), "push") == ["checkout-5c1e9b2a"]
    assert Door().looks(push(quoted, "Revert it"), "push") == []
    assert Door().looks(push(merge, ref="refs/heads/other"), "push") == []
    assert Door().looks(push(commits=None), "push") == []
    many = [f"x\n\nFaultline-Incident: 20261121-api-{n:08x}" for n in range(500)]
    assert len(Door().looks(push(*many), "push")) == LOOKS_MAX


def told_by_github(world: World, body: dict[str, Any]) -> World:
    headers = {"x-github-event": "pull_request"}
    world.intake.github(headers, json.dumps(body).encode(), ours=(REPOSITORY, "faultline/"))
    return world.settle()


def merge_of(incident_id: str) -> dict[str, Any]:
    head = pull()["pull_request"]["head"] | {"ref": branch_name(incident_id)}
    return pull(pull_request={"head": head})


@pytest.mark.covers("INB-11")
def test_what_github_says_is_not_believed_but_looked_up_at_once_and_for_that_incident_alone() -> (
    None
):
    world = World().alert().settle().pass_time(3 * 3600)
    opened_at = world.incidents.incident(world.only).opened_at
    while worth_asking(world.only, opened_at, world.clock()):
        world.pass_time(60)  # to a minute that is not its turn

    told_by_github(world, merge_of(world.only))  # forged: nothing is merged there
    assert world.incidents.merges(world.only) == []
    assert world.status() is Status.PACKAGED

    world.forge.merge(world.only)
    told_by_github(world, merge_of("20261121-another-00000001"))
    assert world.incidents.merges(world.only) == []
    world.ping().settle()
    assert world.incidents.merges(world.only) == []  # not its turn

    told_by_github(world, merge_of(world.only))
    (merge,) = world.incidents.merges(world.only)
    assert merge.by == "a person"  # as the forge says
    before_replay = world.keys()
    told_by_github(world, merge_of(world.only))
    assert world.keys() == before_replay
