"""Networks that only look guilty: what a healthy cluster, another cause or less evidence shows."""

from __future__ import annotations

from typing import Any

import diagnosis_more_cases  # noqa: F401 - fills GUILTY
import diagnosis_net_cases as net
import pytest
from diagnosis_cases import GUILTY
from diagnosis_world import World

from faultline.diagnosis import diagnose
from faultline.model import Certainty

DENIED = "database that does not let the workload in"
REACH = "workload that may not reach out to that port"


def found(world: World) -> list[str]:
    return [f"{f.analyzer} {f.certainty.value}" for f in diagnose(world.capsule()).findings]


def guilty(name: str) -> World:
    return GUILTY[name].world()


def of(world: World, kind: str, name: str = "") -> dict[str, Any]:
    return next(o for o in world.extra if o["kind"] == kind and o["metadata"]["name"] != name)


# network policies


def test_a_policy_that_allows_the_connection_is_not_blamed_for_a_time_out() -> None:
    world = guilty(DENIED)
    selector = of(world, "NetworkPolicy")["spec"]["ingress"][0]["from"][0]["podSelector"]
    selector["matchLabels"] = {"app": world.name}

    assert found(world) == []


def test_a_connection_that_is_refused_was_not_dropped_by_a_policy() -> None:
    world = guilty(DENIED)
    world.logs = world.logs.replace("i/o timeout", "connect: connection refused")

    assert found(world) == []


def test_a_time_out_of_a_host_outside_is_nobody_s_policy_here() -> None:
    world = guilty(DENIED)
    world.logs = world.logs.replace("10.96.7.7", "203.0.113.7")

    assert found(world) == []


def test_pods_that_are_not_ready_may_be_why_nothing_answers() -> None:
    world = guilty(DENIED)
    of(world, "Pod")["status"]["containerStatuses"][0]["ready"] = False

    assert found(world) == ["services.not-ready likely"]


@pytest.mark.parametrize("kind", ["CiliumClusterwideNetworkPolicy", "AdminNetworkPolicy"])
def test_policies_of_another_kind_may_allow_it_all_the_same(kind: str) -> None:
    world = guilty(DENIED)
    world.seen[kind] = 1

    assert found(world) == ["network_policy.denied likely"]


def test_policies_of_which_one_was_not_gathered_may_allow_it() -> None:
    world = guilty(DENIED)
    world.seen["NetworkPolicy in data"] = 2

    assert found(world) == ["network_policy.denied likely"]


def test_without_an_account_of_what_was_seen_nothing_about_policies_is_proved() -> None:
    world = guilty(DENIED)
    world.seen = {}

    assert found(world) == ["network_policy.denied likely"]


def test_a_time_out_in_the_log_of_a_ready_container_may_be_old() -> None:
    world = guilty(DENIED)
    world.status["ready"] = True

    assert found(world) == ["network_policy.denied likely"]


def test_a_block_of_addresses_that_holds_the_pod_leaves_it_open() -> None:
    world = guilty(REACH)
    rule = of(world, "NetworkPolicy")["spec"]["egress"][0]
    rule.clear()
    rule["to"] = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]

    assert found(world) == []


def test_a_pod_on_the_nodes_network_is_past_all_policies() -> None:
    world = guilty(REACH)
    world.spec["hostNetwork"] = True

    assert found(world) == []


def test_a_crash_after_the_time_out_is_explained_by_the_policy() -> None:
    world = guilty(DENIED)
    world.loops(1).log(net.TIMES_OUT)

    verdict = diagnose(world.capsule())

    assert [f.analyzer for f in verdict.findings] == ["network_policy.denied", "crash_loop.exit"]
    assert verdict.proved
    assert "app=checkouts; the label is app=checkout" in verdict.findings[0].statement


def test_policies_are_never_proposed_to_be_changed() -> None:
    ours = ("network_policy.", "ingress.", "gateway.", "certificates.")
    worlds = [c.world() for c in GUILTY.values() if c.analyzer.startswith(ours)]

    kinds = {c.target.kind for w in worlds for f in diagnose(w.capsule()).findings
             for c in f.changes}  # fmt: skip

    assert len(worlds) > 20
    assert kinds.isdisjoint({"NetworkPolicy", "Ingress", "HTTPRoute", "Gateway", "Certificate"})


def test_a_rule_with_the_right_peers_and_another_port_is_named() -> None:
    statement = diagnose(guilty(REACH).capsule()).findings[0].statement

    assert "allows these pods, but not port 5432" in statement


def test_dns_on_each_node_may_be_reached_past_the_policies() -> None:
    world = guilty("egress that forgets dns")
    labels = {"namespace": "kube-system", "labels": {"k8s-app": "node-local-dns"}}
    world.add("Pod", "node-local-dns-1", metadata=labels, spec={"containers": []})

    assert found(world) == ["network_policy.dns-blocked likely"]


def test_egress_that_allows_dns_is_not_blamed_for_a_slow_one() -> None:
    world = guilty("egress that forgets dns")
    rule = {"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]}
    of(world, "NetworkPolicy")["spec"]["egress"].append(rule)

    assert found(world) == []


# services


def test_a_headless_service_has_the_ports_of_its_pods() -> None:
    world = guilty("port that the service does not have")
    of(world, "Service")["spec"]["clusterIP"] = "None"
    world.logs = world.logs.replace("10.96.7.7:", "archive:")

    assert found(world) == []


def test_two_variables_with_the_same_port_prove_none() -> None:
    world = guilty("port that the service does not have")
    world.main["env"].append({"name": "REPLICA", "value": "postgres://archive:5433/y"})

    assert found(world) == ["services.no-such-port likely"]


@pytest.mark.parametrize(
    "name", ["port that the service does not have", "namespace with a typo", "host with a typo"]
)
def test_a_value_that_lost_a_secret_is_never_proposed(name: str) -> None:
    world = guilty(name)
    value = world.main["env"][-1]["value"]
    world.main["env"][-1]["value"] = value.replace("://", "://app:[REDACTED:password:1f2e]@")

    verdict = diagnose(world.capsule())

    assert verdict.proved
    assert verdict.findings[0].changes == ()


def test_a_target_port_that_some_container_declares_is_right() -> None:
    world = guilty("target port that nothing listens on")
    ports = of(world, "Pod")["spec"]["containers"][0]["ports"]
    ports.append({"containerPort": 5433})

    assert found(world) == []


def test_of_two_declared_ports_none_is_the_one() -> None:
    world = guilty("target port that nothing listens on")
    ports = of(world, "Pod")["spec"]["containers"][0]["ports"]
    ports.append({"containerPort": 9187})

    assert found(world) == ["services.target-port likely"]


def test_pods_that_declare_nothing_prove_nothing() -> None:
    world = guilty("target port that nothing listens on")
    of(world, "Pod")["spec"]["containers"][0]["ports"] = []

    assert found(world) == []


def test_an_external_name_is_nobodys_pods() -> None:
    world = guilty("target port that nothing listens on")
    of(world, "Service")["spec"]["type"] = "ExternalName"

    assert found(world) == []


# names


def test_the_same_service_in_another_environment_is_not_proposed() -> None:
    verdict = diagnose(guilty("service that only another namespace has").capsule())

    assert not verdict.proved
    assert verdict.findings[0].changes == ()


def test_a_namespace_that_exists_is_not_a_typo_of_another() -> None:
    world = guilty("namespace with a typo")
    world.missing = []

    assert found(world) == ["names.other-namespace likely"]


def test_the_nodes_dns_is_not_blamed_for_a_host_outside() -> None:
    world = guilty("host network with the nodes dns")
    world.logs = world.logs.replace("lookup archive", "lookup api.example.com")

    assert found(world) == ["names.unknown-host likely"]


def test_host_network_with_the_clusters_dns_first_is_well() -> None:
    world = guilty("host network with the nodes dns")
    world.spec["dnsPolicy"] = "ClusterFirstWithHostNet"

    assert found(world) == ["dns.exists likely"]


def test_a_nameserver_that_is_not_the_one_that_answered_proves_nothing() -> None:
    world = guilty("nameserver that is not the clusters")
    world.logs = world.logs.replace("10.69.0.10", "10.3.3.3")

    verdict = diagnose(world.capsule())

    assert [f.certainty for f in verdict.findings] == [Certainty.LIKELY]
    assert verdict.findings[0].changes == ()


# ways in


@pytest.mark.parametrize("name", ["ingress class with a typo", "backend with a typo"])
def test_what_nobody_looked_for_is_not_said_to_be_missing(name: str) -> None:
    world = guilty(name)
    world.missing = []

    assert found(world) == []


def test_a_way_in_that_is_broken_is_a_hint_while_the_pods_are_not_ready() -> None:
    world = guilty("backend with a typo").unready()

    assert found(world) == ["ingress.service-missing hint"]


def _second_ingress(world: World, **service: Any) -> None:
    backend = {"name": world.name, "port": {"number": 80}} | service
    spec = {"ingressClassName": "nginx", "defaultBackend": {"service": backend}}
    world.add("Ingress", "second", spec=spec)


@pytest.mark.parametrize(
    "name",
    ["backend with a typo", "route to a service with a typo", "route without its gateway",
     "backend port that the service does not have", "ingress class with a typo"],
)  # fmt: skip
def test_a_broken_way_in_beside_one_that_leads_on_is_a_hint(name: str) -> None:
    broken, whole = guilty(name), guilty(name)
    _second_ingress(broken, port={"number": 81})
    _second_ingress(whole)

    assert any(f.endswith("proved") for f in found(broken))
    assert all(f.endswith("hint") for f in found(whole))


def test_one_stale_path_of_an_ingress_that_leads_on_is_a_hint() -> None:
    world = guilty("backend with a typo")
    backend = {"service": {"name": world.name, "port": {"number": 80}}}
    of(world, "Ingress")["spec"]["rules"].append({"http": {"paths": [{"backend": backend}]}})

    assert found(world) == ["ingress.service-missing hint"]


def test_an_ingress_that_a_controller_serves_does_without_a_class() -> None:
    world = guilty("ingress without a class")
    of(world, "Ingress")["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}

    assert found(world) == []


def test_an_ingress_without_class_takes_the_default() -> None:
    world = guilty("ingress without a class")
    notes = {"ingressclass.kubernetes.io/is-default-class": "true"}
    of(world, "IngressClass")["metadata"]["annotations"] = notes

    assert found(world) == []


def test_a_tls_secret_that_a_certificate_makes_is_the_certificates_matter() -> None:
    world = guilty("tls secret that is not there")
    net.certificate(world, ready="False")
    of(world, "Certificate")["spec"]["secretName"] = "web-tls"

    assert found(world) == ["certificates.not-ready hint"]


def test_a_status_of_an_older_route_says_nothing_of_this_one() -> None:
    world = guilty("route that no listener takes")
    of(world, "HTTPRoute")["metadata"]["generation"] = 4

    assert found(world) == []


def test_a_healthy_way_in_yields_nothing() -> None:
    world = World()
    net.ingress(world, world.name)
    net.route(world, parents=[{"conditions": [{"type": "Accepted", "status": "True"}]}])
    net.gateway(world, conditions=[{"type": "Programmed", "status": "True"}])
    net.certificate(world)
    net.policy(world, "guard", podSelector={}, ingress=[{}])
    net.dns(world)
    world.add("IngressClass", "nginx").add("GatewayClass", "envoy")
    world.counted("Pod", "NetworkPolicy")

    assert found(world) == []


# certificates


def test_a_certificate_for_another_host_with_the_same_end_is_needed_to_agree() -> None:
    world = guilty("certificate that has expired")
    of(world, "Certificate")["status"]["notAfter"] = "2026-11-19T08:00:00Z"

    assert found(world) == ["certificates.expired likely"]


def test_whoever_still_serves_the_old_certificate_is_told() -> None:
    statement = diagnose(guilty("certificate that was renewed since").capsule()).findings[0]

    assert "valid until 2027-02-20" in statement.statement
    assert "still has an older one" in statement.statement


def test_a_complaint_of_a_ready_container_is_a_hint() -> None:
    world = guilty("certificate of an authority that is not known")
    world.status["ready"] = True

    assert found(world) == ["certificates.unknown-authority hint"]


def test_a_secret_that_no_certificate_makes_is_missing_as_ever() -> None:
    world = guilty("secret whose certificate is not issued")
    of(world, "Certificate")["spec"]["secretName"] = "other-tls"

    assert "configuration.object-missing proved" in found(world)


def test_a_certificate_that_is_ready_does_not_explain_a_missing_secret() -> None:
    world = guilty("secret whose certificate is not issued")
    of(world, "Certificate")["status"]["conditions"][0]["status"] = "True"

    assert found(world) == ["configuration.object-missing proved"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("certificate has expired or is not yet valid: current time x is after y", "has expired"),
        (
            "certificate is valid for a.svc, b.svc, not hook.system.svc",
            "is not for hook.system.svc",
        ),
        ("certificate signed by unknown authority", "is not trusted"),
    ],
)
def test_a_webhook_says_what_is_wrong_with_its_certificate(said: str, why: str) -> None:
    world = guilty("webhook without pods")
    refused = 'no endpoints available for service "hook"'
    said = f"tls: failed to verify certificate: x509: {said}"
    world.events[0]["message"] = world.events[0]["message"].replace(refused, said)

    verdict = diagnose(world.capsule())

    assert verdict.proved
    assert f"its certificate {why}" in verdict.findings[0].statement
