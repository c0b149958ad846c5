"""The clusters that `examples/recordings/` describes, and what the analyzers say of every one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from faultline.capsule import Capsule
from faultline.cases import capsule_of, files_of, proved_condition
from faultline.diagnosis import diagnose

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRUTHS = {
    path.parent.name: json.loads(path.read_bytes())
    for path in EXAMPLES.glob("clusters/*/truth.json")
}


@pytest.fixture(scope="module")
def described() -> dict[str, Callable[[], Any]]:
    sys.path.insert(0, str(EXAMPLES))
    try:
        from make_clusters import CASES
    finally:
        sys.path.remove(str(EXAMPLES))
    return CASES


def test_each_folder_is_what_its_description_makes(described: dict[str, Callable[[], Any]]) -> None:
    different = []
    for name, make in described.items():
        folder = EXAMPLES / "clusters" / name
        made = make().files()
        kept = {
            p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*")
            if p.is_file()
        }
        different += [f"{name}/{f}" for f in made.keys() | kept if made.get(f) != kept.get(f)]

    assert different == [], "python examples/make_clusters.py writes them anew"


def test_nobody_is_wrong_about_what_controllers_do(
    described: dict[str, Callable[[], Any]], tmp_path: Path
) -> None:
    from recordings import controlling  # which `described` has found

    for name, make in controlling.CASES.items():
        files = make().files()
        for path, data in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        truth = json.loads(files["truth.json"])

        said = proved_condition(diagnose(capsule_of(tmp_path / name)))

        assert said in ("", f"{truth['family']}.{truth['condition']}")


def objects(cluster: Path) -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    lists = (yaml.load(p.read_bytes(), Loader=loader) for p in (cluster / "objects").glob("*.yaml"))
    return [item for found in lists for item in found["items"]]


@pytest.mark.parametrize("case", sorted(TRUTHS))
def test_owners_selectors_and_events_of_a_cluster_belong_together(case: str) -> None:
    folder = EXAMPLES / "clusters" / case
    there = objects(folder)
    uids = {(o["kind"], o["metadata"]["name"]): o["metadata"]["uid"] for o in there}
    owned = [o for v in there for o in v["metadata"].get("ownerReferences", ())]
    events = json.loads((folder / "events.json").read_bytes())["items"]
    subjects = [e["involvedObject"] for e in events]

    assert len(uids) == len({(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"])
                             for o in there}) == len(set(uids.values()))  # fmt: skip
    assert all(uids.get((o["kind"], o["name"]), o["uid"]) == o["uid"] for o in [*owned, *subjects])
    for value in there:
        template = (value.get("spec") or {}).get("template")
        if template and "selector" in value["spec"]:
            wanted = value["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= template["metadata"]["labels"].items()


def test_an_object_of_every_kind_of_workload_is_in_three_families() -> None:
    families: dict[str, set[str]] = {}
    for truth in TRUTHS.values():
        if "target" in truth:
            families.setdefault(truth["target"]["kind"], set()).add(truth["family"])

    assert {k for k, v in families.items() if len(v) >= 3} >= {
        "Deployment", "StatefulSet", "DaemonSet", "CronJob",
    }  # fmt: skip


def _one_of_each_family() -> list[str]:
    first: dict[str, str] = {}
    for name, truth in sorted(TRUTHS.items()):
        if "field" in truth:
            first.setdefault(truth["family"], name)
    return sorted(first.values())


@pytest.mark.parametrize("case", _one_of_each_family())
def test_in_a_cluster_where_all_is_called_otherwise_the_answer_is_the_same(case: str) -> None:
    files = files_of(Capsule.from_directory(EXAMPLES / "capsules" / case))
    other = {
        name.replace("shop", "bazaar"): data.replace(b"shop", b"bazaar").replace(
            b"eu-west", b"asia"
        )
        for name, data in files.items()
    }

    said, renamed = diagnose(Capsule(files)), diagnose(Capsule(other))

    assert said.diagnosis is not None
    assert renamed.diagnosis is not None
    assert [(c.target.name, c.field) for c in renamed.diagnosis.changes] == [
        (c.target.name, c.field) for c in said.diagnosis.changes
    ]
    assert {c.target.namespace for c in renamed.diagnosis.changes} == {"bazaar"}
    assert renamed.diagnosis.root_cause == said.diagnosis.root_cause.replace(
        "shop", "bazaar"
    ).replace("eu-west", "asia")
