"""Five pull requests for one workload, and then a person has to look: on the whole line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from world import Forge, World

from faultline import healing_cap, keys, views
from faultline.adapters.stores import open_store
from faultline.adapters.stores.memory import MemoryStore
from faultline.cli import main
from faultline.errors import StoreDown
from faultline.event import CONTEXT_READY, Event, format_time
from faultline.model import OURSELVES, Policy, Receipt, Report
from faultline.store import Store

TWO = Policy(max_healing_attempts=2)
KEY = "resource/prod-a/shop/checkout"
DAY = 86_400


class Pulls(Forge):
    """The forge, whose receipts say whether there is a pull request or, without a change, none."""

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        made = super().deliver(report, receipt)
        kind = "issue" if report.proposal.empty else "pull"
        return receipt or made.model_copy(update={"details": {kind: made.reference}})


class Line(World):
    """A line on which one workload falls ill again and again. Its cause is proved each time."""

    def __init__(self, scenario: str = "memory", **more: Any) -> None:
        super().__init__(scenario, **more)
        self.forge = Pulls(self.clock)
        self.ports = dataclasses.replace(self.ports, outlets=[self.forge, self.chat])
        self.times = 0

    def falls_ill(self) -> str:
        self.times += 1
        self.pass_time(60).fault(condition=f"c{self.times}", starts_at=self.clock()).settle()
        return self.newest

    def recovers(self) -> None:
        began = self.incidents.incident(self.newest).fault.starts_at
        self.clear(condition=f"c{self.times}", starts_at=began).settle()

    def is_healed(self, times: int) -> Line:
        for _ in range(times):
            self.falls_ill()
            self.recovers()
        return self

    def asks_again(self, engine: str = "") -> None:
        """A person asks for another run."""
        number = max(self.incidents.run_numbers(self.newest)) + 1
        moment = format_time(self.clock())
        data = {"run": number} | ({"engine": engine} if engine else {})
        self.send(Event(id=f"{self.newest}-{number}", source="/test", type=CONTEXT_READY,
                        subject=self.newest, time=moment, data=data))  # fmt: skip
        self.settle()

    @property
    def newest(self) -> str:
        return max(self.ids, key=lambda each: self.incidents.incident(each).episode)

    @property
    def score(self) -> int:
        return healing_cap.score(KEY, self.incidents)


@pytest.mark.covers("S3-63")
def test_the_score_is_one_more_after_each_pull_request_and_a_later_run_adds_none() -> None:
    line = Line()

    scores = []
    for _ in range(3):
        line.falls_ill()
        scores.append(line.score)
        line.asks_again()
        line.recovers()
        scores.append(line.score)

    assert scores == [1, 1, 2, 2, 3, 3]
    assert line.forge.made == 3


@pytest.mark.covers("S3-64")
def test_the_sixth_time_no_change_is_proposed_and_people_are_told_why() -> None:
    line = Line().is_healed(5)

    id = line.falls_ill()

    assert line.score == 5
    assert line.forge.pull_requests[id].patch == ""
    told = f"{line.chat.messages[-1]}\n{line.forge.pull_requests[id].text}"
    assert told.count("HealingCapReached: 5 pull requests were made") == 2
    assert told.count("faultline heal reset prod-a/shop/checkout") == 2
    assert "HealingCapReached" in line.store.get(f"incidents/{id}/README.md").decode()
    entries = views.load(line.incidents, id).timeline
    assert [e.record for e in entries if e.what == "HealingCapReached"] == ["runs/1/run.json"]
    proposal = line.incidents.proposal(id, 1)
    assert proposal is not None
    assert list(proposal.refused) == ["every change"]
    diagnosis = line.incidents.diagnosis(id, 1)
    assert diagnosis is not None  # what was proved is said all the same
    assert diagnosis.changes


@pytest.mark.covers("S3-64")
def test_at_the_cap_no_engine_is_asked_whoever_asks_until_a_person_resets() -> None:
    line = Line(policy=Policy(engine="claude", max_healing_attempts=1)).is_healed(1)
    line.scenario = line.scenario.parent / "healthy-1"
    sources = [type(line.ports.sources[0])(line.store.get)]  # the alert alone: nothing is proved
    line.ports = dataclasses.replace(line.ports, sources=sources)

    id = line.falls_ill()
    line.asks_again("codex")

    assert line.jobs.starts == 0
    diagnosis = line.incidents.diagnosis(id, 2)
    assert diagnosis is not None
    assert healing_cap.HELD_BACK in diagnosis.root_cause

    healing_cap.reset(KEY, line.incidents, by="ada", at=line.clock(), note="bounded the cache")
    line.asks_again()

    assert line.score == 0
    assert list(line.jobs.started) == [f"{id}-3"]


def test_after_a_reset_the_next_incident_gets_its_pull_request() -> None:
    line = Line(policy=TWO).is_healed(3)
    assert line.forge.pull_requests[line.newest].patch == ""

    before = healing_cap.reset(KEY, line.incidents, by="ada", at=line.clock())
    again = healing_cap.reset(KEY, line.incidents, by="ada", at=line.clock())
    id = line.falls_ill()

    assert (before, again) == (2, 0)
    assert line.forge.pull_requests[id].patch != ""
    assert line.score == 1


def test_the_incident_that_reached_the_cap_may_still_edit_its_own_pull_request() -> None:
    line = Line(policy=TWO).is_healed(1)
    id = line.falls_ill()

    line.asks_again()

    assert line.score == 2
    run = line.incidents.run(id, 2)
    assert run is not None
    assert run.capped == ""
    assert line.forge.pull_requests[id].patch != ""


def test_a_delivery_that_comes_again_finds_the_decision_as_it_was() -> None:
    line = Line(policy=TWO).is_healed(2)
    id = line.falls_ill()
    run, proposal = line.incidents.run(id, 1), line.incidents.proposal(id, 1)
    healing_cap.reset(KEY, line.incidents, by="ada", at=line.clock())

    from faultline.event import from_json

    assert run is not None
    line.send(dataclasses.replace(from_json(run.cause), id="again"))
    line.settle()

    assert line.incidents.run(id, 1) == run
    assert line.incidents.proposal(id, 1) == proposal
    assert line.score == 0


class Forgetful(MemoryStore):
    """Breaks down once, just before the first receipt is written."""

    broke = False
    counted = 0  # at that moment

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if "/published/forge" in key and not self.broke:
            self.broke, self.counted = True, len(list(self.list(keys.HEALING)))
            raise StoreDown("the store does not answer")
        super().put(key, data, if_absent=if_absent)


def test_a_crash_before_the_receipt_counts_the_pull_request_once() -> None:
    store = Forgetful()
    line = Line(store=store)

    line.falls_ill()

    assert store.broke
    assert (store.counted, line.score) == (1, 1)  # whatever receipt there is was counted
    assert line.incidents.receipt(line.newest, "forge") is not None


def test_a_week_without_an_incident_is_a_reset_and_less_is_none() -> None:
    line = Line(policy=TWO).is_healed(1)
    line.pass_time(6 * DAY)
    line.is_healed(1)
    assert line.score == 2

    line.pass_time(7 * DAY)
    id = line.falls_ill()

    assert line.forge.pull_requests[id].patch != ""
    assert line.score == 1
    (name,) = [key for key in line.keys(keys.healing(KEY)) if "/reset-" in key]
    assert json.loads(line.store.get(name))["by"] == OURSELVES


def test_a_cap_of_none_holds_nobody_back_and_one_of_two_holds_the_third() -> None:
    free = Line(policy=Policy(max_healing_attempts=0)).is_healed(3)
    strict = Line(policy=TWO).is_healed(3)

    assert (free.score, strict.score) == (3, 2)


def test_a_message_is_no_pull_request_and_one_that_two_incidents_share_counts_once() -> None:
    line = Line()
    line.is_healed(2)
    first, second = (line.incidents.incident(id) for id in line.ids)
    shared = Receipt(outlet="github", reference="acme/shop#7", made_at=line.clock(),
                     details={"pull": "7"})  # fmt: skip
    issue = shared.model_copy(update={"reference": "acme/shop#8", "details": {"issue": "8"}})

    for receipt in (shared, issue):
        for incident in (first, second):
            healing_cap.count(incident, receipt, line.incidents)

    assert line.score == 3


# by hand


def stored(folder: Path) -> tuple[str, Store]:
    url = f"file://{folder}/store"
    Line(store=open_store(url)).is_healed(2)
    return url, open_store(url)


def test_a_person_resets_by_as_much_of_the_name_as_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ada")
    url, store = stored(tmp_path)

    code = main(["heal", "reset", "shop/checkout", "--note", "looked", "--store", url, "--json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out) == {
        "workload": "prod-a/shop/checkout", "healingScore": 0, "before": 2, "by": "ada",
    }  # fmt: skip
    (name,) = [key for key in store.list(keys.healing(KEY)) if "/reset-" in key]
    record = json.loads(store.get(name))
    assert (record["by"], record["note"], len(record["forgives"])) == ("ada", "looked", 2)

    assert main(["heal", "reset", "checkout", "--store", url]) == 0
    assert "was 0 already" in capsys.readouterr().out


def test_a_workload_that_is_unknown_or_one_of_several_is_not_reset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, store = stored(tmp_path)
    store.put(keys.healing("resource/prod-b/shop/checkout", "20261121-checkout-00000000.x"), b"")

    assert main(["heal", "reset", "nobody", "--store", url]) == 1
    assert "there are prod-a/shop/checkout, prod-b/shop/checkout" in capsys.readouterr().err
    assert main(["heal", "reset", "checkout", "--store", url]) == 1
    assert "expected one workload" in capsys.readouterr().err
    assert main(["heal", "reset", "prod-a/shop/checkout", "--store", url]) == 0
