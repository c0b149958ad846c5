"""A branch and a pull request on GitHub; where no patch can be proposed, a comment on an issue.

The branch's name carries the incident and is its identity; a mark in the body confirms it. Before
each thing is made it is looked for, so a lost reply or a second run comes to the same pull request.
People come first: no push over their commits, no reopening, no edit of their words. Beside it in
`adapters/`: calls in `github.py`, the branch in `github_branch.py`, marks in `github_notes.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from faultline.adapters.github import GitHub
from faultline.adapters.github_branch import Branches
from faultline.adapters.github_notes import Notes, edited, mark, same_title, workload, written
from faultline.adapters.outlets.git import branch_name
from faultline.errors import Rejected
from faultline.event import parse_time
from faultline.model import Merged, Receipt, Report

SAFE_MODE = "Safe mode is on: no pull request is made, and what is changed below is a suggestion."


class Limits(NamedTuple):
    """How many pull requests people want to see from us; 0: any number. Counted, not locked."""

    open: int = 10
    hourly: int = 2


class GitHubOutlet:
    """Proposes in one repository. With `safe_mode` it never does, and comments on an issue."""

    name = "github"

    def __init__(
        self,
        github: GitHub,
        *,
        clock: Callable[[], dt.datetime],
        branch_prefix: str = "faultline/",
        author: str = "Faultline",
        email: str = "faultline@localhost",
        safe_mode: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._github, self._notes = github, Notes(github)
        self._clock = clock
        self._prefix = branch_prefix
        self._branches = Branches(github, author=author, email=email)
        self._safe_mode = safe_mode
        self._limits = limits or Limits()

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Make the pull request or the comment, or edit it. Raises Busy, Unavailable, Rejected."""
        branch = branch_name(report.incident.id, self._prefix)
        pull = self._known(receipt) or self._find(branch)
        if pull:
            return self._again(pull, branch, report, receipt)
        if self._safe_mode or report.proposal.empty:
            said = SAFE_MODE if self._safe_mode and not report.proposal.empty else ""
            return self._issue(report, branch, receipt, said)
        try:
            return self._propose(report, branch, receipt)
        except Rejected as error:
            why = f"No pull request could be made; the change below is on no branch. {error}."
            try:
                return self._issue(report, branch, receipt, why)
            except Rejected:
                raise error from None

    def merged(self, receipt: Receipt) -> Merged | None:
        """Ask for the pull request: when it was merged, as which commit, by whom."""
        pull = self._known(receipt) or self._find(receipt.details.get("branch", ""))
        if not pull or not pull["merged_at"]:
            return None
        whole = self._github.get(f"/pulls/{pull['number']}").data
        return Merged(
            outlet=self.name,
            at=parse_time(whole["merged_at"]),
            revision=whole["merge_commit_sha"] or "",
            by=(whole["merged_by"] or {}).get("login", ""),
        )

    # pull requests

    def _known(self, receipt: Receipt | None) -> dict[str, Any] | None:
        """Return the pull request of a receipt, unless it is of another repository."""
        here = receipt and receipt.reference.startswith(f"{self._github.repository}#")
        number = receipt.details.get("pull", "") if receipt and here else ""
        found = self._github.get(f"/pulls/{quote(number)}", fine=(404,)).data if number else None
        return found or None

    def _find(self, branch: str) -> dict[str, Any] | None:
        """Return the newest pull request of a branch, whatever became of it."""
        if not branch:
            return None
        head = f"{self._github.owner}:{branch}"
        found = self._github.get("/pulls", state="all", head=head).data
        return next((pull for pull in found if self._heads(pull) == branch), None)

    def _heads(self, pull: dict[str, Any]) -> str:
        """Return a pull request's branch; "" if it stands in a fork, where strangers write."""
        where = (pull["head"]["repo"] or {}).get("full_name", "")
        ours = where.lower() == self._github.repository.lower()
        return str(pull["head"]["ref"]) if ours else ""

    def _propose(self, report: Report, branch: str, told: Receipt | None) -> Receipt:
        default = self._github.default_branch()
        found = list(self._github.pages("/pulls", state="open"))
        ours = [pull for pull in found if self._heads(pull).startswith(self._prefix)]
        if other := _of_workload(ours, report):
            return self._again(other, branch, report, told)
        self._room(len(ours))
        self._branches.push(report, branch, default)
        title = report.title
        body = written(report, f"run-{report.run}", report.text, title)
        wanted = {"title": title, "head": branch, "base": default, "body": body}
        try:
            pull = self._github.post("/pulls", wanted | {"maintainer_can_modify": True}).data
        except Rejected:
            pull = self._find(branch)  # another delivery may have been first
            if not pull:
                raise
        return self._receipt(pull, branch, report, told)

    def _room(self, open_now: int) -> None:
        """Raise Rejected if there are as many pull requests of ours as people want to review."""
        if self._limits.open and open_now >= self._limits.open:
            raise Rejected(f"{open_now} pull requests of ours are open already")
        if not self._limits.hourly:
            return
        since = self._clock() - dt.timedelta(hours=1)
        newest = self._github.get("/pulls", state="all", sort="created", direction="desc").data
        mine = [pull for pull in newest if self._heads(pull).startswith(self._prefix)]
        made = sum(parse_time(pull["created_at"]) > since for pull in mine)
        if made >= self._limits.hourly:
            raise Rejected(f"{made} pull requests of ours were made within an hour")

    def _again(
        self, pull: dict[str, Any], branch: str, report: Report, told: Receipt | None
    ) -> Receipt:
        """Bring a pull request up to date, as far as people have left it to us."""
        left = ""
        if pull["merged_at"]:
            left = "This was merged already."
        elif pull["state"] == "closed":
            left = "A person closed it, and that is the answer."
            return self._receipt(pull, branch, report, told, left)
        elif self._heads(pull) != branch:
            left = "A pull request about this workload is open already; another is not made."
        elif not (report.proposal.empty or self._safe_mode or report.ending):
            left = self._update(pull, branch, report)
        if self._heads(pull) != branch or (left and self._unsaid(pull, report)):
            self._notes.comment(pull, report, f"run-{report.run}", f"{left}\n\n{report.text}")
        if report.ending:
            self._notes.comment(pull, report, "ended", report.ending)
        return self._receipt(pull, branch, report, told, left)

    def _unsaid(self, pull: dict[str, Any], report: Report) -> bool:
        known = mark(pull["body"])
        return known is not None and known.note != f"run-{report.run}"

    def _update(self, pull: dict[str, Any], branch: str, report: Report) -> str:
        """Push what differs and edit our part of the body; return why not, if we may not."""
        tip = self._github.tip(branch)
        if not tip or not self._branches.ours(tip, report):
            return "The branch has a person's commits, so nothing is pushed."
        self._branches.push(report, branch, pull["base"]["ref"])
        title = report.title if same_title(pull["title"], mark(pull["body"])) else ""
        ours = written(report, f"run-{report.run}", report.text, title)
        change = {
            "title": title if title != pull["title"] else "",
            "body": edited(pull["body"], ours),
        }
        if any(change.values()):
            wanted = {name: value for name, value in change.items() if value}
            self._github.patch(f"/pulls/{pull['number']}", wanted)
        return ""

    # issues, receipts

    def _issue(self, report: Report, branch: str, told: Receipt | None, intro: str) -> Receipt:
        here = told and told.reference.startswith(f"{self._github.repository}#")
        known = told.details.get("issue", "") if told and here else ""
        issue = self._notes.issue(report, report.incident.id[9:-9], known)
        if issue["state"] == "closed":  # a person is done with it
            left, url = "A person closed the issue.", issue["html_url"]
        else:
            text = "\n\n".join(filter(None, (intro, f"## {report.title}", report.text)))
            left, url = "", self._notes.comment(issue, report, "report", text)
            if report.ending:
                self._notes.comment(issue, report, "ended", report.ending)
        details = {"issue": str(issue["number"]), "branch": branch, "left": left}
        return self._made(issue, url, details, report, told)

    def _receipt(
        self,
        pull: dict[str, Any],
        branch: str,
        report: Report,
        told: Receipt | None,
        left: str = "",
    ) -> Receipt:
        details = {"pull": str(pull["number"]), "branch": branch, "left": left}
        return self._made(pull, pull["html_url"], details, report, told)

    def _made(
        self,
        on: dict[str, Any],
        url: str,
        details: dict[str, str],
        report: Report,
        told: Receipt | None,
    ) -> Receipt:
        known = {"incident": report.incident.id, "title": report.title} | details
        return Receipt(
            outlet=self.name,
            reference=f"{self._github.repository}#{on['number']}",
            url=url,
            made_at=told.made_at if told else self._clock(),
            details={name: value for name, value in known.items() if value},
        )


def _of_workload(pulls: Iterable[dict[str, Any]], report: Report) -> dict[str, Any] | None:
    """Return the one that is about the report's workload, from an earlier episode."""
    wanted = workload(report.incident)
    return next((p for p in pulls if (m := mark(p["body"])) and m.workload == wanted), None)
