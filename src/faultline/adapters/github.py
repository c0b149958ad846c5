"""Speak to GitHub's REST API, of github.com or an Enterprise server, about one repository.

Every answer becomes JSON or one of our two kinds of error: Busy and Unavailable for what passes,
Rejected with what to do for what does not. Nothing is tried again here, the broker does that; no
redirect is followed. The token travels in one header and stands in no message. What is asked for:
`outlets/github.py`, `manifests.py`. Source: docs.github.com/rest, version 2022-11-28.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

from faultline.adapters.trust import trust
from faultline.errors import Busy, FaultlineError, Rejected, Unavailable

TIMEOUT_S = 20.0
PAGE = 100
PAGES_MAX = 10
WAIT_S_MAX = 3_600
_HINTS = {
    401: "the token is wrong or has expired: set github_token",
    403: "the token may not do this: it needs contents, pull requests and issues, read and write",
    404: "unknown, or hidden from this token: check github_repo and what the token may see",
    409: "the repository is empty or in conflict",
    410: "issues are switched off in this repository",
}


class Answer(NamedTuple):
    """One answer: its status and what its JSON says; None if it was among `fine`."""

    status: int
    data: Any


class Entry(NamedTuple):
    """One file of a commit's tree."""

    mode: str
    sha: str
    path: str
    bytes: int

    @property
    def regular(self) -> bool:
        return self.mode in ("100644", "100755")


class GitHub:
    """One repository, `owner/name`. `token` is asked before each call: it may change hourly."""

    def __init__(
        self,
        repository: str,
        *,
        token: Callable[[], str],
        clock: Callable[[], dt.datetime],
        api_url: str = "https://api.github.com",
        client: Any = None,
    ) -> None:
        import httpx

        if not re.fullmatch(r"[A-Za-z0-9-]{1,39}/(?!\.\.?$)[A-Za-z0-9._-]{1,100}", repository):
            raise Rejected(f"github_repo: expected owner/name, got {repository[:100]!r}")
        self.repository = repository
        self.owner = repository.partition("/")[0]
        self._token, self._clock = token, clock
        self._url = f"{api_url.rstrip('/')}/repos/{repository}"
        self._client = client or httpx.Client(
            verify=trust(api_url), timeout=TIMEOUT_S, follow_redirects=False
        )

    def get(self, path: str, *, fine: tuple[int, ...] = (), **query: Any) -> Answer:
        return self.call("GET", path, query=query, fine=fine)

    def post(self, path: str, body: dict[str, Any], *, fine: tuple[int, ...] = ()) -> Answer:
        return self.call("POST", path, body=body, fine=fine)

    def patch(self, path: str, body: dict[str, Any], *, fine: tuple[int, ...] = ()) -> Answer:
        return self.call("PATCH", path, body=body, fine=fine)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        query: dict[str, Any] | None = None,
        fine: tuple[int, ...] = (),
    ) -> Answer:
        """Make one call below the repository. A status in `fine` is no error.

        Raises Busy (rate limits), Unavailable (5xx, no answer) or Rejected.
        """
        import httpx

        token = self._token()
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "faultline",
        }
        said = f"GitHub, {method} {self.repository}{path}"
        try:
            answer = self._client.request(
                method, self._url + path, json=body, params=query or None, headers=headers
            )
            if answer.is_success:
                return Answer(answer.status_code, answer.json() if answer.content else None)
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"{said}: {type(error).__name__}") from None
        if answer.status_code in fine and _wait_s(answer, self._clock()) is None:
            return Answer(answer.status_code, None)
        raise _error(answer, said, self._clock(), token)

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the items of a list, of at most ten pages."""
        for number in range(1, PAGES_MAX + 1):
            found = self.get(path, **query, per_page=PAGE, page=number).data
            yield from found
            if len(found) < PAGE:
                return

    def default_branch(self) -> str:
        """Return the default branch's name. Raises Rejected for an archived repository."""
        about = self.get("").data
        if about.get("archived"):
            raise Rejected(f"{self.repository} is archived: nothing can be proposed there")
        return str(about["default_branch"])

    def tip(self, branch: str) -> str:
        """Return the id of the commit that a branch stands at; "" if there is none."""
        found = self.get(f"/git/ref/heads/{quote(branch)}", fine=(404, 409)).data
        return str(found["object"]["sha"]) if found else ""

    def commit(self, sha: str) -> Any:
        """Return one commit: `tree`, `parents`, `author`, `message`."""
        return self.get(f"/git/commits/{quote(sha)}").data

    def files(self, tree: str) -> list[Entry]:
        """Return all files below a tree. Raises Rejected where GitHub would show only a part."""
        found = self.get(f"/git/trees/{tree}", recursive="1").data
        if found["truncated"]:
            raise Rejected(f"{self.repository} has more files than GitHub lists at once")
        return [_entry(item) for item in found["tree"] if item["type"] != "tree"]

    def file(self, tree: str, path: str) -> Entry | None:
        """Return one file below a tree, found part by part: no repository is too large for it."""
        *folders, name = path.split("/")
        for folder in folders:
            found = next((e for e in self._level(tree) if e.path == folder), None)
            if found is None or found.mode != "040000":
                return None
            tree = found.sha
        found = next((e for e in self._level(tree) if e.path == name), None)
        return found and found._replace(path=path)

    def _level(self, tree: str) -> list[Entry]:
        return [_entry(item) for item in self.get(f"/git/trees/{tree}").data["tree"]]


def blob_sha(content: bytes) -> str:
    """Return the id that Git gives to these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _entry(item: dict[str, Any]) -> Entry:
    return Entry(item["mode"], item["sha"], item["path"], item.get("size", 0))


def _error(answer: Any, said: str, now: dt.datetime, token: str) -> FaultlineError:
    code, words = answer.status_code, _words(answer)
    words = words.replace(token, "[token]") if token else words
    wait_s = _wait_s(answer, now)
    if wait_s is not None:
        return Busy(f"{said} has no room for us: wait {wait_s} s", retry_after_s=wait_s)
    if code >= 500 or code == 408:
        return Unavailable(f"{said} answered {code}")
    if code in (301, 302, 307, 308):
        return Rejected(f"{said} answered {code}: it has moved; set its new name as github_repo")
    return Rejected(f"{said} answered {code}, {words}: {_HINTS.get(code, 'expected 2xx')}")


def _wait_s(answer: Any, now: dt.datetime) -> int | None:
    """Return for how many seconds a rate limit wants us to wait; None if it is none.

    `Retry-After` first, then the end of the window, else a minute: GitHub's own order.
    """
    if answer.status_code not in (403, 429):
        return None
    after = answer.headers.get("retry-after", "")
    if after.isdecimal():
        return min(int(after), WAIT_S_MAX)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return min(max(1, int(reset) - int(now.timestamp())), WAIT_S_MAX)
    limited = answer.status_code == 429 or "rate limit" in _words(answer).lower()
    return 60 if limited else None


def _words(answer: Any) -> str:
    """Return GitHub's own words of an error, in one line."""
    try:
        said = answer.json()
    except ValueError:
        return "without a reason"
    said = said if isinstance(said, dict) else {}
    errors = said.get("errors")
    more = [e.get("message") or e.get("code") if isinstance(e, dict) else e for e in errors or ()]
    text = "; ".join(str(part) for part in (said.get("message"), *more) if part)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]
