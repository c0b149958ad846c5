"""Ways that lead nowhere: services without pods, names without hosts, blind autoscalers."""

from __future__ import annotations

from typing import Any

from recordings.around import service
from recordings.objects import BEFORE, NODES, Object, died, thing, unready, well
from recordings.recording import Recording, alert, truth, written
from recordings.workloads import App, program, task

STOOD = "2026-11-20T09:31:07Z"


def steady(name: str, tag: str, about: str, **more: Any) -> App:
    """A workload that runs and is ready."""
    return App(
        name,
        program(name, tag),
        about=about,
        rolled=BEFORE,
        sights=[well(BEFORE), well(BEFORE, node=NODES[1])],
        **more,
    )


def unreachable(app: App, told: Object) -> Recording:
    said = f"Nobody answers at http://{app.name}.shop; its pods are ready."
    return Recording(
        app,
        alert(app, "ServiceUnreachable", "A service does not answer.", said, severity="critical"),
        told,
    )


# services


def selects_nothing() -> Recording:
    app = steady("delivery", "6.1.0", "delivery: where parcels are.")
    wrong = {"app.kubernetes.io/name": "delivrey"}
    told = truth(
        app,
        "A Service selects no pod: its label is misspelt",
        "selectors.no-pods",
        ["selector", "delivrey", "delivery"],
        'spec.selector["app.kubernetes.io/name"]',
        before="delivrey",
        after="delivery",
        target=("Service", "delivery"),
    )
    made = unreachable(app, told).with_(*service(app, selector=wrong))
    made.git = [written(made.around[0])]
    return made.commit("delivery: tidy up labels")


def port_without_name() -> Recording:
    app = steady("tracking", "2.7.1", "tracking: the map in the parcel's mail.")
    told = truth(
        app,
        "A Service sends to a port that no container has",
        "selectors.no-port",
        ["htttp", "port"],
        "spec.ports[0].targetPort",
        before="htttp",
        after="http",
        target=("Service", "tracking"),
    )
    made = unreachable(app, told).with_(*service(app, port="htttp"))
    made.git = [written(made.around[0])]
    return made.commit("tracking: name the ports")


# names


def _asks(name: str, host: str) -> list[Object]:
    return [{"name": "LOG_LEVEL", "value": "info"}, {"name": name, "value": host}]


LOST = "dial tcp: lookup {0} on 172.20.0.10:53: no such host"


def unknown_host() -> Recording:
    good, bad = "http://stock.shop.svc.cluster.local", "http://stcok.shop.svc.cluster.local"
    app = App(
        "orders",
        program("orders", "3.1.0", env=_asks("STOCK_URL", bad)),
        program("orders", "3.0.4", env=_asks("STOCK_URL", good)),
        sights=[unready()],
        old=[well(BEFORE), well(BEFORE, node=NODES[1])],
        about="orders: asks stock before it says yes.",
    )
    told = truth(
        app,
        "A variable names a host that does not exist",
        "names.unknown-host",
        ["stcok", "no such host"],
        ".env[name=STOCK_URL].value",
        before=bad,
        after=good,
    )
    what = f"Pod shop/{app.pods[0]} has been in a non-ready state for longer than 15 minutes."
    made = Recording(
        app,
        alert(app, "KubePodNotReady", "Pod has been in a non-ready state.", what, pod=True),
        told,
    )
    made.with_(
        thing(
            "Service",
            "stock",
            spec={"selector": {"app.kubernetes.io/name": "stock"}, "ports": [{"port": 80}]},
        )
    )
    said = LOST.format("stcok.shop.svc.cluster.local")
    made.log(
        "2026-11-20T09:31:10.004Z INFO  orders 3.1.0 starting",
        *(
            f'2026-11-20T09:{m}:12.118Z ERROR stock: Get "{bad}/v1/levels": {said}'
            for m in range(31, 47)
        ),
    )
    made.says(
        "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", times=188
    )
    return made.commit("orders 3.1.0: ask stock")


def unknown_host_of_a_task() -> Recording:
    def dials(host: str) -> list[Object]:
        return [{"name": "BOOKINGS_HOST", "value": host}]

    app = App(
        "nightly-report",
        task("nightly-report", "1.4.0", env=dials("bookigns")),
        kind="CronJob",
        about="nightly-report: what was sold.",
        sights=[died(1, "2026-11-20T09:30:09Z"), died(1, "2026-11-20T09:30:31Z")],
    )
    told = truth(
        app,
        "A CronJob's variable names a host that does not exist",
        "names.unknown-host",
        ["bookigns", "ENOTFOUND"],
        ".env[name=BOOKINGS_HOST].value",
        before="bookigns",
        after="bookings",
    )
    what = f"Job shop/{app.revision} failed to complete."
    made = Recording(app, alert(app, "KubeJobFailed", "Job failed to complete.", what), told)
    made.with_(thing("Service", "bookings", spec={"ports": [{"port": 5432}]}))
    for pod in (0, 1):
        made.log(
            "2026-11-20T09:30:04.310Z INFO  report of 2026-11-19",
            "Error: getaddrinfo ENOTFOUND bookigns",
            "    at GetAddrInfoReqWrap.onlookupall [as oncomplete] (node:dns:122:26)",
            pod=pod,
        )
    return made


# autoscaling


def request_missing() -> Recording:
    without = {"requests": {"memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    with_it = {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    app = App(
        "frontend",
        program("frontend", "12.4.0", resources=without),
        program("frontend", "12.3.9", resources=with_it),
        sights=[well(STOOD), well(STOOD, node=NODES[1])],
        about="frontend: what people see.",
    )
    told = truth(
        app,
        "The autoscaler cannot measure: a rollout removed the CPU request",
        "autoscaling.no-request",
        ["cpu", "request", "autoscaler"],
        ".resources.requests.cpu",
        before=None,
        after="250m",
    )
    said = (
        "the HPA was unable to compute the replica count: failed to get cpu utilization: missing "
        f"request for cpu in container app of Pod {app.pods[0]}"
    )
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "frontend"}
    usage = {"target": {"type": "Utilization", "averageUtilization": 70}, "name": "cpu"}
    spec = {"minReplicas": 2, "maxReplicas": 6, "scaleTargetRef": target}
    spec["metrics"] = [{"type": "Resource", "resource": usage}]
    at = {"lastTransitionTime": "2026-11-20T09:31:22Z"}
    active = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric"}
    able = {"type": "AbleToScale", "status": "True", "reason": "SucceededGetScale"}
    able["message"] = "the HPA controller was able to get the target's current scale"
    status = {"currentReplicas": 2, "desiredReplicas": 2}
    status["conditions"] = [able | at, active | at | {"message": said}]
    scaler = thing(
        "HorizontalPodAutoscaler", "frontend", api="autoscaling/v2", spec=spec, status=status
    )
    what = "HPA shop/frontend has not matched the desired number of replicas for 15 minutes."
    made = Recording(
        app,
        alert(
            app,
            "KubeHpaReplicasMismatch",
            "HPA has not matched replicas.",
            what,
            kind="horizontalpodautoscaler",
        ),
        told,
    ).with_(scaler)
    made.git = [written(scaler)]
    return made.says(
        "FailedGetResourceMetric",
        said.split(": ", 1)[1],
        times=61,
        about=("HorizontalPodAutoscaler", "frontend"),
    ).commit("frontend 12.4.0")


CASES = {
    "service-selector": selects_nothing,
    "service-port": port_without_name,
    "unknown-host": unknown_host,
    "unknown-host-cronjob": unknown_host_of_a_task,
    "autoscaler-request": request_missing,
}
