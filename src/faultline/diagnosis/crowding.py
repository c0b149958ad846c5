"""More pods than places: anti-affinity, host ports, nodes that may hold no more pods.

A rule that lets one pod stand in one place needs as many places as pods. A rollout that first adds
a pod and may take none away needs one place more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.documents import item, items, mapping, number, text
from faultline.diagnosis.facts import Workload
from faultline.diagnosis.node_labels import labels_of, selected, values_of
from faultline.diagnosis.node_size import knows_all_nodes
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import LIKELY, becomes_ready, finding, one_line, proved_if, restore
from faultline.model import Evidence, Finding

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
ANTI = f"spec.affinity.podAntiAffinity.{REQUIRED}"
_OTHER_PODS = ("matchLabelKeys", "mismatchLabelKeys", "namespaces", "namespaceSelector")
_TOO_MANY = re.compile(r"(\d{1,6}) Too many pods")
# nodes that are closed to it for good; a taint of node.kubernetes.io is a node's passing state
_CLOSED = re.compile(
    r"(\d{1,6}) node\(s\) (?:had untolerated taint \{(?!node\.kubernetes\.io)"
    r"|didn't match Pod's node affinity)"
)
_WAY = "Give it more nodes, fewer replicas, or a rule that is preferred and not required."


def anti_affinity(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler says that anti-affinity is in the way, the rule keeps the
    # workload's own pods apart, and all nodes together have fewer places than it needs.
    if "anti-affinity" not in said.message:
        return
    own = {k: text(v) for k, v in mapping(workload.get("metadata.labels")).items()}
    for i, term in enumerate(items(workload.get(ANTI))):
        key = text(term.get("topologyKey"))
        own_only = not any(term.get(k) for k in _OTHER_PODS)
        if not selected(term.get("labelSelector"), own) or not own_only:
            continue
        nodes = workload.facts.of("Node")
        # a node without the label takes any number of pods
        places = values_of(key, nodes) if all(key in labels_of(n) for n in nodes) else set()
        field = f"{ANTI}[{i}].topologyKey"
        yield from _crowded(
            "scheduling.anti-affinity", workload, said, len(places), field,
            f"keeps its pods apart by {one_line(key)}",
        )  # fmt: skip
        return


def host_port(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler says that the port is taken, every pod takes it on its node, and
    # there are fewer nodes than pods.
    if "free ports" not in said.message:
        return
    for part in workload.parts:
        for port in items(part.get("ports")):
            if number(port.get("hostPort")):
                by = "name" if text(port.get("name")) else "hostPort"
                field = item(f"{part.path}.ports", by, text(port.get(by)))
                yield from _crowded(
                    "scheduling.host-port", workload, said, len(workload.facts.of("Node")),
                    f"{field}.hostPort", f"takes port {number(port['hostPort'])} of each node",
                )  # fmt: skip
                return


def _crowded(
    name: str, workload: Workload, said: Happening, places: int, field: str, rule: str
) -> Iterator[Finding]:
    needed, why, cited = _needed(workload)
    closed = 0
    if places == len(workload.facts.of("Node")):
        closed = sum(int(m[1]) for m in _CLOSED.finditer(said.message))
    short = 0 < places - closed < needed
    beside = f", {closed} of them closed to it" if closed else ""
    counted = f"{needed} pods {why}, {places} places{beside}" if short else "all places are taken"
    yield finding(
        name,
        proved_if(short and knows_all_nodes(workload, said)),
        f"No node is left: {workload.object.name} {rule}",
        f"{workload} {rule}, and no node is left: {counted}.",
        [said.cite(), workload.cite(field), cited if short else None],
        actions=[restore(_WAY, becomes_ready(workload))],
    )


def _needed(workload: Workload) -> tuple[int, str, Evidence | None]:
    """Return how many pods must have a place at one time, why, and where that is said."""
    object = workload.object
    replicas = number(object.get("spec.replicas")) or 1
    if object.kind not in ("Deployment", "StatefulSet"):
        return 0, "", None
    bound = object.get("spec.strategy.rollingUpdate.maxUnavailable")
    rolling = text(object.get("spec.strategy.type")) in ("", "RollingUpdate")
    adds_first = object.kind == "Deployment" and rolling and workload.left
    if adds_first and not _may_miss(bound, replicas):
        field = "spec.strategy.rollingUpdate.maxUnavailable"
        cited = object.cite(field) or object.cite("spec.replicas")
        return replicas + 1, "while a rollout may take none away first", cited
    return replicas, "are wanted", object.cite("spec.replicas")


def _may_miss(bound: object, replicas: int) -> int:
    """Return how many pods a rollout may take away first: a number, or a share rounded down."""
    share = re.fullmatch(r"(\d{1,3})%", text(bound) or "25%")
    return replicas * int(share[1]) // 100 if share else number(bound)


def too_many(workload: Workload, said: Happening) -> Iterator[Finding]:
    if not (match := _TOO_MANY.search(said.message)):
        return
    full = [n for n in workload.facts.of("Node") if n.get("status.allocatable.pods") is not None]
    most = f", {one_line(full[0].get('status.allocatable.pods'))} on {full[0].name}" if full else ""
    yield finding(
        "scheduling.too-many-pods",
        LIKELY,
        f"{match[1]} nodes hold as many pods as they may",
        f"{workload} finds no place: {match[1]} nodes hold as many pods as they may{most}.",
        [said.cite(), full[0].cite("status.allocatable.pods") if full else None],
    )
