"""Kubernetes quantities, times and near names: small arithmetic of the analyzers. Pure.

Quantities as in the API conventions: a decimal number with `m`, `k`, `Ki`, `M`, `Mi`, … behind it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any

_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(m|k|K|M|G|T|P|Ki|Mi|Gi|Ti|Pi|)")
_FACTOR = {
    **dict(zip(("m", "", "k", "K", "M"), (0.001, 1.0, 1e3, 1e3, 1e6), strict=True)),
    **dict(zip(("G", "T", "P"), (1e9, 1e12, 1e15), strict=True)),
    **{u: 1024.0 ** (i + 1) for i, u in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"))},
}
MIB = 1024 * 1024


def quantity(value: Any) -> float | None:
    """Return a quantity as a plain number (bytes, cores); None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = _QUANTITY.fullmatch(str(value).strip())
    return float(match[1]) * _FACTOR[match[2]] if match else None


def mebibytes(size: float) -> str:
    """Write bytes for people: `180Mi`, `1.5Gi`."""
    if size >= 1024 * MIB:
        return f"{size / (1024 * MIB):.1f}".removesuffix(".0") + "Gi"
    return f"{size / MIB:.0f}Mi" if size >= MIB else f"{size / 1024:.0f}Ki"


def rounded_up(size: float) -> str:
    """Return a quantity of at least `size` bytes that people would write: steps of 32 or 256 Mi."""
    step = 32 if size < 1024 * MIB else 256
    mib = int(-(-size // (step * MIB))) * step
    return f"{mib // 1024}Gi" if mib % 1024 == 0 else f"{mib}Mi"


def when(value: Any) -> dt.datetime | None:
    """Read an RFC 3339 time; None if it is not one."""
    try:
        time = dt.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def clock(time: dt.datetime) -> str:
    """Write a time for a sentence: `10:02 UTC`."""
    return f"{time.astimezone(dt.UTC):%H:%M} UTC"


def distance(a: str, b: str, most: int = 2) -> int:
    """Return the edits (insert, delete, replace, swap neighbours) between names, or most+1."""
    if abs(len(a) - len(b)) > most or max(len(a), len(b)) > 300:
        return most + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            cost = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            new.append(cost)
        before, row = row, new
    return min(row[-1], most + 1)


def nearest(name: str, names: Iterable[str], most: int = 2) -> str:
    """Return the one name within `most` edits that is nearest; "" if there is none, or a tie.

    Names so short that two edits make anything of anything need to be nearer.
    """
    most = min(most, max(1, len(name) // 3))
    near = sorted((distance(name, other, most), other) for other in set(names) - {name})
    near = [n for n in near if n[0] <= most]
    if not near or (len(near) > 1 and near[0][0] == near[1][0]):
        return ""
    return near[0][1]
