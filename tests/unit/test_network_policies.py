"""What NetworkPolicies allow, row by row; the wordings of connections that were not made."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from diagnosis_world import World

from faultline.diagnosis.attempts import LOOKUP_UNANSWERED, REFUSED, TIMED_OUT, attempts
from faultline.diagnosis.documents import Document, Source
from faultline.diagnosis.facts import Facts, Object
from faultline.diagnosis.policies import EGRESS, INGRESS, End, Flow, allowed, directions, matches

WEB = End("shop", {"app": "web", "tier": "front"}, {"team": "shop"}, ("10.1.0.5",))
DB = End("data", {"app": "db"}, {"team": "data"}, ("10.1.0.9", "10.96.7.7"), {("pg", "TCP"): 5432})
FLOW = Flow(WEB, DB, 5432)


def policy(space: str, text: str) -> Object:
    value = {"metadata": {"name": "p", "namespace": space}, "spec": yaml.safe_load(text)}
    doc = Document.parse(Source("p.yaml", yaml.safe_dump(value)))
    return Object("NetworkPolicy", space, "p", doc)


ALL_PODS = "podSelector: {}, "
ROWS = [
    # what the policies of the database's namespace say, and whether the connection may pass
    ("{podSelector: {}}", False),  # isolated, and no rule
    ("{podSelector: {}, ingress: [{}]}", True),  # an empty rule allows everything
    ("{podSelector: {matchLabels: {app: other}}, ingress: []}", True),  # selects other pods
    ("{podSelector: {}, policyTypes: [Egress]}", True),  # does not speak of ingress
    ("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}", False),  # own namespace only
    ("{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}", True),
    (
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: shop}}}]}]}",
        True,
    ),
    (
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: x}}}]}]}",
        False,
    ),
    (
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchExpressions: "
        "[{key: kubernetes.io/metadata.name, operator: In, values: [shop, ops]}]}}]}]}",
        True,
    ),
    (
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, "
        "podSelector: {matchLabels: {app: api}}}]}]}",
        False,
    ),  # both of one entry
    (
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}, "
        "{podSelector: {matchLabels: {app: api}}}]}]}",
        True,
    ),  # either of two entries
    ("{podSelector: {}, ingress: [{ports: [{port: 5432}]}]}", True),
    ("{podSelector: {}, ingress: [{ports: [{port: '5432'}]}]}", True),
    ("{podSelector: {}, ingress: [{ports: [{port: pg}]}]}", True),
    ("{podSelector: {}, ingress: [{ports: [{port: http}]}]}", False),
    ("{podSelector: {}, ingress: [{ports: [{port: 5432, protocol: UDP}]}]}", False),
    ("{podSelector: {}, ingress: [{ports: [{protocol: TCP}]}]}", True),
    ("{podSelector: {}, ingress: [{ports: [{port: 5000, endPort: 6000}]}]}", True),
    ("{podSelector: {}, ingress: [{ports: [{port: 5433, endPort: 6000}]}]}", False),
    ("{podSelector: {}, ingress: [{ports: [{port: 80}]}, {ports: [{port: 5432}]}]}", True),
    ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.168.0.0/16}}]}]}", False),
    ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}", None),
    (
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, "
        "except: [10.1.0.0/16]}}]}]}",
        False,
    ),
    ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: nonsense}}]}]}", None),
]


@pytest.mark.parametrize(("spec", "answer"), ROWS, ids=[r[0] for r in ROWS])
def test_what_comes_in_is_allowed_as_the_specification_says(spec: str, answer: bool | None) -> None:
    assert allowed([policy("data", spec)], FLOW, INGRESS) is answer


def test_one_policy_that_allows_is_enough() -> None:
    closed = policy("data", "{podSelector: {}}")
    open_ = policy("data", "{podSelector: {matchLabels: {app: db}}, ingress: [{}]}")

    assert allowed([closed], FLOW, INGRESS) is False
    assert allowed([closed, open_], FLOW, INGRESS) is True


def test_policies_of_the_other_end_say_nothing() -> None:
    assert allowed([policy("shop", "{podSelector: {}}")], FLOW, INGRESS) is True
    assert allowed([policy("data", "{podSelector: {}, egress: [{}]}")], FLOW, EGRESS) is True


def test_what_goes_out_is_held_against_the_pods_port_and_not_the_services() -> None:
    spec = "{podSelector: {}, egress: [{ports: [{port: %s}]}]}"

    assert allowed([policy("shop", spec % 5432)], FLOW, EGRESS) is True
    assert allowed([policy("shop", spec % 80)], FLOW, EGRESS) is False
    assert allowed([policy("shop", spec % "pg")], FLOW, EGRESS) is True


def test_pods_on_the_nodes_network_are_not_judged() -> None:
    host = End("shop", {}, on_host=True)

    assert allowed([policy("data", "{podSelector: {}}")], Flow(host, DB, 5432), INGRESS) is None


def test_labels_of_a_namespace_that_is_not_known_leave_it_open() -> None:
    unknown = Flow(End("shop", {"app": "web"}), DB, 5432)
    by = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {%s}}}]}]}"

    assert allowed([policy("data", by % "team: shop")], unknown, INGRESS) is None
    name = "kubernetes.io/metadata.name"
    assert allowed([policy("data", by % f"{name}: shop")], unknown, INGRESS) is True
    assert allowed([policy("data", by % f"{name}: ops")], unknown, INGRESS) is False


def test_types_that_are_not_said_follow_from_the_rules() -> None:
    assert directions(policy("data", "{podSelector: {}}")) == (INGRESS,)
    assert directions(policy("data", "{podSelector: {}, egress: []}")) == (INGRESS,)
    assert directions(policy("data", "{podSelector: {}, egress: [{}]}")) == (INGRESS, EGRESS)
    assert directions(policy("data", "{podSelector: {}, policyTypes: [Egress]}")) == (EGRESS,)


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ({"key": "app", "operator": "In", "values": ["web", "api"]}, True),
        ({"key": "app", "operator": "In", "values": ["api"]}, False),
        ({"key": "app", "operator": "NotIn", "values": ["api"]}, True),
        ({"key": "none", "operator": "NotIn", "values": ["api"]}, True),  # without the label too
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "none", "operator": "Exists"}, False),
        ({"key": "none", "operator": "DoesNotExist"}, True),
        ({"key": "app", "operator": "Near"}, False),
    ],
)
def test_expressions_match_as_label_selectors_do(expression: Any, answer: bool) -> None:
    assert matches({"matchExpressions": [expression]}, WEB.labels) is answer
    assert matches({"matchLabels": {"app": "x"}, "matchExpressions": [expression]}, WEB.labels) is (
        False
    )


TIMED = [
    ('Get "http://db:5432/x": dial tcp 10.96.7.7:5432: i/o timeout', "10.96.7.7"),
    ("dial tcp 10.96.7.7:5432: connect: connection timed out", "10.96.7.7"),
    ("Error: connect ETIMEDOUT 10.96.7.7:5432", "10.96.7.7"),
    ('connection to server at "db" (10.96.7.7), port 5432 failed: Connection timed out', "db"),
    ('connection to server at "db.data.svc", port 5432 failed: timeout expired', "db.data.svc"),
    ("curl: (28) Failed to connect to db port 5432 after 9001 ms: Connection timed out", "db"),
    ("curl: (28) Failed to connect to db port 5432 after 9001 ms: Timeout was reached", "db"),
    ("HTTPConnectionPool(host='db', port=5432): Max retries exceeded with url: / (Caused by "
     "ConnectTimeoutError(<urllib3.connection.HTTPConnection object at 0x7f>, 'Connection to db "
     "timed out. (connect timeout=3)'))", "db"),
    ("redis.exceptions.TimeoutError: Error 110 connecting to db:5432. Connection timed out.", "db"),
    ("(2003, \"Can't connect to MySQL server on 'db:5432' (110)\")", "db"),
    ("upstream timed out (110: Connection timed out) while connecting to upstream, client: x,"
     ' upstream: "http://10.96.7.7:5432/x"', "10.96.7.7"),
    ("HttpHostConnectException: Connect to db:5432 [db/10.96.7.7] failed: connect timed out", "db"),
]  # fmt: skip
NO_TIME_OUT = [
    "HTTPConnectionPool(host='db', port=5432): Read timed out. (read timeout=3)",
    "read tcp 10.1.0.5:41000->10.96.7.7:5432: i/o timeout",
    "dial tcp 10.96.7.7:5432: connect: connection refused",
    "upstream timed out (110: Connection timed out) while reading response header from upstream, "
    'upstream: "http://10.96.7.7:5432/"',
    "request to db:5432 took 3 s",
]
REFUSALS = [
    "dial tcp 10.96.7.7:5432: connect: connection refused",
    "Error: connect ECONNREFUSED 10.96.7.7:5432",
    'connection to server at "db" (10.96.7.7), port 5432 failed: Connection refused',
    "Failed to connect to db port 5432: Connection refused",
    "HTTPConnectionPool(host='db', port=5432): Max retries exceeded (Caused by NewConnectionError"
    "('<x>: Failed to establish a new connection: [Errno 111] Connection refused'))",
    "redis.exceptions.ConnectionError: Error 111 connecting to db:5432. Connection refused.",
    'connect() failed (111: Connection refused) while connecting to upstream, upstream: "http://db:5432"',
    "org.postgresql.util.PSQLException: Connection to db:5432 refused.",
]


def found(line: str, outcome: str) -> set[tuple[str, int]]:
    part = Facts(World().unready().log(line).capsule()).parts[0]
    return {(a.host, a.port) for a in attempts(part, outcome)}


@pytest.mark.parametrize(("line", "host"), TIMED)
def test_a_time_out_while_connecting_is_read_with_its_host_and_port(line: str, host: str) -> None:
    assert found(line, TIMED_OUT) == {(host, 5432)}
    assert found(line, REFUSED) == set()


@pytest.mark.parametrize("line", NO_TIME_OUT)
def test_other_time_outs_are_not_taken_for_one_while_connecting(line: str) -> None:
    assert found(line, TIMED_OUT) == set()


@pytest.mark.parametrize("line", REFUSALS)
def test_a_refusal_is_read_with_its_port(line: str) -> None:
    assert {port for _, port in found(line, REFUSED)} == {5432}


@pytest.mark.parametrize(
    "line",
    [
        "lookup db on 10.96.0.10:53: read udp 10.1.0.5:4711->10.96.0.10:53: i/o timeout",
        "dial tcp: lookup db.data.svc: i/o timeout",
        "Error: getaddrinfo EAI_AGAIN db",
        'could not translate host name "db" to address: Temporary failure in name resolution',
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "curl: (28) Resolving timed out after 5000 milliseconds",
    ],
)
def test_a_lookup_without_an_answer_is_not_one_with_a_denial(line: str) -> None:
    assert LOOKUP_UNANSWERED.search(line)
    assert not LOOKUP_UNANSWERED.search("lookup db on 10.96.0.10:53: no such host")
