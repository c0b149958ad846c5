"""Calls through the models' door to a real service on loopback: what it gets, what comes back."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import uvicorn
from model_fake import ModelFake, serving
from ports import free_port
from starlette.routing import Route, Router

from faultline.bridge.gate import serve_config
from faultline.errors import Unavailable
from faultline.gateway.forward import Forwarder, Streamed
from faultline.gateway.model import Upstream, allowed, upstreams
from faultline.gateway.usage import Meter, Usage

KEY, TOKEN, ASKED = "sk-of-the-gateway-0123456789", "eyJ-token-of-the-pod", "what-is-on-fire"
START = {"type": "message_start", "message": {"usage": {"input_tokens": 100, "output_tokens": 1}}}
TEXT = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "the-disk"}}
END = {"type": "message_delta", "usage": {"output_tokens": 10}}
HEADERS = {
    "authorization": f"Bearer {TOKEN}",
    "x-api-key": TOKEN,
    "x-goog-api-key": TOKEN,
    "cookie": "a=b",
    "host": "gateway.faultline.svc",
    "x-forwarded-for": "10.0.0.1",
    "proxy-authorization": TOKEN,
    "content-length": "9999",
    "content-type": "text/plain",
    "accept": "text/event-stream",
    "accept-encoding": "gzip, br",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "one,two",
    "openai-beta": "three",
    "user-agent": "cli/1",
}


class Service(ThreadingHTTPServer):
    """Answers each request with what `act` does; keeps what it was sent."""

    daemon_threads = True

    def __init__(self, act: Callable[[Any], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.act, self.got = act, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Whoever asked may have hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        got = {name.lower(): value for name, value in self.headers.items()}
        self.server.got.append((self.command, self.path, got, body))
        self.server.act(self)

    do_GET = do_POST  # noqa: N815

    def begin(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def whole(self, data: bytes, status: int = 200, **headers: str) -> None:
        self.begin(status, content_length=str(len(data)), **headers)
        self.wfile.write(data)

    def stream(self, *events: dict[str, Any]) -> None:
        """Begin an event stream, or go on with it; the end is `end`."""
        for event in events:
            data = f"data: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def begin_stream(self) -> None:
        self.begin(content_type="text/event-stream", transfer_encoding="chunked")

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        pass


def streaming(handler: _Handler) -> None:
    handler.begin_stream()
    handler.stream(START, TEXT, END)
    handler.end()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Any], None]], Service]]:
    running = []

    def begin(act: Callable[[Any], None]) -> Service:
        service = Service(act)
        lasting = serving(service)
        lasting.__enter__()
        running.append(lasting)
        return service

    yield begin
    for lasting in running:
        lasting.__exit__(None, None, None)


@pytest.fixture
def door() -> Iterator[Callable[..., Forwarder]]:
    made = []

    def begin(meter: Meter | None = None, **limits: float) -> Forwarder:
        made.append(Forwarder(meter or Meter(), **limits))
        return made[-1]

    yield begin
    for forwarder in made:
        forwarder.close()


def asked_of(url: str, dialect: str = "messages", header: str = "x-api-key") -> Any:
    path = {"messages": "v1/messages", "openai": "v1/responses"}.get(
        dialect, "v1beta/models/m-1:streamGenerateContent"
    )
    body = {"model": "m-1", "metadata": {"why": ASKED}}
    query = "alt=sse" if dialect == "gemini" else ""
    upstream = Upstream("models", url, KEY, header, dialect)
    return allowed(upstream, "POST", path, query, json.dumps(body).encode())


def forward(forwarder: Forwarder, asked: Any, tokens_max: int = 0) -> Any:
    return forwarder.forward(asked, HEADERS, run="r-1", tokens_max=tokens_max)


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize(
    ("dialect", "header", "credentials"),
    [
        ("messages", "x-api-key", KEY),
        ("openai", "authorization", f"Bearer {KEY}"),
        ("gemini", "x-goog-api-key", KEY),
    ],
)
def test_the_service_gets_our_key_and_nothing_of_how_the_client_said_who_it_is(
    serve, door, dialect, header, credentials
):
    service = serve(streaming)

    answer = forward(door(), asked_of(service.url, dialect, header))
    b"".join(answer.body)

    [(method, path, got, body)] = service.got
    assert (method, path) == (
        "POST",
        {"messages": "/v1/messages", "openai": "/v1/responses"}.get(
            dialect, "/v1beta/models/m-1:streamGenerateContent?alt=sse"
        ),
    )
    assert json.loads(body)["metadata"] == {"why": ASKED}
    assert got == {
        header: credentials,
        "host": service.url.removeprefix("http://"),
        "content-length": str(len(body)),
        "content-type": "application/json",
        "connection": "keep-alive",
        "accept-encoding": "identity",
        **{name: HEADERS[name] for name in ("accept", "anthropic-version", "anthropic-beta")},
        **{name: HEADERS[name] for name in ("openai-beta", "user-agent")},
    }
    assert TOKEN not in str(service.got)


def test_a_list_of_models_is_asked_for_without_a_body(serve, door):
    service = serve(lambda handler: handler.whole(b'{"data":[]}', content_type="application/json"))
    upstream = Upstream("openai", service.url, KEY, "authorization", "openai")
    meter = Meter()

    answer = forward(door(meter), allowed(upstream, "GET", "v1/models", "", b"ignored"))

    assert (answer.status, b"".join(answer.body)) == (200, b'{"data":[]}')
    assert service.got[0][:2] == ("GET", "/v1/models")
    assert service.got[0][3] == b""
    assert (meter.calls("r-1"), meter.usage("r-1")) == (1, Usage())


def test_the_loops_own_client_asks_through_the_door(door):
    model = ModelFake(["fine"])
    with serving(model):
        told = {"FAULTLINE_MODEL_URL": model.url, "FAULTLINE_MODEL_KEY": KEY}
        body = b'{"model": "m-1", "messages": []}'
        asked = allowed(upstreams(told)["service"], "POST", "chat/completions", "", body)
        meter = Meter()
        answer = forward(door(meter), asked)
        said = json.loads(b"".join(answer.body))

    assert said["choices"][0]["message"]["content"] == "fine"
    assert meter.usage("r-1") == Usage(100, 10)


@pytest.mark.covers("ISO-03")
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_no_redirect_is_followed_or_passed_on(serve, door, status):
    elsewhere = serve(streaming)
    service = serve(lambda handler: handler.whole(b"", status, location=elsewhere.url))

    answer = forward(door(), asked_of(service.url))

    assert answer.status == 502
    assert str(status).encode() in b"".join(answer.body)
    assert "location" not in answer.headers
    assert (len(service.got), elsewhere.got) == (1, [])


def test_an_answer_arrives_piece_by_piece_while_the_model_still_speaks(serve, door):
    heard = threading.Event()

    def act(handler: _Handler) -> None:
        handler.begin_stream()
        for event in (START, TEXT, END):
            handler.stream(event)
            assert heard.wait(10)
            heard.clear()
        handler.end()

    service = serve(act)
    answer = forward(door(), asked_of(service.url))

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    for event in (START, TEXT, END):
        assert json.loads(next(answer.body).removeprefix(b"data: ")) == event
        heard.set()
    assert list(answer.body) == []


def test_the_tokens_of_a_run_are_counted_and_at_its_bound_nobody_is_asked_any_more(serve, door):
    service, meter = serve(streaming), Meter()
    forwarder = door(meter)

    for _ in range(2):
        assert b"the-disk" in b"".join(forward(forwarder, asked_of(service.url), 200).body)
    refused = forward(forwarder, asked_of(service.url), 200)

    assert meter.usage("r-1") == Usage(200, 20)
    assert refused.status == 429
    assert refused.headers["x-should-retry"] == "false"
    assert b"at most 200 tokens" in b"".join(refused.body)
    assert len(service.got) == 2


def test_what_the_service_says_is_wrong_comes_back_as_it_is_and_costs_nothing(serve, door):
    def act(handler: _Handler) -> None:
        handler.whole(
            b'{"type":"error"}', 529, content_type="application/json", retry_after="7",
            request_id="req_1", x_request_id="req_2", set_cookie="a=b", server="x",
        )  # fmt: skip

    service, meter = serve(act), Meter()
    answer = forward(door(meter), asked_of(service.url))

    assert (answer.status, b"".join(answer.body)) == (529, b'{"type":"error"}')
    assert answer.headers == {
        "content-type": "application/json",
        "retry-after": "7",
        "request-id": "req_1",
        "x-request-id": "req_2",
    }
    assert meter.usage("r-1") == Usage()


def test_a_compressed_answer_that_nobody_asked_for_is_read(serve, door):
    data = json.dumps({"usage": {"input_tokens": 100, "output_tokens": 10}}).encode()
    service = serve(
        lambda handler: handler.whole(
            gzip.compress(data), content_encoding="gzip", content_type="application/json"
        )
    )
    meter = Meter()

    answer = forward(door(meter), asked_of(service.url))

    assert b"".join(answer.body) == data
    assert "content-encoding" not in answer.headers
    assert meter.usage("r-1") == Usage(100, 10)


def test_a_service_that_never_answers_is_given_up(serve, door):
    over = threading.Event()
    service, meter = serve(lambda _: over.wait(10)), Meter()

    began = time.monotonic()
    with pytest.raises(Unavailable, match="ReadTimeout"):
        forward(door(meter, silence_s=0.2), asked_of(service.url))
    over.set()

    assert time.monotonic() - began < 5
    assert (meter.calls("r-1"), meter.usage("r-1")) == (1, Usage())


def test_a_service_that_falls_silent_in_the_middle_is_given_up_and_what_came_is_counted(
    serve, door
):
    over = threading.Event()

    def act(handler: _Handler) -> None:
        handler.begin_stream()
        handler.stream(START, TEXT)
        over.wait(10)

    service, meter = serve(act), Meter()
    answer = forward(door(meter, silence_s=0.2), asked_of(service.url))
    with pytest.raises(Unavailable, match="did not answer"):
        list(answer.body)
    over.set()

    assert meter.usage("r-1") == Usage(100, 2)


def test_an_answer_that_goes_on_for_ever_is_given_up(serve, door):
    over = threading.Event()

    def act(handler: _Handler) -> None:
        handler.begin_stream()
        while not over.wait(0.02):
            handler.stream(TEXT)

    service = serve(act)
    answer = forward(door(whole_s=0.3), asked_of(service.url))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="no whole answer"):
        list(answer.body)
    over.set()

    assert time.monotonic() - began < 5


def test_a_stream_that_breaks_off_does_not_look_like_a_whole_answer(serve, door):
    def act(handler: _Handler) -> None:
        handler.begin_stream()
        handler.stream(START)
        handler.close_connection = True

    service = serve(act)
    answer = forward(door(), asked_of(service.url))

    with pytest.raises(Unavailable, match="RemoteProtocolError"):
        list(answer.body)


def test_a_service_that_is_not_there_costs_nothing(door):
    meter = Meter()

    with pytest.raises(Unavailable, match="ConnectError") as caught:
        forward(door(meter), asked_of(f"http://127.0.0.1:{free_port()}"))

    assert KEY not in str(caught.value)
    assert meter.usage("r-1") == Usage()


@pytest.mark.parametrize("read", [0, 1])
@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_who_hangs_up_early_saves_nothing_and_blocks_nothing(serve, door, how, read):
    over = threading.Event()

    def act(handler: _Handler) -> None:
        handler.begin_stream()
        handler.stream(START)
        over.wait(10)

    service, meter = serve(act), Meter()
    asked = asked_of(service.url)
    forwarder = door(meter)
    for _ in range(10):  # more than may be under way at once
        answer = forward(forwarder, asked)
        for _ in range(read):
            next(answer.body)
        if how == "closed":
            answer.body.close()
        del answer
    over.set()

    spent = meter.usage("r-1")
    assert meter.calls("r-1") == 10
    assert spent.tokens_in >= 10 * (100 if read else len(asked.body) // 4)


@pytest.mark.covers("ISO-03")
def test_the_log_says_who_used_how_much_and_neither_key_nor_content(serve, door, caplog):
    service = serve(streaming)

    with caplog.at_level(logging.DEBUG, logger="faultline"):
        b"".join(forward(door(), asked_of(service.url)).body)

    [line] = caplog.records
    said = {name: getattr(line, name) for name in ("event", "run", "upstream", "model", "status")}
    assert said == {
        "event": "model.called",
        "run": "r-1",
        "upstream": "models",
        "model": "m-1",
        "status": 200,
    }
    assert (line.tokens_in, line.tokens_out) == (100, 10)
    assert 0 <= line.seconds < 10
    everything = f"{line.getMessage()} {vars(line)}"
    assert not [word for word in (KEY, TOKEN, ASKED, "the-disk") if word in everything]


def test_the_environments_proxy_gets_no_key(serve, door, monkeypatch):
    service, proxy = serve(streaming), serve(streaming)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    b"".join(forward(door(), asked_of(service.url)).body)

    assert (len(service.got), proxy.got) == (1, [])


def test_a_header_that_is_no_plain_text_is_left_out(serve, door):
    service = serve(streaming)
    odd = {"user-agent": "cli\r\nx-api-key: mine", "anthropic-beta": "é", "accept": "x" * 2_000}

    answer = door().forward(asked_of(service.url), HEADERS | odd, run="r-1", tokens_max=0)
    b"".join(answer.body)

    got = service.got[0][2]
    assert got["x-api-key"] == KEY
    assert "anthropic-beta" not in got
    assert got["accept"] == "*/*"


@pytest.fixture
def behind() -> Iterator[Callable[[Callable[[Any], Any]], str]]:
    """Serve a function of a request on loopback, as the gateway serves its doors."""
    running = []

    def begin(answer: Callable[[Any], Any]) -> str:
        bound = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(serve_config(Router([Route("/", answer)]), "127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{bound.getsockname()[1]}/"

    yield begin
    for server, thread in running:
        server.should_exit = True
        thread.join(15)


@pytest.mark.parametrize("ends", ["hangs up", "breaks off"])
def test_the_call_ends_when_the_client_hangs_up_or_the_answer_breaks_off(
    serve, door, behind, ends, caplog
):
    over = threading.Event()

    def act(handler: _Handler) -> None:
        handler.begin_stream()
        handler.stream(START)
        while not over.wait(0.02):
            handler.stream(TEXT)

    service, meter = serve(act), Meter()
    forwarder = door(meter, whole_s=60 if ends == "hangs up" else 0.3)
    url = behind(lambda _: Streamed(forward(forwarder, asked_of(service.url))))

    with httpx.stream("GET", url, trust_env=False) as answer:
        pieces = answer.iter_bytes()
        assert json.loads(next(pieces).partition(b"data: ")[2].partition(b"\n")[0]) == START
        if ends == "breaks off":
            with pytest.raises(httpx.RemoteProtocolError):
                list(pieces)
    end = time.monotonic() + 10
    while meter.usage("r-1") == Usage():
        assert time.monotonic() < end
        time.sleep(0.01)
    over.set()

    assert meter.usage("r-1").tokens_in == 100
    assert not [record for record in caplog.records if record.exc_info]
