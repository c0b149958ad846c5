"""Commands that start things: demo, dev, serve, bridge, web, gateway."""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faultline.cli.common import say, settings_of
from faultline.errors import Rejected

log = logging.getLogger(__name__)


def demo(arguments: argparse.Namespace) -> int:
    from faultline.demo import run
    from faultline.scenarios import overview

    if arguments.scenario == "list":
        say(overview())
        return 0
    folder = arguments.keep or Path(".faultline/demo") / arguments.scenario
    return run(arguments.scenario, folder, say)


def dev(arguments: argparse.Namespace) -> int:
    """Run the whole line until Ctrl-C."""
    from faultline.dev import Line
    from faultline.logs import configure
    from faultline.settings import secrets_of

    settings, _ = settings_of(arguments)
    configure(settings.log_level, cluster=settings.cluster, known=secrets_of(settings))
    line = Line(settings, console=sys.stdout)
    line.start()
    say(f"Faultline is up at {line.url}  (Ctrl-C stops it)")
    say(f"  pages        {line.url}/")
    say(f"  AlertManager {line.url}/alertmanager")
    say(f"  CloudEvents  {line.url}/events")
    for follower in line.followers:
        say(f"  stream       {follower.name}")
    say(f"  store        {settings.store}")
    if not settings.manifests:
        say("  no manifests: set --manifests to a Git repository to get branches with fixes")
    say("  try: faultline send alert examples/alerts/crash-looping.json")
    line.wait()
    say("stopping: finishing what is in flight")
    line.stop()
    return 0


def serve(arguments: argparse.Namespace) -> int:
    """Serve one step behind HTTP: the third door beside func and functions-framework."""
    from faultline import bootstrap
    from faultline.adapters.stores import open_store, probe
    from faultline.routes import STEPS
    from faultline.serve import EventFunction

    settings, _ = settings_of(arguments)
    if arguments.step not in STEPS:
        raise Rejected(f"expected one of {', '.join(STEPS)}, got {arguments.step!r}")
    store = open_store(settings.store)
    probe(store)
    ports = bootstrap.ports(settings, store, bootstrap.sink(settings), console=sys.stdout)
    return _uvicorn(EventFunction(STEPS[arguments.step], ports), settings)


def bridge(arguments: argparse.Namespace) -> int:
    """Serve the bridge's doors and follow the streams."""
    from faultline import bootstrap
    from faultline.adapters.stores import open_store, probe
    from faultline.bridge.app import router
    from faultline.bridge.gate import Gate
    from faultline.doors import (
        bridge_readings,
        doors_of,
        followers,
        intake,
        store_reading,
        tls_of,
        watching,
        with_metrics,
    )
    from faultline.metrics import Metrics
    from faultline.settings import listed

    settings, _ = settings_of(arguments)
    store = open_store(settings.store)
    probe(store)
    ports = bootstrap.ports(settings, store, bootstrap.sink(settings), console=sys.stdout)
    taken = intake(settings, ports)
    streams = followers(settings, taken)
    for follower in streams:
        follower.start()
    stop = threading.Event()
    watching(taken, stop)
    doors = doors_of(settings, taken, streams)
    metrics = Metrics(lambda: bridge_readings(doors, streams), lambda: store_reading(store))
    served = with_metrics(router(doors), metrics)
    try:
        gate = Gate(served, allowed_hosts=listed(settings.allowed_hosts))
        return _uvicorn(gate, settings, **tls_of(settings))
    finally:
        stop.set()
        for follower in streams:
            follower.stop.set()


def web(arguments: argparse.Namespace) -> int:
    """Serve the pages alone."""
    from faultline import bootstrap
    from faultline.adapters.stores import open_store
    from faultline.bridge.gate import Gate
    from faultline.doors import metrics_of, pages_of, tls_of, with_metrics
    from faultline.settings import listed

    settings, _ = settings_of(arguments)
    store = open_store(settings.store)
    ports = bootstrap.ports(settings, store, bootstrap.sink(settings), console=sys.stdout)
    scheme = "https" if settings.tls_cert else "http"
    say(f"pages at {scheme}://{settings.host}:{settings.port}/  (Ctrl-C stops)")
    served = with_metrics(pages_of(settings, ports), metrics_of(ports))
    gate = Gate(served, allowed_hosts=listed(settings.allowed_hosts))
    return _uvicorn(gate, settings, **tls_of(settings))


def gateway(arguments: argparse.Namespace) -> int:
    """Serve what the pods of agent runs may reach: their evidence, their results, their model."""
    import os
    import time

    from faultline import bootstrap
    from faultline.adapters import apiserver
    from faultline.adapters.stores import open_store
    from faultline.bridge.gate import Gate
    from faultline.doors import tls_of
    from faultline.gateway.app import Gateway, Models, app
    from faultline.gateway.forward import Forwarder
    from faultline.gateway.model import upstreams
    from faultline.gateway.review import Reviews
    from faultline.gateway.usage import Meter
    from faultline.settings import listed

    settings, _ = settings_of(arguments)
    account = f"system:serviceaccount:{settings.job_namespace}:agent"
    who = Reviews(apiserver.review("authentication.k8s.io"), account, monotonic=time.monotonic)
    models = Models(upstreams(os.environ), Forwarder(Meter()), listed(settings.gateway_models))
    served = app(Gateway(open_store(settings.store), bootstrap.sink(settings), who, models))
    gate = Gate(served, allowed_hosts=listed(settings.allowed_hosts))
    keys = [service.key for service in models.upstreams.values() if service.key]
    return _uvicorn(gate, settings, secrets=keys, **tls_of(settings))


def _uvicorn(app: Any, settings: Any, *, secrets: Sequence[str] = (), **tls: Any) -> int:
    import uvicorn

    from faultline.bridge.gate import listen, serve_config
    from faultline.logs import configure
    from faultline.settings import secrets_of

    configure(settings.log_level, cluster=settings.cluster, known=[*secrets_of(settings), *secrets])
    bound = listen(settings.host, settings.port)
    log.info("listening on %s:%s", *bound.getsockname()[:2])
    with bound:
        uvicorn.Server(serve_config(app, settings.host, settings.port, **tls)).run(sockets=[bound])
    return 0
