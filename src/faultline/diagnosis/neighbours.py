"""Places by other pods and by zones: pod affinity to labels nobody has, spreading over too few.

What the scheduler counts is all nodes of the cluster; a rule that keeps all of them away is one
that nothing but its own values can explain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.crowding import REQUIRED
from faultline.diagnosis.documents import child, item, items, mapping, number, text
from faultline.diagnosis.facts import Workload
from faultline.diagnosis.inventory import within
from faultline.diagnosis.node_labels import labels_of, values_of
from faultline.diagnosis.node_size import knows_all_nodes
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.records import Happening
from faultline.diagnosis.wording import becomes_ready, finding, one_line, proved_if, restore
from faultline.model import Finding

AFFINITY = f"spec.affinity.podAffinity.{REQUIRED}"
SPREAD = "spec.topologySpreadConstraints"
_ALL_BY_AFFINITY = re.compile(r"0/(\d{1,6}) nodes are available: \1 node\(s\) didn't match pod aff")


def pod_affinity(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler says of every node that no pod there matches, and the label is
    # an edit or two from one that pods have, or the rollout changed it.
    if "match pod affinity rules" not in said.message:
        return
    pods = within(workload.facts, "Pod", workload.object.namespace)
    for i, term in enumerate(items(workload.get(AFFINITY))):
        wanted = mapping(mapping(term.get("labelSelector")).get("matchLabels"))
        for key, value in sorted(wanted.items()):
            there = values_of(key, pods)
            if text(value) in there:
                continue
            here = not (term.get("namespaces") or term.get("namespaceSelector"))
            field = child(f"{AFFINITY}[{i}].labelSelector.matchLabels", key)
            was = w if (w := workload.was(field)) and text(w.value) else None
            better = text(was.value) if was else nearest(text(value), there) if here else ""
            beside = next((p for p in pods if labels_of(p).get(key) == better), None)
            yield finding(
                "scheduling.pod-affinity",
                proved_if(better and _ALL_BY_AFFINITY.search(said.message)),
                f"No pod has {one_line(key)}={one_line(value)}, which it must stand beside",
                f"{workload} must stand beside pods with {one_line(key)}={one_line(value)}, and no "
                "node has one." + (f" There is {one_line(better)}." if better else ""),
                [
                    said.cite(),
                    workload.cite(field),
                    was.evidence if was else None,
                    beside.cite(child("metadata.labels", key)) if beside and better else None,
                ],
                actions=[
                    restore(f"Ask for {better or 'a label pods have'}.", becomes_ready(workload))
                ],
                changes=[workload.change(field, better, "a label that pods have")]
                if better
                else (),
            )
            return


def spread(workload: Workload, said: Happening) -> Iterator[Finding]:
    # proved because: the scheduler says that spreading is in the way, and of all nodes none has the
    # label to spread over, or they have fewer values than the rule wants at least.
    if "topology spread constraints" not in said.message:
        return
    nodes = workload.facts.of("Node")
    for rule in items(workload.get(SPREAD)):
        key = text(rule.get("topologyKey"))
        if text(rule.get("whenUnsatisfiable")) not in ("", "DoNotSchedule") or not nodes:
            continue
        field, zones = item(SPREAD, "topologyKey", key), values_of(key, nodes)
        least = number(rule.get("minDomains"))
        near = nearest(key, {k for n in nodes for k in labels_of(n)}) if not zones else ""
        # with fewer zones than the rule wants, each may hold only as many pods as maxSkew says
        held = len(zones) * (number(rule.get("maxSkew")) or 1)
        wanted = number(workload.object.get("spec.replicas")) or 1
        short = 0 < len(zones) < least and wanted > held
        few = f"{len(zones)} of the {least} zones" if short else ""
        guilty = few or not zones
        why = (
            f"and the nodes have {few} that it wants at least"
            if few
            else "and no node has that label"
            if guilty
            else "and every node that is left would make it uneven"
        )
        way = f"Spread over {near}." if near else "Spread over what the nodes have, or prefer it."
        yield finding(
            "scheduling.topology-spread",
            proved_if(guilty and knows_all_nodes(workload, said)),
            f"Pods cannot be spread over {one_line(key)}",
            f"{workload} must be spread over {one_line(key)}, {why}.",
            [said.cite(), workload.cite(f"{field}.{'minDomains' if few else 'topologyKey'}")],
            actions=[restore(way, becomes_ready(workload))],
            changes=[workload.change(f"{field}.topologyKey", near, "a label that nodes have")]
            if near
            else (),
        )
        return
