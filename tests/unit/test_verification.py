"""Did it hold, and how near was our proposal? The pure judgements."""

from __future__ import annotations

import datetime as dt

import pytest

from faultline import shadow
from faultline.fixes import Outcome, Shadow
from faultline.model import (
    Change,
    Cleared,
    Closed,
    ClosedBecause,
    Fault,
    FileChange,
    Incident,
    Merged,
    Proposal,
    Target,
)
from faultline.verification import Aftermath, settle, worth_asking

START = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)
ID = "20261121-api-5c1e9b2a"
FIELD = "spec.template.spec.containers[name=app].resources.limits.memory"
MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 2
  template:
    spec:
      containers:
        - name: app
          image: registry.example/api:1
          resources: {limits: {memory: 64Mi}}
"""


def at(minutes: float) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes)


def fault(began: float, name: str = "CrashLoop") -> Fault:
    return Fault(name=name, cluster="prod-a", starts_at=at(began), condition=f"{name}-{began}")


def closed(because: ClosedBecause = ClosedBecause.VERIFIED) -> Closed:
    known = tuple(fault(began).occurrence for began in (0, 7))
    return Closed(because=because, by="faultline", at=at(10), occurrences=known)


def aftermath(**fields: object) -> Aftermath:
    first = fault(0)
    plain = {
        "incident_id": ID,
        "closed": closed(),
        "faults": [(first, Cleared(fault=first, at=at(10)))],
        "merges": [Merged(outlet="git", at=at(5))],
    }
    return Aftermath(**(plain | fields))  # type: ignore[arg-type]


def next_episode(began: float, name: str = "CrashLoop") -> Incident:
    return Incident(
        id="20261121-api-00000002",
        key="k",
        episode=2,
        fault=fault(began, name),
        opened_at=at(began),
    )


def test_a_fix_that_stayed_quiet_is_verified_and_not_a_second_earlier() -> None:
    early = settle(aftermath(), at(19.99), 600)
    found = settle(aftermath(), at(20), 600)

    assert early is None
    assert found is not None
    assert found.outcome is Outcome.VERIFIED
    assert (found.ours, found.fixed_at, found.cleared_at) == (True, at(5), at(10))


@pytest.mark.parametrize("name", ["CrashLoop", "SomethingElse"])
def test_the_next_episode_after_the_merge_is_a_failure_that_names_it(name: str) -> None:
    found = settle(aftermath(later=[next_episode(12, name)]), at(12), 600)

    assert found is not None
    assert (found.outcome, found.again, found.fault) == (
        Outcome.FAILED,
        "20261121-api-00000002",
        name,
    )


def test_an_episode_whose_fault_began_before_the_merge_is_no_failure() -> None:
    found = settle(aftermath(later=[next_episode(4)]), at(30), 600)

    assert found is not None
    assert found.outcome is Outcome.VERIFIED


def test_a_fault_of_the_same_incident_that_began_after_the_merge_is_a_failure() -> None:
    second = fault(7)
    faults = [*aftermath().faults, (second, Cleared(fault=second, at=at(9)))]
    found = settle(aftermath(faults=faults), at(30), 600)

    assert found is not None
    assert (found.outcome, found.again) == (Outcome.FAILED, ID)


def test_a_fault_that_joined_after_its_end_was_heard_holds_nothing_up() -> None:
    faults = [*aftermath().faults, (fault(0, "Another"), None), (fault(7), None)]
    found = settle(aftermath(faults=faults, merges=[Merged(outlet="git", at=at(8))]), at(30), 600)

    assert found is not None
    assert found.outcome is Outcome.VERIFIED


@pytest.mark.parametrize(
    "fields",
    [
        {"merges": []},
        {"closed": None},
        {"merges": [Merged(outlet="git", at=at(11))]},
        {"faults": [(fault(0), None)], "closed": closed(ClosedBecause.PERSON)},
    ],
    ids=["nothing was changed", "still open", "merged after it was over", "closed while it burns"],
)
def test_without_a_fix_before_the_end_nobody_can_tell(fields: dict[str, object]) -> None:
    assert settle(aftermath(**fields), at(600), 600) is None


def test_a_fix_of_peoples_own_counts_from_when_it_was_seen() -> None:
    seen = Shadow(at=at(15), run=1, changes=(), score=0.5)
    found = aftermath(merges=[], shadow=seen, closed=closed(ClosedBecause.CLEARED))

    assert settle(found, at(20), 600) is None
    verification = settle(found, at(25), 600)
    assert verification is not None
    assert (verification.outcome, verification.ours) == (Outcome.VERIFIED, False)


def test_a_repository_is_asked_each_minute_at_first_and_every_tenth_later() -> None:
    young = [worth_asking(ID, START, at(minute)) for minute in range(120)]
    old = [worth_asking(ID, START, at(minute)) for minute in range(120, 240)]
    another = [
        worth_asking("20261121-db-00000003", START, at(minute)) for minute in range(120, 130)
    ]

    assert all(young)
    assert sum(old) == 12
    assert old[:10] != another


# beside what people did


def proposal(after: str = "256Mi") -> Proposal:
    change = Change(
        target=Target(kind="Deployment", name="api", namespace="shop"),
        field=FIELD,
        before="64Mi",
        after=after,
    )
    files = (FileChange(path="api.yaml", before=MANIFEST, after=MANIFEST.replace("64Mi", after)),)
    return Proposal(accepted=(change,), files=files)


@pytest.mark.parametrize(
    ("old", "new", "score", "theirs"),
    [
        ("64Mi", "256Mi", 1.0, "256Mi"),
        ("64Mi", "262144Ki", 1.0, "256Mi"),
        ("64Mi", "512Mi", 0.5, "512Mi"),
        ("replicas: 2", "replicas: 3", 0.25, "64Mi"),
    ],
)
def test_people_are_scored_by_value_field_and_object(
    old: str, new: str, score: float, theirs: str
) -> None:
    files = {"api.yaml": MANIFEST.replace(old, new).encode()}

    compared = shadow.compare(proposal(), files)

    assert shadow.score(compared) == score
    assert compared[0].theirs == theirs


@pytest.mark.parametrize(
    "files",
    [
        {"api.yaml": MANIFEST.encode()},
        {"api.yaml": b"# a comment\n" + MANIFEST.encode()},
        {"api.yaml": MANIFEST.encode(), "other.yaml": b"kind: ConfigMap\nmetadata: {name: x}\n"},
    ],
    ids=["nothing", "a comment", "another object"],
)
def test_what_touches_nothing_of_ours_is_no_fix(files: dict[str, bytes]) -> None:
    assert shadow.compare(proposal(), files) == ()


def test_a_variables_value_is_judged_and_never_repeated() -> None:
    manifest = MANIFEST.replace(
        "          resources", "          env: [{name: MODE, value: slow}]\n          resources"
    )
    change = Change(
        target=Target(kind="Deployment", name="api", namespace="shop"),
        field="spec.template.spec.containers[name=app].env[name=MODE].value",
        before="slow",
        after="fast",
    )
    ours = Proposal(
        accepted=(change,), files=(FileChange(path="api.yaml", before=manifest, after=""),)
    )

    compared = shadow.compare(ours, {"api.yaml": manifest.replace("slow", "hunter2").encode()})

    assert compared[0].same_field
    assert compared[0].theirs is None
