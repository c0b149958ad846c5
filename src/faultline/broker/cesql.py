"""CESQL 1.0: expressions over an event's attributes, one of the dialects of a Trigger's filter.

The language is github.com/cloudevents/spec:cesql/spec.md, its judge the TCK beside it. An
expression that fails has a value all the same. What it is made of: `cesql_terms.py`; where it is
used: `filters.py`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from faultline.broker import cesql_terms as terms
from faultline.broker.cesql_terms import INT_MAX, INT_MIN, Expression, Failure, Value
from faultline.errors import Rejected
from faultline.event import Event

CHARS_MAX = 4_096
DEPTH_MAX = terms.DEPTH_MAX


class Outcome(NamedTuple):
    """What an expression says of an event."""

    value: Value
    error: str | None  # missingAttribute, cast, math, missingFunction, functionEvaluation


def parse(text: str) -> Expression:
    """Return the expression. Raises Rejected, with the place, if it is none."""
    if len(text) > CHARS_MAX:
        raise Rejected(f"expected an expression of at most {CHARS_MAX} characters")
    parser = _Parser(_tokens(text))
    expression = parser.expression(0)
    parser.end()
    return expression


def evaluate(expression: Expression, event: Event) -> Outcome:
    """Return the value of an expression, and the error by the TCK's name for it."""
    try:
        return Outcome(expression(event), None)
    except Failure as failure:
        return Outcome(failure.value, failure.error)


def matches(expression: Expression, event: Event) -> bool:
    """Say whether the expression is true of the event. An error, or another type, is no match."""
    value, error = evaluate(expression, event)
    return value is True and error is None


# parsing

_LOGIC, _POSTFIX, _UNARY = 1, 5, 6
_LEVELS = {"AND": 1, "OR": 1, "XOR": 1}
_LEVELS |= dict.fromkeys(("=", "!=", "<>", "<", "<=", ">", ">="), 2)
_LEVELS |= {"+": 3, "-": 3, "*": 4, "/": 4, "%": 4, "LIKE": 5, "IN": 5}

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<word>[0-9]*[A-Za-z][A-Za-z0-9_]*)
    |(?P<integer>[0-9]+)|(?P<sign><=|>=|!=|<>|[=<>()+*/%,-])|(?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = frozenset({"AND", "OR", "XOR", "NOT", "LIKE", "IN", "EXISTS", "TRUE", "FALSE"})


class _Token(NamedTuple):
    kind: str  # string, word, integer, sign (and every keyword), end
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None:
            raise Rejected(f"expected a CESQL expression, got {text[at : at + 20]!r} at {at}")
        kind = match.lastgroup or "end"
        found = match[kind]
        if kind == "word" and found.upper() in _KEYWORDS:
            kind, found = "sign", found.upper()
        tokens.append(_Token(kind, found, match.start(kind)))
        at = match.end()
    return tokens


class _Parser:
    """Precedence climbing, by the levels of the language's grammar."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def expression(self, level: int) -> Expression:
        """Read an expression whose operators bind at least as tightly as `level`."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Rejected(f"expected an expression of at most {DEPTH_MAX} levels")
        left = self._unary()
        while (found := self._operator()) is not None and found[0] >= level:
            left = self._continued(left, *found)
        self._depth -= 1
        return left

    def end(self) -> None:
        """Raise Rejected if anything is left."""
        if self._next.kind != "end":
            raise self._unexpected("the end")

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _taken(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _skip(self, *signs: str) -> str | None:
        if self._next.kind == "sign" and self._next.text in signs:
            return self._taken().text
        return None

    def _expect(self, sign: str) -> None:
        if self._skip(sign) is None:
            raise self._unexpected(sign)

    def _unexpected(self, expected: str) -> Rejected:
        token = self._next
        got = token.text or "the end"
        return Rejected(f"expected {expected} at character {token.at}, got {got!r:.40}")

    def _operator(self) -> tuple[int, str, bool] | None:
        """Return level, name and negation of the operator that follows; it is not taken yet."""
        token, negated = self._next, False
        if token.kind == "sign" and token.text == "NOT":
            token, negated = self._tokens[self._at + 1], True
            if token.text not in ("LIKE", "IN"):
                return None
        if token.kind != "sign" or token.text not in _LEVELS:
            return None
        return _LEVELS[token.text], token.text, negated

    def _continued(self, left: Expression, level: int, name: str, negated: bool) -> Expression:
        self._at += 2 if negated else 1
        if level == _POSTFIX:
            found = (
                terms.like(left, self._string())
                if name == "LIKE"
                else terms.member(left, self._list())
            )
            return terms.negated(found) if negated else found
        right = self.expression(level if level == _LOGIC else level + 1)
        return terms.binary(name, left, right)

    def _unary(self) -> Expression:
        if self._skip("NOT"):
            return terms.negated(self.expression(_UNARY))
        if self._skip("-"):
            if self._next.kind == "integer":
                return terms.constant(self._number(-1))
            return terms.minus(self.expression(_UNARY))
        if self._skip("EXISTS"):
            name = self._word().lower()
            return terms.exists(name)
        return self._atom()

    def _atom(self) -> Expression:
        if self._skip("("):
            inner = self.expression(0)
            self._expect(")")
            return inner
        truth = self._skip("TRUE", "FALSE")
        if truth is not None:
            return terms.constant(truth == "TRUE")
        if self._next.kind == "integer":
            return terms.constant(self._number(1))
        if self._next.kind == "string":
            return terms.constant(self._string())
        name = self._word()
        if self._next.text == "(" and self._next.kind == "sign":
            return terms.call(name.upper(), self._list(may_be_empty=True))
        return terms.attribute(name.lower())

    def _word(self) -> str:
        if self._next.kind != "word":
            raise self._unexpected("an attribute, a literal or a function")
        return self._taken().text

    def _number(self, sign: int) -> int:
        number = sign * int(self._next.text)
        if not INT_MIN <= number <= INT_MAX:
            raise self._unexpected("an integer of 32 bits")
        self._at += 1
        return number

    def _string(self) -> str:
        if self._next.kind != "string":
            raise self._unexpected("a string in quotes")
        text = self._taken().text
        return text[1:-1].replace("\\" + text[0], text[0])

    def _list(self, *, may_be_empty: bool = False) -> list[Expression]:
        self._expect("(")
        if may_be_empty and self._skip(")"):
            return []
        found = [self.expression(0)]
        while self._skip(","):
            found.append(self.expression(0))
        self._expect(")")
        return found
