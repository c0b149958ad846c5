"""What the bridge makes of a sender's trace: the cases of W3C's own test suite, as a table.

Named after w3c/trace-context:test/test.py (commit 00a91ac). Its cases about `tracestate` do not
apply: it is never carried on, which the recommendation allows (decision 35).
"""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from test_who_may_send import FAULT, NOW, Kept

from faultline import traces
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.app import app

TRACE, PARENT = "12345678901234567890123456789012", "1234567890123456"
GOOD = f"00-{TRACE}-{PARENT}-01"
SAME: dict[str, list[tuple[str, str]]] = {
    "traceparent_included_tracestate_missing": [("traceparent", GOOD)],
    "traceparent_header_name_valid_casing": [
        ("TraceParent", GOOD), ("TrAcEpArEnT", GOOD), ("TRACEPARENT", GOOD),
    ],
    "traceparent_version_0xcc": [
        ("traceparent", f"cc-{TRACE}-{PARENT}-01"),
        ("traceparent", f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like"),
    ],
    "traceparent_ows_handling": [
        ("traceparent", f" {GOOD}"), ("traceparent", f"\t{GOOD}"), ("traceparent", f"{GOOD} "),
        ("traceparent", f"{GOOD}\t"), ("traceparent", f"\t {GOOD} \t"),
    ],
}  # fmt: skip
NEW: dict[str, list[tuple[str, str]]] = {
    "both_traceparent_and_tracestate_missing": [("x", "")],
    "tracestate_included_traceparent_missing": [("tracestate", "foo=1")],
    "traceparent_header_name": [("trace-parent", GOOD), ("trace.parent", GOOD)],
    "traceparent_version_0x00": [("traceparent", GOOD + "."), ("traceparent", GOOD + "-more")],
    "traceparent_version_0xcc_bad": [("traceparent", f"cc-{TRACE}-{PARENT}-01.more")],
    "traceparent_version_0xff": [("traceparent", f"ff-{TRACE}-{PARENT}-01")],
    "traceparent_version_illegal_characters": [
        ("traceparent", f".0-{TRACE}-{PARENT}-01"), ("traceparent", f"0.-{TRACE}-{PARENT}-01"),
    ],
    "traceparent_version_too_long": [
        ("traceparent", f"000-{TRACE}-{PARENT}-01"), ("traceparent", f"0000-{TRACE}-{PARENT}-01"),
    ],
    "traceparent_version_too_short": [("traceparent", f"0-{TRACE}-{PARENT}-01")],
    "traceparent_trace_id_all_zero": [("traceparent", f"00-{'0' * 32}-{PARENT}-01")],
    "traceparent_trace_id_illegal_characters": [
        ("traceparent", f"00-.{TRACE[1:]}-{PARENT}-01"),
        ("traceparent", f"00-{TRACE[:-1]}.-{PARENT}-01"),
    ],
    "traceparent_trace_id_too_long": [("traceparent", f"00-{TRACE}3-{PARENT}-01")],
    "traceparent_trace_id_too_short": [("traceparent", f"00-{TRACE[:-1]}-{PARENT}-01")],
    "traceparent_parent_id_all_zero": [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
    "traceparent_parent_id_illegal_characters": [
        ("traceparent", f"00-{TRACE}-.{PARENT[1:]}-01"),
        ("traceparent", f"00-{TRACE}-{PARENT[:-1]}.-01"),
    ],
    "traceparent_parent_id_too_long": [("traceparent", f"00-{TRACE}-{PARENT}7-01")],
    "traceparent_parent_id_too_short": [("traceparent", f"00-{TRACE}-{PARENT[:-1]}-01")],
    "traceparent_trace_flags_illegal_characters": [
        ("traceparent", f"00-{TRACE}-{PARENT}-.0"), ("traceparent", f"00-{TRACE}-{PARENT}-0."),
    ],
    "traceparent_trace_flags_too_long": [("traceparent", f"00-{TRACE}-{PARENT}-001")],
    "traceparent_trace_flags_too_short": [("traceparent", f"00-{TRACE}-{PARENT}-1")],
}  # fmt: skip


def sent(*pairs: tuple[str, str], id: str = "1") -> tuple[int, list[traces.Context | None]]:
    """Post a fault with these attributes; return the status and the traces of what is sent on."""
    sink = Kept()
    made = app(sink=sink, store=MemoryStore(), cluster="here", clock=lambda: NOW)
    plain = [
        ("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/others"),
        ("ce-type", "dev.faultline.fault.detected.v1"), ("content-type", "application/json"),
    ]  # fmt: skip
    headers = plain + [(f"ce-{name}", value) for name, value in pairs if name != "x"]

    async def posted() -> int:
        transport = httpx.ASGITransport(made)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            body = json.dumps(FAULT | {"condition": id}).encode()
            return (await client.post("/events", content=body, headers=headers)).status_code

    return asyncio.run(posted()), [traces.context_of(event) for event in sink.events]


@pytest.mark.covers("OBS-02")
@pytest.mark.parametrize("case", SAME)
def test_a_trace_that_is_well_formed_goes_on_under_a_span_of_ours(case: str) -> None:
    for pair in SAME[case]:
        status, (context,) = sent(pair)
        assert (status, context and context.trace_id) == (202, TRACE), pair
        assert context
        assert context.span_id != PARENT


@pytest.mark.covers("OBS-02")
@pytest.mark.parametrize("case", NEW)
def test_any_other_is_left_and_a_new_one_begins(case: str) -> None:
    for pair in NEW[case]:
        status, found = sent(pair)
        if status == 400:  # a name that no attribute may have: refused, so nothing is carried on
            assert case == "traceparent_header_name", pair
            continue
        (context,) = found
        assert (status, context is not None) == (202, True), pair
        assert context
        assert context.trace_id not in (TRACE, "0" * 32), pair


@pytest.mark.covers("OBS-02")
def test_two_traces_in_one_message_are_refused() -> None:
    """The suite wants a new trace; who says two things is not believed in any of them here."""
    other = GOOD.replace(TRACE, TRACE[:-1] + "1")

    assert sent(("traceparent", other), ("traceparent", GOOD)) == (400, [])


@pytest.mark.covers("OBS-02")
def test_each_message_of_a_trace_has_a_span_of_its_own() -> None:
    contexts = [sent(("traceparent", GOOD), id=str(n))[1][0] for n in range(3)]

    assert {context.trace_id for context in contexts if context} == {TRACE}
    assert len({context.span_id for context in contexts if context}) == 3
