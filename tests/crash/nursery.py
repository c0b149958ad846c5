"""A process that has imported everything and forks `faultline` on request: a start costs no second.

One line of JSON in: arguments, environment, folder, file for what it prints; one line out: the pid.
The fork is a process of its own, to be killed like any other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import boto3
import uvicorn

import faultline.adapters.github
import faultline.adapters.outlets.console
import faultline.adapters.outlets.git
import faultline.adapters.runners.subprocess
import faultline.adapters.sources.cluster
import faultline.adapters.sources.recorded
import faultline.adapters.stores.files
import faultline.adapters.stores.s3
import faultline.dev
import faultline.web.app
from faultline import views
from faultline.cli import main

WARM = (boto3, uvicorn, faultline.web.app, views.bucket_readme())  # compiles the templates


def become(asked: dict[str, object]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(str(asked["cwd"]))
    os.environ.clear()
    os.environ.update(asked["env"])  # type: ignore[call-overload]
    out = os.open(Path(str(asked["log"])), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    code = 70
    try:
        code = main(asked["argv"])  # type: ignore[arg-type]
    finally:
        os._exit(code)


signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they leave no zombies
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        become(json.loads(line))
    print(pid, flush=True)
