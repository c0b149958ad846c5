"""Values of Helm charts, found by rendering. A small program stands in for helm, run as helm is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from faultline import splice
from faultline.adapters.helm import Helm
from faultline.adapters.manifests import DirectoryManifests
from faultline.errors import Rejected
from faultline.hints import Hints
from faultline.model import Change, Diagnosis, PatchRules, Target
from faultline.proposal import propose

# understands `{{ .Values.a.b }}`, `{{ .Release.Name }}` and `| quote`; that is all of it
HELM = f"""#!{sys.executable}
import os, pathlib, re, sys, yaml

command, name, chart, *options = sys.argv[1:]
assert command == "template" and all(o.startswith("--") for o in options), sys.argv
secrets = [key for key in os.environ if key.startswith(("AWS", "GIT", "FAULTLINE"))]
if secrets or os.environ["HELM_NO_PLUGINS"] != "1" or os.getcwd() != os.environ["HOME"]:
    sys.exit(f"not a clean environment: {{secrets}}")


def merged(a, b):
    both = isinstance(a, dict) and isinstance(b, dict)
    return {{k: merged(a.get(k), b[k]) if k in b else a[k] for k in a | b}} if both else b


values = {{}}
more = [o.partition("=")[2] for o in options if o.startswith("--values=")]
for file in [os.path.join(chart, "values.yaml"), *more]:
    values = merged(values, yaml.safe_load(pathlib.Path(file).read_text()) or {{}})


def said(match):
    found = {{"Values": values, "Release": {{"Name": name}}}}
    for part in match[1].strip(".").split("."):
        found = found[part]
    return f'"{{found}}"' if match[2] else str(found)


for template in sorted(pathlib.Path(chart, "templates").glob("*.yaml")):
    text = template.read_text()
    if "fail" in text:
        sys.exit("Error: execution error\\nmore of it")
    print("---\\n" + re.sub(r"\\{{\\{{\\s*([\\w.]+)\\s*(\\|\\s*quote)?\\s*\\}}\\}}", said, text))
"""
TEMPLATE = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-api
spec:
  replicas: {{ .Values.replicas }}
  template:
    spec:
      containers:
      - name: api
        image: {{ .Values.image.name }}:{{ .Values.image.tag }}
        resources:
          limits:
            memory: {{ .Values.limits.memory | quote }}
"""
SECOND = TEMPLATE.replace("-api", "-web")
VALUES = """\
# for every release
replicas: 2
limits:
  memory: 64Mi   # was enough in 2024
  other: 64Mi
image: {name: registry.example/api, tag: '1.4'}
"""
API = Target(kind="Deployment", name="shop-api", namespace="shop")
MEMORY = "spec.template.spec.containers[name=api].resources.limits.memory"
IMAGE = "spec.template.spec.containers[name=api].image"
SHOP = Hints(by="Application shop", directories=("charts/shop",), release="shop")


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helm:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never for helm")
    program = tmp_path / "helm"
    program.write_text(HELM)
    program.chmod(0o755)
    return Helm(str(program))


def chart(values: str = VALUES, template: str = TEMPLATE, **more: str) -> dict[str, bytes]:
    files = {"Chart.yaml": "name: shop\n", "values.yaml": values, "templates/api.yaml": template}
    files |= {name.replace("__", "/") + ".yaml": text for name, text in more.items()}
    return {f"charts/shop/{name}": text.encode() for name, text in files.items()}


def change(after: Any, field: str = MEMORY, before: Any = None) -> Change:
    return Change(target=API, field=field, before=before, after=after)


@pytest.mark.parametrize(
    ("field", "after", "old", "new"),
    [
        (MEMORY, "256Mi", "memory: 64Mi ", "memory: 256Mi "),
        ("spec.replicas", 3, "replicas: 2", "replicas: 3"),
        (IMAGE, "registry.example/api:1.3", "'1.4'", "'1.3'"),
    ],
)
def test_the_one_value_that_decides_the_field_is_changed(
    helm: Helm, field: str, after: Any, old: str, new: str
) -> None:
    made = splice.make(chart(), change(after, field), splice.Where(hints=SHOP, render=helm))

    assert made.files == {"charts/shop/values.yaml": VALUES.replace(old, new).encode()}
    assert "differs in this field only" in made.said[0]


def test_the_values_file_of_the_application_has_the_last_word(helm: Helm) -> None:
    files = chart(prod="limits: {memory: 96Mi}\n")
    hints = Hints(directories=("charts/shop",), release="shop", values=("prod.yaml",))
    where = splice.Where(hints=hints, render=helm)

    assert splice.current(files, change("1Gi"), where) == "96Mi"
    assert splice.apply(files, change("1Gi"), where) == {
        "charts/shop/prod.yaml": b"limits: {memory: 1Gi}\n"
    }


def test_a_chart_is_found_by_what_it_makes_where_nothing_is_known(helm: Helm) -> None:
    named = chart(template=TEMPLATE.replace("{{ .Release.Name }}-api", "shop-api"))

    made = splice.apply(named, change("256Mi"), splice.Where(render=helm))

    assert list(made) == ["charts/shop/values.yaml"]


@pytest.mark.parametrize(
    ("files", "wanted", "reason"),
    [
        (chart(templates__web=SECOND), change("1Gi"), "found 0 .2 were tried"),
        (chart(template=TEMPLATE.replace("{{ .Values.limits.memory | quote }}", "64Mi")),
         change("1Gi"), "decides .* alone, found 0"),
        (chart(template=TEMPLATE.replace("limits:", "limits: # fail")), change("1Gi"),
         "helm does not render the chart: Error: execution error$"),
        (chart(template=TEMPLATE.replace("-api", "-web")), change("1Gi"), "found 0"),
        (chart(**{"values-test": "{}\n"}), change("1Gi"), "has the defaults of all"),
        (chart(VALUES.replace("64Mi  ", "&m 64Mi  ").replace("other: 64Mi", "other: *m")),
         change("1Gi"), "found 0"),
    ],
    ids=["two objects", "no value", "does not render", "another object", "shared", "alias"],
)  # fmt: skip
def test_a_value_that_does_not_decide_the_field_alone_is_refused(
    helm: Helm, files: dict[str, bytes], wanted: Change, reason: str
) -> None:
    with pytest.raises(Rejected, match=reason):
        splice.apply(files, wanted, splice.Where(hints=SHOP, render=helm))


@pytest.mark.parametrize("hints", [SHOP, Hints(release="shop"), Hints()])
def test_without_helm_a_chart_is_refused_and_the_likely_value_named(hints: Hints) -> None:
    with pytest.raises(Rejected) as refused:
        splice.apply(chart(), change("256Mi"), splice.Where(hints=hints))

    assert "helm is not installed here" in str(refused.value)
    assert "charts/shop/templates/api.yaml seems to take it from .Values.limits.memory" in str(
        refused.value
    )


def test_a_chart_that_takes_too_long_and_a_name_that_is_an_option_are_refused(
    tmp_path: Path, helm: Helm
) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    options = Hints(directories=("charts/shop",), release="--post-renderer=sh")

    with pytest.raises(Rejected, match=r"renders in 0\.2 seconds"):
        splice.apply(
            chart(), change("1Gi"), splice.Where(hints=SHOP, render=Helm(str(slow), seconds=0.2))
        )
    with pytest.raises(Rejected, match="name of a Helm release"):
        splice.apply(chart(), change("1Gi"), splice.Where(hints=options, render=helm))


def test_a_values_file_outside_of_the_repository_is_refused(helm: Helm) -> None:
    hints = Hints(directories=("charts/shop",), release="shop", values=("../../../etc/passwd",))

    with pytest.raises(Rejected, match=r"values file \.\./etc/passwd, found none"):
        splice.apply(chart(), change("1Gi"), splice.Where(hints=hints, render=helm))


def test_a_proposal_changes_the_values_of_what_an_application_installs(
    tmp_path: Path, helm: Helm
) -> None:
    for name, content in chart(templates___helpers="# nothing\n").items():
        file = tmp_path / "repository" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    live = {
        "kind": "Deployment",
        "metadata": {
            "name": "shop-api",
            "namespace": "shop",
            "labels": {"app.kubernetes.io/instance": "shop"},
        },
    }
    application = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop"},
        "spec": {"source": {"path": "charts/shop"}},
    }
    diagnosis = Diagnosis(title="m", root_cause="m", changes=(change("256Mi", before="64Mi"),))
    files = DirectoryManifests(tmp_path / "repository").files()

    made = propose(
        diagnosis, files, PatchRules(), revision="", objects=[live, application], render=helm
    )

    assert made.refused == {}
    assert [file.path for file in made.files] == ["charts/shop/values.yaml"]
    assert "charts/shop, rendered with helm before and after, differs in this field only." in (
        made.checks
    )
