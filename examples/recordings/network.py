"""What stands between programs: policies, ports, DNS, Ingresses, Gateways, certificates."""

from __future__ import annotations

from typing import Any

from recordings.objects import (
    BEFORE,
    NODES,
    Object,
    ended,
    loops,
    thing,
    unready,
    waits,
    well,
)
from recordings.reaching import steady, unreachable
from recordings.recording import Recording, alert, truth, written
from recordings.workloads import App, program, task

POSTGRES = [{"name": "pg", "containerPort": 5432, "protocol": "TCP"}]


def namespace(name: str) -> Object:
    return thing("Namespace", name, metadata={"labels": {"kubernetes.io/metadata.name": name}})


def database(name: str, space: str, address: str) -> list[Object]:
    """A Service of another namespace, with its endpoints and one ready pod."""
    meta: Object = {"namespace": space}
    labels = {"app.kubernetes.io/name": name}
    port = {"name": "pg", "port": 5432, "protocol": "TCP", "targetPort": "pg"}
    spec = {"clusterIP": address, "ports": [port], "selector": labels, "type": "ClusterIP"}
    made = thing("Service", name, metadata=meta, spec=spec)
    container = {"name": "postgres", "image": "postgres:17.2", "ports": POSTGRES}
    status = {"podIP": "10.4.30.12", "phase": "Running"}
    status["containerStatuses"] = [
        {"name": "postgres", "ready": True, "restartCount": 0, "image": "postgres:17.2"}
        | {"state": {"running": {"startedAt": BEFORE}}, "lastState": {}}
    ]
    pod = thing("Pod", f"{name}-0", metadata=meta | {"labels": labels}, status=status)
    pod["spec"] = {"containers": [container], "nodeName": NODES[1]}
    marks = {"kubernetes.io/service-name": name}
    piece = thing(
        "EndpointSlice",
        f"{name}-x5n2q",
        api="discovery.k8s.io/v1",
        metadata=meta | {"labels": marks},
    )
    target = {"kind": "Pod", "name": f"{name}-0", "namespace": space}
    end = {"addresses": ["10.4.30.12"], "conditions": {"ready": True}, "targetRef": target}
    piece |= {"addressType": "IPv4", "endpoints": [end]}
    return [made, pod, piece | {"ports": [{"name": "pg", "port": 5432, "protocol": "TCP"}]}]


def policy(name: str, space: str, **spec: Any) -> Object:
    return thing(
        "NetworkPolicy", name, api="networking.k8s.io/v1", spec=spec, metadata={"namespace": space}
    )


def _not_ready(app: App, told: Object) -> Recording:
    what = f"Pod shop/{app.pods[0]} has been in a non-ready state for longer than 15 minutes."
    made = Recording(
        app,
        alert(app, "KubePodNotReady", "Pod has been in a non-ready state.", what, pod=True),
        told,
    )
    failed = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    return made.says("Unhealthy", failed, times=188)


def denied() -> Recording:
    url = "postgres://points-db.data.svc.cluster.local:5432/points"
    app = App(
        "loyalty",
        program("loyalty", "2.0.0", env=[{"name": "POINTS_URL", "value": url}]),
        sights=[unready(), unready()],
        about="loyalty: points for buying.",
    )
    told = truth(
        app,
        "A network policy does not let the workload reach its database",
        "network_policy.denied",
        ["policy", "points-db", "timeout"],
    )
    made = _not_ready(app, told).with_(namespace("shop"), namespace("data"))
    made.with_(*database("points-db", "data", "172.20.7.7"))
    caller = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "loyality"}},
    }
    rule = {"from": [caller], "ports": [{"port": 5432, "protocol": "TCP"}]}
    selector = {"matchLabels": {"app.kubernetes.io/name": "points-db"}}
    made.with_(
        policy("points-db", "data", podSelector=selector, policyTypes=["Ingress"], ingress=[rule])
    )
    said = "dial tcp 172.20.7.7:5432: i/o timeout"
    for pod in (0, 1):
        made.log(
            "2026-11-20T09:31:09.100Z INFO  loyalty 2.0.0 starting",
            *(f"2026-11-20T09:{m}:42.871Z ERROR points: {said}" for m in range(32, 47)),
            pod=pod,
        )
    return made.commit("loyalty 2.0.0: points from the database")


def wrong_port_of_a_service() -> Recording:
    def url(port: int) -> list[Object]:
        return [{"name": "LEDGER_URL", "value": f"postgres://ledger-db.data:{port}/ledger"}]

    app = App(
        "billing",
        program("billing", "5.0.0", env=url(5433)),
        program("billing", "4.9.9", env=url(5432)),
        sights=[unready()],
        old=[well(BEFORE), well(BEFORE, node=NODES[1])],
        about="billing: who owes what.",
    )
    good, bad = url(5432)[0]["value"], url(5433)[0]["value"]
    told = truth(
        app,
        "A variable asks a Service for a port that it does not have",
        "services.no-such-port",
        ["5433", "port", "ledger-db"],
        ".env[name=LEDGER_URL].value",
        before=bad,
        after=good,
    )
    made = _not_ready(app, told).with_(namespace("shop"), namespace("data"))
    made.with_(*database("ledger-db", "data", "172.20.7.9"))
    said = (
        'connection to server at "ledger-db.data" (172.20.7.9), port 5433 failed: Connection '
        "timed out"
    )
    made.log(
        "2026-11-20T09:31:10.004Z INFO  billing 5.0.0 starting",
        *(f"2026-11-20T09:{m}:12.118Z ERROR {said}" for m in range(33, 47)),
    )
    return made.commit("billing 5.0.0")


def nodes_resolver() -> Recording:
    host = "collector.data.svc.cluster.local"
    spec = {"hostNetwork": True, "dnsPolicy": "ClusterFirst"}
    env = [{"name": "COLLECTOR", "value": f"{host}:4317"}]
    app = App("trace-agent", task("trace-agent", "1.5.0", spec=spec, env=env), kind="DaemonSet")
    last = ended(1, "Error", "2026-11-20T09:46:21Z", began="2026-11-20T09:46:20Z")
    app = App(
        "trace-agent",
        app.now,
        kind="DaemonSet",
        about="trace-agent: on each node.",
        sights=[loops(name, last) for name in app.pods],
    )
    told = truth(
        app,
        "Pods on the node's network ask the node's resolver for a Service",
        "dns.policy",
        ["dnsPolicy", "hostNetwork", "ClusterFirstWithHostNet"],
        "spec.dnsPolicy",
        before="ClusterFirst",
        after="ClusterFirstWithHostNet",
    )
    said = f'Pod shop/{app.pods[0]} (app) is in waiting state (reason: "CrashLoopBackOff").'
    made = Recording(
        app, alert(app, "KubePodCrashLooping", "Pod is crash looping.", said, pod=True), told
    )
    made.with_(namespace("shop"), namespace("data"), *database("collector", "data", "172.20.8.1"))
    for pod in (0, 1):
        made.log(
            f"FATAL dial tcp: lookup {host} on 10.4.0.2:53: no such host", pod=pod, previous=True
        )
    return made


# ways in


def _ingress(name: str, backend: str, **spec: Any) -> Object:
    target = {"service": {"name": backend, "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": target}
    rules = [{"host": f"{name}.shop.example", "http": {"paths": [path]}}]
    made = thing("Ingress", name, api="networking.k8s.io/v1")
    made["spec"] = {"ingressClassName": "nginx", "rules": rules} | spec
    made["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}]}}
    return made


CLASS = {"spec": {"controller": "k8s.io/ingress-nginx"}, "api": "networking.k8s.io/v1"}


def backend_missing() -> Recording:
    app = steady("storefront", "9.2.0", "storefront: the shop's window.")
    told = truth(
        app,
        "An Ingress sends to a Service that does not exist",
        "ingress.service-missing",
        ["store-front", "storefront", "ingress"],
    )
    made = unreachable(app, told).with_(thing("IngressClass", "nginx", **CLASS))
    ingress = _ingress("storefront", "store-front")
    made.with_(ingress)
    made.git = [written(ingress)]
    return made.commit("storefront: its own Ingress")


def class_missing() -> Recording:
    app = steady("partners", "1.0.1", "partners: what other shops may see.")
    told = truth(
        app,
        "An Ingress names a class that no controller serves",
        "ingress.class-missing",
        ["ngnix", "class"],
    )
    ingress = _ingress("partners", "partners", ingressClassName="ngnix")
    ingress["status"] = {"loadBalancer": {}}
    made = unreachable(app, told).with_(thing("IngressClass", "nginx", **CLASS), ingress)
    made.git = [written(ingress)]
    return made.commit("partners: open the door")


def route_to_nobody() -> Recording:
    app = steady("events", "0.8.0", "events: concerts in the shop.")
    told = truth(
        app,
        "A route of the Gateway API sends to a Service that does not exist",
        "gateway.service-missing",
        ["evnets", "events", "route"],
    )
    api = "gateway.networking.k8s.io/v1"
    parent = {"name": "public", "namespace": "edge"}
    accepted = {"type": "Accepted", "status": "True", "reason": "Accepted"}
    lost = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"}
    conditions = [
        c | {"observedGeneration": 2, "lastTransitionTime": BEFORE} for c in (accepted, lost)
    ]
    route = thing("HTTPRoute", "events", api=api, metadata={"generation": 2})
    route["spec"] = {
        "parentRefs": [parent],
        "rules": [{"backendRefs": [{"name": "evnets", "port": 80}]}],
    }
    route["status"] = {"parents": [{"parentRef": parent, "conditions": conditions}]}
    gateway = thing("Gateway", "public", api=api, metadata={"namespace": "edge"})
    gateway["spec"] = {
        "gatewayClassName": "envoy",
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
    }
    ready = {"type": "Programmed", "status": "True", "reason": "Programmed"}
    gateway["status"] = {"conditions": [ready | {"lastTransitionTime": BEFORE}]}
    made = unreachable(app, told).with_(route, gateway, thing("GatewayClass", "envoy", api=api))
    made.git = [written(route)]
    return made.commit("events: a route of its own")


# certificates


def _certificate(name: str, space: str, hosts: list[str], **status: Any) -> Object:
    made = thing("Certificate", name, api="cert-manager.io/v1", metadata={"namespace": space})
    made["spec"] = {
        "secretName": f"{name}-tls",
        "dnsNames": hosts,
        "issuerRef": {"name": "internal", "kind": "ClusterIssuer"},
    }
    made["status"] = status
    return made


def expired() -> Recording:
    url = "https://tax.finance.svc:8443"
    app = App(
        "cashier",
        program("cashier", "3.3.3", env=[{"name": "TAX_URL", "value": url}]),
        rolled=BEFORE,
        sights=[unready(BEFORE), unready(BEFORE)],
        about="cashier: takes the money, asks for the tax.",
    )
    over = "2026-11-20T09:30:00Z"
    told = truth(
        app,
        "The certificate of a service that it calls has expired",
        "certificates.expired",
        ["certificate", "expired", "tax"],
    )
    stuck = {
        "type": "Ready",
        "status": "False",
        "reason": "Expired",
        "message": f"Certificate expired on {over}",
        "lastTransitionTime": over,
    }
    made = _not_ready(app, told)
    made.with_(
        _certificate(
            "tax", "finance", ["tax.finance.svc", "tax.finance"], notAfter=over, conditions=[stuck]
        )
    )
    for pod in (0, 1):
        said = (
            f'Get "{url}/v1/rates": tls: failed to verify certificate: x509: certificate has '
            "expired or is not yet valid: current time {0} is after " + over
        )
        made.log(
            *(
                f"2026-11-20T09:{m}:07.440Z ERROR tax: " + said.format(f"2026-11-20T09:{m}:07Z")
                for m in range(31, 47)
            ),
            pod=pod,
        )
    return made


def not_issued() -> Recording:
    spec = {"volumes": [{"name": "tls", "secret": {"secretName": "gate-tls"}}]}
    mount = [{"name": "tls", "mountPath": "/tls", "readOnly": True}]
    app = App(
        "gate",
        program("gate", "1.1.0", spec=spec, volumeMounts=mount),
        sights=[waits("ContainerCreating")] * 2,
        about="gate: only with a certificate.",
    )
    told = truth(
        app,
        "The pod waits for a certificate that its issuer does not give",
        "certificates.not-issued",
        ["gate-tls", "certificate"],
    )
    stuck = {
        "type": "Ready",
        "status": "False",
        "reason": "DoesNotExist",
        "message": "Issuing certificate as Secret does not exist",
        "lastTransitionTime": BEFORE,
    }
    made = Recording(
        app,
        alert(
            app,
            "KubePodNotReady",
            "Pod has been in a non-ready state.",
            f"Pod shop/{app.pods[0]} is not ready.",
            pod=True,
        ),
        told,
    )
    made.with_(_certificate("gate", "shop", ["gate.shop.svc"], conditions=[stuck]))
    said = 'MountVolume.SetUp failed for volume "tls" : secret "gate-tls" not found'
    return made.says("FailedMount", said, times=14).commit("gate 1.1.0: only with TLS")


# nothing is wrong


def policies_that_allow() -> Recording:
    url = "postgres://stars-db.data.svc.cluster.local:5432/stars"
    app = App(
        "stars",
        program("stars", "1.0.0", env=[{"name": "STARS_URL", "value": url}]),
        rolled=BEFORE,
        sights=[well(BEFORE), well(BEFORE, node=NODES[1])],
        about="stars: how good it was.",
    )
    said = "p99 of shop/stars was 840 ms during the last five minutes."
    title = "Nothing is wrong: policies that allow it, a connection that timed out once"
    made = Recording(
        app,
        alert(app, "LatencyHigh", "Requests take longer than usual.", said),
        {"healthy": True, "title": title},
    )
    made.with_(namespace("shop"), namespace("data"), *database("stars-db", "data", "172.20.7.8"))
    selector = {"matchLabels": {"app.kubernetes.io/name": "stars-db"}}
    rule = {"from": [{"namespaceSelector": {}}], "ports": [{"port": "pg", "protocol": "TCP"}]}
    made.with_(
        policy("stars-db", "data", podSelector=selector, ingress=[rule]),
        policy("default-deny", "shop", podSelector={}, policyTypes=["Ingress"]),
    )
    made.with_(_ingress("stars", "stars"), thing("IngressClass", "nginx", **CLASS))
    return made.log(
        "2026-11-20T08:02:11.006Z WARN  dial tcp 172.20.7.8:5432: i/o timeout, again",
        "2026-11-20T08:02:12.120Z INFO  connected",
    )


CASES = {
    "network-policy": denied,
    "service-port-number": wrong_port_of_a_service,
    "dns-host-network": nodes_resolver,
    "ingress-backend": backend_missing,
    "ingress-class": class_missing,
    "gateway-route": route_to_nobody,
    "certificate-expired": expired,
    "certificate-not-issued": not_issued,
    "healthy-policies": policies_that_allow,
}
