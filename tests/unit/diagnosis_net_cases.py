"""Guilty worlds of the network: policies, Services, DNS, Ingresses, Gateways, certificates."""

from __future__ import annotations

from typing import Any

from diagnosis_cases import case, of, old
from diagnosis_world import World

from faultline.diagnosis.policies import OTHERS

POSTGRES = {"name": "pg", "containerPort": 5432}
TIMES_OUT = "error: dial tcp 10.96.7.7:5432: i/o timeout"


def service(w: World, name: str, space: str = "", **fields: Any) -> None:
    """A Service with one ready pod, in another namespace if one is given."""
    space = space or w.namespace
    labels = fields.pop("labels", {"app": name})
    ports, pod_ready = fields.pop("pod_ports", [POSTGRES]), fields.pop("ready", True)
    port = {"port": 5432, "targetPort": "pg"} | fields.pop("port", {})
    spec = {"clusterIP": "10.96.7.7", "selector": labels, "ports": [port]} | fields
    meta = {"namespace": space}
    w.add("Service", name, metadata=meta, spec=spec)
    status = {"podIP": "10.1.0.9", "containerStatuses": [{"name": "c", "ready": pod_ready}]}
    containers = [{"name": "c", "image": "x:1", "ports": ports}]
    pod = {"spec": {"containers": containers}, "status": status}
    w.add("Pod", f"{name}-0", metadata=meta | {"labels": labels}, **pod)


def namespace(w: World, name: str, **labels: str) -> None:
    named = {"kubernetes.io/metadata.name": name} | labels
    w.add("Namespace", name, metadata={"labels": named})


def policy(w: World, name: str, space: str = "", **spec: Any) -> None:
    meta = {"namespace": space or w.namespace}
    w.add("NetworkPolicy", name, metadata=meta, apiVersion="networking.k8s.io/v1", spec=spec)


def knows_policies(w: World, *spaces: str) -> World:
    """As a cluster in which every list of policies could be read, and only these are there."""
    w.counted("NetworkPolicy", *OTHERS)
    for space in spaces:
        kinds = ("NetworkPolicy", "CiliumNetworkPolicy", "CalicoNetworkPolicy")
        w.seen = {f"{kind} in {space}": 0 for kind in kinds} | w.seen
    return w


# network policies


@case("network_policy.denied")
def database_that_does_not_let_the_workload_in(w: World) -> None:
    service(w, "archive", "data")
    allowed = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": w.name + "s"}}}
    policy(w, "archive", "data", podSelector={}, ingress=[{"from": [allowed]}])
    namespace(w, w.namespace)
    knows_policies(w, "data").unready().log(TIMES_OUT, previous=False)


@case("network_policy.denied")
def workload_that_may_not_reach_out_to_that_port(w: World) -> None:
    service(w, "archive")
    peers = [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}]
    rule = {"to": peers, "ports": [{"port": 6000, "endPort": 6100}]}
    policy(w, "out", podSelector={"matchLabels": {"app": w.name}}, egress=[rule])
    said = 'connection to server at "archive" (10.96.7.7), port 5432 failed: Connection timed out'
    knows_policies(w).unready().log(said, previous=False)


@case("network_policy.denied", proved=False)
def policies_of_which_some_may_not_be_seen(w: World) -> None:
    database_that_does_not_let_the_workload_in(w)
    w.seen["NetworkPolicy in data"] = 2


@case("network_policy.dns-blocked")
def egress_that_forgets_dns(w: World) -> None:
    dns(w)
    policy(w, "out", podSelector={}, policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}]}])
    knows_policies(w, "kube-system").unready()
    said = "lookup archive on 10.96.0.10:53: read udp 10.1.0.5:4711->10.96.0.10:53: i/o timeout"
    w.log(f"error: dial tcp: {said}", previous=False)


def dns(w: World, *, ready: bool = True) -> None:
    port = {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53}
    more = {"labels": {"k8s-app": "kube-dns"}, "clusterIP": "10.96.0.10", "ready": ready}
    service(w, "kube-dns", "kube-system", port=port, pod_ports=[], **more)


@case("network_policy.no-pods", proved=False)
def policy_that_misses_its_pods_by_a_letter(w: World) -> None:
    policy(w, "guard", podSelector={"matchLabels": {"app": w.name + "s"}}, ingress=[])
    w.counted("Pod", "NetworkPolicy")


# services that a program asks


@case("services.no-such-port", of("env[name=DB].value", "postgres://archive:5432/x"))
def port_that_the_service_does_not_have(w: World) -> None:
    service(w, "archive")
    w.main["env"].append({"name": "DB", "value": "postgres://archive:5433/x"})
    w.unready().log("dial tcp 10.96.7.7:5433: i/o timeout", previous=False)


@case("services.no-such-port", of("env[name=DB_PORT].value", "5432"))
def port_that_the_rollout_changed(w: World) -> None:
    service(w, "archive", ports=[{"port": 5432}, {"port": 9187}])
    for container, port in ((w.main, "5342"), (old(w), "5432")):
        container["env"] += [{"name": "DB_HOST", "value": "archive"}]
        container["env"] += [{"name": "DB_PORT", "value": port}]
    w.unready().log("Error: connect ECONNREFUSED archive:5342", previous=False)


@case("services.target-port", lambda w: {"Service spec.ports[0].targetPort": 5432})
def target_port_that_nothing_listens_on(w: World) -> None:
    service(w, "archive", port={"targetPort": 5433})
    w.unready().log("dial tcp 10.96.7.7:5432: connect: connection refused", previous=False)


@case("services.target-port", proved=False)
def own_target_port_that_is_not_the_one_it_listens_on(w: World) -> None:
    ports = [{"port": 80, "targetPort": 8081}]
    w.add("Service", w.name, spec={"selector": {"app": w.name}, "ports": ports})
    w.log("listening on :8080", previous=False)


@case("services.not-ready", proved=False)
def service_whose_pods_are_not_ready(w: World) -> None:
    w.unready().log("Failed to connect to archive port 5432: Connection refused", previous=False)
    service(w, "archive", ready=False)


@case("services.no-pods", proved=False)
def service_without_pods(w: World) -> None:
    spec = {"clusterIP": "10.96.7.7", "selector": {"app": "x"}, "ports": [{"port": 5432}]}
    w.add("Service", "archive", spec=spec)
    labels = {"kubernetes.io/service-name": "archive"}
    w.add("EndpointSlice", "archive-abcde", metadata={"labels": labels}, endpoints=[])
    w.unready().log("Connection to archive:5432 refused.", previous=False)


# names


UNRESOLVED = "error: dial tcp: lookup {} on {}:53: no such host"


@case("names.other-namespace", of("env[name=DB].value", "postgres://archive.data.svc:5432/x"))
def namespace_with_a_typo(w: World) -> None:
    service(w, "archive", "data")
    w.main["env"].append({"name": "DB", "value": "postgres://archive.dta.svc:5432/x"})
    w.gone("Namespace", "dta").unready()
    w.log(UNRESOLVED.format("archive.dta.svc", "10.96.0.10"), previous=False)


@case("names.other-namespace", proved=False)
def service_that_only_another_namespace_has(w: World) -> None:
    service(w, "archive", "data")
    w.main["env"].append({"name": "DB", "value": "postgres://archive:5432/x"})
    w.unready().log(UNRESOLVED.format("archive", "10.96.0.10"), previous=False)


@case("dns.policy", lambda w: {"dnsPolicy": "ClusterFirstWithHostNet"})
def host_network_with_the_nodes_dns(w: World) -> None:
    assert w.previous is not None
    w.spec["hostNetwork"] = w.previous["hostNetwork"] = True
    service(w, "archive")
    w.unready().log(UNRESOLVED.format("archive", "10.0.0.2"), previous=False)


@case("dns.policy", lambda w: {"dnsPolicy": "ClusterFirst"})
def dns_policy_of_the_node(w: World) -> None:
    w.spec["dnsPolicy"] = "Default"
    service(w, "archive", "data")
    w.loops(1).log("getaddrinfo ENOTFOUND archive.data.svc.cluster.local")


@case("dns.nameserver", lambda w: {"dnsConfig.nameservers[0]": "10.96.0.10"})
def nameserver_that_is_not_the_clusters(w: World) -> None:
    w.spec |= {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.69.0.10"]}}
    dns(w)
    service(w, "archive")
    w.unready().log(UNRESOLVED.format("archive", "10.69.0.10"), previous=False)


@case("dns.search")
def search_list_without_the_namespace(w: World) -> None:
    w.spec["dnsPolicy"] = "None"
    w.spec["dnsConfig"] = {"nameservers": ["10.96.0.10"], "searches": ["example.com"]}
    dns(w)
    service(w, "archive")
    w.unready().log(UNRESOLVED.format("archive", "10.96.0.10"), previous=False)


@case("dns.ndots", proved=False)
def ndots_that_make_a_name_whole(w: World) -> None:
    w.spec["dnsConfig"] = {"options": [{"name": "ndots", "value": "1"}]}
    service(w, "archive", "data")
    w.unready().log(UNRESOLVED.format("archive.data", "10.96.0.10"), previous=False)


@case("dns.exists", proved=False)
def service_that_came_later(w: World) -> None:
    service(w, "archive")
    w.unready().log(UNRESOLVED.format("archive", "10.96.0.10"), previous=False)


@case("dns.not-ready", proved=False)
def dns_without_ready_pods(w: World) -> None:
    dns(w, ready=False)
    w.unready().log("socket.gaierror: [Errno -3] Temporary failure in name resolution")


# ways in


def ingress(w: World, backend: str, port: Any = 80, **spec: Any) -> None:
    target = {"service": {"name": backend, "port": {"number": port}}}
    rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": target}]}}]
    w.add("Ingress", "web", spec={"ingressClassName": "nginx", "rules": rules} | spec)
    own = {"selector": {"app": w.name}, "ports": [{"port": 80, "targetPort": "http"}]}
    w.add("Service", w.name, spec=own)


@case("ingress.class-missing")
def ingress_class_with_a_typo(w: World) -> None:
    ingress(w, w.name, ingressClassName="ngnix")
    w.add("IngressClass", "nginx").gone("IngressClass", "ngnix")


@case("ingress.no-class", proved=False)
def ingress_without_a_class(w: World) -> None:
    ingress(w, w.name, ingressClassName=None)
    w.add("IngressClass", "nginx")


@case("ingress.service-missing")
def backend_with_a_typo(w: World) -> None:
    ingress(w, w.name + "s")
    w.gone("Service", w.name + "s")


@case("ingress.port-missing")
def backend_port_that_the_service_does_not_have(w: World) -> None:
    ingress(w, w.name, port=8080)


@case("ingress.tls-secret-missing")
def tls_secret_that_is_not_there(w: World) -> None:
    ingress(w, w.name, tls=[{"secretName": "web-tls"}])
    w.gone("Secret", "web-tls")


def route(w: World, backend: str = "", port: int = 80, **status: Any) -> None:
    rules = [{"backendRefs": [{"name": backend or w.name, "port": port}]}]
    spec = {"parentRefs": [{"name": "public", "namespace": "edge"}], "rules": rules}
    w.add("HTTPRoute", "web", metadata={"generation": 3}, spec=spec, status=status)
    own = {"selector": {"app": w.name}, "ports": [{"port": 80, "targetPort": "http"}]}
    w.add("Service", w.name, spec=own)


def gateway(w: World, **status: Any) -> None:
    spec = {"gatewayClassName": "envoy", "listeners": [{"name": "http", "port": 80}]}
    w.add("Gateway", "public", metadata={"namespace": "edge"}, spec=spec, status=status)


def told(w: World, kind: str, reason: str) -> None:
    condition = {"type": kind, "status": "False", "reason": reason, "observedGeneration": 3}
    parent = {"name": "public", "namespace": "edge"}
    route(w, parents=[{"parentRef": parent, "conditions": [condition]}])
    gateway(w)


@case("gateway.gateway-missing")
def route_without_its_gateway(w: World) -> None:
    route(w)
    w.gone("Gateway", "public", "edge")


@case("gateway.class-missing")
def gateway_without_its_class(w: World) -> None:
    route(w)
    gateway(w)
    w.gone("GatewayClass", "envoy")


@case("gateway.not-accepted")
def route_that_no_listener_takes(w: World) -> None:
    told(w, "Accepted", "NotAllowedByListeners")


@case("gateway.not-accepted", proved=False)
def route_that_waits_to_be_taken(w: World) -> None:
    told(w, "Accepted", "Pending")


@case("gateway.not-permitted", proved=False)
def route_whose_reference_is_not_permitted(w: World) -> None:
    told(w, "ResolvedRefs", "RefNotPermitted")


@case("gateway.not-ready", proved=False)
def gateway_that_is_not_programmed(w: World) -> None:
    route(w)
    gateway(w, conditions=[{"type": "Programmed", "status": "False", "reason": "NoResources"}])


@case("gateway.service-missing")
def route_to_a_service_with_a_typo(w: World) -> None:
    route(w, backend=w.name + "s")
    gateway(w)
    w.gone("Service", w.name + "s")


@case("gateway.port-missing")
def route_to_a_port_that_the_service_does_not_have(w: World) -> None:
    route(w, port=8080)
    gateway(w)


# certificates


ENDED = "2026-11-20T08:00:00Z"
EXPIRED = (
    'error: Get "https://archive.data.svc:8443/x": tls: failed to verify certificate: x509: '
    "certificate has expired or is not yet valid: current time 2026-11-21T10:09:00Z is after "
    f"{ENDED}"
)


def certificate(w: World, space: str = "", *, ready: str = "True", **status: Any) -> None:
    condition = {"type": "Ready", "status": ready, "reason": "DoesNotExist", "message": "Issuing"}
    spec = {"secretName": "archive-tls", "dnsNames": ["archive.data.svc", "archive"]}
    meta, said = {"namespace": space or w.namespace}, {"conditions": [condition]} | status
    w.add("Certificate", "archive-cert", metadata=meta, spec=spec, status=said)


@case("certificates.expired")
def certificate_that_has_expired(w: World) -> None:
    certificate(w, "data", notAfter=ENDED)
    w.unready().log(EXPIRED, previous=False)


@case("certificates.expired", proved=False)
def certificate_that_was_renewed_since(w: World) -> None:
    certificate(w, "data", notAfter="2027-02-20T08:00:00Z")
    w.unready().log(EXPIRED, previous=False)


@case("certificates.wrong-host")
def certificate_for_another_host(w: World) -> None:
    certificate(w, "data")
    said = "x509: certificate is valid for archive.data.svc, archive, not archive.data.example"
    w.unready().log(f"error: {said}", previous=False)


@case("certificates.unknown-authority", proved=False)
def certificate_of_an_authority_that_is_not_known(w: World) -> None:
    w.unready().log("ssl.SSLError: self-signed certificate in certificate chain", previous=False)


@case("certificates.not-yet-valid", proved=False)
def certificate_of_tomorrow(w: World) -> None:
    early = "current time 2026-11-21T10:09:00Z is before 2026-11-22T00:00:00Z"
    said = f"x509: certificate has expired or is not yet valid: {early}"
    w.unready().log(f"error: {said}", previous=False)


@case("certificates.expired", proved=False)
def api_service_with_an_expired_certificate(w: World) -> None:
    said = {"type": "Available", "status": "False", "message": f"failing or missing: {EXPIRED}"}
    w.add("APIService", "v1beta1.metrics.k8s.io", status={"conditions": [said]})


@case("certificates.not-issued")
def secret_whose_certificate_is_not_issued(w: World) -> None:
    w.spec["volumes"] = [{"name": "tls", "secret": {"secretName": "archive-tls"}}]
    certificate(w, ready="False")
    w.waits("ContainerCreating")
    said = 'MountVolume.SetUp failed for volume "tls" : secret "archive-tls" not found'
    w.event("FailedMount", said, of_container=False)


@case("certificates.not-ready", proved=False)
def certificate_that_nobody_waits_for(w: World) -> None:
    certificate(w, ready="False")
