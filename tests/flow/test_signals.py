"""Asked to end, by Ctrl-C or by the system, every server of ours ends soon, and well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from line_process import until
from ports import free_port

COMMANDS = {"dev": ["dev"], "bridge": ["bridge"], "web": ["web"], "serve": ["serve", "triage"]}


def answers(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health/liveness")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.covers("S0-26")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_server_that_is_asked_to_end_ends_without_a_traceback(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    port = free_port()
    environment = os.environ | {
        "PORT": str(port), "FAULTLINE_STORE": f"file://{tmp_path / 'store'}", "LOG_LEVEL": "warn",
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "faultline", *COMMANDS[command]],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            until(lambda: answers(port), what=f"{command} answers")
            process.send_signal(number)
            _, err = process.communicate(timeout=15)
        finally:
            process.kill()

    assert b"Traceback" not in err
    assert process.returncode in (0, 130, -number)
