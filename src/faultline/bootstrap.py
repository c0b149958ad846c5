"""From settings to ports: the only place that picks adapters. Heavy imports happen when chosen."""

from __future__ import annotations

import datetime as dt
import functools
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from faultline import keys
from faultline.adapters.stores import open_store, probe
from faultline.errors import Rejected, Unavailable
from faultline.event import Event
from faultline.incidents import Incidents
from faultline.logs import LEVELS
from faultline.model import Amount, Budgets, PatchRules, Policy, Severity
from faultline.ports import Manifests, Outlet, Ports, Runner, Sink, Source
from faultline.sections import CleanupPolicy
from faultline.settings import ENGINES, Settings, listed, load, value
from faultline.store import Store
from faultline.traces import Spans

if TYPE_CHECKING:
    from faultline.adapters.github import GitHub
    from faultline.charts import Render


@functools.cache
def build() -> Ports:
    """Return the ports of this process, from the environment; connects once, at the first use."""
    settings, _ = load(os.environ)
    store = open_store(settings.store)
    probe(store)
    return ports(settings, store, sink(settings), console=sys.stdout)


def ports(settings: Settings, store: Store, sink: Sink, *, console: TextIO) -> Ports:
    """Return the ports over this store and sink. Raises Rejected for settings that cannot work."""
    check(settings)
    return Ports(
        incidents=Incidents(store),
        runner=runner(settings),
        sources=sources(settings, store),
        manifests=manifests(settings),
        outlets=outlets(settings, store, console),
        sink=sink,
        policy=policy(settings),
        clock=now,
        spans=spans(settings),
        render=renderer(),
    )


def check(settings: Settings) -> None:
    """Raise Rejected, naming it, for a setting that nothing here could work with."""
    _check_runtime(settings)
    for name in ("manifests", "recorded_cluster"):
        folder = str(value(settings, name))
        if folder and not Path(folder).is_dir():
            raise Rejected(f"{name}: expected a folder, got {folder!r}")
    if settings.log_level.lower() not in LEVELS:
        levels = ", ".join(LEVELS)
        raise Rejected(f"log_level: expected one of {levels}, got {settings.log_level!r}")
    if settings.gateway and not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", settings.gateway):
        came = settings.gateway.rpartition("@")[2]  # what stands before it may be a password
        raise Rejected(f"gateway: expected http:// or https:// and a host alone, got {came!r}")
    if settings.templates:
        from faultline.views import check_templates

        check_templates(settings.templates)
    spans(settings)


def _check_runtime(settings: Settings) -> None:
    runtime = settings.agent_runtime
    if runtime.engine not in ENGINES:
        names = ", ".join(ENGINES)
        raise Rejected(f"agent_runtime.engine: expected {names}, got {runtime.engine!r}")
    command = policy(settings).command
    if runtime.engine == "command" and not command:
        raise Rejected("agent_runtime.engine is command: set agent_command to what it should run")
    if command and not settings.job_image and shutil.which(command[0]) is None:
        raise Rejected(
            f"agent_runtime.agent_command: expected a program that can be run, got {command[0]!r}"
        )
    CleanupPolicy.named(runtime.cleanup, "agent_runtime.cleanup")


def renderer() -> Render | None:
    """Return what renders Helm charts; None if helm is not installed: they are refused then."""
    program = shutil.which("helm")
    if program is None:
        return None
    from faultline.adapters.helm import Helm

    return Helm(program)


def spans(settings: Settings) -> Spans | None:
    """Return where spans go; None if tracing is off."""
    kind, _, url = settings.traces.partition(":")
    if not settings.traces:
        return None
    from faultline.adapters.otlp import LogSpans, OtlpSpans

    if kind == "log" and not url:
        return LogSpans()
    if kind == "otlp" and url.startswith(("http://", "https://")):
        return OtlpSpans(url)
    raise Rejected(f"traces: expected log: or otlp:http://<collector>, got {settings.traces!r}")


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def policy(settings: Settings) -> Policy:
    """Return what the operator decided, for the judgements."""
    runtime = settings.agent_runtime
    try:
        threshold = Severity(settings.severity_threshold.lower())
    except ValueError:
        raise Rejected(
            f"severity_threshold: expected critical, warning or info, "
            f"got {settings.severity_threshold!r}"
        ) from None
    try:
        command = tuple(shlex.split(runtime.agent_command))
    except ValueError as error:
        raise Rejected(f"agent_runtime.agent_command: not a command line: {error}") from None
    return Policy(
        severity_threshold=threshold,
        engine="command" if runtime.agent_command else runtime.engine,
        model=runtime.model,
        command=command,
        deadline_s=runtime.timeout_seconds,
        slots=settings.slots,
        slots_per_cluster=settings.slots_per_cluster,
        runs_per_hour=settings.runs_per_hour,
        runs_per_workload=settings.runs_per_workload,
        wait_max_s=settings.wait_max_s,
        budgets=budgets(settings),
        max_healing_attempts=settings.max_healing_attempts,
        healing_quiet_s=settings.healing_quiet_days * 86_400,
        nudge_after_s=settings.nudge_after_s,
        quiet_s=settings.quiet_s,
        close_after_s=settings.close_after_s,
        sweep_days=settings.sweep_days,
        own_namespaces=tuple(listed(settings.own_namespaces)),
        dry_run=settings.dry_run,
        templates=settings.templates,
        console_url=settings.console_url.rstrip("/"),
        patch=PatchRules(images=settings.images, factor_max=settings.factor_max),
    )


def budgets(settings: Settings) -> Budgets:
    """Return what agent runs may spend."""
    of = settings.budgets
    return Budgets(
        run=Amount(tokens=of.run_tokens, usd=of.run_usd),
        incident=Amount(tokens=of.incident_tokens, usd=of.incident_usd),
        namespace=Amount(tokens=of.namespace_tokens, usd=of.namespace_usd),
        day=Amount(tokens=of.day_tokens, usd=of.day_usd),
        month=Amount(tokens=of.month_tokens, usd=of.month_usd),
        total=Amount(tokens=of.total_tokens, usd=of.total_usd),
    )


def sink(settings: Settings) -> Sink:
    """Return the sink of K_SINK; without one, a sink that says so when it is used."""
    if not settings.sink:
        return NoSink()
    from faultline.adapters.sink import HttpSink

    return HttpSink(settings.sink, sleep=time.sleep)


class NoSink:
    """There is nowhere to send events to."""

    def send(self, event: Event) -> None:
        raise Unavailable(
            f"K_SINK is not set, so {event.type} cannot be sent; set it to the broker"
        )


def runner(settings: Settings) -> Runner:
    """Return Jobs where an image for them is named, else child processes."""
    if settings.job_image:
        from faultline.adapters.runners.job import JobTemplate
        from faultline.adapters.runners.kubernetes import KubernetesRunner

        template = JobTemplate(
            image=settings.job_image,
            namespace=settings.job_namespace,
            store_url=settings.store,
            sink_url=settings.sink,
            gateway=settings.gateway.rstrip("/"),
            grace_s=settings.agent_runtime.graceful_shutdown_seconds,
            model=tuple(model(settings, key=False).items()),
        )
        return KubernetesRunner(template)
    from faultline.adapters.runners.subprocess import SubprocessRunner

    runtime = settings.agent_runtime
    kept = {
        "AGENT_RUNTIME_CLEANUP": runtime.cleanup,
        "AGENT_RUNTIME_RETENTION": str(runtime.workspace_retention_hours),
    }
    return SubprocessRunner(
        Path(runtime.workspace_root).absolute(),
        store_url=settings.store,
        sink_url=settings.sink,
        grace_s=runtime.graceful_shutdown_seconds,
        env=os.environ | kept | model(settings, key=True),
    )


def model(settings: Settings, *, key: bool) -> dict[str, str]:
    """Return what the built-in loop is told of its model; the key only for a child process.

    A Job has its key from a Secret of its own namespace (`agent-job/README.md`).
    """
    of = settings.agent_runtime
    told = {
        "FAULTLINE_MODEL_PROVIDER": of.model_provider,
        "FAULTLINE_MODEL_URL": of.model_url,
        "FAULTLINE_MODEL_PRICES": of.model_prices,
        "FAULTLINE_MODEL_KEY": of.model_key if key else "",
    }
    return {name: value for name, value in told.items() if value}


def sources(settings: Settings, store: Store) -> Sequence[Source]:
    """Return the context sources, in the order in which they are asked."""
    from faultline.adapters.sources.alert import AlertSource

    found: list[Source] = [AlertSource(store.get)]
    if settings.recorded_cluster:
        from faultline.adapters.sources.cluster import ClusterSource
        from faultline.adapters.sources.recorded import RecordedCluster

        recorded = RecordedCluster(Path(settings.recorded_cluster))
        found.append(ClusterSource(recorded, log_lines=settings.log_lines))
    elif settings.live_cluster:
        from faultline.adapters.sources.cluster import ClusterSource
        from faultline.adapters.sources.live import LiveCluster

        found.append(ClusterSource(LiveCluster(), log_lines=settings.log_lines))
    if settings.prometheus_url:
        from faultline.adapters.sources.prometheus import PrometheusSource

        found.append(PrometheusSource(settings.prometheus_url))
    return found


def manifests(settings: Settings) -> Manifests:
    from faultline.adapters import manifests as kinds

    if not settings.manifests and settings.github_repo:
        return kinds.GitHubManifests(github(settings), settings.github_folder)
    if not settings.manifests:
        return kinds.NoManifests()
    path = Path(settings.manifests).absolute()
    return kinds.GitManifests(path) if _is_git(path) else kinds.DirectoryManifests(path)


def _is_git(path: Path) -> bool:
    """Is this a Git repository, with a work tree or bare?"""
    return (path / ".git").exists() or (path / "HEAD").is_file()


def outlets(settings: Settings, store: Store, console: TextIO) -> Sequence[Outlet]:
    """Return the outlets, in the order in which they are told: the pull request before messages.

    In a dry run nothing but the console is told: what the others would get goes into the store.
    """
    from faultline.adapters.outlets.console import ConsoleOutlet
    from faultline.adapters.outlets.storm import paced

    hosts, chats = code_hosts(settings), messengers(settings)
    if settings.dry_run:
        hosts = _dry([host.name for host in hosts] or ["git"], store)
        chats = _dry([chat.name for chat in chats] or ["slack"], store)
    return [*hosts, ConsoleOutlet(console, clock=now), *(paced(c, store, now) for c in chats)]


def code_hosts(settings: Settings) -> Sequence[Outlet]:
    """Return where changes are proposed: GitHub, or the repository on disk; in shadow, nowhere."""
    if settings.shadow:
        return []
    author, prefix = settings.author, settings.branch_prefix
    if settings.github_repo:
        from faultline.adapters.outlets.github import GitHubOutlet, Limits

        hub = GitHubOutlet(
            github(settings),
            clock=now,
            branch_prefix=prefix,
            author=author,
            safe_mode=settings.safe_mode,
            limits=Limits(settings.pulls_open, settings.pulls_per_hour),
        )
        return [hub]
    if settings.safe_mode or not settings.manifests:
        return []
    path = Path(settings.manifests).absolute()
    if not _is_git(path):
        return []
    from faultline.adapters.outlets.git import GitOutlet

    return [GitOutlet(path, clock=now, branch_prefix=prefix, author=author)]


def messengers(settings: Settings) -> Sequence[Outlet]:
    """Return where messages go. Raises Rejected for two that would have one name."""
    from faultline.adapters.outlets import notify

    found: list[Outlet] = []
    if settings.slack_token or settings.slack_channel:
        from faultline.adapters.outlets.slack import SlackOutlet

        found.append(SlackOutlet(settings.slack_token, settings.slack_channel, clock=now))
    if settings.notify_url:
        secrets = tuple(listed(settings.notify_secret))
        url, author = settings.notify_url, settings.author
        found.append(notify.outlet(url, secrets=secrets, author=author, clock=now))
    if settings.smtp_url or settings.email_to:
        from faultline.adapters.outlets.email import EmailOutlet

        to, login = listed(settings.email_to), (settings.smtp_user, settings.smtp_password)
        mail = EmailOutlet(
            settings.smtp_url, sender=settings.email_from, to=to, clock=now, login=login,
            author=settings.author,
        )  # fmt: skip
        found.append(mail)
    if settings.kubernetes_events:
        from faultline.adapters.outlets.kubernetes_events import EventsOutlet

        found.append(EventsOutlet(settings.cluster, clock=now))
    if len({outlet.name for outlet in found}) < len(found):
        raise Rejected("notify_url: expected another chat than Slack beside slack_token")
    return found


def _dry(names: Sequence[str], store: Store) -> Sequence[Outlet]:
    from faultline.adapters.outlets.dry_run import DryRunOutlet

    def write(incident_id: str, name: str, data: bytes) -> None:
        Incidents(store).put_view(incident_id, keys.dry_run(name), data)

    return [DryRunOutlet(name, write, clock=now) for name in names]


def github(settings: Settings) -> GitHub:
    """Return the repository on GitHub, asked with an App's token or the one given.

    Each process of a cluster has its own Secret: one without these is refused when it asks, not
    before.
    """
    from faultline.adapters.github import GitHub

    repository, url = settings.github_repo, settings.github_api_url
    if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise Rejected("github_api_url: expected https://, for a token travels there")
    token = _token(settings)
    if settings.github_app_id and settings.github_app_key:
        from faultline.adapters.github_app import AppToken

        ids = settings.github_app_id, settings.github_installation_id
        key = settings.github_app_key
        token = AppToken(*ids, key, repository=repository, clock=now, api_url=url)
    return GitHub(repository, token=token, clock=now, api_url=url)


def _token(settings: Settings) -> Callable[[], str]:
    def given() -> str:
        if not settings.github_token:
            raise Rejected("github_token: expected one, or github_app_key, beside github_repo")
        return settings.github_token

    return given
