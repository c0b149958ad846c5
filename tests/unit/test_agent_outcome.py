"""How runs are judged: exit codes, recorded streams of the CLIs, reports and diagnoses."""

from pathlib import Path

import pytest

from faultline.agent import outcome
from faultline.agent.outcome import SECTIONS, Said, judge
from faultline.agent.process import Exit
from faultline.limits import diagnosis_bytes_max

STREAMS = Path(__file__).parents[1] / "fixtures/agent-streams"
REPORT = "\n\n".join(f"{section}\n\nSomething was found here." for section in SECTIONS).encode()
DIAGNOSIS = b'{"title": "t", "root_cause": "a file is missing"}'


def said(name):
    return outcome.read(name.split("-")[0], (STREAMS / f"{name}.jsonl").read_bytes().splitlines())


def verdict(code=0, *, stream=None, report=REPORT, diagnosis=DIAGNOSIS, stopped="", **rest):
    ended = Exit(code, stopped=stopped, **rest)
    status, reason = judge(ended, stream, report=report, diagnosis=diagnosis)
    return str(status), reason


@pytest.mark.covers("S1-076")
def test_exit_zero_with_report_and_diagnosis_is_success():
    assert verdict() == ("success", "")


@pytest.mark.covers("S1-077", "S1-078", "S1-081", "S1-091")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, "exit"),
        (2, "exit"),
        (125, "exit"),
        (126, "start"),
        (127, "start"),
        (128, "exit"),
        (130, "sigint"),
        (134, "sigabrt"),
        (137, "sigkill"),
        (139, "sigsegv"),
        (143, "sigterm"),
        (255, "exit"),
        (-2, "sigint"),
        (-9, "sigkill"),
        (-15, "sigterm"),
        (None, "start"),
    ],
)
def test_every_other_exit_is_a_failure_and_says_which(code, reason):
    assert verdict(code) == ("failed", reason)


@pytest.mark.covers("S1-091")
@pytest.mark.parametrize(
    ("code", "stopped", "expected"),
    [
        (-2, "timeout", ("timeout", "deadline")),
        (0, "timeout", ("timeout", "deadline")),
        (0, "cancelled", ("cancelled", "cancelled")),
        (None, "cancelled", ("cancelled", "cancelled")),
        (-2, "auth", ("failed", "auth")),
    ],
)
def test_what_we_stopped_is_told_by_why_we_stopped_it(code, stopped, expected):
    assert verdict(code, stopped=stopped) == expected


@pytest.mark.covers("S1-091")
@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (None, "empty_report"),
        (b"", "empty_report"),
        (b" \n" * 200, "empty_report"),
        (b"# Done", "empty_report"),
        (b"Root cause: it broke. " * 20, "incomplete_report"),
        *((REPORT.replace(s.encode(), b"## Other"), "incomplete_report") for s in SECTIONS),
    ],
    ids=str,
)
def test_exit_zero_without_a_whole_report_is_no_success(report, reason):
    assert verdict(report=report) == ("failed", reason)


@pytest.mark.covers("S1-091")
@pytest.mark.parametrize(
    "diagnosis",
    [
        None,
        b"",
        b"null",
        b"[]",
        b"{}",
        b"not JSON",
        b"\xff\xfe",
        b'{"title": "t"}',
        b'{"title": "t", "root_cause": ""}',
        b'{"title": 1, "root_cause": "x"}',
        b'{"title": "t", "root_cause": "x", "confidence": "certain"}',
        b'{"title": "t", "root_cause": "x", "changes": [{"field": "spec"}]}',
        b'{"title": "t", "root_cause": "x", "evidence": "logs"}',
        b'{"title": "t", "root_cause": "x", "changes": NaN}',
        b'{"title": "t", "root_cause": "x", "more": Infinity}',
        b'{"title": "t", "root_cause": "x"',
        b'{"title": "t", "root_cause": "x", "witty_line": "' + b"h" * 121 + b'"}',
        b"[" * 100_000,
        b'{"title": "t", "root_cause": "' + b"x" * diagnosis_bytes_max + b'"}',
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_not_exactly_a_diagnosis_is_no_success(diagnosis):
    assert verdict(diagnosis=diagnosis) == ("failed", "bad_diagnosis")


def test_an_engine_that_writes_no_report_is_judged_by_its_exit_code():
    for code, expected in ((0, ("success", "")), (4, ("failed", "exit"))):
        ended = judge(Exit(code), None, report=None, diagnosis=None, writes_report=False)
        assert (str(ended[0]), ended[1]) == expected


@pytest.mark.parametrize(
    ("name", "exit_code", "reason"),
    [
        ("claude-read-tool-success", 0, ""),
        ("claude-error-400", 1, "engine_error"),
        ("claude-error-400", 0, "engine_error"),
        ("claude-error-401", -2, "auth"),
        ("claude-error-529-after-2-retries", 1, "overloaded"),
        ("claude-error-529-after-2-retries", 0, "overloaded"),
        ("claude-max-turns", 1, "max_turns"),
        ("claude-max-turns", 0, "max_turns"),
        ("claude-sigterm-mid-request", 0, "cut_off"),
        ("claude-sigterm-mid-request", 143, "sigterm"),
        ("claude-api-unreachable-retries", -2, "unreachable"),
        ("codex-exec-read-only", 0, ""),
        ("codex-sigterm-mid-request", 0, "cut_off"),
        ("gemini-read_file-plan-mode", 0, ""),
        ("gemini-sigterm-mid-request", 0, "cut_off"),
    ],
)
def test_recorded_streams_are_read_as_what_they_were(name, exit_code, reason):
    assert verdict(exit_code, stream=said(name)) == ("failed" if reason else "success", reason)


@pytest.mark.parametrize(
    ("name", "model", "tokens", "cost_usd"),
    [
        ("claude-read-tool-success", "claude-sonnet-4-5", 2450, 0.00795),
        ("claude-max-turns", "claude-sonnet-4-5", 1225, 0.003975),
        ("codex-exec-read-only", "", 2450, 0.0),
        ("gemini-read_file-plan-mode", "gemini-2.5-flash", 2450, 0.0),
    ],
)
def test_tokens_and_costs_are_those_of_the_last_line(name, model, tokens, cost_usd):
    found = said(name)

    assert (found.model, found.tokens, found.cost_usd) == (model, tokens, cost_usd)
    assert found.final


@pytest.mark.parametrize(
    "name", ["claude-read-tool-success", "codex-exec-read-only", "gemini-read_file-plan-mode"]
)
def test_the_answer_is_found_where_each_engine_puts_it(name):
    assert said(name).message.startswith("Root cause: the checkout pod ran out of memory.")


@pytest.mark.parametrize(
    ("stream", "line", "reason"),
    [
        ("codex", b'{"type":"turn.failed","error":{"message":"Quota exceeded"}}', "quota"),
        ("codex", b'{"type":"error","message":"401 Unauthorized"}', "auth"),
        ("gemini", b'{"type":"result","status":"error","error":{"message":"API key bad"}}', "auth"),
        ("gemini", b'{"type":"result","status":"error"}', "engine_error"),
        ("claude", b'{"type":"result","is_error":true,"api_error_status":429}', "quota"),
    ],
)
def test_errors_of_providers_become_one_of_our_few_words(stream, line, reason):
    assert outcome.read(stream, [line]).error == reason


@pytest.mark.parametrize("stream", ["claude", "codex", "gemini"])
@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"warning: x",
        b"{",
        b'{"type":',
        b"[1]",
        b'{"type":"result","usage":7,"stats":[]}',
        b'{"type":"item.completed","item":"x"}',
        b'{"type":"turn.completed","usage":{"input_tokens":1e999}}',
    ],
)
def test_lines_that_are_not_as_expected_never_stop_the_judge(stream, line):
    assert isinstance(outcome.read(stream, [line, b"\xff"]), Said)


def test_a_refused_key_is_hopeless_at_the_first_line_that_says_so():
    lines = (STREAMS / "claude-error-401.jsonl").read_bytes().splitlines()
    overloaded = (STREAMS / "claude-error-529-after-2-retries.jsonl").read_bytes().splitlines()

    assert [outcome.hopeless("claude", line) for line in lines][:2] == ["", "auth"]
    assert not any(outcome.hopeless("claude", line) for line in overloaded)
    assert outcome.hopeless("", lines[1]) == ""
    assert outcome.hopeless("claude", b'text that mentions "authentication_failed"') == ""


def test_an_engine_with_more_tools_than_it_was_given_is_stopped_at_its_first_line():
    given = frozenset({"Read", "Grep", "Glob"})
    all_tools = (STREAMS / "claude-bash-echo-autoallowed.jsonl").read_bytes().splitlines()
    three_tools = (STREAMS / "claude-read-tool-success.jsonl").read_bytes().splitlines()

    assert outcome.hopeless("claude", all_tools[0], given) == "unexpected_tools"
    assert not any(outcome.hopeless("claude", line, given) for line in three_tools)
    assert outcome.hopeless("claude", b'{"subtype":"init","tools":7}', given) == "unexpected_tools"


def test_plain_text_says_nothing_of_itself():
    assert outcome.read("", [b'{"type":"result","is_error":true}']) is None
