"""The page `/budgets`: what is spent, who waits and why, which engine rests."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import httpx

from faultline import keys
from faultline.adapters.stores.memory import MemoryStore
from faultline.incidents import Incidents, content
from faultline.ledger import admit, standing
from faultline.model import Amount, Budgets, JobState, Policy, Result, RunStatus, Wish
from faultline.web import pages
from faultline.web.app import app
from faultline.web.guard import POLICY

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
LIMITED = Policy(
    slots=1,
    budgets=Budgets(run=Amount(tokens=1000, usd=0.5), day=Amount(tokens=4000, usd=2)),
)
HOSTILE = "<script>alert(1)</script>\u202e"


def wish(name: str, engine: str = "claude", since: dt.datetime = NOW) -> Wish:
    return Wish(
        incident_id=f"20261121-{name}-5c1e9b2a", number=1, cluster="prod-a", namespace="shop",
        key=name, engine=engine, since=since,
    )  # fmt: skip


def get(incidents: Incidents, policy: Policy | None = LIMITED) -> httpx.Response:
    async def once() -> httpx.Response:
        console = app(incidents, send=None, clock=lambda: NOW, policy=policy)
        transport = httpx.ASGITransport(app=console)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/budgets")

    return asyncio.run(once())


def let_in(incidents: Incidents, asked: Wish, policy: Policy = LIMITED) -> None:
    admit(asked, incidents, lambda _: JobState.LIVE, policy, NOW)


def ends(incidents: Incidents, ran: Wish, status: Any, **more: Any) -> None:
    result = Result(
        incident_id=ran.incident_id, run=1, status=status, started_at=NOW, completed_at=NOW, **more
    )
    incidents.record(ran.incident_id, keys.run_record(1, keys.RESULT), result)


def test_an_empty_ledger_shows_no_limits_nobody_waiting_and_no_engine() -> None:
    answer = get(Incidents(MemoryStore()), policy=None)

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert "0 of 5 agents running, 0 waiting" in answer.text
    assert "no limit" in answer.text
    assert "<meter" not in answer.text
    assert "Nobody." in answer.text
    assert "None ran within the hour." in answer.text


def test_a_live_run_shows_as_reserved_and_the_next_one_waits_with_its_reason() -> None:
    incidents = Incidents(MemoryStore())
    let_in(incidents, wish("api"))
    let_in(incidents, wish("web"))

    text = get(incidents).text

    assert "1 of 1 agents running, 1 waiting" in text
    assert "1,000 reserved, limit 4,000" in text
    assert "0.50 reserved, limit 2.00" in text
    assert '<meter min="0" max="4000" value="1000"' in text
    assert 'href="/incidents/20261121-web-5c1e9b2a"' in text
    assert "1 agents are running, 1 may" in text
    assert "<strong>claude</strong><span>works</span>" in text


def test_what_a_run_has_spent_is_used_and_no_longer_reserved() -> None:
    incidents = Incidents(MemoryStore())
    done = wish("api")
    let_in(incidents, done)
    ends(incidents, done, RunStatus.SUCCESS, tokens=700)

    text = get(incidents).text

    assert "700 tokens" in text
    assert "0 reserved, limit 4,000" in text


def test_an_engine_that_failed_five_times_rests_and_the_page_says_why() -> None:
    incidents = Incidents(MemoryStore())
    free = LIMITED.model_copy(update={"budgets": Budgets()})
    for name in ("a", "b", "c", "d", "e"):
        failed = wish(name)
        let_in(incidents, failed, free)
        ends(incidents, failed, RunStatus.FAILED, reason="overloaded")

    text = get(incidents).text

    assert "<strong>claude</strong><span>rests</span>" in text
    assert "5 failures in a row (overloaded)" in text


def test_names_and_reasons_from_outside_stay_text() -> None:
    incidents = Incidents(MemoryStore())
    waits = wish("web", engine=HOSTILE).model_copy(update={"reason": HOSTILE})
    incidents.store.put(keys.waiting(waits.incident_id, 1), content(waits))
    let_in(incidents, wish("api", engine=HOSTILE).model_copy(update={"namespace": HOSTILE}))

    text = pages.budgets(standing(incidents, LIMITED, NOW), LIMITED, now=NOW, title=HOSTILE)

    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 4
