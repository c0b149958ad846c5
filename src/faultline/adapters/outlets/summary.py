"""What a chat message says, before it takes a channel's form: the same in every channel.

All text from outside is made inert here, in plain lines that mention nobody and link nowhere; a
channel only escapes what is special to it. Nothing is claimed that did not happen: a pull request
is named only where an outlet has said where it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from faultline.model import Report
from faultline.views import words
from faultline.views.neutral import address, inert

CAUSE_CHARS_MAX = 300
_PULL = re.compile(r"/(pull|pulls|merge_requests)/\d+")


@dataclass(frozen=True)
class Summary:
    """One message: short, and safe to show."""

    title: str
    solved: bool  # is there a diagnosis
    proposed: bool  # is there a pull request
    fields: tuple[tuple[str, str], ...]
    cause_title: str
    cause: str
    action: str
    buttons: tuple[tuple[str, str], ...]  # words, address
    footer: str
    joke: str
    ending: str
    severity: str


def summary(report: Report) -> Summary:
    """Return what people are told of a report."""
    fault, diagnosis = report.incident.fault, report.diagnosis
    where = fault.resource
    code = next((u for name, u in report.links.items() if _PULL.search(u)), "")
    took = words.duration(report.result.started_at, report.result.completed_at)
    return Summary(
        title=inert(report.title, 140),
        solved=diagnosis is not None,
        proposed=bool(code),
        fields=(
            ("Cluster", inert(fault.cluster, 100)),
            ("Namespace", inert(where.namespace if where else "", 100) or "none"),
            ("Resource", inert(f"{where.kind}/{where.name}" if where else "none", 160)),
            ("Reason", inert(fault.name, 100)),
        ),
        cause_title=f"Root cause ({words.sure(diagnosis, report.result)[0]})",
        cause=_cause(diagnosis.root_cause if diagnosis else words.ended(report.result)),
        action=_action(report, code),
        buttons=_buttons(report, code),
        footer=f"Incident {report.incident.id} | Run {report.run} | Duration {took}",
        joke=inert(diagnosis.witty_line, 120) if diagnosis else "",
        ending=inert(report.ending, 300),
        severity=fault.severity.value,
    )


def _cause(text: str) -> str:
    """Cut the cause after a sentence, if one ends in the second half of what fits."""
    shown = inert(text, CAUSE_CHARS_MAX)
    if not shown.endswith("…"):
        return shown
    end = max(shown.rfind(mark) for mark in (". ", "! ", "? "))
    return shown[: end + 1] + " …" if end > CAUSE_CHARS_MAX // 2 else shown


def _action(report: Report, code: str) -> str:
    files = inert(", ".join(file.path for file in report.proposal.files), 200)
    if code:
        return (
            f"A pull request is there for review: {files}" if files else "A pull request is there."
        )
    if report.patch:
        return f"A change is suggested in {files}. A person has to review it."
    if report.capped:
        return f"No change is proposed. {inert(report.capped)}"
    return f"No change is proposed. A person has to {'decide' if report.diagnosis else 'look'}."


def _buttons(report: Report, code: str) -> tuple[tuple[str, str], ...]:
    """Return links that we made: outlets' own and the console's, never one from a cluster."""
    found = [("Review pull request", code)] if code else []
    names = {"report": "View report", "github": "View issue"}
    found += [(names.get(n, n)[:40], url) for n, url in report.links.items() if url != code]
    return tuple((name, url) for name, url in found if address(url))[:3]
