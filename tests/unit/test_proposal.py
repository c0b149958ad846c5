"""From a diagnosis to files and a diff, or to reasons."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from faultline.adapters.manifests import DirectoryManifests
from faultline.model import Change, Diagnosis, PatchRules, Proposal, Target
from faultline.proposal import diff, propose, protected

FIXTURES = Path(__file__).parents[1] / "fixtures" / "manifests"
FILES = DirectoryManifests(FIXTURES).files()
FILE = "deploy/api/deployment.yaml"
API = Target(kind="Deployment", name="api", namespace="shop")
RESOURCES = "spec.template.spec.containers[name=api].resources."
LIMIT = Change(
    target=API,
    field=RESOURCES + "limits.memory",
    before="64Mi",
    after="256Mi",
    reason="killed for memory",
)


def proposed(
    *changes: Change, files: dict[str, bytes] | None = None, rules: PatchRules | None = None
) -> Proposal:
    diagnosis = Diagnosis(title="memory", root_cause="too little memory", changes=changes)
    return propose(diagnosis, files or FILES, rules or PatchRules(), revision="abc")


def with_(change: Change, **update: Any) -> Change:
    return change.model_copy(update=update)


def test_a_raised_limit_becomes_one_line_of_a_diff() -> None:
    made = proposed(LIMIT)

    assert made.accepted == (LIMIT,)
    assert (made.base, made.refused) == ("abc", {})
    assert [line for line in diff(made).splitlines() if line[:1] in "+-"] == [
        f"--- a/{FILE}",
        f"+++ b/{FILE}",
        "-              memory: 64Mi   # was plenty in 2024",
        "+              memory: 256Mi   # was plenty in 2024",
    ]
    assert made.checks == (
        f"Deployment/api {LIMIT.field}: changed from 64Mi to 256Mi, "
        "4 times (allowed is up to 4 times).",
        "requests.memory 64Mi stays within 256Mi.",
    )


def test_git_applies_the_diff_and_gets_the_proposed_bytes(tmp_path: Path) -> None:
    files = {
        "a b.yaml": FILES[FILE].replace(b"\n", b"\r\n"),
        "c.yaml": b"kind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1",
    }
    web = Change(
        target=Target(kind="Deployment", name="web"), field="spec.replicas", before=1, after=2
    )
    made = proposed(LIMIT, web, files=files)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    done = subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=diff(made).encode())

    assert done.returncode == 0
    assert {f.path: f.after.encode() for f in made.files} == {
        name: (tmp_path / name).read_bytes() for name in files
    }


def test_several_changes_of_one_file_go_together() -> None:
    request = with_(LIMIT, field=RESOURCES + "requests.memory", after="128Mi")
    probe = with_(
        LIMIT,
        field="spec.template.spec.containers[name=api].readinessProbe.timeoutSeconds",
        before=1,  # the cluster shows the default
        after=5,
    )

    made = proposed(request, LIMIT, probe)

    assert len(made.accepted) == 3
    assert len(made.files) == 1
    assert "+            timeoutSeconds: 5\n" in diff(made)


def test_one_refused_change_refuses_the_patch_and_every_reason_is_told() -> None:
    image = with_(LIMIT, field="spec.template.spec.containers[name=api].image", before="a:1")
    command = with_(LIMIT, field="spec.template.spec.containers[name=api].command[0]")

    made = proposed(LIMIT, image, command)

    assert made.empty
    assert made.accepted == ()
    assert diff(made) == ""
    assert [reason.split(":")[0] for reason in made.refused.values()] == ["image", "command"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_(LIMIT, before="32Mi", after="128Mi"), "stale"),
        (with_(LIMIT, before=None), "stale"),
        (with_(LIMIT, field=RESOURCES + "limits.cpu", before="1", after="2"), "stale"),
        (with_(LIMIT, before="65536Ki", after="64Mi"), "unchanged"),
        (with_(LIMIT, before="64Mi", after="32Mi"), "bounds: requests.memory 64Mi"),
        (with_(LIMIT, target=API.model_copy(update={"name": "gone"})), "found none"),
        (
            Change(
                target=API.model_copy(update={"kind": "HorizontalPodAutoscaler"}),
                field="spec.minReplicas",
                before=4,
                after=8,
            ),
            "stale",
        ),
    ],
)
def test_what_does_not_fit_the_manifests_is_refused(change: Change, reason: str) -> None:
    made = proposed(change)

    assert made.empty
    assert any(reason in why for why in made.refused.values())


def test_the_least_of_an_autoscaler_stays_below_its_most() -> None:
    target = API.model_copy(update={"kind": "HorizontalPodAutoscaler"})
    lowered = Change(target=target, field="spec.maxReplicas", before=4, after=2)
    raised = Change(target=target, field="spec.minReplicas", before=2, after=4)

    assert proposed(lowered).accepted
    assert "bounds" in str(proposed(lowered, raised).refused)


def test_what_the_diagnosis_says_of_before_never_widens_the_factor() -> None:
    made = proposed(with_(LIMIT, before="64Gi", after="128Gi"))

    assert "stale" in made.refused[f"Deployment/api {LIMIT.field}"]


def test_no_diagnosis_and_no_changes_are_an_empty_proposal() -> None:
    assert propose(None, FILES, PatchRules(), revision="abc") == Proposal(base="abc")
    assert proposed() == Proposal(base="abc")


def test_the_same_changes_make_the_same_diff() -> None:
    backwards = dict(reversed(FILES.items()))

    assert diff(proposed(LIMIT)) == diff(proposed(LIMIT, files=backwards))


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/deploy.yaml",
        "a/.github/x.yaml",
        ".gitlab-ci.yml",
        ".gitmodules",
        ".git/config.yaml",
        "CODEOWNERS",
        "docs/CODEOWNERS",
        "Dockerfile",
        "Dockerfile.yaml",
        "images/Dockerfile",
        "Makefile",
        "action.yml",
        "deploy/readme.md",
        "/etc/x.yaml",
        "../x.yaml",
        "a/../../x.yaml",
        "a\\b.yaml",
        "a\nb.yaml",
        "",
    ],
)
def test_some_paths_are_never_changed(path: str) -> None:
    files = {path: FILES[FILE]}

    assert protected(path, PatchRules())
    assert proposed(LIMIT, files=files).empty


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("deploy/a.yaml", "**", True),
        ("deploy/a.yaml", "deploy/**", True),
        ("deploy/x/y/a.yaml", "deploy/**", True),
        ("deploy/x/a.yaml", "deploy/*.yaml", False),
        ("deploy/a.yaml", "deploy/*.yaml", True),
        ("deploy/a.yml", "deploy/?.yml", True),
        ("a.yaml", "**/a.yaml", True),
        ("x/y/a.yaml", "**/a.yaml", True),
        ("deploy.d/a.yaml", "deploy/**", False),
        ("test/a.yaml", "deploy/**", False),
    ],
)
def test_only_the_declared_directories_may_change(path: str, pattern: str, fits: bool) -> None:
    assert (protected(path, PatchRules(paths=(pattern,))) == "") is fits


def test_an_object_outside_of_the_directories_is_named_in_the_reason() -> None:
    made = proposed(LIMIT, rules=PatchRules(paths=("other/**",)))

    assert f"it stands in {FILE}" in str(made.refused)


@pytest.mark.covers("ART-08")
def test_a_patch_over_the_limit_of_lines_is_refused() -> None:
    many = [with_(LIMIT, after=f"{n}Mi") for n in range(65, 166)]

    assert "101 changes are more than 200 lines" in proposed(*many).refused["patch"]


def test_a_patch_over_the_limit_of_files_is_refused() -> None:
    many = [
        Change(
            target=Target(kind="Deployment", name=f"w{n}"),
            field="spec.replicas",
            before=2,
            after=3,
        )
        for n in range(6)
    ]
    text = "kind: Deployment\nmetadata: {name: w%d}\nspec: {replicas: 2}\n"
    apart = {f"w{n}.yaml": (text % n).encode() for n in range(6)}
    one = {"w.yaml": "---\n".join(text % n for n in range(6)).encode()}

    assert "12 lines in 6 files" in str(proposed(*many, files=apart).refused)
    assert not proposed(*many, files=one).empty


CLUSTERS = Path(__file__).resolve().parents[2] / "examples" / "clusters"


def test_a_variable_that_went_missing_comes_back_below_the_others() -> None:
    files = DirectoryManifests(CLUSTERS / "crash-loop-env" / "manifests").files()
    url = "postgres://orders-db.shop.svc.cluster.local:5432/orders?sslmode=require"
    change = Change(
        target=Target(kind="Deployment", name="orders", namespace="shop"),
        field="spec.template.spec.containers[name=app].env[name=DATABASE_URL].value",
        after=url,
    )

    made = proposed(change, files=dict(files))

    assert [line for line in diff(made).splitlines() if line[0] in "+-"][2:] == [
        "+            - name: DATABASE_URL",
        f'+              value: "{url}"',
    ]


CONTAINER = "spec.template.spec.containers[name=api]."


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"startupProbe.failureThreshold": 30}, "nothing that it asks"),
        ({"startupProbe.httpGet.path": "/up", "startupProbe.failureThreshold": 30}, "a port"),
        ({"startupProbe.httpGet.port": 1, "startupProbe.tcpSocket.port": 1}, "httpGet and tcp"),
        ({"env[name=NEW].valueFrom.configMapKeyRef.name": "api"}, "would have no key"),
        ({"env[name=NEW].valueFrom.configMapKeyRef.key": "mode"}, "would have no name"),
        ({"env[name=LOG].value": "x", "env[name=LOG].valueFrom.configMapKeyRef.key": "l"}, "both"),
        ({"startupProbe.httpGet.port": 8080, "startupProbe.failureThreshold": 30}, ""),
        ({"env[name=NEW].value": "fast"}, ""),
    ],
)
def test_a_new_probe_or_variable_has_to_be_whole(values: dict[str, Any], reason: str) -> None:
    wanted = [
        Change(target=API, field=CONTAINER + field, after=after) for field, after in values.items()
    ]

    made = proposed(*wanted)

    assert made.empty is bool(reason)
    assert reason in str(made.refused)
