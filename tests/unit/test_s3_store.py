"""What is particular to S3: its answers, lost replies, pages. A proxy stands before a real moto."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto.server import ThreadedMotoServer

from faultline.adapters.stores import probe
from faultline.adapters.stores.s3 import S3Store
from faultline.errors import AlreadyExists, NotFound, Rejected, Unavailable

ERROR = "<Error><Code>{}</Code><Message>planned</Message></Error>"


class Proxy(ThreadingHTTPServer):
    """Passes requests on to moto, or does what is planned for the next one instead."""

    daemon_threads = True

    def __init__(self, upstream):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = upstream
        self.plan = []  # of: a status, "lost", "hang", "cut", "garbage", "strip", None
        self.seen = []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # clients that hang up are the point


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.do_GET()

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        plan = self.server.plan.pop(0) if self.server.plan else None
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        if isinstance(plan, int):
            self.send(plan, {}, ERROR.format("SlowDown" if plan == 503 else "Planned").encode())
        elif plan == "hang":
            self.server.released.wait(10)
            self.close_connection = True
        elif plan == "garbage":
            self.send(200, {}, b"<html><body>Please log in</body></html>")
        else:
            self.send_from_upstream(body, plan)

    def send_from_upstream(self, body, plan):
        headers = dict(self.headers)
        if plan == "strip":
            headers = {k: v for k, v in headers.items() if k.lower() != "if-none-match"}
        upstream = http.client.HTTPConnection(self.server.upstream.removeprefix("http://"))
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if plan == "lost":
            self.close_connection = True
        else:
            self.send(answer.status, dict(answer.getheaders()), content, cut=plan == "cut")

    def send(self, status, headers, body, cut=False):
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def proxy(moto, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    direct = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    direct.create_bucket(Bucket="faultline")
    for entry in direct.list_objects_v2(Bucket="faultline").get("Contents", []):
        direct.delete_object(Bucket="faultline", Key=entry["Key"])
    server = Proxy(moto)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def naps():
    return []


@pytest.fixture
def store(proxy, naps):
    return S3Store(
        "faultline", "p", endpoint=proxy.url, region="us-east-1", timeout_s=0.5, sleep=naps.append
    )


def test_a_record_carries_its_content_type_and_is_shown_in_the_browser(store, moto):
    for name in ("a.json", "notes.md", "artifact.html", "dump.bin"):
        store.put(name, b"x")

    direct = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    heads = {
        n: direct.head_object(Bucket="faultline", Key=f"p/{n}") for n in ("a.json", "notes.md")
    }
    assert heads["a.json"]["ContentType"] == "application/json"
    assert heads["notes.md"]["ContentType"] == "text/markdown; charset=utf-8"
    assert {head["ContentDisposition"] for head in heads.values()} == {"inline"}
    page = direct.head_object(Bucket="faultline", Key="p/artifact.html")
    assert page["ContentType"] == "text/plain; charset=utf-8"
    dump = direct.head_object(Bucket="faultline", Key="p/dump.bin")
    assert dump["ContentDisposition"] == "attachment"


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_an_answer_that_may_pass_is_asked_again_after_a_pause(store, proxy, naps, status):
    proxy.plan = [status, status]

    store.put("a.json", b"x", if_absent=True)

    assert store.get("a.json") == b"x"
    assert len(naps) == 2
    assert naps == sorted(naps)


@pytest.mark.parametrize("status", [409, 503])
def test_patience_ends_as_unavailable(store, proxy, naps, status):
    proxy.plan = [status] * 4

    with pytest.raises(Unavailable, match=str(status)):
        store.put("a.json", b"x", if_absent=True)

    assert (len(proxy.seen), len(naps)) == (4, 3)


@pytest.mark.parametrize(("status", "hint"), [(403, "credentials"), (501, "conditional writes")])
def test_an_answer_that_will_not_pass_is_not_asked_again(store, proxy, naps, status, hint):
    proxy.plan = [status]

    with pytest.raises(Unavailable, match=hint):
        store.put("a.json", b"x", if_absent=True)

    assert naps == []


def test_a_reply_that_was_lost_after_the_write_is_recognised_as_our_own(store, proxy):
    proxy.plan = ["lost"]

    store.put("a.json", b"x", if_absent=True)

    assert [method for method, _, _ in proxy.seen] == ["PUT", "PUT", "GET"]


def test_a_write_that_is_refused_asks_who_wrote(store, proxy):
    store.put("a.json", b"x", if_absent=True)
    proxy.seen.clear()

    with pytest.raises(AlreadyExists):
        store.put("a.json", b"x", if_absent=True)

    assert [method for method, _, _ in proxy.seen] == ["PUT", "GET"]


@pytest.mark.parametrize("bytes_of_the_first", [b"x", b"other"])
def test_a_lost_reply_does_not_make_another_writers_record_ours(store, proxy, bytes_of_the_first):
    store.put("a.json", bytes_of_the_first, if_absent=True)
    proxy.plan = ["lost"]

    with pytest.raises(AlreadyExists):
        store.put("a.json", b"x", if_absent=True)

    assert store.get("a.json") == bytes_of_the_first


@pytest.mark.covers("IDM-07")
@pytest.mark.parametrize(
    "plan", [[409], [503], ["lost"], ["hang"], ["lost", 409, "lost"], [409, 503]]
)
def test_whatever_s3_answers_one_of_two_writers_wins(store, proxy, naps, plan):
    other = S3Store(
        "faultline", "p", endpoint=proxy.url, region="us-east-1", timeout_s=0.5, sleep=naps.append
    )
    proxy.plan = list(plan)
    won = []
    for who, writer in (("first", store), ("second", other)):
        try:
            writer.put("claims/x/0001.json", b"the same bytes", if_absent=True)
            won.append(who)
        except AlreadyExists:
            pass

    assert won == ["first"]


def test_a_server_that_hangs_is_given_up_and_asked_again(store, proxy, naps):
    store.put("a.json", b"x")
    proxy.plan = ["hang"]

    assert store.get("a.json") == b"x"
    assert len(naps) == 1


def test_a_body_that_breaks_off_is_read_again(store, proxy):
    store.put("a.json", b"x" * 1000)
    proxy.plan = ["cut"]

    assert store.get("a.json") == b"x" * 1000


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.put("a.json", b"x"),
        lambda store: store.get("a.json"),
        lambda store: list(store.list("")),
        lambda store: list(store.folders("")),
    ],
    ids=["put", "get", "list", "folders"],
)
def test_a_login_page_is_not_an_empty_store(store, proxy, act):
    proxy.plan = ["garbage"] * 4

    with pytest.raises(Unavailable, match=r"login page|500 InternalError"):
        act(store)


def test_a_server_that_is_not_there_is_unavailable(proxy, naps):
    gone = S3Store(
        "faultline", endpoint="http://127.0.0.1:1", region="us-east-1", sleep=naps.append
    )

    with pytest.raises(Unavailable, match="EndpointConnectionError"):
        gone.get("a.json")

    assert len(naps) == 3


def test_no_credentials_are_unavailable_and_not_asked_again(proxy, naps, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    poor = S3Store("faultline", endpoint=proxy.url, region="us-east-1", sleep=naps.append)

    with pytest.raises(Unavailable, match="NoCredentialsError"):
        poor.get("a.json")

    assert naps == []


def test_a_bucket_that_is_not_there_is_not_an_empty_store(proxy, naps):
    nowhere = S3Store("nowhere", endpoint=proxy.url, region="us-east-1", sleep=naps.append)

    with pytest.raises(Unavailable, match="no such bucket"):
        nowhere.get("a.json")
    with pytest.raises(Unavailable, match="no such bucket"):
        list(nowhere.list(""))


def test_a_missing_record_is_not_found(store):
    with pytest.raises(NotFound):
        store.get("a.json")


def test_a_listing_follows_every_page_even_a_short_one(proxy, store):
    class ShortPages:
        """moto fills its pages; other servers do not."""

        def __init__(self, client):
            self.client = client

        def list_objects_v2(self, **asked):
            return self.client.list_objects_v2(MaxKeys=2, **asked)

    wanted = [f"i/{n:02d}/event.json" for n in range(5)]
    for key in wanted:
        store.put(key, b"x")
    store._client = ShortPages(store._client)

    assert list(store.list("i/")) == wanted
    assert list(store.folders("i/")) == ["00", "01", "02", "03", "04"]
    assert sum("continuation-token" in path for _, path, _ in proxy.seen) == 4


def test_folder_marks_of_file_browsers_are_not_records(store, moto):
    direct = boto3.client("s3", endpoint_url=moto, region_name="us-east-1")
    direct.put_object(Bucket="faultline", Key="p/made-by-hand/", Body=b"")

    assert list(store.list("")) == []


def test_a_server_that_ignores_the_condition_is_refused(store, proxy):
    proxy.plan = ["strip", "strip"]

    with pytest.raises(Rejected, match="ignores conditional writes"):
        probe(store)


def test_the_endpoint_of_the_environment_is_addressed_by_path(proxy, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url.replace("127.0.0.1", "localhost"))
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    S3Store("faultline", "p").put("a.json", b"x")

    assert proxy.seen[0][1].startswith("/faultline/p/a.json")


def test_an_endpoint_that_is_no_address_is_refused():
    with pytest.raises(Rejected, match="http://minio:9000"):
        S3Store("faultline", endpoint="minio")


def test_reading_one_record_takes_one_request(store, proxy):
    store.put("a.json", b"x")
    before = len(proxy.seen)

    store.get("a.json")

    assert len(proxy.seen) == before + 1
