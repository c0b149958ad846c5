"""Containers that end again and again: the most exact reason for each, or what is known of its end.

What is missing from its configuration is `configuration.py`, memory is `memory.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.architecture import wrong_format
from faultline.diagnosis.commands import no_command
from faultline.diagnosis.facts import Facts, Part
from faultline.diagnosis.names import UNKNOWN
from faultline.diagnosis.variables import no_variable
from faultline.diagnosis.wording import HINT, LIKELY, finding
from faultline.model import Finding

_ERROR = re.compile(r"(?i)\b(?:error|fatal|panic|exception|critical|cannot|can't|failed|refused)\b")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why containers end, one finding for each."""
    for part in facts.parts:
        if (part.ended or part.waiting) and not _killed(part):
            for condition in (wrong_format, no_command, no_variable, _exits):
                if found := next(condition(part), None):
                    yield found
                    break


def _killed(part: Part) -> bool:
    """Say whether others ended it: the kernel for memory, the kubelet for a probe."""
    return any(e.reason == "OOMKilled" for e in part.ended) or any(
        "probe, will be restarted" in h.message for h in part.happenings("Killing")
    )


def _exits(part: Part) -> Iterator[Finding]:
    of_job = part.workload.object.kind in ("Job", "CronJob")  # they are tried anew, in new pods
    looping = of_job or any(w.reason == "CrashLoopBackOff" for w in part.waiting)
    if not part.ended or not (looping or part.fresh) or part.logs(UNKNOWN):
        return
    end, logged = part.ended[0], part.logs(_ERROR)
    changed = sorted(part.workload.differences)
    since = f" The newest rollout changed {', '.join(changed)}." if changed else ""
    yield finding(
        "crash_loop.exit",
        LIKELY if logged and looping else HINT,
        f"{part.name} ends with exit code {end.exit_code}",
        f"{part} ended with exit code {end.exit_code} after {part.restarts} restarts; why, its "
        f"last error line may say.{since}",
        [end.cite("exitCode"), logged[1] if logged else None],
    )
