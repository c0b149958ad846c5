import importlib.util
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from faultline import event
from faultline.model import Fault, Result, RunStatus
from faultline.schemas import EVENTS, schema

REPO = Path(__file__).parents[2]

FAULT = Fault(name="KubePodCrashLooping", cluster="prod", starts_at="2026-11-21T10:00:00Z")
RESULT = Result(
    incident_id="20261121-api-5c1e9b2a",
    run=1,
    status=RunStatus.SUCCESS,
    started_at="2026-11-21T10:00:00Z",
    completed_at="2026-11-21T10:01:00Z",
)


def tool():
    spec = importlib.util.spec_from_file_location("schemas_tool", REPO / "tools" / "schemas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_made_from_the_models_is_what_is_committed():
    stale = [
        str(path.relative_to(REPO))
        for path, text in tool().files().items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]

    assert stale == [], "run: python tools/schemas.py"


def test_there_is_no_schema_of_an_event_that_is_gone():
    assert {path.stem for path in (REPO / "docs" / "schemas").glob("*.json")} == set(EVENTS)


@pytest.mark.covers("S1-119")
def test_every_event_type_of_ours_is_in_the_registry():
    ours = {value for value in vars(event).values() if is_type(value)}

    assert set(EVENTS) == ours


def is_type(value):
    return isinstance(value, str) and re.fullmatch(r"dev\.faultline(\.[a-z]+)+\.v\d+", value)


@pytest.mark.parametrize("type", EVENTS)
def test_every_schema_is_one(type):
    jsonschema.Draft202012Validator.check_schema(schema(type))


@pytest.mark.covers("S1-119")
@pytest.mark.parametrize(
    ("type", "data"),
    [
        (event.FAULT_DETECTED, FAULT.model_dump(mode="json")),
        (event.RUN_FINISHED, RESULT.model_dump(mode="json")),
        (event.CONTEXT_READY, {"run": 2}),
        (event.CONTEXT_READY, {}),
    ],
)
def test_what_is_sent_matches_its_schema(type, data):
    jsonschema.Draft202012Validator(schema(type)).validate(data)


def test_what_is_something_else_does_not_match():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema(event.FAULT_DETECTED)).validate({"name": "x"})


def test_there_is_one_knative_event_type_for_each_event():
    text = (REPO / "infra" / "knative" / "eventtypes.yaml").read_text("utf-8")
    known = [
        {a["name"]: a.get("value") for a in manifest["spec"]["attributes"]}
        for manifest in yaml.safe_load_all(text)
    ]

    assert [attributes["type"] for attributes in known] == list(EVENTS)
    assert all({"source", "specversion", "id"} <= set(attributes) for attributes in known)
