"""What was observed, in one file: the ends of logs, k8s events and measurements, pod by pod. Pure.

`context/observability.json` points into the capsule's other files, which keep the whole. It is made
from what stands there, so from redacted text, and a part that cannot be read is left out. Its form
is in `docs/capsule.md`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

NAME = "context/observability.json"
LOGS, EVENTS, METRICS = "context/logs.txt", "context/k8s-events.json", "context/metrics.json"
PERMISSIONS = "context/permissions.json"
FILES = (LOGS, EVENTS, METRICS, PERMISSIONS)

CUT = "...[truncated]..."  # stands where a line or a log was cut
_LAST_LINES, _CHARS_MAX = 3, 300
_HEADING = re.compile(r"==> ([^/\s]+)/(\S+) \((current|previous)\) <==")


@dataclass(frozen=True)
class Section:
    """The excerpt of one container's log. `first`: number of its first line in the file, from 1."""

    pod: str
    container: str
    state: str  # current or previous
    first: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def sections(logs: str) -> Iterator[Section]:
    """Take `logs.txt` apart. Only a line feed ends a line: what a program writes may hold others.

    What stands before the first heading belongs to nobody.
    """
    lines = logs.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    heads = [(n, found) for n, line in enumerate(lines) if (found := _HEADING.fullmatch(line))]
    ends = [*(n for n, _ in heads[1:]), len(lines)]
    for (n, head), end in zip(heads, ends, strict=False):
        yield Section(head[1], head[2], head[3], n + 2, tuple(lines[n + 1 : end]))


def observed(files: Mapping[str, bytes], missing: Mapping[str, str]) -> Object:
    """Return what the files say, by pod; what is about no pod stands beside them.

    `missing`: the sources that failed, and why. What the cluster would not show is added to it.
    """
    pods: dict[str, Object] = {}

    def of(pod: str) -> Object:
        return pods.setdefault(pod, {"pod": pod, "logs": [], "k8s_events": [], "metrics": []})

    for section in sections(files.get(LOGS, b"").decode("utf-8", "replace")):
        of(section.pod)["logs"].append(_log(section))
    others: list[Object] = []
    for n, event in enumerate(_listed(files, EVENTS, "items")):
        about = _mapping(event.get("involvedObject"))
        to = of(str(about.get("name")))["k8s_events"] if about.get("kind") == "Pod" else others
        to.append(_event(n, event))
    loose: list[Object] = []
    for series in _listed(files, METRICS, "series"):
        pod = _mapping(series.get("labels")).get("pod")
        (of(str(pod))["metrics"] if pod else loose).extend(_measured(series))
    return {
        "pods": [pods[name] for name in sorted(pods)],
        "k8s_events": others,
        "metrics": loose,
        "snapshot": _listed(files, METRICS, "snapshot"),
        "missing": dict(sorted({**_unseen(files), **missing}.items())),
    }


def crashing(found: Object) -> Iterator[str]:
    """Yield a pod that had an earlier life and is held back from the next, with what is known."""
    for pod in found["pods"]:
        ended = [log for log in pod["logs"] if log["state"] == "previous"]
        held = [event for event in pod["k8s_events"] if event["reason"] == "BackOff"]
        if ended and held:
            lines = sum(log["lines"][1] - log["lines"][0] + 1 for log in pod["logs"])
            yield (
                f"{pod['pod']}, {lines} lines of logs and {len(pod['k8s_events'])} k8s events "
                f"in {NAME}; {held[0]['message']}; last line: {''.join(ended[0]['last'][-1:])}"
            )


def _log(section: Section) -> Object:
    return {
        "container": section.container,
        "state": section.state,
        "file": LOGS,
        "lines": [section.first, section.first + len(section.lines) - 1],
        "last": [_cut(line) for line in section.lines[-_LAST_LINES:]],
    }


def _event(number: int, event: Object) -> Object:
    about = _mapping(event.get("involvedObject"))
    counted = event.get("count") or _mapping(event.get("series")).get("count") or 1
    times = ("lastTimestamp", "eventTime", "firstTimestamp")
    return {
        "item": number,
        "at": next((event[name] for name in times if event.get(name)), None),
        "type": event.get("type"),
        "reason": event.get("reason"),
        "about": f"{about.get('kind')}/{about.get('name')}",
        "count": counted,
        "message": _cut(" ".join(str(event.get("message") or "").split())),
    }


def _measured(series: Object) -> Iterator[Object]:
    """Yield a series in numbers; nothing for one without points."""
    points = [p[1] for p in series.get("points") or () if _is_point(p)]
    if points:
        yield {
            "name": series.get("name"),
            "unit": series.get("unit"),
            "labels": _mapping(series.get("labels")),
            "last": points[-1],
            "least": min(points),
            "most": max(points),
        }


def _is_point(found: Any) -> bool:
    pair = isinstance(found, list) and len(found) == 2
    return pair and isinstance(found[1], int | float) and math.isfinite(found[1])


def _unseen(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return which of the files the cluster had nothing for, and why."""
    refused = _mapping(_parsed(files, PERMISSIONS).get("not_seen"))
    shown = {name.rpartition("/")[2] for name in FILES}
    return {str(what): str(why) for what, why in refused.items() if what in shown}


def _listed(files: Mapping[str, bytes], name: str, key: str) -> list[Object]:
    found = _parsed(files, name).get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _parsed(files: Mapping[str, bytes], name: str) -> Object:
    try:
        return _mapping(json.loads(files.get(name) or b"{}"))
    except ValueError:  # a file that was cut, or one of another form
        return {}


def _mapping(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _cut(text: str) -> str:
    return text[:_CHARS_MAX] + (CUT if len(text) > _CHARS_MAX else "")
