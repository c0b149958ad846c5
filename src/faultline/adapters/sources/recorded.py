"""A recorded cluster: a folder of what kubectl printed. It answers as a live one would.

    objects/*.yaml|json        kubectl get … -o yaml|json: single objects, several, or Lists
    events.json                kubectl get events -A -o json
    logs/<namespace>/<pod>/<container>.log        and <container>.previous.log
    metrics/*.json             name, query, unit, and Prometheus' answer to query_range
    version.json               kubectl version -o json
    changes.json               commits before the fault, if anyone wrote them down
    runbooks/<alertname>.md

`cluster.py` asks; nothing here judges.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from faultline.adapters.apiserver import by_others
from faultline.adapters.sources.lookout import EVERYWHERE
from faultline.adapters.sources.runbooks import find_runbook
from faultline.errors import Rejected
from faultline.redact.documents import load_yaml

Object = dict[str, Any]


class RecordedCluster:
    """Implements `cluster.Cluster` over a folder. Raises Rejected if a file is not what it says."""

    name = "recorded"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _objects(self) -> tuple[Object, ...]:
        paths = sorted((self._folder / "objects").glob("*"))
        return tuple(o for path in paths if path.is_file() for o in _parsed(path))

    def objects(self, kind: str, namespace: str = "") -> Sequence[Object]:
        """Return the objects of a kind in one namespace, in all (`*`), or of a kind without them.

        Raises Rejected for Secrets if none were recorded: who records usually may not read them.
        """
        if kind == "Secret" and not any(o.get("kind") == "Secret" for o in self._objects):
            raise Rejected("Secrets were not recorded")
        return [
            o for o in self._objects
            if o.get("kind") == kind
            and namespace in (EVERYWHERE, o.get("metadata", {}).get("namespace", ""))
        ]  # fmt: skip

    def events(self, namespace: str) -> Sequence[Object]:
        paths = [self._folder / f"events.{ending}" for ending in ("json", "yaml")]
        found = by_others(e for path in paths if path.is_file() for e in _parsed(path))
        return [e for e in found if e.get("involvedObject", {}).get("namespace", "") == namespace
                or e.get("metadata", {}).get("namespace", "") == namespace]  # fmt: skip

    def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int = 0
    ) -> str | None:
        ending = ".previous.log" if previous else ".log"
        path = self._folder / "logs" / namespace / pod / f"{container}{ending}"
        return path.read_bytes().decode("utf-8", "replace") if path.is_file() else None

    def series(self, namespace: str, workload: str) -> Sequence[Object]:
        """Return every recorded series of this namespace whose pod, if named, is the workload's."""
        paths = sorted((self._folder / "metrics").glob("*.json"))
        found = [s for path in paths for s in _series(_json(path))]
        return [s for s in found if _concerns(s["labels"], namespace, workload)]

    def version(self) -> Object:
        return self._one("version.json")

    def changes(self) -> Object:
        return self._one("changes.json")

    def runbook(self, alert: str) -> bytes | None:
        return find_runbook(self._folder / "runbooks", alert)

    def _one(self, name: str) -> Object:
        path = self._folder / name
        value = _json(path) if path.is_file() else {}
        return value if isinstance(value, dict) else {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        raise Rejected(f"expected JSON in {path.name}, as kubectl prints it with -o json") from None


def _parsed(path: Path) -> Iterator[Object]:
    """Yield every object of a file, Lists taken apart."""
    if path.suffix == ".json":
        values = [_json(path)]
    else:
        try:
            values = load_yaml(path.read_text(encoding="utf-8"))
        except ValueError:
            raise Rejected(f"expected YAML in {path.name}, as kubectl prints it") from None
    for value in values:
        if not isinstance(value, dict):
            continue
        if isinstance(value.get("items"), list):
            yield from (item for item in value["items"] if isinstance(item, dict))
        else:
            yield value


def _series(recorded: Any) -> Iterator[Object]:
    answer = recorded.get("answer", {}) if isinstance(recorded, dict) else {}
    for result in answer.get("data", {}).get("result", ()):
        yield {
            "name": recorded.get("name", ""),
            "query": recorded.get("query", ""),
            "unit": recorded.get("unit", ""),
            "labels": {k: v for k, v in result.get("metric", {}).items() if k != "__name__"},
            "points": [[int(at), _number(value)] for at, value in result.get("values", ())],
        }


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _concerns(labels: Object, namespace: str, workload: str) -> bool:
    here = bool(labels.get("namespace", namespace) == namespace)
    pod = str(labels.get("pod", workload))
    return here and (pod == workload or pod.startswith(workload + "-"))
