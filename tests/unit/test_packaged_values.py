"""What gets into a patch is something that an API server takes, whatever an agent asked for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from faultline.model import Change, Diagnosis, PatchRules, Target
from faultline.proposal import propose

POD = """
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
        - name: api
          image: registry.example/api:1.0.0
          readinessProbe:
            httpGet: {path: /healthz, port: 8080}
            initialDelaySeconds: 5
            periodSeconds: 10
            timeoutSeconds: 1
            failureThreshold: 3
          resources:
            requests: {cpu: 100m, memory: 128Mi}
            limits: {cpu: 500m, memory: 256Mi}
"""
C = "spec.template.spec.containers[name=api]."
MEMORY = (
    "64Mi", "256Mi", "300Mi", "512Mi", "1Gi", "1024M", "0.5Gi", "268435456", "512", "lots", "-1Gi",
    "2 Gi", "", None, True, 300, "512MiB", "0", "1Gi\n  evil: yes", ["1Gi"],
)  # fmt: skip
CPU = ("100m", "200m", "1", "0.5", 1, 0.25, "1.5", "750m", "x", "-1", "2000m", "1 # x")
NUMBER = (1, 2, 3, 4, "3", "three", 0, -1, 2.5, 10, True, None, "4", {"a": 1})
ASKED: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    (C + "resources.limits.memory", "256Mi", MEMORY),
    (C + "resources.requests.memory", "128Mi", MEMORY),
    (C + "resources.limits.cpu", "500m", CPU),
    (C + "resources.requests.cpu", "100m", CPU),
    ("spec.replicas", 2, NUMBER),
    (C + "readinessProbe.initialDelaySeconds", 5, NUMBER),
    (C + "readinessProbe.timeoutSeconds", 1, NUMBER),
    (C + "readinessProbe.periodSeconds", 10, NUMBER),
    (C + "readinessProbe.failureThreshold", 3, NUMBER),
)
# apimachinery's resource.Quantity, and the integers of apps/v1: the same in 1.35, 1.36 and 1.37
QUANTITY = re.compile(
    r"\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?"
)


def manifest(kind: str) -> str:
    head = f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: api, namespace: shop}}\nspec:\n"
    more = {"Deployment": "  replicas: 2\n", "StatefulSet": "  replicas: 2\n  serviceName: api\n"}
    return head + more.get(kind, "") + "  selector: {matchLabels: {app: api}}" + POD


def fits(before: Any, after: Any, name: str = "") -> bool:
    """Say whether a changed manifest has the shape of the first, and values of the right kind."""
    if isinstance(before, dict):
        return isinstance(after, dict) and before.keys() == after.keys() and all(
            fits(before[key], after[key], key) for key in before
        )  # fmt: skip
    if isinstance(before, list):
        return isinstance(after, list) and all(map(fits, before, after, [name] * len(before)))
    if name in ("cpu", "memory"):
        return QUANTITY.fullmatch(str(after)) is not None and not isinstance(after, bool)
    if isinstance(before, int):
        return type(after) is int and 0 <= after < 2**31
    return before == after


ROWS = [
    (kind, field, before, after)
    for kind, (field, before, values) in itertools.product(
        ("Deployment", "StatefulSet", "DaemonSet"), ASKED
    )
    for after in values
][::2]


def packaged() -> Iterator[tuple[tuple[str, str, Any], Any, Any]]:
    """Yield what was asked for, and the manifest before and after, of each change that passed."""
    for kind, field, before, after in ROWS:
        target = Target(kind=kind, name="api", namespace="shop")
        change = Change(target=target, field=field, before=before, after=after)
        said = Diagnosis(title="x", root_cause="y", changes=(change,))
        file = manifest(kind)
        made = propose(said, {"api.yaml": file.encode()}, PatchRules(), revision="0" * 40)
        for changed in made.files:
            yield (kind, field, after), yaml.safe_load(file), yaml.safe_load(changed.after)


def test_of_200_changes_that_are_asked_for_each_that_passes_is_one_that_a_cluster_takes() -> None:
    found = list(packaged())

    assert len(ROWS) >= 200
    assert len(found) >= 30
    assert [asked for asked, before, after in found if not fits(before, after)] == []


@pytest.mark.covers("ART-09")
def test_kubernetes_own_schemas_take_each_changed_manifest_in_three_versions() -> None:
    judge = pytest.importorskip(
        "kubernetes_validate", reason="117 MB of schemas, installed by hand: decision 34"
    )
    wrong = []
    for version, (asked, _, after) in itertools.product(("1.35", "1.36", "1.37"), packaged()):
        try:
            judge.validate(after, version, strict=True)
        except judge.ValidationError as error:
            wrong.append((version, asked, error.message))

    assert len(ROWS) >= 200
    assert wrong == []
    with pytest.raises(judge.ValidationError):  # it does judge
        judge.validate(
            yaml.safe_load(manifest("Deployment").replace("replicas: 2", "replicas: two")),
            "1.36",
            strict=True,
        )
