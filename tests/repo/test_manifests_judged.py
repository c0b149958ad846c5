"""What is rendered for a cluster, judged by others: schemas of Kubernetes, and checkov.

Every way to render it is an option more or less; rows of the matrix hold every pair of them.
"""

from __future__ import annotations

import functools
import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KNATIVE = ROOT / "infra/knative"
KUBECTL, CHECKOV = shutil.which("kubectl"), shutil.which("checkov")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")

COMPONENTS = ("no-watch", "one-bridge", "model-in-cluster")
OPTIONS = ("digest", *COMPONENTS)
MATRIX = [  # of 16 combinations the five that hold every pair
    (False, False, False, False),
    (False, True, True, True),
    (True, False, True, True),
    (True, True, False, True),
    (True, True, True, False),
]
MINORS = ("1.35", "1.36", "1.37")
# groups whose schemas Kubernetes does not have: other projects define them
FOREIGN = {"serving.knative.dev", "eventing.knative.dev", "sources.knative.dev"}
DIGEST = "sha256:" + "0123456789abcdef" * 4

ACCEPTED = {  # what checkov finds and we leave, each with its reason in docs/security.md
    "CKV_K8S_35": "Secrets as environment variables: each process has its own",
    "CKV_K8S_38": "a token of the cluster: the watch needs it; not with no-watch",
    "CKV_K8S_43": "no digest: it is that of whoever builds; not with digest",
}


def name_of(row: tuple[bool, ...]) -> str:
    return "+".join(o for o, on in zip(OPTIONS, row, strict=True) if on) or "plain"


@functools.cache
def rendered(row: tuple[bool, ...]) -> str:
    """Return what `kubectl kustomize` makes of infra/knative with these options."""
    assert KUBECTL
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(KNATIVE, Path(folder, "knative"))
        chosen = [o for o, on in zip(OPTIONS, row, strict=True) if on and o in COMPONENTS]
        overlay: dict[str, Any] = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["knative"],
            "components": [f"knative/options/{option}" for option in chosen],
        }
        if row[OPTIONS.index("digest")]:
            overlay["images"] = [
                {"name": "faultline", "newName": "registry.example/faultline", "digest": DIGEST}
            ]
        Path(folder, "kustomization.yaml").write_text(json.dumps(overlay))
        done = subprocess.run(
            [KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(row: tuple[bool, ...]) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return list(yaml.load_all(rendered(row), Loader=loader))


def test_the_matrix_holds_every_pair_of_options_and_every_option_there_is() -> None:
    assert {path.name for path in (KNATIVE / "options").iterdir()} == set(COMPONENTS)
    for one, other in itertools.combinations(range(len(OPTIONS)), 2):
        pairs = {(row[one], row[other]) for row in MATRIX}
        assert len(pairs) == 4, (OPTIONS[one], OPTIONS[other])


@functools.cache
def validated(text: str, minor: str) -> None:
    """Hold one object against the schema of a minor version, once. Raises if it does not fit."""
    pytest.importorskip("kubernetes_validate").validate(json.loads(text), minor, strict=True)


def valid(row: tuple[bool, ...]) -> int:
    """Hold all objects of Kubernetes' own kinds against the schemas; return how many they are."""
    own = [o for o in objects(row) if o["apiVersion"].partition("/")[0] not in FOREIGN]
    for value, minor in itertools.product(own, MINORS):
        validated(json.dumps(value, sort_keys=True), minor)
    return len(own)


@needs_kubectl
@pytest.mark.real
@pytest.mark.covers("MAN-02")
@pytest.mark.parametrize("row", MATRIX, ids=name_of)
def test_every_object_is_valid_on_three_minors_whatever_is_chosen(row: tuple[bool, ...]) -> None:
    assert valid(row) >= 35


@needs_kubectl
@pytest.mark.real
@pytest.mark.parametrize("row", MATRIX, ids=name_of)
def test_an_option_does_what_it_says_and_nothing_else(row: tuple[bool, ...]) -> None:
    digest, no_watch, one_bridge, model = row
    named = {(o["kind"], o["metadata"]["name"]): o for o in objects(row)}
    bridge, account = named["Deployment", "bridge"], named["ServiceAccount", "bridge"]
    pod, config = bridge["spec"]["template"]["spec"], named["ConfigMap", "faultline"]["data"]
    policies = [o for o in named.values() if o["kind"] == "NetworkPolicy"]
    to_model = [p for p in policies for rule in p["spec"].get("egress", ())
                if {"port": 11434} in rule["ports"]]  # fmt: skip
    allowed = named["NetworkPolicy", "to-api-server"]["spec"]["podSelector"]["matchExpressions"]

    image = pod["containers"][0]["image"]
    assert image == (f"registry.example/faultline@{DIGEST}" if digest else "faultline:0.1.0")
    assert config["FAULTLINE_WATCH"] == ("false" if no_watch else "true")
    watching = [("bridge" in allowed[0]["values"]), pod["automountServiceAccountToken"]]
    watching += [account["automountServiceAccountToken"]]
    watching += [
        (kind, "faultline-watch") in named for kind in ("ClusterRole", "ClusterRoleBinding")
    ]
    assert set(watching) == {not no_watch}
    assert bridge["spec"]["replicas"] == (1 if one_bridge else 2)
    assert (("PodDisruptionBudget", "bridge") in named) is not one_bridge
    assert config["FAULTLINE_ENGINE"] == ("loop" if model else "rules")
    assert [p["metadata"]["name"] for p in to_model] == ["gateway-to-model"] * model
    assert all(p["metadata"]["namespace"] == "faultline" for p in to_model)  # agents do not


@needs_kubectl
@pytest.mark.real
@pytest.mark.skipif(CHECKOV is None, reason="checkov is not installed")
@pytest.mark.covers("MAN-01", "MAN-05")
@pytest.mark.parametrize("row", MATRIX, ids=name_of)
def test_checkov_passes_what_is_rendered_and_what_it_finds_has_a_reason(
    row: tuple[bool, ...], tmp_path: Path
) -> None:
    assert CHECKOV
    file = tmp_path / "rendered.yaml"
    file.write_text(rendered(row))
    command = [CHECKOV, "-f", str(file), "--framework", "kubernetes", "--output", "json"]
    done = subprocess.run(
        [*command, "--skip-download", "--quiet"], capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip

    told = json.loads(done.stdout)
    summary = told["summary"]
    assert valid(row) >= 35
    page = (ROOT / "docs/security.md").read_text("utf-8")
    failed = {found["check_id"] for found in told["results"]["failed_checks"]}

    assert summary["parsing_errors"] == 0
    assert summary["passed"] >= 200
    assert summary["skipped"] == 0
    assert summary["passed"] / (summary["passed"] + summary["failed"]) >= 0.98
    assert failed <= ACCEPTED.keys()
    assert all(f"`{check}`" in page for check in ACCEPTED)


def pods(row: tuple[bool, ...]) -> list[dict[str, Any]]:
    kinds = ("Deployment", "Service")
    found = [o for o in objects(row) if o["kind"] in kinds and "template" in o["spec"]]
    return [o["spec"]["template"]["spec"] for o in found]


@needs_kubectl
@pytest.mark.real
@pytest.mark.parametrize("row", MATRIX, ids=name_of)
def test_pods_of_deployments_and_of_knative_have_what_checkov_asks_of_deployments(
    row: tuple[bool, ...],
) -> None:
    found = pods(row)

    assert len(found) == 10
    for pod in found:
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostAliases"} & pod.keys()
        assert all(set(volume) <= {"name", "emptyDir", "projected"} for volume in pod["volumes"])
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True  # CKV_K8S_22
            assert context["allowPrivilegeEscalation"] is False  # 20
            assert context["runAsUser"] >= 10_000  # 40
            assert context["capabilities"] == {"drop": ["ALL"]}  # 37, 28
            assert context["seccompProfile"]["type"] == "RuntimeDefault"  # 31
            assert {"readinessProbe", "livenessProbe"} <= container.keys()  # 8, 9
            assert all({"cpu", "memory"} <= container["resources"][w].keys()
                       for w in ("requests", "limits"))  # fmt: skip
            assert not container["image"].endswith(":latest")  # 14
            assert ":" in container["image"]
            assert all("hostPort" not in port for port in container["ports"])  # 26
            if "containerConcurrency" not in pod:
                assert container["imagePullPolicy"] == "Always"  # 15; Knative resolves tags itself
