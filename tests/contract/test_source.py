import datetime as dt
import json

import pytest

from faultline.adapters.sources.alert import AlertSource
from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.adapters.sources.runbooks import RunbookSource
from faultline.errors import FaultlineError, NotFound
from faultline.limits import context_bytes_max, context_file_bytes_max, context_files_max
from faultline.model import Fault, Incident, Resource

START = dt.datetime(2026, 11, 21, 9, 47, tzinfo=dt.UTC)
RESOURCE = Resource(kind="Deployment", name="checkout", namespace="shop")


def alert(folder):
    payload = folder / "payloads.json"
    payload.write_text('{"version":   "4"}\n')
    return AlertSource(lambda key: (folder / key).read_bytes())


def runbooks(folder):
    (folder / "KubePodCrashLooping.md").write_text("# What to do\n")
    return RunbookSource(folder)


def cluster(folder):
    (folder / "objects").mkdir()
    workload = {"kind": "Deployment", "metadata": {"name": "checkout", "namespace": "shop"}}
    (folder / "objects/a.json").write_text(json.dumps(workload))
    return ClusterSource(RecordedCluster(folder))


def large_cluster(folder):
    """More of everything than a capsule takes."""
    source = cluster(folder)
    for n in range(300):
        meta = {"name": f"quota-{n}", "namespace": "shop", "annotations": {"x": "y" * 60_000}}
        value = {"kind": "ResourceQuota", "metadata": meta}
        (folder / f"objects/{n}.json").write_text(json.dumps(value))
    return source


@pytest.fixture(params=[alert, runbooks, cluster, large_cluster])
def source(request, tmp_path):
    return request.param(tmp_path)


def incident(**fields):
    plain = {"name": "KubePodCrashLooping", "cluster": "prod-a", "resource": RESOURCE}
    fault = Fault(**(plain | {"payload": "payloads.json"} | fields), starts_at=START)
    return Incident(id="20261121-x-00000000", key="k", fault=fault, opened_at=START)


def test_it_yields_named_bytes_within_the_limits_of_a_capsule(source):
    files = list(source.collect(incident()))

    names = [name for name, _ in files]
    assert files
    assert len(set(names)) == len(names)
    assert all(name.startswith("context/") and ".." not in name for name in names)
    assert all(isinstance(data, bytes) and len(data) <= context_file_bytes_max for _, data in files)
    assert len(files) <= context_files_max
    assert sum(len(data) for _, data in files) <= context_bytes_max


def test_asked_twice_it_says_the_same(source):
    assert list(source.collect(incident())) == list(source.collect(incident()))


def test_with_nothing_to_say_it_says_why(source):
    nothing = incident(name="Unknown", resource=None, payload="")

    with pytest.raises(FaultlineError, match=r"\w+ \w+"):
        list(source.collect(nothing))


def test_it_has_a_name_that_can_stand_in_an_index(source):
    assert source.name.isidentifier()


@pytest.mark.covers("S1-035")
def test_the_message_is_yielded_as_its_sender_wrote_it(tmp_path):
    assert dict(alert(tmp_path).collect(incident())) == {
        "context/event.json": b'{"version":   "4"}\n'
    }


def test_a_message_too_large_for_a_capsule_is_named_and_not_cut():
    source = AlertSource(lambda _: b"x" * (context_file_bytes_max + 1))

    with pytest.raises(NotFound, match=r"payloads\.json"):
        list(source.collect(incident()))


def test_what_a_large_cluster_leaves_out_is_listed(tmp_path):
    files = dict(large_cluster(tmp_path).collect(incident()))

    omitted = json.loads(files["context/cluster-info.json"])["omitted"]
    kept = [name for name in files if "/resourcequota/" in name]
    assert len(omitted) + len(kept) == 300


@pytest.mark.parametrize("name", ["../secret", ".hidden", "", "a/b"])
def test_a_runbook_never_comes_from_outside_its_folder(tmp_path, name):
    with pytest.raises(NotFound):
        list(runbooks(tmp_path).collect(incident(name=name)))
