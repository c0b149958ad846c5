"""Views made from records: README, prompt, report, pull request, chat, terminal.

The words stand in `texts/`, as Jinja templates; what makes foreign text harmless in `neutral.py`;
what is read of an incident in `case.py`. The same records always give the same bytes.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import functools
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faultline import keys
from faultline.errors import Rejected
from faultline.event import format_time
from faultline.incidents import Incidents
from faultline.model import (
    Certainty,
    Diagnosis,
    Incident,
    Index,
    Proposal,
    Report,
    Result,
    RunStatus,
)
from faultline.proposal import diff
from faultline.views import neutral, words
from faultline.views.case import CLOSED_WORDS, Attempt, Case, Entry, Excerpt, excerpts, load

if TYPE_CHECKING:
    import jinja2

BRAND = "Faultline"
OVERRIDABLE = frozenset({"pull-request.md.j2", "chat.md.j2"})
log = logging.getLogger(__name__)
_EVIDENCE_MAX = 10
_QUOTE_CHARS_MAX = 2_000
_PATCH_CHARS_MAX = 30_000  # a pull request's body ends at 65,536 characters


@functools.cache
def environment(
    *, html: bool, folders: tuple[str, ...] = ("texts",), own: str = ""
) -> jinja2.Environment:
    """Return the templates of these folders. The pages' escape every value, the others none.

    `own` is a folder of the operator's, whose templates go before ours.

    By our own hand: the usual choice by a file's ending knows nothing of `.j2`.
    """
    import jinja2

    loaders: list[jinja2.BaseLoader] = [jinja2.PackageLoader("faultline", f) for f in folders]
    if own:
        loaders.insert(0, jinja2.FileSystemLoader(own))
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=html,  # noqa: S701  Markdown and plain text are not HTML
        undefined=jinja2.StrictUndefined,
        auto_reload=False,  # templates do not change under a process
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= FILTERS
    made.globals |= {"brand": BRAND, "words": words, "closed_words": CLOSED_WORDS}
    return made


FILTERS: dict[str, Any] = {
    "visible": neutral.visible,
    "one_line": neutral.one_line,
    "inert": neutral.inert,
    "prose": neutral.prose,
    "code": neutral.code,
    "fence": neutral.fence,
    "address": neutral.address,
    "moment": words.moment,
    "value": words.value,
    "shortened": words.shortened,
}


def _text(template: str, **values: Any) -> str:
    return environment(html=False).get_template(template).render(values)


def check_templates(folder: str) -> None:
    """Raise Rejected for a folder of templates that cannot work, naming what is wrong."""
    import jinja2

    if not Path(folder).is_dir():
        raise Rejected(f"templates: expected a folder, got {folder!r}")
    found = sorted(file.name for file in Path(folder).glob("*.j2"))
    if not set(found) & OVERRIDABLE:
        names = " or ".join(sorted(OVERRIDABLE))
        raise Rejected(f"templates: expected {names} in {folder}, found {found or 'none'}")
    for name in OVERRIDABLE & set(found):
        try:
            environment(html=False, own=folder).get_template(name)
        except (jinja2.TemplateError, UnicodeDecodeError) as error:
            raise Rejected(f"templates: {name}: {error}") from None


def _worded(template: str, own: str, **values: Any) -> str:
    """Fill a template of the operator's; where it fails, ours: people are told either way."""
    import jinja2

    if own:
        try:
            return environment(html=False, own=own).get_template(template).render(values)
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            log.warning("templates: %s failed, ours is used: %s", template, error)
    return _text(template, **values)


# for the agent


def prompt(
    incident: Incident, files: Sequence[str], missing: Mapping[str, str] | None = None
) -> bytes:
    """Return `PROMPT.md`: the question, the same for every run.

    `files` are the names of the capsule's files, `missing` the sources with nothing to say and why.
    What strangers wrote stands in blocks fenced by a nonce of this incident, and nothing inside can
    look like such a fence.
    """
    nonce = hashlib.sha256(incident.model_dump_json().encode()).hexdigest()[:32]
    fault = incident.fault
    told = {
        "fault": fault.name,
        "summary": fault.summary,
        "resource": words.place(fault),
        "labels": fault.labels,
        "annotations": fault.annotations,
    }
    silent = "\n".join(f"{name}: {why}" for name, why in sorted((missing or {}).items()))
    return _text(
        "investigate.md.j2",
        incident=incident,
        nonce=nonce,
        told=neutral.fenced_by(nonce, json.dumps(told, indent=2, ensure_ascii=False)),
        missing=neutral.fenced_by(nonce, silent),
        files=sorted(files),
    ).encode()


@functools.cache
def system_instructions() -> bytes:
    """Return `context/system-instructions.txt`: the read-only rules, for any agent."""
    from importlib.resources import files

    return (files("faultline") / "texts" / "system-instructions.txt").read_bytes()


# for people, in the bucket


def bucket_readme() -> bytes:
    """Return the bucket's `README.md`: what this bucket is."""
    return _text("bucket-readme.md.j2").encode()


def readme(case: Case) -> bytes:
    """Return an incident's `README.md`: what happened, where it stands, what will appear where."""
    return _text("readme.md.j2", case=case).encode()


# for people, outside


def report_of(case: Case, number: int, *, templates: str = "", console_url: str = "") -> Report:
    """Return what outlets are given of a run that has ended: title, pull request body, message.

    Its links are those that outlets have given us so far, and the console's, if its address is
    known. `templates` is a folder of the operator's own. Raises Rejected if the run has no result.
    """
    attempt = next((a for a in case.attempts if a.number == number), None)
    if attempt is None or attempt.result is None:
        raise Rejected(f"expected run {number} of {case.incident.id} to have ended, it has not")
    proposal = attempt.proposal or Proposal()
    patch = diff(proposal)
    links = {r.outlet: r.url for r in case.receipts if neutral.address(r.url)}
    if console_url:
        links["report"] = f"{console_url}/incidents/{case.incident.id}"
    known = {
        "incident": case.incident,
        "name": case.name,
        "result": attempt.result,
        "diagnosis": attempt.diagnosis,
        "proposal": proposal,
        "patch": _cut(patch, _PATCH_CHARS_MAX),
        "links": links,
        "previous": case.previous,
        "sure": words.sure(attempt.diagnosis, attempt.result),
        "quotes": _quotes(attempt.diagnosis),
        "sums": sums(attempt, patch, case.index),
    }
    known["capped"] = capped = attempt.run.capped if attempt.run else ""
    held = words.held(case.verification, case.incident.id)
    return Report(
        incident=case.incident,
        run=number,
        title=_title(case, attempt.result, attempt.diagnosis, patch),
        text=_worded("pull-request.md.j2", templates, **known),
        message=_worded("chat.md.j2", templates, **known),
        diagnosis=attempt.diagnosis,
        result=attempt.result,
        proposal=proposal,
        patch=patch,
        links=links,
        ending=" ".join(filter(None, (words.ending(case), held))),
        held=held,
        capped=capped,
    )


def sums(attempt: Attempt, patch: str, index: Index | None) -> dict[str, str]:
    """Return what ties an answer to its question: sha256 of capsule, prompt and patch."""
    found = {"capsule": attempt.run.capsule_sha256 if attempt.run else ""}
    asked = [f.sha256 for f in index.files if f.name == keys.PROMPT] if index else []
    found["prompt"] = asked[0] if asked else ""
    found["patch"] = hashlib.sha256(patch.encode()).hexdigest() if patch else ""
    return {name: value for name, value in found.items() if value}


def _title(case: Case, result: Result, diagnosis: Diagnosis | None, patch: str) -> str:
    """Return the pull request's title. The number is that of the episode: the first, the next."""
    name, tag = neutral.inert(case.name, 60), f"[{BRAND} #{case.incident.episode}]"
    if diagnosis is None:
        return f"{name}: no diagnosis, the run ended as {result.status.value} {tag}"
    if not patch:
        return f"{name}: {neutral.inert(diagnosis.title, 70)} {tag}"
    proved = diagnosis.certainty is Certainty.PROVED
    return f"fix({name}): {'proved' if proved else 'AI-suggested'} remediation {tag}"


def _quotes(diagnosis: Diagnosis | None) -> list[tuple[str, str]]:
    """Return (file:line, quote) of the evidence, as much as a pull request should hold."""
    evidence = diagnosis.evidence[:_EVIDENCE_MAX] if diagnosis else ()
    return [
        (f"{item.file}:{item.line}" if item.line else item.file, _cut(item.quote, _QUOTE_CHARS_MAX))
        for item in evidence
    ]


def _cut(text: str, chars: int) -> str:
    return (
        text if len(text) <= chars else text[:chars] + "\n[cut here: the rest is in the report]\n"
    )


def report_html(case: Case, number: int, quotes: Sequence[Excerpt] = ()) -> bytes:
    """Return `report/index.html` of a run: one page without script, whole in itself, good to print.

    It may be opened straight from the bucket, without headers of ours, so it brings its own policy:
    nothing is loaded, and only its own style counts. `quotes` are the evidence in its place.
    """
    report = report_of(case, number)
    attempt = next(a for a in case.attempts if a.number == number)
    made = environment(html=True)
    return (
        made.get_template("report.html.j2")
        .render(
            report=report,
            incident=case.incident,
            name=case.name,
            sure=words.sure(report.diagnosis, report.result),
            receipts=case.receipts,
            entries=_until_told(case, report.result),
            quotes=quotes,
            diff=diff_lines(report.patch),
            sums=sums(attempt, report.patch, case.index),
            style_hash=style_hash(made.get_template("page.css").render()),
        )
        .encode()
    )


def _until_told(case: Case, result: Result) -> list[Entry]:
    """Return the timeline as far as a report can know it, however late it is made again."""
    then = dataclasses.replace(
        case, merges=(), closed=None, shadow=None, synced=None, verification=None
    )
    faults = tuple((f, None) for f, _ in case.faults if f.starts_at <= result.completed_at)
    then = dataclasses.replace(then, faults=faults)
    return [e for e in then.timeline if e.at <= result.completed_at or e.record.startswith("pub")]


def style_hash(style: str) -> str:
    """Return the source expression that lets this style, and no other, through a page's policy."""
    digest = hashlib.sha256(style.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def diff_lines(patch: str) -> list[tuple[str, str]]:
    """Return the lines of a diff, each with its kind: file, place, add, cut or same."""
    found, inside = [], False
    for line in patch.removesuffix("\n").split("\n") if patch else ():
        inside = line.startswith("@@") or (inside and not line.startswith("diff --git "))
        found.append((_kind(line, inside), line))
    return found


def _kind(line: str, inside: bool) -> str:
    if not inside:
        return "file"
    return {"@": "place", "+": "add", "-": "cut"}.get(line[:1], "same")


# for people, in a terminal


def result_text(case: Case) -> str:
    """Return the summary that `show`, `demo` and `replay` print: no escape sequences in it."""
    diagnosis, attempt = case.diagnosis, case.attempt
    return _text(
        "result.txt.j2",
        case=case,
        incident=case.incident,
        diagnosis=diagnosis,
        attempt=attempt,
        sure=words.sure(diagnosis, attempt.result if attempt else None),
        quotes=_quotes(diagnosis),
    )


def as_json(case: Case, now: dt.datetime) -> dict[str, Any]:
    """Return the case for machines: `faultline show --json`."""
    latest = case.attempt
    known = {
        "incident": case.incident,
        "result": latest.result if latest else None,
        "diagnosis": case.diagnosis,
        "proposal": latest.proposal if latest else None,
        "closed": case.closed,
    }
    shown = {name: of.model_dump(mode="json") if of else None for name, of in known.items()}
    return shown | {
        "status": case.status.value,
        "run": latest.number if latest else 0,
        "attempt": _attempt(case, latest, now) if latest else None,
        "patch": case.patch,
        "receipts": [receipt.model_dump(mode="json") for receipt in case.receipts],
        "timeline": [
            {"at": format_time(entry.at), "what": entry.what, "detail": entry.detail}
            for entry in case.timeline
        ],
        "next": words.following(case),
        "lastDiagnosis": words.last_diagnosis(case.diagnosis),
    }


def _attempt(case: Case, latest: Attempt, now: dt.datetime) -> dict[str, Any]:
    """Return how the newest run stands: status, start, seconds so far, folder in the store.

    Until there is a result, its start is when it was asked for.
    """
    result, run = latest.result, latest.run
    began = result.started_at if result else run.created_at if run else now
    return {
        "status": str(result.status if result else RunStatus.RUNNING),
        "started_at": format_time(began),
        "seconds": ((result.completed_at if result else now) - began).total_seconds(),
        "folder": keys.incident(case.incident.id, keys.run_record(latest.number, "")),
    }


def write(incidents: Incidents, incident_id: str, number: int) -> None:
    """Make the views of a run again, from records: `output/`, `report/` and the README."""
    case = load(incidents, incident_id)
    report = report_of(case, number)
    quotes = quoted(incidents, incident_id, report.diagnosis)
    folder = keys.run_record(number, "")
    left = (name for name in sorted(case.names) if name.startswith(folder + "output/"))
    views = {name.removeprefix(folder): incidents.read(incident_id, name) for name in left}
    views |= {keys.REPORT: report_html(case, number, quotes), keys.PATCH: report.patch.encode()}
    views[keys.README] = readme(dataclasses.replace(case, names=case.names | views.keys()))
    for name, data in views.items():
        incidents.put_view(incident_id, name, data)


def quoted(
    incidents: Incidents, incident_id: str, diagnosis: Diagnosis | None
) -> tuple[Excerpt, ...]:
    """Return a diagnosis' evidence with the lines around it, out of the capsule."""
    capsule = incidents.capsule(incident_id) if diagnosis and diagnosis.evidence else None
    return excerpts(diagnosis.evidence, capsule.read) if diagnosis and capsule else ()
