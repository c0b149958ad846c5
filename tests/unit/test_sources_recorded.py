import datetime as dt
import json
import sys
from pathlib import Path

import pytest
import yaml

from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.adapters.sources.rollouts import differences
from faultline.capsule import Capsule
from faultline.errors import NotFound, Rejected
from faultline.limits import k8s_events_max, log_line_chars_max, log_lines_per_container
from faultline.model import Fault, Incident, Resource

EXAMPLES = Path(__file__).parents[2] / "examples"
MEMORY = EXAMPLES / "clusters/memory"
START = dt.datetime(2026, 11, 21, 9, 47, tzinfo=dt.UTC)
CASES = sorted(p.name for p in (EXAMPLES / "clusters").iterdir())


def incident(resource, name="KubePodCrashLooping"):
    fault = Fault(name=name, cluster="prod-a", resource=resource, starts_at=START)
    return Incident(id="20261121-x-00000000", key="k", fault=fault, opened_at=START)


def named(kind, name):
    return Resource(kind=kind, name=name, namespace="shop")


def deployment(name="checkout"):
    return named("Deployment", name)


def collected(folder, resource=None):
    source = ClusterSource(RecordedCluster(folder))
    return dict(source.collect(incident(resource or deployment())))


def read(files, name):
    return json.loads(files[f"context/{name}"])


def record(folder, *objects, events=()):
    (folder / "objects").mkdir(parents=True)
    (folder / "objects/all.yaml").write_text(yaml.safe_dump_all(objects))
    (folder / "events.json").write_text(json.dumps({"items": list(events)}))
    return folder


def thing(kind, name="checkout", owner=None, **fields):
    meta = {"name": name, "namespace": "shop"}
    if owner:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    return {"kind": kind, "metadata": meta | fields.pop("metadata", {}), **fields}


@pytest.mark.covers("S1-043", "S1-126")
@pytest.mark.parametrize("case", CASES)
def test_an_example_capsule_is_what_the_steps_make_of_its_cluster(case):
    sys.path.insert(0, str(EXAMPLES))
    try:
        from make_capsules import make
    finally:
        sys.path.remove(str(EXAMPLES))
    folder = EXAMPLES / "capsules" / case

    made = make(EXAMPLES / "clusters" / case)

    kept = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    differing = sorted(name for name in made.keys() | kept if made.get(name) != kept.get(name))
    assert differing == [], "python examples/make_capsules.py writes them anew"
    Capsule.from_directory(folder).verify()


@pytest.mark.parametrize(
    "resource",
    [
        Resource(kind="Pod", name="checkout-vxn7njk876-g4hxz", namespace="shop"),
        Resource(kind="Pod", name="checkout-vxn7njk876-bcdfg", namespace="shop"),  # gone
        Resource(kind="ReplicaSet", name="checkout-vxn7njk876", namespace="shop"),
        Resource(name="checkout", namespace="shop"),
    ],
)
def test_from_any_object_of_a_workload_the_owners_lead_to_the_same_files(resource):
    assert collected(MEMORY, resource) == collected(MEMORY)


def test_without_owner_references_the_name_leads_to_the_workload(tmp_path):
    record(tmp_path, thing("Deployment"), thing("Pod", "checkout-7d9f6c5b4-x2x9z"))

    files = collected(
        tmp_path, Resource(kind="Pod", name="checkout-7d9f6c5b4-zzzzz", namespace="shop")
    )

    assert "context/objects/deployment/checkout.yaml" in files


def test_a_fault_about_nothing_that_is_there_says_so(tmp_path):
    record(tmp_path, thing("Deployment"))
    source = ClusterSource(RecordedCluster(tmp_path))

    with pytest.raises(NotFound, match="names no object"):
        list(source.collect(incident(None)))
    with pytest.raises(NotFound, match="other"):
        list(source.collect(incident(deployment("other"))))


@pytest.mark.covers("S1-037")
def test_cluster_info_names_the_cluster_and_each_object_with_its_part():
    info = read(collected(MEMORY), "cluster-info.json")

    assert (info["clusterName"], info["namespace"]) == ("prod-a", "shop")
    assert info["versions"] == {"kubernetes": "v1.33.1", "kubelets": ["v1.33.1"]}
    first, roles = info["involvedResources"][0], {r["role"] for r in info["involvedResources"]}
    assert (first["kind"], first["name"], first["role"]) == ("Deployment", "checkout", "workload")
    assert {"revision", "pod", "config", "service", "endpoints", "node", "quota"} <= roles


def test_a_missing_configmap_is_named_and_one_that_is_called_nearly_so_is_shown():
    files = collected(EXAMPLES / "clusters/missing-configmap")

    gone = [r for r in read(files, "cluster-info.json")["involvedResources"] if r.get("missing")]
    assert [(r["kind"], r["name"]) for r in gone] == [("ConfigMap", "checkout-config")]
    assert "context/objects/configmap/checkout-conf.yaml" in files
    assert "context/objects/configmap/storefront-banners.yaml" not in files


def test_a_service_is_shown_that_is_called_nearly_like_a_host_that_the_log_complains_of():
    shown = collected(
        EXAMPLES / "clusters/unknown-host-cronjob", named("CronJob", "nightly-report")
    )
    exact = collected(EXAMPLES / "clusters/memory")

    assert "context/objects/service/bookings.yaml" in shown
    assert "context/objects/service/checkout.yaml" in exact  # its own, and no other
    assert sum(name.startswith("context/objects/service/") for name in exact) == 1


def test_a_fault_about_an_autoscaler_is_about_the_workload_that_it_scales():
    files = collected(
        EXAMPLES / "clusters/autoscaler-request", named("HorizontalPodAutoscaler", "frontend")
    )

    first = read(files, "cluster-info.json")["involvedResources"][0]
    assert (first["kind"], first["name"], first["role"]) == ("Deployment", "frontend", "workload")
    assert "context/objects/horizontalpodautoscaler/frontend.yaml" in files


def test_what_only_machines_read_stays_out():
    text = b"".join(collected(MEMORY).values()).decode()

    assert "managedFields" in (MEMORY / "objects/deployments.yaml").read_text()
    assert "managedFields" not in text
    assert "last-applied-configuration" not in text


def test_of_a_secret_only_keys_and_sizes_go_on(tmp_path):
    spec = {"containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "db"}}]}]}
    workload = thing("Deployment", spec={"template": {"spec": spec}})
    record(tmp_path, workload, thing("Secret", "db", data={"password": "aHVudGVyMg=="}))

    files = collected(tmp_path)

    value = yaml.safe_load(files["context/objects/secret/db.yaml"])
    assert value["data"] == {"password": "7 bytes"}
    assert b"aHVudGVy" not in b"".join(files.values())


def test_what_was_not_seen_is_said():
    said = read(collected(MEMORY), "permissions.json")

    assert said["seen"]["Pod"] == 2
    assert said["not_seen"] == {"Secret": "Secrets were not recorded"}


@pytest.mark.covers("S3-26")
def test_events_are_those_of_the_objects_newest_first():
    items = read(collected(MEMORY), "k8s-events.json")["items"]

    recorded = json.loads((MEMORY / "events.json").read_bytes())["items"]
    assert "newsletter" in str(recorded)
    assert "newsletter" not in str(items)
    assert "Killing" in {i["reason"] for i in items}  # of a pod that is gone
    times = [i["lastTimestamp"] for i in items]
    assert times == sorted(times, reverse=True)


def test_events_are_not_more_than_the_limit(tmp_path):
    about = {"kind": "Deployment", "name": "checkout", "namespace": "shop"}
    events = [
        thing("Event", f"e{n}", involvedObject=about, lastTimestamp=f"2026-11-20T09:00:{n:04}Z")
        for n in range(k8s_events_max + 5)
    ]

    items = read(collected(record(tmp_path, thing("Deployment"), events=events)), "k8s-events.json")

    assert len(items["items"]) == k8s_events_max
    assert items["items"][0]["metadata"]["name"] == f"e{k8s_events_max + 4}"


def with_log(tmp_path, current, previous=None):
    pod = thing("Pod", "checkout-0", owner=("StatefulSet", "checkout"))
    pod["spec"] = {"containers": [{"name": "app"}]}
    record(tmp_path, thing("StatefulSet"), pod)
    folder = tmp_path / "logs/shop/checkout-0"
    folder.mkdir(parents=True)
    (folder / "app.log").write_text(current)
    if previous is not None:
        (folder / "app.previous.log").write_text(previous)
    resource = Resource(kind="StatefulSet", name="checkout", namespace="shop")
    return collected(tmp_path, resource)["context/logs.txt"].decode()


@pytest.mark.covers("S1-036")
def test_logs_are_the_last_lines_of_each_container_current_and_previous(tmp_path):
    text = with_log(tmp_path, "".join(f"line {n}\n" for n in range(99)), "died\n")

    current, previous = text.split("==> checkout-0/app (previous) <==\n")
    assert current.startswith("==> checkout-0/app (current) <==\n")
    assert current.count("\n") == log_lines_per_container + 1
    assert current.endswith("line 98\n")
    assert previous == "died\n"


def test_a_line_of_a_log_is_cut_cleaned_and_never_a_heading(tmp_path):
    text = with_log(tmp_path, f"{'x' * 3000}\n\x1b[31mred\x1b[0m\x07\n==> y/z (current) <==\n")

    _, long, red, forged = text.splitlines()
    assert long == "x" * log_line_chars_max + "...[truncated]..."
    assert red == "red"
    assert forged == " ==> y/z (current) <=="


def test_rollouts_say_what_each_revision_changed_newest_first():
    newest, before = read(collected(MEMORY), "changes.json")["rollouts"]

    assert (newest["revision"], newest["previous"]) == (7, 6)
    assert newest["at"] == "2026-11-20T09:31:07Z"
    field = "spec.template.spec.containers[name=app].resources.limits.memory"
    assert {"field": field, "before": "256Mi", "after": "64Mi"} in newest["differences"]
    assert [d["field"].rsplit(".", 1)[1] for d in before["differences"]] == ["image"]


def test_differences_match_list_items_by_name_and_quote_odd_keys():
    before = {"c": [{"name": "a", "x": 1}, {"name": "b"}], "l": {"k8s.io/y": "1"}, "args": ["-v"]}
    after = {"c": [{"name": "b"}, {"name": "a", "x": 2}], "l": {}, "args": ["-v", "-q"]}

    assert list(differences(before, after, "spec")) == [
        {"field": "spec.c[name=a].x", "before": 1, "after": 2},
        {"field": 'spec.l["k8s.io/y"]', "before": "1", "after": None},
        {"field": "spec.args", "before": ["-v"], "after": ["-v", "-q"]},
    ]


def test_series_are_numbers_with_their_query_and_unit():
    series = read(collected(MEMORY), "metrics.json")["series"]

    memory = [s for s in series if s["name"] == "memory_working_set"]
    assert {s["unit"] for s in memory} == {"bytes"}
    assert {s["labels"]["pod"].rsplit("-", 1)[0] for s in memory} == {
        "checkout-vxn7njk876", memory[0]["labels"]["pod"].rsplit("-", 1)[0],
    }  # fmt: skip
    assert all(isinstance(v, int) and isinstance(t, int) for s in memory for t, v in s["points"])


def test_a_part_of_the_cluster_that_fails_does_not_stop_the_others(tmp_path):
    record(tmp_path, thing("Deployment"))
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/broken.json").write_text("{")

    files = collected(tmp_path)

    assert "context/k8s-events.json" in files
    assert "context/metrics.json" not in files
    assert "broken.json" in read(files, "permissions.json")["not_seen"]["metrics.json"]


def test_an_object_file_that_is_no_yaml_is_refused_by_name(tmp_path):
    record(tmp_path, thing("Deployment"))
    (tmp_path / "objects/x.yaml").write_text("a: [")

    with pytest.raises(Rejected, match=r"x\.yaml"):
        RecordedCluster(tmp_path).objects("Pod", "shop")


def test_nodes_are_all_shown_when_a_pod_found_none(tmp_path):
    def node(name):
        return {
            "kind": "Node",
            "metadata": {"name": name},
            "status": {"images": ["x"], "capacity": {}},
        }

    pod = thing("Pod", "checkout-a", owner=("Deployment", "checkout"), spec={"containers": []})
    record(tmp_path, thing("Deployment"), pod, node("n1"), node("n2"))

    files = collected(tmp_path)

    assert "context/objects/node/n2.yaml" in files
    assert b"images" not in files["context/objects/node/n1.yaml"]
