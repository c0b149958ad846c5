"""Which other objects an object names. Pure; whether they are there is `surroundings.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

EVERY_PODS = "kube-root-ca.crt"  # in each namespace, mounted in each pod: says nothing


def pod_spec(workload: Object) -> Object:
    """Return the spec of the pods that a workload makes, or of the pod itself."""
    spec = workload.get("spec") or {}
    spec = (spec.get("jobTemplate") or {}).get("spec") or spec  # CronJob
    return (spec.get("template") or {}).get("spec") or (spec if "containers" in spec else {})


def references(spec: Object) -> Iterator[tuple[str, str]]:
    """Yield kind and name of every object that a pod's spec refers to by name."""
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for source in container.get("envFrom") or ():
            yield from _named(source, configMapRef="ConfigMap", secretRef="Secret")
        for variable in container.get("env") or ():
            value = variable.get("valueFrom") or {}
            yield from _named(value, configMapKeyRef="ConfigMap", secretKeyRef="Secret")
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)
        for part in (volume.get("projected") or {}).get("sources") or ():
            yield from _of_volume(part)
    yield from (("Secret", s["name"]) for s in spec.get("imagePullSecrets") or () if "name" in s)
    yield "ServiceAccount", str(spec.get("serviceAccountName") or "default")


def _named(source: Object, **kinds: str) -> Iterator[tuple[str, str]]:
    for key, kind in kinds.items():
        if name := (source.get(key) or {}).get("name"):
            yield kind, str(name)


def _of_volume(volume: Object) -> Iterator[tuple[str, str]]:
    config, secret = volume.get("configMap") or {}, volume.get("secret") or {}
    if config.get("name") not in (None, EVERY_PODS):
        yield "ConfigMap", str(config["name"])
    if name := secret.get("secretName") or secret.get("name"):
        yield "Secret", str(name)
    if name := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
        yield "PersistentVolumeClaim", str(name)


def backends(node: Any) -> Iterator[str]:
    """Yield the Services that an Ingress leads to."""
    if isinstance(node, dict):
        service = node.get("service")
        if isinstance(service, dict) and "name" in service:
            yield str(service["name"])
        for value in node.values():
            yield from backends(value)
    elif isinstance(node, list):
        for value in node:
            yield from backends(value)


def secrets_of(spec: Object) -> Iterator[str]:
    """Yield the Secrets that a pod's spec names, or that an Ingress serves TLS with."""
    yield from (name for kind, name in references(spec) if kind == "Secret")
    yield from (str(t["secretName"]) for t in spec.get("tls") or () if t.get("secretName"))
