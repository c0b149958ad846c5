"""What a model answered, on record, and a model that answers from such a record: `model.jsonl`.

The first line says which model it was and the run's nonce; each further one holds an answer, and
the hash of what it answers. An answer goes on as it stands on record, redacted, so the same record
leads to the same end, to the byte. The chain of the lines is `record.py`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from faultline import strict_json
from faultline.agent.backends import ModelFailed
from faultline.agent.dialects import Call, Reply, Tool, Turn
from faultline.agent.record import Chain, entries
from faultline.agent.tools import plain
from faultline.errors import Rejected
from faultline.redact import Redactor
from faultline.views import neutral


class Model(Protocol):
    """Something that answers. Raises ModelFailed."""

    def ask(self, system: str, talk: Sequence[Turn], tools: Sequence[Tool], *, last: bool) -> Reply:
        """Return the answer to a talk; `last` asks for one JSON object and offers no tools."""
        ...


class Kept:
    """A model whose answers are kept."""

    def __init__(self, model: Model, chain: Chain, redactor: Redactor) -> None:
        self._model, self._chain, self._redactor = model, chain, redactor

    def ask(self, system: str, talk: Sequence[Turn], tools: Sequence[Tool], *, last: bool) -> Reply:
        reply = self._model.ask(system, talk, tools, last=last)
        entry = {
            "asked": asked(system, talk, last=last),
            "text": neutral.visible(reply.text),
            "calls": [{"id": c.id, **_safe(c)} for c in reply.calls],
            "tokens_in": reply.tokens_in,
            "tokens_out": reply.tokens_out,
        }
        entry = self._redactor.object(entry)
        self._chain.add(entry)
        return _reply(entry)


class RecordedModel:
    """Answers as the model of a record did, in its order; `drifted` counts changed questions."""

    def __init__(self, data: bytes) -> None:
        """Raises Rejected unless the record is whole."""
        self.about, *self._answers = list(entries(data)) or [{}]
        if "nonce" not in self.about:
            raise Rejected("expected the record of a model's answers, found another one")
        self._next = 0
        self.drifted = 0

    def ask(self, system: str, talk: Sequence[Turn], tools: Sequence[Tool], *, last: bool) -> Reply:
        if self._next >= len(self._answers):
            raise ModelFailed("not_recorded", "the record has no further answer of the model")
        entry = self._answers[self._next]
        self._next += 1
        self.drifted += entry["asked"] != asked(system, talk, last=last)
        return _reply(entry)


def asked(system: str, talk: Sequence[Turn], *, last: bool) -> str:
    """Return the hash of everything that a model is told."""
    told = [system, [asdict(turn) for turn in talk], last]
    return hashlib.sha256(strict_json.dumps(told)).hexdigest()


def _safe(call: Call) -> dict[str, Any]:
    """Return a call as it may stand on record and in the talk: visible, finite, not deep."""
    return {"name": neutral.one_line(call.name, 80), "arguments": plain(call.arguments)}


def _reply(entry: dict[str, Any]) -> Reply:
    calls = tuple(Call(c["id"], c["name"], c["arguments"]) for c in entry["calls"])
    return Reply(entry["text"], calls, entry["tokens_in"], entry["tokens_out"])
