"""Webhooks that cannot be called and so keep pods from being made."""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.facts import Workload
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import PROVED, becomes_ready, finding, restore
from faultline.model import Finding

_WEBHOOK = re.compile(r'failed calling webhook "([^"\s]{1,253})"')
_WHY = (
    (re.compile(r'service "([^"\s]{1,253})" not found'), "its service {} does not exist"),
    (
        re.compile(r'no endpoints available for service "([^"\s]{1,253})"'),
        "its service {} has no pods",
    ),
    (
        re.compile(r"x509: .{0,60}(expired)(?! or is not yet valid: .{0,80} is before)"),
        "its certificate has {}",
    ),
    (
        re.compile(r"x509: certificate is valid for .{1,400}, not ([^\s\"]{1,253})"),
        "its certificate is not for {}",
    ),
    (re.compile(r"(x509): "), "its certificate is not trusted"),
    (re.compile(r"(deadline exceeded|connection refused|i/o timeout)"), "it does not answer ({})"),
)


def webhook(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the API server refuses the pod and names the webhook that it could not call.
    if match := _WEBHOOK.search(said.message):
        reasons = ((r.search(said.message), words) for r, words in _WHY)
        why = next((words.format(m[1]) for m, words in reasons if m), "the call failed")
        yield finding(
            "admission.webhook",
            PROVED,
            f"The webhook {match[1]} keeps pods from being made",
            f"New pods of {workload} are refused because the webhook {match[1]} cannot be called: "
            f"{why}.",
            [said.cite()],
            actions=[restore("Bring the webhook's service back.", becomes_ready(workload))],
        )
