"""Names that cannot be resolved because of how the pod asks, or because nobody answers.

Names that exist nowhere are `names.py`; DNS that a network policy blocks is `network_policy.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.attempts import LOOKUP_UNANSWERED
from faultline.diagnosis.documents import items, listed, text
from faultline.diagnosis.facts import Facts, Object, Part, Was
from faultline.diagnosis.names import UNKNOWN
from faultline.diagnosis.peers import Peer, dns, service_of, shown
from faultline.diagnosis.wording import (
    LIKELY,
    PROVED,
    becomes_ready,
    finding,
    one_line,
    proved_if,
    restore,
)
from faultline.model import Change, Evidence, Finding

_SERVER = re.compile(r" on (?P<server>[\d.]{7,15}):53: no such host")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why a name of the cluster cannot be resolved, one finding for each container."""
    for part in facts.parts:
        if not part.fresh:
            continue
        if logged := part.logs(UNKNOWN):
            host = next((g for g in logged[0].groups() if g), "")
            service = service_of(facts, part.workload.object.namespace, host)
            if service and not _is_address(host):
                found = list(_settings(facts, part, host, service, logged[1]))
                yield from found or [_exists(part, host, service, logged[1])]
        if unanswered := part.logs(LOOKUP_UNANSWERED):
            yield from _nobody(facts, part, unanswered[1])


def _is_address(host: str) -> bool:
    return host.replace(".", "").isdigit()


def _settings(
    facts: Facts, part: Part, host: str, service: Object, said: Evidence
) -> Iterator[Finding]:
    policy = text(part.workload.get("spec.dnsPolicy")) or "ClusterFirst"
    if policy == "Default" or (
        policy == "ClusterFirst" and part.workload.get("spec.hostNetwork") is True
    ):
        yield _not_the_clusters(part, host, service, said, policy)
    elif policy == "None":
        yield from _own_settings(facts, part, host, service, said)
    else:
        yield from _dots(part, host, service, said)


def _not_the_clusters(
    part: Part, host: str, service: Object, said: Evidence, policy: str
) -> Finding:
    # proved because: the program cannot resolve the name of a Service that exists, and its pods ask
    # the node's resolver: by their policy, or because with hostNetwork ClusterFirst means that.
    workload, field = part.workload, "spec.dnsPolicy"
    was = workload.was(field)
    network = workload.get("spec.hostNetwork") is True
    better = "ClusterFirstWithHostNet" if network else "ClusterFirst"
    why = "share the node's network with" if network else "have"
    return finding(
        "dns.policy",
        PROVED,
        f"{part.name} asks the node's DNS for a name of the cluster",
        f"{part} cannot resolve {host}, the name of {shown(service, workload)}: its pods {why} "
        f"dnsPolicy {policy}, so they ask the node's resolver, which does not know them.",
        [
            said,
            workload.cite(field),
            workload.cite("spec.hostNetwork"),
            was.evidence if was else None,
            service.cite("metadata.name"),
        ],
        rules_out=("probes", "crash_loop.exit", "names"),
        actions=[restore(f"Set dnsPolicy to {better}.", becomes_ready(workload))],
        changes=[workload.change(field, better, "asks the cluster's DNS first")],
    )


def _own_settings(
    facts: Facts, part: Part, host: str, service: Object, said: Evidence
) -> Iterator[Finding]:
    """With dnsPolicy None only dnsConfig counts."""
    workload = part.workload
    servers = [text(s) for s in listed(workload.get("spec.dnsConfig.nameservers"))]
    clusters = {text(p.service.get("spec.clusterIP")) for p in dns(facts)} - {"", "None"}
    asked = _SERVER.search(said.quote)
    field = "spec.dnsConfig.nameservers"
    if servers and clusters and not clusters & set(servers):
        # proved because: the program cannot resolve a Service that exists, the object gives the
        # servers that it asks (the log names one of them), and none is the cluster's.
        sure = asked is not None and asked["server"] in servers
        words = f"its pods ask {one_line(', '.join(servers), 80)}, not the cluster's DNS"
        after = sorted(clusters)[0] if len(servers) == 1 and len(clusters) == 1 else ""
        change = _server(part, after) if after and sure else ()
        beside = next((p.service.cite("spec.clusterIP") for p in dns(facts)), None)
        yield _finding(part, "nameserver", host, service, words, sure, said, field, beside, change)
        return
    searches = [text(s) for s in listed(workload.get("spec.dnsConfig.searches"))]
    own = f"{service.namespace}.svc"
    if "." not in host and not any(s.startswith(own) for s in searches):
        # proved because: the name is short, and the object's search list, the only one with this
        # policy, does not have the namespace in which the Service is.
        words = f"with dnsPolicy None short names need {own}.… among the searches"
        field = "spec.dnsConfig.searches" if searches else "spec.dnsConfig"
        yield _finding(part, "search", host, service, words, True, said, field, None, ())


def _exists(part: Part, host: str, service: Object, said: Evidence) -> Finding:
    return finding(
        "dns.exists",
        LIKELY,
        f"{part.name} cannot resolve {host}, which exists",
        f"{part} could not resolve {host}, but there is {shown(service, part.workload)}: it may be "
        "newer than the attempt, or the resolver does not know it.",
        [said, service.cite("metadata.creationTimestamp") or service.cite("metadata.name")],
    )


def _server(part: Part, after: str) -> tuple[Change, ...]:
    field = "spec.dnsConfig.nameservers[0]"
    return (part.workload.change(field, after, "the address of the cluster's DNS"),)


def _finding(
    part: Part,
    name: str,
    host: str,
    service: Object,
    words: str,
    sure: bool,
    said: Evidence,
    field: str,
    beside: Evidence | None,
    changes: Iterable[Change],
) -> Finding:
    workload, was = part.workload, part.workload.was(field)
    return finding(
        f"dns.{name}",
        proved_if(sure),
        f"{part.name} cannot resolve {host}, which exists",
        f"{part} cannot resolve {host}, the name of {shown(service, workload)}: {words}."
        + _before(was),
        [
            said,
            workload.cite(field),
            workload.cite("spec.dnsPolicy"),
            was.evidence if was else None,
            service.cite("metadata.name"),
            beside,
        ],
        rules_out=("probes", "crash_loop.exit", "names"),
        actions=[restore(f"Correct {field}.", becomes_ready(workload))],
        changes=changes,
    )


def _before(was: Was | None) -> str:
    return f" Revision {was.revision} had other settings." if was else ""


def _dots(part: Part, host: str, service: Object, said: Evidence) -> Iterator[Finding]:
    """Few ndots keep some resolvers (musl's) from trying the search list; others try it anyway."""
    options = items(part.workload.get("spec.dnsConfig.options"))
    found = next((o for o in options if o.get("name") == "ndots"), None)
    digits = text(found.get("value")) if found else ""
    if (
        digits.isdigit()
        and len(digits) < 3
        and int(digits) <= host.count(".")
        and ".local" not in host
    ):
        field = "spec.dnsConfig.options"
        words = f"with ndots {digits} a resolver may take the name for a whole one"
        yield _finding(part, "ndots", host, service, words, False, said, field, None, ())


def _nobody(facts: Facts, part: Part, said: Evidence) -> Iterator[Finding]:
    for peer in dns(facts):
        if peer.pods and not peer.ready:
            yield _not_ready(part, peer, said)


def _not_ready(part: Part, peer: Peer, said: Evidence) -> Finding:
    """Likely only: why the pods of the DNS are not ready is the cause, and it is not here."""
    service = shown(peer.service, part.workload)
    return finding(
        "dns.not-ready",
        LIKELY,
        "The cluster's DNS has no ready pod",
        f"{part} gets no answer from the cluster's DNS; none of the {len(peer.pods)} pods of "
        f"{service} is ready.",
        [said, peer.pods[0].cite("status.containerStatuses"), peer.service.cite("spec.selector")],
        rules_out=("probes", "crash_loop.exit"),
        actions=[restore(f"Make the pods of {service} ready.", "Names resolve again.")],
    )
