"""CESQL, judged by its conformance tests and by what a Trigger needs of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from faultline.broker import cesql
from faultline.errors import Rejected
from faultline.event import from_json

TCK = Path(__file__).parents[1] / "fixtures" / "cesql"
ANY = {"specversion": "1.0", "id": "1", "source": "http://localhost/source", "type": "t"}


class _NoTimes(yaml.SafeLoader):
    """Leaves time stamps as they are written."""


_NoTimes.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith(":timestamp")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def cases() -> list[Any]:
    found = []
    for path in sorted(TCK.glob("*.yaml")):
        text = path.read_text("utf-8")
        typed = yaml.load(text, _NoTimes)["tests"]
        plain = yaml.load(text, yaml.BaseLoader)["tests"]  # an expression such as TRUE, as text
        for case, written in zip(typed, plain, strict=True):
            case["expression"] = written["expression"]
            found.append(pytest.param(case, id=f"{path.stem}: {written['name']}"))
    return found


def test_the_tck_is_whole() -> None:
    assert len(cases()) == 275


@pytest.mark.parametrize("case", cases())
def test_the_conformance_tests_pass(case: dict[str, Any]) -> None:
    event = from_json(case.get("event", ANY) | case.get("eventOverrides", {}))

    try:
        value, error = cesql.evaluate(cesql.parse(case["expression"]), event)
    except Rejected:
        value, error = False, "parse"

    assert error == case.get("error")
    if "result" in case:
        assert (type(value), value) == (type(case["result"]), case["result"])
