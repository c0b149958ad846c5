"""The loop of the built-in engine: a model asks, tools answer, until it answers or a limit says so.

What it may ask is `questions.py` and, by name, `mcp_tools.py`; what it is told at the start
`briefing.py`, who the model is `backends.py`; `built_in.py` puts them together and is what runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from faultline.agent import briefing
from faultline.agent.dialects import Reply, Turn
from faultline.agent.outcome import parse_diagnosis
from faultline.agent.tools import Tools
from faultline.agent.transcript import Model
from faultline.errors import Rejected
from faultline.limits import loop_steps_max, tool_calls_at_once_max
from faultline.model import Diagnosis

_FENCED = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
_CLOSING = 0.75  # of the tokens and of the time: from then on it has to answer


@dataclass(frozen=True)
class Bounds:
    """How far a run may go. 0 tokens: no limit."""

    steps: int = loop_steps_max
    tokens: int = 0
    ends_at: float = float("inf")  # by the clock that is passed in
    seconds: float = 0.0  # that it had at its beginning


@dataclass
class Spent:
    """What a run has used."""

    steps: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


class GaveUp(Rejected):
    """The limits ended the run before there was an answer. `reason` is a word of `outcome.py`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the model gave no answer: {reason}")
        self.reason = reason


def investigate(
    model: Model,
    tools: Tools,
    question: str,
    bounds: Bounds,
    spent: Spent,
    clock: Callable[[], float],
) -> Diagnosis:
    """Let the model ask until it answers. Raises GaveUp, ModelFailed.

    The last two of its steps are for the answer, and for the same once more if it is none.
    """
    talk, again = [Turn("user", question)], False
    while not (reason := over(bounds, spent, clock())):
        last = again or tools.exhausted or closing(bounds, spent, clock())
        told = [Turn("user", briefing.ANSWER_NOW)] if last and not again else []
        reply = model.ask(briefing.system(), talk + told, tools.offered, last=last)
        count(spent, reply, talk)
        if reply.calls and not last:
            calls = reply.calls[:tool_calls_at_once_max]
            talk.append(Turn("assistant", reply.text, calls))
            talk += [Turn("tool", tools.ask(call), call=call) for call in calls]
            continue
        diagnosis, reason = answer_of(reply.text)
        if diagnosis:
            return diagnosis
        if again:
            raise GaveUp("bad_diagnosis")
        again = True
        talk += [*told, Turn("assistant", reply.text or "(nothing)")]
        talk.append(Turn("user", briefing.AGAIN.format(reason=reason)))
    raise GaveUp(reason)


def over(bounds: Bounds, spent: Spent, now: float) -> str:
    """Name the limit that is reached; "" if there is none. It is looked at before each question."""
    if bounds.tokens and spent.tokens >= bounds.tokens:
        return "max_tokens"
    if spent.steps >= bounds.steps:
        return "max_turns"
    return "deadline" if now >= bounds.ends_at else ""


def closing(bounds: Bounds, spent: Spent, now: float) -> bool:
    """Is it time to answer, while there is still room for an answer and another try?"""
    near = bounds.tokens and spent.tokens >= _CLOSING * bounds.tokens
    late = now >= bounds.ends_at - (1 - _CLOSING) * bounds.seconds
    return bool(near or late or spent.steps >= bounds.steps - 2)


def count(spent: Spent, reply: Reply, talk: Sequence[Turn]) -> None:
    """Add what an answer took. Where a service does not say, a token is four characters."""
    said = reply.tokens_in + reply.tokens_out > 0
    spent.steps += 1
    spent.tokens_in += reply.tokens_in if said else sum(len(turn.text) for turn in talk) // 4
    spent.tokens_out += reply.tokens_out if said else len(reply.text) // 4


def answer_of(text: str) -> tuple[Diagnosis | None, str]:
    """Return the diagnosis in an answer; or None, and what is wrong with it."""
    inside = _FENCED.match(text)
    found = parse_diagnosis((inside[1] if inside else text).strip().encode("utf-8", "replace"))
    if found is None:
        return None, "it is not one JSON object with exactly these keys, or root_cause is empty"
    return found.model_copy(update={"certainty": None}), ""  # that word is the analyzers' alone
