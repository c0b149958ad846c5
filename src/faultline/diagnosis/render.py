"""The investigation of the analyzers, as Markdown: seven sections, literally those of the contract.

Text of the cluster is data. In sentences it is one line without any markup of its own; quotes stand
in fences that they cannot close, indented, so that no line of theirs begins a heading. The text is
`texts/proved.md.j2`; the contract of its sections is `docs/contract.md`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

from faultline.diagnosis.wording import one_line
from faultline.event import format_time
from faultline.model import Certainty, Evidence, Finding, Incident, Severity, Verdict

_SPECIAL = re.compile(r"[\\`*\[\]<>|~!&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITY = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_LINKS = re.compile(r"(?i)(://|www\.|@|#(?=\d)|mailto:)")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_APART = "\u200b"  # a zero-width space: the text reads the same and is no longer a link

_CARD = {
    Severity.CRITICAL: ("🔴", "P2 (respond within 1 hour)"),
    Severity.WARNING: ("🟡", "P3 (respond within 4 hours)"),
    Severity.INFO: ("🟢", "P4 (respond within 24 hours)"),
}
_CONFIDENCE = {Certainty.PROVED: "High", Certainty.LIKELY: "Medium", Certainty.HINT: "Low"}


def investigation(incident: Incident, verdict: Verdict) -> bytes:
    """Return `investigation.md` for a verdict, proved or not, in UTF-8."""
    page: str = _environment().get_template("proved.md.j2").render(_page(incident, verdict))
    return page.encode("utf-8", "replace")


def md(value: object) -> str:
    """Return foreign text for a sentence: one line, no markup, no link, nobody mentioned."""
    text = "nothing" if value is None else _INVISIBLE.sub(" ", one_line(value, 500))
    text = _LINKS.sub(lambda m: m[0][0] + _APART + m[0][1:], text)
    return _SPECIAL.sub(lambda m: _ENTITY.get(m[0], "\\" + m[0]), text)


def code(value: object) -> str:
    """Return foreign text for an inline code span: it cannot end the span, nor a table's cell."""
    return _INVISIBLE.sub(" ", one_line(value, 500)).replace("`", "'").replace("|", "¦")


def fenced(quote: str) -> str:
    """Return a quote in a fence longer than any in it, as part of a list item."""
    lines = _INVISIBLE.sub(" ", quote.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    longest = max((len(run) for run in re.findall("`+", quote)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join(f"  {line}".rstrip() for line in (f"{fence}text", *lines, fence))


def _page(incident: Incident, verdict: Verdict) -> dict[str, Any]:
    findings = verdict.findings
    cause = findings[0] if findings else None
    facts = list(dict.fromkeys(e for f in findings[:6] for e in f.evidence))
    own = cause.evidence if cause else ()
    return {
        "incident": incident.id,
        "card": _card(incident),
        "proved": verdict.proved,
        "cause": cause or {"title": "Not known: no analyzer found anything"},
        "confidence": _confidence(verdict, cause),
        "assumption": "The capsule shows the cluster as it was when the fault began, and what "
        "stands in the repository is what the cluster was given.",
        "actions": cause.actions if cause else (),
        "changes": cause.changes if cause and verdict.proved else (),
        "others": findings[1:],
        "facts": facts,
        "inferences": [_inference(f, facts) for f in findings[:6]],
        "hypotheses": [_hypothesis(f, facts, verdict) for f in findings[:6]],
        "files": sorted({e.file for e in own} | {e.file for e in facts}),
        "findings": findings,
    }


def _card(incident: Incident) -> dict[str, str]:
    fault, resource = incident.fault, incident.fault.resource
    status, severity = _CARD[fault.severity]
    return {
        "status": status,
        "severity": severity,
        "subject": f"{resource.kind} {resource.name}".strip() if resource else fault.name,
        "place": (resource.namespace if resource else "") or f"cluster {fault.cluster}",
        "since": format_time(fault.starts_at),
        "opened": format_time(incident.opened_at),
        "fault": fault.name,
        "summary": fault.summary,
    }


def _confidence(verdict: Verdict, cause: Finding | None) -> str:
    if verdict.proved:
        return "High (proved)"
    several = cause is not None and cause.certainty is Certainty.PROVED
    return "Medium (several causes speak)" if several else "Low (not proved)"


def _numbers(finding: Finding, facts: list[Evidence]) -> str:
    cited = sorted({facts.index(e) + 1 for e in finding.evidence if e in facts})
    return ", ".join(f"[FACT-{n}]" for n in cited) or "none"


def _inference(finding: Finding, facts: list[Evidence]) -> dict[str, Any]:
    certainty = finding.certainty.value
    return {"finding": finding, "certainty": certainty, "facts": _numbers(finding, facts)}


def _hypothesis(finding: Finding, facts: list[Evidence], verdict: Verdict) -> dict[str, Any]:
    first = finding is verdict.findings[0]
    test = "Gather the evidence again: it is false if what it cites is gone and the fault is not."
    if finding.actions:
        test = f"Take its first action. It is false unless this follows: {finding.actions[0].check}"
    return {
        "finding": finding,
        "facts": _numbers(finding, facts),
        "against": "none found" if first else "a better proved hypothesis stands above",
        "test": test,
        "confidence": _CONFIDENCE[finding.certainty],
    }


@lru_cache(maxsize=1)
def _environment() -> Any:
    import jinja2

    texts = files("faultline") / "texts"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (texts / name).read_text("utf-8")),
        autoescape=False,  # noqa: S701 - this is Markdown; every value passes one of the filters
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": md, "code": code, "fenced": fenced}
    return environment
