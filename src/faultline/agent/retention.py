"""How long a run's folder stays on its machine: the setting `agent_runtime.cleanup`.

Records are not touched: what a run left is in the store before its folder may go. On Kubernetes the
folder is the pod's and goes with it, at the latest when the ended Job does.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from faultline.agent.workspace import Workspace
from faultline.errors import Rejected, Unavailable
from faultline.limits import workspace_retention_hours
from faultline.sections import CleanupPolicy

log = logging.getLogger(__name__)

HOUR_S = 3_600


@dataclass(frozen=True)
class Retention:
    """The policy, and the hours after which it forgets."""

    policy: CleanupPolicy
    hours: float

    def clean_up(self, workspace: Workspace, *, success: bool) -> None:
        """Remove the folder of a run that has ended, if the policy says so. Never raises."""
        if self.policy is CleanupPolicy.DELETE or (
            self.policy is CleanupPolicy.KEEP_ON_FAILURE and success
        ):
            _remove(workspace)

    def forget_old(self, root: Path, now: float) -> None:
        """Remove the folders of runs whose engine ended that long before `now`, in Unix seconds.

        One that is being worked on stays, as does whatever no run left. Never raises.
        """
        if self.policy is CleanupPolicy.KEEP:
            return
        for note in sorted(root.glob("*.ended")):
            workspace = Workspace(root, note.stem)
            try:
                if workspace.path.exists() and note.stat().st_mtime < now - self.hours * HOUR_S:
                    with workspace.held():
                        _remove(workspace)
            except Unavailable:
                continue  # its run is being collected
            except OSError as error:
                log.warning("cannot look at the workspace %s: %s", workspace.path, error)


def retention(environment: Mapping[str, str]) -> Retention:
    """Read AGENT_RUNTIME_CLEANUP and AGENT_RUNTIME_RETENTION. Raises Rejected, naming the one."""
    policy = environment.get("AGENT_RUNTIME_CLEANUP") or CleanupPolicy.KEEP_ON_FAILURE
    hours = environment.get("AGENT_RUNTIME_RETENTION") or workspace_retention_hours
    try:
        return Retention(CleanupPolicy.named(policy, "AGENT_RUNTIME_CLEANUP"), float(hours))
    except ValueError:
        raise Rejected(f"AGENT_RUNTIME_RETENTION: expected hours, got {hours!r}") from None


def _remove(workspace: Workspace) -> None:
    for problem in workspace.remove():
        log.warning("workspace not removed: %s", problem)
