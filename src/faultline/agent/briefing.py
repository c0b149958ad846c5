"""What a model is told at the start: the rules, which are ours alone, and the question. Pure.

The rules (`texts/loop.txt`) are the system prompt and hold nothing from outside. The question is
Markdown: the fault, what the analyzers suspect, the workload and its pods, numbers, events, ends of
logs, files. What others wrote stands between fences with the run's nonce and cannot leave them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from faultline.agent.tools import fenced
from faultline.agent.worlds import pod_state
from faultline.capsule import Capsule
from faultline.limits import prompt_events_max, prompt_log_chars_max
from faultline.model import Incident, Verdict
from faultline.observability import CUT, sections
from faultline.views import neutral

Object = dict[str, Any]

_MESSAGE_CHARS_MAX, _PODS_MAX, _LOGS_MAX, _FINDINGS_MAX = 120, 12, 8, 8

ANSWER_NOW = "Answer now, with what you know: one JSON object as described, and nothing else."
AGAIN = "That was no answer: {reason}. Once more: one JSON object as described, and nothing else."


def system() -> str:
    """Return the system prompt: a constant of ours."""
    return (files("faultline") / "texts" / "loop.txt").read_text("utf-8")


def question(
    incident: Incident,
    verdict: Verdict,
    capsule: Capsule,
    objects: Sequence[Object],
    nonce: str,
    *,
    live: bool,
    others: str = "",
) -> str:
    """Return the first message; `objects` are the capsule's, `live`: the cluster can be asked.

    `others` is what servers say of the tools of theirs that are offered.
    """
    parts = [
        f"# Incident {incident.id}\n\nText of others stands between lines with {nonce}.",
        _asked_of(
            "the cluster as it is now" if live else "the evidence below, and no live cluster"
        ),
    ]
    further = [("Further Tools", "what their server says of these tools", others)]
    for heading, origin, text in (
        ("Fault", "the fault as its source states it", _fault(incident)),
        ("Suspicions", "the analyzers' findings, with quotes", _findings(verdict)),
        ("Workload Under Investigation", "objects of the cluster", _workload(capsule, objects)),
        ("Pod States", "status of pods", _pods(objects)),
        ("Resource Usage (Prometheus)", "metrics", _metrics(capsule)),
        ("Kubernetes Events", "events of the cluster", _events(capsule)),
        ("Recent Logs", "ends of logs", _logs(capsule)),
        ("Files", "names of files", "\n".join(capsule.names())),
        *(further if others else ()),
    ):
        block = fenced(nonce, origin, neutral.fenced_by(nonce, text)) if text else "Nothing."
        parts.append(f"## {heading}\n\n{block}")
    return "\n\n".join(parts)


def _asked_of(what: str) -> str:
    return f"Your tools answer from {what}."


def _fault(incident: Incident) -> str:
    fault, resource = incident.fault, incident.fault.resource
    told: dict[str, Any] = {
        "fault": fault.name,
        "severity": fault.severity.value,
        "began": fault.starts_at.isoformat(),
        "summary": fault.summary,
        "resource": resource.model_dump(exclude_defaults=True) if resource else None,
        "labels": fault.labels,
        "annotations": fault.annotations,
    }
    return json.dumps(told, indent=1, ensure_ascii=False)


def _findings(verdict: Verdict) -> str:
    out = {name for finding in verdict.findings for name in finding.rules_out}
    rows = []
    for finding in verdict.findings[:_FINDINGS_MAX]:
        word = "ruled out" if finding.analyzer in out else finding.certainty.value
        rows.append(f"- {word}: {finding.analyzer}: {finding.statement}")
        rows += [f"    {e.file}:{e.line}: {e.quote}" for e in finding.evidence[:2]]
    return "\n".join(rows)


def _workload(capsule: Capsule, objects: Sequence[Object]) -> str:
    """Return metadata of the workload: what it is, replicas, containers and limits."""
    involved = _mapping(capsule, "context/cluster-info.json").get("involvedResources") or ()
    role = {(r.get("kind"), r.get("name")): str(r.get("role")) for r in involved}
    rows = [f"{r['role']}: {r['kind']}/{r['name']}" + (" MISSING" if r.get("missing") else "")
            for r in involved if r.get("role") != "pod"]  # fmt: skip
    for value in objects:
        meta, spec = value.get("metadata") or {}, value.get("spec") or {}
        if role.get((value.get("kind"), meta.get("name"))) == "workload":
            template = (spec.get("template") or {}).get("spec") or spec
            rows += [f"replicas: {spec.get('replicas')}", *map(_container, _list(template))]
    return "\n".join(rows)


def _list(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _container(container: dict[str, Any]) -> str:
    shown = {key: container[key] for key in ("image", "resources", "ports") if key in container}
    return f"container {container.get('name')}: {json.dumps(shown, ensure_ascii=False)}"


def _pods(objects: Sequence[Object]) -> str:
    pods = [value for value in objects if value.get("kind") == "Pod"][:_PODS_MAX]
    return "\n".join(f"{(p.get('metadata') or {}).get('name')}  {pod_state(p)}" for p in pods)


def _metrics(capsule: Capsule) -> str:
    found = _mapping(capsule, "context/metrics.json")
    rows = [f"{now.get('name')} of all pods: {now.get('value')} {now.get('unit')}"
            for now in found.get("snapshot") or ()]  # fmt: skip
    for series in found.get("series") or ():
        points = [point[1] for point in series.get("points") or ()]
        if points:
            told = f"last {points[-1]}, least {min(points)}, most {max(points)}"
            rows.append(f"{series.get('name')} {series.get('labels')}: {told} {series.get('unit')}")
    return "\n".join(rows)


def _events(capsule: Capsule) -> str:
    """Return a table of the newest events; a message is cut after 120 characters."""
    items = (_mapping(capsule, "context/k8s-events.json").get("items") or ())[:prompt_events_max]
    rows = [
        f"| {event.get('lastTimestamp') or event.get('eventTime')} | {event.get('type')} "
        f"| {event.get('reason')} | {_about(event)} "
        f"| {' '.join(str(event.get('message')).split())[:_MESSAGE_CHARS_MAX]} |"
        for event in items
    ]
    head = ["| Time | Type | Reason | Object | Message |", "|---|---|---|---|---|"]
    return "\n".join(head + rows) if rows else ""


def _about(event: dict[str, Any]) -> str:
    told = event.get("involvedObject") or {}
    return f"{told.get('kind')}/{told.get('name')}"


def _logs(capsule: Capsule) -> str:
    return "\n".join(_ends(capsule.text("context/logs.txt")))


def _ends(logs: str) -> Iterator[str]:
    """Yield the end of each log, at most 3,000 characters of it."""
    for found in list(sections(logs))[:_LOGS_MAX]:
        mark = "[previous container] " if found.state == "previous" else ""
        end = found.text[-prompt_log_chars_max:]
        yield f"--- {mark}{found.pod}/{found.container}"
        yield f"{CUT}\n{end}" if len(found.text) > len(end) else end


def _mapping(capsule: Capsule, name: str) -> dict[str, Any]:
    try:
        found = json.loads(capsule.read(name) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
