"""Filters: the dialects of a Trigger and their corner cases."""

from __future__ import annotations

from typing import Any

import pytest

from faultline.broker import cesql, filters
from faultline.errors import Rejected
from faultline.event import Event

EVENT = Event(
    id="id-1",
    source="/shop/api",
    type="com.example.created",
    extensions={"number": 5, "text": "5", "flag": True, "empty": ""},
)


def matches(*listed: dict[str, Any], event: Event = EVENT) -> bool:
    return filters.build({"filters": list(listed)})(event)


def legacy(**attributes: str) -> bool:
    return filters.build({"filter": {"attributes": attributes}})(EVENT)


@pytest.mark.parametrize(
    ("dialect", "value", "expected"),
    [
        ("exact", "com.example.created", True),
        ("exact", "com.example", False),
        ("prefix", "com.example", True),
        ("prefix", "org.", False),
        ("suffix", ".created", True),
        ("suffix", ".deleted", False),
        ("exact", "COM.EXAMPLE.CREATED", False),
    ],
)
def test_exact_prefix_and_suffix_compare_the_whole_the_start_and_the_end(
    dialect: str, value: str, expected: bool
) -> None:
    assert matches({dialect: {"type": value}}) is expected


@pytest.mark.parametrize("dialect", ["exact", "prefix", "suffix"])
def test_all_attributes_of_one_filter_must_match(dialect: str) -> None:
    assert matches({dialect: {"type": EVENT.type, "source": EVENT.source}})
    assert not matches({dialect: {"type": EVENT.type, "source": "other"}})


@pytest.mark.parametrize("dialect", ["exact", "prefix", "suffix"])
def test_a_missing_attribute_fails_and_passes_its_negation(dialect: str) -> None:
    assert not matches({dialect: {"missing": "x"}})
    assert matches({"not": {dialect: {"missing": "x"}}})


def test_an_optional_attribute_of_the_standard_that_is_unset_reads_as_empty() -> None:
    assert filters.attribute(EVENT, "subject") == ""
    assert filters.attribute(EVENT, "missing") is None
    assert not matches({"exact": {"subject": "x"}})


@pytest.mark.parametrize(("name", "value"), [("number", "5"), ("flag", "true"), ("text", "5")])
def test_values_are_compared_as_their_text(name: str, value: str) -> None:
    assert matches({"exact": {name: value}})


def test_the_legacy_filter_compares_types_and_takes_empty_as_any() -> None:
    assert legacy(text="5", type="com.example.created")
    assert not legacy(number="5")  # an integer, from structured mode
    assert legacy(text="", number="")
    assert not legacy(missing="")
    assert not legacy(subject="")
    assert not legacy(empty="")
    assert not legacy(missing="x")


def test_all_any_and_not_combine() -> None:
    yes, no = {"exact": {"id": "id-1"}}, {"exact": {"id": "other"}}

    assert matches({"all": [yes, yes]})
    assert not matches({"all": [yes, no]})
    assert matches({"any": [no, yes]})
    assert not matches({"any": [no, no]})
    assert matches({"not": no})
    assert matches({"not": {"all": [yes, {"any": [no, no]}]}})
    assert not matches(yes, no)


def test_an_empty_value_is_skipped_as_knative_skips_it() -> None:
    assert matches({"prefix": {"type": ""}})
    assert matches({"not": {"exact": {"type": ""}}})
    assert not matches({"prefix": {"type": ""}}, {"exact": {"id": "other"}})
    assert list(filters.empty_values([{"all": [{"prefix": {"type": ""}}]}])) == [
        "filters[0].all[0].prefix.type"
    ]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("type LIKE 'com.%' AND number > 4", True),
        ("number > 5", False),
        ("missing = 'x'", False),  # an error drops the event
        ("NOT (missing = 'x')", False),
        ("'a text'", False),  # neither true nor false
        ("number", False),
        ("1 / 0 = 0 OR TRUE", False),
        ("EXISTS missing OR text = '5'", True),
    ],
)
def test_cesql_passes_an_event_only_if_it_is_true_without_error(
    expression: str, expected: bool
) -> None:
    assert matches({"cesql": expression}) is expected


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "type =",
        "type = 'x",
        "type ! 'x'",
        "(type = 'x'",
        "type LIKE source",
        "2147483648 = 1",
        "a b",
        "LEFT('a' 1)",
        "id IN ()",
        "(" * 150 + "TRUE" + ")" * 150,
        " + ".join(["1"] * 500),
        "NOT " * 500 + "TRUE",
        "x" * 5_000,
    ],
    ids=lambda text: text[:20],
)
def test_cesql_that_does_not_parse_is_refused(expression: str) -> None:
    with pytest.raises(Rejected, match=r"filters\[0\]\.cesql"):
        matches({"cesql": expression})


@pytest.mark.parametrize(
    ("expression", "value", "error"),
    [
        ("-2147483648", -(2**31), None),
        ("2147483647 + 1", 2**31 - 1, "math"),
        ("-7 / 2", -3, None),
        ("-7 % 2", -1, None),
        ("'x' + 1", 0, "cast"),
        ("'abc' = 5", False, "cast"),
        ("NOPE(1)", False, "missingFunction"),
        ("LEFT('abc')", False, "missingFunction"),
        ("1 IN ('a', '1')", True, None),
        ("TRUE OR FALSE AND FALSE", True, None),
        ("IS_INT('12') AND NOT IS_INT('x') AND IS_BOOL('true')", True, None),
        ("'a%b' LIKE 'a\\%b' AND 'aaab' LIKE '%ab' AND NOT ('ab' LIKE 'ab%b')", True, None),
    ],
)
def test_cesql_beyond_the_conformance_tests(
    expression: str, value: object, error: str | None
) -> None:
    found = cesql.evaluate(cesql.parse(expression), EVENT)

    assert (found.value, found.error) == (value, error)


def test_a_like_pattern_never_takes_long() -> None:
    expression = cesql.parse("source LIKE '%" + "a%" * 200 + "b'")
    event = Event(id="1", source="a" * 20_000, type="t")

    assert cesql.evaluate(expression, event).value is False
