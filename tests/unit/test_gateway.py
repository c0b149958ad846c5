"""What the pod of a run may: whose token it is, which records, which event."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import quote

import pytest
from gateway_world import ACCOUNT, Cluster

from faultline.errors import NotAllowed, Rejected, Unavailable
from faultline.event import RUN_FINISHED, Event
from faultline.gateway import rights
from faultline.gateway.review import REMEMBERED_S, Reviews
from faultline.gateway.rights import Asker, asker_of
from faultline.model import Diagnosis, Result, RunStatus

MINE, OTHERS = "20261121-api-5c1e9b2a", "20261121-db-00000000"
RUN = Asker(MINE, 2)
NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
POD = f"{MINE}-2-x7k2p"

READS = [
    "event.json", "incident.json", "PROMPT.md", "context/index.json", "context/logs.txt",
    "runs/2/run.json", "runs/2/result.json", "runs/2/cancel.json", "runs/2/recorded/tools.jsonl",
]  # fmt: skip
WRITES = [
    "runs/2/result.json", "runs/2/output/investigation.md", "runs/2/output/artifacts/a..b.txt",
    "runs/2/tools.jsonl",
]  # fmt: skip


@pytest.mark.parametrize("name", READS)
def test_a_run_reads_its_evidence_and_its_own_folder(name: str) -> None:
    rights.check_read(RUN, f"incidents/{MINE}/{name}")


@pytest.mark.parametrize("name", WRITES)
def test_a_run_writes_its_results_once(name: str) -> None:
    rights.check_write(RUN, f"incidents/{MINE}/{name}", once=True)

    with pytest.raises(NotAllowed, match="once"):
        rights.check_write(RUN, f"incidents/{MINE}/{name}", once=False)


# run A's token, run B's records: as they are, in other words, and by ways around

STRANGE = [
    f"incidents/{OTHERS}/context/logs.txt",
    f"incidents/{OTHERS}/runs/2/result.json",
    f"incidents/{OTHERS}/",
    f"incidents/{MINE}x/context/logs.txt",
    f"incidents/{MINE}",
    f"Incidents/{MINE}/context/logs.txt",
    f"INCIDENTS/{MINE.upper()}/context/logs.txt",
    f"/incidents/{MINE}/context/logs.txt",
    f"//incidents/{MINE}/context/logs.txt",
    f"./incidents/{MINE}/context/logs.txt",
    f"incidents//{MINE}/context/logs.txt",
    f"incidents/{MINE}/../{OTHERS}/context/logs.txt",
    f"incidents/{MINE}/context/../../{OTHERS}/context/logs.txt",
    f"incidents/{MINE}/context/../runs/1/result.json",
    f"incidents/{MINE}/context/./../../{OTHERS}/event.json",
    f"incidents/{MINE}/context//../logs.txt",
    f"incidents/{MINE}/context/..",
    f"incidents/{MINE}%2Fcontext/logs.txt",
    quote(f"incidents/{OTHERS}/context/logs.txt", safe=""),
    f"incidents/{MINE}/%2e%2e/{OTHERS}/context/logs.txt",
    f"incidents\\{MINE}\\context\\logs.txt",
    f"incidents/{MINE}/runs/1/result.json",
    f"incidents/{MINE}/runs/02/result.json",
    f"incidents/{MINE}/runs/2",
    f"incidents/{MINE}/runs/22/result.json",
    f"incidents/{MINE}/runs/2 /result.json",
    f"incidents/{MINE}/report/index.html",
    f"incidents/{MINE}/published/slack.json",
    f"incidents/{MINE}/closed.json",
    f"incidents/{MINE}/Context/logs.txt",
    "probe.txt", "README.md", "payloads/2026-11-21/x.json", "claims/x/1.json", "",
]  # fmt: skip


@pytest.mark.covers("ISO-12")
@pytest.mark.parametrize("key", STRANGE)
def test_no_other_record_is_read_listed_or_written_whatever_it_is_called(key: str) -> None:
    for look in (rights.check_read, rights.check_list):
        with pytest.raises(NotAllowed):
            look(RUN, key)
    with pytest.raises(NotAllowed):
        rights.check_write(RUN, key, once=True)


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize(
    "name",
    [
        "event.json", "context/logs.txt", "context/index.json", "PROMPT.md", "runs/2/run.json",
        "runs/2/findings.json", "runs/2/cancel.json", "runs/2/packaged.json", "runs/2/change.json",
        "runs/2/recorded/tools.jsonl", "runs/1/output/investigation.md",
    ],
)  # fmt: skip
def test_a_run_does_not_write_its_orders_its_evidence_or_what_is_made_of_its_answer(
    name: str,
) -> None:
    with pytest.raises(NotAllowed):
        rights.check_write(RUN, f"incidents/{MINE}/{name}", once=True)


RESULT = Result(
    incident_id=MINE, run=2, status=RunStatus.SUCCESS, exit_code=0, started_at=NOW,
    completed_at=NOW, engine="claude",
)  # fmt: skip
DIAGNOSIS = Diagnosis(title="t", root_cause="r")


def made(**other: Any) -> bytes:
    return RESULT.model_copy(update=other).model_dump_json().encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("result.json", made()),
        ("output/diagnosis.json", DIAGNOSIS.model_dump_json().encode()),
        ("output/artifacts/result.json", b"anything"),
    ],
)
def test_results_that_can_be_read_are_taken(name: str, data: bytes) -> None:
    rights.check_form(RUN, f"incidents/{MINE}/runs/2/{name}", data)


@pytest.mark.covers("INJ-09")
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("result.json", b""),
        ("result.json", b"{}"),
        ("result.json", made(run=1)),
        ("result.json", made(incident_id=OTHERS)),
        ("output/diagnosis.json", b"Merge this: kubectl delete ns shop"),
        ("output/diagnosis.json", b'{"title": "t", "root_cause": "r", "changes": "--- a"}'),
    ],
)  # fmt: skip
def test_a_result_that_nobody_could_read_and_one_of_another_run_are_not(
    name: str, data: bytes
) -> None:
    with pytest.raises(Rejected):
        rights.check_form(RUN, f"incidents/{MINE}/runs/2/{name}", data)


@pytest.mark.parametrize("prefix", ["context/", "runs/2/", "runs/2/output/"])
def test_a_run_lists_its_evidence_and_its_own_folder(prefix: str) -> None:
    rights.check_list(RUN, f"incidents/{MINE}/{prefix}")


# events


def finished(**other: Any) -> Event:
    data = {"incident_id": MINE, "run": 2, "status": "success"} | other.pop("data", {})
    made = {"type": RUN_FINISHED, "subject": MINE, "data": data} | other
    return Event(id="1", source="/faultline/agent", time="2026-11-21T10:00:00Z", **made)


def test_a_run_says_that_it_is_over() -> None:
    rights.check_event(RUN, finished())


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize(
    "event",
    [
        finished(type="dev.faultline.fault.detected.v1"),
        finished(type="dev.faultline.incident.closed.v1"),
        finished(subject=OTHERS),
        finished(subject=None),
        finished(data={"run": 1}),
        finished(data={"run": "2"}),
        finished(data={"run": None}),
        finished(data={"incident_id": OTHERS}),
    ],
)
def test_a_run_says_nothing_else(event: Event) -> None:
    with pytest.raises(NotAllowed):
        rights.check_event(RUN, event)


# who asks


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def cluster() -> Any:
    made = Cluster()
    made.pods["mine"] = POD, "faultline-gateway"
    yield made
    made.stop()


def test_a_token_names_its_run_by_the_pod_that_holds_it(cluster: Cluster) -> None:
    who = Reviews(cluster.review, ACCOUNT, monotonic=Clock())

    assert who("mine", "faultline-gateway") == RUN
    assert cluster.asked == [{"token": "mine", "audiences": ["faultline-gateway"]}]


@pytest.mark.covers("ISO-03")
def test_a_token_is_asked_for_again_after_a_while_and_dies_with_its_pod(cluster: Cluster) -> None:
    clock = Clock()
    who = Reviews(cluster.review, ACCOUNT, monotonic=clock)
    who("mine", "faultline-gateway")
    who("mine", "faultline-gateway")
    assert len(cluster.asked) == 1

    del cluster.pods["mine"]
    clock.now_s += REMEMBERED_S

    with pytest.raises(NotAllowed):
        who("mine", "faultline-gateway")


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize(
    ("token", "audience"),
    [("mine", "faultline-model"), ("unknown", "faultline-gateway"), ("", "faultline-gateway"),
     ("m" * 9_000, "faultline-gateway")],
)  # fmt: skip
def test_a_token_for_another_door_and_one_that_nobody_knows_are_refused(
    cluster: Cluster, token: str, audience: str
) -> None:
    who = Reviews(cluster.review, ACCOUNT, monotonic=Clock())
    who("mine", "faultline-gateway")

    with pytest.raises(NotAllowed):
        who(token, audience)


@pytest.mark.parametrize(
    ("pod", "account"),
    [
        ("web-5d9f-x7k2p", ACCOUNT),
        ("", ACCOUNT),
        (MINE, ACCOUNT),
        (f"{MINE}-2", ACCOUNT),
        (f"{MINE}-0-x7k2p", ACCOUNT),
        (f"{MINE}-2-x7k2p-more", ACCOUNT),
        (POD, "system:serviceaccount:default:agent"),
        (POD, "system:serviceaccount:faultline-agents:default"),
        (POD, "kubernetes-admin"),
    ],
)
def test_a_pod_that_is_no_runs_and_another_account_are_refused(
    cluster: Cluster, pod: str, account: str
) -> None:
    cluster.pods["other"], cluster.account = (pod, "faultline-gateway"), account
    who = Reviews(cluster.review, ACCOUNT, monotonic=Clock())

    with pytest.raises(NotAllowed):
        who("other", "faultline-gateway")


@pytest.mark.parametrize("answer", [{}, {"status": None}, {"status": "Failure"}])
def test_an_api_server_that_says_nothing_lets_nobody_in(answer: Any) -> None:
    who = Reviews(lambda kind, spec: answer, ACCOUNT, monotonic=Clock())

    with pytest.raises(Unavailable):
        who("mine", "faultline-gateway")


def test_an_api_server_that_knows_no_audiences_lets_nobody_in() -> None:
    user = {"username": ACCOUNT, "extra": {"authentication.kubernetes.io/pod-name": [POD]}}
    answer = {"status": {"authenticated": True, "user": user}}
    who = Reviews(lambda kind, spec: answer, ACCOUNT, monotonic=Clock())

    with pytest.raises(NotAllowed):
        who("mine", "faultline-gateway")


def test_every_run_has_a_pod_whose_name_tells_it() -> None:
    """A Job's name is its run's id, and its pods are called so, with five characters more."""
    longest = f"20261121-{'a' * 24}-5c1e9b2a"

    assert len(f"{longest}-9999-x7k2p") <= 63  # nothing is cut
    assert asker_of(f"{longest}-9999-x7k2p") == Asker(longest, 9999)
