"""The sections of what can be configured, and how a field is declared."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from faultline import limits
from faultline.errors import Rejected


def setting(default: Any, variable: str, says: str, *, secret: bool = False, **limits: Any) -> Any:
    """Return a field with its variable and what it does."""
    extra: Any = {"variable": variable, "secret": secret}
    return Field(default, description=says, json_schema_extra=extra, **limits)


class CleanupPolicy(StrEnum):
    """What becomes of the folder of a run that has ended; its records stay in any case."""

    KEEP = "keep"  # for ever
    KEEP_ON_FAILURE = "keep_on_failure"  # after success it goes at once, else after the retention
    DELETE_AFTER = "delete_after"  # after the retention
    DELETE = "delete"  # at once

    @classmethod
    def named(cls, text: str, where: str) -> CleanupPolicy:
        """Return the policy of that name. Raises Rejected, saying `where` it stands."""
        if text not in set(cls):
            raise Rejected(f"{where}: expected {', '.join(cls)}, got {text[:80]!r}")
        return cls(text)


class AgentRuntime(BaseModel):
    """The section `agent_runtime`: how runs are done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str = setting(
        "rules", "FAULTLINE_ENGINE", "rules, loop, command, claude, codex, gemini"
    )
    agent_command: str = setting(
        "", "AGENT_RUNTIME_COMMAND", "a command of your own, split like a shell does, run by none"
    )
    model: str = setting("", "AGENT_MODEL", "model of the engine; empty: the engine's own default")
    model_provider: str = setting("", "FAULTLINE_MODEL_PROVIDER", "of loop: whose API it speaks to")
    model_url: str = setting("", "FAULTLINE_MODEL_URL", "of loop: its API; empty: the provider's")
    model_key: str = setting("", "FAULTLINE_MODEL_KEY", "of loop: the API's key", secret=True)
    model_prices: str = setting("", "FAULTLINE_MODEL_PRICES", "USD a million tokens: model=in/out")
    workspace_root: str = setting(
        ".faultline/runs", "WORKSPACE_ROOT", "folder in which each run has its own, mode 0700"
    )
    timeout_seconds: int = setting(
        limits.run_seconds, "AGENT_TIMEOUT", "how long a run may last, in seconds", ge=1, le=86_400
    )
    graceful_shutdown_seconds: float = setting(
        float(limits.run_grace_seconds),
        "AGENT_RUNTIME_GRACE",
        "seconds between interrupt and kill",
        ge=0,
    )
    cleanup: str = setting(
        CleanupPolicy.KEEP_ON_FAILURE.value, "AGENT_RUNTIME_CLEANUP",
        "folder of a run that has ended: keep, keep_on_failure, delete_after, delete",
    )  # fmt: skip
    workspace_retention_hours: float = setting(
        limits.workspace_retention_hours, "AGENT_RUNTIME_RETENTION",
        "hours until a folder goes that was kept; not with `keep`", ge=0,
    )  # fmt: skip


class Limits(BaseModel):
    """The section `budgets`: tokens and money, in UTC's days and months; 0: no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_tokens: int = setting(
        200_000, "FAULTLINE_BUDGET_RUN_TOKENS", "tokens that a run reserves", ge=0
    )
    run_usd: float = setting(1.0, "FAULTLINE_BUDGET_RUN_USD", "USD that a run reserves", ge=0)
    incident_tokens: int = setting(0, "FAULTLINE_BUDGET_INCIDENT_TOKENS", "for one incident", ge=0)
    incident_usd: float = setting(0.0, "FAULTLINE_BUDGET_INCIDENT_USD", "for one incident", ge=0)
    namespace_tokens: int = setting(
        0, "FAULTLINE_BUDGET_NAMESPACE_TOKENS", "for one namespace a day", ge=0
    )
    namespace_usd: float = setting(
        0.0, "FAULTLINE_BUDGET_NAMESPACE_USD", "for one namespace a day", ge=0
    )
    day_tokens: int = setting(0, "FAULTLINE_BUDGET_DAY_TOKENS", "for all a day", ge=0)
    day_usd: float = setting(0.0, "FAULTLINE_BUDGET_DAY_USD", "for all a day", ge=0)
    month_tokens: int = setting(0, "FAULTLINE_BUDGET_MONTH_TOKENS", "for all a month", ge=0)
    month_usd: float = setting(0.0, "FAULTLINE_BUDGET_MONTH_USD", "for all a month", ge=0)
    total_tokens: int = setting(0, "FAULTLINE_BUDGET_TOTAL_TOKENS", "for all, for ever", ge=0)
    total_usd: float = setting(0.0, "FAULTLINE_BUDGET_TOTAL_USD", "for all, for ever", ge=0)


class Watch(BaseModel):
    """The section `watch`: what the bridge sees in the cluster itself, and from when on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = setting(
        False, "FAULTLINE_WATCH", "watch the cluster we run in, or KUBECONFIG's, for faults"
    )
    namespaces: str = setting(
        "", "FAULTLINE_WATCH_NAMESPACES", "only these, separated by commas, and nodes; empty: all"
    )
    selector: str = setting(
        "", "FAULTLINE_WATCH_SELECTOR", "label selector of what is watched; k8s events have none"
    )
    hold_s: int = setting(
        300, "FAULTLINE_WATCH_HOLD", "seconds of pending, not ready or unavailable until a fault",
        ge=0,
    )  # fmt: skip
    short_hold_s: int = setting(
        60, "FAULTLINE_WATCH_SHORT_HOLD", "the same for nodes and for warnings that repeat", ge=0
    )
    clear_s: int = setting(
        300, "FAULTLINE_WATCH_CLEAR", "seconds of being well, or gone, until a fault is over", ge=0
    )
    restarts: int = setting(
        3, "FAULTLINE_WATCH_RESTARTS", "restarts of a container within the window: a fault",
        ge=1, le=100,
    )  # fmt: skip
    restart_window_s: int = setting(
        1_800, "FAULTLINE_WATCH_RESTART_WINDOW", "that window, in seconds", ge=1
    )
