"""Messages of Argo CD and Flux, as their documentation shows them."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import Any

import httpx
import pytest

from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.app import app
from faultline.bridge.rollouts import parse
from faultline.errors import Rejected

COMMIT = "8f2c1d4e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d"
AT = dt.datetime(2026, 11, 21, 10, 4, tzinfo=dt.UTC)


def flux(**fields: Any) -> bytes:
    plain = {
        "involvedObject": {"kind": "Kustomization", "namespace": "flux-system", "name": "shop"},
        "severity": "info",
        "timestamp": "2026-11-21T10:04:00Z",
        "reason": "ReconciliationSucceeded",
        "message": "Reconciliation finished, next run in 10m0s",
        "metadata": {"kustomize.toolkit.fluxcd.io/revision": f"main@sha1:{COMMIT}"},
        "reportingController": "kustomize-controller",
    }
    return json.dumps(plain | fields).encode()


def argocd(**operation: Any) -> bytes:
    state = {
        "phase": "Succeeded",
        "finishedAt": "2026-11-21T10:04:00Z",
        "syncResult": {"revision": COMMIT, "resources": []},
    }
    app = {
        "metadata": {"name": "shop", "namespace": "argocd"},
        "status": {"operationState": state | operation, "sync": {"status": "Synced"}},
    }
    return json.dumps(app).encode()


@pytest.mark.parametrize(
    ("body", "by", "what"),
    [
        (flux(), "flux", "Kustomization/flux-system/shop"),
        (flux(metadata={"revision": COMMIT}), "flux", "Kustomization/flux-system/shop"),
        (argocd(), "argocd", "Application/argocd/shop"),
    ],
)
def test_a_finished_delivery_names_its_commit_and_its_time(body: bytes, by: str, what: str) -> None:
    found = parse(body)

    assert found is not None
    assert (found.by, found.what, found.revision, found.at) == (by, what, COMMIT, AT)


@pytest.mark.parametrize(
    "body",
    [
        flux(reason="ReconciliationFailed", severity="error"),
        flux(reason="ArtifactFailed"),
        flux(involvedObject={"kind": "GitRepository", "namespace": "n", "name": "r"}),
        flux(metadata={"helm.toolkit.fluxcd.io/revision": "6.3.5"}),
        flux(metadata=None),
        argocd(phase="Failed"),
        argocd(syncResult=None),
        argocd(syncResult={"revision": "1.2.3"}),
    ],
)
def test_what_delivers_no_commit_is_passed_over(body: bytes) -> None:
    assert parse(body) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"status": "Synced"}', b"[" * 100_000, argocd(finishedAt="yesterday")],
    ids=["nothing", "a list", "an empty object", "another status", "a deep nest", "no time"],
)
def test_what_is_neither_is_refused_with_what_was_expected(body: bytes) -> None:
    with pytest.raises(Rejected, match=r"Argo CD|RFC 3339"):
        parse(body)


class Nobody:
    """A sink that nothing may be sent to."""

    def send(self, event: object) -> None:
        raise AssertionError("a delivery makes no event")


def test_a_delivery_is_put_on_file_once_for_those_who_may_come_in() -> None:
    store = MemoryStore()
    bridge = app(sink=Nobody(), store=store, cluster="prod-a", clock=lambda: AT, tokens=["t0ken"])
    later = flux(timestamp="2026-11-21T11:00:00Z")

    async def post() -> list[int]:
        transport = httpx.ASGITransport(app=bridge, client=("127.0.0.1", 1))
        known = {"authorization": "Bearer t0ken"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answers = [
                await client.post("/synced", content=flux()),
                await client.post("/synced", content=flux(), headers=known),
                await client.post("/synced", content=later, headers=known),
                await client.post("/synced", content=b"{}", headers=known),
            ]
        return [answer.status_code for answer in answers]

    assert asyncio.run(post()) == [401, 202, 202, 400]
    (key,) = store.list(f"synced/{COMMIT}/")
    assert json.loads(store.get(key))["at"] == "2026-11-21T10:04:00Z"
