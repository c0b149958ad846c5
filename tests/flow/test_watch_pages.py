"""What pages say of a workload while things happen on the whole line: phase, score, last change."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from casebook import Casebook, fault
from world import START, Forge, World

from faultline.adapters.stores.memory import MemoryStore
from faultline.incidents import Incidents
from faultline.model import Policy, Receipt, Report, Resource, RunStatus
from faultline.web.app import app

BADGE = re.compile(
    r'<li><a href="/watch/[^"]*" title="([^"]+)">[^<]+</a> <span class="sign[^>]*>(\w+)</span></li>'
)


class Pages:
    """The console over a memory, asked as a browser or a program would."""

    def __init__(self, incidents: Incidents, clock: Any, policy: Policy | None = None) -> None:
        self.app = app(incidents, send=None, clock=clock, policy=policy)

    def get(self, path: str) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                return await http.get(path)

        return asyncio.run(once())

    def watches(self, path: str = "/") -> dict[str, str]:
        """Return the phase badge of each workload that the page lists."""
        return dict(BADGE.findall(self.get(path).text))

    def status(self, name: str, query: str = "") -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/api/watch/{name}{query}").json()
        return found


class Pulls(Forge):
    """The forge, with addresses of pull requests."""

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        made = super().deliver(report, receipt)
        number = str(self.made)
        url = f"https://git.example/shop/deploy/pull/{number}"
        return receipt or made.model_copy(update={"url": url, "details": {"pull": number}})


class Line(World):
    def __init__(self, scenario: str = "memory", **more: Any) -> None:
        super().__init__(scenario, **more)
        self.forge = Pulls(self.clock)
        self.ports = dataclasses.replace(self.ports, outlets=[self.forge, self.chat])
        self.pages = Pages(self.incidents, self.clock, self.ports.policy)

    @property
    def phase(self) -> str:
        """The badge on the list, which says the same as the workload's own page and API."""
        self.pass_time(2)  # a row may be a second old
        (phase,) = self.pages.watches().values()
        assert self.pages.status("checkout")["phase"] == phase
        assert f">{phase}</span></dd>" in self.pages.get("/watch/checkout").text
        return phase


@pytest.mark.covers("S3-24", "S3-43")
def test_a_workload_is_degraded_healing_while_an_engine_is_asked_and_degraded_after() -> None:
    line, seen = Line("healthy-1", policy=Policy(engine="claude", slots=0)), []
    assert "Watching</span>" in line.pages.get("/").text  # nothing has happened yet

    line.fault().settle()
    seen.append(line.phase)  # it waits for an engine
    line.ports = dataclasses.replace(line.ports, policy=Policy(engine="claude"))
    line.ping().settle()
    (run_id,) = line.jobs.live()
    seen.append(line.phase)
    line.finish(run_id, RunStatus.FAILED, "overloaded").settle()
    seen.append(line.phase)

    assert seen == ["Degraded", "Healing", "Degraded"]


@pytest.mark.covers("S3-24", "S3-43")
def test_a_workload_is_degraded_until_the_merge_then_watched_and_healthy_at_the_end() -> None:
    line, seen = Line(), []

    line.fault().settle()
    seen.append(line.phase)
    line.forge.merge(line.only)
    line.pass_time(60).ping().settle()
    seen.append(line.phase)
    line.clear().settle()
    seen.append(line.phase)
    line.pass_time(60).fault(condition="c2", starts_at=line.clock()).settle()
    seen.append(line.phase)

    assert seen == ["Degraded", "Watching", "Healthy", "Degraded"]


@pytest.mark.covers("S3-24")
def test_the_last_anomaly_is_the_newest_fault_and_survives_a_restart() -> None:
    line = Line().fault().settle()
    late = START + dt.timedelta(minutes=7)
    line.pass_time(420).fault(condition="c2", starts_at=late).settle()

    again = Pages(Incidents(line.store), line.clock)

    assert line.pages.status("checkout")["lastAnomalyTime"] == "2026-11-21T10:07:00Z"
    assert again.status("checkout")["lastAnomalyTime"] == "2026-11-21T10:07:00Z"
    assert again.status("checkout")["phase"] == "Degraded"


@pytest.mark.covers("S3-13", "S3-57", "S3-63")
def test_the_score_and_the_last_pull_request_follow_each_pull_request_and_no_message() -> None:
    line, seen = Line(), []
    for number in (1, 2):
        line.pass_time(60).fault(condition=f"c{number}", starts_at=line.clock()).settle()
        began = max(line.made_fault(starts_at=line.clock()).starts_at, START)
        line.pass_time(2)
        found = line.pages.status("checkout")
        seen.append((found["healingScore"], found["lastPRUrl"]))
        line.clear(condition=f"c{number}", starts_at=began).settle()

    pull = "https://git.example/shop/deploy/pull/"
    assert seen == [(1, f"{pull}1"), (2, f"{pull}2")]
    status = line.pages.status("checkout")
    assert status.keys() == {
        "workload", "phase", "lastDiagnosis", "lastPRUrl", "healingScore", "lastAnomalyTime",
        "conditions",
    }  # fmt: skip
    assert status["conditions"] == [{"type": "HealingCapReached", "status": "False", "message": ""}]
    assert f'href="{pull}2"' in line.pages.get("/watch/checkout").text


@pytest.mark.covers("S3-64")
def test_the_page_says_that_the_cap_is_reached_and_what_to_do() -> None:
    line = Line(policy=Policy(max_healing_attempts=1)).fault().settle()

    (condition,) = line.pages.status("checkout")["conditions"]
    text = line.pages.get("/watch/checkout").text

    assert condition["status"] == "True"
    assert "faultline heal reset prod-a/shop/checkout" in condition["message"]
    assert "HealingCapReached: 1 pull request was made for prod-a/shop/checkout" in text
    assert '<span id="score">1</span> <span class="soft">of 1 until' in text


@pytest.mark.covers("S3-71")
def test_the_first_page_lists_each_workload_once_with_the_phase_of_now() -> None:
    incidents = Incidents(MemoryStore())
    book, now = Casebook(incidents), START + dt.timedelta(hours=1)

    def about(name: str, namespace: str = "shop", minute: int = 0) -> Any:
        resource = Resource(kind="Deployment", name=name, namespace=namespace)
        starts_at = START + dt.timedelta(minutes=minute)
        return fault(resource=resource, condition=f"{namespace}/{name}/{minute}",
                     starts_at=starts_at)  # fmt: skip

    book.closed(about("cart"))
    book.merged(about("mail"))
    book.investigating(about("till"), engine="claude")
    book.closed(about("api", minute=0))
    book.opened(about("api", minute=9))
    book.closed(about("api", namespace="test", minute=5))
    pages = Pages(incidents, lambda: now)

    assert pages.watches() == {
        "prod-eu/shop/api": "Degraded",
        "prod-eu/test/api": "Healthy",
        "prod-eu/shop/cart": "Healthy",
        "prod-eu/shop/mail": "Watching",
        "prod-eu/shop/till": "Healing",
    }
    assert pages.watches("/?status=unclosed").keys() == {
        "prod-eu/shop/api", "prod-eu/shop/mail", "prod-eu/shop/till",
    }  # fmt: skip
    assert pages.watches("/?status=closed") == {}  # what is newer is not there


def test_two_workloads_of_one_name_are_two_watches() -> None:
    incidents = Incidents(MemoryStore())
    book = Casebook(incidents)
    for namespace, minute in (("shop", 9), ("test", 5)):
        resource = Resource(kind="Deployment", name="api", namespace=namespace)
        starts_at = START + dt.timedelta(minutes=minute)
        book.packaged(fault(resource=resource, condition=namespace, starts_at=starts_at))
    pages = Pages(incidents, lambda: START + dt.timedelta(hours=1))

    named = "?key=resource/prod-eu/test/api"
    assert pages.status("api")["workload"] == "prod-eu/shop/api"
    assert pages.status("api", named)["workload"] == "prod-eu/test/api"
    assert pages.status("api", named)["healingScore"] == 1
    assert "Others of this name" in pages.get("/watch/api").text
    assert pages.get("/watch/api?key=resource/prod-eu/nowhere/api").status_code == 404


# live


@pytest.fixture
def served() -> Iterator[tuple[Incidents, str]]:
    import uvicorn

    incidents = Incidents(MemoryStore())
    pages = app(incidents, send=None, clock=lambda: dt.datetime.now(dt.UTC), look_s=0.05)
    server = uvicorn.Server(uvicorn.Config(pages, log_level="error", timeout_graceful_shutdown=1))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield incidents, f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.mark.covers("S3-73")
def test_events_are_a_stream_of_what_happens_to_every_incident(
    served: tuple[Incidents, str],
) -> None:
    incidents, url = served
    told = []

    with httpx.stream("GET", f"{url}/events", timeout=10) as answer:
        lines = answer.iter_lines()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert next(lines) == "retry: 2000"  # milliseconds, after a break
        while '"following": true' not in next(lines):
            pass
        id = Casebook(incidents).opened()
        while not told:
            line = next(lines)
            told += [json.loads(line[6:])] if line.startswith("data: ") else []

    assert told[0]["incident"] == id
    assert told[0]["status"] in (None, "open")
    assert set(told[0]["records"]) <= incidents.names(id)
