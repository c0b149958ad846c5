"""JSON as RFC 8259 has it, both ways: Python's own module takes and makes a little more than that.

No NaN and no infinity, no name twice in one object, UTF-8 throughout and no lone surrogates.
"""

from __future__ import annotations

import json
import math
from typing import Any


def loads(data: bytes) -> Any:
    """Read one JSON value. Raises ValueError, which says what was wrong, never the value."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("too deep") from None
    if b"\\u" in data:
        dumps(value)
    return value


def dumps(value: Any) -> bytes:
    """Write a value, without white space. Raises ValueError if it is not JSON."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate") from None
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no JSON: {type(error).__name__}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return value


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
