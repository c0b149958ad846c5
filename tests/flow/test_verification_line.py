"""What became of a fix, told by the line: merged, verified, failed, or people's own."""

from __future__ import annotations

import json
from dataclasses import replace

from world import START, World

from faultline import keys
from faultline.broker.broker import Broker
from faultline.errors import Unavailable
from faultline.event import (
    CHANGE_MERGED,
    FIX_FAILED,
    FIX_VERIFIED,
    ROLLOUT_SYNCED,
    Event,
    format_time,
)
from faultline.fixes import Outcome
from faultline.model import ClosedBecause, Merged, Policy, Receipt, Report

FIXES = (FIX_VERIFIED, FIX_FAILED)


def told(world: World) -> list[str]:
    """Return the types of the events that were sent about fixes, as the records say."""
    found = [name for name in world.keys("incidents/") if "/announced/" in name]
    types = [name.rsplit("/", 1)[1].removesuffix(".json") for name in found]
    return [type for type in types if type in (CHANGE_MERGED, ROLLOUT_SYNCED, *FIXES)]


def fixed(world: World) -> World:
    """A fault, a merge, and its end: closed as verified ten minutes after it began."""
    world.fault().settle().pass_time(300)
    world.forge.merge(world.only)
    return world.pass_time(300).clear().settle()


def merged_elsewhere(world: World, old: bytes, new: bytes) -> World:
    """People change the manifests themselves."""
    files = {path: text.replace(old, new) for path, text in world.ports.manifests.files().items()}
    world.ports.manifests._files = files
    return world


def test_a_merge_is_seen_and_said_while_the_fault_still_burns(world: World) -> None:
    world.fault().settle().pass_time(60)
    world.forge.merge(world.only)

    world.pass_time(60).ping().settle()

    assert [merge.outlet for merge in world.incidents.merges(world.only)] == ["forge"]
    assert told(world) == [CHANGE_MERGED]
    assert b"The change was merged" in world.incidents.read(world.only, keys.README)


def test_a_fix_is_verified_once_it_was_quiet_long_enough(world: World) -> None:
    fixed(world).pass_time(599).ping().settle()
    assert world.incidents.verification(world.only) is None

    world.pass_time(1).ping().settle()

    held = world.incidents.verification(world.only)
    assert held is not None
    assert (held.outcome, held.ours) == (Outcome.VERIFIED, True)
    assert sorted(told(world)) == [CHANGE_MERGED, FIX_VERIFIED]
    assert b"The fix held" in world.incidents.read(world.only, keys.README)


def test_the_same_fault_again_fails_the_fix_and_names_the_next_incident(world: World) -> None:
    fixed(world).pass_time(120)
    first = world.only
    world.fault(starts_at=world.clock()).settle().ping().settle()

    held = world.incidents.verification(first)
    (second,) = (id for id in world.ids if id != first)
    assert held is not None
    assert (held.outcome, held.again, held.fault) == (Outcome.FAILED, second, "KubePodCrashLooping")
    assert FIX_FAILED in told(world)
    assert FIX_VERIFIED not in told(world)
    assert second.encode() in world.incidents.read(first, keys.README)


def test_what_was_said_of_a_fix_is_said_once() -> None:
    class Listening:
        """A sink that remembers."""

        def __init__(self, broker: Broker) -> None:
            self.inner, self.heard = broker.sink(), []

        def send(self, event: Event) -> None:
            self.heard.append(event.type)
            self.inner.send(event)

    world = World()
    sink = Listening(world.broker)
    world.ports = replace(world.ports, sink=sink)
    fixed(world)
    for _ in range(20):
        world.pass_time(120).ping().settle()

    assert sorted(type for type in sink.heard if type in (CHANGE_MERGED, *FIXES)) == [
        CHANGE_MERGED,
        FIX_VERIFIED,
    ]


def test_a_condition_that_comes_back_after_it_was_verified_changes_nothing(world: World) -> None:
    fixed(world).pass_time(600).ping().settle().pass_time(3600)
    first = world.only
    world.fault(starts_at=world.clock()).settle().ping().settle()

    held = world.incidents.verification(first)
    assert held is not None
    assert held.outcome is Outcome.VERIFIED


def test_a_fix_that_people_made_themselves_is_scored_and_verified(world: World) -> None:
    world.fault().settle().pass_time(300)
    merged_elsewhere(world, b"64Mi", b"512Mi").pass_time(300).clear().settle()
    first = world.incidents.closed(world.only)
    world.ping().settle()

    seen = world.incidents.shadow(world.only)
    assert first is not None
    assert first.because is ClosedBecause.CLEARED
    assert seen is not None
    assert (seen.score, seen.changes[0].ours, seen.changes[0].theirs) == (0.5, "256Mi", "512Mi")
    assert told(world) == [CHANGE_MERGED]

    world.pass_time(600).ping().settle()

    held = world.incidents.verification(world.only)
    assert held is not None
    assert (held.outcome, held.ours) == (Outcome.VERIFIED, False)
    assert b"People fixed it in their own way" in world.incidents.read(world.only, keys.README)


def test_without_anywhere_to_write_the_same_value_scores_one() -> None:
    world = World(wrap=lambda ports: replace(ports, outlets=()))
    world.fault().settle().pass_time(300)
    merged_elsewhere(world, b"64Mi", b"256Mi").pass_time(300).clear().settle().ping().settle()

    seen = world.incidents.shadow(world.only)
    assert world.incidents.receipts(world.only) == []
    assert seen is not None
    assert seen.score == 1.0
    assert seen.ahead_s == 600.0


def test_a_change_after_the_next_episode_began_is_not_counted_for_the_first(world: World) -> None:
    world.fault().settle().pass_time(60).clear().settle().pass_time(60)
    first = world.only
    world.fault(starts_at=world.clock()).settle()
    merged_elsewhere(world, b"64Mi", b"512Mi").pass_time(60).ping().settle()

    assert world.incidents.shadow(first) is None
    assert world.incidents.verification(first) is None


def test_an_event_that_was_not_taken_is_sent_again_under_the_same_id() -> None:
    class Deaf:
        """A sink that takes no news of fixes until it is told to."""

        def __init__(self, broker: Broker) -> None:
            self.inner, self.deaf, self.heard = broker.sink(), True, []

        def send(self, event: Event) -> None:
            self.heard.append(event)
            if self.deaf:
                raise Unavailable("no answer")
            self.inner.send(event)

    world = World(policy=Policy(quiet_s=60))
    deaf = Deaf(world.broker)
    world.ports = replace(world.ports, sink=deaf)
    world.fault().settle().pass_time(60)
    world.forge.merge(world.only)
    world.ping().settle(limit_s=30)
    assert told(world) == []

    deaf.deaf = False
    world.pass_time(60).ping().settle()

    assert told(world) == [CHANGE_MERGED]
    assert len({event.id for event in deaf.heard if event.type == CHANGE_MERGED}) == 1
    assert len(deaf.heard) > 1


def test_a_repository_that_is_down_stops_no_verification() -> None:
    class Second:
        """Another repository, which may be down."""

        name, down = "second", False

        def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
            return receipt or Receipt(outlet=self.name, reference="1", made_at=START)

        def merged(self, receipt: Receipt) -> Merged | None:
            if self.down:
                raise Unavailable("the repository does not answer")
            return None

    second = Second()
    world = World(wrap=lambda ports: replace(ports, outlets=[second, *ports.outlets]))
    fixed(world)
    second.down = True

    world.pass_time(600).ping().settle()

    held = world.incidents.verification(world.only)
    assert held is not None
    assert held.outcome is Outcome.VERIFIED


def delivered(world: World, revision: str) -> World:
    """Flux says that this commit is in the cluster now."""
    about = {"kind": "Kustomization", "namespace": "flux-system", "name": "shop"}
    message = {
        "involvedObject": about,
        "severity": "info",
        "reason": "ReconciliationSucceeded",
        "timestamp": format_time(world.clock()),
        "metadata": {"kustomize.toolkit.fluxcd.io/revision": f"main@sha1:{revision}"},
    }
    world.intake.synced(json.dumps(message).encode())
    return world


def test_what_breaks_between_merge_and_delivery_is_not_held_against_the_fix(world: World) -> None:
    commit = "ab" * 20
    world.fault().settle().pass_time(60)
    world.forge.merges[world.only] = Merged(outlet="forge", at=world.clock(), revision=commit)
    began = world.pass_time(60).clock()
    world.fault(condition="c2", starts_at=began).settle().pass_time(60)
    delivered(world, "cd" * 20).ping().settle()
    assert world.incidents.synced(world.only) is None

    delivered(world, commit).ping().settle().pass_time(60)
    world.clear().clear(condition="c2", starts_at=began).settle().pass_time(600).ping().settle()

    closed, held = world.incidents.closed(world.only), world.incidents.verification(world.only)
    assert closed is not None
    assert closed.because is ClosedBecause.VERIFIED
    assert held is not None
    assert held.outcome is Outcome.VERIFIED
    assert ROLLOUT_SYNCED in told(world)
    assert b"The change reached the cluster" in world.incidents.read(world.only, keys.README)
