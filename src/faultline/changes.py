"""The patch policy: which fields may be proposed to change, to what, and by how much.

An allow-list: what is not named is refused, with the name of the rule and the reason. The reasons
in `_NEVER` are only better words for the same answer. `before` is believed here; `proposal.py`
holds it against the files first. Where a field stands is `places.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from typing import NamedTuple

from faultline import fields, variables
from faultline.amounts import amount as amount
from faultline.errors import Rejected
from faultline.fields import Match, Path
from faultline.model import Change, PatchRules

_POD = ("spec", "template", "spec")
POD_SPECS: dict[str, tuple[str, ...]] = {
    "Deployment": _POD,
    "StatefulSet": _POD,
    "DaemonSet": _POD,
    "ReplicaSet": _POD,
    "Job": _POD,
    "CronJob": ("spec", "jobTemplate", *_POD),
    "Pod": ("spec",),
}
_SCALED = ("Deployment", "StatefulSet", "ReplicaSet")

replicas_first_max = 10  # where no number stood before
first_amount_max = {"cpu": Decimal(8), "memory": Decimal(16 * 2**30)}  # where none stood before
seconds_max = 600
threshold_max = 60


class _Context(NamedTuple):
    """What a rule is judged with."""

    change: Change
    path: Path
    rules: PatchRules
    ran: Collection[str]


_Rule = Callable[[_Context], str]  # the reason to refuse; "" for none


def refusals(
    changes: Sequence[Change], rules: PatchRules, *, ran: Collection[str] = ()
) -> list[str]:
    """Return why these changes must not be proposed; empty if they may.

    `ran` are the images that are known to have run in the workload before.
    """
    return [f"{label(c)}: {reason}" for c in changes if (reason := refusal(c, rules, ran=ran))]


def refusal(change: Change, rules: PatchRules, *, ran: Collection[str] = ()) -> str:
    """Return `<rule>: <reason>` if this one change must not be proposed, else ""."""
    try:
        path = fields.parse(change.field)
    except Rejected as error:
        return f"field: {error}"
    return (
        _unlisted(change, path)
        or _general(change)
        or _rule_of(change.target.kind, path)(_Context(change, path, rules, ran))
    )


def label(change: Change) -> str:
    """Name a change in messages: `<kind>/<name> <field>`."""
    return f"{change.target.kind}/{change.target.name} {change.field}"


def pod_path(kind: str, path: Path) -> Path | None:
    """Return the rest of a path that leads into a pod's specification; None if it does not."""
    start = POD_SPECS.get(kind)
    if start is None or path[: len(start)] != start:
        return None
    return path[len(start) :]


# every change


def _general(change: Change) -> str:
    before, after = change.before, change.after
    if after is None or after == "":
        return "removed: nothing is ever removed, and a value is not emptied"
    if isinstance(after, bool) or not isinstance(after, str | int | float):
        return f"value: expected a single text or number, got {after!r:.80}"
    if isinstance(after, float) and not 0 <= after < 1e15:
        return "value: expected an ordinary number"
    if isinstance(after, str) and (len(after) > 500 or not after.isprintable()):
        return "value: expected at most 500 printable characters in one line"
    if isinstance(before, dict | list | bool):
        return "value: expected a single value before, got something larger"
    if type(before) is type(after) and before == after:
        return "unchanged: before and after are the same"
    return ""


_KINDS = {
    "Secret": "secret: a Secret is never changed",
    "ConfigMap": "configuration: the content of a ConfigMap is not ours to change",
    "ServiceAccount": "permissions: service accounts are never changed",
    "NetworkPolicy": "network: network policies are never changed",
    "Ingress": "network: hosts and routes are never changed",
    "Service": "network: services are never changed",
    "PodDisruptionBudget": "budget: of a disruption budget only its number may change",
    "ResourceQuota": "quota: quotas are never changed",
    "LimitRange": "quota: limit ranges are never changed",
    "CustomResourceDefinition": "cluster: definitions of the cluster are never changed",
}
_NEVER = {
    "command": "command: a command is never changed",
    "args": "command: arguments are a command, which is never changed",
    "exec": "command: a command is never changed",
    "lifecycle": "command: hooks are commands, which are never changed",
    "securityContext": "privilege: a security context is never changed",
    "serviceAccountName": "permissions: the service account is never changed",
    "serviceAccount": "permissions: the service account is never changed",
    "automountServiceAccountToken": "permissions: tokens are never mounted by us",
    "hostPath": "host: the node's files are never mounted",
    "hostNetwork": "host: the node's namespaces are never shared",
    "hostPID": "host: the node's namespaces are never shared",
    "hostIPC": "host: the node's namespaces are never shared",
    "hostPort": "host: the node's ports are never taken",
    "host": "network: a probe asks its own pod and nobody else",
    "httpHeaders": "network: headers of probes are never changed",
    "imagePullPolicy": "image: the pull policy is never changed",
    "annotations": "metadata: annotations steer controllers",
    "labels": "metadata: labels decide what belongs together",
    "finalizers": "metadata: finalizers are never changed",
    "ownerReferences": "metadata: owners are never changed",
    "namespace": "metadata: names and namespaces are never changed",
    "name": "metadata: names and namespaces are never changed",
}


def _unlisted(change: Change, path: Path) -> str:
    kind = change.target.kind
    if _rule_of(kind, path) is not _refuse:
        return ""
    if kind in _KINDS:
        return _KINDS[kind]
    if re.search(r"Role|Binding|Webhook|Admission|Certificate", kind):
        return f"permissions: a {kind} is never changed"
    reasons = (_NEVER[step] for step in path if isinstance(step, str) and step in _NEVER)
    unlisted = f"not-listed: {kind} {change.field} is not among the fields that may change"
    return next(reasons, unlisted)


# one rule for each kind of field


def _refuse(context: _Context) -> str:
    return f"not-listed: {context.change.field} is not among the fields that may change"


def _amount(context: _Context) -> str:
    """Requests and limits: at most `factor_max` up, limits no further down either, never to 0."""
    before, after = amount(context.change.before), amount(context.change.after)
    where, resource = str(context.path[-2]), str(context.path[-1])
    if after is None or after <= 0:
        return f"quantity: expected a quantity above zero, got {context.change.after!r:.40}"
    if context.change.before is None:
        most = first_amount_max.get(resource)
        allowed = most is None or after <= most
        return "" if allowed else f"quantity: a first value may be at most {most}, got {after}"
    if before is None or before <= 0:
        return f"quantity: expected a quantity before, got {context.change.before!r:.40}"
    factor = Decimal(str(context.rules.factor_max))
    if after > before * factor:
        return f"factor: raised {_times(after, before)}, allowed is up to {factor:g} times"
    if where == "limits" and after * factor < before:
        return f"factor: a limit lowered {_times(before, after)}, allowed is up to {factor:g} times"
    return ""


def _grown(context: _Context) -> str:
    """The size of a volume: up only."""
    before, after = amount(context.change.before), amount(context.change.after)
    if before is None or after is None or after <= before:
        return "size: a volume can only grow, from the size it has"
    factor = Decimal(str(context.rules.factor_max))
    too_far = after > before * factor
    return (
        f"factor: grown {_times(after, before)}, allowed is up to {factor:g} times"
        if too_far
        else ""
    )


def _replicas(context: _Context) -> str:
    before, after = context.change.before, context.change.after
    if not isinstance(after, int) or after < 1:
        return f"replicas: expected a number of at least 1, got {after!r:.40}"
    if before is None:
        too_many = after > replicas_first_max
        return f"replicas: at most {replicas_first_max} where none stood" if too_many else ""
    if not isinstance(before, int):
        return f"replicas: expected a number before, got {before!r:.40}"
    factor = context.rules.replicas_factor_max
    if after > max(before, 1) * factor:
        return f"factor: replicas from {before} to {after}, allowed is up to {factor:g} times"
    if after * factor < before:
        return f"factor: replicas from {before} down to {after}, allowed is up to {factor:g} times"
    return ""


def _budget(context: _Context) -> str:
    """A disruption budget that keeps every pod: one may go at a time, and one has to stay."""
    before, after = context.change.before, context.change.after
    step = -1 if context.path[-1] == "minAvailable" else 1
    if not isinstance(before, int) or not isinstance(after, int):
        return f"budget: expected numbers, no shares, got {before!r:.20} and {after!r:.20}"
    if after != before + step or after < 1 or (step == 1 and before != 0):
        return "budget: one pod may be missing where none might, and at least one has to stay"
    return ""


def _longer(context: _Context) -> str:
    """How long a Job may run: longer only."""
    before, after = context.change.before, context.change.after
    if not isinstance(before, int) or not isinstance(after, int) or after <= before:
        return f"deadline: a run may only be given more time, got {before!r:.20} to {after!r:.20}"
    factor = context.rules.factor_max
    too_far = after > before * factor
    return f"factor: {before} to {after} seconds, up to {factor:g} times is allowed" * too_far


def _room(context: _Context) -> str:
    """The bound of a volume that lives with the pod, where there is one."""
    if context.change.before is None:
        return "quantity: expected a bound before; none is added"
    return _amount(context)


def _timing(context: _Context) -> str:
    last, after = context.path[-1], context.change.after
    most = seconds_max if str(last).endswith("Seconds") else threshold_max
    least = 0 if last == "initialDelaySeconds" else 1
    if not isinstance(after, int) or not least <= after <= most:
        return f"probe: expected {last} from {least} to {most}, got {after!r:.40}"
    return ""


def _port(context: _Context) -> str:
    after = context.change.after
    if isinstance(after, int):
        return "" if 1 <= after <= 65535 else f"probe: {after} is no port"
    named = isinstance(after, str) and re.fullmatch(r"(?=.*[a-z])[a-z0-9-]{1,15}", after)
    return "" if named else f"probe: expected a port's number or name, got {after!r:.40}"


def _http_path(context: _Context) -> str:
    after = str(context.change.after)
    fits = re.fullmatch(r"/(?!/)[A-Za-z0-9._~/?&=%-]{0,200}", after)
    return "" if fits else f"probe: expected a path such as /healthz, got {after[:40]!r}"


def _scheme(context: _Context) -> str:
    return "" if context.change.after in ("HTTP", "HTTPS") else "probe: expected HTTP or HTTPS"


def _literal(context: _Context) -> str:
    """The value of a variable."""
    item, before, after = context.path[-2], context.change.before, context.change.after
    if not isinstance(item, Match) or item.key != "name":
        return "variable: expected a variable by its name, such as env[name=PORT].value"
    if not isinstance(after, str):
        return f'variable: expected text, such as "8080" in quotes, got {after!r:.40}'
    return variables.refusal(item.value, "" if before is None else str(before), after)


_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")


def _reference(context: _Context) -> str:
    """A name or key of a ConfigMap that is to be read."""
    after = context.change.after
    fits = (_KEY if context.path[-1] == "key" else _NAME).fullmatch(str(after))
    if not isinstance(after, str) or fits is None or ".." in after:
        return f"reference: expected a name, got {after!r:.80}"
    return ""


def _secret_reference(context: _Context) -> str:
    if not context.rules.secret_references:
        return "secret: which Secret a pod reads is changed only where the operator allows it"
    return _reference(context)


def _image(context: _Context) -> str:
    before, after = context.change.before, context.change.after
    if not context.rules.images:
        return "image: an image is changed only where the operator allows it"
    if not isinstance(before, str) or not isinstance(after, str):
        return "image: expected the image before and after"
    if after not in context.ran:
        return f"image: {after[:120]} is not known to have run here before"
    return ""


_PROBE = r"(liveness|readiness|startup)Probe"
_CONTAINER = r"(containers|initContainers)\[\]\."
_POD_RULES: tuple[tuple[re.Pattern[str], _Rule], ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (rf"{_CONTAINER}resources\.(requests|limits)\.(cpu|memory|ephemeral-storage)", _amount),
        (
            rf"{_CONTAINER}{_PROBE}\.((initialDelay|period|timeout)Seconds"
            r"|(failure|success)Threshold)",
            _timing,
        ),
        (rf"{_CONTAINER}{_PROBE}\.(httpGet|tcpSocket|grpc)\.port", _port),
        (rf"{_CONTAINER}{_PROBE}\.httpGet\.path", _http_path),
        (rf"{_CONTAINER}{_PROBE}\.httpGet\.scheme", _scheme),
        (rf"{_CONTAINER}env\[\]\.value", _literal),
        (rf"{_CONTAINER}env\[\]\.valueFrom\.configMapKeyRef\.(name|key)", _reference),
        (rf"{_CONTAINER}env\[\]\.valueFrom\.secretKeyRef\.(name|key)", _secret_reference),
        (rf"{_CONTAINER}envFrom\[\]\.configMapRef\.name", _reference),
        (rf"{_CONTAINER}envFrom\[\]\.secretRef\.name", _secret_reference),
        (rf"{_CONTAINER}image", _image),
        (r"volumes\[\]\.configMap\.(name|items\[\]\.key)", _reference),
        (r"volumes\[\]\.secret\.(secretName|items\[\]\.key)", _secret_reference),
        (r"volumes\[\]\.emptyDir\.sizeLimit", _room),
        (r"imagePullSecrets\[\]\.name", _secret_reference),
    )
)


_WHOLE: dict[tuple[str, str], _Rule] = {
    **{(kind, "spec.replicas"): _replicas for kind in _SCALED},
    ("HorizontalPodAutoscaler", "spec.minReplicas"): _replicas,
    ("HorizontalPodAutoscaler", "spec.maxReplicas"): _replicas,
    ("PersistentVolumeClaim", "spec.resources.requests.storage"): _grown,
    ("PodDisruptionBudget", "spec.minAvailable"): _budget,
    ("PodDisruptionBudget", "spec.maxUnavailable"): _budget,
    ("Job", "spec.activeDeadlineSeconds"): _longer,
    ("CronJob", "spec.jobTemplate.spec.activeDeadlineSeconds"): _longer,
}


def _rule_of(kind: str, path: Path) -> _Rule:
    """Return the rule that a field is judged by; `_refuse` where none is named."""
    if found := _WHOLE.get((kind, ".".join(map(str, path)))):
        return found
    rest = pod_path(kind, path)
    shape = ".".join(_shape(step) for step in rest or ()).replace(".[]", "[]")
    return next((rule for pattern, rule in _POD_RULES if pattern.fullmatch(shape)), _refuse)


def _shape(step: fields.Step) -> str:
    return step if isinstance(step, str) else "[]"


def _times(larger: Decimal, smaller: Decimal) -> str:
    return f"{float(larger / smaller):.4g} times"
