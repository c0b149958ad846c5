"""Guilty worlds: for each condition what is broken, what must be found, what must be proposed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnosis_world import World

Break = Callable[[World], None]


@dataclass(frozen=True)
class Case:
    break_: Break
    analyzer: str
    changes: Callable[[World], dict[str, Any]]  # field, below the pod template's spec -> value
    proved: bool = True
    kind: str = "Deployment"

    def world(self, *, kind: str = "", **names: str) -> World:
        world = World(**names).become(kind or self.kind)
        self.break_(world)
        return world

    def expected(self, world: World) -> dict[str, Any]:
        """What to propose; a field of another object is written as `<kind> <path>`."""
        start = "spec.jobTemplate." * (world.kind == "CronJob") + "spec.template.spec."
        return {
            field if " " in field else f"{world.kind} {start}{field}": value
            for field, value in self.changes(world).items()
        }


GUILTY: dict[str, Case] = {}


def case(
    analyzer: str,
    changes: Callable[[World], dict[str, Any]] | None = None,
    *,
    proved: bool = True,
    kind: str = "Deployment",
) -> Callable[[Break], Break]:
    def note(break_: Break) -> Break:
        name = break_.__name__.replace("_", " ")
        GUILTY[name] = Case(break_, analyzer, changes or (lambda world: {}), proved, kind)
        return break_

    return note


def of(field: str, value: Any) -> Callable[[World], dict[str, Any]]:
    """Expect one change of a field of the container."""
    return lambda w: {f"containers[name={w.container}].{field}": value}


def old(w: World) -> dict[str, Any]:
    assert w.previous is not None
    return w.previous["containers"][0]


RUNC = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc "
    "create failed: unable to start container process: error during container init: "
)


# crash loop


@case("crash_loop.command-missing", of("command[0]", "/app/server"))
def command_that_is_not_in_the_image(w: World) -> None:
    w.main["command"] = ["/app/serverr"]
    w.loops(
        128,
        "StartError",
        RUNC + 'exec: "/app/serverr": stat /app/serverr: no such file or directory',
    )


@case("crash_loop.command-missing", of("command[0]", "/app/server"))
def command_not_in_path_as_the_event_says(w: World) -> None:
    w.main["command"] = ["serve"]
    w.waits("RunContainerError").event(
        "Failed", f'Error: {RUNC}exec: "serve": executable file not found in $PATH: unknown'
    )


@case("crash_loop.command-missing", of("args[1]", "exec server --port 8080"))
def shell_that_does_not_find_the_command(w: World) -> None:
    w.main["command"] = old(w)["command"] = ["/bin/sh"]
    w.main["args"] = ["-c", "exec sever --port 8080"]
    old(w)["args"] = ["-c", "exec server --port 8080"]
    w.loops(127).log("/bin/sh: 1: sever: not found")


@case("crash_loop.command-missing", of("command[0]", "/app/server"))
def command_without_permission(w: World) -> None:
    w.main["command"] = ["/app/readme.txt"]
    w.loops(126, "StartError", RUNC + 'exec: "/app/readme.txt": permission denied')


def _image(tag: str) -> Callable[[World], dict[str, Any]]:
    return lambda w: {f"containers[name={w.container}].image": _ref(w, tag)}


def _ref(w: World, tag: str) -> str:
    return f"registry.example.com/{w.namespace}/{w.name}:{tag}"


@case("crash_loop.wrong-architecture", _image("1.4.2"))
def image_for_another_architecture(w: World) -> None:
    w.main["image"] = _ref(w, "1.4.3-arm64")
    w.loops(1).log("exec /app/server: exec format error")
    w.add("Node", "node-1", status={"nodeInfo": {"architecture": "amd64"}})


@case("crash_loop.variable-missing", of("env[name=DATABASE_URL].value", "postgres://db/shop"))
def variable_that_the_rollout_removed(w: World) -> None:
    old(w)["env"].append({"name": "DATABASE_URL", "value": "postgres://db/shop"})
    w.loops(1).log("Traceback (most recent call last):", "KeyError: 'DATABASE_URL'")


@case(
    "crash_loop.variable-missing",
    lambda w: {
        f"containers[name={w.container}].env[name=API_URL].valueFrom.configMapKeyRef.name": "urls",
        f"containers[name={w.container}].env[name=API_URL].valueFrom.configMapKeyRef.key": "api",
    },
)
def reference_that_the_rollout_removed(w: World) -> None:
    source = {"configMapKeyRef": {"name": "urls", "key": "api"}}
    old(w)["env"].append({"name": "API_URL", "valueFrom": source})
    w.loops(1).log("fatal: required environment variable API_URL is not set")


@case("crash_loop.variable-missing", of("env[name=DATABSE_URL].name", "DATABASE_URL"))
def variable_with_a_typo(w: World) -> None:
    w.main["env"].append({"name": "DATABSE_URL", "value": "postgres://db/shop"})
    w.loops(1).log("error: environment variable DATABASE_URL is required")


@case("crash_loop.exit", proved=False)
def crash_for_a_reason_of_its_own(w: World) -> None:
    w.loops(2).log("starting", "error: cannot open ledger: checksum mismatch")


# configuration


@case(
    "configuration.object-missing",
    of("env[name=MODE].valueFrom.configMapKeyRef.name", "settings-checkout"),
)
def config_map_with_a_typo(w: World) -> None:
    ref = {"name": "setings-checkout", "key": "mode"}
    w.main["env"].append({"name": "MODE", "valueFrom": {"configMapKeyRef": ref}})
    w.waits("CreateContainerConfigError", 'configmap "setings-checkout" not found')
    w.add("ConfigMap", "settings-checkout", data={"mode": "live"})


@case(
    "configuration.key-missing",
    of("env[name=MODE].valueFrom.configMapKeyRef.key", "log.level"),
)
def config_map_key_with_a_typo(w: World) -> None:
    ref = {"name": "settings", "key": "log.levle"}
    w.main["env"].append({"name": "MODE", "valueFrom": {"configMapKeyRef": ref}})
    message = f"couldn't find key log.levle in ConfigMap {w.namespace}/settings"
    w.waits("CreateContainerConfigError", message)
    w.add("ConfigMap", "settings", data={"log.level": "info"})


@case("configuration.object-missing", of("envFrom[0].secretRef.name", "credentials-v1"))
def secret_that_the_rollout_renamed(w: World) -> None:
    w.main["envFrom"] = [{"secretRef": {"name": "credentials-v2-new"}}]
    old(w)["envFrom"] = [{"secretRef": {"name": "credentials-v1"}}]
    w.waits("CreateContainerConfigError", 'secret "credentials-v2-new" not found')


@case(
    "configuration.object-missing", lambda w: {"volumes[name=config].configMap.name": "app-config"}
)
def config_map_of_a_volume(w: World) -> None:
    w.spec["volumes"] = [{"name": "config", "configMap": {"name": "app-cofig"}}]
    w.waits("ContainerCreating").add("ConfigMap", "app-config", data={"a": "b"})
    w.event(
        "FailedMount",
        'MountVolume.SetUp failed for volume "config" : configmap "app-cofig" not found',
    )


@case(
    "configuration.key-missing",
    lambda w: {"volumes[name=config].configMap.items[0].key": "app.yaml"},
)
def key_of_a_volume(w: World) -> None:
    items = [{"key": "app.yml", "path": "app.yaml"}]
    w.spec["volumes"] = [{"name": "config", "configMap": {"name": "app-config", "items": items}}]
    w.waits("ContainerCreating").add("ConfigMap", "app-config", data={"app.yaml": "b"})
    said = "configmap references non-existent config key: app.yml"
    w.event("FailedMount", f'MountVolume.SetUp failed for volume "config" : {said}')


@case("configuration.object-missing")
def config_map_that_nobody_made(w: World) -> None:
    w.main["envFrom"] = [{"configMapRef": {"name": "feature-flags"}}]
    w.waits("CreateContainerConfigError", 'configmap "feature-flags" not found')


# memory


@case("memory.limit-exceeded", of("resources.limits.memory", "256Mi"))
def memory_limit_lowered(w: World) -> None:
    w.main["resources"]["limits"]["memory"] = "64Mi"
    w.loops(137, "OOMKilled").memory(("09:30", 178), ("09:50", 181), ("10:05", 63))


@case("memory.limit-exceeded", of("resources.limits.memory", "384Mi"))
def memory_limit_reached(w: World) -> None:
    w.loops(137, "OOMKilled").memory(("10:03", 120), ("10:04", 250), ("10:05", 30), ("10:06", 251))


@case("memory.limit-exceeded", of("resources.limits.memory", "256Mi"), proved=False)
def memory_limit_lowered_without_measurements(w: World) -> None:
    w.main["resources"]["limits"]["memory"] = "64Mi"
    w.loops(137, "OOMKilled")


@case("memory.leak", proved=False)
def memory_that_only_grows(w: World) -> None:
    grows = [(f"10:{m:02d}", 40.0 + 18 * i) for i, m in enumerate(range(3, 15))]
    w.loops(137, "OOMKilled").memory(*grows)


@case("memory.no-limit", proved=False)
def memory_without_a_limit(w: World) -> None:
    del w.main["resources"], old(w)["resources"]
    w.loops(137, "OOMKilled")


# image pull


def _pull(w: World, tag: str, said: str) -> None:
    w.main["image"] = image = _ref(w, tag)
    w.waits("ImagePullBackOff", f'Back-off pulling image "{image}"')
    w.event("Failed", f'Failed to pull image "{image}": rpc error: code = Unknown desc = {said}')


@case("image_pull.not-found", _image("1.4.2"))
def tag_that_does_not_exist(w: World) -> None:
    _pull(w, "1.4.22", f"failed to resolve reference: {_ref(w, '1.4.22')}: not found")


@case("image_pull.not-found")
def tag_that_does_not_exist_from_the_start(w: World) -> None:
    w.previous = None
    _pull(w, "1.5", "manifest for this not found: manifest unknown: manifest unknown")


@case("image_pull.wrong-platform", _image("1.4.2"))
def image_without_this_platform(w: World) -> None:
    _pull(
        w, "1.4.3", "failed to pull and unpack image: no match for platform in manifest: not found"
    )


@case("image_pull.rate-limited")
def registry_that_allows_no_more(w: World) -> None:
    _pull(w, "1.4.3", "unexpected status: 429 Too Many Requests - Server message: toomanyrequests")


@case("image_pull.unknown-host", proved=False)
def registry_without_a_name(w: World) -> None:
    _pull(w, "1.4.3", "dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host")


@case("image_pull.unknown-host", _image("1.4.2"))
def registry_with_a_typo(w: World) -> None:
    w.main["image"] = image = _ref(w, "1.4.2").replace("registry.", "regstry.")
    w.waits("ErrImagePull").event(
        "Failed",
        f'Failed to pull image "{image}": dial tcp: lookup regstry.example.com: no such host',
    )


@case("image_pull.unreachable", proved=False)
def registry_that_is_silent(w: World) -> None:
    _pull(w, "1.4.3", "dial tcp 192.0.2.9:443: i/o timeout")


@case("image_pull.denied", proved=False)
def registry_that_denies(w: World) -> None:
    _pull(w, "1.4.3", "failed to authorize: unexpected status from GET request: 401 Unauthorized")


@case("image_pull.denied")
def registry_that_was_asked_anonymously(w: World) -> None:
    _pull(w, "1.4.3", "failed to authorize: failed to fetch anonymous token: 401 Unauthorized")


@case("image_pull.credentials", lambda w: {"imagePullSecrets[name=regcerd].name": "regcred"})
def pull_secret_with_a_typo(w: World) -> None:
    w.spec["imagePullSecrets"] = [{"name": "regcerd"}]
    _pull(w, "1.4.3", "failed to authorize: unexpected status from GET request: 403 Forbidden")
    said = "Unable to retrieve some image pull secrets (regcerd); attempting to pull the image may"
    w.event("FailedToRetrieveImagePullSecret", f"{said} not succeed.", of_container=False)
    w.add("Secret", "regcred", keys={".dockerconfigjson": 120})


@case("image_pull.credentials", lambda w: {"imagePullSecrets[0].name": "regcred"})
def pull_secret_that_the_rollout_removed(w: World) -> None:
    assert w.previous is not None
    w.previous["imagePullSecrets"] = [{"name": "regcred"}]
    _pull(w, "1.4.3", "pull access denied, repository does not exist or may require authorization")


@case("image_pull.invalid-name", _image("1.4.2"))
def image_with_an_invalid_name(w: World) -> None:
    w.main["image"] = image = _ref(w, "1.4.3").upper()
    said = f'Failed to apply default image tag "{image}": invalid reference format'
    w.waits("InvalidImageName", said).event("InspectFailed", said)


@case("image_pull.never-pulled", _image("1.4.2"))
def image_that_may_not_be_pulled(w: World) -> None:
    w.main["image"] = image = _ref(w, "1.4.3")
    w.main["imagePullPolicy"] = old(w)["imagePullPolicy"] = "Never"
    w.waits(
        "ErrImageNeverPull", f'Container image "{image}" is not present with pull policy of Never'
    )


# probes


def _probe(
    w: World, now: dict[str, Any], before: dict[str, Any] | None, which: str, said: str
) -> None:
    w.main[f"{which}Probe"] = now
    if before is not None:
        old(w)[f"{which}Probe"] = before
    w.unready().event("Unhealthy", f"{which.capitalize()} probe failed: {said}")
    if which != "readiness":
        w.event(
            "Killing",
            f"Container {w.container} failed {which} probe, will be restarted",
            type="Normal",
        )


def http(port: Any = 8080, path: str = "/healthz", **more: Any) -> dict[str, Any]:
    get = {"path": path, "port": port} | (
        {"scheme": more.pop("scheme")} if "scheme" in more else {}
    )
    return {"httpGet": get, **more}


REFUSED = 'Get "http://10.0.0.5:{0}/healthz": dial tcp 10.0.0.5:{0}: connect: connection refused'
LATE = 'Get "http://10.0.0.5:8080/healthz": context deadline exceeded (Client.Timeout exceeded)'


@case("probes.port", of("readinessProbe.httpGet.port", 8080))
def probe_port_that_the_rollout_moved(w: World) -> None:
    _probe(w, http(8081), http(8080), "readiness", REFUSED.format(8081))


@case("probes.port", of("livenessProbe.httpGet.port", 8080))
def probe_port_where_the_program_does_not_listen(w: World) -> None:
    w.previous = None
    w.log("2026-11-21T10:02:03Z INFO listening on 0.0.0.0:8080", previous=False)
    _probe(w, http(9090), None, "liveness", REFUSED.format(9090))


@case("probes.port", of("readinessProbe.tcpSocket.port", 8080), proved=False)
def probe_port_that_is_not_declared(w: World) -> None:
    probe = {"tcpSocket": {"port": 3307}}
    _probe(w, probe, probe, "readiness", "dial tcp 10.0.0.5:3307: connect: connection refused")


@case("probes.port-name", of("readinessProbe.httpGet.port", "http"))
def probe_port_name_with_a_typo(w: World) -> None:
    w.main["readinessProbe"] = http("htpp")
    said = 'resulted in unknown state: strconv.Atoi: parsing "htpp": invalid syntax'
    w.unready().event("Unhealthy", f"Readiness probe errored and {said}")


@case("probes.path", of("readinessProbe.httpGet.path", "/healthz"))
def probe_path_that_the_rollout_changed(w: World) -> None:
    _probe(w, http(path="/helthz"), http(), "readiness", "HTTP probe failed with statuscode: 404")


@case("probes.path", proved=False)
def probe_path_that_never_was_there(w: World) -> None:
    _probe(w, http(), http(), "readiness", "HTTP probe failed with statuscode: 404")


@case("probes.scheme", of("livenessProbe.httpGet.scheme", "HTTP"))
def probe_with_https_of_a_http_server(w: World) -> None:
    said = 'Get "https://10.0.0.5:8080/healthz": http: server gave HTTP response to HTTPS client'
    _probe(w, http(scheme="HTTPS"), None, "liveness", said)


@case("probes.scheme", of("readinessProbe.httpGet.scheme", "HTTPS"))
def probe_with_http_of_a_https_server(w: World) -> None:
    w.log(
        "http: TLS handshake error: client sent an HTTP request to an HTTPS server", previous=False
    )
    _probe(w, http(), None, "readiness", "HTTP probe failed with statuscode: 400")


@case("probes.timeout", of("livenessProbe.timeoutSeconds", 5))
def probe_timeout_that_the_rollout_shortened(w: World) -> None:
    _probe(w, http(timeoutSeconds=1), http(timeoutSeconds=5), "liveness", LATE)


@case("probes.timeout", proved=False)
def probe_that_answers_late(w: World) -> None:
    _probe(w, http(timeoutSeconds=1), http(timeoutSeconds=1), "liveness", LATE)


@case("probes.start", of("livenessProbe.initialDelaySeconds", 60))
def probe_that_starts_too_early_since_the_rollout(w: World) -> None:
    probe = http(initialDelaySeconds=2), http(initialDelaySeconds=60)
    _probe(w, *probe, "liveness", REFUSED.format(8080))


@case("probes.start", proved=False)
def probe_that_kills_while_nothing_listens(w: World) -> None:
    _probe(w, http(), http(), "liveness", REFUSED.format(8080))


@case("probes.command", of("livenessProbe.exec.command", ["/bin/true"]))
def probe_command_that_is_not_there(w: World) -> None:
    said = 'OCI runtime exec failed: exec failed: exec: "curl": executable file not found in $PATH'
    _probe(
        w, {"exec": {"command": ["curl"]}}, {"exec": {"command": ["/bin/true"]}}, "liveness", said
    )
