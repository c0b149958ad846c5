"""The Prometheus source: what it asks, what it yields, and what it says when there is nothing."""

from __future__ import annotations

import datetime as dt
import json

import httpx
import pytest

from faultline.adapters.sources.prometheus import PrometheusSource
from faultline.errors import Unavailable
from faultline.model import Fault, Incident, Resource

AT = dt.datetime(2026, 11, 20, 10, 0, tzinfo=dt.UTC)


def incident(resource: Resource | None) -> Incident:
    fault = Fault(name="F", cluster="c", starts_at=AT, resource=resource)
    return Incident(id="20261120-checkout-00000000", key="k", fault=fault, opened_at=AT)


def source(answer: httpx.Response, asked: list[httpx.Request]) -> PrometheusSource:
    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer

    return PrometheusSource("http://p", client=httpx.Client(transport=httpx.MockTransport(handle)))


POD = Resource(kind="Pod", namespace="shop", name="checkout-7d9f6c5b4-x2x9z")
MATRIX = {
    "status": "success",
    "data": {"result": [{"metric": {"__name__": "m", "pod": "p"}, "values": [[1, "2.5"]]}]},
}


def test_it_asks_about_the_pods_of_the_workload_in_the_hour_before() -> None:
    asked: list[httpx.Request] = []

    (found,) = source(httpx.Response(200, json=MATRIX), asked).collect(incident(POD))

    query = asked[1].url.params
    assert query["query"] == (
        'container_memory_working_set_bytes{namespace="shop", pod=~"checkout-.*", container!=""}'
    )
    assert float(query["end"]) - float(query["start"]) == 65 * 60
    assert found[0] == "context/metrics.json"
    series = json.loads(found[1])["series"]
    assert {s["name"] for s in series} == {
        "cpu_usage", "memory_working_set", "memory_limit", "restarts",
    }  # fmt: skip
    assert series[0]["points"] == [[1, 2.5]]
    assert series[0]["labels"] == {"pod": "p"}


def test_a_name_from_outside_cannot_leave_its_matcher() -> None:
    asked: list[httpx.Request] = []
    hostile = Resource(kind="Deployment", namespace='a"} or up{x="', name='x"}|.*')

    list(source(httpx.Response(200, json=MATRIX), asked).collect(incident(hostile)))

    assert 'namespace="a\\"} or up{x=\\""' in asked[1].url.params["query"]
    assert 'pod=~"x......-.*"' not in asked[1].url.params["query"]
    assert 'pod=~"x.....-.*"' in asked[1].url.params["query"]


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"status": "error"}),
        httpx.Response(302, headers={"location": "http://elsewhere/"}),
    ],
    ids=["503", "no JSON", "an error", "a redirect"],
)
def test_what_is_no_answer_is_said_and_never_followed(answer: httpx.Response) -> None:
    asked: list[httpx.Request] = []

    with pytest.raises(Unavailable):
        list(source(answer, asked).collect(incident(POD)))

    assert {request.url.host for request in asked} == {"p"}


def test_a_fault_without_a_workload_has_no_series() -> None:
    with pytest.raises(Unavailable, match="no workload"):
        list(source(httpx.Response(200, json=MATRIX), []).collect(incident(None)))
