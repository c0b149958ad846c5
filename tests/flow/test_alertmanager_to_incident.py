"""Real AlertManagers before the whole line: what they repeat, cut, hold back or send twice.

One line and three AlertManagers serve all tests; each test has a cluster of its own.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from line_process import Census, LineProcess, disposed, until
from prometheus_parts import MISSING, TOKEN, WHY, AlertManager, reported

from faultline.incidents import Incidents
from faultline.model import Incident, Status

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("AlertManager" in MISSING, reason=WHY),
]


@dataclass
class Place:
    """A line, two AlertManagers that do not know of each other, and one that cuts messages."""

    line: LineProcess
    one: AlertManager
    other: AlertManager
    cutting: AlertManager

    @property
    def incidents(self) -> Incidents:
        return self.line.incidents()

    def of(self, cluster: str) -> list[Incident]:
        """The incidents of a test's own cluster, in order of their episodes."""
        known = self.incidents
        found = [known.incident(id) for id in known.ids() if known.status(id)]
        mine = [incident for incident in found if incident.fault.cluster == cluster]
        return sorted(mine, key=lambda incident: incident.episode)

    def faults(self, cluster: str) -> int:
        return sum(len(self.incidents.faults(incident.id)) for incident in self.of(cluster))

    def all(self, cluster: str, status: Status) -> bool:
        found = self.of(cluster)
        return bool(found) and all(self.incidents.status(each.id) is status for each in found)

    def until(self, cluster: str, status: Status, seconds: float = 25) -> list[Incident]:
        until(lambda: self.all(cluster, status), seconds, f"all of {cluster} are {status}")
        return self.of(cluster)

    def told(self, cluster: str) -> int:
        """How many alerts the messages about a cluster had together, each message counted once."""
        store = self.incidents.store
        messages = (json.loads(store.get(key)) for key in store.list("payloads/"))
        alerts = [alert for message in messages for alert in message.get("alerts", ())]
        return sum(alert["labels"].get("cluster") == cluster for alert in alerts)

    def events(self, incident: Incident) -> Counter[str]:
        """How often each event of the incident's faults was passed on, by its id."""
        known = {fault.occurrence for fault, _ in self.incidents.faults(incident.id).values()}
        sent = re.findall(
            r'"event sent".*?"event_id": "([^"/]+)/(detected|cleared)"', self.line.said()
        )
        return Counter(f"{about}/{what}" for about, what in sent if about in known)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("am")
    line = LineProcess(folder / "line", FAULTLINE_WEBHOOK_TOKEN=TOKEN, FAULTLINE_CLUSTER="here")
    target = f"http://127.0.0.1:{line.port}/alertmanager"
    one, other = (AlertManager(folder / n, target, group_by="cluster") for n in ("one", "other"))
    cutting = AlertManager(folder / "cutting", target, group_by="cluster", max_alerts=10)
    with disposed(line), one.running(), other.running(), cutting.running():
        yield Place(line.start(), one, other, cutting)


@pytest.fixture
def up(place: Place) -> Place:
    """The line runs, whatever the test before has done to it."""
    if not place.line.alive:
        place.line.start()
    return place


@pytest.mark.covers("AM-01")
def test_five_alerts_about_one_workload_are_one_incident_and_ten_events(up: Place) -> None:
    up.one.tell([reported(f"Fire{n}", cluster="five") for n in range(5)])
    (incident,) = up.until("five", Status.PACKAGED)
    until(lambda: up.faults("five") == 5, 10, "all have joined")
    up.one.tell([reported(f"Fire{n}", cluster="five", over=True) for n in range(5)])
    assert up.until("five", Status.CLOSED) == [incident]

    events = up.events(incident)
    assert sorted(id.partition("/")[2] for id in events) == ["cleared"] * 5 + ["detected"] * 5
    # AlertManager may flush a group before all of it is there, and tells it whole the next time
    assert sum(events.values()) == up.told("five")
    assert up.incidents.run_numbers(incident.id) == [1]


@pytest.mark.covers("AM-14")
def test_two_that_do_not_gossip_and_send_the_same_are_one_incident_with_one_run(up: Place) -> None:
    alerts = [reported(f"Both{n}", cluster="both") for n in range(3)]
    senders = [threading.Thread(target=am.tell, args=(alerts,)) for am in (up.one, up.other)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    (incident,) = up.until("both", Status.PACKAGED)
    until(lambda: set(up.events(incident).values()) == {2}, 10, "both have sent all three")
    assert up.faults("both") == 3
    assert up.incidents.run_numbers(incident.id) == [1]
    assert up.line.branches()[f"faultline/fix-{incident.id[9:]}"] == 1

    over = [reported(f"Both{n}", cluster="both", over=True) for n in range(3)]
    up.one.tell(over)
    up.other.tell(over)
    assert up.until("both", Status.CLOSED) == [incident]


def test_of_three_alerts_the_last_to_resolve_closes_the_incident(up: Place) -> None:
    up.one.tell([reported(f"Some{n}", cluster="some") for n in range(3)])
    (incident,) = up.until("some", Status.PACKAGED)
    until(lambda: up.faults("some") == 3, 10, "all have joined")

    for number in range(3):
        assert up.incidents.status(incident.id) is Status.PACKAGED
        up.one.tell([reported(f"Some{number}", cluster="some", over=True)])
        until(lambda: cleared(up, incident) == number + 1, 15, "it is on file")  # noqa: B023

    assert up.until("some", Status.CLOSED) == [incident]


def cleared(place: Place, incident: Incident) -> int:
    return sum(end is not None for _, end in place.incidents.faults(incident.id).values())


def test_a_store_that_is_away_while_it_sends_costs_seconds_and_nothing_else(up: Place) -> None:
    store = up.line.folder / "store"
    refused = up.line.said().count('"message not taken"')
    store.rename(up.line.folder / "away")
    up.one.tell([reported("Away", cluster="away")])
    until(lambda: up.line.said().count('"message not taken"') >= refused + 3, 20, "three tries")
    (up.line.folder / "away").rename(store)
    began = time.monotonic()

    (incident,) = until(lambda: up.of("away"), 10, "the incident is there")

    print(f"on file {time.monotonic() - began:.1f} s after the store was back")
    assert up.until("away", Status.PACKAGED) == [incident]
    assert set(up.events(incident).values()) == {1}


def test_restarts_on_both_sides_bring_neither_loss_nor_a_second_incident(up: Place) -> None:
    up.one.tell([reported("Kept", cluster="restarts")])
    (incident,) = up.until("restarts", Status.PACKAGED)

    up.one.end(signal.SIGTERM)  # it writes its log of notifications
    up.one.start()
    up.one.end(signal.SIGKILL)  # it does not, and sends again what is told again
    up.one.start()
    up.line.kill()
    up.one.tell([reported("Kept", cluster="restarts"), reported("More", cluster="restarts")])
    time.sleep(1)  # it is refused meanwhile
    up.line.start()
    until(lambda: up.faults("restarts") == 2, 20, "what was sent meanwhile has come")
    up.line.kill(signal.SIGTERM, wait_s=25)
    up.line.start()

    over = [reported(name, cluster="restarts", over=True) for name in ("Kept", "More")]
    up.one.tell(over)
    assert up.until("restarts", Status.CLOSED) == [incident]
    assert up.incidents.run_numbers(incident.id) == [1]


def test_a_thousand_alerts_in_one_group_about_one_workload_are_one_incident(up: Place) -> None:
    began = time.monotonic()
    up.one.tell([reported("Pod", cluster="many", pod=f"checkout-{n}") for n in range(1000)])
    until(lambda: on_file(up, "detected") == 1000, 60, "all are on file")
    fired = time.monotonic() - began
    (incident,) = up.until("many", Status.PACKAGED)

    began = time.monotonic()
    up.one.tell(
        [reported("Pod", cluster="many", pod=f"checkout-{n}", over=True) for n in range(1000)]
    )
    assert up.until("many", Status.CLOSED, 90) == [incident]

    print(f"1,000 alerts: on file after {fired:.1f} s, closed {time.monotonic() - began:.1f} s")
    assert on_file(up, "cleared") == 1000
    assert up.incidents.run_numbers(incident.id) == [1]


def on_file(place: Place, what: str) -> int:
    """Count the fault records of the cluster `many`, without reading them."""
    found = place.of("many")
    names = place.incidents.names(found[0].id) if found else ()
    return sum(name.endswith(f"/{what}.json") and name.startswith("faults/") for name in names)


def test_what_a_cut_message_leaves_out_is_unknown_and_not_over(up: Place) -> None:
    up.cutting.tell([reported(f"Cut{n:02}", cluster="cut") for n in range(50)])
    (incident,) = up.until("cut", Status.PACKAGED)
    until(lambda: up.faults("cut") == 10, 10, "those that were listed are on file")
    assert "alerts were left out of a message" in up.line.said()

    up.cutting.tell([reported(f"Cut{n:02}", cluster="cut", over=True) for n in range(4)])
    until(lambda: cleared(up, incident) == 4, 15, "four of ten are over")
    assert up.incidents.status(incident.id) is Status.PACKAGED
    up.cutting.tell([reported(f"Cut{n:02}", cluster="cut", over=True) for n in range(4, 50)])

    assert up.until("cut", Status.CLOSED)[0] == incident


def test_a_flapping_alert_is_one_episode_after_the_other_and_leaves_nothing_open(up: Place) -> None:
    for cycle in range(4):
        began = dt.datetime.now(dt.UTC)  # after the last end: else AlertManager joins the two
        up.one.tell([reported("Flap", cluster="flap", began=began)])
        until(lambda: len(up.of("flap")) == cycle + 1, 15, "an episode")  # noqa: B023
        up.one.tell([reported("Flap", cluster="flap", began=began, over=True)])
        up.until("flap", Status.CLOSED)

    episodes = up.of("flap")
    assert [incident.episode for incident in episodes] == [1, 2, 3, 4]
    assert [each.follows for each in episodes[1:]] == [each.id for each in episodes[:-1]]


def test_a_silence_ends_nothing_and_its_end_starts_nothing(up: Place) -> None:
    up.one.tell([reported("Quiet", cluster="quiet")])
    (incident,) = up.until("quiet", Status.PACKAGED)
    up.one.silence("Quiet", 2)
    up.one.tell([reported("Quiet", cluster="quiet")])
    time.sleep(3)

    assert up.of("quiet") == [incident]
    assert up.incidents.status(incident.id) is Status.PACKAGED
    up.one.tell([reported("Quiet", cluster="quiet", over=True)])
    assert up.until("quiet", Status.CLOSED) == [incident]


def test_after_all_that_nothing_is_parked_and_no_commit_is_doubled(up: Place) -> None:
    census = Census(up.incidents)

    assert census.parked == []
    assert [n for n in up.line.branches().values() if n != 1] == []
    assert all(numbers in ([], [1]) for numbers in census.runs.values())  # []: over before a run
    assert json.dumps(census.unfinished()) == "[]"
