"""Connections that network policies do not allow: to a Service, to DNS; policies that miss.

What a policy allows is `policies.py`, what it nearly allows `policy_misses.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from faultline.diagnosis.attempts import LOOKUP_UNANSWERED, TIMED_OUT, attempts
from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Facts, Object, Part, Workload
from faultline.diagnosis.inventory import count, knows_all
from faultline.diagnosis.peers import DNS_LABELS, Peer, dns, flows, peer_of, shown
from faultline.diagnosis.policies import EGRESS, INGRESS, OTHERS, Flow, allowed, isolating
from faultline.diagnosis.policy_misses import idle, misses
from faultline.diagnosis.wording import becomes_ready, finding, one_line, proved_if, restore
from faultline.model import Evidence, Finding

_API = ("", "networking.k8s.io/v1")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which connection the policies do not allow, and which policy selects no pod."""
    policies = [p for p in facts.of("NetworkPolicy") if text(p.get("apiVersion")) in _API]
    if policies:
        yield from _denied(facts, policies)
        yield from _dns(facts, policies)
        yield from idle(facts, policies)


def _denied(facts: Facts, policies: list[Object]) -> Iterator[Finding]:
    done = set()
    for part in facts.parts:
        for attempt in attempts(part, TIMED_OUT):
            peer = peer_of(facts, attempt)
            key = (str(part.workload), str(peer.service), attempt.port) if peer else None
            if peer is None or key in done or peer.index < 0:
                continue
            done.add(key)
            found = flows(facts, part.workload, peer)
            what = f"{shown(peer.service, part.workload)} at port {attempt.port}"
            yield from _refused(
                facts, part, policies, found, (what, "denied"), attempt.evidence, peer
            )


def _dns(facts: Facts, policies: list[Object]) -> Iterator[Finding]:
    for part in facts.parts:
        if logged := part.logs(LOOKUP_UNANSWERED):
            for peer in dns(facts):
                found = flows(facts, part.workload, peer, "UDP")
                what = f"the cluster's DNS, {shown(peer.service, part.workload)} at UDP port 53"
                yield from _refused(
                    facts, part, policies, found, (what, "dns-blocked"), logged[1], peer
                )


def _refused(
    facts: Facts,
    part: Part,
    policies: list[Object],
    found: list[Flow],
    what: tuple[str, str],
    said: Evidence,
    peer: Peer,
) -> Iterator[Finding]:
    # proved because: the program timed out while connecting to exactly this Service and port, all
    # of its pods are ready, and no rule of any policy that isolates one end lets the connection
    # pass; every policy of both namespaces is known, and there is none of another kind that could.
    for direction in (EGRESS, INGRESS):
        if not found or any(allowed(policies, f, direction) is not False for f in found):
            continue
        blaming = isolating(policies, found[0], direction)
        sure = _knows_policies(facts, found[0]) and len(peer.ready) == len(peer.pods) == len(found)
        sure = sure and part.fresh and not _node_local(facts, what[1])
        yield _finding(part, what, said, peer, direction, blaming, found[0], sure, policies)
        return


def _finding(
    part: Part,
    what: tuple[str, str],
    said: Evidence,
    peer: Peer,
    direction: str,
    blaming: list[Object],
    flow: Flow,
    sure: bool,
    policies: list[Object],
) -> Finding:
    whose = f"the pods of {part.workload}" if direction == EGRESS else "the pods of that Service"
    names = ", ".join(one_line(p.name, 60) for p in blaming[:3])
    nearly = misses(policies, flow, direction)
    tail = f" {nearly[0].words}" if nearly else ""
    to = "to" if direction == EGRESS else "from"
    port = f"{flow.protocol} port {flow.port}"
    advice = nearly[0].advice if nearly else f"Allow {direction.lower()} {to} these pods at {port}."
    return finding(
        f"network_policy.{what[1]}",
        proved_if(sure),
        f"A network policy keeps {part.name} from {what[0]}",
        f"{part} gets no answer from {what[0]}. The network policies for {whose} ({names}) have no "
        f"rule that allows it: {direction.lower()}, {port}.{tail}",
        [
            said,
            *(p.cite("spec") for p in blaming[:3]),
            *(m.evidence for m in nearly[:1]),
            peer.service.cite("spec.ports"),
            _labels(part.workload),
        ],
        rules_out=("probes", "crash_loop.exit", "names", "services"),
        actions=[restore(advice, becomes_ready(part.workload))],
    )


def _labels(workload: Workload) -> Evidence | None:
    pods = (p.cite("metadata.labels") for p in workload.pods)
    return workload.cite("metadata.labels") or next((e for e in pods if e), None)


def _knows_policies(facts: Facts, flow: Flow) -> bool:
    """All NetworkPolicies of both ends are in the capsule, and there are none of another kind."""
    spaces = {flow.source.namespace, flow.target.namespace}
    others = (count(facts, kind, space) for kind in OTHERS for space in _asked(kind, spaces))
    return all(knows_all(facts, "NetworkPolicy", s) for s in spaces) and all(n == 0 for n in others)


def _asked(kind: str, spaces: set[str]) -> Iterable[str]:
    """Kinds without namespaces are counted once."""
    return spaces if kind in ("CiliumNetworkPolicy", "CalicoNetworkPolicy") else ("",)


def _node_local(facts: Facts, name: str) -> bool:
    """A DNS cache on each node is reached past the policies, or not, as the plugin likes."""
    labels = (text(p.get("metadata.labels.k8s-app")) for p in facts.of("Pod"))
    return name == "dns-blocked" and DNS_LABELS[1] in labels
