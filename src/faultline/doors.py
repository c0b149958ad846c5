"""From settings to the doors of a process: what the bridge takes in, what the console shows.

`bootstrap.py` makes what steps need; this makes what people and senders meet. `dev` opens all of
them in one process, `faultline bridge` and `faultline web` one each.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from faultline.adapters import kubeconfig
from faultline.bootstrap import now
from faultline.bridge.app import Doors, answers
from faultline.bridge.follow import Client, Follower
from faultline.bridge.gate import App, Receive, Scope, Send, respond
from faultline.bridge.intake import Intake
from faultline.bridge.share import fair
from faultline.bridge.supervisor import Status, Supervisor
from faultline.bridge.watch.board import Board
from faultline.bridge.watch.occurrences import Occurrences
from faultline.bridge.watch.symptoms import Rules
from faultline.bridge.watch.watcher import NOT_INSTALLED, Watcher, scopes
from faultline.bridge.watchdog import watch
from faultline.errors import Rejected
from faultline.limits import watch_namespaces_max
from faultline.metrics import CONTENT_TYPE, Metrics, Reading, Source
from faultline.metrics.records import Records
from faultline.metrics.spending import spending
from faultline.ports import Ports
from faultline.redact import redact
from faultline.settings import Settings, listed
from faultline.store import Store

STREAMS_MAX = 250  # a watch has one for each kind, and each namespace that is chosen


def intake(settings: Settings, ports: Ports) -> Intake:
    """Return what turns foreign messages into fault events."""
    return Intake(
        sink=ports.sink,
        store=ports.incidents.store,
        cluster=settings.cluster,
        clock=now,
        clean=redact,
        watchdog_s=settings.watchdog_s,
        spans=ports.spans,
    )


def doors_of(settings: Settings, taken: Intake, streams: Sequence[Supervisor]) -> Doors:
    """Return the bridge's doors: who may come in, and the state of the streams."""

    def states() -> Mapping[str, Any]:
        return {follower.name: follower.status for follower in streams}

    return Doors(
        taken,
        tokens=listed(settings.webhook_token),
        hmac_secrets=listed(settings.webhook_hmac),
        streams=states,
        origins=listed(settings.webhook_origins),
        certificates=bool(settings.tls_client_ca),
        github_secrets=listed(settings.github_webhook_secret) if settings.github_repo else (),
        github_ours=(settings.github_repo, settings.branch_prefix),
    )


def tls_of(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options for TLS; none for plain HTTP. Raises Rejected for unusable files."""
    files = settings.tls_cert, settings.tls_key or None, settings.tls_client_ca or None
    if not settings.tls_cert:
        if any(files):
            raise Rejected("tls_cert: expected a certificate beside tls_key or tls_client_ca")
        return {}
    options = dict(zip(("ssl_certfile", "ssl_keyfile", "ssl_ca_certs"), files, strict=True))
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None, password="")
        if settings.tls_client_ca:
            context.load_verify_locations(settings.tls_client_ca)
    except OSError as error:
        raise Rejected(f"tls_cert, tls_key, tls_client_ca: expected PEM files: {error}") from None
    return options | {"ssl_cert_reqs": ssl.CERT_OPTIONAL if settings.tls_client_ca else 0}


def followers(settings: Settings, taken: Intake) -> list[Supervisor]:
    """Return one follower per stream of faults that is configured, and those of the watch."""
    urls = listed(settings.sse_endpoint)
    streams = [
        Follower(
            url, Client(url, cluster=settings.cluster, clock=now, share=fair(len(urls))), taken
        )
        for url in urls
    ]
    return [*streams, *(watchers(settings, taken) if settings.watch.enabled else ())]


def watchers(settings: Settings, taken: Intake) -> list[Watcher]:
    """Return what watches the cluster. Raises Rejected if there is none to be reached."""
    said = settings.watch
    namespaces = listed(said.namespaces)
    if len(namespaces) > watch_namespaces_max:
        raise Rejected(
            f"watch.namespaces: expected at most {watch_namespaces_max}, got {len(namespaces)}; "
            "leave it empty to watch all"
        )
    rules = Rules(
        said.hold_s, said.short_hold_s, said.clear_s, said.restarts, said.restart_window_s
    )
    board = Board(settings.cluster, rules)
    occurrences = Occurrences(taken.store, settings.cluster)
    api = kubeconfig.api()
    return [
        Watcher(scope, api, board, occurrences, taken)
        for scope in scopes(namespaces, said.selector)
    ]


def metrics_of(
    ports: Ports, *sources: Source, live: Callable[[], Sequence[str]] | None = None
) -> Metrics:
    """Return the metrics of a process: its own sources, and what stands in the store.

    `live` is the list of a runner's own runs, where the process has one.
    """
    records = Records(ports.incidents, clock=now, monotonic=time.monotonic, live=live)
    return Metrics(*sources, records, spending(ports.incidents, ports.policy, now))


def store_reading(store: Store) -> Iterator[Reading]:
    """Yield whether the store answers: for a process that may not read incidents."""
    yield Reading("faultline_store_up", (), float(answers(store)))


def bridge_readings(doors: Doors, streams: Sequence[Supervisor]) -> Iterator[Reading]:
    """Yield what the bridge counted since it started."""
    counts = doors.intake.counts
    for name, number in counts.items():
        what, _, origin = name.partition(" ")
        if what == "received":
            yield Reading("faultline_events_received_total", (origin,), number)
    yield Reading("faultline_events_deduplicated_total", (), counts["again"])
    yield Reading("faultline_events_dead_lettered_total", (), counts["parked"])
    for reason, number in doors.answered.items():
        yield Reading("faultline_events_rejected_total", (reason,), number)
    bad = sum(follower.status.bad_messages_total for follower in streams)
    yield Reading("faultline_events_rejected_total", ("stream_message",), bad)
    for sender, buckets in doors.durations.items():
        label = sender.replace(" ", "_")
        yield Reading("faultline_webhook_duration_seconds", (label,), buckets)
    if seen := doors.intake.watchdog.seen_at:
        yield Reading("faultline_watchdog_last_seen_seconds", (), seen.timestamp())
    for follower in streams[:STREAMS_MAX]:
        if follower.status.state != NOT_INSTALLED:  # nothing there that could be connected to
            yield from _of_stream(follower.status)


def _of_stream(status: Status) -> Iterator[Reading]:
    label = (status.name,)
    yield Reading("faultline_sse_connected", label, float(status.connected))
    yield Reading("faultline_sse_reconnects_total", label, status.reconnects_total)
    yield Reading("faultline_sse_sweep_found_total", label, status.listed_total)
    if status.last_event_at:
        age = max(0.0, (now() - status.last_event_at).total_seconds())
        yield Reading("faultline_sse_last_event_age_seconds", label, age)


def with_metrics(app: App, metrics: Metrics) -> App:
    """Return the app with `GET /metrics` before it."""

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("path") != "/metrics":
            return await app(scope, receive, send)
        if scope["method"] != "GET":
            return await respond(send, 405, {"allow": "GET", "connection": "close"})
        text = await asyncio.to_thread(metrics.text)
        kind = {"content-type": CONTENT_TYPE, "cache-control": "no-store"}
        return await respond(send, 200, kind, text)

    return front


def watching(taken: Intake, stop: threading.Event) -> threading.Thread:
    """Start the thread that waits for the Watchdog, if it is waited for."""
    work = (taken.watchdog.interval_s, taken.check_watchdog, stop)
    thread = threading.Thread(target=watch, args=work, name="watchdog", daemon=True)
    thread.start()
    return thread


def pages_of(settings: Settings, ports: Ports) -> App:
    """Return the web console."""
    from faultline.web.app import app

    pages: App = app(
        ports.incidents, send=ports.sink.send, clock=now, policy=ports.policy,
        token=settings.console_token or None, warm=True,
    )  # fmt: skip
    return pages
