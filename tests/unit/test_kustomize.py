"""What kustomizations render to, held against kubectl, and which text decides a field."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from faultline import kustomize, splice
from faultline.errors import Rejected
from faultline.hints import Hints
from faultline.kustomize import Repository
from faultline.model import Change, Target

API = Target(kind="Deployment", name="api", namespace="shop")
CONTAINER = "spec.template.spec.containers[name=api]."
MEMORY = CONTAINER + "resources.limits.memory"
IMAGE = CONTAINER + "image"

BASE = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
spec:
  replicas: 2
  selector:
    matchLabels: {app: api}
  template:
    metadata:
      labels: {app: api}
    spec:
      containers:
      - name: sidecar
        image: registry.example/proxy:2
      - name: api
        image: registry.example/api:1.4
        env:
        - name: MODE
          value: fast
        resources:
          limits:
            memory: 64Mi   # was enough in 2024
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: api}
spec:
  selector: {app: api}
  ports: [{port: 80}]
"""
MORE = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: job, namespace: keep, labels: {a: b}}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          initContainers: [{name: once, image: registry.example/proxy}]
          containers: [{name: main, image: "registry.example/api@sha256:aa"}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: api}
spec: {minAvailable: 1, selector: {matchLabels: {app: api}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: role}
rules: []
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {matchLabels: {app: api}}}
"""
PATCH = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  template:
    spec:
      containers:
      - name: api
        resources: {limits: {memory: 96Mi}}  # this one only
"""
OPERATIONS = """\
# the shop's own
- op: replace
  path: /spec/template/spec/containers/1/resources/limits/memory
  value: 96Mi
- {op: add, path: /spec/template/spec/containers/1/env/-, value: {name: LEVEL, value: info}}
"""


def repository(prod: str = "", **more: str) -> dict[str, bytes]:
    """A base, and an overlay `prod` that takes it in and says `prod` besides."""
    files = {
        "base/kustomization.yaml": "resources: [api.yaml, service.yaml]\n",
        "base/api.yaml": BASE,
        "base/service.yaml": SERVICE,
        "prod/kustomization.yaml": f"resources: [../base]\n{prod}",
    }
    files |= {name.replace("__", "/") + ".yaml": text for name, text in more.items()}
    return {name: text.encode() for name, text in files.items()}


def change(after: Any, field: str = MEMORY, target: Target = API) -> Change:
    return Change(target=target, field=field, after=after)


def changed(files: dict[str, bytes], wanted: Change, hints: Hints | None = None) -> tuple[str, str]:
    """Return the one file that a change made different, and its text."""
    made = splice.apply(files, wanted, splice.Where(hints=hints or Hints()))
    ((file, content),) = made.items()
    return file, content.decode()


INLINE = "patches:\n- target: {kind: Deployment, name: ap.*}\n  patch: |-\n"
OVERLAYS = {
    "names": "namePrefix: my-\nnameSuffix: -v2\nnamespace: shop\n",
    "labels": "commonLabels: {team: shop}\ncommonAnnotations: {who: shop}\n",
    "more-labels": "labels:\n- pairs: {team: shop}\n- {pairs: {a: b}, includeTemplates: true}\n",
    "images": "images:\n- {name: registry.example/api, newTag: '1.5'}\n"
    "- {name: registry.example/proxy, newName: mirror.example/proxy, digest: 'sha256:ab'}\n",
    "replicas": "replicas:\n- {name: api, count: 5}\n",
    "patch": "patches:\n- path: patch.yaml\n",
    "merge": "patchesStrategicMerge: [patch.yaml]\nnamePrefix: my-\n",
    "operations": "patches:\n- {path: ops.yaml, target: {kind: Deployment}}\n",
    "json6902": "patchesJson6902:\n- path: ops.yaml\n"
    "  target: {group: apps, version: v1, kind: Deployment, name: api}\n",
    "inline": INLINE + "    - op: replace\n      path: /spec/replicas\n      value: 7\n",
    "inline-merge": INLINE + "".join(f"    {line}\n" for line in PATCH.splitlines()),
    "component": "components: [../extra]\nnamespace: shop\n",
    "order": "namePrefix: my-\nreplicas:\n- {name: api, count: 3}\npatches:\n- path: patch.yaml\n",
}


def overlay(name: str) -> dict[str, bytes]:
    said = OVERLAYS[name]
    texts = {"prod__patch": PATCH, "prod__ops": OPERATIONS}
    more = {key: text for key, text in texts.items() if f"{key[6:]}.yaml" in said}
    if name == "component":
        more["extra__ops"] = OPERATIONS
        more["extra__kustomization"] = (
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
            "patches:\n- {path: ops.yaml, target: {kind: Deployment}}\n"
        )
    return repository(said, **more)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("name", OVERLAYS)
def test_what_is_rendered_is_what_kubectl_renders(name: str, tmp_path: Path) -> None:
    files = overlay(name) | {"base/more.yaml": MORE.encode()}
    files["base/kustomization.yaml"] = b"resources: [api.yaml, service.yaml, more.yaml]\n"
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)

    mine = [item.value for item in kustomize.render(Repository.of(files), "prod")]

    command = ["kubectl", "kustomize", str(tmp_path / "prod")]
    printed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    theirs = list(yaml.safe_load_all(printed))
    assert sorted(mine, key=str_of) == sorted(theirs, key=str_of)


def str_of(value: dict[str, Any]) -> str:
    return str(value["kind"])


@pytest.mark.parametrize(
    ("name", "field", "before", "after", "file", "old", "new"),
    [
        ("names", MEMORY, "64Mi", "128Mi", "base/api.yaml", "64Mi ", "128Mi "),
        ("images", IMAGE, "registry.example/api:1.5", "registry.example/api:1.4",
         "prod/kustomization.yaml", "newTag: '1.5'", "newTag: '1.4'"),
        ("images", "spec.template.spec.containers[name=sidecar].image",
         "mirror.example/proxy@sha256:ab", "mirror.example/proxy@sha256:cd",
         "prod/kustomization.yaml", "sha256:ab", "sha256:cd"),
        ("replicas", "spec.replicas", 5, 6, "prod/kustomization.yaml", "count: 5", "count: 6"),
        ("patch", MEMORY, "96Mi", "128Mi", "prod/patch.yaml", "96Mi", "128Mi"),
        ("patch", IMAGE, "registry.example/api:1.4", "registry.example/api:1.3",
         "base/api.yaml", "api:1.4", "api:1.3"),
        ("merge", MEMORY, "96Mi", "128Mi", "prod/patch.yaml", "96Mi", "128Mi"),
        ("operations", MEMORY, "96Mi", "128Mi", "prod/ops.yaml", "96Mi", "128Mi"),
        ("operations", CONTAINER + "env[name=LEVEL].value", "info", "debug",
         "prod/ops.yaml", "value: info", "value: debug"),
        ("json6902", MEMORY, "96Mi", "128Mi", "prod/ops.yaml", "96Mi", "128Mi"),
        ("inline", "spec.replicas", 7, 8, "prod/kustomization.yaml", "value: 7", "value: 8"),
        ("inline-merge", MEMORY, "96Mi", "128Mi", "prod/kustomization.yaml", "96Mi", "128Mi"),
        ("component", MEMORY, "96Mi", "128Mi", "extra/ops.yaml", "96Mi", "128Mi"),
        ("order", "spec.replicas", 3, 4, "prod/kustomization.yaml", "count: 3", "count: 4"),
    ],
)  # fmt: skip
def test_the_text_with_the_last_word_is_changed(
    name: str, field: str, before: Any, after: Any, file: str, old: str, new: str
) -> None:
    files = overlay(name)
    names = {"names": "my-api-v2", "merge": "my-api", "order": "my-api"}
    target = API.model_copy(update={"name": names.get(name, "api")})
    wanted = change(after, field, target)

    assert splice.current(files, wanted) == before
    assert changed(files, wanted) == (file, files[file].decode().replace(old, new))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "# end\n", "\n\nnamespace: shop\n"])
def test_a_line_is_added_to_an_inline_patch_with_its_indentation(end: str, tail: str) -> None:
    limits = "\n          limits:\n            memory: 96Mi"
    patch = PATCH.replace(" {limits: {memory: 96Mi}}  # this one only", limits)
    text = INLINE + "".join(f"    {line}\n" for line in patch.splitlines())
    files = repository((text + tail).replace("\n", end), test__kustomization="bases: [../base]\n")
    files["test/kustomization.yaml"] += b"namespace: test\n"
    if "namespace" not in tail:
        files["prod/kustomization.yaml"] = b"namespace: shop\n" + files["prod/kustomization.yaml"]

    file, made = changed(files, change("2", CONTAINER + "resources.limits.cpu"))

    old = files["prod/kustomization.yaml"].decode()
    added = f'memory: 96Mi{end}                cpu: "2"'
    assert (file, made) == ("prod/kustomization.yaml", old.replace("memory: 96Mi", added))


@pytest.mark.parametrize(
    ("prod", "more", "wanted", "reason"),
    [
        ("patches: [{path: gone.json}]\n", {}, change("1Gi"), "prod/gone.json"),
        ("replacements: [{path: x.yaml}]\n", {}, change("1Gi"), "has replacements"),
        ("vars: [{name: X}]\n", {}, change("1Gi"), "has vars"),
        ("transformers: [x.yaml]\n", {}, change("1Gi"), "has transformers"),
        (
            "patches: [{path: p.yaml}]\n",
            {"prod__p": PATCH.replace("- name: api", "- $patch: replace\n      - name: api")},
            change("1Gi"),
            r"prod/kustomization.yaml: a patch with \$patch",
        ),
        (
            "patches: [{path: o.yaml, target: {kind: Deployment}}]\n",
            {"prod__o": "[{op: move, from: /a, path: /b}]\n"},
            change("1Gi"),
            "operation 'move'",
        ),
        (
            "patches: [{path: p.yaml, target: {labelSelector: 'a in (b, c)'}}]\n",
            {"prod__p": PATCH},
            change("1Gi"),
            "a patch for 'a in",
        ),
        (
            f"patches: [{{patch: {PATCH.splitlines()[1]!r}, target: {{kind: Deployment}}}}]\n"
            "images: [{name: registry.example/api, digest: 'sha256:ab'}]\n",
            {},
            change("registry.example/api:1.3", IMAGE),
            "expected a digest",
        ),
        (
            "images: [{name: registry.example/api, newTag: '2'}]\n",
            {},
            change("registry.example/other:1.3", IMAGE),
            "another tag of the same image",
        ),
        (
            "configMapGenerator: [{name: conf, literals: [a=b]}]\n",
            {},
            change("conf", CONTAINER + "env[name=NEW].valueFrom.configMapKeyRef.name"),
            "generates conf and adds a hash",
        ),
        (
            "nameSuffix: ''\nnamePrefix: ''\nnamespace: other\n",
            {},
            change("1Gi"),
            "found none",
        ),
        ("resources: [a.yaml]\n", {}, change("1Gi"), "each key once"),
        (
            "",
            {"test__kustomization": "resources: [../base]\nnamespace: test\n"},
            change("1Gi"),
            "shared by prod, test; a patch of this object in prod",
        ),
        (
            "",
            {"test__kustomization": "resources: [../base]\n"},
            change("1Gi"),
            "found 2: prod, test",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_by_its_name(
    prod: str, more: dict[str, str], wanted: Change, reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        splice.apply(repository(prod, **more), wanted)


def test_a_base_from_elsewhere_is_named_where_nothing_is_found() -> None:
    files = {"prod/kustomization.yaml": b"resources: ['https://example.com/base?ref=v1']\n"}

    with pytest.raises(Rejected, match=r"brings https://example.com/base\?ref=v1"):
        splice.apply(files, change("1Gi"))


def test_a_patch_of_two_objects_is_not_changed_for_one() -> None:
    files = repository(
        "resources: [../base, second.yaml]\n"
        "patches: [{path: patch.yaml, target: {kind: Deployment}}]\n".replace("resources", "bases"),
        prod__second=BASE.replace("  name: api", "  name: web"),
        prod__patch=PATCH,
    )
    files["prod/kustomization.yaml"] = files["prod/kustomization.yaml"].replace(
        b"resources: [../base]\nbases", b"resources"
    )

    with pytest.raises(Rejected, match="does more"):
        splice.apply(files, change("128Mi"))


def test_a_base_that_one_kustomization_takes_in_twice_is_not_changed_for_one() -> None:
    files = repository(
        all__kustomization="resources: [../prod, ../test]\n",
        test__kustomization="resources: [../base]\nnamespace: test\n",
    )
    files["prod/kustomization.yaml"] += b"namespace: shop\n"

    with pytest.raises(Rejected, match="does more"):
        splice.apply(files, change("128Mi"))
    prod = Hints(by="Application a", directories=("prod",))
    with pytest.raises(Rejected, match="shared by prod, test"):
        splice.apply(files, change("128Mi"), splice.Where(hints=prod))


# what the cluster says of where an object comes from


def test_a_directory_that_delivers_the_object_narrows_the_search() -> None:
    files = {f"{name}/api.yaml": BASE.encode() for name in ("live", "old")}
    hints = Hints(by="Application api", directories=("live",))

    assert changed(files, change("1Gi"), hints)[0] == "live/api.yaml"
    with pytest.raises(Rejected, match=r"found 2: live/api.yaml, old/api.yaml"):
        splice.apply(files, change("1Gi"))
    with pytest.raises(Rejected, match="where Application api points to, found none"):
        changed(files | {"live/api.yaml": b"{}"}, change("1Gi"), hints)


def test_a_directory_of_another_repository_does_not_narrow_anything() -> None:
    hints = Hints(by="Application api", directories=("elsewhere",))

    assert changed({"api.yaml": BASE.encode()}, change("1Gi"), hints)[0] == "api.yaml"


def test_the_file_that_an_annotation_names_is_taken() -> None:
    files = {f"{name}/api.yaml": BASE.encode() for name in ("live", "old")}

    assert changed(files, change("1Gi"), Hints(files=("old/api.yaml",)))[0] == "old/api.yaml"


USUAL = (  # in this order
    "deploy/api/deployment.yaml",
    "deploy/api/deployment.yml",
    "manifests/api/deployment.yaml",
    "manifests/api.yaml",
    "k8s/api/deployment.yaml",
)


@pytest.mark.covers("S3-51")
@pytest.mark.parametrize("first", range(len(USUAL)))
def test_of_several_files_the_first_that_lies_where_people_look_is_taken(first: int) -> None:
    paths = [*USUAL[first:], "a/api.yaml", "deploy/other/deployment.yaml"]
    files = {path: BASE.encode() for path in paths}

    assert changed(files, change("1Gi"))[0] == USUAL[first]
    named = Hints(files=("a/api.yaml",))  # a person's word, or kustomize's
    assert changed(files, change("1Gi"), named)[0] == "a/api.yaml"


@pytest.mark.covers("S3-51")
def test_a_file_anywhere_is_found_by_kind_and_name() -> None:
    other = BASE.replace("name: api", "name: web")
    files = {"apps/x.yaml": BASE.encode(), "manifests/api.yaml": other.encode()}

    assert changed(files, change("1Gi"))[0] == "apps/x.yaml"


def test_no_path_decides_against_a_kustomization_or_within_a_file() -> None:
    rendered = repository() | {"manifests/api.yaml": BASE.encode()}
    twice = {"manifests/api.yaml": f"{BASE}---\n{BASE}".encode(), "x.yaml": BASE.encode()}

    for files in (rendered, twice):
        with pytest.raises(Rejected, match="expected one place"):
            splice.apply(files, change("1Gi"))


def test_a_refusal_of_what_delivers_the_object_is_told() -> None:
    hints = Hints(refusal="expected a path, but the Application has several sources")

    with pytest.raises(Rejected, match="several sources"):
        changed({"api.yaml": BASE.encode()}, change("1Gi"), hints)


def test_only_files_that_may_change_are_changed() -> None:
    files = repository("patches: [{path: patch.yaml}]\n", prod__patch=PATCH)

    made = splice.apply(files, change("128Mi"), splice.Where(within=["prod/patch.yaml"]))
    assert list(made) == ["prod/patch.yaml"]
    with pytest.raises(Rejected, match=r"set in prod/patch.yaml"):
        splice.apply(files, change("128Mi"), splice.Where(within=["base/api.yaml"]))


def test_a_number_in_a_path_counts_as_the_cluster_does() -> None:
    files = repository("patches: [{path: patch.yaml}]\n", prod__patch=PATCH)
    first = MEMORY.replace("[name=api]", "[0]")  # what a patch names comes first

    assert changed(files, change("128Mi", first))[0] == "prod/patch.yaml"
    assert changed(repository(), change("128Mi", MEMORY.replace("[name=api]", "[1]")))[1]


def test_a_kustomization_that_cannot_be_read_matters_only_where_it_may_share_a_file() -> None:
    broken = b"resources: [../base]\nresources: {{ more }}\n"
    apart = repository() | {"other/kustomization.yaml": broken.replace(b"../base", b"x.yaml")}
    sharing = repository() | {"other/kustomization.yaml": broken}

    assert changed(apart, change("1Gi"))[0] == "base/api.yaml"
    with pytest.raises(Rejected, match="shared by other, prod"):
        splice.apply(sharing, change("1Gi"))


def test_an_unreadable_chart_does_not_matter_where_the_cluster_says_the_directory() -> None:
    files = repository() | {"charts/a/Chart.yaml": b"", "charts/a/templates/a.yaml": BASE.encode()}

    assert changed(files, change("1Gi"), Hints(directories=("prod",)))[0] == "base/api.yaml"
    with pytest.raises(Rejected, match="belongs to a Helm chart"):
        splice.apply(files, change("1Gi"))


SHARED = {"test__kustomization": "resources: [../base]\nnamespace: test\n"}


@pytest.mark.parametrize(
    ("field", "after", "added"),
    [
        (CONTAINER + "resources.requests.memory", "32Mi", ", requests: {memory: 32Mi}"),
        (CONTAINER + "resources.limits.cpu", "2", ', cpu: "2"'),
        (IMAGE, "registry.example/api:1.3", "image: registry.example/api:1.3"),
        ("spec.replicas", 3, "replicas: 3"),
    ],
)
def test_what_a_shared_base_says_is_said_in_the_patch_of_one_deployment(
    field: str, after: Any, added: str
) -> None:
    files = repository("namespace: shop\npatches: [{path: p.yaml}]\n", prod__p=PATCH, **SHARED)

    file, made = changed(files, change(after, field))

    assert file == "prod/p.yaml"
    assert added in made
    assert len(made.splitlines()) - len(PATCH.splitlines()) in (0, 1)


def test_a_patch_that_does_not_have_the_container_does_not_take_its_field() -> None:
    patch = PATCH.replace("name: api\n        res", "name: sidecar\n        res")
    files = repository("namespace: shop\npatches: [{path: p.yaml}]\n", prod__p=patch, **SHARED)

    with pytest.raises(Rejected, match="shared by prod, test"):
        splice.apply(files, change("1Gi"))


def test_kustomizations_that_double_at_each_level_end() -> None:
    files = {"k0/api.yaml": BASE.encode(), "k0/kustomization.yaml": b"resources: [api.yaml]\n"}
    for level in range(1, 40):
        below = f"resources: [../k{level - 1}, ../k{level - 1}/../k{level - 1}]\n"
        files[f"k{level}/kustomization.yaml"] = below.encode()

    with pytest.raises(Rejected, match="more than 5000 objects"):
        splice.apply(files, change("1Gi"))
    with pytest.raises(Rejected, match="found none"):
        splice.apply(files, change("1Gi", target=API.model_copy(update={"name": "web"})))
