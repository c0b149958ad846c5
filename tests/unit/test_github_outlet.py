"""Pull requests on GitHub: made once, whatever is lost, and never over people."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from github_fake import NOW, TOKEN, GitHubFake, said
from hypothesis import given
from hypothesis import strategies as st
from outlet_world import FILE, INCIDENT, LIMIT, MANIFESTS, Hour
from outlet_world import report as plain_report

from faultline.adapters.github import GitHub
from faultline.adapters.github_notes import edited, mark, written
from faultline.adapters.manifests import GitHubManifests
from faultline.adapters.outlets.github import GitHubOutlet, Limits
from faultline.errors import Busy, Rejected, Unavailable
from faultline.event import parse_time
from faultline.model import Change, PatchRules, Receipt, Report
from faultline.proposal import diff, propose

BRANCH = "faultline/fix-api-5c1e9b2a"
FILES = {p.relative_to(MANIFESTS).as_posix(): p.read_bytes() for p in MANIFESTS.rglob("*.yaml")}


@pytest.fixture
def hub() -> GitHubFake:
    return GitHubFake(FILES)


def outlet(hub: GitHubFake, **more: Any) -> GitHubOutlet:
    return GitHubOutlet(hub.github(), clock=Hour(), **more)


def proposing(hub: GitHubFake, *changes: Change, **more: Any) -> Report:
    """Return a report with a patch for what stands on the fake's `main`."""
    manifests = GitHubManifests(hub.github())
    files = manifests.files()
    asked = plain_report(None, *changes)
    proposal = propose(asked.diagnosis, files, PatchRules(), revision=manifests.revision())
    assert not proposal.refused
    hub.calls.clear()
    return asked.model_copy(update={"proposal": proposal, "patch": diff(proposal)} | more)


def second_run(hub: GitHubFake) -> Report:
    more = LIMIT.model_copy(update={"after": "128Mi"})
    return proposing(hub, more, run=2, text="## What happened\n\nA second look.")


def ours(hub: GitHubFake, branch: str = BRANCH) -> list[str]:
    main = hub.ancestors(hub.refs["main"])
    return [c for c in hub.ancestors(hub.refs[branch]) if c not in main]


# what is made


@pytest.mark.covers("S3-50")
def test_a_patch_becomes_a_branch_with_one_commit_and_a_pull_request(hub: GitHubFake) -> None:
    report = proposing(hub)

    receipt = outlet(hub).deliver(report, None)

    [pull] = hub.pulls.values()
    assert pull["title"] == report.title
    assert report.text in pull["body"]
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (BRANCH, "main")
    [commit] = ours(hub)
    assert hub.objects[commit][1]["message"].startswith("fix(api): api is killed for memory\n\nThe")
    assert b"memory: 256Mi" in hub.file(BRANCH, FILE)
    assert hub.file("main", FILE) == FILES[FILE]
    assert receipt.url == "https://github.com/acme/shop/pull/1"
    assert receipt.reference == "acme/shop#1"


def test_only_the_proposed_files_differ_on_the_branch(hub: GitHubFake) -> None:
    outlet(hub).deliver(proposing(hub), None)

    trees = [dict(hub.flat(hub.objects[hub.refs[b]][1]["tree"])) for b in ("main", BRANCH)]
    assert {path for path in trees[0] if trees[0][path] != trees[1][path]} == {FILE}
    assert trees[0].keys() == trees[1].keys()


@pytest.mark.covers("IDM-12")
def test_a_second_run_edits_the_same_pull_request_with_one_more_commit(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    again = second_run(hub)

    edited = told.deliver(again, receipt)
    told.deliver(again, receipt)

    [pull] = hub.pulls.values()
    assert edited.reference == receipt.reference
    assert "A second look." in pull["body"]
    assert "It was killed." not in pull["body"]
    assert len(ours(hub)) == 2
    assert b"memory: 128Mi" in hub.file(BRANCH, FILE)
    assert not hub.comments


def test_the_same_report_again_changes_nothing(hub: GitHubFake) -> None:
    told = outlet(hub)
    report = proposing(hub)
    receipt = told.deliver(report, None)
    hub.calls.clear()

    told.deliver(report, receipt)

    assert {method for method, _ in hub.calls} == {"GET"}


@pytest.mark.parametrize("receipt_kept", [True, False])
@pytest.mark.parametrize("kind", ["lost", "before"])
@pytest.mark.parametrize("number", range(25))
def test_whatever_call_fails_the_next_delivery_comes_to_one_pull_request(
    hub: GitHubFake, number: int, kind: str, receipt_kept: bool
) -> None:
    report = proposing(hub)
    told = outlet(hub)
    hub.accidents = nth(number, kind)

    receipt = until_told(told, report)
    until_told(told, report, receipt if receipt_kept else None)

    assert len(hub.pulls) == 1
    assert len(ours(hub)) == 1
    assert not hub.comments
    assert not hub.issues


def nth(number: int, kind: str) -> Callable[[str, str], httpx.Response | str | None]:
    count = iter(range(1_000))

    def accident(method: str, path: str) -> httpx.Response | str | None:
        if next(count) != number:
            return None
        return "lost" if kind == "lost" else said(502, "Bad Gateway")

    return accident


def until_told(told: GitHubOutlet, report: Report, receipt: Receipt | None = None) -> Receipt:
    for _ in range(3):
        try:
            return told.deliver(report, receipt)
        except Unavailable:
            continue
    raise AssertionError


@pytest.mark.parametrize("where", ["/git/trees", "/git/refs", "/pulls"])
def test_two_deliveries_at_once_come_to_one_pull_request(hub: GitHubFake, where: str) -> None:
    report = proposing(hub)

    def other_first(method: str, path: str) -> None:
        if method == "POST" and path.endswith(where):
            hub.accidents = lambda *_: None
            outlet(hub).deliver(report, None)

    hub.accidents = other_first
    receipt = outlet(hub).deliver(report, None)

    assert receipt.details["pull"] == "1"
    assert len(hub.pulls) == 1
    assert len(ours(hub)) == 1


def test_a_commit_is_the_same_whoever_makes_it(hub: GitHubFake) -> None:
    other = GitHubFake(FILES)

    for place in (hub, other):
        outlet(place).deliver(proposing(place), None)

    assert hub.refs[BRANCH] == other.refs[BRANCH]


# people


def test_nothing_is_pushed_over_a_persons_commits(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    theirs = hub.push(BRANCH, {FILE: b"a: person\n"})

    again = told.deliver(second_run(hub), receipt)

    assert hub.refs[BRANCH] == theirs
    assert "person's commits" in again.details["left"]
    [comment] = hub.said_on(1)
    assert "A second look." in comment


def test_a_person_who_pushes_between_look_and_push_wins(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    again = second_run(hub)

    def person(method: str, path: str) -> None:
        if method == "PATCH" and "/git/refs/" in path:
            hub.accidents = lambda *_: None
            hub.push(BRANCH, {FILE: b"a: person\n"})

    hub.accidents = person

    with pytest.raises(Unavailable, match="moved"):
        told.deliver(again, receipt)
    told.deliver(again, receipt)

    assert hub.file(BRANCH, FILE) == b"a: person\n"


def test_a_closed_pull_request_is_an_answer(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    hub.close(1)

    for known in (receipt, None):
        again = told.deliver(second_run(hub), known)
        assert "closed it" in again.details["left"]

    assert len(hub.pulls) == 1
    assert hub.pulls[1]["state"] == "closed"
    assert len(ours(hub)) == 1
    assert not hub.comments


def test_what_people_write_around_our_text_stays(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    body = hub.pulls[1]["body"]
    hub.pulls[1].update(title="Mine", body=f"Before.\n\n{body}\n\nAfter.".replace("\n", "\r\n"))

    told.deliver(second_run(hub), receipt)

    pull = hub.pulls[1]
    assert pull["title"] == "Mine"
    assert pull["body"].startswith("Before.")
    assert pull["body"].endswith("After.")
    assert "A second look." in pull["body"]
    told.deliver(second_run(hub).model_copy(update={"run": 3}), receipt)
    assert hub.pulls[1]["title"] == "Mine"


def test_our_text_is_left_alone_once_a_person_has_edited_it(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    hub.pulls[1]["body"] = hub.pulls[1]["body"].replace("It was killed.", "No, it was not.")

    told.deliver(second_run(hub), receipt)

    assert "No, it was not." in hub.pulls[1]["body"]
    assert "A second look." not in hub.pulls[1]["body"]


def test_a_strangers_branch_of_that_name_is_not_touched(hub: GitHubFake) -> None:
    hub.refs[BRANCH] = hub.refs["main"]
    theirs = hub.push(BRANCH, {FILE: b"a: person\n"})

    receipt = outlet(hub).deliver(proposing(hub), None)

    assert hub.refs[BRANCH] == theirs
    assert not hub.pulls
    assert "is not ours" in hub.said_on(1)[0]
    assert receipt.details["issue"] == "1"


def test_a_pull_request_from_a_fork_with_our_branch_name_is_not_ours(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    hub.pulls[1]["head"]["repo"] = {"full_name": "mallory/shop", "default_branch": "main"}
    hub.refs.pop(BRANCH)
    hub.pulls[1]["state"] = "open"

    without = receipt.model_copy(update={"details": {"branch": BRANCH}})
    hub.pulls[1]["merged_at"] = "2026-11-21T12:00:00Z"

    assert told.merged(without) is None


# our part of a text

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=60)
OURS = "<!-- /faultline -->"


@given(before=WORDS, after=WORDS, text=WORDS | st.just(f"a {OURS} b\n{OURS}\nc"), new=WORDS)
def test_our_part_is_replaced_and_nothing_around_it(
    before: str, after: str, text: str, new: str
) -> None:
    first = written(plain_report(), "run-1", text, "title")
    second = written(plain_report(), "run-2", new, "title")

    body = edited(before + first + after, second)

    assert body == before + second + after
    assert edited(body, second) is None


@given(text=WORDS.filter(str.strip), edit=WORDS.filter(str.strip))
def test_our_part_stays_as_a_person_left_it(text: str, edit: str) -> None:
    body = written(plain_report(), "run-1", text.strip())
    theirs = body.replace(f"{text.strip()}\n{OURS}", f"{text.strip()}{edit}\n{OURS}")

    assert edited(theirs, written(plain_report(), "run-2", "new")) is None


@pytest.mark.parametrize("body", [None, "", "no mark", "<!-- faultline incident=x -->"])
def test_a_text_without_our_mark_is_not_ours(body: str | None) -> None:
    assert mark(body) is None
    assert edited(body, "new") is None


def test_a_text_that_github_would_cut_is_cut_by_us() -> None:
    body = written(plain_report(), "run-1", "x" * 200_000)

    assert len(body) < 65_536
    assert edited(body, "new") == "new"


# merged


@pytest.mark.parametrize("receipt_details", [True, False])
def test_a_merge_is_seen_with_its_time_its_commit_and_who(
    hub: GitHubFake, receipt_details: bool
) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    if not receipt_details:
        receipt = receipt.model_copy(update={"details": {"branch": BRANCH}})
    hub.merge(1)

    merged = told.merged(receipt)

    assert merged is not None
    assert merged.at == dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
    assert (merged.revision, merged.by) == (hub.refs["main"], "ada")


def test_closed_without_a_merge_is_not_merged(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)

    before = told.merged(receipt)
    hub.close(1)

    assert (before, told.merged(receipt)) == (None, None)


def test_a_result_after_the_merge_is_a_comment(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    again = second_run(hub)
    hub.merge(1)
    body = hub.pulls[1]["body"]

    told.deliver(again, receipt)
    told.deliver(again, receipt)

    [comment] = hub.said_on(1)
    assert "A second look." in comment
    assert hub.pulls[1]["body"] == body
    assert len(hub.pulls) == 1


def test_how_the_incident_ended_is_said_once_below_the_pull_request(hub: GitHubFake) -> None:
    told = outlet(hub)
    report = proposing(hub)
    receipt = told.deliver(report, None)
    hub.merge(1)
    ended = report.model_copy(update={"ending": "Closed as verified: merged, then cleared."})

    told.deliver(ended, receipt)
    told.deliver(ended, receipt)

    [comment] = hub.said_on(1)
    assert "Closed as verified" in comment


def test_nothing_is_pushed_for_an_incident_that_is_closed(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    ended = second_run(hub).model_copy(update={"ending": "Closed by a person."})

    told.deliver(ended, receipt)

    assert len(ours(hub)) == 1


# another episode


def test_the_next_episode_comments_on_the_open_pull_request_of_the_workload(
    hub: GitHubFake,
) -> None:
    told = outlet(hub)
    told.deliver(proposing(hub), None)
    following = INCIDENT.model_copy(update={"id": "20261122-api-99999999", "episode": 2})
    report = second_run(hub).model_copy(update={"incident": following, "run": 1})

    receipt = told.deliver(report, None)
    told.deliver(report, receipt)
    told.deliver(report, None)

    assert len(hub.pulls) == 1
    [comment] = hub.said_on(1)
    assert "A second look." in comment
    assert receipt.details["pull"] == "1"
    hub.merge(1)
    assert told.merged(receipt) is not None


def test_the_next_episode_after_a_closed_one_gets_a_pull_request(hub: GitHubFake) -> None:
    told = outlet(hub)
    told.deliver(proposing(hub), None)
    hub.close(1)
    following = INCIDENT.model_copy(update={"id": "20261122-api-99999999", "episode": 2})

    told.deliver(proposing(hub, incident=following), None)

    assert [p["state"] for p in hub.pulls.values()] == ["closed", "open"]


# limits


class Time:
    """Time that passes when told to, for us and for GitHub."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


def flood(hub: GitHubFake, told: GitHubOutlet, time: Time, minutes: int) -> list[Receipt]:
    """Forty workloads break, one after the other, each with a patch."""
    hub.clock = time
    report = proposing(hub)
    receipts = []
    for n in range(40):
        incident = INCIDENT.model_copy(
            update={"id": f"20261121-w{n}-000000{n:02x}", "key": f"resource/prod/shop/w{n}"}
        )
        receipts.append(told.deliver(report.model_copy(update={"incident": incident}), None))
        time.now += dt.timedelta(minutes=minutes)
    return receipts


@pytest.mark.covers("STM-08")
@pytest.mark.parametrize(("minutes", "made"), [(1, 2), (20, 10), (90, 10)])
def test_a_flood_makes_few_pull_requests_and_issues_for_the_rest(
    hub: GitHubFake, minutes: int, made: int
) -> None:
    time = Time()
    told = GitHubOutlet(hub.github(), clock=time)

    receipts = flood(hub, told, time, minutes)

    assert len(hub.pulls) == made
    assert len(hub.issues) == 40 - made
    stamps = sorted(parse_time(pull["created_at"]) for pull in hub.pulls.values())
    hour = dt.timedelta(hours=1)
    assert all(later - first >= hour for first, later in zip(stamps, stamps[2:], strict=False))
    assert all(receipt.url for receipt in receipts)
    assert "pull requests of ours" in hub.said_on(max(hub.issues))[0]
    assert set(hub.refs) == {"main", *(pull["head"]["ref"] for pull in hub.pulls.values())}


def test_without_limits_each_gets_its_pull_request(hub: GitHubFake) -> None:
    time = Time()

    flood(hub, GitHubOutlet(hub.github(), clock=time, limits=Limits(0, 0)), time, 1)

    assert len(hub.pulls) == 40


def test_a_retry_after_the_flood_gets_its_pull_request(hub: GitHubFake) -> None:
    time = Time()
    told = GitHubOutlet(hub.github(), clock=time, limits=Limits(open=0, hourly=2))
    receipts = flood(hub, told, time, 1)
    last = INCIDENT.model_copy(
        update={"id": "20261121-w39-00000027", "key": "resource/prod/shop/w39"}
    )
    time.now += dt.timedelta(hours=1)

    again = told.deliver(proposing(hub, incident=last, run=2), receipts[-1])

    assert "pull" in again.details


# issues


@pytest.mark.covers("S3-84")
def test_in_safe_mode_the_diagnosis_is_a_comment_and_nothing_is_pushed(hub: GitHubFake) -> None:
    report = proposing(hub)
    told = outlet(hub, safe_mode=True)

    receipt = told.deliver(report, None)
    told.deliver(report, receipt)
    told.deliver(report, None)

    assert not hub.pulls
    assert hub.refs.keys() == {"main"}
    [issue] = hub.issues.values()
    [comment] = hub.said_on(issue["number"])
    assert report.text in comment
    assert "no pull request is made" in comment
    assert receipt.url.endswith("#issuecomment-1")


def test_a_workload_has_one_issue_with_a_comment_for_each_incident(hub: GitHubFake) -> None:
    told = outlet(hub)
    others = [f"2026112{n}-api-0000000{n}" for n in range(3)]

    for id in others:
        incident = INCIDENT.model_copy(update={"id": id})
        told.deliver(plain_report(incident=incident), None)

    assert len(hub.issues) == 1
    assert len(hub.said_on(1)) == 3


def test_an_issue_that_a_person_closed_is_not_opened_again(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(plain_report(), None)
    hub.close(1)

    again = told.deliver(plain_report(text="More."), receipt)
    following = INCIDENT.model_copy(update={"id": "20261122-api-99999999", "episode": 2})
    told.deliver(plain_report(incident=following), None)

    assert "closed the issue" in again.details["left"]
    assert "More." not in hub.said_on(1)[0]
    assert [i["state"] for i in hub.issues.values()] == ["closed", "open"]


def test_a_pull_request_with_the_label_is_not_taken_for_the_issue(hub: GitHubFake) -> None:
    told = outlet(hub, safe_mode=True)
    ours = outlet(hub).deliver(proposing(hub), None)
    labelled = hub.pulls[1] | {"labels": [{"name": "faultline"}]}
    hub.issues[1] = {k: v for k, v in labelled.items() if k not in ("head", "base")}
    following = INCIDENT.model_copy(update={"id": "20261122-api-99999999", "episode": 2})

    receipt = told.deliver(plain_report(incident=following), None)

    assert ours.details["pull"] == "1"
    assert receipt.details["issue"] == "2"
    assert hub.said_on(1) == []


def test_a_comment_that_only_looks_like_ours_is_not_edited(hub: GitHubFake) -> None:
    told = outlet(hub)
    told.deliver(plain_report(), None)
    hub.comments[1]["user"]["login"] = "mallory"
    forged = hub.comments[1]["body"]

    told.deliver(plain_report(text="More."), None)

    assert hub.comments[1]["body"] == forged
    assert "More." in hub.comments[2]["body"]


def test_a_run_without_a_patch_leaves_the_pull_request_of_an_earlier_one(hub: GitHubFake) -> None:
    told = outlet(hub)
    receipt = told.deliver(proposing(hub), None)
    body = hub.pulls[1]["body"]

    told.deliver(plain_report(run=2), receipt)

    assert hub.pulls[1]["body"] == body
    assert not hub.issues


def test_a_file_that_changed_since_it_was_read_is_said_on_the_issue(hub: GitHubFake) -> None:
    report = proposing(hub)
    other = FILES[FILE].replace(b"64Mi", b"96Mi")
    files = [f.model_copy(update={"before": other.decode()}) for f in report.proposal.files]
    report = report.model_copy(
        update={"proposal": report.proposal.model_copy(update={"files": tuple(files)})}
    )

    receipt = outlet(hub).deliver(report, None)

    assert not hub.pulls
    assert "has changed since" in hub.said_on(1)[0]
    assert receipt.details["issue"] == "1"


def test_the_branch_starts_where_the_manifests_were_read(hub: GitHubFake) -> None:
    report = proposing(hub)
    read_at = hub.refs["main"]
    hub.push("main", {"README.md": b"later\n"})

    outlet(hub).deliver(report, None)

    [commit] = ours(hub)
    assert hub.objects[commit][1]["parents"] == [read_at]


@pytest.mark.parametrize("base", ["", "f" * 40, "main; rm"])
def test_a_base_that_github_does_not_know_is_the_default_branch(hub: GitHubFake, base: str) -> None:
    report = proposing(hub)
    proposal = report.proposal.model_copy(update={"base": base})

    outlet(hub).deliver(report.model_copy(update={"proposal": proposal}), None)

    [commit] = ours(hub)
    assert hub.objects[commit][1]["parents"] == [hub.refs["main"]]


# errors

WINDOW = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 90)}


def test_an_archived_repository_is_refused_with_what_to_do(hub: GitHubFake) -> None:
    report = proposing(hub)
    hub.archived = True
    hub.accidents = lambda method, _: said(403, "archived") if method != "GET" else None

    with pytest.raises(Rejected, match="is archived"):
        outlet(hub).deliver(report, None)


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (said(429, "Too many", **{"Retry-After": "17"}), 17),
        (said(403, "You have exceeded a secondary rate limit"), 60),
        (said(403, "API rate limit exceeded", **WINDOW), 90),
        (said(429, "Too many"), 60),
        (said(429, "Too many", **{"Retry-After": "999999"}), 3_600),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(
    hub: GitHubFake, answer: httpx.Response, waits: int
) -> None:
    hub.accidents = lambda *_: answer

    with pytest.raises(Busy) as caught:
        outlet(hub).deliver(plain_report(), None)

    assert caught.value.retry_after_s == waits


@pytest.mark.parametrize("code", [401, 403, 404, 410, 422, 301])
def test_a_refusal_names_the_call_and_what_to_do(hub: GitHubFake, code: int) -> None:
    hub.accidents = lambda *_: said(code, f"No\x1b[2J {TOKEN} " + "x" * 900)

    with pytest.raises(Rejected) as caught:
        outlet(hub).deliver(plain_report(), None)

    words = str(caught.value)
    assert f"acme/shop/pulls answered {code}" in words
    assert len(words) < 600
    assert words.isprintable()
    assert TOKEN not in words


@pytest.mark.parametrize("accident", ["timeout", "502", "html"])
def test_no_answer_is_worth_another_try_and_shows_no_token(hub: GitHubFake, accident: str) -> None:
    def broken(method: str, path: str) -> httpx.Response:
        if accident == "timeout":
            raise httpx.ReadTimeout(f"with {TOKEN}")
        return said(502, TOKEN) if accident == "502" else httpx.Response(200, text="<html>")

    hub.accidents = broken

    with pytest.raises(Unavailable) as caught:
        outlet(hub).deliver(plain_report(), None)

    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["shop", "acme/shop/x", "acme/..", "a b/c", "acme/shop?x"])
def test_only_owner_and_name_are_taken_for_a_repository(name: str) -> None:
    with pytest.raises(Rejected, match="owner/name"):
        GitHub(name, token=lambda: TOKEN, clock=lambda: NOW)


def test_an_enterprise_server_is_asked_at_its_own_address() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, json=[])

    client = httpx.Client(transport=httpx.MockTransport(answer))
    hub = GitHub(
        "acme/shop", token=lambda: TOKEN, clock=lambda: NOW, client=client,
        api_url="https://git.acme.example/api/v3/",
    )  # fmt: skip
    list(hub.pages("/pulls"))

    assert asked == ["https://git.acme.example/api/v3/repos/acme/shop/pulls?per_page=100&page=1"]


# manifests


@pytest.mark.covers("S3-52")
def test_manifests_are_read_without_a_clone(hub: GitHubFake) -> None:
    hub.push("main", {"README.md": b"no manifest", "big.yaml": b"a: " + b"b" * 2_000_000})
    manifests = GitHubManifests(hub.github())

    files = manifests.files()

    assert dict(files) == FILES
    assert manifests.revision() == hub.refs["main"]
    assert {method for method, _ in hub.calls} == {"GET"}
    assert sum("/git/blobs/" in path for _, path in hub.calls) == len(FILES)  # none of the others


def test_manifests_that_did_not_change_are_not_asked_for_again(hub: GitHubFake) -> None:
    manifests = GitHubManifests(hub.github())
    manifests.files()
    hub.push("main", {FILE: b"kind: List\n"})
    hub.calls.clear()

    files = manifests.files()

    assert files[FILE] == b"kind: List\n"
    assert sum("/git/blobs/" in path for _, path in hub.calls) == 1


def test_only_a_folder_of_the_repository_may_be_read(hub: GitHubFake) -> None:
    folder = FILE.split("/")[0]
    hub.push("main", {"other/x.yaml": b"kind: List\n"})

    files = GitHubManifests(hub.github(), subdir=f"/{folder}/").files()

    assert files.keys() == {path for path in FILES if path.startswith(f"{folder}/")}


def test_a_repository_that_github_does_not_list_whole_is_refused(hub: GitHubFake) -> None:
    def cut(method: str, path: str) -> httpx.Response | None:
        listed = {"sha": "x", "truncated": True, "tree": []}
        return httpx.Response(200, json=listed) if "/git/trees/" in path else None

    hub.accidents = cut

    with pytest.raises(Rejected, match="more files"):
        GitHubManifests(hub.github()).files()


def test_links_and_odd_bytes_are_passed_over(hub: GitHubFake) -> None:
    tree = dict(hub.flat(hub.objects[hub.refs["main"]][1]["tree"]))
    tree["link.yaml"] = ("120000", hub.blob(b"../secret"))
    tree["bytes.yaml"] = ("100644", hub.blob(b"\xff\xfe"))
    tip = hub.commit_of({}, [], "odd", "Ada", "a@b.c", hub.tree_of(tree))
    hub.refs["main"] = tip

    assert dict(GitHubManifests(hub.github()).files()) == FILES


def test_a_file_that_is_a_link_is_never_written(hub: GitHubFake) -> None:
    report = proposing(hub)
    tree = dict(hub.flat(hub.objects[hub.refs["main"]][1]["tree"]))
    tree[FILE] = ("120000", tree[FILE][1])
    hub.refs["main"] = hub.commit_of({}, [], "odd", "Ada", "a@b.c", hub.tree_of(tree))

    outlet(hub).deliver(report, None)

    assert BRANCH not in hub.refs
    assert "expected a plain file" in hub.said_on(1)[0]


def test_the_fake_refuses_what_github_would_not_take(hub: GitHubFake) -> None:
    with pytest.raises(Exception, match="is a required property"):
        hub.github().post("/git/refs", {"ref": "refs/heads/x"})


def test_blobs_arrive_in_base64() -> None:
    hub = GitHubFake({"a.yaml": b"\x00bytes"})
    [(path, (_, sha))] = hub.flat(hub.objects[hub.refs["main"]][1]["tree"])

    answer = hub.github().get(f"/git/blobs/{sha}").data

    assert base64.b64decode(answer["content"]) == b"\x00bytes"
    assert path == "a.yaml"
