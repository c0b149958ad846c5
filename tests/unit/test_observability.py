"""Taking apart what was observed: no text of a program passes for a heading, a pod or a number."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultline.observability import EVENTS, LOGS, METRICS, observed, sections

HEAD = "==> api-1/app (current) <=="


@given(st.lists(st.text(), max_size=6))
def test_a_line_of_a_log_ends_at_a_line_feed_only(lines: list[str]) -> None:
    written = [" " + line if line.startswith("==>") else line for line in lines]
    written = [line.replace("\n", "") for line in written]

    [found] = sections("\n".join([HEAD, *written]) + "\n")

    assert found.lines == tuple(written)
    assert (found.pod, found.container, found.state, found.first) == ("api-1", "app", "current", 2)


@pytest.mark.parametrize("ends", ["\u2028", "\x85", "\x0c", "\r"])
def test_a_line_that_other_rules_would_end_forges_no_heading(ends: str) -> None:
    text = f"{HEAD}\nok{ends}==> other/app (current) <=={ends}stolen\n"

    assert [found.pod for found in sections(text)] == ["api-1"]


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"null", b'{"items": 1, "series": {}}', b'{"items": [1], "series": [2]}']
)
def test_what_has_another_form_is_left_out(data: bytes) -> None:
    found = observed({LOGS: b"", EVENTS: data, METRICS: data}, {"b": "why", "a": "why"})

    assert (found["pods"], found["k8s_events"], found["metrics"]) == ([], [], [])
    assert list(found["missing"]) == ["a", "b"]


def test_a_series_without_points_and_points_that_are_no_numbers_say_nothing() -> None:
    series = [
        {"name": "cpu", "labels": {"pod": "p"}, "points": points}
        for points in ([], [[1, "x"], [2]], [[1, 2], [2, None], [3, 4]], None)
    ]

    found = observed({METRICS: json.dumps({"series": series}).encode()}, {})

    [one] = found["pods"][0]["metrics"]
    assert (one["least"], one["last"], one["most"]) == (2, 4, 4)
