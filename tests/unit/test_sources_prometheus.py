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
        now = answer.status_code == 200 and request.url.path == "/api/v1/query"
        return httpx.Response(200, json=VECTOR) if now else answer

    return PrometheusSource("http://p", client=httpx.Client(transport=httpx.MockTransport(handle)))


POD = Resource(kind="Pod", namespace="shop", name="checkout-7d9f6c5b4-x2x9z")
MATRIX = {
    "status": "success",
    "data": {"result": [{"metric": {"__name__": "m", "pod": "p"}, "values": [[1, "2.5"]]}]},
}
VECTOR = {
    "status": "success",
    "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1_795_000_000, "212.5"]}]},
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


@pytest.mark.covers("S3-29")
def test_the_snapshot_is_two_instant_queries_in_millicores_and_mebibytes() -> None:
    asked: list[httpx.Request] = []

    (found,) = source(httpx.Response(200, json=MATRIX), asked).collect(incident(POD))

    pods = 'namespace="shop", pod=~"checkout-.*", container!=""'
    cpu = f"sum(rate(container_cpu_usage_seconds_total{{{pods}}}[2m])) * 1000"
    memory = f"sum(container_memory_working_set_bytes{{{pods}}}) / 1024 / 1024"
    instant = [request.url.params for request in asked if request.url.path == "/api/v1/query"]
    assert [dict(params) for params in instant] == [
        {"query": query, "time": f"{AT.timestamp():.0f}"} for query in (cpu, memory)
    ]
    shared = {"at": 1_795_000_000, "value": 212.5}
    assert json.loads(found[1])["snapshot"] == [
        {"name": "cpu", "query": cpu, "unit": "millicores"} | shared,
        {"name": "memory", "query": memory, "unit": "MiB"} | shared,
    ]


def test_what_is_no_number_is_left_out_and_what_is_nothing_is_no_error() -> None:
    odd = {"metric": {"pod": "p"}, "values": [[1, "NaN"], [2, "+Inf"], [3, "4"]]}
    answer = httpx.Response(200, json={"status": "success", "data": {"result": [odd]}})

    (found,) = source(answer, []).collect(incident(POD))

    assert {str(s["points"]) for s in json.loads(found[1])["series"]} == {"[[3, 4.0]]"}


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
        httpx.Response(200, json=["success"]),
        httpx.Response(200, json={"status": "success", "data": {"result": [1]}}),
        httpx.Response(200, json={"status": "success", "data": {"result": [{"values": [[1]]}]}}),
        httpx.Response(302, headers={"location": "http://elsewhere/"}),
    ],
    ids=["503", "no JSON", "an error", "a list", "no rows", "no point", "a redirect"],
)
def test_what_is_no_answer_is_said_and_never_followed(answer: httpx.Response) -> None:
    asked: list[httpx.Request] = []

    with pytest.raises(Unavailable):
        list(source(answer, asked).collect(incident(POD)))

    assert {request.url.host for request in asked} == {"p"}


def test_a_fault_without_a_workload_has_no_series() -> None:
    with pytest.raises(Unavailable, match="no workload"):
        list(source(httpx.Response(200, json=MATRIX), []).collect(incident(None)))
