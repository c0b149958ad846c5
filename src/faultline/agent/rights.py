"""What may our own account do? Asked before an agent starts: with more than reading, it does not.

The API server tells by two reviews, which store nothing: the rules of a namespace
(SelfSubjectRulesReview), and one right after the other, cluster-wide (SelfSubjectAccessReview), for
an authorizer may not be able to list what it grants. Reading is not harmless by its verb:
`nodes/proxy`, `exec` and their like run commands, so rights are allowed by name, not refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultline.adapters.apiserver import Review, review
from faultline.adapters.runners.job import TOKEN_PATH
from faultline.errors import Rejected, Unavailable
from faultline.model import Run

Object = dict[str, Any]

CLUSTER = ("KUBERNETES_SERVICE_HOST", "KUBECONFIG")  # where one is named, there is one to ask
_NAMESPACE = Path(TOKEN_PATH, "namespace")
_READ = frozenset(("get", "list", "watch"))
_REVIEWS = ("authorization.k8s.io", "authentication.k8s.io")
_LOG = "pods/log"
_SUBRESOURCES = frozenset((_LOG, "deployments/scale", "replicasets/scale", "statefulsets/scale"))
_PATHS = ("/api", "/apis", "/healthz", "/livez", "/readyz", "/openapi", "/version", "/.well-known")

# verb, group, resource and sub-resource: each of these makes more than a reader of an account
FORBIDDEN: tuple[tuple[str, str, str, str], ...] = (
    ("get", "", "secrets", ""),
    ("list", "", "secrets", ""),
    ("watch", "", "secrets", ""),
    ("create", "", "pods", ""),
    ("get", "", "pods", "exec"),
    ("create", "", "pods", "exec"),
    ("create", "", "pods", "attach"),
    ("create", "", "pods", "portforward"),
    ("get", "", "pods", "proxy"),
    ("get", "", "services", "proxy"),
    ("get", "", "nodes", "proxy"),
    ("update", "", "pods", "ephemeralcontainers"),
    ("create", "", "serviceaccounts", "token"),
    ("impersonate", "", "users", ""),
    ("impersonate", "", "serviceaccounts", ""),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("bind", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("patch", "apps", "deployments", ""),
    ("delete", "", "pods", ""),
)


def check_ours(run: Run, environment: Mapping[str, str], post: Review | None = None) -> None:
    """Check the account that an engine of this run could use; where there is no cluster, nothing.

    Raises Rejected for too many rights, and if nobody can say which they are.
    """
    if not any(environment.get(name) for name in CLUSTER):
        return
    try:
        check(post or review(), {run.namespace, _our_namespace()})
    except Unavailable as error:
        raise Rejected(f"no agent starts before its rights are known: {error}") from None


def _our_namespace() -> str:
    """Return the namespace of the pod that we are in; "" outside of one."""
    try:
        return _NAMESPACE.read_text("utf-8").strip()
    except OSError:
        return ""


def check(post: Review, namespaces: Iterable[str]) -> None:
    """Raise Rejected, naming it, if our account has a right that a reader has no use for.

    Raises Unavailable if the API server does not tell.
    """
    for namespace in sorted(set(filter(None, namespaces))):
        answer = post("SelfSubjectRulesReview", {"namespace": namespace})
        for excess in excesses(answer.get("status") or {}):
            raise Rejected(_words(excess))
    for verb, group, resource, sub in FORBIDDEN:
        asked = {"verb": verb, "group": group, "resource": resource, "subresource": sub}
        answer = post("SelfSubjectAccessReview", {"resourceAttributes": asked})
        if (answer.get("status") or {}).get("allowed") is not False:
            raise Rejected(_words(f"{verb} {'/'.join(filter(None, (resource, sub)))}"))


def _words(excess: str) -> str:
    return (
        f"this account may {excess}, and an agent only reads: give it the ClusterRole "
        "faultline-read (infra/knative/agent-rbac.yaml) and no other, or an engine that asks no "
        "cluster, such as loop-capsule"
    )


def excesses(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rights in the answer to a rules review that are more than reading."""
    for rule in status.get("resourceRules") or ():
        yield from _excess(rule)
    for rule in status.get("nonResourceRules") or ():
        for path in rule.get("nonResourceURLs") or ():
            reads = {v.lower() for v in rule.get("verbs") or ()} <= {"get", "head"}
            if not reads or (not path.startswith(_PATHS) and path != "/"):
                yield f"{'/'.join(rule.get('verbs') or ())} {path}"


def _excess(rule: Object) -> Iterator[str]:
    verbs, groups = _lower(rule.get("verbs")), _lower(rule.get("apiGroups"))
    resources = _lower(rule.get("resources"))
    if (
        groups
        and set(groups) <= set(_REVIEWS)
        and all(r.startswith("selfsubject") for r in resources)
    ):
        return  # what every account may: ask for its own rights
    if "*" in groups:
        yield f"{verbs[0] if verbs else 'do'} things of every API group"
    for verb in verbs:
        for resource in resources:
            if not (verb in _READ and _readable(resource)):
                yield f"{verb} {resource}"


def _readable(resource: str) -> bool:
    kind, _, sub = resource.partition("/")
    if "*" in resource or kind == "secrets":
        return False
    return not sub or sub == "status" or resource in _SUBRESOURCES


def _lower(found: Sequence[str] | None) -> list[str]:
    return [str(item).lower() for item in found or ()]
