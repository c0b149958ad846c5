"""The engine `rules`: says what the analyzers suspect, without proof and without a model.

It runs as every engine does, in the workspace, as `python -m faultline.agent.rules`: it reads
`incident.json` and `findings.json` and leaves `output/`. What is proved was answered by `launch`
before any engine ran; asked all the same, this one repeats it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from faultline import keys
from faultline.model import Incident, Verdict
from faultline.suspected import investigation, suspicion

__all__ = ["investigation", "main", "suspicion"]


def main(workspace: Path) -> int:
    """Read the workspace, leave the two files, say so in one line."""
    incident = Incident.model_validate_json((workspace / keys.INCIDENT).read_bytes())
    verdict = Verdict.model_validate_json((workspace / keys.FINDINGS).read_bytes())
    diagnosis = verdict.diagnosis or suspicion(verdict)
    report: str | bytes = investigation(incident, verdict)
    if verdict.diagnosis:
        from faultline.diagnosis.render import investigation as proof

        report = proof(incident, verdict)
    content = report if isinstance(report, bytes) else report.encode("utf-8", "replace")
    (workspace / keys.INVESTIGATION).write_bytes(content)
    (workspace / keys.DIAGNOSIS).write_text(diagnosis.model_dump_json(indent=2) + "\n", "utf-8")
    sys.stdout.write(f"{diagnosis.title}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
