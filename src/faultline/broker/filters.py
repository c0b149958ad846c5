"""Which events a Trigger wants: exact, prefix, suffix, all, any, not, cesql, and the legacy filter.

Pure. A filter is checked and built once, then asked for every event. The corner cases are those of
Knative's brokers: a missing attribute fails exact, prefix and suffix, and passes their `not`; an
optional attribute of the standard that is unset reads as ""; a filter with an empty value is
skipped. Where filters stand in a manifest: `triggers.py`. The expressions: `cesql.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from faultline.broker import cesql
from faultline.errors import Rejected
from faultline.event import STANDARD, Attribute, Event

Filter = Callable[[Event], bool]

NAME = re.compile(r"[a-z][a-z0-9]*")  # stricter than CloudEvents, as Knative is
DEPTH_MAX = 20


def everything(event: Event) -> bool:
    """Pass every event: a Trigger without a filter."""
    return True


def attribute(event: Event, name: str) -> Attribute | None:
    """Return an attribute's value; "" for an unset one of the standard, None for a missing one."""
    if name == "specversion" or name in STANDARD:
        value: str | None = getattr(event, name)
        return "" if value is None else value
    return event.extensions.get(name)


def build(spec: Mapping[str, Any]) -> Filter:
    """Return the filter of a Trigger's `spec`; `filters` overrides `filter` unless it is empty.

    Raises Rejected, naming the field, for what Knative's webhook refuses.
    """
    legacy = _legacy(spec.get("filter"))
    listed = _filters(spec.get("filters"), "filters", 0)
    if spec.get("filters"):
        return _all(listed)
    return legacy


def empty_values(filters: object, where: str = "filters") -> Iterator[str]:
    """Yield the place of each empty value: Knative skips such a filter, so it passes everything."""
    if isinstance(filters, Mapping):
        for key, value in filters.items():
            yield from empty_values(value, f"{where}.{key}")
    elif isinstance(filters, Sequence) and not isinstance(filters, str):
        for number, value in enumerate(filters):
            yield from empty_values(value, f"{where}[{number}]")
    elif filters == "":
        yield where


def _legacy(spec: object) -> Filter:
    if spec is None:
        return everything
    attributes = _attributes(_mapping(spec, "filter").get("attributes") or {}, "filter.attributes")
    wanted = tuple(attributes.items())
    return lambda event: all(_same(attribute(event, name), value) for name, value in wanted)


def _same(value: Attribute | None, wanted: str) -> bool:
    """Compare as the legacy filter does: "" wants any value, and a number never equals a string."""
    return value not in (None, "") if wanted == "" else value == wanted


def _filters(spec: object, where: str, depth: int) -> tuple[Filter, ...]:
    if spec is None:
        return ()
    if not isinstance(spec, list):
        raise Rejected(f"{where}: expected a list of filters, got {type(spec).__name__}")
    built = [_filter(one, f"{where}[{number}]", depth) for number, one in enumerate(spec)]
    return tuple(one for one in built if one is not None)


def _filter(spec: object, where: str, depth: int) -> Filter | None:
    dialects = _mapping(spec, where)
    if len(dialects) != 1:
        raise Rejected(f"{where}: expected exactly one dialect, got {sorted(dialects) or 'none'}")
    if depth > DEPTH_MAX:
        raise Rejected(f"{where}: filters are nested deeper than {DEPTH_MAX}")
    (name, value), *_ = dialects.items()
    if name in _COMPARE:
        return _compare(_COMPARE[name], value, f"{where}.{name}")
    if name == "cesql":
        return _cesql(value, f"{where}.cesql")
    if name == "not":
        return _not(_filter(value, f"{where}.not", depth + 1))
    if name not in ("all", "any"):
        known = ", ".join([*_COMPARE, "all", "any", "not", "cesql"])
        raise Rejected(f"{where}: expected one of {known}, got {name!r}")
    return _list(name, value, f"{where}.{name}", depth + 1)


def _list(name: str, value: object, where: str, depth: int) -> Filter:
    inner = _filters(value, where, depth)
    if not value:
        raise Rejected(f"{where}: expected at least one filter, got none")
    return _all(inner) if name == "all" else _any(inner)


def _all(inner: tuple[Filter, ...]) -> Filter:
    return lambda event: all(one(event) for one in inner)


def _any(inner: tuple[Filter, ...]) -> Filter:
    return lambda event: not inner or any(one(event) for one in inner)


def _not(inner: Filter | None) -> Filter | None:
    if inner is None:
        return None
    kept = inner
    return lambda event: not kept(event)


def _cesql(value: object, where: str) -> Filter:
    if not isinstance(value, str) or not value:
        raise Rejected(f"{where}: expected a CESQL expression, got {value!r}")
    try:
        expression = cesql.parse(value)
    except Rejected as error:
        raise Rejected(f"{where}: {error}") from None
    return lambda event: cesql.matches(expression, event)


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}


def _compare(compare: Callable[[str, str], bool], spec: object, where: str) -> Filter | None:
    wanted = tuple(_attributes(spec, where).items())
    if not wanted:
        raise Rejected(f"{where}: expected attribute: value, got nothing")
    if any(value == "" for _, value in wanted):
        return None
    return lambda event: all(
        (value := attribute(event, name)) is not None and compare(text(value), against)
        for name, against in wanted
    )


def text(value: Attribute) -> str:
    """Write an attribute's value as the headers of an event do."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _attributes(spec: object, where: str) -> dict[str, str]:
    for name, value in _mapping(spec, where).items():
        if not NAME.fullmatch(name):
            raise Rejected(
                f"{where}: expected attribute names such as mytype (a-z, then a-z and 0-9), "
                f"got {name!r}"
            )
        if not isinstance(value, str):
            raise Rejected(f"{where}.{name}: expected a string, got {value!r}; put it in quotes")
    return dict(_mapping(spec, where))


def _mapping(spec: object, where: str) -> dict[str, Any]:
    if not isinstance(spec, dict) or not all(isinstance(key, str) for key in spec):
        raise Rejected(f"{where}: expected a mapping, got {spec!r}")
    return spec
