"""One contract for every store: the comments of `faultline.store`, as tests."""

import threading
from concurrent.futures import ThreadPoolExecutor

import boto3
import httpx
import pytest
from gateway_world import Served
from moto.server import ThreadedMotoServer

from faultline import keys
from faultline.adapters.stores import open_store, probe
from faultline.adapters.stores.gateway import GatewayStore
from faultline.errors import AlreadyExists, NotFound, Rejected
from faultline.gateway import app


class NoLimits:
    """Rights of someone who may everything."""

    check_read = check_list = check_write = check_form = staticmethod(lambda *_, **__: None)


@pytest.fixture(scope="module")
def s3_endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def behind_the_gateway(monkeypatch):
    monkeypatch.setattr(app, "rights", NoLimits)  # what they are: tests/unit/test_gateway.py
    served = Served(app.Gateway(open_store("memory:"), sink=None, who=lambda *_: None))
    with httpx.Client() as client:
        yield GatewayStore(served.url, token=lambda: "a", client=client)
    served.stop()


@pytest.fixture(params=["memory", "files", "s3", "gateway"])
def store(request, tmp_path, monkeypatch):
    if request.param == "memory":
        return open_store("memory:")
    if request.param == "gateway":
        return request.getfixturevalue("behind_the_gateway")
    if request.param == "files":
        return open_store(f"file://{tmp_path}/store")
    endpoint = request.getfixturevalue("s3_endpoint")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    bucket = f"bucket-{tmp_path.name.strip('_').replace('_', '-').lower()[:40]}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return open_store(f"s3://{bucket}/some/prefix?endpoint={endpoint}&region=us-east-1")


def test_what_was_put_is_returned_at_once(store):
    store.put("a/b.json", b"\x00\xffbytes")

    assert store.get("a/b.json") == b"\x00\xffbytes"


def test_an_empty_record_is_a_record(store):
    store.put("a/empty.txt", b"")

    assert store.get("a/empty.txt") == b""
    assert list(store.list("a/")) == ["a/empty.txt"]


@pytest.mark.parametrize("key", ["a/b.json", "never/a/folder/either"])
def test_what_was_never_put_is_not_found(store, key):
    with pytest.raises(NotFound, match=key):
        store.get(key)


def test_a_folder_is_not_a_record(store):
    store.put("a/b/c.json", b"c")

    with pytest.raises(NotFound):
        store.get("a/b")


def test_without_if_absent_the_last_one_wins(store):
    store.put("README.md", b"one")
    store.put("README.md", b"two")

    assert store.get("README.md") == b"two"


def test_with_if_absent_the_first_one_wins_and_stays(store):
    store.put("a.json", b"one", if_absent=True)

    with pytest.raises(AlreadyExists, match=r"a\.json"):
        store.put("a.json", b"two", if_absent=True)

    assert store.get("a.json") == b"one"


def test_the_same_bytes_again_are_not_a_first_write(store):
    store.put("a.json", b"one", if_absent=True)

    with pytest.raises(AlreadyExists):
        store.put("a.json", b"one", if_absent=True)


def test_if_absent_sees_what_was_put_without_it(store):
    store.put("a.json", b"one")

    with pytest.raises(AlreadyExists):
        store.put("a.json", b"two", if_absent=True)


def test_of_sixteen_racing_writers_exactly_one_wins_each_round(store):
    barrier = threading.Barrier(16)

    def write(key, who):
        barrier.wait()
        try:
            store.put(key, f"writer {who}".encode(), if_absent=True)
        except AlreadyExists:
            return None
        return who

    with ThreadPoolExecutor(16) as pool:
        for n in range(8):
            key = f"claims/race/{n:04d}.json"
            winners = [w for w in pool.map(write, [key] * 16, range(16)) if w is not None]

            assert len(winners) == 1
            assert store.get(key) == f"writer {winners[0]}".encode()


def test_a_listing_is_in_the_order_of_utf8_bytes_however_deep(store):
    names = [
        "a/b",
        "a-b",
        "a.b/c",
        "a/b-c/d",
        "a/b0",
        "ab/c",
        "Z",
        "ä",
        "z/é",
        "z/\U0001f40d",
        "a/%2F.json",
    ]
    for name in names:
        store.put(name, b"x")

    assert list(store.list("")) == sorted(names, key=str.encode)


def test_a_prefix_may_end_inside_a_name(store):
    for name in ("claims/x/0001.json", "claims/x/0002.json", "claims/xy/0001.json", "cleared/x"):
        store.put(name, b"x")

    assert list(store.list("claims/x")) == [
        "claims/x/0001.json",
        "claims/x/0002.json",
        "claims/xy/0001.json",
    ]
    assert list(store.list("claims/x/")) == ["claims/x/0001.json", "claims/x/0002.json"]
    assert list(store.list("cl")) == sorted(store.list(""))
    assert list(store.list("nothing/here/")) == []


def test_folders_are_the_next_parts_that_have_keys_below(store):
    for name in ("i/b/x.json", "i/a/deep/er/y.json", "i/a/z", "i/a-b/q", "i/file.md", "j/other/x"):
        store.put(name, b"x")

    assert list(store.folders("i/")) == ["a", "a-b", "b"]
    assert list(store.folders("i/a/")) == ["deep"]
    assert list(store.folders("nothing/")) == []


def test_folders_may_be_asked_for_by_how_their_names_begin(store):
    for name in ("i/2026-a/x", "i/2026-b/deep/y", "i/2026", "i/2027-a/x", "k/2026-c/x", "2026-d/x"):
        store.put(name, b"x")

    assert list(store.folders("i/2026-")) == ["2026-a", "2026-b"]
    assert list(store.folders("i/2027-a")) == ["2027-a"]
    assert list(store.folders("20")) == ["2026-d"]
    assert list(store.folders("i/nothing")) == []


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../../b", "a/.", "a\0b", "\ud800"]
)
def test_a_key_that_could_leave_its_folder_is_refused(store, key):
    with pytest.raises(Rejected):
        store.put(key, b"x")
    with pytest.raises(Rejected):
        store.get(key)

    assert list(store.list("")) == []


def test_encoded_parts_from_outside_are_names_like_others(store):
    key = keys.cleared("../../etc/passwd \n ümlaut")

    store.put(key, b"x")

    assert list(store.list("cleared/")) == [key]
    assert store.get(key) == b"x"


def test_a_store_that_keeps_the_promise_passes_the_probe_again_and_again(store):
    probe(store)
    probe(store)

    assert keys.PROBE in store.list("")


class Forgetful:
    """A store that takes the second write as well."""

    def put(self, key, data, *, if_absent=False):
        pass


def test_a_store_that_ignores_conditional_writes_is_refused():
    with pytest.raises(Rejected, match="ignores conditional writes"):
        probe(Forgetful())


@pytest.mark.parametrize("url", ["", "http://x", "s3:", "s3:///x", "file:", "file://", "/tmp/x"])
def test_a_url_that_names_no_store_is_refused_with_examples(url):
    with pytest.raises(Rejected, match=r"s3://bucket/prefix"):
        open_store(url)


def test_an_unknown_option_of_s3_is_refused():
    with pytest.raises(Rejected, match="endpoitn"):
        open_store("s3://bucket/prefix?endpoitn=http://127.0.0.1:1")
