"""GitHub's word that something of ours was merged: where to look, and nothing else. Pure.

Two kinds of message are read: a pull request that was closed by merging it, and a push to the
default branch. What they name is looked at, by `verify`, in Git itself; who merged, when and as
what is never taken from here. Source: docs.github.com, webhook events and payloads, and validating
webhook deliveries.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from faultline.errors import Rejected

LOOKS_MAX = 20  # incidents that one message may name
_ENDING = "[a-z0-9-]{1,24}-[0-9a-f]{8}"  # of an incident's id; its branch ends with it too
_TRAILER = re.compile(rf"^Faultline-Incident: [0-9]{{8}}-({_ENDING})$", re.MULTILINE)


def signature_known(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    """Say whether one of the secrets signed the body: `X-Hub-Signature-256`, `sha256=<hex>`."""
    given = headers.get("x-hub-signature-256", "").encode("latin-1", "replace")
    made = (
        b"sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
        for secret in secrets
        if secret
    )
    found = [hmac.compare_digest(each, given) for each in made]
    return any(found)


def looks(kind: str, body: bytes, *, repository: str, prefix: str) -> tuple[str, ...]:
    """Return the endings of the ids of incidents to look at; none if it tells of something else.

    `kind` is the header X-GitHub-Event, `repository` ours as owner/name, `prefix` that of our
    branches. Raises Rejected for what is no JSON object.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Rejected(
            "expected JSON of GitHub: set the webhook's content type to application/json"
        )
    if str(_at(message, "repository", "full_name")).lower() != repository.lower():
        return ()
    found = {"pull_request": _merged, "push": _pushed}.get(kind, _nothing)(message, prefix)
    return tuple(sorted(set(found)))[:LOOKS_MAX]


def _nothing(message: dict[str, Any], prefix: str) -> Iterator[str]:
    return iter(())


def _merged(message: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yield the incident of a pull request of ours that was merged; a fork's branch is not ours."""
    pull, here = message.get("pull_request"), _at(message, "repository", "full_name")
    merged = message.get("action") == "closed" and _at(message, "pull_request", "merged") is True
    if merged and _at(pull, "head", "repo", "full_name") == here:
        branch = re.compile(rf"{re.escape(prefix)}fix-({_ENDING})")
        found = branch.fullmatch(str(_at(pull, "head", "ref")))
        yield from [found[1]] if found else []


def _pushed(message: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yield the incidents that commits of the default branch name, in a trailer or as merged."""
    if message.get("ref") != f"refs/heads/{_at(message, 'repository', 'default_branch')}":
        return
    commits = message.get("commits")
    merge = re.compile(rf"^Merge .*\b{re.escape(prefix)}fix-({_ENDING})$", re.MULTILINE)
    for commit in commits if isinstance(commits, list) else ():
        text = str(_at(commit, "message"))
        yield from _TRAILER.findall(text)
        yield from merge.findall(text)


def _at(value: Any, *names: str) -> Any:
    """Return what stands under these names, one within the other; "" if nothing does."""
    for name in names:
        value = value.get(name, "") if isinstance(value, dict) else ""
    return value
