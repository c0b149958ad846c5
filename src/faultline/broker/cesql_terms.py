"""What CESQL expressions are made of: values, casts, operators and functions.

Each builder here returns an `Expression` over others. A failing operator raises `Failure`, with its
own value; on the way out that becomes the zero of each operator around it, so the outermost says
the value. Source: github.com/cloudevents/spec:cesql/spec.md. How text becomes these: `cesql.py`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from faultline.errors import Rejected
from faultline.event import STANDARD, Event

Value = str | int | bool
Run = Callable[[Event], Value]

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
DEPTH_MAX = 100
ARGUMENTS_MAX = 1_000


class Failure(Exception):  # never leaves this module
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
        except Failure as failure:
            if not failure.fresh:
                failure.value = self.zero
            failure.fresh = False
            raise


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
    raise Failure("cast", 0)


def _boolean(value: Value) -> bool:
    """Cast where an operator needs it: an integer is no truth value there."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Failure("cast", False)


def _to_type_of(value: Value, other: Value) -> Value:
    if isinstance(other, str):
        return _text(value)
    return _boolean(value) if isinstance(other, bool) else _integer(value)


def _own(cast: Callable[[Value], Value], value: Value, otherwise: Value) -> Value:
    """Cast an operand; if that fails, the operator fails, and is `otherwise`."""
    try:
        return cast(value)
    except Failure as failure:
        failure.value = otherwise
        raise


# operators


def _in_range(number: int) -> int:
    if INT_MIN <= number <= INT_MAX:
        return number
    raise Failure("math", INT_MAX if number > 0 else INT_MIN)


def _divided(left: int, right: int) -> int:
    if right == 0:
        raise Failure("math", 0)
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    return left - right * _divided(left, right)


def _equal(left: Value, right: Value) -> bool:
    return _own(lambda value: _to_type_of(value, right), left, False) == right


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


def binary(name: str, left: Expression, right: Expression) -> Expression:
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


def negated(operand: Expression) -> Expression:
    return _over(lambda event: not _own(_boolean, operand(event), True), False, operand)


def minus(operand: Expression) -> Expression:
    return _over(lambda event: _in_range(-_integer(operand(event))), 0, operand)


def attribute(name: str) -> Expression:
    def run(event: Event) -> Value:
        value = _value(event, name)
        if value is None:
            raise Failure("missingAttribute", False)
        return value

    return Expression(run, False)


def _value(event: Event, name: str) -> Value | None:
    if name == "specversion" or name in STANDARD:
        value: Value | None = getattr(event, name)
        return value
    return event.extensions.get(name)


def member(operand: Expression, members: Sequence[Expression]) -> Expression:
    def run(event: Event) -> bool:
        value = operand(event)
        values = [member(event) for member in members]  # all of them: any may be missing
        return any(_is_member(value, other) for other in values)

    return _over(run, False, operand, *members)


def _is_member(value: Value, member: Value) -> bool:
    try:
        return _to_type_of(member, value) == value
    except Failure:  # what cannot be cast is not the same
        return False


def like(operand: Expression, pattern: str) -> Expression:
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
        raise Failure("functionEvaluation", text)
    return text[max(0, len(text) - count) :] if right else text[:count]


def _substring(text: str, at: int, count: int | None = None) -> str:
    if abs(at) > len(text) or (count is not None and count < 0):
        raise Failure("functionEvaluation", "")
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
    "CONCAT": (lambda *texts: "".join(texts), (_S,) * ARGUMENTS_MAX, 0, ""),
    "CONCAT_WS": (lambda sep, *texts: sep.join(texts), (_S,) * ARGUMENTS_MAX, 1, ""),
}


def _casts(cast: Callable[[Value], Value], value: Value) -> bool:
    try:
        cast(value)
    except Failure:
        return False
    return True


def call(name: str, operands: Sequence[Expression]) -> Expression:
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
    raise Failure("missingFunction", False)


def exists(name: str) -> Expression:
    """Say whether an attribute is set."""
    return Expression(lambda event: _value(event, name) is not None, False)


def constant(value: Value) -> Expression:
    return Expression(lambda event: value, value)
