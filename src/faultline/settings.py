"""What can be configured: one field each, with unit, default and the variable that sets it.

A flag overrides the environment, the environment overrides the file (`faultline.yaml`, or
`FAULTLINE_CONFIG`), the file overrides the default. An unknown key in the file is an error. Secrets
come from the environment or from mounted files (`<VARIABLE>_FILE`) and are never printed.
`docs/operate.md` has the table, and a test compares it with this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from faultline import limits
from faultline.errors import Rejected
from faultline.sections import AgentRuntime, Limits, Watch, setting

ENGINES = ("rules", "stub", "command", "claude", "claude-capsule", "codex", "gemini", "loop",
           "loop-capsule")  # fmt: skip


INGRESS = "/broker/faultline/faultline"  # of the embedded broker: /broker/<namespace>/<broker>


class Settings(BaseModel):
    """Everything that an operator may set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = setting(
        "file://.faultline/store", "FAULTLINE_STORE", "memory:, file://<folder>, s3://<bucket>"
    )
    cluster: str = setting(
        "local", "FAULTLINE_CLUSTER", "name of the cluster, where a message does not say it"
    )
    host: str = setting("127.0.0.1", "FAULTLINE_HOST", "address to listen on")
    port: int = setting(8080, "PORT", "port to listen on; 0: a free one", ge=0, le=65_535)
    log_level: str = setting("info", "LOG_LEVEL", "debug, info, warn or error")
    sink: str = setting("", "K_SINK", "where events go; Knative's SinkBinding sets it")
    journal: str = setting(
        ".faultline/journal.sqlite", "FAULTLINE_JOURNAL", "file of the embedded broker"
    )

    sse_endpoint: str = setting(
        "", "SSE_ENDPOINT", "streams of faults to follow, separated by commas"
    )
    webhook_token: str = setting(
        "", "FAULTLINE_WEBHOOK_TOKEN", "bearer tokens, separated by commas", secret=True
    )
    webhook_hmac: str = setting("", "FAULTLINE_WEBHOOK_HMAC", "HMAC keys, with commas", secret=True)
    webhook_origins: str = setting(
        "", "FAULTLINE_WEBHOOK_ORIGINS",
        "origins whose OPTIONS at /events is answered, separated by commas; empty: none",
    )  # fmt: skip
    tls_cert: str = setting("", "FAULTLINE_TLS_CERT", "PEM file, for TLS; empty: plain HTTP")
    tls_key: str = setting("", "FAULTLINE_TLS_KEY", "PEM file of its key; empty: in tls_cert too")
    tls_client_ca: str = setting(
        "", "FAULTLINE_TLS_CLIENT_CA",
        "PEM file: who has a certificate of this authority may send to the bridge",
    )  # fmt: skip
    console_token: str = setting("", "FAULTLINE_CONSOLE_TOKEN", "of the web console", secret=True)
    allowed_hosts: str = setting(
        "", "FAULTLINE_ALLOWED_HOSTS", "Host headers to answer, separated by commas; empty: local"
    )

    recorded_cluster: str = setting(
        "", "FAULTLINE_RECORDED_CLUSTER", "folder of what kubectl printed, as the cluster"
    )
    live_cluster: bool = setting(
        False, "FAULTLINE_LIVE_CLUSTER", "ask the cluster we run in, or KUBECONFIG's; read only"
    )
    log_lines: int = setting(
        limits.log_lines_per_container, "FAULTLINE_LOG_LINES",
        "of each container's log, the last so many", ge=1, le=1_000,
    )  # fmt: skip
    prometheus_url: str = setting("", "PROMETHEUS_URL", "Prometheus to ask; empty: none")
    manifests: str = setting(
        "", "FAULTLINE_MANIFESTS", "Git repository or folder that the cluster is deployed from"
    )
    branch_prefix: str = setting("faultline/", "FAULTLINE_BRANCH_PREFIX", "of proposed branches")
    author: str = setting("Faultline", "FAULTLINE_AUTHOR", "of commits and messages")
    github_repo: str = setting(
        "", "FAULTLINE_GITHUB_REPO", "owner/name: pull requests there, and manifests read from it"
    )
    github_folder: str = setting(
        "", "FAULTLINE_GITHUB_FOLDER", "folder of its manifests; empty: all of it"
    )
    github_api_url: str = setting(
        "https://api.github.com", "FAULTLINE_GITHUB_API_URL", "of an Enterprise server: .../api/v3"
    )
    github_token: str = setting(
        "", "FAULTLINE_GITHUB_TOKEN", "a token, where there is no App", secret=True
    )
    github_app_id: str = setting(
        "", "FAULTLINE_GITHUB_APP_ID", "of a GitHub App; better than a token"
    )
    github_installation_id: str = setting(
        "", "FAULTLINE_GITHUB_INSTALLATION_ID", "of that App in the repository's organisation"
    )
    github_app_key: str = setting("", "FAULTLINE_GITHUB_APP_KEY", "its key, in PEM", secret=True)
    github_webhook_secret: str = setting(
        "", "FAULTLINE_GITHUB_WEBHOOK_SECRET", secret=True,
        says="what GitHub's webhook to /github is signed with, commas between two; empty: none",
    )  # fmt: skip
    pulls_open: int = setting(
        10, "FAULTLINE_PULLS_OPEN", "pull requests of ours open at once; 0: any number", ge=0
    )
    pulls_per_hour: int = setting(
        2, "FAULTLINE_PULLS_PER_HOUR", "pull requests made an hour; 0: any number", ge=0
    )
    safe_mode: bool = setting(
        False, "FAULTLINE_SAFE_MODE", "no pull request: a comment on an issue instead"
    )
    notify_url: str = setting(
        "",
        "FAULTLINE_NOTIFY_URL",
        "webhook of Slack, Discord or Teams, known by its host; else JSON is posted there",
        secret=True,
    )
    notify_secret: str = setting(
        "", "FAULTLINE_NOTIFY_SECRET", "whsec_..., signs that JSON; commas between two", secret=True
    )
    slack_token: str = setting(
        "", "FAULTLINE_SLACK_TOKEN", "a bot's token: one edited message an incident", secret=True
    )
    slack_channel: str = setting("", "FAULTLINE_SLACK_CHANNEL", "id of the channel, such as C0123")
    smtp_url: str = setting(
        "", "FAULTLINE_SMTP_URL", "mail server: smtps://host, smtp://host, smtp+plain://host:25"
    )
    smtp_user: str = setting("", "FAULTLINE_SMTP_USER", "name to log in with; empty: no login")
    smtp_password: str = setting(
        "", "FAULTLINE_SMTP_PASSWORD", "password of that name", secret=True
    )
    email_from: str = setting("", "FAULTLINE_EMAIL_FROM", "address that mail comes from")
    email_to: str = setting("", "FAULTLINE_EMAIL_TO", "addresses to tell, separated by commas")
    kubernetes_events: bool = setting(
        False, "FAULTLINE_KUBERNETES_EVENTS", "write Events on the objects that faults are about"
    )
    templates: str = setting(
        "", "FAULTLINE_TEMPLATES", "folder with your own pull-request.md.j2, chat.md.j2"
    )
    console_url: str = setting(
        "", "FAULTLINE_CONSOLE_URL", "where people reach the web console, for links in messages"
    )
    dry_run: bool = setting(False, "FAULTLINE_DRY_RUN", "nothing leaves; what would is written")

    severity_threshold: str = setting(
        "warning", "FAULTLINE_SEVERITY_THRESHOLD", "critical, warning or info; below: only on file"
    )
    slots: int = setting(5, "FAULTLINE_SLOTS", "agents at once, in total", ge=0)
    slots_per_cluster: int = setting(1, "FAULTLINE_SLOTS_PER_CLUSTER", "agents at once", ge=0)
    runs_per_hour: int = setting(20, "FAULTLINE_RUNS_PER_HOUR", "agent runs an hour", ge=0)
    watchdog_s: int = setting(
        0, "FAULTLINE_WATCHDOG", "seconds between two Watchdog alerts; silence is a fault; 0: off",
        ge=0, le=86_400,
    )  # fmt: skip
    own_namespaces: str = setting(
        "faultline,faultline-agents", "FAULTLINE_OWN_NAMESPACES",
        "namespaces of our own: no agent looks into a fault there; empty: allowed",
    )  # fmt: skip
    traces: str = setting(
        "", "FAULTLINE_TRACES", "where spans go: empty, log:, otlp:http://collector:4318"
    )
    runs_per_workload: int = setting(
        1, "FAULTLINE_RUNS_PER_WORKLOAD", "agent runs an hour; a retry is free; 0: no cap", ge=0
    )
    wait_max_s: int = setting(
        600, "FAULTLINE_WAIT_MAX", "seconds of waiting for an agent, then analyzers alone", ge=0
    )
    max_healing_attempts: int = setting(
        5, "FAULTLINE_MAX_HEALING_ATTEMPTS",
        "pull requests of one workload until a person resets; 0: no cap", ge=0,
    )  # fmt: skip
    healing_quiet_days: int = setting(
        7, "FAULTLINE_HEALING_QUIET_DAYS",
        "days without an incident after which that count starts anew; 0: never", ge=0,
    )  # fmt: skip
    nudge_after_s: int = setting(
        120, "FAULTLINE_NUDGE_AFTER",
        "seconds a step may be silent before sweep asks again; for a run without a Job it asks "
        "each time", ge=1,
    )  # fmt: skip
    sweep_days: int = setting(7, "FAULTLINE_SWEEP_DAYS", "days that sweep looks back", ge=1)
    sweep_s: int = setting(60, "FAULTLINE_SWEEP_SECONDS", "seconds between two sweeps", ge=1)
    quiet_s: int = setting(
        600, "FAULTLINE_QUIET", "seconds without a fault until a fix counts as verified", ge=0
    )
    close_after_s: int = setting(
        600, "FAULTLINE_CLOSE_AFTER",
        "seconds that every fault must be over before the incident closes; 0: at once", ge=0,
    )  # fmt: skip
    shadow: bool = setting(
        False, "FAULTLINE_SHADOW", "no branch is made; proposals are scored against people's fixes"
    )
    images: bool = setting(False, "FAULTLINE_PATCH_IMAGES", "may a patch set an image back")
    factor_max: float = setting(
        4.0, "FAULTLINE_PATCH_FACTOR", "how far a patch may raise a quantity", ge=1
    )

    job_image: str = setting(
        "", "FAULTLINE_JOB_IMAGE", "image of agent Jobs; empty: runs are child processes"
    )
    job_namespace: str = setting(
        "faultline-agents", "FAULTLINE_JOB_NAMESPACE", "namespace of agent Jobs"
    )
    gateway: str = setting(
        "", "FAULTLINE_GATEWAY", "all that agent Jobs talk to; empty: store and sink directly"
    )

    agent_runtime: AgentRuntime = AgentRuntime()
    budgets: Limits = Limits()
    watch: Watch = Watch()


SECTIONS: dict[str, type[BaseModel]] = {
    "agent_runtime": AgentRuntime,
    "budgets": Limits,
    "watch": Watch,
}


def fields() -> dict[str, tuple[str, Any]]:
    """Return every setting by its dotted name: (variable, pydantic's field)."""
    found: dict[str, tuple[str, Any]] = {}
    models = {"": Settings} | {f"{name}.": model for name, model in SECTIONS.items()}
    for prefix, model in models.items():
        for name, field in model.model_fields.items():
            if isinstance(field.json_schema_extra, dict):
                found[prefix + name] = (str(field.json_schema_extra["variable"]), field)
    return found


def load(
    environment: Mapping[str, str],
    *,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[Settings, dict[str, str]]:
    """Return the settings in force, and for each dotted name where its value came from.

    Raises Rejected, naming the key, what was expected and what came.
    """
    values, origins = _from_file(_file(environment, file))
    for name, (variable, _) in fields().items():
        if (text := _variable(environment, variable)) is not None:
            values[name], origins[name] = text, f"environment {variable}"
        if (flags or {}).get(name) is not None:
            values[name], origins[name] = (flags or {})[name], "flag"
    nested: dict[str, Any] = {section: {} for section in SECTIONS}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (nested[section] if section else nested)[key] = value
    try:
        settings = Settings.model_validate(nested)
    except ValidationError as error:
        raise Rejected(_explain(error, origins)) from None
    return settings, {name: origins.get(name, "default") for name in fields()}


def secret(name: str) -> bool:
    """Is the value of this setting a secret, never to be printed?"""
    extra = fields()[name][1].json_schema_extra
    return bool(extra.get("secret"))


def value(settings: Settings, name: str) -> Any:
    """Return a setting by its dotted name."""
    found: Any = settings
    for key in name.split("."):
        found = getattr(found, key)
    return found


def listed(text: str) -> list[str]:
    """Split a setting that holds several values, at commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def secrets_of(settings: Settings) -> list[str]:
    """Return the secrets among the settings: no line of the log shows them."""
    texts = [str(value(settings, name)) for name in fields() if secret(name)]
    return [part for text in texts for part in (text, *listed(text)) if part]


def _file(environment: Mapping[str, str], file: Path | None) -> Path | None:
    named = file or (Path(p) if (p := environment.get("FAULTLINE_CONFIG")) else None)
    if named is None:
        return Path("faultline.yaml") if Path("faultline.yaml").is_file() else None
    if not named.is_file():
        raise Rejected(f"expected a configuration file at {named}, there is none")
    return named


def _from_file(path: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    if path is None:
        return {}, {}
    import yaml

    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise Rejected(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Rejected(f"expected text in UTF-8 in {path}, got other bytes") from None
    except yaml.YAMLError as error:  # its words may quote a secret: only the place is told
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Rejected(f"expected YAML in {path}, it cannot be read{place}") from None
    named = _mapping(found, f"settings by name in {path}")
    flat = {str(k): v for k, v in named.items() if k not in SECTIONS}
    for name in SECTIONS:
        section = _mapping(named.get(name), f"settings by name in {path}, section {name}")
        flat |= {f"{name}.{key}": value for key, value in section.items()}
    if unknown := sorted(flat.keys() - fields().keys()):
        raise Rejected(
            f"unknown setting {unknown[0]} in {path}; `faultline config check` lists all"
        )
    return flat, dict.fromkeys(flat, f"file {path}")


def _mapping(found: Any, expected: str) -> dict[Any, Any]:
    if found is not None and not isinstance(found, dict):
        raise Rejected(f"expected {expected}, got {type(found).__name__}")
    return found or {}


def _variable(environment: Mapping[str, str], variable: str) -> str | None:
    if file := environment.get(f"{variable}_FILE"):
        try:
            return Path(file).read_text("utf-8").strip()
        except UnicodeDecodeError:
            raise Rejected(f"{variable}_FILE names {file}, which is not text in UTF-8") from None
        except OSError as error:
            raise Rejected(
                f"{variable}_FILE names {file}, which cannot be read: {error.strerror}"
            ) from None
    return environment.get(variable)


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    first = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    hidden = name not in fields() or secret(name)
    came = "" if hidden else f", got {str(first['input'])[:80]!r}"
    return f"setting {name} ({origins.get(name, 'default')}): {first['msg']}{came}"
