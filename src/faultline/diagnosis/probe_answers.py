"""Probes whose answer is wrong, late or asked too early: scheme, path, time, start, command."""

from __future__ import annotations

import re

from faultline.diagnosis.documents import number, text
from faultline.diagnosis.probe_facts import Cause, Failing, before
from faultline.diagnosis.wording import one_line

_TLS = re.compile(
    r"(?i)client sent an HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS"
)


def scheme(failing: Failing) -> Cause | None:
    # proved because: both sides say which of HTTP and HTTPS they speak.
    scheme, field = text(failing.get("httpGet.scheme")) or "HTTP", "httpGet.scheme"
    if scheme == "HTTPS" and "server gave HTTP response to HTTPS client" in failing.message:
        return Cause(
            failing,
            "scheme",
            field,
            "asks with HTTPS",
            "HTTP",
            "the server answers with HTTP",
            (),
            True,
        )
    if (
        scheme == "HTTP"
        and "statuscode: 400" in failing.message
        and (logged := failing.part.logs(_TLS))
    ):
        return Cause(
            failing,
            "scheme",
            field,
            "asks with HTTP",
            "HTTPS",
            "the server expects HTTPS",
            (logged[1],),
            True,
        )
    return None


def path(failing: Failing) -> Cause | None:
    # proved because: the server answers 404 for this path, and the rollout changed the path.
    was = failing.was("httpGet.path")
    if "statuscode: 404" not in failing.message:
        return None
    words = (
        f"asks for {one_line(failing.get('httpGet.path') or '/')}, which the server does not have"
    )
    same_program = not failing.part.was("image") and not failing.part.was("args")
    return before(failing, "path", "httpGet.path", words, was, bool(was) and same_program)


def timeout(failing: Failing) -> Cause | None:
    # proved because: the answer did not come in time, and the rollout shortened that time.
    if not re.search(r"deadline exceeded|Client\.Timeout|timed out|i/o timeout", failing.message):
        return None
    was, now = failing.was("timeoutSeconds"), number(failing.get("timeoutSeconds")) or 1
    shorter = was if was and isinstance(was.value, int) and was.value > now else None
    words = f"waits {now} s for an answer, which does not come in time"
    return before(failing, "timeout", "timeoutSeconds", words, shorter, bool(shorter))


def slow(failing: Failing) -> Cause | None:
    # proved because: the kubelet kills it while nothing listens yet, and the rollout shortened the
    # time that it has for starting.
    if not failing.kills or "connection refused" not in failing.message:
        return None
    for field in ("initialDelaySeconds", "failureThreshold", "periodSeconds"):
        was, now = failing.was(field), number(failing.get(field))
        if was and isinstance(was.value, int) and was.value > now:
            words = "kills the container before it has started"
            return before(failing, "start", field, words, was, failing.happening.count > 1)
    return Cause(
        failing, "start", "initialDelaySeconds", "kills the container while nothing listens"
    )


def command(failing: Failing) -> Cause | None:
    # proved because: the runtime cannot find the command that the object gives.
    if failing.kind != "exec" or "executable file not found" not in failing.message:
        return None
    command = failing.get("exec.command")
    name = one_line(command[0]) if isinstance(command, list) and command else "nothing"
    was = failing.was("exec.command")
    words = f"runs {name}, which the image does not have"
    return before(failing, "command", "exec.command", words, was, True)
