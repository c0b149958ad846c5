"""What delivers a workload and could not: Argo CD Applications, Flux Kustomizations and releases.

Only where it says of exactly this object that it could not be applied is that a cause; a health of
"Degraded" is what the workload itself shows better. Argo CD: `status.operationState.syncResult`,
`status.conditions`, `status.resources`. Flux: the condition Ready of kustomize-, helm- and
source-controller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.conditions import says
from faultline.diagnosis.documents import at, text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.wording import HINT, LIKELY, PROVED, finding, one_line, restore
from faultline.model import Certainty, Evidence, Finding

_HINT = "conditions.gitops-not-ready"
_LABEL = {
    "Kustomization": 'metadata.labels["kustomize.toolkit.fluxcd.io/name"]',
    "HelmRelease": 'metadata.labels["helm.toolkit.fluxcd.io/name"]',
}
_BY_ARGO = (
    'metadata.labels["argocd.argoproj.io/instance"]',
    'metadata.labels["app.kubernetes.io/instance"]',
)
_TRACKED = 'metadata.annotations["argocd.argoproj.io/tracking-id"]'
_REFUSED = re.compile(
    r"dry-run failed|apply failed|cannot patch|is invalid|immutable|denied|forbid"
)
_UNREADABLE = {"BuildFailed", "ArtifactFailed", "InstallFailed", "UpgradeFailed"}
_ARGO = ("ComparisonError", "InvalidSpecError", "SyncError")


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say what could not be delivered, and to which workload."""
    for application in facts.of("Application"):
        yield from _argo(facts, application)
    delivering = set()
    for kind in _LABEL:
        for object in facts.of(kind):
            own = [w for w in facts.workloads if text(w.object.get(_LABEL[kind])) == object.name]
            delivering |= {text(object.get("spec.sourceRef.name"))} if own else set()
            if object.state("Ready")[0] == "False":
                yield from _flux(object, own)
    for source in facts.of("GitRepository"):
        if source.state("Ready")[0] == "False":
            yield from _source(facts, source, own=source.name in delivering)


def _not_applied(
    object: Object, workload: Workload, reason: str, evidence: Iterable[Evidence | None]
) -> Finding:
    revision = text(object.get("status.lastAttemptedRevision")) or text(
        object.get("status.operationState.syncResult.revision")
    )
    of = f" of revision {one_line(revision, 60)}" if revision else ""
    return finding(
        "gitops.not-applied",
        PROVED if workload.well else HINT,
        f"{object.kind} {object.name} could not apply {workload.object.name}",
        f"{object} could not apply {workload}{of}: {one_line(reason, 60)}. What runs is older.",
        evidence,
        rules_out=("conditions",),
        actions=[restore("Put right in Git what was refused.", f"{object} is in sync.")],
    )


def _argo(facts: Facts, application: Object) -> Iterator[Finding]:
    # proved because: the operation failed, it says of exactly this object that it was refused, and
    # the object's pods have nothing else.
    results = "status.operationState.syncResult.resources"
    failed = text(application.get("status.operationState.phase")) in ("Failed", "Error")
    failed = failed and text(application.get("status.sync.status")) != "Synced"
    for i, result in enumerate(application.items(results) if failed else ()):
        for workload in facts.workloads:
            if result.get("status") == "SyncFailed" and _is(result, workload):
                cited = [application.cite(f"{results}[{i}].message"),
                         application.cite("status.operationState.phase")]  # fmt: skip
                yield _not_applied(application, workload, "SyncFailed", cited)
                return
    own = [w for w in facts.workloads if _delivers(application, w)]
    for condition in _ARGO:
        path = f"status.conditions[type={condition}].message"
        if application.get(path):
            yield _behind(application, condition, application.cite(path), own)
            return
    yield from _degraded(application)


def _is(resource: object, workload: Workload) -> bool:
    own = workload.object
    said = (text(at(resource, "kind")), text(at(resource, "name")), text(at(resource, "namespace")))
    return said == (own.kind, own.name, own.namespace)


def _delivers(application: Object, workload: Workload) -> bool:
    own = workload.object
    tracked = text(own.get(_TRACKED)).split(":", 1)[0]
    named = {tracked, *(text(own.get(path)) for path in _BY_ARGO)}
    listed = any(_is(r, workload) for r in application.items("status.resources"))
    return listed or application.name in named


def _behind(object: Object, reason: str, cited: Evidence | None, own: list[Workload]) -> Finding:
    """The deliverer cannot read or make what it should apply."""
    certainty = LIKELY if own and all(w.well for w in own) else HINT
    of = f" of {own[0]}" if own else ""
    return finding(
        "gitops.cannot-deliver",
        certainty,
        f"{object.kind} {object.name} cannot deliver: {one_line(reason, 60)}",
        f"{object} cannot deliver the newest state{of}: {one_line(reason, 60)}.",
        [cited, object.cite("status.lastAttemptedRevision")],
        actions=[restore("Put right what its message says.", f"{object} is Ready.")],
    )


def _degraded(application: Object) -> Iterator[Finding]:
    """Name the resource that is not well, where the Application does."""
    health = text(application.get("status.health.status"))
    if health not in ("Degraded", "Missing"):
        return
    rows = list(enumerate(application.items("status.resources")))
    ill = [(i, r) for i, r in rows if text(at(r, "health.status")) in ("Degraded", "Missing")]
    names = [one_line(f"{r.get('kind')} {r.get('name')}", 80) for _, r in ill]
    yield finding(
        _HINT,
        HINT,
        f"Application {application.name}: {health}",
        f"{application} is {health}" + (f": {', '.join(names[:3])}." if names else "."),
        [
            application.cite("status.health.status"),
            *(application.cite(f"status.resources[{i}].health") for i, _ in ill[:3]),
        ],
    )


def _flux(object: Object, own: list[Workload]) -> Iterator[Finding]:
    # proved because: the controller says of exactly this object that it was refused, the object
    # carries the controller's label, and its pods have nothing else.
    _, reason, message = object.state("Ready")
    for workload in own:
        if _REFUSED.search(message) and _names(message, workload):
            cited = [object.cite_state("Ready"), workload.object.cite(_LABEL[object.kind])]
            yield _not_applied(object, workload, reason, cited)
            return
    if own and reason in _UNREADABLE:
        yield _behind(object, reason, object.cite_state("Ready"), own)
    else:
        yield from says(object, "Ready", "False", _HINT)


def _names(message: str, workload: Workload) -> bool:
    """Flux writes Deployment/shop/api; Helm writes "api" with kind Deployment."""
    own = workload.object
    ways = (
        f"{own.kind}/{own.namespace}/{own.name} ",
        f'"{own.name}" with kind {own.kind}',
        f'{own.kind}.apps "{own.name}" is invalid',
    )
    return any(way in message for way in ways)


def _source(facts: Facts, source: Object, *, own: bool) -> Iterator[Finding]:
    if not own:
        yield from says(source, "Ready", "False", _HINT)
        return
    certainty: Certainty = LIKELY if all(w.well for w in facts.workloads) else HINT
    reason = source.state("Ready")[1]
    yield finding(
        "gitops.source-failed",
        certainty,
        f"GitRepository {source.name} cannot be read: {one_line(reason, 60)}",
        f"{source} cannot be read ({one_line(reason, 60)}), so nothing newer is delivered.",
        [source.cite_state("Ready"), source.cite("spec.url")],
        actions=[restore("Renew the access, or put the address right.", f"{source} is Ready.")],
    )
