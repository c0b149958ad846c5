"""A small GitHub with a memory, behind `httpx.MockTransport`.

Blobs and trees have the ids that Git gives them. Every request and every answer is checked against
GitHub's own description of its API, `fixtures/github/api.json`; what an answer must have and no
test looks at is filled in from there. `accidents` may lose a reply or answer in GitHub's place.
"""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from jsonschema import Draft202012Validator

from faultline.adapters.github import GitHub

API = json.loads((Path(__file__).parent / "fixtures/github/api.json").read_text("utf-8"))
REPOSITORY, TOKEN = "acme/shop", "ghs_secretsecretsecret"
NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)


# GitHub's description


def plain(schema: Any) -> Any:
    """Return an OpenAPI 3.0 schema as JSON Schema: `nullable` is a type there."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: plain(part) for key, part in schema.items() if key != "nullable"}
    return {"anyOf": [{"type": "null"}, made]} if schema.get("nullable") is True else made


@functools.cache
def validator(path: str, method: str, which: str) -> Draft202012Validator | None:
    """Return what checks a request's body (`request`) or an answer (its status)."""
    operation = API["paths"][path][method]
    part = operation.get("requestBody") if which == "request" else operation["responses"][which]
    content = (part or {}).get("content", {}).get("application/json")
    if content is None:
        return None
    root = {"components": {"schemas": plain(API["components"]["schemas"])}}
    return Draft202012Validator(plain(content["schema"]) | root)


def least(schema: Any) -> Any:
    """Return a small value that meets a schema: what is required, and nothing else."""
    while "$ref" in schema:
        schema = API["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if schema.get("nullable"):
        return None
    for choice in ("allOf", "anyOf", "oneOf"):
        if choice in schema:
            return least(schema[choice][0])
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        known = schema.get("properties", {})
        return {
            name: least(known.get(name, {"type": "string"})) for name in schema.get("required", ())
        }
    return {"array": [], "integer": 1, "number": 1, "boolean": False}.get(kind, "-")


def filled(path: str, method: str, status: int, ours: Any) -> Any:
    """Return our answer with all that GitHub's would have."""
    content = API["paths"][path][method]["responses"][str(status)]["content"]["application/json"]
    schema = content["schema"]
    if isinstance(ours, list):
        return [_over(least(schema["items"]), item) for item in ours]
    return _over(least(schema), ours)


def _over(base: Any, ours: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(ours, dict)):
        return ours
    return base | {name: _over(base.get(name), value) for name, value in ours.items()}


def _route(path: str) -> re.Pattern[str]:
    """Return what matches a path of the description; only refs may hold a slash."""
    names = re.sub(
        r"\{(\w+)\}", lambda m: "(.+)" if m[1] in ("ref", "basehead") else "([^/]+)", path
    )
    return re.compile(names + "$")


ROUTES = [(_route(path), path) for path in sorted(API["paths"], key=len, reverse=True)]


class GitHubFake:
    """`owner/name` with one branch, `main`. People act through the methods below."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.objects: dict[str, tuple[str, Any]] = {}
        self.refs: dict[str, str] = {}
        self.pulls: dict[int, dict[str, Any]] = {}
        self.issues: dict[int, dict[str, Any]] = {}
        self.comments: dict[int, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.accidents: Callable[[str, str], httpx.Response | str | None] = lambda *_: None
        self.archived, self.number, self.me = False, 0, "faultline[bot]"
        self.token = TOKEN
        self.clock: Callable[[], dt.datetime] = lambda: NOW
        self.refs["main"] = self.commit_of(files or {}, [], "shop", "Ada", "ada@shop.example")

    def github(self, **more: Any) -> GitHub:
        client = httpx.Client(transport=httpx.MockTransport(self.answer))
        return GitHub(REPOSITORY, token=lambda: TOKEN, clock=lambda: NOW, client=client, **more)

    # Git

    def put(self, kind: str, value: Any, raw: bytes) -> str:
        sha = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(raw)) + raw).hexdigest()
        self.objects[sha] = (kind, value)
        return sha

    def blob(self, content: bytes) -> str:
        return self.put("blob", content, content)

    def tree_of(self, files: dict[str, tuple[str, str]]) -> str:
        """Write the trees of path -> (mode, blob)."""
        entries: dict[str, tuple[str, str]] = {}
        below: dict[str, dict[str, tuple[str, str]]] = {}
        for path, entry in files.items():
            folder, _, rest = path.partition("/")
            if rest:
                below.setdefault(folder, {})[rest] = entry
            else:
                entries[path] = entry
        entries |= {folder: ("040000", self.tree_of(inner)) for folder, inner in below.items()}
        order = sorted(entries, key=lambda n: n + "/" if entries[n][0] == "040000" else n)
        raw = b"".join(
            f"{entries[n][0].lstrip('0')} {n}".encode() + b"\0" + bytes.fromhex(entries[n][1])
            for n in order
        )
        return self.put("tree", {n: entries[n] for n in order}, raw)

    def flat(self, tree: str, prefix: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
        for name, (mode, sha) in self.objects[tree][1].items():
            if mode == "040000":
                yield from self.flat(sha, f"{prefix}{name}/")
            else:
                yield prefix + name, (mode, sha)

    def commit_of(
        self, files: dict[str, bytes], parents: list[str], message: str, name: str, email: str,
        tree: str = "", date: str = "2026-11-21T09:00:00Z",
    ) -> str:  # fmt: skip
        tree = tree or self.tree_of({p: ("100644", self.blob(c)) for p, c in files.items()})
        who = {"name": name, "email": email, "date": date}
        value = {
            "tree": tree,
            "parents": parents,
            "message": message,
            "author": who,
            "committer": who,
        }
        return self.put("commit", value, json.dumps(value, sort_keys=True).encode())

    def ancestors(self, sha: str) -> list[str]:
        found, todo = [], [sha]
        while todo:
            if (commit := todo.pop(0)) not in found:
                found.append(commit)
                todo += self.objects[commit][1]["parents"]
        return found

    def file(self, branch: str, path: str) -> bytes:
        entry = dict(self.flat(self.objects[self.refs[branch]][1]["tree"]))[path]
        return self.objects[entry[1]][1]

    # people

    def push(self, branch: str, files: dict[str, bytes], name: str = "Ada") -> str:
        tip = self.refs[branch]
        now = dict(self.flat(self.objects[tip][1]["tree"]))
        now |= {p: ("100644", self.blob(c)) for p, c in files.items()}
        tree = self.tree_of(now)
        self.refs[branch] = self.commit_of({}, [tip], "By hand", name, "ada@shop.example", tree)
        return self.refs[branch]

    def merge(self, number: int) -> None:
        pull = self.pulls[number]
        tip = self.refs[pull["head"]["ref"]]
        tree = self.objects[tip][1]["tree"]
        made = self.commit_of({}, [self.refs["main"], tip], "Merge", "Ada", "a@b.c", tree)
        self.refs["main"] = made
        pull.update(state="closed", merged_at="2026-11-21T12:00:00Z", merge_commit_sha=made)
        pull.update(merged=True, merged_by=user("ada"))

    def close(self, number: int) -> None:
        (self.pulls.get(number) or self.issues[number])["state"] = "closed"

    def said_on(self, number: int) -> list[str]:
        return [c["body"] for c in self.comments.values() if c["on"] == number]

    # HTTP

    def answer(self, request: httpx.Request) -> httpx.Response:
        method, path = request.method.lower(), unquote(request.url.path)
        self.calls.append((request.method, path))
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN not in str(request.url)
        verdict = self.accidents(request.method, path)
        if isinstance(verdict, httpx.Response):
            return verdict
        if self.token != TOKEN:
            return said(401, "Bad credentials")
        route, parts = next((p, m.groups()[2:]) for r, p in ROUTES if (m := r.match(path)))
        body = json.loads(request.content) if request.content else None
        if check := validator(route, method, "request"):
            check.validate(body)
        known = {p["name"] for p in map(_parameter, API["paths"][route][method]["parameters"])}
        assert set(request.url.params) <= known
        made = self._act(
            f"{method} {route.removeprefix('/repos/{owner}/{repo}')}",
            parts,
            body,
            request.url.params,
        )
        if verdict == "lost":
            raise httpx.ReadTimeout("the reply was lost", request=request)
        if made.status_code < 300:
            return self._checked(route, method, made)
        return made

    def _checked(self, route: str, method: str, made: httpx.Response) -> httpx.Response:
        value = filled(route, method, made.status_code, made.json())
        check = validator(route, method, str(made.status_code))
        assert check is not None
        check.validate(value)
        return httpx.Response(made.status_code, json=value)

    def _act(self, what: str, parts: tuple[str, ...], body: Any, query: Any) -> httpx.Response:
        acts: dict[str, Callable[[], httpx.Response]] = {
            "get ": lambda: ok({"default_branch": "main", "archived": self.archived}),
            "get /git/ref/{ref}": lambda: self._ref(parts[0]),
            "post /git/refs": lambda: self._make_ref(body),
            "patch /git/refs/{ref}": lambda: self._move_ref(parts[0], body),
            "get /git/commits/{commit_sha}": lambda: self._commit(parts[0]),
            "post /git/commits": lambda: self._make_commit(body),
            "get /git/trees/{tree_sha}": lambda: self._tree(parts[0], query),
            "post /git/trees": lambda: self._make_tree(body),
            "get /git/blobs/{file_sha}": lambda: self._blob(parts[0]),
            "get /compare/{basehead}": lambda: self._compare(*parts[0].split("...")),
            "get /pulls": lambda: self._list_pulls(query),
            "post /pulls": lambda: self._open(body),
            "get /pulls/{pull_number}": lambda: self._one(self.pulls, int(parts[0])),
            "patch /pulls/{pull_number}": lambda: self._edit(self.pulls, int(parts[0]), body),
            "get /issues": lambda: self._list_issues(query),
            "get /issues/{issue_number}": lambda: self._one(self.issues, int(parts[0])),
            "post /issues": lambda: self._make_issue(body),
            "get /issues/{issue_number}/comments": lambda: self._list_comments(int(parts[0])),
            "post /issues/{issue_number}/comments": lambda: self._say(int(parts[0]), body),
            "patch /issues/comments/{comment_id}": lambda: self._edit(
                self.comments, int(parts[0]), body
            ),
        }  # fmt: skip
        return acts[what]()

    def _ref(self, ref: str) -> httpx.Response:
        tip = self.refs.get(ref.removeprefix("heads/"))
        return ok(_ref(ref, tip)) if tip else said(404, "Not Found")

    def _make_ref(self, body: Any) -> httpx.Response:
        branch = body["ref"].removeprefix("refs/heads/")
        if branch in self.refs:
            return said(422, "Reference already exists")
        if body["sha"] not in self.objects:
            return said(422, "Object does not exist")
        self.refs[branch] = body["sha"]
        return ok(_ref(f"heads/{branch}", body["sha"]), 201)

    def _move_ref(self, ref: str, body: Any) -> httpx.Response:
        branch = ref.removeprefix("heads/")
        assert body["force"] is False
        if self.refs[branch] not in self.ancestors(body["sha"]):
            return said(422, "Update is not a fast forward")
        self.refs[branch] = body["sha"]
        return ok(_ref(ref, body["sha"]))

    def _commit(self, sha: str) -> httpx.Response:
        return ok(_commit(sha, self.objects[sha][1]))

    def _make_commit(self, body: Any) -> httpx.Response:
        who = body["author"]
        written = body["parents"], body["message"], who["name"], who["email"], body["tree"]
        sha = self.commit_of({}, *written, who["date"])
        return ok(_commit(sha, self.objects[sha][1]), 201)

    def _tree(self, sha: str, query: Any) -> httpx.Response:
        kind, value = self.objects[sha]
        tree = value["tree"] if kind == "commit" else sha
        found = dict(self.flat(tree)) if "recursive" in query else self.objects[tree][1]
        return ok(
            {"sha": tree, "truncated": False, "tree": [self._item(n, *e) for n, e in found.items()]}
        )

    def _item(self, path: str, mode: str, sha: str) -> dict[str, Any]:
        kind = {"040000": "tree", "160000": "commit"}.get(mode, "blob")
        item = {"path": path, "mode": mode, "type": kind, "sha": sha}
        return item | ({"size": len(self.objects[sha][1])} if kind == "blob" else {})

    def _make_tree(self, body: Any) -> httpx.Response:
        now = dict(self.flat(body["base_tree"]))
        for item in body["tree"]:
            now[item["path"]] = (item["mode"], self.blob(item["content"].encode()))
        return self._tree(self.tree_of(now), {})._with(201)

    def _blob(self, sha: str) -> httpx.Response:
        content = self.objects[sha][1]
        text = base64.encodebytes(content).decode()
        return ok({"sha": sha, "size": len(content), "encoding": "base64", "content": text})

    def _compare(self, base: str, head: str) -> httpx.Response:
        if base not in self.objects:
            return said(404, "Not Found")
        mine, theirs = self.ancestors(head), self.ancestors(base)
        shared = next((c for c in mine if c in theirs), "")
        if not shared:
            return said(404, "No common ancestor")
        status = "identical" if base == head else "ahead" if shared == base else "diverged"
        return ok({"status": status, "merge_base_commit": {"sha": shared}})

    def _list_pulls(self, query: Any) -> httpx.Response:
        wanted, head = query.get("state", "open"), query.get("head", "")
        found = [
            _shown(p) for p in reversed(self.pulls.values())
            if wanted in ("all", p["state"]) and head in ("", f"acme:{p['head']['ref']}")
        ]  # fmt: skip
        return ok(self._page(found, query))

    def _page(self, found: list[Any], query: Any) -> list[Any]:
        size, number = int(query.get("per_page", 30)), int(query.get("page", 1))
        return found[(number - 1) * size : number * size]

    def _open(self, body: Any) -> httpx.Response:
        branch = body["head"]
        if any(p["head"]["ref"] == branch and p["state"] == "open" for p in self.pulls.values()):
            return said(422, f"A pull request already exists for acme:{branch}.")
        if branch not in self.refs or self.refs[branch] in self.ancestors(self.refs["main"]):
            return said(422, f"No commits between main and {branch}")
        pull = self._numbered(body["title"], body["body"])
        where = {"full_name": REPOSITORY, "default_branch": "main"}
        head = {"ref": branch, "sha": self.refs[branch], "label": f"acme:{branch}", "repo": where}
        pull |= {"head": head, "base": {"ref": body["base"], "repo": where}, "merged_at": None}
        pull |= {"merged_by": None, "merge_commit_sha": None, "merged": False}
        pull["html_url"] = f"https://github.com/acme/shop/pull/{pull['number']}"
        self.pulls[pull["number"]] = pull
        return ok(pull, 201)

    def _numbered(self, title: str, body: str) -> dict[str, Any]:
        self.number += 1
        return {
            "created_at": f"{self.clock():%Y-%m-%dT%H:%M:%SZ}",
            "number": self.number,
            "title": title,
            "body": body,
            "state": "open",
            "user": user(self.me),
        }

    def _one(self, among: dict[int, dict[str, Any]], number: int) -> httpx.Response:
        return ok(among[number]) if number in among else said(404, "Not Found")

    def _edit(self, among: dict[int, dict[str, Any]], number: int, body: Any) -> httpx.Response:
        among[number].update(body)
        return ok(_shown(among[number]))

    def _list_issues(self, query: Any) -> httpx.Response:
        label = {"name": query["labels"]}
        found = [i for i in reversed(self.issues.values()) if label in i["labels"]]
        return ok(self._page([i for i in found if i["state"] == query["state"]], query))

    def _make_issue(self, body: Any) -> httpx.Response:
        issue = self._numbered(body["title"], body["body"])
        issue["labels"] = [{"name": name} for name in body["labels"]]
        issue["html_url"] = f"https://github.com/acme/shop/issues/{issue['number']}"
        self.issues[issue["number"]] = issue
        return ok(issue, 201)

    def _list_comments(self, number: int) -> httpx.Response:
        return ok([_shown(c) for c in self.comments.values() if c["on"] == number])

    def _say(self, number: int, body: Any) -> httpx.Response:
        id = len(self.comments) + 1
        url = f"https://github.com/acme/shop/issues/{number}#issuecomment-{id}"
        comment = {
            "id": id,
            "on": number,
            "body": body["body"],
            "user": user(self.me),
            "html_url": url,
        }
        self.comments[id] = comment
        return ok(_shown(comment), 201)


class _Response(httpx.Response):
    def _with(self, status: int) -> httpx.Response:
        self.status_code = status
        return self


def ok(value: Any, status: int = 200) -> Any:
    return _Response(status, json=value)


def said(status: int, message: str, **headers: str) -> httpx.Response:
    """Answer an error in GitHub's form."""
    about = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    return httpx.Response(status, json=about, headers=headers)


def user(login: str) -> dict[str, Any]:
    return least({"$ref": "#/components/schemas/simple-user"}) | {"login": login}


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "on"}


def _ref(ref: str, sha: str) -> dict[str, Any]:
    return {"ref": f"refs/{ref}", "object": {"type": "commit", "sha": sha}}


def _commit(sha: str, value: dict[str, Any]) -> dict[str, Any]:
    parents = [{"sha": p, "url": "-", "html_url": "-"} for p in value["parents"]]
    return {"sha": sha} | value | {"tree": {"sha": value["tree"], "url": "-"}, "parents": parents}


def _parameter(found: dict[str, Any]) -> dict[str, Any]:
    name = found.get("$ref", "").rsplit("/", 1)[-1]
    return API["components"]["parameters"][name] if name else found
