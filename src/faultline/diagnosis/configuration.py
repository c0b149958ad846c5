"""ConfigMaps, Secrets and their keys that a workload refers to and that are not there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.certificates import issuing
from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Facts, Workload
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.references import beside, references, there
from faultline.diagnosis.wording import PROVED, becomes_ready, finding, one_line, restore
from faultline.model import Evidence, Finding

_MISSING = re.compile(
    r"""(?P<k1>configmap|secret)\ "(?P<n1>[^"\s]+)"\ not\ found
    |couldn't\ find\ key\ (?P<key1>\S+)\ in\ (?P<k2>ConfigMap|Secret)\ [^/\s]+/(?P<n2>[^\s"]+)
    |references\ non-existent\ (?P<k3>config|secret)\ key:\ (?P<key2>\S+)""",
    re.VERBOSE,
)
_KIND = {"configmap": "ConfigMap", "config": "ConfigMap", "secret": "Secret"}


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which ConfigMap, Secret or key is missing: one finding for each."""
    for workload in facts.workloads:
        done = set()
        for message, cited in _messages(workload):
            for match in _MISSING.finditer(message):
                kind = _KIND[(match["k1"] or match["k2"] or match["k3"]).lower()]
                name, key = match["n1"] or match["n2"] or "", match["key1"] or match["key2"] or ""
                if (kind, name, key) not in done:
                    done.add((kind, name, key))
                    yield from _finding(workload, kind, name, key, cited)


def _messages(workload: Workload) -> Iterator[tuple[str, Evidence | None]]:
    for part in workload.parts:
        for waiting in part.waiting:
            if waiting.reason == "CreateContainerConfigError":
                yield waiting.message, waiting.cite("message")
    creating = {"ContainerCreating", "PodInitializing"}
    if any(w.reason in creating for part in workload.parts for w in part.waiting):
        for happening in workload.happenings("FailedMount"):
            yield happening.message, happening.cite()


def _finding(
    workload: Workload, kind: str, name: str, key: str, cited: Evidence | None
) -> Iterator[Finding]:
    # proved because: the kubelet says that the name or key does not exist, and the template refers
    # to it at these places.
    found = (r for r in references(workload) if r.kind == kind and name in ("", r.name))
    places = [r for r in found if key in ("", r.key)]
    if not places:
        return
    name = name or places[0].name
    if kind == "Secret" and not key and issuing(workload, name):
        return  # it is made by a Certificate that is not ready: certificates.py
    known = there(workload.facts, kind, name, key)
    if (key or name) in known:
        return  # it has been made since; the kubelet's message is old
    paths = list(dict.fromkeys(r.key_path if key else r.name_path for r in places))
    back = _back(workload, paths, known) or _back(workload, [r.name_path for r in places], set())
    near = nearest(key or name, known)
    changes = back or [(p, near, "the name that exists", None) for p in paths if near]
    what = f"{'key ' + one_line(key) + ' in ' if key else ''}{kind} {one_line(name)}"
    tail = f" It was {one_line(back[0][1])}, {back[0][2]}." if back else ""
    tail += f" There is {one_line(near)}, one or two letters away." if near else ""
    step = f"Refer to {one_line(changes[0][1])}." if changes else f"Create {what}."
    yield finding(
        "configuration.key-missing" if key else "configuration.object-missing",
        PROVED,
        f"{workload.object.name} refers to a missing {what}",
        f"{workload} cannot start its containers: there is no {what}.{tail}",
        [
            cited,
            *map(workload.cite, paths),
            *(c[3] for c in changes),
            beside(workload, kind, name, key, near),
        ],
        rules_out=("probes", "crash_loop.exit"),
        actions=[restore(step, becomes_ready(workload))],
        changes=[workload.change(path, value, why) for path, value, why, _ in changes],
    )


def _back(
    workload: Workload, paths: list[str], known: set[str]
) -> list[tuple[str, str, str, Evidence | None]]:
    """What the revision before referred to, where that is not known to be gone too."""
    was = [(p, w) for p in dict.fromkeys(paths) if (w := workload.was(p)) and text(w.value)]
    return [
        (p, text(w.value), f"as revision {w.revision} has it", w.evidence)
        for p, w in was
        if not known or w.value in known
    ]
