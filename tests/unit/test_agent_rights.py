"""Before an agent starts its account is looked at: with more than reading, it does not start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from api_fake import EVERYONE, READER, ApiFake, rule
from model_fake import serving
from world import example

from faultline.adapters.apiserver import review
from faultline.agent import engines
from faultline.agent.rights import FORBIDDEN, check, check_ours, excesses
from faultline.errors import Rejected, Unavailable
from faultline.model import Run

TOO_MUCH = {
    "every verb": rule("*", "pods"),
    "everything": rule("get", "*"),
    "every group": rule("get", "pods", "*"),
    "secrets, get": rule("get", "secrets"),
    "secrets, watch": rule("watch", "secrets"),
    "nodes/proxy": rule("get", "nodes/proxy"),
    "pods/proxy": rule("get", "pods/proxy"),
    "services/proxy": rule("get", "services/proxy"),
    "pods/exec by get": rule("get", "pods/exec"),
    "pods/exec": rule("create", "pods/exec"),
    "pods/attach": rule("create", "pods/attach"),
    "pods/portforward": rule("create", "pods/portforward"),
    "every sub-resource": rule("get", "pods/*"),
    "escalate": rule("escalate", "clusterroles", "rbac.authorization.k8s.io"),
    "bind": rule("bind", "clusterroles", "rbac.authorization.k8s.io"),
    "impersonate": rule("impersonate", "users"),
    "tokens": rule("create", "serviceaccounts/token"),
    "pods, create": rule("create", "pods"),
    "ephemeral containers": rule("update", "pods/ephemeralcontainers"),
    "deployments, patch": rule("patch", "deployments", "apps"),
}


class Reviews:
    """An API server's answers: to the one review, to the other, or to both."""

    def __init__(self, rules: list[Any], *, listed: bool = True) -> None:
        self.server = ApiFake.__new__(ApiFake)
        self.server.rules = [*READER, *rules, *EVERYONE]
        self.listed, self.asked = listed, []

    def __call__(self, what: str, spec: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((what, spec))
        if what == "SelfSubjectRulesReview":
            return {"status": {"resourceRules": self.server.rules if self.listed else []}}
        return {"status": {"allowed": self.server.allows(spec["resourceAttributes"])}}


def a_run() -> Run:
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    return Run(
        incident_id="20261121-api-5c1e9b2a", number=1, engine="loop", deadline_s=10,
        capsule_sha256="", namespace="shop", created_at=moment, cause={},
    )  # fmt: skip


def test_the_role_that_is_shipped_is_enough_and_not_too_much() -> None:
    reviews = Reviews([])

    check(reviews, {"shop", "faultline-agents", ""})

    namespaces = [spec["namespace"] for what, spec in reviews.asked if "namespace" in spec]
    assert namespaces == ["faultline-agents", "shop"]
    assert len(reviews.asked) == 2 + len(FORBIDDEN)


@pytest.mark.covers("TOOL-06")
@pytest.mark.parametrize("name", TOO_MUCH)
def test_an_account_with_more_than_reading_does_not_start(name: str) -> None:
    with pytest.raises(Rejected, match="an agent only reads: give it the ClusterRole"):
        check(Reviews([TOO_MUCH[name]]), {"shop"})


@pytest.mark.parametrize(
    "name", sorted(TOO_MUCH.keys() - {"every group", "every sub-resource", "secrets, watch"})
)
def test_so_it_is_where_the_rules_cannot_be_listed(name: str) -> None:
    with pytest.raises(Rejected):
        check(Reviews([TOO_MUCH[name]], listed=False), {"shop"})


@pytest.mark.parametrize("status", [{}, {"allowed": None}, {"allowed": True}])
def test_no_answer_is_not_a_no(status: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        check(lambda what, spec: {"status": status}, set())


@pytest.mark.parametrize(
    ("path", "verbs", "fine"),
    [("/healthz", ["get"], True), ("/api/*", ["get"], True), ("*", ["get"], False),
     ("/logs", ["get"], False), ("/debug/*", ["get"], False), ("/api", ["*"], False)],
)  # fmt: skip
def test_paths_beside_the_objects_are_looked_at_too(
    path: str, verbs: list[str], fine: bool
) -> None:
    found = list(excesses({"nonResourceRules": [{"verbs": verbs, "nonResourceURLs": [path]}]}))

    assert (found == []) is fine


def test_where_no_cluster_can_be_reached_nothing_is_asked() -> None:
    run = a_run()
    loop = engines.engine(run)
    capsule = engines.engine(run.model_copy(update={"engine": "loop-capsule"}))

    check_ours(run, {}, post=lambda what, spec: pytest.fail("it was asked"))
    assert engines.reachable(loop, {"KUBECONFIG": "k", "HOME": "h"}) == {"KUBECONFIG": "k"}
    assert engines.reachable(capsule, {"KUBECONFIG": "k"}) == {}
    assert loop.asks_cluster
    assert not capsule.asks_cluster


def test_who_cannot_tell_does_not_start() -> None:
    def silent(what: str, spec: dict[str, Any]) -> dict[str, Any]:
        raise Unavailable("no answer")

    with pytest.raises(Rejected, match="before its rights are known"):
        check_ours(a_run(), {"KUBECONFIG": "k"}, post=silent)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiFake]:
    server = ApiFake(example("memory"))
    path = server.kubeconfig(tmp_path)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with serving(server):
        yield server


def test_the_reviews_are_put_to_an_api_server_and_nothing_else_is(api: ApiFake) -> None:
    check(review(), {"shop"})
    api.rules.append(rule("get", "secrets"))

    with pytest.raises(Rejected, match="may get secrets"):
        check(review(), {"shop"})
    assert {path for _, path, _ in api.asked} == {
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    }
