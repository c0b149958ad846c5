"""P2: from the start of a process to the answer to its first event, in CPU time.

The event opens an incident: claim, three records, a reply. Beside it the same shell with the usual
libraries imported at the start, and the usual stack: functions-framework with the same libraries
and the event read by the SDK, doing nothing at all.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from cold_start import SHELL_ON_UVICORN
from measure import ROOT, Figure, environment, folder, free_port, http, in_turn, until_answer
from measure import main as alone

from faultline import wire
from faultline.event import FAULT_DETECTED, Event

EAGER = """
import boto3, httpx, jinja2, kubernetes.client, prometheus_client, starlette.applications, yaml
boto3.client("s3", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
"""
USUAL = """
import boto3, cloudevents.http, functions_framework, httpx, jinja2, kubernetes.client, pydantic
import yaml

s3 = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")

@functions_framework.http
def usual(request):
    cloudevents.http.from_http(request.headers, request.get_data())
    return b"", 204
"""
FAULT = {
    "name": "KubePodCrashLooping",
    "severity": "critical",
    "cluster": "prod",
    "resource": {"kind": "Pod", "name": "api-7d9f6c5b4-x2x9z", "namespace": "shop"},
    "starts_at": "2026-11-21T10:00:00Z",
}
DETECTED = Event(
    id="5c1e9b2a/detected",
    source="/faultline/bridge/prod",
    type=FAULT_DETECTED,
    subject="resource/prod/shop/api",
    time="2026-11-21T10:00:00Z",
    data=FAULT,
)


def figures(quick: bool) -> Iterator[Figure]:
    python, shell = sys.executable, str(ROOT / "functions/triage")
    with folder() as where:
        (where / "usual.py").write_text(USUAL)
        framework = [python, "-m", "functions_framework", "--host", "127.0.0.1", "--port", "PORT"]
        commands = {
            "ours": [python, "-c", SHELL_ON_UVICORN, "PORT", shell],
            "eager": [python, "-c", EAGER + SHELL_ON_UVICORN, "PORT", shell],
            "usual": [*framework, "--target", "usual", "--source", str(where / "usual.py")],
        }
        cases = {name: functools.partial(_cpu_ms, command) for name, command in commands.items()}
        in_turn(cases, 1)
        found = in_turn(cases, 3 if quick else 7)
    what = "cold start to first event handled (claim, records, reply)"
    yield Figure("P2", what, found["ours"], "ms CPU", "eager imports", found["eager"], 0.5)
    yield Figure("P2", f"stretch: {what}", found["ours"], "ms CPU", "the usual stack",
                 found["usual"], 0.12)  # fmt: skip


def _cpu_ms(command: list[str]) -> float:
    port = free_port()
    with folder() as where:
        env = environment(
            FAULTLINE_STORE=f"file://{where}/store",
            AWS_EC2_METADATA_DISABLED="true",
            PORT=str(port),
        )
        filled = [str(port) if part == "PORT" else part for part in command]
        request = http("POST", "/", *wire.encode(DETECTED))
        return until_answer(filled, port, request, env, Path(where)).cpu_ms


if __name__ == "__main__":
    alone(figures, __doc__)
