"""CESQL 1.0: expressions over an event's attributes, one of the dialects of a Trigger's filter.

The language is github.com/cloudevents/spec:cesql/spec.md, its judge the TCK beside it. `parse`
makes nested functions of an expression, `evaluate` asks them. An expression that fails has a value
all the same: the one that the failing operator names, else the zero of the type that the outermost
operator has. Where it is used: `filters.py`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from faultline.errors import Rejected
from faultline.event import STANDARD, Event

Value = str | int | bool
Run = Callable[[Event], Value]

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
DEPTH_MAX = 100
CHARS_MAX = 4_096


class Outcome(NamedTuple):
    """What an expression says of an event."""

    value: Value
    error: str | None  # missingAttribute, cast, math, missingFunction, functionEvaluation


class _Failure(Exception):  # never leaves this module
    """An operator failed; `value` is its value nevertheless."""

    def __init__(self, error: str, value: Value) -> None:
        super().__init__(error)
        self.error, self.value = error, value
        self.fresh = True  # not yet passed the operator that failed


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression."""

    run: Run
    zero: Value  # its value when an operand failed
    depth: int = 1

    def __call__(self, event: Event) -> Value:
        try:
            return self.run(event)
        except _Failure as failure:
            if not failure.fresh:
                failure.value = self.zero
            failure.fresh = False
            raise


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
    except _Failure as failure:
        return Outcome(failure.value, failure.error)


def matches(expression: Expression, event: Event) -> bool:
    """Say whether the expression is true of the event. An error, or another type, is no match."""
    value, error = evaluate(expression, event)
    return value is True and error is None


# casting


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _integer(value: Value) -> int:
    if not isinstance(value, str):
        return int(value)
    if re.fullmatch(r"[+-]?[0-9]{1,10}", value) and INT_MIN <= int(value) <= INT_MAX:
        return int(value)
    raise _Failure("cast", 0)


def _boolean(value: Value) -> bool:
    """Cast where an operator needs it: an integer is no truth value there."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _Failure("cast", False)


def _to_type_of(value: Value, other: Value) -> Value:
    if isinstance(other, str):
        return _text(value)
    return _boolean(value) if isinstance(other, bool) else _integer(value)


def _own(cast: Callable[[Value], Value], value: Value, otherwise: Value) -> Value:
    """Cast an operand; if that fails, the operator fails, and is `otherwise`."""
    try:
        return cast(value)
    except _Failure as failure:
        failure.value = otherwise
        raise


# operators


def _in_range(number: int) -> int:
    if INT_MIN <= number <= INT_MAX:
        return number
    raise _Failure("math", INT_MAX if number > 0 else INT_MIN)


def _divided(left: int, right: int) -> int:
    if right == 0:
        raise _Failure("math", 0)
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    return left - right * _divided(left, right)


def _equal(left: Value, right: Value) -> bool:
    return _own(lambda value: _to_type_of(value, right), left, False) == right


_LOGIC = 1
_LEVELS = {"AND": 1, "OR": 1, "XOR": 1}
_LEVELS |= dict.fromkeys(("=", "!=", "<>", "<", "<=", ">", ">="), 2)
_LEVELS |= {"+": 3, "-": 3, "*": 4, "/": 4, "%": 4, "LIKE": 5, "IN": 5}
_POSTFIX = 5
_UNARY = 6
_MATH: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divided,
    "%": _remainder,
}
_ORDER: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _binary(name: str, left: Expression, right: Expression) -> Expression:
    if name in _MATH:
        math = _MATH[name]
        run: Run = lambda event: _in_range(math(*_both(_integer, left, right, event, 0)))  # noqa: E731
        return _over(run, 0, left, right)
    if name in _ORDER:
        order = _ORDER[name]
        return _over(
            lambda event: order(*_both(_integer, left, right, event, False)), False, left, right
        )
    if name in ("=", "!=", "<>"):
        wanted = name == "="
        return _over(lambda event: _equal(left(event), right(event)) == wanted, False, left, right)
    return _over(_logic(name, left, right), False, left, right)


def _both(
    cast: Callable[[Value], int], left: Expression, right: Expression, event: Event, zero: Value
) -> tuple[int, int]:
    first, second = left(event), right(event)
    return int(_own(cast, first, zero)), int(_own(cast, second, zero))


def _logic(name: str, left: Expression, right: Expression) -> Run:
    def truth(operand: Expression, event: Event) -> bool:
        return bool(_own(_boolean, operand(event), False))

    if name == "AND":
        return lambda event: truth(left, event) and truth(right, event)
    if name == "OR":
        return lambda event: truth(left, event) or truth(right, event)
    return lambda event: truth(left, event) != truth(right, event)


def _over(run: Run, zero: Value, *operands: Expression) -> Expression:
    depth = 1 + max((one.depth for one in operands), default=0)
    if depth > DEPTH_MAX:
        raise Rejected(f"expected an expression of at most {DEPTH_MAX} levels")
    return Expression(run, zero, depth)


def _negated(operand: Expression) -> Expression:
    return _over(lambda event: not _own(_boolean, operand(event), True), False, operand)


def _minus(operand: Expression) -> Expression:
    return _over(lambda event: _in_range(-_integer(operand(event))), 0, operand)


def _attribute(name: str) -> Expression:
    def run(event: Event) -> Value:
        value = _value(event, name)
        if value is None:
            raise _Failure("missingAttribute", False)
        return value

    return Expression(run, False)


def _value(event: Event, name: str) -> Value | None:
    if name == "specversion" or name in STANDARD:
        value: Value | None = getattr(event, name)
        return value
    return event.extensions.get(name)


def _in(operand: Expression, members: Sequence[Expression]) -> Expression:
    def run(event: Event) -> bool:
        value = operand(event)
        values = [member(event) for member in members]  # all of them: any may be missing
        return any(_is_member(value, other) for other in values)

    return _over(run, False, operand, *members)


def _is_member(value: Value, member: Value) -> bool:
    try:
        return _to_type_of(member, value) == value
    except _Failure:  # what cannot be cast is not the same
        return False


def _like(operand: Expression, pattern: str) -> Expression:
    pieces = _pieces(pattern)
    return _over(lambda event: _is_like(_text(operand(event)), pieces), False, operand)


def _pieces(pattern: str) -> list[tuple[re.Pattern[str], int]]:
    """Return what stands between the `%` of a pattern, each with its length."""
    pieces: list[list[str]] = [[]]
    for found in re.findall(r"\\[%_]|.", pattern, re.DOTALL):
        if found == "%":
            pieces.append([])
        else:
            pieces[-1].append("." if found == "_" else re.escape(found[-1]))
    return [(re.compile("".join(piece), re.DOTALL), len(piece)) for piece in pieces]


def _is_like(text: str, pieces: list[tuple[re.Pattern[str], int]]) -> bool:
    """Match each piece as far left as it goes, the last at the end: never backtracks."""
    (first, length), *rest = pieces
    if not rest:
        return first.fullmatch(text) is not None
    if first.match(text) is None:
        return False
    at = length
    for piece, size in rest[:-1]:
        found = piece.search(text, at)
        if found is None:
            return False
        at = found.start() + size
    last, size = rest[-1]
    return len(text) - size >= at and last.match(text, len(text) - size) is not None


# functions


def _end(text: str, count: int, right: bool) -> str:
    if count < 0:
        raise _Failure("functionEvaluation", text)
    return text[max(0, len(text) - count) :] if right else text[:count]


def _substring(text: str, at: int, count: int | None = None) -> str:
    if abs(at) > len(text) or (count is not None and count < 0):
        raise _Failure("functionEvaluation", "")
    if at == 0:
        return ""
    start = at - 1 if at > 0 else len(text) + at
    return text[start:] if count is None else text[start : start + count]


def _bool_of(value: Value) -> bool:
    return value != 0 if isinstance(value, int) else _boolean(value)


def _same(value: Value) -> Value:
    return value


# name -> what it does, its parameters' casts, how many of them are needed, its zero
_S, _I = _text, _integer
_FUNCTIONS: dict[str, tuple[Callable[..., Value], tuple[Callable[[Value], Value], ...], int, Value]]
_FUNCTIONS = {
    "INT": (_integer, (_same,), 1, 0),
    "BOOL": (_bool_of, (_same,), 1, False),
    "STRING": (_text, (_same,), 1, ""),
    "IS_INT": (lambda v: _casts(_integer, v), (_same,), 1, False),
    "IS_BOOL": (lambda v: _casts(_bool_of, v), (_same,), 1, False),
    "ABS": (lambda number: _in_range(abs(number)), (_I,), 1, 0),
    "LENGTH": (len, (_S,), 1, 0),
    "LOWER": (str.lower, (_S,), 1, ""),
    "UPPER": (str.upper, (_S,), 1, ""),
    "TRIM": (str.strip, (_S,), 1, ""),
    "LEFT": (lambda text, count: _end(text, count, False), (_S, _I), 2, ""),
    "RIGHT": (lambda text, count: _end(text, count, True), (_S, _I), 2, ""),
    "SUBSTRING": (_substring, (_S, _I, _I), 2, ""),
    "CONCAT": (lambda *texts: "".join(texts), (_S,) * CHARS_MAX, 0, ""),
    "CONCAT_WS": (lambda sep, *texts: sep.join(texts), (_S,) * CHARS_MAX, 1, ""),
}


def _casts(cast: Callable[[Value], Value], value: Value) -> bool:
    try:
        cast(value)
    except _Failure:
        return False
    return True


def _call(name: str, operands: Sequence[Expression]) -> Expression:
    function, casts, least, zero = _FUNCTIONS.get(name, (_same, (), 1, False))
    if not least <= len(operands) <= len(casts):
        return _over(_no_function, False, *operands)

    def run(event: Event) -> Value:
        values = [operand(event) for operand in operands]
        return function(
            *(_own(cast, value, zero) for cast, value in zip(casts, values, strict=False))
        )

    return _over(run, zero, *operands)


def _no_function(event: Event) -> Value:
    raise _Failure("missingFunction", False)


# parsing

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
            found = _like(left, self._string()) if name == "LIKE" else _in(left, self._list())
            return _negated(found) if negated else found
        right = self.expression(level if level == _LOGIC else level + 1)
        return _binary(name, left, right)

    def _unary(self) -> Expression:
        if self._skip("NOT"):
            return _negated(self.expression(_UNARY))
        if self._skip("-"):
            if self._next.kind == "integer":
                return _constant(self._number(-1))
            return _minus(self.expression(_UNARY))
        if self._skip("EXISTS"):
            name = self._word().lower()
            return Expression(lambda event: _value(event, name) is not None, False)
        return self._atom()

    def _atom(self) -> Expression:
        if self._skip("("):
            inner = self.expression(0)
            self._expect(")")
            return inner
        truth = self._skip("TRUE", "FALSE")
        if truth is not None:
            return _constant(truth == "TRUE")
        if self._next.kind == "integer":
            return _constant(self._number(1))
        if self._next.kind == "string":
            return _constant(self._string())
        name = self._word()
        if self._next.text == "(" and self._next.kind == "sign":
            return _call(name.upper(), self._list(may_be_empty=True))
        return _attribute(name.lower())

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


def _constant(value: Value) -> Expression:
    return Expression(lambda event: value, value)
