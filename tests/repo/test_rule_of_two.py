"""No process has untrusted text, secrets and a way to act outside, all three (INJ-09).

What each has is worked out from the manifests, from RBAC, from the policies of the store and from
the page that says what lies in which Secret, and compared with the table of docs/security.md.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

import pytest
from network_model import KNATIVE, MANIFESTS, Pod, Values, allowed, manifests_of, rules_for

ROOT = KNATIVE.parents[1]
AGENTS = "faultline-agents"
TEXT, SECRETS, ACTS = "untrusted text", "secrets", "acts outside"

# Who speaks a form: events held against their schema, requests held against the table of doors.
# What does not fit is refused, and nothing in it is obeyed.
BY_FORM = {"knative-serving", "knative-eventing", "kourier-system", AGENTS}
UNREDACTED = {
    "pods",
    "pods/log",
    "configmaps",
}  # variables, logs and files: as workloads wrote them
QUESTIONS = {("tokenreviews", "create")}  # nothing is created by it
LOOKS = {"get", "list", "watch"}
OUTSIDE = ("203.0.113.9", "2001:db8::9")
PORTS = (22, 25, 53, 80, 443, 587, 6443, 8080, 8443, 9000, 9090)


def processes(manifests: Sequence[Values]) -> dict[str, Pod]:
    """Return all that runs: Deployments, Knative's Services, and the Jobs of runs."""
    found = {"agent": Pod("faultline-agent", AGENTS)}
    for m in manifests:
        if m["kind"] == "Deployment" or m["apiVersion"].startswith("serving."):
            meta = m["metadata"]
            found[meta["name"]] = Pod(meta["name"], meta["namespace"])
    return found


def granted(name: str, manifests: Sequence[Values]) -> set[tuple[str, str]]:
    """Return (resource, verb) of all that the account of this name may do."""
    by_name = {(m["kind"], m["metadata"]["name"]): m for m in manifests}
    roles = [
        by_name[m["roleRef"]["kind"], m["roleRef"]["name"]]
        for m in manifests
        if m["kind"].endswith("Binding") and any(s["name"] == name for s in m.get("subjects", ()))
    ]
    return {
        (resource, verb)
        for role in roles
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def reads_of_the_store() -> dict[str, set[str]]:
    """Return what each role of Terraform reads; who has none reads nothing."""
    text = (ROOT / "infra/terraform/iam.tf").read_text("utf-8")
    rows = re.findall(r"^    (\w+) += \{ read = \[(.*?)\], write", text, re.M)
    return {name: set(re.findall(r'"(.+?)"', reads)) for name, reads in rows}


def rows_of(text: str, head: str) -> list[list[str]]:
    """Return the cells of the table with this head."""
    lines = text[text.index(head) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.removesuffix("|")[1:].split("|")] for line in lines]


def held() -> dict[str, str]:
    """Return what the Secret of each process holds, as the page for operators says."""
    page = (KNATIVE / "README.md").read_text("utf-8")
    rows = rows_of(page, "| Secret | holds")
    return {name: what for names, what in rows for name in re.findall(r"`(\w+)`", names)}


def hears_strangers(pod: Pod, manifests: Sequence[Values]) -> bool:
    """May others than those who speak a form send to it?"""
    rules = rules_for("Ingress", pod, manifests)
    if rules is None:
        return True
    peers = [peer for rule in rules for peer in rule["from"]]
    labels = [p.get("namespaceSelector", {}).get("matchLabels", {}) for p in peers]
    return not {found.get("kubernetes.io/metadata.name") for found in labels} <= BY_FORM


def powers(name: str, manifests: Sequence[Values] = MANIFESTS) -> set[str]:
    """Return which of the three a process has. What is not known to be harmless counts."""
    pod, may = processes(manifests)[name], granted(name, manifests)
    reads = {resource for resource, verb in may if verb in LOOKS} - {"jobs"}
    store, secret = reads_of_the_store().get(name, set()), held().get(name, "nothing")
    inbound = secret == "nothing" or re.match(r"`FAULTLINE_(WEBHOOK|CONSOLE)_", secret)
    found = set()
    if reads or "payloads/*" in store or hears_strangers(pod, manifests):
        found.add(TEXT)
    if reads & UNREDACTED or store & {"payloads/*", "parked/*"} or secret != "nothing":
        found.add(SECRETS)
    changes = {(r, verb) for r, verb in may if verb not in LOOKS} - QUESTIONS
    if changes or not (inbound or "may read, and nothing else" in secret):
        found.add(ACTS)
    if pod.namespace == AGENTS and any(  # a stranger's program: no code of ours picks the address
        allowed("Egress", pod, to, port, manifests) for to in OUTSIDE for port in PORTS
    ):
        found.add(ACTS)
    return found


def told() -> dict[str, list[str]]:
    page = (ROOT / "docs/security.md").read_text("utf-8")
    return {row[0]: row[1:] for row in rows_of(page, "| process | reads untrusted text")}


@pytest.mark.covers("INJ-09")
def test_no_process_has_more_than_two_of_the_three() -> None:
    found = {name: powers(name) for name in processes(MANIFESTS)}

    assert len(found) == 11
    assert {name for name, has in found.items() if len(has) > 2} == set()


@pytest.mark.covers("INJ-09")
def test_the_table_for_people_says_what_the_manifests_say() -> None:
    shown = {
        name: {power for power, cell in zip((TEXT, SECRETS, ACTS), cells, strict=True) if cell}
        for name, cells in told().items()
    }

    assert shown == {name: powers(name) for name in processes(MANIFESTS)}


def test_every_process_that_is_given_a_secret_is_on_the_page_for_operators() -> None:
    given = {
        source["secretRef"]["name"]
        for m in MANIFESTS
        for container in _containers(m)
        for source in container["envFrom"]
        if "secretRef" in source
    }

    assert held().keys() == given


def _containers(manifest: Values) -> list[Values]:
    found: list[Values] = (
        manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    )
    return found


def changed(kind: str, name: str, **spec: Any) -> list[Values]:
    """Return the manifests with one of them changed."""
    made = copy.deepcopy(MANIFESTS)
    [it] = [m for m in made if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    it.get("spec", it).update(spec)
    return made


ANYWHERE = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}
PATCH = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}
LOGS = {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}


@pytest.mark.parametrize(
    ("process", "manifests"),
    [
        ("agent", changed("NetworkPolicy", "to-gateway", egress=[ANYWHERE])),
        ("agent", changed("ClusterRole", "faultline-read", rules=[LOGS, PATCH])),
        ("context", changed("ClusterRole", "faultline-delivery", rules=[PATCH])),
        ("bridge", changed("ClusterRole", "faultline-watch", rules=[LOGS, PATCH])),
        ("gateway", changed("ClusterRole", "faultline-gateway", rules=[LOGS])),
        (
            "package",
            changed("NetworkPolicy", "web-from-ingress", podSelector={}),
        ),
    ],
)
def test_a_third_power_is_seen_wherever_it_comes_from(
    process: str, manifests: list[Values]
) -> None:
    assert len(powers(process)) == 2
    assert powers(process, manifests) == {TEXT, SECRETS, ACTS}


def test_the_one_exception_is_an_option_and_the_page_names_it() -> None:
    chosen = [*MANIFESTS, *manifests_of("events/rbac.yaml")]
    over = {name for name in processes(chosen) if len(powers(name, chosen)) > 2}
    page = (ROOT / "docs/security.md").read_text("utf-8")

    assert over == {"context"}
    assert "`kubernetes_events` gives `context` the third" in page
