"""From settings to outlets: which, in which order, and what a dry run leaves."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from github_fake import API, TOKEN, GitHubFake, plain
from jsonschema import Draft202012Validator
from outlet_world import FILE, INCIDENT, MANIFESTS, NOW, Hour, git, report, repository

from faultline import bootstrap, keys
from faultline.adapters.github_app import AppToken
from faultline.adapters.manifests import GitHubManifests, GitManifests
from faultline.adapters.outlets.console import ConsoleOutlet
from faultline.adapters.outlets.dry_run import DryRunOutlet
from faultline.adapters.outlets.notify import kind_of
from faultline.adapters.stores.memory import MemoryStore
from faultline.cli import main
from faultline.errors import Rejected, Unavailable
from faultline.model import PatchRules
from faultline.proposal import diff, propose
from faultline.settings import Settings, load

ROOT = Path(__file__).resolve().parents[2]
SLACK = "https://hooks.slack.com/services/T0/B0/verysecret"
MAIL = {"smtp_url": "smtp://m.example", "email_from": "f@a.example", "email_to": "o@a.example"}
GITHUB = {"github_repo": "acme/shop", "github_token": "t"}


def names(**settings: Any) -> list[str]:
    made = bootstrap.outlets(Settings(**settings), MemoryStore(), io.StringIO())
    return [outlet.name for outlet in made]


def test_without_settings_there_is_only_the_console() -> None:
    assert names() == ["console"]


def test_the_pull_request_comes_before_the_messages() -> None:
    found = names(**GITHUB, notify_url=SLACK)

    assert found == ["github", "console", "slack"]


def test_github_takes_the_place_of_a_branch_on_disk(tmp_path: Path) -> None:
    path = repository(tmp_path / "shop")

    assert names(manifests=str(path)) == ["git", "console"]
    assert names(manifests=str(path), **GITHUB) == ["github", "console"]


def test_in_shadow_and_in_safe_mode_no_branch_is_made(tmp_path: Path) -> None:
    path = repository(tmp_path / "shop")

    assert names(manifests=str(path), safe_mode=True) == ["console"]
    assert names(**GITHUB, shadow=True) == ["console"]


def test_manifests_come_from_a_clone_if_there_is_one_else_from_github(tmp_path: Path) -> None:
    path = repository(tmp_path / "shop")

    cloned = bootstrap.manifests(Settings(manifests=str(path), **GITHUB))
    fetched = bootstrap.manifests(Settings(**GITHUB))

    assert isinstance(cloned, GitManifests)
    assert isinstance(fetched, GitHubManifests)


@pytest.mark.covers("S3-59")
@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (SLACK, "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://ptb.discord.com/api/webhooks/1/x", "discord"),
        ("https://acme.webhook.office.com/webhookb2/x", "teams"),
        ("https://prod-1.westus.logic.azure.com:443/workflows/x", "teams"),
        ("https://ops.example/hook", "webhook"),
        ("http://127.0.0.1:9000/", "webhook"),
        ("https://hooks.slack.com.evil.example/", "webhook"),
        ("https://evil.example/discord.com", "webhook"),
        ("https://notdiscord.com/x", "webhook"),
    ],
)
def test_one_address_tells_which_chat_it_belongs_to(url: str, kind: str) -> None:
    assert kind_of(url) == kind
    assert names(notify_url=url) == ["console", kind]


@pytest.mark.covers("S3-62")
def test_a_webhook_comes_from_a_key_of_a_secret_and_without_it_nobody_is_told(
    tmp_path: Path,
) -> None:
    key = tmp_path / "webhookUrl"  # as a Secret is mounted
    key.write_text(f"{SLACK}\n")
    in_cluster = (ROOT / "infra/knative/services.yaml").read_text("utf-8")

    told, _ = load({"FAULTLINE_NOTIFY_URL_FILE": str(key)})
    as_variable, _ = load({"FAULTLINE_NOTIFY_URL": SLACK})
    silent, _ = load({})

    assert [outlet.name for outlet in bootstrap.messengers(told)] == ["slack"]
    assert as_variable == told
    assert bootstrap.messengers(silent) == []
    assert bootstrap.ports(
        silent, MemoryStore(), bootstrap.sink(silent), console=io.StringIO()
    ).outlets
    assert "- secretRef: {name: package, optional: true}" in in_cluster


def test_mail_goes_to_its_addresses_beside_a_chat() -> None:
    assert names(notify_url=SLACK, **MAIL) == ["console", "slack", "email"]


@pytest.mark.parametrize("url", ["ftp://x.example", "hooks.slack.com/x", "https://", "https://[x"])
def test_what_is_no_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Rejected, match="notify_url") as caught:
        names(notify_url=url)

    assert str(caught.value) == "notify_url: expected an address that begins with https://"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"github_repo": "acme", "github_token": "t"}, "github_repo"),
        ({**GITHUB, "github_api_url": "http://git.acme.example"}, "github_api_url"),
        ({**GITHUB, "github_app_id": "7", "github_app_key": "no key"}, "github_app"),
        ({"slack_token": "x"}, "slack_channel"),
        ({"slack_token": "x", "slack_channel": "general"}, "slack_channel"),
        ({"slack_token": "x", "slack_channel": "C0123456789", "notify_url": SLACK}, "notify_url"),
        ({"notify_url": "https://x.example", "notify_secret": "short"}, "notify_secret"),
        ({"email_to": "o@a.example", "email_from": "f@a.example"}, "smtp_url"),
        ({**MAIL, "email_to": ""}, "email_to"),
        ({**MAIL, "email_to": "o@a.example, nobody"}, "email_to"),
        ({**MAIL, "email_from": "nobody"}, "email_from"),
        ({**MAIL, "smtp_url": "smtp+plain://m.example", "smtp_user": "f"}, "smtp_user"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(Rejected, match=named):
        names(**settings)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"github_repo": "acme/shop"}, "github_token"),
        ({"github_repo": "acme/shop", "github_app_id": "7"}, "github_app_key"),
        ({"slack_channel": "C0123456789"}, "slack_token"),
        ({**MAIL, "smtp_user": "f"}, "smtp_password"),
    ],
)
def test_a_process_without_the_secret_starts_and_is_refused_when_it_tells(
    settings: dict[str, Any], named: str
) -> None:
    made = bootstrap.outlets(Settings(**settings), MemoryStore(), io.StringIO())
    [outlet] = [o for o in made if o.name != "console"]

    with pytest.raises(Rejected, match=named):
        outlet.deliver(report(), None)


def test_config_check_finds_what_no_outlet_could_work_with_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAULTLINE_GITHUB_REPO", "acme/shop")
    monkeypatch.setenv("FAULTLINE_GITHUB_TOKEN", "verysecret")

    monkeypatch.setenv("FAULTLINE_NOTIFY_URL", SLACK)
    good = main(["config", "check"])
    monkeypatch.setenv("FAULTLINE_NOTIFY_URL", "ftp://verysecret")
    bad = main(["config", "check"])

    said = capsys.readouterr()
    assert (good, bad == 0) == (0, False)
    assert "acme/shop" in said.out
    assert "notify_url: expected" in said.err
    assert "verysecret" not in said.out + said.err


def test_every_secret_of_an_outlet_is_marked_as_one() -> None:
    from faultline.settings import secret

    hidden = ("github_token", "github_app_key", "notify_url", "notify_secret", "slack_token")
    hidden += ("smtp_password",)
    assert all(secret(name) for name in hidden)


# dry run


@pytest.mark.covers("S3-85")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {**GITHUB, "notify_url": SLACK},
        {"github_repo": "acme/shop", "safe_mode": True},
        {"slack_token": "x", "slack_channel": "C0123456789"},
    ],
    ids=["nothing set", "github and slack", "no token, safe mode", "a bot"],
)
def test_a_dry_run_sends_nothing_and_writes_what_it_would_have_sent(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    store = MemoryStore()
    outlets = bootstrap.outlets(Settings(dry_run=True, **settings), store, io.StringIO())
    told = report(repository(tmp_path / "shop"))

    for outlet in outlets:
        outlet.deliver(told, None)

    assert {type(outlet) for outlet in outlets} == {ConsoleOutlet, DryRunOutlet}
    folder = keys.incident(INCIDENT.id)
    assert sorted(key.removeprefix(folder) for key in store.list(folder)) == [
        "dry-run/pr.md",
        "dry-run/pr.patch",
        "dry-run/slack.json",
    ]
    message = json.loads(store.get(folder + "dry-run/slack.json"))
    assert message["blocks"][0]["type"] == "header"
    assert b"256Mi" in store.get(folder + "dry-run/pr.patch")


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("https://discord.com/api/webhooks/1/x", "title"),
        ("https://acme.webhook.office.com/x", "attachments"),
        ("https://ops.example/hook", "data"),
    ],
)
def test_a_dry_run_writes_each_channels_own_form(url: str, part: str) -> None:
    store = MemoryStore()

    for outlet in bootstrap.outlets(Settings(dry_run=True, notify_url=url), store, io.StringIO()):
        outlet.deliver(report(), None)

    [key] = [key for key in store.list("incidents/") if key.endswith(f"{kind_of(url)}.json")]
    assert part in json.loads(store.get(key))


def test_a_dry_run_writes_the_mail_that_would_have_been_sent() -> None:
    store = MemoryStore()

    for outlet in bootstrap.outlets(Settings(dry_run=True, **MAIL), store, io.StringIO()):
        outlet.deliver(report(), None)

    [key] = [key for key in store.list("incidents/") if key.endswith("email.json")]
    assert set(json.loads(store.get(key))) == {"subject", "plain", "html"}


# tokens of an App


@pytest.fixture(scope="module")
def pem() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind = serialization.PrivateFormat.PKCS8
    plainly = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, plainly).decode()


class Mint:
    """GitHub's side: checks the statement, gives a token for an hour."""

    def __init__(self, pem: str) -> None:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        self.key = load_pem_private_key(pem.encode(), None).public_key()
        self.asked: list[dict[str, Any]] = []
        self.now = NOW
        self.client = httpx.Client(transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        claims = self.check(request.headers["authorization"].removeprefix("Bearer "))
        assert claims["exp"] - claims["iat"] <= 600
        assert claims["iat"] < self.now.timestamp() < claims["exp"]
        path = "/app/installations/{installation_id}/access_tokens"
        assert request.url.path == path.replace("{installation_id}", "42")
        body = API["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        root = {"components": {"schemas": plain(API["components"]["schemas"])}}
        sent = json.loads(request.content)
        Draft202012Validator(plain(body) | root).validate(sent)
        self.asked.append(sent)
        end = (self.now + dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return httpx.Response(201, json={"token": f"ghs_{len(self.asked)}", "expires_at": end})

    def check(self, statement: str) -> dict[str, Any]:
        from base64 import urlsafe_b64decode

        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        head, claims, signature = (
            urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in statement.split(".")
        )
        self.key.verify(signature, statement.rpartition(".")[0].encode(), PKCS1v15(), SHA256())
        assert json.loads(head)["alg"] == "RS256"
        said: dict[str, Any] = json.loads(claims)
        return said

    def token(self, pem: str) -> AppToken:
        return AppToken(
            "7", "42", pem, repository="acme/shop", clock=lambda: self.now, client=self.client
        )


@pytest.mark.covers("SUP-07")
def test_an_apps_token_is_for_one_repository_and_three_permissions(pem: str) -> None:
    mint = Mint(pem)

    assert mint.token(pem)() == "ghs_1"

    assert mint.asked == [
        {
            "repositories": ["shop"],
            "permissions": {"contents": "write", "pull_requests": "write", "issues": "write"},
        }
    ]


def test_an_apps_token_is_kept_until_shortly_before_its_end(pem: str) -> None:
    mint = Mint(pem)
    token = mint.token(pem)

    first = token()
    mint.now += dt.timedelta(minutes=54)
    kept = token()
    mint.now += dt.timedelta(minutes=2)
    fresh = token()

    assert (first, kept, fresh) == ("ghs_1", "ghs_1", "ghs_2")


def test_an_app_whose_key_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(Rejected, match="PEM") as caught:
        AppToken("7", "42", "very secret", repository="acme/shop", clock=Hour())

    assert "very secret" not in str(caught.value)


def test_an_answer_without_a_token_is_worth_another_try(pem: str) -> None:
    mint = Mint(pem)
    odd = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(201, json={})))
    token = AppToken("7", "42", pem, repository="acme/shop", clock=lambda: mint.now, client=odd)

    with pytest.raises(Unavailable):
        token()


def test_an_app_is_taken_before_a_token(pem: str) -> None:
    more = {"github_app_id": "7", "github_installation_id": "42", "github_app_key": pem}

    assert names(**GITHUB, **more) == ["github", "console"]


# templates


def test_own_templates_are_checked_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "chat.md.j2").write_text("{% if %}")
    settings, _ = load({"FAULTLINE_TEMPLATES": str(tmp_path)})

    with pytest.raises(Rejected, match=r"chat\.md\.j2"):
        bootstrap.check(settings)


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_templates_is_refused(made: bool, tmp_path: Path) -> None:
    folder = tmp_path / "templates"
    if made:
        folder.mkdir()

    with pytest.raises(Rejected, match="templates"):
        bootstrap.check(Settings(templates=str(folder)))


# over a real connection


@pytest.fixture
def enterprise() -> Iterator[tuple[GitHubFake, str]]:
    """A GitHub behind a real socket."""
    hub = GitHubFake({p.relative_to(MANIFESTS).as_posix(): p.read_bytes() for p in PLAIN})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            url = f"http://127.0.0.1{self.path.removeprefix('/api/v3')}"
            headers = dict(self.headers.items())
            asked = httpx.Request(self.command, url, headers=headers, content=body)
            told = hub.answer(asked)
            self.send_response(told.status_code)
            self.send_header("content-length", str(len(told.content)))
            self.end_headers()
            self.wfile.write(told.content)

        do_POST = do_PATCH = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield hub, f"http://127.0.0.1:{server.server_address[1]}/api/v3"
    server.shutdown()
    server.server_close()
    thread.join()


PLAIN = sorted(MANIFESTS.rglob("*.yaml"))


def test_settings_alone_lead_from_manifests_to_a_pull_request(
    enterprise: tuple[GitHubFake, str],
) -> None:
    hub, url = enterprise
    settings = Settings(github_repo="acme/shop", github_token=TOKEN, github_api_url=url)
    manifests = bootstrap.manifests(settings)
    asked = report().diagnosis
    proposal = propose(asked, manifests.files(), PatchRules(), revision=manifests.revision())

    [outlet, _] = bootstrap.outlets(settings, MemoryStore(), io.StringIO())
    receipt = outlet.deliver(report(proposal=proposal, patch=diff(proposal)), None)

    assert receipt.url == hub.pulls[1]["html_url"]
    assert b"256Mi" in hub.file("faultline/fix-api-5c1e9b2a", FILE)


@pytest.mark.parametrize("bare", [False, True])
def test_a_repository_that_is_read_is_proposed_to_with_a_work_tree_or_bare(
    tmp_path: Path, bare: bool
) -> None:
    flags = ["--bare"] if bare else []
    git(tmp_path, "init", "--quiet", *flags)

    assert isinstance(bootstrap.manifests(Settings(manifests=str(tmp_path))), GitManifests)
    assert names(manifests=str(tmp_path)) == ["git", "console"]
