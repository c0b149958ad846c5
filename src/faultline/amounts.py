"""Kubernetes quantities as numbers, and numbers as quantities. Nothing is judged here."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Any

_UNITS = dict(zip(("n", "u", "m", "", "k", "M", "G", "T", "P"), range(-9, 16, 3), strict=True))
_BINARY_UNITS = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5}


def amount(text: Any) -> Decimal | None:
    """Read a Kubernetes quantity (`500m`, `64Mi`, 2) as a number; None if it is none.

    As written in kubernetes/apimachinery:pkg/api/resource/quantity.go, exponents included.
    """
    match = re.fullmatch(
        r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(?:([KMGTP]i|[numkMGTP])|[eE]([0-9]{1,2}))?", str(text)
    )
    if match is None or isinstance(text, bool):
        return None
    number, unit, exponent = Decimal(match[1]), match[2] or "", match[3]
    if exponent:
        return number.scaleb(int(exponent))
    if unit in _BINARY_UNITS:
        return number * Decimal(1024) ** _BINARY_UNITS[unit]
    return number.scaleb(_UNITS[unit]) if unit in _UNITS else None


def shown(number: Decimal, resource: str) -> str:
    """Write a number as people write such a resource: `250m` of cpu, `1.5Gi` of memory."""
    if resource == "cpu":
        whole = number == number.to_integral_value()
        return str(int(number)) if whole else f"{int((number * 1000).to_integral_value())}m"
    if resource == "pods":
        return str(int(number))
    for unit in reversed(_BINARY_UNITS):
        size = Decimal(1024) ** _BINARY_UNITS[unit]
        if number >= size:
            tenths = (number / size * 10).to_integral_value(ROUND_CEILING) / 10
            return f"{tenths:f}".removesuffix(".0") + unit
    return str(int(number))
