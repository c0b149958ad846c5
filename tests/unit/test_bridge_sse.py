"""The parser of server-sent events, against the public cases and its own limits."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from faultline.errors import TooLarge
from faultline.sse import Parser

FIXTURES = Path(__file__).parent.parent / "fixtures" / "sse"
VECTORS = json.loads((FIXTURES / "sse-vectors.json").read_text("utf-8"))


def outcome(chunks: list[bytes]) -> tuple[list[dict[str, str]], int | None, str]:
    parser = Parser()
    events = [event for chunk in chunks for event in parser.feed(chunk)] + parser.end()
    dispatched = [{"type": e.type, "data": e.data, "id": e.id} for e in events]
    return dispatched, parser.retry_ms, parser.last_id


def holds(vector: dict[str, Any], chunks: list[bytes]) -> bool:
    events, retry, last_id = outcome(chunks)
    return (
        events == vector["expect"]
        and vector["retry"] in (None, retry)
        and vector["last_id"] in (None, last_id)
    )


@pytest.mark.covers("SSE-01")
def test_all_public_cases_come_out_as_sent_joined_byte_by_byte_and_cut_anywhere() -> None:
    failed = []
    for vector in VECTORS:
        chunks = [bytes.fromhex(chunk) for chunk in vector["chunks_hex"]]
        whole = b"".join(chunks)
        cuts = range(0, len(whole), max(1, len(whole) // 500))
        ways = [chunks, [whole], [bytes([byte]) for byte in whole]]
        ways += [[whole[:cut], whole[cut:]] for cut in cuts]
        if not all(holds(vector, way) for way in ways):
            failed.append(f"{vector['source']} {vector['name']}")

    assert len(VECTORS) == 100
    assert failed == []


def test_a_character_cut_in_two_arrives_whole() -> None:
    parser = Parser()

    events = parser.feed(b"data: \xe2\x82") + parser.feed(b"\xac\n\n")

    assert [event.data for event in events] == ["€"]


def test_bytes_that_are_no_utf8_become_replacement_characters_and_end_nothing() -> None:
    parser = Parser()

    events = parser.feed(b"data: a\xffb\n\ndata: c\n\n")

    assert [event.data for event in events] == ["a\ufffdb", "c"]


def test_an_unfinished_event_leaves_neither_data_nor_id_behind() -> None:
    parser = Parser()
    parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")

    assert parser.end() == []
    assert parser.last_id == "1"


def fed(parser: Parser, first: bytes, then: bytes, times: int) -> None:
    parser.feed(first)
    for _ in range(times):
        parser.feed(then)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"data: ", b"x" * 1000),
        (b"data: x\n", b"data: x\n" * 100),
        (b": ", b"x" * 1000),
        (b"id: 1\n", b"id: 1\nevent: e\n" * 50),
    ],
    ids=["a line", "data without a blank line", "a comment", "fields"],
)
def test_what_never_ends_is_refused_at_the_limit(first: bytes, then: bytes) -> None:
    parser = Parser(bytes_max=10_000)
    fed(parser, first, then, 9)

    with pytest.raises(TooLarge):
        fed(parser, then, then, 20)


def test_what_was_complete_before_the_limit_is_still_returned() -> None:
    parser = Parser(bytes_max=100)

    events = parser.feed(b"data: first\n\ndata: " + b"x" * 200)

    assert [event.data for event in events] == ["first"]
    with pytest.raises(TooLarge):
        parser.feed(b"")


def test_short_comments_may_go_on_for_ever() -> None:
    parser = Parser(bytes_max=100)

    for _ in range(1000):
        parser.feed(b": keep-alive\n")

    assert [event.data for event in parser.feed(b"data: x\n\n")] == ["x"]


def test_a_long_line_in_single_bytes_costs_memory_of_its_size_only() -> None:
    parser = Parser(bytes_max=1_000_000)
    tracemalloc.start()

    for _ in range(200_000):
        parser.feed(b"x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2_000_000
