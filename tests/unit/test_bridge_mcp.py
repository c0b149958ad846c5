"""What MCP servers and plain streams say, to faults; recorded conversations, read as a client."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultline.bridge import mcp
from faultline.correlate import correlation_key
from faultline.errors import Rejected
from faultline.model import Fault, Severity
from faultline.sse import Parser

FIXTURES = Path(__file__).parent.parent / "fixtures" / "mcp"
NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)
SETTING = mcp.Setting("here", NOW)
FLAT = {
    "cluster_id": "prod-a",
    "namespace": "shop",
    "resource_type": "Pod",
    "resource_name": "api-7d9f6c5b4-x2x9z",
    "severity": "critical",
    "message": "Container entered CrashLoopBackOff state",
    "timestamp": "2025-12-29T10:00:00Z",
    "logs": "panic: out of cheese",
}
WIRE = {
    "subscriptionId": "sub-1a2b3c4d",
    "cluster": "prod-a",
    "faultId": "9f2c4e0b7a13d5e8",
    "faultType": "CrashLoop",
    "severity": "critical",
    "resource": {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "api-7d9f6c5b4-x2x9z",
        "namespace": "shop",
        "uid": "6e0f8e7c",
    },
    "context": "Container entered CrashLoopBackOff state, restart count: 4",
    "timestamp": "2025-12-29T10:00:00Z",
}
EVENT = {
    "namespace": "shop",
    "timestamp": "2025-12-29T10:00:00Z",
    "type": "Warning",
    "reason": "BackOff",
    "message": "Back-off restarting failed container",
    "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "api-0", "namespace": "shop"},
}


def notified(data: Any, logger: str = mcp.FAULTS) -> dict[str, Any]:
    params = {"level": "warning", "logger": logger, "data": data}
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": params}


def fault(message: Any) -> Fault:
    found = mcp.fault_of(message, SETTING)
    assert found is not None
    return found


@pytest.mark.covers("S0-08")
def test_the_eight_flat_fields_make_a_fault() -> None:
    found = fault(FLAT)

    assert found.cluster == "prod-a"
    assert found.severity is Severity.CRITICAL
    assert found.summary == "Container entered CrashLoopBackOff state"
    assert found.annotations["logs"] == "panic: out of cheese"
    assert found.starts_at == dt.datetime(2025, 12, 29, 10, tzinfo=dt.UTC)
    assert found.resource is not None
    assert (found.resource.kind, found.resource.namespace) == ("Pod", "shop")
    assert correlation_key(found) == "resource/prod-a/shop/api"
    assert not found.clears


def test_a_notification_its_data_and_the_whole_message_are_the_same_fault() -> None:
    assert fault(WIRE) == fault(notified(WIRE))
    assert fault(WIRE).condition == "9f2c4e0b7a13d5e8"
    assert fault(WIRE).name == "CrashLoop"
    assert correlation_key(fault(WIRE)) == correlation_key(fault(FLAT))


def test_an_older_server_sends_an_event_with_logs() -> None:
    logs = [{"container": "api", "sample": "panic"}]

    found = fault(notified({"subscriptionId": "s", "cluster": "", "event": EVENT, "logs": logs}))

    assert (found.name, found.cluster) == ("BackOff", "here")
    assert "panic" in found.annotations["logs"]
    assert fault(notified({"cluster": "", "event": EVENT})).name == "BackOff"


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"},
        notified({"cluster": "", "event": EVENT}, "kubernetes/events"),
        notified("Permission denied", "kubernetes-mcp-server"),
        notified({"error": "watch failed", "degraded": True}, mcp.SUBSCRIPTION_ERROR),
        {"cluster": "", "event": EVENT},
    ],
)
def test_what_is_about_something_else_is_no_fault(message: Any) -> None:
    assert mcp.fault_of(message, SETTING) is None


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "fault",
        {},
        {"jsonrpc": "1.0", "method": "x"},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "method": "notifications/message"},
        notified("text"),
        FLAT | {"timestamp": "yesterday"},
        FLAT | {"message": 1},
        FLAT | {"resource_name": []},
        WIRE | {"resource": {"kind": 1}},
        {"event": {"involvedObject": None}, "logs": []},
    ],
)
def test_what_nobody_can_read_is_refused(message: Any) -> None:
    with pytest.raises(Rejected, match="expected"):
        mcp.fault_of(message, SETTING)


@pytest.mark.parametrize(
    ("end", "ends_at"),
    [
        ({"status": "resolved"}, NOW),
        ({"ends_at": "2025-12-29T11:00:00Z"}, dt.datetime(2025, 12, 29, 11, tzinfo=dt.UTC)),
        ({"status": "firing"}, None),
        ({"ends_at": ""}, None),
        ({"endsAt": "0001-01-01T00:00:00Z"}, None),
    ],
)
def test_only_a_fault_that_carries_its_end_is_over(
    end: dict[str, str], ends_at: dt.datetime | None
) -> None:
    found = fault(FLAT | end)

    assert found.ends_at == ends_at
    assert found.clears == (ends_at is not None)
    assert found.occurrence == fault(FLAT).occurrence


def test_a_fault_without_severity_time_or_cluster_is_still_heard() -> None:
    found = fault({"resource_type": "Node", "resource_name": "node-1"})

    assert (found.severity, found.starts_at, found.cluster) == (Severity.WARNING, NOW, "here")
    assert correlation_key(found) == "resource/here/-/node-1"


def test_a_name_that_leads_elsewhere_names_nothing() -> None:
    found = fault(FLAT | {"resource_name": "../../claims"})

    assert found.resource is None
    assert correlation_key(found).startswith("fingerprint/")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*FLAT, *WIRE, "jsonrpc", "method", "params", "data", "event", "ends_at"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(message=JSON)
def test_any_json_is_a_fault_or_not_or_refused(message: Any) -> None:
    try:
        found = mcp.fault_of(message, SETTING)
    except Rejected:
        return
    assert found is None or correlation_key(found)


# recorded conversations


def conversation(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text())["steps"]


def answer(step: Any) -> dict[str, Any]:
    """Read what answered a step, as JSON or as events: the message with its id."""
    body = step["response"]["body"].encode()
    texts = [event.data for event in Parser().feed(body)] or [body]
    messages = [json.loads(text) for text in texts]
    (found,) = [m for m in messages if m.get("id") == step["request"]["body"]["id"]]
    return found


def asked(steps: Any, method: str, tool: str | None = None) -> Any:
    for step in steps:
        body = step["request"].get("body") or {}
        if body.get("method") == method and body.get("params", {}).get("name") in (None, tool):
            return step
    raise LookupError(method)


BOTH = pytest.mark.parametrize(
    "name", ["streamable-http-v0.0.54", "streamable-http-v0.0.67-stateful"]
)


@BOTH
def test_our_requests_are_those_that_were_recorded(name: str) -> None:
    steps = conversation(name)

    for ours in (mcp.initialize(1), mcp.set_level(2), mcp.subscribe(4)):
        tool = ours["params"].get("name")
        theirs = asked(steps, ours["method"], tool)["request"]["body"]
        assert ours["method"] == theirs["method"]
        assert ours["params"].keys() == theirs["params"].keys()
    assert mcp.initialized() == asked(steps, "notifications/initialized")["request"]["body"]


@BOTH
def test_recorded_results_and_refusals_are_read(name: str) -> None:
    steps = conversation(name)

    assert mcp.result_of(answer(asked(steps, "initialize")))["protocolVersion"] == mcp.PROTOCOL
    assert mcp.result_of(answer(asked(steps, "logging/setLevel"))) == {}
    with pytest.raises(Rejected, match="-32602"):
        mcp.result_of(answer(asked(steps, "tools/call", "events_subscribe")))
    with pytest.raises(Rejected, match="forbidden"):
        mcp.result_of(answer(asked(steps, "tools/call", "pods_list")))


def test_a_recorded_list_of_events_becomes_flat_faults() -> None:
    step = asked(conversation("streamable-http-v0.0.54"), "tools/call", "events_list")

    (found,) = mcp.listed_faults(mcp.text_of(mcp.result_of(answer(step))))

    assert fault(found).name == "BackOff"
    assert fault(found).starts_at == dt.datetime(2026, 1, 1, 0, 5, tzinfo=dt.UTC)
    assert correlation_key(fault(found)) == "resource/here/demo/crashy"


@pytest.mark.parametrize(
    "text", ["# x:\n- 1\n", "# x:\n- a: [\n", "nothing", "# x:\n- Type: Warning\n"]
)
def test_another_list_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="expected"):
        mcp.listed_faults(text)


def test_no_events_are_no_faults() -> None:
    assert mcp.listed_faults("# No events found") == []


def test_the_object_is_found_between_the_sentences() -> None:
    text = '# Done\n\n{"subscriptionId":"sub-1","filters":{}}\n\nYou {will} hear.'

    assert mcp.object_in(text)["subscriptionId"] == "sub-1"
    with pytest.raises(Rejected, match="expected"):
        mcp.object_in("no object")


@pytest.mark.parametrize(
    ("listing", "sound"),
    [
        ({"subscriptions": [{"subscriptionId": "a", "degraded": False}]}, True),
        ({"subscriptions": [{"subscriptionId": "a"}]}, True),
        ({"subscriptions": [{"subscriptionId": "a", "degraded": True}]}, False),
        ({"subscriptions": [{"subscriptionId": "b"}]}, False),
        ({"subscriptions": None}, False),
        ({}, False),
    ],
)
def test_our_subscription_is_sound_if_it_is_listed_and_not_degraded(
    listing: dict[str, Any], sound: bool
) -> None:
    assert mcp.is_subscribed(listing, "a") is sound


def test_a_server_that_asks_is_answered() -> None:
    assert mcp.answer_to({"jsonrpc": "2.0", "id": 7, "method": "ping"}) == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {},
    }
    assert mcp.answer_to({"id": 8, "method": "sampling/createMessage"})["error"]["code"] == -32601  # type: ignore[index]
    assert mcp.answer_to({"id": 8, "result": {}}) is None
