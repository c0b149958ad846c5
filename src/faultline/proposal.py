"""From a diagnosis' changes to the files that people are asked to merge.

All or nothing: one change that is refused refuses the patch, and every reason is on record. What
stands in the files decides, not what the diagnosis says of them. Which fields may change is
`changes.py`; the bytes are `splice.py`'s; branches are the outlets'.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from faultline import changes, checks, delivery, fields, fits, splice
from faultline.charts import Render
from faultline.errors import FaultlineError, Rejected
from faultline.kustomize import Repository
from faultline.limits import patch_files_max, patch_lines_max
from faultline.model import Change, Diagnosis, FileChange, PatchRules, Proposal

_DEFAULTS: dict[str, Any] = {  # what the cluster shows where the manifest says nothing
    "replicas": 1,
    "periodSeconds": 10,
    "timeoutSeconds": 1,
    "successThreshold": 1,
    "failureThreshold": 3,
    "initialDelaySeconds": 0,
    "scheme": "HTTP",
    "path": "/",
    "minReplicas": 1,
}
_PROTECTED = re.compile(
    r"(^|/)(\.[^/]*|CODEOWNERS|OWNERS|Dockerfile[^/]*|Containerfile|Makefile|Jenkinsfile"
    r"|azure-pipelines\.ya?ml|bitbucket-pipelines\.ya?ml|action\.ya?ml|\.\.?)(/|$)",
    re.IGNORECASE,
)


@dataclass
class _Work:
    """What changes are judged with, and the files as they become."""

    files: dict[str, bytes]
    within: frozenset[str]  # the files that may change
    rules: PatchRules
    ran: Collection[str]
    objects: Sequence[dict[str, Any]]

    render: Render | None
    known: Repository

    def where(self, change: Change) -> splice.Where:
        hints = delivery.hints(self.objects, change.target)
        return splice.Where(self.within, hints, self.render, self.known)


def propose(
    diagnosis: Diagnosis | None,
    files: Mapping[str, bytes],
    rules: PatchRules,
    *,
    revision: str,
    ran: Collection[str] = (),
    objects: Sequence[dict[str, Any]] = (),
    render: Render | None = None,
) -> Proposal:
    """Judge a diagnosis' changes and make them, on a copy of `files` as of `revision`.

    `ran` are the images that are known to have run before; `objects` those of the cluster: they
    say where a workload comes from, and what it has to fit. `render` renders Helm charts; without
    it they are refused. Never raises for what a diagnosis or a manifest says: it lands in
    `refused`.
    """
    wanted = diagnosis.changes if diagnosis else ()
    if 2 * len(wanted) > patch_lines_max:  # a line out and a line in, each
        reason = f"size: {len(wanted)} changes are more than {patch_lines_max} lines"
        return Proposal(refused={"patch": reason}, base=revision)
    within = frozenset(path for path in files if not protected(path, rules))
    work = _Work(dict(files), within, rules, ran, objects, render, Repository.of(files))
    refused: dict[str, str] = {}
    said: list[str] = []
    for change in wanted:
        try:
            made = _applied(work, change)
            work.files.update(made.files)
            said += [_sentence(change, rules), *made.said]
        except FaultlineError as error:
            refused[changes.label(change)] = str(error) + _elsewhere(work, change)
    if not refused:
        refused, more = _together(wanted, files, work)
        fit = fits.judge(wanted, objects)
        refused |= fit.refused
        said += [*more, *fit.said]
    if refused or not wanted:
        return Proposal(refused=refused, base=revision)
    differing = tuple(
        FileChange(path=path, before=files[path].decode(), after=work.files[path].decode())
        for path in sorted(work.files)
        if work.files[path] != files[path]
    )
    return Proposal(
        accepted=wanted, files=differing, base=revision, checks=tuple(dict.fromkeys(said))
    )


def diff(proposal: Proposal) -> str:
    """Return the proposal as a unified diff that `git apply` takes; "" for an empty one."""
    return "".join(_file_diff(file) for file in proposal.files)


def protected(path: str, rules: PatchRules) -> str:
    """Return why no patch may touch this path; "" if one may."""
    if not path or path != posixpath.normpath(path) or path.startswith(("/", "../")):
        return "path: expected a path inside the repository"
    if _PROTECTED.search(path) or not path.isprintable() or "\\" in path or '"' in path:
        return f"path: {path!r} is never changed"
    if not path.lower().endswith((".yaml", ".yml")) and not path.endswith("Kustomization"):
        return f"path: {path} is not a manifest"
    if not any(_matches(path, pattern) for pattern in rules.paths):
        return f"path: {path} is outside of the directories that may change"
    return ""


def _matches(path: str, pattern: str) -> bool:
    """Match a path with a glob: `*` and `?` stay inside of a part, `**` is any number of parts."""
    parts = [_part(part) + "/" for part in pattern.split("/")]
    regex = "".join(parts).replace("**/", "(?:[^/]+/)*")
    return re.fullmatch(regex, path + "/") is not None


def _part(glob: str) -> str:
    if glob == "**":
        return glob
    wild = {"*": "[^/]*", "?": "[^/]"}
    return "".join(wild.get(character, re.escape(character)) for character in glob)


def _applied(work: _Work, change: Change) -> splice.Made:
    """Return the files that a change makes different. Raises Rejected."""
    if reason := changes.refusal(change, work.rules, ran=work.ran):
        raise Rejected(reason)
    stands = splice.current(work.files, change, work.where(change))
    if not _agrees(change, stands):
        said = "nothing" if change.before is None else repr(change.before)
        shown = "a value" if change.field.endswith(".value") else repr(stands)
        raise Rejected(f"stale: the diagnosis saw {said:.80}, the manifests say {shown:.80}")
    made = splice.make(work.files, change, work.where(change))
    if not made.files:
        raise Rejected("unchanged: the manifests have this value already")
    return made


def _agrees(change: Change, stands: Any) -> bool:
    """Say whether the manifests hold what the diagnosis saw in the cluster."""
    before = change.before
    if stands is fields.MISSING or stands is None:
        return before is None or before == _DEFAULTS.get(change.field.rsplit(".", 1)[-1])
    if before is None:
        return False
    if ".resources." in change.field:
        amounts = changes.amount(before), changes.amount(stands)
        return None not in amounts and amounts[0] == amounts[1]
    return type(before) is type(stands) and bool(before == stands)


def _sentence(change: Change, rules: PatchRules) -> str:
    """Say what was checked of one change."""
    name = changes.label(change)
    if change.before is None:
        return f"{name}: set to {change.after}, where nothing stood."
    text = f"{name}: changed from {change.before} to {change.after}"
    old, new = changes.amount(change.before), changes.amount(change.after)
    bounded = ".resources." in change.field or change.field.endswith("eplicas")
    if not (bounded and old and new):
        return text + "."
    scaled = change.field.endswith("eplicas")
    most = rules.replicas_factor_max if scaled else rules.factor_max
    return f"{text}, {float(new / old):.4g} times (allowed is up to {most:g} times)."


def _together(
    wanted: Sequence[Change], before: Mapping[str, bytes], work: _Work
) -> tuple[dict[str, str], list[str]]:
    """Judge all changes as one: requests within limits, bounds in order, size of the patch."""
    refused: dict[str, str] = {}
    checks: list[str] = []
    for change in wanted:
        reason, sentence = _relation(change, work)
        reason = reason or _incomplete(change, work)
        if reason:
            refused[changes.label(change)] = reason
        elif sentence and sentence not in checks:
            checks.append(sentence)
    after = work.files
    paths = [path for path in after if after[path] != before[path]]
    lines = sum(_changed_lines(before[path].decode(), after[path].decode()) for path in paths)
    if len(paths) > patch_files_max or lines > patch_lines_max:
        refused["patch"] = (
            f"size: {lines} lines in {len(paths)} files, "
            f"allowed are {patch_lines_max} lines in {patch_files_max} files"
        )
    return refused, checks


def _relation(change: Change, work: _Work) -> tuple[str, str]:
    """Compare a value with the other one that bounds it: (why not, what was checked)."""
    path = fields.parse(change.field)
    if len(path) > 2 and path[-2] in ("requests", "limits") and path[-3] == "resources":
        lower, upper = (*path[:-2], "requests", path[-1]), (*path[:-2], "limits", path[-1])
    elif path[-1] in ("minReplicas", "maxReplicas"):
        lower, upper = (*path[:-1], "minReplicas"), (*path[:-1], "maxReplicas")
    else:
        return "", ""
    low, high = (_stands(work, change, where) for where in (lower, upper))
    least, most = changes.amount(low), changes.amount(high)
    if least is None or most is None:
        return "", ""
    names = f"{lower[-2]}.{lower[-1]}" if len(lower) > 2 else str(lower[-1])
    if least > most:
        return f"bounds: {names} {low} would be above {high}", ""
    return "", f"{names} {low} stays within {high}."


def _incomplete(change: Change, work: _Work) -> str:
    """Say what the variable or probe of a change would lack, once all changes are made."""
    whole = checks.whole_of(fields.parse(change.field))
    return checks.incomplete(whole, _stands(work, change, whole)) if whole else ""


def _stands(work: _Work, change: Change, path: fields.Path) -> Any:
    """Return what a neighbouring field says; MISSING if it cannot be found."""
    neighbour = change.model_copy(update={"field": fields.text(path)})
    try:
        return splice.current(work.files, neighbour, work.where(change))
    except FaultlineError:
        return fields.MISSING


def _elsewhere(work: _Work, change: Change) -> str:
    """Say which protected file holds the object, if that is why it was not found."""
    hidden = {path: work.files[path] for path in work.files.keys() - work.within}
    try:
        found = splice.locate(hidden, change.target)
    except FaultlineError:
        return ""
    return f" (it stands in {', '.join(found[:3])}, which may not change)" if found else ""


def _changed_lines(before: str, after: str) -> int:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0)
    return sum(1 for line in lines if line.startswith(("+", "-"))) - 2


def _file_diff(file: FileChange) -> str:
    """Return one file's part, with git's headers; lines end at `\\n` only, as git sees them."""
    tab = "\t" if " " in file.path else ""  # so that readers see where the name ends
    body = difflib.unified_diff(
        _lines(file.before), _lines(file.after), f"a/{file.path}{tab}", f"b/{file.path}{tab}"
    )
    text = "".join(
        line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in body
    )
    return f"diff --git a/{file.path} b/{file.path}\n{text}"


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)
