"""The pages in a real browser: no errors, no policy violations, live, by keyboard, and narrow."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import payloads
import pytest
from casebook import PROVED, T0, Casebook, fault

from faultline import keys, views
from faultline.adapters.stores.memory import MemoryStore
from faultline.event import Event
from faultline.incidents import Incidents
from faultline.model import Action, Evidence, Resource
from faultline.web.app import app

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="chromium is not installed"),
]


class Site:
    """A console on loopback, over a store in memory."""

    def __init__(self) -> None:
        self.incidents = Incidents(MemoryStore())
        self.book = Casebook(self.incidents)
        self.sent: list[Event] = []
        self.url = ""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    import uvicorn

    site = Site()
    pages = app(
        site.incidents, send=site.sent.append, look_s=0.1,
        clock=lambda: dt.datetime.now(dt.UTC),
    )  # fmt: skip
    config = uvicorn.Config(pages, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        site.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield site
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-component-update",
                  "--disable-background-networking", "--disable-sync", "--no-first-run"],
        )  # fmt: skip
        yield made
        made.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that remembers what went wrong on it; it must have been nothing."""
    opened = browser.new_page()
    wrong: list[str] = []
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    opened.close()
    assert wrong == []


@pytest.fixture(scope="module")
def packaged(site: Site) -> str:
    id = site.book.packaged()
    views.write(site.incidents, id, 1)
    return id


def about(name: str, **changes: Any) -> Any:
    return fault(
        condition=name, resource=Resource(kind="Pod", name=name, namespace="shop"), **changes
    )


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_is_wider_than_the_screen_and_none_complains(
    site: Site, packaged: str, page: Any, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    base = f"/incidents/{packaged}"
    for path in ("/", base, f"{base}/report", f"{base}/files/context/logs.txt#L5",
                 f"{base}/files/incident.json", "/dead-letters", "/monitor", "/budgets", "/watch/api"):  # fmt: skip # noqa: E501
        page.goto(site.url + path)
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, (path, wider)


def test_hostile_text_is_shown_and_never_runs(site: Site, page: Any) -> None:
    bad = PROVED.model_copy(
        update={
            "title": HOSTILE,
            "root_cause": HOSTILE,
            "evidence": (Evidence(file="context/logs.txt", quote=HOSTILE),),
        }
    )
    id = site.book.packaged(
        about("evil-0", summary=HOSTILE), diagnosis=bad, files={"context/bad.html": HOSTILE}
    )
    views.write(site.incidents, id, 1)

    for path in ("", "/report", "/files/context/bad.html", "/files/report/index.html"):
        page.goto(f"{site.url}/incidents/{id}{path}")
        assert page.title() != "owned"
        assert page.evaluate("document.images.length") == 0
        assert "document.title='owned'" in page.inner_text("body")
    page.goto(site.url)
    assert page.title() != "owned"


@pytest.mark.covers("UI-04")
def test_two_hundred_payloads_make_no_element_no_request_and_run_nothing(
    site: Site, page: Any
) -> None:
    texts = [text for text in payloads.html() if "\0" not in text]  # else the file is no text
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))

    def elements(texts: list[str], name: str) -> dict[str, dict[str, int]]:
        said = PROVED.model_copy(update={
            "title": texts[0], "root_cause": texts[1], "summary": texts[2],
            "alternatives": tuple(texts), "actions": tuple(Action(action=t) for t in texts),
            "evidence": (Evidence(file="context/logs.txt", quote=texts[3]),),
        })  # fmt: skip
        id = site.book.packaged(
            about(name), diagnosis=said, files={"context/bad.html": "\n".join(texts)}
        )
        views.write(site.incidents, id, 1)
        found = {}
        for path in ("", "/report", "/files/context/bad.html"):
            page.goto(f"{site.url}/incidents/{id}{path}")
            page.wait_for_timeout(100)
            assert page.evaluate("window.__ran") is None
            found[path] = page.evaluate(COUNT)
        return found

    hostile = elements(texts, "payloads")
    plain = elements([f"nothing in number {n}" for n in range(len(texts))], "harmless")

    assert len(texts) >= 223
    lines = hostile.pop("/files/context/bad.html"), plain.pop("/files/context/bad.html")
    assert hostile == plain
    assert lines[0].keys() == lines[1].keys()  # as many rows as the file has lines
    assert {url for url in asked if not url.startswith(site.url)} <= {"data:,"} | {
        url for url in asked if url.startswith("data:image/")
    }


COUNT = """() => {
  const found = {};
  for (const node of document.querySelectorAll("*")) {
    const name = [node.nodeName, ...node.getAttributeNames()].join(" ");
    found[name] = (found[name] || 0) + 1;
  }
  return found;
}"""


@pytest.mark.covers("S4-60")
def test_new_records_appear_without_a_reload(site: Site, page: Any) -> None:
    id = site.book.ready(about("live-0"))
    page.goto(f"{site.url}/incidents/{id}")
    page.evaluate("window.stayed = true")
    page.get_by_text("waits for a run").wait_for()

    site.book.run(id, 1, engine="claude")

    page.get_by_text("a run is under way").wait_for()
    page.get_by_role("link", name="Run 1 began").wait_for()
    assert page.evaluate("window.stayed") is True


@pytest.mark.covers("S3-76")
def test_the_list_and_a_workloads_score_follow_what_happens(
    site: Site, browser: Any, page: Any
) -> None:
    site.book.packaged(about("score-0", starts_at=T0))
    page.goto(f"{site.url}/watch/score")
    assert page.inner_text("#score") == "1"
    other = browser.new_page()
    other.goto(site.url)

    later = about("score-0", starts_at=T0 + dt.timedelta(days=20))
    site.book.packaged(later)

    page.locator("#score", has_text="2").wait_for()
    other.locator(".list tbody tr:first-child strong", has_text="score").wait_for()
    other.close()


@pytest.mark.covers("S3-73")
def test_where_there_is_no_stream_a_page_asks_every_two_seconds_without_a_framework(
    site: Site, page: Any
) -> None:
    page.add_init_script("delete window.EventSource")
    asked: list[float] = []
    scripts: list[str] = []
    page.on(
        "request", lambda sent: sent.resource_type == "fetch" and asked.append(time.monotonic())
    )
    page.on("request", lambda sent: sent.resource_type == "script" and scripts.append(sent.url))
    page.goto(site.url)

    site.book.packaged(about("polled-0", starts_at=T0 + dt.timedelta(days=30)))
    page.locator("#watches li", has_text="polled").wait_for(timeout=15_000)
    while len(asked) < 3:
        page.wait_for_timeout(200)

    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert min(pauses) > 1.5
    assert sorted(pauses)[len(pauses) // 2] < 4  # two seconds, on a machine that is busy
    assert scripts == [f"{site.url}/static/live.js"]


@pytest.mark.covers("S4-46", "S4-59")
def test_the_monitor_lists_agents_and_logs_new_records_the_newest_first(
    site: Site, page: Any
) -> None:
    id = site.book.investigating(
        about("watched-0", starts_at=T0 + dt.timedelta(days=9)), engine="claude"
    )
    page.goto(f"{site.url}/monitor")
    page.get_by_text(f"{id}-1 - claude - running").wait_for()
    page.get_by_text("● live").wait_for()

    site.incidents.record(id, "context/late-1.txt", b"")
    page.locator("#log li", has_text="late-1").wait_for()
    site.incidents.record(id, "context/late-2.txt", b"")
    page.locator("#log li", has_text="late-2").wait_for()

    assert "late-2" in page.locator("#log li").first.inner_text()


def test_what_a_person_has_opened_or_writes_survives_an_update(site: Site, page: Any) -> None:
    id = site.book.investigated(about("open-0"))
    page.goto(f"{site.url}/incidents/{id}")
    page.locator("#evidence details").nth(1).locator("summary").click()
    page.fill("[name=note]", "half a sent")

    site.incidents.record(id, keys.run_record(1, "output/agent.log"), b"x")

    page.locator("#files summary", has_text="Runs 6").wait_for()
    assert page.locator("#evidence details").nth(1).get_attribute("open") is not None
    assert page.input_value("[name=note]") == "half a sent"


def test_a_person_closes_an_incident_with_a_browser(site: Site, page: Any) -> None:
    id = site.book.packaged(about("close-0"))
    page.goto(f"{site.url}/incidents/{id}")

    page.fill("[name=note]", "rolled back by hand")
    page.get_by_role("button", name="Close this incident").click()

    page.get_by_text("rolled back by hand").first.wait_for()
    closed = site.incidents.closed(id)
    assert closed
    assert closed.note == "rolled back by hand"


def test_everything_is_reached_by_keyboard_in_the_order_of_the_page(
    site: Site, packaged: str, page: Any
) -> None:
    page.goto(f"{site.url}/incidents/{packaged}")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"

    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(
            "(e => e.tagName === 'BODY' ? '' : e.textContent.trim() + "
            "getComputedStyle(e).outlineStyle)(document.activeElement)"))  # fmt: skip

    found = [text for text in reached if text]
    assert all(text.endswith(("solid", "auto")) for text in found)
    order = [next(n for n, text in enumerate(found) if part in text)
             for part in ("pull/214", "context/logs.txt", "Close this incident")]  # fmt: skip
    assert order == sorted(order)


def test_without_script_a_page_is_complete(site: Site, packaged: str, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()

    opened.goto(f"{site.url}/incidents/{packaged}")

    assert PROVED.title in opened.inner_text("dl.brief")
    opened.locator("#evidence details").nth(1).locator("summary").click()
    assert opened.get_by_text("heap at 251 MiB of 256 MiB").is_visible()
    context.close()
