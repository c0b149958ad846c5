"""Our part of a text on GitHub: marked, so that it is found again and people's words stay.

A body or a comment of ours stands between two HTML comments. The first names incident, workload and
run, and holds a sum over what we wrote: where that no longer matches, a person has edited our part,
and it is left alone. Whatever stands outside of the marks is never touched.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from faultline.adapters.github import GitHub
from faultline.model import Incident, Report

LABEL = "faultline"  # only people who may triage can set one: strangers cannot fake our issues
CLOCKS_APART = dt.timedelta(hours=1)  # ours and GitHub's, at most
BODY_CHARS_MAX = 60_000  # GitHub ends a body at 65,536
_BEGIN = re.compile(
    r"<!-- faultline incident=([a-z0-9-]+) workload=([0-9a-f]{16}) note=([a-z0-9-]+)"
    r" sum=([0-9a-f]{16}) title=([0-9a-f]{16}) -->\n"
)
_END = "\n<!-- /faultline -->"


class Mark(NamedTuple):
    """What the mark of a text says."""

    incident: str
    workload: str
    note: str  # what it is: run-1, ended, issue
    sum: str
    title: str


def workload(incident: Incident) -> str:
    """Return what all incidents of one workload share: 16 hex digits."""
    return _sum(incident.key)


def written(report: Report, note: str, text: str, title: str = "") -> str:
    """Return a text with its marks."""
    shown = text if len(text) <= BODY_CHARS_MAX else text[:BODY_CHARS_MAX] + "\n[cut here]"
    shown = shown.strip()
    about = f"incident={report.incident.id} workload={workload(report.incident)} note={note}"
    return f"<!-- faultline {about} sum={_sum(shown)} title={_sum(title)} -->\n{shown}{_END}"


def mark(body: str | None) -> Mark | None:
    """Return the mark of a text; None if it has none."""
    found = _BEGIN.search(_unix(body))
    return Mark(*found.groups()) if found else None


def edited(body: str | None, ours: str) -> str | None:
    """Return the body with our part as in `ours`; None if it is so, or a person edited our part."""
    text = _unix(body)
    begin, end = _BEGIN.search(text), text.rfind(_END)
    if not begin or end < begin.end() or _sum(text[begin.end() : end]) != begin[4]:
        return None
    new = text[: begin.start()] + ours + text[end + len(_END) :]
    return new if new != text else None


def same_title(title: str, found: Mark | None) -> bool:
    """Say whether a title is still the one that we wrote."""
    return found is not None and _sum(title) == found.title


class Notes:
    """Comments, and the one issue of a workload. Raises what `GitHub` raises."""

    def __init__(self, github: GitHub) -> None:
        self._github = github

    def comment(self, on: dict[str, Any], report: Report, note: str, text: str) -> str:
        """Write a comment on an issue or pull request of ours, once; return its address."""
        ours = written(report, note, text)
        place = f"/issues/{on['number']}/comments"
        since = f"{report.incident.opened_at - CLOCKS_APART:%Y-%m-%dT%H:%M:%SZ}"
        found = self._find(self._github.pages(place, since=since), on, report, note)
        if found is None:
            return str(self._github.post(place, {"body": ours}).data["html_url"])
        body = edited(found["body"], ours)
        if body is not None:
            self._github.patch(f"/issues/comments/{found['id']}", {"body": body})
        return str(found["html_url"])

    def _find(
        self, comments: Iterable[dict[str, Any]], on: dict[str, Any], report: Report, note: str
    ) -> dict[str, Any] | None:
        wanted = (report.incident.id, note)
        for comment in comments:
            known = mark(comment.get("body"))
            if known and (known.incident, known.note) == wanted and _user(comment) == _user(on):
                return comment
        return None

    def issue(self, report: Report, name: str, told: str = "") -> dict[str, Any]:
        """Return the workload's issue: the one we know, the open one, else a new one."""
        if told:
            known: dict[str, Any] = self._github.get(f"/issues/{told}").data
            return known
        for issue in self._github.pages("/issues", labels=LABEL, state="open"):
            known_mark = mark(issue.get("body"))
            about = known_mark and known_mark.note == "issue"  # GitHub lists pull requests here too
            if about and known_mark and known_mark.workload == workload(report.incident):
                return issue
        title = f"{name}: incidents without a pull request"
        text = (
            f"What was found about `{name}` where no pull request is made: one comment for each "
            "incident. Close this issue when it is dealt with; the next incident opens another."
        )
        body = {"title": title, "labels": [LABEL]}
        body["body"] = written(report, "issue", text, title)
        made: dict[str, Any] = self._github.post("/issues", body).data
        return made


def _user(item: dict[str, Any]) -> str:
    return str((item.get("user") or {}).get("login", ""))


def _unix(text: str | None) -> str:
    return (text or "").replace("\r\n", "\n")


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
