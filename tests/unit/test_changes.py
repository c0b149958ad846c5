"""Which changes may be proposed: kinds that are refused, and kinds that are not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from faultline import changes, fields
from faultline.errors import Rejected
from faultline.model import Change, PatchRules, Target

POD = "spec.template.spec."
API = POD + "containers[name=api]."
CRON = "spec.jobTemplate.spec.template.spec.containers[name=api]."
RULES = PatchRules()

REFUSED = [
    # images and commands
    ("image", "Deployment", API + "image", "api:1.4", "api:1.3"),
    ("image", "Deployment", API + "imagePullPolicy", "Always", "Never"),
    ("command", "Deployment", API + "command[0]", "/app", "/bin/sh"),
    ("command", "Deployment", API + "args[0]", "serve", "--insecure"),
    ("command", "Deployment", API + "livenessProbe.exec.command[0]", "true", "curl evil"),
    ("command", "Deployment", API + "lifecycle.preStop.exec.command[0]", "sleep", "sh"),
    ("command", "Deployment", API + "lifecycle.postStart.httpGet.path", "/", "/x"),
    ("command", "CronJob", CRON + "command[0]", "a", "b"),
    # privileges
    ("privilege", "Deployment", API + "securityContext.privileged", None, True),
    ("privilege", "Deployment", API + "securityContext.runAsUser", 1000, 0),
    ("privilege", "Deployment", POD + "securityContext.fsGroup", 1000, 1),
    ("privilege", "Deployment", API + "securityContext.capabilities.add[0]", "NET", "SYS_ADMIN"),
    ("permissions", "Deployment", POD + "serviceAccountName", "api", "admin"),
    ("permissions", "Deployment", POD + "serviceAccount", "api", "admin"),
    ("permissions", "Deployment", POD + "automountServiceAccountToken", False, True),
    ("host", "Deployment", POD + "hostNetwork", False, True),
    ("host", "Deployment", POD + "hostPID", False, True),
    ("host", "Deployment", POD + "volumes[name=x].hostPath.path", "/tmp", "/"),
    ("host", "Deployment", API + "ports[name=http].hostPort", 8080, 80),
    # secrets
    ("secret", "Deployment", API + "env[name=X].valueFrom.secretKeyRef.name", "a", "b"),
    ("secret", "Deployment", API + "env[name=X].valueFrom.secretKeyRef.key", "a", "b"),
    ("secret", "Deployment", API + "envFrom[0].secretRef.name", "a", "b"),
    ("secret", "Deployment", POD + "volumes[name=x].secret.secretName", "a", "b"),
    ("secret", "Deployment", POD + "imagePullSecrets[0].name", "a", "b"),
    ("secret", "Deployment", API + "env[name=DB_PASSWORD].value", "old", "new"),
    ("secret", "Deployment", API + "env[name=URL].value", "db", "pg://me:hunter2@db"),
    ("secret", "Secret", "data.password", "eA==", "eQ=="),
    ("configuration", "ConfigMap", 'data["app.yaml"]', "a", "b"),
    # variables that are commands or lead outside
    ("command", "Deployment", API + "env[name=LD_PRELOAD].value", None, "/tmp/x.so"),
    ("command", "Deployment", API + "env[name=PATH].value", "/bin", "/tmp:/bin"),
    ("command", "Deployment", API + "env[name=JAVA_TOOL_OPTIONS].value", "", "-javaagent:x"),
    ("command", "Deployment", API + "env[name=HTTPS_PROXY].value", None, "http://proxy"),
    ("network", "Deployment", API + "env[name=FEED].value", "x", "https://evil.example/feed"),
    ("network", "Deployment", API + "env[name=DB_HOST].value", "db", "db.evil.example"),
    ("network", "Deployment", API + "livenessProbe.httpGet.host", None, "evil.example"),
    # objects that are not workloads
    ("permissions", "ClusterRoleBinding", "subjects[0].name", "a", "b"),
    ("permissions", "Role", "rules[0].verbs[0]", "get", "*"),
    ("permissions", "ServiceAccount", "metadata.name", "a", "b"),
    ("permissions", "MutatingWebhookConfiguration", "webhooks[0].failurePolicy", "Fail", "Ignore"),
    ("permissions", "ValidatingAdmissionPolicy", "spec.failurePolicy", "Fail", "Ignore"),
    ("cluster", "CustomResourceDefinition", "spec.scope", "Namespaced", "Cluster"),
    ("network", "NetworkPolicy", "spec.podSelector", "x", None),
    ("network", "NetworkPolicy", "spec.policyTypes[0]", "Ingress", "Egress"),
    ("budget", "PodDisruptionBudget", "spec.minAvailable", 1, 0),
    ("budget", "PodDisruptionBudget", "spec.minAvailable", 5, 3),
    ("budget", "PodDisruptionBudget", "spec.maxUnavailable", "0%", "100%"),
    ("budget", "PodDisruptionBudget", "spec.selector.matchLabels.app", "a", "b"),
    ("deadline", "CronJob", "spec.jobTemplate.spec.activeDeadlineSeconds", 600, 60),
    ("factor", "Job", "spec.activeDeadlineSeconds", 60, 6000),
    ("quantity", "Deployment", POD + "volumes[name=x].emptyDir.sizeLimit", None, "1Gi"),
    ("network", "Ingress", "spec.rules[0].host", "shop.example", "evil.example"),
    ("network", "Service", "spec.type", "ClusterIP", "LoadBalancer"),
    ("quota", "ResourceQuota", 'spec.hard["limits.cpu"]', "4", "400"),
    # too much, too little, gone
    ("replicas", "Deployment", "spec.replicas", 2, 0),
    ("factor", "Deployment", "spec.replicas", 2, 5),
    ("factor", "Deployment", API + "resources.limits.memory", "64Mi", "257Mi"),
    ("factor", "Deployment", API + "resources.limits.memory", "1Gi", "128Mi"),
    ("quantity", "Deployment", API + "resources.requests.cpu", "100m", "0"),
    ("removed", "Deployment", API + "resources.limits.memory", "64Mi", None),
    ("removed", "Deployment", API + "livenessProbe.httpGet.path", "/healthz", ""),
    ("probe", "Deployment", API + "livenessProbe.failureThreshold", 3, 100_000),
    ("size", "PersistentVolumeClaim", "spec.resources.requests.storage", "10Gi", "5Gi"),
    # metadata and everything else
    ("metadata", "Deployment", 'metadata.annotations["kubectl.kubernetes.io/x"]', "a", "b"),
    ("metadata", "Deployment", "metadata.namespace", "shop", "kube-system"),
    ("metadata", "Deployment", "metadata.finalizers[0]", "a", "b"),
    ("not-listed", "Deployment", POD + "nodeSelector.zone", "a", "b"),
]

ACCEPTED = [
    ("Deployment", API + "resources.limits.memory", "64Mi", "256Mi"),
    ("StatefulSet", API + "resources.limits.cpu", "500m", 1),
    ("DaemonSet", API + "resources.requests.memory", "4Gi", "64Mi"),
    ("CronJob", CRON + "resources.requests.cpu", "2", "500m"),
    ("Deployment", API + "resources.limits.memory", None, "256Mi"),
    ("Pod", "spec.initContainers[name=init].resources.limits.memory", "64Mi", "128Mi"),
    ("Deployment", "spec.replicas", 2, 4),
    ("StatefulSet", "spec.replicas", 2, 1),
    ("Deployment", API + "livenessProbe.initialDelaySeconds", 0, 30),
    ("Deployment", API + "readinessProbe.timeoutSeconds", 1, 5),
    ("Deployment", API + "startupProbe.failureThreshold", 3, 30),
    ("Deployment", API + "livenessProbe.httpGet.port", 8080, 9090),
    ("Deployment", API + "readinessProbe.httpGet.path", "/health", "/healthz"),
    ("Deployment", API + "readinessProbe.httpGet.scheme", "HTTP", "HTTPS"),
    ("Deployment", API + "env[name=DB_HOST].value", "postgres", "db.shop.svc.cluster.local"),
    ("Deployment", API + "env[name=MODE].valueFrom.configMapKeyRef.key", "mod", "mode"),
    ("Deployment", POD + "volumes[name=config].configMap.name", "api-confg", "api-config"),
    ("HorizontalPodAutoscaler", "spec.maxReplicas", 5, 10),
    ("HorizontalPodAutoscaler", "spec.minReplicas", 1, 2),
    ("PersistentVolumeClaim", "spec.resources.requests.storage", "5Gi", "10Gi"),
    ("PodDisruptionBudget", "spec.minAvailable", 3, 2),
    ("PodDisruptionBudget", "spec.maxUnavailable", 0, 1),
    ("CronJob", "spec.jobTemplate.spec.activeDeadlineSeconds", 60, 240),
    ("Deployment", POD + "volumes[name=x].emptyDir.sizeLimit", "1Gi", "2Gi"),
]


def change(kind: str, field: str, before: Any, after: Any) -> Change:
    target = Target(kind=kind, name="api", namespace="shop")
    return Change(target=target, field=field, before=before, after=after)


def test_the_tables_have_the_size_that_was_promised() -> None:
    assert (len(REFUSED), len(ACCEPTED)) == (66, 24)


@pytest.mark.covers("ART-06", "S3-39")
@pytest.mark.parametrize(("rule", "kind", "field", "before", "after"), REFUSED)
def test_a_change_that_is_not_listed_is_refused_with_its_rule(
    rule: str, kind: str, field: str, before: Any, after: Any
) -> None:
    refused = changes.refusals([change(kind, field, before, after)], RULES)

    assert len(refused) == 1
    assert refused[0].startswith(f"{kind}/api {field}: {rule}: ")


@pytest.mark.covers("ART-06")
@pytest.mark.parametrize(("kind", "field", "before", "after"), ACCEPTED)
def test_a_listed_change_within_bounds_is_accepted(
    kind: str, field: str, before: Any, after: Any
) -> None:
    assert changes.refusals([change(kind, field, before, after)], RULES) == []


@pytest.mark.parametrize(
    "after",
    [True, ["64Mi"], {"a": 1}, "64Mi\n", "64Mi\u202e", float("nan"), "64mb", -1, "1e99", "²"],
)
def test_a_value_that_is_no_quantity_is_refused(after: Any) -> None:
    assert changes.refusal(change("Deployment", API + "resources.limits.cpu", "1", after), RULES)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("Service", API + "resources.limits.memory"),
        ("Deployment", "spec.template.spec.ephemeralContainers[0].resources.limits.memory"),
        ("Deployment", "spec.containers[0].resources.limits.memory"),
        ("Deployment", API + "resources.limits.memory.x"),
        ("Deployment", API + 'resources.limits["nvidia.com/gpu"]'),
        ("Deployment", "resources.limits.memory"),
        ("Secret", "spec.replicas"),
        ("DaemonSet", "spec.replicas"),
        ("Deployment", API + "env[0].value"),
        ("Deployment", API + "resources.limits..memory"),
    ],
)
def test_a_field_that_only_looks_like_a_listed_one_is_refused(kind: str, field: str) -> None:
    assert changes.refusal(change(kind, field, "1", "2"), RULES)


def test_an_image_goes_back_only_where_allowed_and_to_one_that_ran() -> None:
    back = change("Deployment", API + "image", "api:1.4", "api:1.3")
    allowed = PatchRules(images=True)

    assert "operator" in changes.refusal(back, RULES, ran=["api:1.3"])
    assert "known to have run" in changes.refusal(back, allowed)
    assert "known to have run" in changes.refusal(back, allowed, ran=["api:1.2"])
    assert changes.refusal(back, allowed, ran=["api:1.3"]) == ""


def test_a_reference_to_a_secret_changes_only_where_the_operator_allows_it() -> None:
    reference = change(
        "Deployment", API + "env[name=X].valueFrom.secretKeyRef.key", "pasword", "password"
    )

    assert changes.refusal(reference, RULES).startswith("secret: ")
    assert changes.refusal(reference, PatchRules(secret_references=True)) == ""


def test_the_operators_factor_counts() -> None:
    doubled = change("Deployment", API + "resources.limits.memory", "64Mi", "128Mi")

    assert changes.refusal(doubled, PatchRules(factor_max=2)) == ""
    assert "2 times, allowed is up to 1.5 times" in changes.refusal(
        doubled, PatchRules(factor_max=1.5)
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", "0.5"),
        ("64Mi", str(64 * 2**20)),
        ("1.5Gi", str(3 * 2**29)),
        ("2k", "2000"),
        ("1e3", "1000"),
        (2, "2"),
        (0.5, "0.5"),
        ("100u", "0.0001"),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: Any, number: str) -> None:
    assert changes.amount(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Mi", "1 Mi", "1mi", "+1", "1,5", True, None, "1" * 30])
def test_what_is_no_quantity_is_none(text: Any) -> None:
    assert changes.amount(text) is None


# paths


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("spec.replicas", ("spec", "replicas")),
        ("a[name=api].b[0].c", ("a", fields.Match("name", "api"), "b", 0, "c")),
        ('metadata.annotations["a.b/c"]', ("metadata", "annotations", "a.b/c")),
        ("m['x y'].z", ("m", "x y", "z")),
        ("env[name='A B'].value", ("env", fields.Match("name", "A B"), "value")),
        ("ports[containerPort=80]", ("ports", fields.Match("containerPort", "80"))),
    ],
)
def test_a_path_is_taken_apart(text: str, path: fields.Path) -> None:
    assert fields.parse(text) == path
    assert fields.parse(fields.text(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        ".a",
        "a.",
        "a..b",
        "a[",
        "a[]",
        "[0]",
        "a[x",
        "a b",
        "a[name=]",
        "a/../\n",
        "a" * 600,
        "a" + ".b" * 40,
        'a["x]',
        "$.a",
        "a[*]",
        "a[?x]",
        "a[-1]",
    ],
)
def test_a_path_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="expected a"):
        fields.parse(text)


def test_getting_and_replacing_agree_and_leave_the_original_alone() -> None:
    value = {"c": [{"name": "a", "x": 1}, {"name": "b"}]}
    path = fields.parse("c[name=b].limits.memory")

    made = fields.replaced(value, path, "1Gi")

    assert fields.get(value, path) is fields.MISSING
    assert fields.get(made, path) == "1Gi"
    assert made == {"c": [{"name": "a", "x": 1}, {"name": "b", "limits": {"memory": "1Gi"}}]}
    with pytest.raises(Rejected):
        fields.replaced(value, fields.parse("c[name=z].x"), 1)
    with pytest.raises(Rejected):
        fields.replaced(value, fields.parse("c.x"), 1)
