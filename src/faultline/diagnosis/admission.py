"""Pods that may not be made for other reasons than numbers: accounts, pod security, webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Facts, Workload
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.records import Happening
from faultline.diagnosis.refusals import refused
from faultline.diagnosis.webhooks import webhook
from faultline.diagnosis.wording import PROVED, becomes_ready, finding, one_line, restore
from faultline.model import Finding

_ACCOUNT = re.compile(r'serviceaccount "([^"\s]{1,253})" not found')
_SECURITY = re.compile(r'violates PodSecurity "([^"]{1,80})": (.{1,300})', re.DOTALL)


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say who refuses the pods of a workload."""
    return refused(facts, _account, _security, webhook)


def _account(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the API server does not find the account, and the template names it.
    match, field = _ACCOUNT.search(said.message), "spec.serviceAccountName"
    if not match or text(workload.get(field)) != match[1]:
        return
    there, was = workload.facts.names("ServiceAccount"), workload.was(field)
    was = was if was and text(was.value) else None
    better = text(was.value) if was else nearest(match[1], there)
    yield finding(
        "admission.account-missing",
        PROVED,
        f"There is no ServiceAccount {match[1]}",
        f"{workload} runs as the ServiceAccount {match[1]}, which does not exist."
        + (f" Revision {was.revision} ran as {one_line(was.value)}." if was else ""),
        [said.cite(), workload.cite(field), was.evidence if was else None],
        actions=[restore(f"Run as {better}." if better else "Create it.", becomes_ready(workload))],
        changes=[workload.change(field, better, "the account that exists")] if better else (),
    )


def _security(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the API server refuses the pod and names the rule.
    if match := _SECURITY.search(said.message):
        yield finding(
            "admission.pod-security",
            PROVED,
            f"Pods are refused by the pod security standard {match[1]}",
            f"New pods of {workload} are refused: they violate {match[1]}: "
            f"{one_line(match[2], 250)}.",
            [said.cite()],
            actions=[restore("Give the pod what the standard asks for.", becomes_ready(workload))],
        )
