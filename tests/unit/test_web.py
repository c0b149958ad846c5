"""The console over HTTP, in memory: what it shows, refuses, and never gives away."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from casebook import PROVED, T0, Casebook, fault

from faultline import keys, views
from faultline.adapters.stores.memory import MemoryStore
from faultline.errors import Unavailable
from faultline.event import CONTEXT_READY, INCIDENT_CLOSED, Event, to_json
from faultline.incidents import Incidents, content
from faultline.model import Claim, ClosedBecause, Evidence, Resource, Run, Severity, Stop
from faultline.store import Store
from faultline.web.app import app
from faultline.web.guard import POLICY
from faultline.web.live import Live
from faultline.web.shelf import Shelf, Wanted

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m\"'"
SAME = {"sec-fetch-site": "same-origin"}
NOW = T0 + dt.timedelta(minutes=20)


class Console:
    """The whole app over a store in memory, and what it sent."""

    def __init__(self, store: Store | None = None, **options: Any) -> None:
        self.incidents = Incidents(store or MemoryStore())
        self.book = Casebook(self.incidents)
        self.sent: list[Event] = []
        known: dict[str, Any] = {"send": self.sent.append, "clock": lambda: NOW}
        self.app = app(self.incidents, **known | options)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            base = more.pop("base_url", "http://127.0.0.1:8080")
            async with httpx.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **more)

        return asyncio.run(once())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("GET", path, **more)

    def press(self, page: str, action: str, **fields: str) -> httpx.Response:
        """Send the form of a page as a browser would."""
        form = re.search(rf'action="({re.escape(action)})">\s*<input[^>]*value="(\w+)"', self.get(page).text)  # fmt: skip # noqa: E501
        assert form, f"no form for {action} on {page}"
        return self.ask("POST", form[1], data={"token": form[2]} | fields, headers=SAME)


@pytest.fixture
def console() -> Console:
    return Console()


def pages_of(console: Console, id: str) -> list[str]:
    """Every kind of page there is."""
    return ["/", "/?status=closed", f"/incidents/{id}", f"/incidents/{id}/report",
            f"/incidents/{id}/files/context/logs.txt",
            f"/incidents/{id}/files/README.md?download=1",
            "/watch/api", "/dead-letters", "/monitor", "/budgets",
            "/nothing", "/incidents/nothing", "/health",
            "/static/page.css", "/static/style.css", "/static/live.js", "/api/agents",
            "/api/watch/api"]  # fmt: skip


# headers


@pytest.mark.covers("UI-02", "UI-06")
def test_every_page_says_what_a_browser_may_do_with_it(console: Console) -> None:
    id = console.book.packaged()
    views.write(console.incidents, id, 1)

    for path in pages_of(console, id):
        headers = console.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; "), path
        assert "unsafe" not in policy, path
        assert "frame-ancestors 'none'" in policy, path
        assert "base-uri 'none'" in policy, path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer", path
        assert headers["x-frame-options"] == "DENY", path
        assert "set-cookie" not in headers, path
        assert "access-control-allow-origin" not in headers, path


def test_refusals_carry_the_same_headers(console: Console) -> None:
    for answer in (
        console.ask("POST", "/incidents/x/close"),
        console.get("/", base_url="http://evil.example"),
        console.ask("DELETE", "/"),
    ):
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.status_code >= 400


def test_pages_hold_no_style_and_no_script_of_their_own(console: Console) -> None:
    id = console.book.packaged()

    for path in ("/", f"/incidents/{id}", "/dead-letters", "/monitor", "/watch/api"):
        text = console.get(path).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?! src=\"/static/)", text), path


def test_the_report_is_shown_under_the_policy_of_its_own_style_alone(console: Console) -> None:
    id = console.book.packaged()
    views.write(console.incidents, id, 1)

    policy = console.get(f"/incidents/{id}/report").headers["content-security-policy"]

    assert re.search(r"style-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert "script-src" not in policy


# what it shows


@pytest.mark.covers("S3-70")
def test_the_list_says_who_how_bad_why_and_what_is_proposed(console: Console) -> None:
    id = console.book.packaged()

    text = console.get("/").text

    for part in (f'href="/incidents/{id}"', ">packaged<", ">critical<", PROVED.title, "20 min",
                 'href="https://git.example/shop/deploy/pull/214" rel="noreferrer noopener nofollow"'):  # fmt: skip # noqa: E501
        assert part in text, part


def test_the_list_is_narrowed_by_status_severity_and_text(console: Console) -> None:
    closed = console.book.closed()
    other = fault(
        severity=Severity.INFO, condition="other", name="KubeJobFailed",
        resource=Resource(kind="Job", name="nightly", namespace="batch"),
    )  # fmt: skip
    opened = console.book.opened(other)

    def found(query: str) -> set[str]:
        return set(re.findall(r'href="/incidents/([^"/]+)"', console.get(f"/?{query}").text))

    assert found("") == {closed, opened}
    assert found("status=closed") == {closed}
    assert found("status=unclosed") == {opened}
    assert found("severity=info") == {opened}
    assert found("q=BATCH") == {opened}
    assert found("q=memory+limit") == {closed}
    assert found("q=nothing+at+all") == set()
    assert found("page=2") == set()
    assert found("page=-1") == {closed, opened}


def test_an_incident_answers_five_questions_in_their_order(console: Console) -> None:
    text = console.get(f"/incidents/{console.book.packaged()}").text

    places = [text.index(f"<dt>{question}</dt>") for question in (
        "What is broken", "Why", "How sure we are", "The fix", "What happens next")]  # fmt: skip
    assert places == sorted(places)
    assert places[0] < text.index("The change")
    assert "no model was asked" in text


def test_a_line_of_evidence_opens_the_file_at_that_line(console: Console) -> None:
    id = console.book.packaged()
    path = f"/incidents/{id}/files/context/logs.txt"

    assert f'href="{path}#L5"' in console.get(f"/incidents/{id}").text
    assert (
        '<span id="L5"><a class="n" href="#L5">5</a>2026-11-21T03:11:49Z' in console.get(path).text
    )


@pytest.mark.parametrize("stage", ["opened", "ready", "investigating", "investigated", "packaged",
                                   "merged", "closed"])  # fmt: skip
def test_an_incident_has_a_page_at_every_stage(console: Console, stage: str) -> None:
    id = getattr(console.book, stage)()

    assert console.get(f"/incidents/{id}").status_code == 200
    assert console.get("/").status_code == 200


@pytest.mark.covers("S4-47")
def test_foreign_text_is_text_on_every_page(console: Console) -> None:
    bad = PROVED.model_copy(
        update={
            "title": HOSTILE,
            "root_cause": HOSTILE,
            "witty_line": HOSTILE[:60],
            "evidence": (Evidence(file=HOSTILE, quote=HOSTILE),),
        }
    )
    hostile = fault(
        name=HOSTILE, summary=HOSTILE, cluster=HOSTILE, labels={HOSTILE: HOSTILE},
        resource=Resource(kind=HOSTILE, name=HOSTILE, namespace=HOSTILE),
    )  # fmt: skip
    id = console.book.packaged(hostile, diagnosis=bad, url=f'javascript:alert(1)//"{HOSTILE}')
    views.write(console.incidents, id, 1)
    console.incidents.record(id, "output/artifacts/x.html", HOSTILE.encode())
    parked = {"reason": HOSTILE, "event": {"id": HOSTILE, "source": HOSTILE, "type": HOSTILE}}
    console.incidents.store.put(keys.parked(T0.date(), HOSTILE), json.dumps(parked).encode())
    names = console.incidents.names(id)

    paths = ["/", "/dead-letters", "/monitor", f"/incidents/{id}", f"/incidents/{id}/report"]
    paths += [f"/incidents/{id}/files/{name.replace('%', '%25')}" for name in names]
    for path in paths:
        answer = console.get(path)
        assert answer.status_code == 200, path
        if "attachment" not in answer.headers.get("content-disposition", ""):
            assert not re.search(r"<(script(?! src=\"/static)|img)|\u202e|\x1b", answer.text), path
            assert not re.search(
                r'(href|action|src)="(?!/|#|\?|data:,|https://git)', answer.text
            ), path


@pytest.mark.covers("ART-05")
@pytest.mark.parametrize("name", ["x.html", "x.svg", "x.xhtml", "x.pdf", "deep/x.js"])
def test_an_artifact_is_only_ever_a_download(console: Console, name: str) -> None:
    id = console.book.investigated()
    for folder in ("output/artifacts/", "runs/1/output/artifacts/"):
        console.incidents.record(id, folder + name, b"<svg onload=alert(1)>")

        answer = console.get(f"/incidents/{id}/files/{folder}{name}")

        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


def test_a_record_that_is_no_text_is_offered_as_a_download(console: Console) -> None:
    id = console.book.opened()
    console.incidents.record(id, "context/core.bin", b"\xff\x00\x01")

    answer = console.get(f"/incidents/{id}/files/context/core.bin")

    assert "This is not text" in answer.text
    assert (
        console.get(f"/incidents/{id}/files/context/core.bin?download=1").content == b"\xff\x00\x01"
    )


@pytest.mark.covers("S3-72")
def test_a_workload_has_its_history_score_last_change_and_jokes(console: Console) -> None:
    for minutes in range(12):
        starts_at = T0 - dt.timedelta(minutes=minutes)
        console.book.closed(fault(starts_at=starts_at, condition=str(minutes)))

    text = console.get("/watch/api").text
    status = console.get("/api/watch/api").json()

    assert len(re.findall(r'<li>.*?href="/incidents/', text)) == 10
    assert PROVED.witty_line in text
    assert status["healingScore"] == 12
    assert status["phase"] == "Healthy"
    assert status["lastPRUrl"] == "https://git.example/shop/deploy/pull/214"
    assert status["lastDiagnosis"].endswith(f"💬 {PROVED.witty_line}")
    assert console.get("/watch/nobody").status_code == 404


# what it does not give away


@pytest.mark.parametrize("path", [
    "payloads/2026-11-21/x.json", "../../payloads/2026-11-21/x.json",
    "..%2f..%2fpayloads/2026-11-21/x.json", "%2e%2e/%2e%2e/payloads/2026-11-21/x.json",
    "/etc/passwd", "context/%2e%2e/%2e%2e/x", "context//logs.txt", "", "context",
])  # fmt: skip
def test_only_records_of_the_incident_are_served(console: Console, path: str) -> None:
    id = console.book.ready()
    console.incidents.store.put("payloads/2026-11-21/x.json", b"SECRET")

    answer = console.get(f"/incidents/{id}/files/{path}")

    assert answer.status_code in (400, 404)
    assert "SECRET" not in answer.text


@pytest.mark.parametrize("id", ["x", "20261121-api-XYZ", "%2e%2e", "20261121-api-5c1e9b2a%0a",
                                "%00", "20261121-api-00000000"])  # fmt: skip
def test_what_is_no_incident_is_not_found(console: Console, id: str) -> None:
    for tail in ("", "/report", "/files/incident.json"):
        assert console.get(f"/incidents/{id}{tail}").status_code in (404, 400)


def test_a_console_without_a_token_answers_to_loopback_names_only(console: Console) -> None:
    for host, status in (("localhost:9000", 200), ("127.0.0.1", 200), ("[::1]:80", 200),
                         ("evil.example", 421), ("127.0.0.1.evil.example", 421)):  # fmt: skip
        assert console.get("/", base_url=f"http://{host}").status_code == status, host
    named = Console(hosts=("faultline.example",))
    assert named.get("/", base_url="http://faultline.example").status_code == 200


def test_with_a_token_nothing_but_health_is_open(console: Console) -> None:
    guarded = Console(token="s3cret-ü")
    id = guarded.book.packaged()

    for path in pages_of(guarded, id):
        wanted = 200 if path == "/health" else 401
        assert guarded.get(path).status_code == wanted, path
    for wrong in (("x", "s3cret"), ("x", ""), ("s3cret-ü", "x"), ("x", "é")):
        assert guarded.get("/", auth=httpx.BasicAuth(*wrong)).status_code == 401
    assert guarded.get("/", auth=httpx.BasicAuth("maria", "s3cret-ü")).status_code == 200
    assert guarded.get("/", headers={"authorization": "Basic !!!"}).status_code == 401


# acts


@pytest.mark.covers("UI-03")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8080", "sec-fetch-site": "cross-site"},
    ],
)
def test_another_site_changes_nothing(console: Console, headers: dict[str, str]) -> None:
    id = console.book.packaged()
    page = console.get(f"/incidents/{id}").text
    before = console.incidents.names(id)
    console.incidents.store.put("parked/2026-11-21/x.json", b"{}")

    for act in ("close", "retry", "cancel"):
        token = re.search(rf'{act}">\s*<input[^>]*value="(\w+)"', page)
        data = {"token": token[1] if token else ""}
        path = f"/incidents/{id}/{act}"
        assert console.ask("POST", path, data=data, headers=headers).status_code == 403
    sent = console.ask("POST", "/dead-letters/2026-11-21/x.json/send", headers=headers)

    assert sent.status_code == 403
    assert console.incidents.names(id) == before
    assert console.sent == []


@pytest.mark.parametrize("token", ["", "0" * 64, "ü"])
def test_a_form_without_its_own_token_changes_nothing(console: Console, token: str) -> None:
    id = console.book.packaged()

    answer = console.ask("POST", f"/incidents/{id}/close", data={"token": token}, headers=SAME)

    assert answer.status_code == 403
    assert console.incidents.closed(id) is None


def test_the_token_of_one_form_opens_no_other(console: Console) -> None:
    id = console.book.packaged()
    page = console.get(f"/incidents/{id}").text
    token = re.search(r'retry">\s*<input[^>]*value="(\w+)"', page)
    assert token

    path, data = f"/incidents/{id}/close", {"token": token[1]}

    assert console.ask("POST", path, data=data, headers=SAME).status_code == 403


def test_a_browser_that_only_says_its_origin_may_act(console: Console) -> None:
    id = console.book.packaged()
    page = console.get(f"/incidents/{id}").text
    token = re.search(r'close">\s*<input[^>]*value="(\w+)"', page)
    assert token

    answer = console.ask("POST", f"/incidents/{id}/close", data={"token": token[1]},
                         headers={"origin": "http://127.0.0.1:8080"})  # fmt: skip

    assert answer.status_code == 303


def test_no_get_changes_anything(console: Console) -> None:
    id = console.book.packaged()
    before = console.incidents.names(id)

    for act in ("close", "retry", "cancel"):
        assert console.get(f"/incidents/{id}/{act}").status_code == 405

    assert (console.incidents.names(id), console.sent) == (before, [])


def test_a_person_closes_an_incident_with_a_note() -> None:
    console = Console(token="t")
    id = console.book.packaged()
    auth = httpx.BasicAuth("maria", "t")
    page = console.get(f"/incidents/{id}", auth=auth).text
    token = re.search(r'close">\s*<input[^>]*value="(\w+)"', page)
    assert token

    answer = console.ask("POST", f"/incidents/{id}/close", auth=auth, headers=SAME,
                         data={"token": token[1], "note": " rolled back by hand "})  # fmt: skip

    closed = console.incidents.closed(id)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/incidents/{id}")
    assert closed
    assert (closed.because, closed.by, closed.note, closed.at) == (
        ClosedBecause.PERSON, "maria", "rolled back by hand", NOW)  # fmt: skip
    assert closed.occurrences == (console.incidents.incident(id).fault.occurrence,)
    assert [(e.type, e.subject) for e in console.sent] == [(INCIDENT_CLOSED, id)]
    assert "**closed**" in console.incidents.read(id, keys.README).decode()


def test_what_is_closed_cannot_be_closed_again(console: Console) -> None:
    id = console.book.packaged()
    page = console.get(f"/incidents/{id}").text
    token = re.search(r'close">\s*<input[^>]*value="(\w+)"', page)
    assert token

    answers = [
        console.ask("POST", f"/incidents/{id}/close", data={"token": token[1]}, headers=SAME)
        for _ in range(2)
    ]

    assert [a.status_code for a in answers] == [303, 409]
    assert len(console.sent) == 1
    assert '<form class="act"' not in console.get(f"/incidents/{id}").text


def test_a_retry_asks_for_the_next_run_and_each_has_a_name_of_its_own(console: Console) -> None:
    id = console.book.packaged()

    console.press(f"/incidents/{id}", f"/incidents/{id}/retry")
    console.press(f"/incidents/{id}", f"/incidents/{id}/retry")
    console.book.run(id, 2)
    refused = console.ask("POST", f"/incidents/{id}/retry", headers=SAME)

    assert [(e.type, e.data, e.subject) for e in console.sent] == [
        (CONTEXT_READY, {"run": 2}, id)] * 2  # fmt: skip
    assert len({(e.source, e.id) for e in console.sent}) == 1
    assert refused.status_code == 403
    assert f"{id}/retry" not in console.get(f"/incidents/{id}").text


def test_a_run_under_way_can_be_cancelled_once(console: Console) -> None:
    id = console.book.investigating(engine="claude")

    answer = console.press(f"/incidents/{id}", f"/incidents/{id}/cancel")

    stop = console.incidents.stop(id, 1)
    assert answer.status_code == 303
    assert stop == Stop(by="someone at the web console", at=NOW)
    page = console.get(f"/incidents/{id}").text
    assert "asked to stop" in page
    assert f"{id}/cancel" not in page


def test_a_form_over_the_limit_is_refused(console: Console) -> None:
    id = console.book.packaged()

    answer = console.ask("POST", f"/incidents/{id}/close", content=b"x" * 20_000, headers=SAME)

    assert answer.status_code == 413


def test_a_dead_letter_is_shown_with_its_reason_and_sent_again(console: Console) -> None:
    event = {"specversion": "1.0", "id": "5c1e/1", "source": "/x", "type": "t.v1", "data": {"a": 1}}
    parked = {"reason": "expected a Fault", "by": "triage", "event": event}
    key = keys.parked(T0.date(), "5c1e/1")
    console.incidents.store.put(key, json.dumps(parked).encode())
    console.incidents.store.put("parked/2026-11-20/raw.json", b'{"reason": "no event", "raw": {}}')
    alone = json.dumps(event | {"id": "6", "knativeerrordata": "x"}).encode()
    console.incidents.store.put("parked/2026-11-20/six.json", alone)

    page = console.get("/dead-letters").text
    action = re.search(r'action="(/dead-letters/2026-11-21/[^"]+)"', page)
    assert action
    answer = console.press("/dead-letters", action[1])

    assert page.index("expected a Fault") < page.index("no event")
    assert page.count("<form") == 2
    assert answer.status_code == 303
    assert [(e.id, e.data) for e in console.sent] == [("5c1e/1", {"a": 1})]
    assert "sent again" in console.get("/dead-letters?sent=1").text


def test_without_a_broker_nothing_can_be_sent() -> None:
    console = Console(send=None)
    id = console.book.packaged()
    console.incidents.store.put("parked/2026-11-21/x.json", b'{"event":{"id":"1","source":"s","type":"t"}}')  # fmt: skip # noqa: E501

    assert f"{id}/retry" not in console.get(f"/incidents/{id}").text
    assert "<form" not in console.get("/dead-letters").text
    assert console.press(f"/incidents/{id}", f"/incidents/{id}/close").status_code == 303


# health, agents, monitor


@pytest.mark.covers("S4-38", "S4-44")
def test_health_says_how_store_and_broker_are_now() -> None:
    up = True
    console = Console(bus=lambda: up)

    first = console.get("/health").json()
    up = False
    second = console.get("/health").json()

    assert first == {"status": "healthy", "nats": "connected", "broker": "connected"}
    assert second["nats"] == "disconnected"
    assert Console(send=None).get("/health").json()["nats"] == "none"
    assert "Status: healthy | Broker: disconnected" in console.get("/monitor").text


class Down(MemoryStore):
    """A store that does not answer."""

    def folders(self, prefix: str) -> Any:
        raise Unavailable("the store did not answer")


def test_a_store_that_is_down_is_said_to_be_down() -> None:
    console = Console(Down())

    assert console.get("/health").status_code == 503
    assert console.get("/health/liveness").status_code == 200
    answer = console.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "did not answer" in answer.text


@pytest.mark.covers("S4-39", "S1-069")
def test_agents_are_the_runs_under_way(console: Console) -> None:
    console.book.packaged()
    other = fault(condition="2", resource=Resource(kind="Pod", name="db-0", namespace="shop"))
    id = console.book.investigating(other, engine="claude")

    assert console.get("/api/agents").json() == {
        "agents": [{"id": f"{id}-1", "session_id": id, "role": "claude", "status": "running"}]
    }
    assert f"<li>{id}-1 - claude - running</li>" in console.get("/monitor").text


@pytest.mark.covers("S4-43")
def test_the_monitor_has_its_three_sections(console: Console) -> None:
    found = re.findall(r"<h2>([^<]+)</h2>", console.get("/monitor").text)

    assert found == ["System health", "Active agents", "Event log"]


# live


def events_of(live: Live, id: str, last: str, count: int, then: Callable[[], None]) -> list[Any]:
    """Follow; call `then` once the first event is there; return `count` events."""

    async def read() -> list[Any]:
        found: list[Any] = []
        stream = live.follow(id, last)
        async for part in stream:
            text = part.decode()
            if text.startswith("id: "):
                assert re.fullmatch(r"id: [0-9a-f]{16}\ndata: .*\n\n", text)
                found.append((text[4:20], json.loads(text.split("data: ")[1])))
                if len(found) == 1:
                    then()
                if len(found) == count:
                    break
        await stream.aclose()  # type: ignore[attr-defined]
        return found

    return asyncio.run(asyncio.wait_for(read(), 10))


def test_a_reader_is_told_of_each_new_record_and_of_what_it_missed(console: Console) -> None:
    id = console.book.ready()
    moments = (NOW + dt.timedelta(minutes=n) for n in itertools.count())
    shelf = Shelf(console.incidents, lambda: next(moments))
    live = Live(console.incidents, shelf, look_s=0.01)

    first = events_of(live, id, "", 2, lambda: console.book.run(id, 1, engine="claude"))
    name, other = "context/late\nfile", fault(condition="x", cluster="y")
    missed = events_of(live, id, "0" * 16, 2, lambda: console.incidents.record(id, name, b"") and None)  # fmt: skip # noqa: E501
    everywhere = events_of(live, "", "", 2, lambda: console.book.opened(other) and None)

    assert first[0][1] == {"incident": id, "following": True}
    assert first[1][1] == {
        "incident": id,
        "status": "investigating",
        "records": ["runs/1/run.json"],
    }
    assert missed[0][1] == {"incident": id, "missed": True}
    assert missed[1][1]["records"] == [name]
    assert everywhere[1][1]["status"] == "open"


def test_a_reader_that_leaves_is_forgotten(console: Console) -> None:
    id = console.book.ready()
    live = Live(console.incidents, Shelf(console.incidents, lambda: NOW), look_s=0.01)

    events_of(live, id, "", 1, lambda: None)

    assert live._readers == 0


# the list stays quick


class Counting(MemoryStore):
    """Counts what is read."""

    reads = 0

    def get(self, key: str) -> bytes:
        self.reads += 1
        return super().get(key)


def test_what_was_written_once_is_read_once() -> None:
    store = Counting()
    console = Console(store)
    for number in range(5):
        console.book.closed(fault(condition=str(number)))
    shelf = Shelf(console.incidents, lambda: NOW)
    shelf.page(Wanted(status="closed"))
    before = store.reads

    rows, more = shelf.page(Wanted(status="closed"))

    assert (len(rows), more) == (5, False)
    assert store.reads == before


def test_an_incident_that_moves_on_is_seen_to_have_moved() -> None:
    console = Console()
    moments = iter(T0 + dt.timedelta(seconds=10 * n) for n in range(100))
    shelf = Shelf(console.incidents, lambda: next(moments))
    id = console.book.investigating()

    before = shelf.row(id)
    console.incidents.record(id, keys.run_record(1, keys.RESULT), b"{}")
    after = shelf.row(id)

    assert before
    assert after
    assert (before.status, after.status) == ("investigating", "investigated")


def test_pages_of_the_list_follow_each_other_without_a_gap() -> None:
    console = Console()
    made = [
        console.book.opened(fault(condition=str(n), starts_at=T0 - dt.timedelta(hours=n)))
        for n in range(7)
    ]
    shelf = Shelf(console.incidents, lambda: NOW)

    found = [shelf.page(Wanted(), number, size=3) for number in (1, 2, 3, 4)]

    assert [row.id for rows, _ in found for row in rows] == made
    assert [more for _, more in found] == [True, True, False, False]


# templates


def test_no_template_marks_a_value_as_safe(root: Path) -> None:
    for folder in ("texts", "web/templates"):
        for file in (root / "src/faultline" / folder).iterdir():
            text = file.read_text("utf-8")
            assert not re.search(r"\|\s*safe\b|Markup|autoescape", text), file.name


def test_attributes_of_templates_are_always_quoted(root: Path) -> None:
    for folder in ("texts", "web/templates"):
        for file in (root / "src/faultline" / folder).glob("*.html.j2"):
            assert not re.search(r"\s[a-z-]+=\{\{", file.read_text("utf-8")), file.name


# how it ended, and what came before and after


def test_an_episode_links_to_the_one_before_and_the_one_after_and_says_how_it_ended(
    console: Console,
) -> None:
    id = console.book.packaged()
    console.press(f"/incidents/{id}", f"/incidents/{id}/close", note="")
    incident = console.incidents.incident(id)
    later = incident.model_copy(update={"id": f"{id[:-1]}0", "episode": 2, "follows": id})
    claim = Claim(incident=later, event=to_json(console.incidents.opener(id)))
    console.incidents.store.put(keys.claim(incident.key, 2), content(claim))
    console.incidents.join(claim, fault())
    console.incidents.open(claim)

    first, second = (console.get(f"/incidents/{known}").text for known in (id, later.id))

    assert re.search(r'class="note ended">Closed [^<]*as person: a person said so', first)
    assert f'Next episode: <a class="mono" href="/incidents/{later.id}"' in first
    assert f'Before: <a class="mono" href="/incidents/{id}"' in second
    assert "note ended" not in second
    assert "Next episode" not in second


def test_a_run_without_an_agent_says_why_none_was_asked(console: Console) -> None:
    because = f"the budget of today is used up {HOSTILE}"
    id = console.book.ready()
    run = Run(
        incident_id=id, number=1, engine="analyzers", deadline_s=600, cluster="prod-eu", cause={},
        capsule_sha256=console.incidents.capsule(id).sha256, created_at=NOW, because=because,
    )  # fmt: skip
    console.incidents.record(id, keys.run_record(1, keys.RUN), run)

    text = console.get(f"/incidents/{id}").text

    assert "No agent was asked: the budget of today is used up &lt;script&gt;" in text
    assert "<script>alert" not in text


def test_what_was_warmed_reads_nothing_for_any_page_of_the_list() -> None:
    class Counted(MemoryStore):
        reads = 0

        def get(self, key: str) -> bytes:
            self.reads += 1
            return super().get(key)

    store = Counted()
    book = Casebook(Incidents(store))
    for number in range(5):
        book.packaged(fault(condition=str(number), starts_at=T0 + dt.timedelta(days=number)))
    shelf = Shelf(Incidents(store), lambda: NOW)
    shelf.warm()
    assert store.reads > 0
    store.reads = 0

    rows, _ = shelf.page(Wanted(text="checkout"))
    assert len(shelf.page(Wanted())[0]) == 5
    assert (rows, store.reads) == ([], 0)
