"""Which run is meant, and patience with the store."""

from datetime import UTC, datetime

import pytest

from faultline import keys
from faultline.adapters.stores import open_store
from faultline.agent.__main__ import named_run, of_event, parse_key
from faultline.agent.attempt import patiently, secrets_of
from faultline.errors import NotFound, Rejected, Unavailable
from faultline.event import CONTEXT_READY, Event
from faultline.incidents import Incidents
from faultline.model import Run
from faultline.wire import to_bytes

INCIDENT = "20261121-api-5c1e9b2a"


def an_event(**data):
    return Event(id="e", source="/s", type=CONTEXT_READY, subject=INCIDENT, data=data or None)


@pytest.fixture
def incidents():
    made = Incidents(open_store("memory:"))
    for number in (1, 2):
        run = Run(
            incident_id=INCIDENT,
            number=number,
            engine="stub",
            deadline_s=1,
            capsule_sha256="",
            created_at=datetime(2026, 11, 21, tzinfo=UTC),
            cause={},
        )
        made.record(INCIDENT, keys.run_record(number, keys.RUN), run)
    return made


def test_the_key_of_a_run_names_it(incidents):
    found = named_run(incidents, {"FAULTLINE_RUN": f"incidents/{INCIDENT}/runs/2/run.json"})

    assert found.id == f"{INCIDENT}-2"


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize(
    ("data", "number"),
    [({}, 1), ({"run": 2}, 2), ({"run": f"incidents/{INCIDENT}/runs/2/run.json"}, 2)],
)
def test_an_event_in_a_file_names_it_as_well(incidents, tmp_path, data, number, folder):
    (tmp_path / "event").write_bytes(to_bytes(an_event(**data)))
    path = tmp_path if folder else tmp_path / "event"

    assert named_run(incidents, {"K_EVENT_PATH": str(path)}).number == number


@pytest.mark.parametrize(
    "key",
    [
        "incidents/x/runs/1/run.json",
        f"incidents/{INCIDENT}/runs/0/run.json",
        f"incidents/{INCIDENT}/runs/1/result.json",
        f"incidents/{INCIDENT}/../{INCIDENT}/runs/1/run.json",
        f"{INCIDENT}/runs/1/run.json",
        "run.json",
    ],
)
def test_any_other_key_is_refused(key):
    with pytest.raises(Rejected, match="expected"):
        parse_key(key)


@pytest.mark.parametrize("run", [0, -1, True, "2", 1.5, None, [1]])
def test_an_event_without_a_number_that_can_be_is_refused(run):
    with pytest.raises(Rejected, match="number"):
        of_event(an_event(run=run))


def test_nothing_that_names_a_run_is_said_with_the_name_of_what_is_missing(incidents, tmp_path):
    with pytest.raises(Rejected, match="K_EVENT_PATH"):
        named_run(incidents, {})
    with pytest.raises(Rejected, match="cannot be read"):
        named_run(incidents, {"K_EVENT_PATH": str(tmp_path / "none")})
    with pytest.raises(NotFound, match="run 3"):
        named_run(incidents, {"FAULTLINE_RUN": f"incidents/{INCIDENT}/runs/3/run.json"})


def test_a_store_that_comes_back_in_time_costs_no_investigation():
    naps, answers = [], [Unavailable("gone"), Unavailable("gone"), "there"]

    def act():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(act, naps.append) == "there"
    assert naps == [0.5, 1.0]


def test_patience_ends_and_what_can_never_be_has_none():
    naps = []

    def away():
        raise Unavailable("gone")

    def wrong():
        raise Rejected("never")

    with pytest.raises(Unavailable):
        patiently(away, naps.append)
    assert sum(naps) < 60
    with pytest.raises(Rejected):
        patiently(wrong, naps.append)
    assert len(naps) == 5


def test_what_must_never_be_seen_is_known_by_its_variables_name():
    environment = {"ANTHROPIC_API_KEY": "a", "GIT_TOKEN": "b", "aws_secret": "c", "PATH": "d"}

    assert secrets_of(environment) == ["a", "b", "c"]
