"""P1: from the start of a process to its first 2xx, in CPU time, with bytecode as in the image.

The step's shell and an empty handler run on the same server: uvicorn, as `faultline serve` does,
and func-python, as `func` builds it. The door of `faultline serve` stands beside
functions-framework with a trivial function. "First 2xx" is the readiness probe: the store is open
by then.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import (
    KNATIVE,
    ROOT,
    Figure,
    Skipped,
    environment,
    folder,
    free_port,
    http,
    in_turn,
    peer,
    until_answer,
)
from measure import main as alone

EMPTY = """
async def empty(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            phase = (await receive())["type"]
            await send({"type": phase + ".complete"})
            if phase == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
EMPTY_ON_UVICORN = (
    EMPTY
    + """
import sys, uvicorn
uvicorn.Server(uvicorn.Config(empty, port=int(sys.argv[1]), log_config=None)).run()
"""
)
SHELL_ON_UVICORN = """
import sys, uvicorn
sys.path.insert(0, sys.argv[2])
import function
app = function.new()
uvicorn.Server(uvicorn.Config(app, port=int(sys.argv[1]), log_config=None)).run()
"""
EMPTY_ON_FUNC_PYTHON = (
    EMPTY
    + """
import func_python.http
class Empty:
    async def handle(self, scope, receive, send):
        await empty(scope, receive, send)
def new():
    return Empty()
func_python.http.serve(new)
"""
)
SHELL_ON_FUNC_PYTHON = """
import sys
sys.path.insert(0, sys.argv[2])
import function, func_python.http
func_python.http.serve(function.new)
"""
TRIVIAL = """
import functions_framework

@functions_framework.http
def trivial(request):
    return b"", 200
"""
PROBE = http("GET", "/health/readiness")


def figures(quick: bool) -> Iterator[Figure]:
    with folder() as where:
        (where / "trivial.py").write_text(TRIVIAL)
        python, shell = sys.executable, str(ROOT / "functions/triage")
        framework = [python, "-m", "functions_framework", "--host", "127.0.0.1"]
        commands = {
            "shell": [python, "-c", SHELL_ON_UVICORN, "PORT", shell],
            "empty": [python, "-c", EMPTY_ON_UVICORN, "PORT"],
            "door": [python, "-m", "faultline", "serve", "triage"],
            "framework": [
                *framework, "--port", "PORT", "--target", "trivial",
                "--source", str(where / "trivial.py"),
            ],
        }  # fmt: skip
        missing = ""
        try:
            knative = peer(KNATIVE, "func_python", "make test sets .venv-kn up")
            commands["func shell"] = [knative, "-c", SHELL_ON_FUNC_PYTHON, "PORT", shell]
            commands["func empty"] = [knative, "-c", EMPTY_ON_FUNC_PYTHON, "PORT"]
        except Skipped as error:
            missing = str(error)
        cases = {name: case(command, where) for name, command in commands.items()}
        in_turn(cases, 1)  # bytecode and the disk's cache
        found = in_turn(cases, 3 if quick else 9)
    yield Figure(
        "P1", "step's shell on uvicorn, cold start to first 2xx", found["shell"], "ms CPU",
        "empty handler", found["empty"], 1.15,
    )  # fmt: skip
    yield Figure(
        "P1", "`faultline serve`, cold start to first 2xx", found["door"], "ms CPU",
        "functions-framework, trivial function", found["framework"], 0.6,
    )  # fmt: skip
    if missing:
        raise Skipped(missing)
    yield Figure(
        "P1", "step's shell on func-python, cold start to first 2xx", found["func shell"], "ms CPU",
        "empty handler", found["func empty"], 1.15,
    )  # fmt: skip


def case(command: list[str], where: Path) -> Callable[[], float]:
    return functools.partial(_cpu_ms, command, where)


def _cpu_ms(command: list[str], where: Path) -> float:
    port = free_port()
    env = environment(
        FAULTLINE_STORE=f"file://{where}/store",
        FAULTLINE_HOST="127.0.0.1",
        PORT=str(port),
        LISTEN_ADDRESS=f"127.0.0.1:{port}",
    )
    filled = [str(port) if part == "PORT" else part for part in command]
    return until_answer(filled, port, PROBE, env, where).cpu_ms


if __name__ == "__main__":
    alone(figures, __doc__)
