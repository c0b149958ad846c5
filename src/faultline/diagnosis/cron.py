"""Schedules of CronJobs: five fields, checked as the controller reads them. Pure.

Standard cron as robfig/cron's ParseStandard takes it, which Kubernetes uses: minute, hour, day of
month, month, day of week; lists, ranges, steps, names of months and days, `?`, and `@hourly`.
"""

from __future__ import annotations

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# name, least, most, names of the values from `least` on
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, tuple(_MONTHS)),
    ("day of the week", 0, 6, tuple(_DAYS)),
)
_WORDS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_ZONE = re.compile(r"^(?:CRON_)?TZ=\S{1,60} +")  # old objects may have it before the fields
_EVERY = re.compile(r"@every (\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
_RANGE = re.compile(r"([^-/]+)(?:-([^-/]+))?(?:/([0-9]{1,5}))?")


def fault_of(schedule: str) -> str:
    """Return what is wrong with a schedule, for a sentence; "" if nothing is."""
    schedule = _ZONE.sub("", schedule)
    if schedule.startswith("@"):
        known = schedule in _WORDS or _EVERY.fullmatch(schedule)
        return "" if known else f"{schedule} is no known word"
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"it has {len(fields)} fields and needs {len(_FIELDS)}"
    for field, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if wrong := _wrong(part, least, most, names):
                return f"{wrong} in the field for the {name}"
    return ""


def _wrong(part: str, least: int, most: int, names: tuple[str, ...]) -> str:
    match = _RANGE.fullmatch(part)
    if not match or match[3] == "0":
        return f"{part or 'nothing'} is no number, range or step"
    if match[1] in ("*", "?"):
        return f"{part} is no range" if match[2] else ""
    numbers = [_number(v, least, names) for v in (match[1], match[2] or match[1])]
    for number in numbers:
        if number is None or not least <= number <= most:
            return f"{part} is not within {least} to {most}"
    return f"{part} goes backwards" if (numbers[0] or 0) > (numbers[1] or 0) else ""


def _number(value: str, least: int, names: tuple[str, ...]) -> int | None:
    if value.lower() in names:
        return names.index(value.lower()) + least
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else None
