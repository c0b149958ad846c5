"""Patches and transformers of kustomize, on plain objects: each returns a new object.

Strategic merge patches with the merge keys of Kubernetes' own kinds, JSON patches (RFC 6902),
names, namespaces, labels, annotations, replicas and images. Files are `kustomize.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from faultline.errors import Rejected

Object = dict[str, Any]

CLUSTER_WIDE = re.compile(
    r"APIService|ClusterRole(Binding)?|CustomResourceDefinition|Namespace|Node|PersistentVolume"
    r"|(Ingress|Priority|Runtime|Storage)Class|(Mutating|Validating)WebhookConfiguration"
)
_KEEPS_ITS_NAME = ("CustomResourceDefinition", "APIService", "Namespace")
WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")
_SCALED = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
_SELECTORS = {  # made where a kind with pods lacks them, else only added to
    ("spec", "selector"): ("Service", "ReplicationController"),
    ("spec", "selector", "matchLabels"): (
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "PodDisruptionBudget",
    ),
    ("spec", "podSelector", "matchLabels"): ("NetworkPolicy",),
}
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "volumeClaimTemplates": "",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}


# patches


def merged(value: Object, patch: Object) -> Object:
    """Return an object with a strategic merge patch on top. Raises Rejected for directives."""
    kind = str(value.get("kind"))
    return _merged(value, patch, kind)


def _merged(value: Object, patch: Object, kind: str) -> Object:
    made = dict(value)
    for key, new in patch.items():
        if key.startswith("$"):
            raise Rejected(f"a patch with {key}")
        if new is None:
            made.pop(key, None)
        elif isinstance(new, dict):
            old = made.get(key)
            made[key] = _merged(old if isinstance(old, dict) else {}, new, kind)
        elif isinstance(new, list):
            made[key] = _merged_list(made.get(key), new, _merge_key(key, kind), kind)
        else:
            made[key] = new
    return made


def _merge_key(key: str, kind: str) -> str:
    if key == "ports" and kind == "Service":
        return "port"
    if kind not in WITH_PODS:
        return ""
    return "containerPort" if key == "ports" else _MERGE_KEYS.get(key, "")


def _merged_list(old: Any, new: list[Any], by: str, kind: str) -> list[Any]:
    """Merge lists of mappings by their key, those of the patch first; other lists are replaced."""
    if any(isinstance(item, dict) and "$patch" in item for item in new):
        raise Rejected("a patch with $patch")
    if not by:
        return new
    old = old if isinstance(old, list) else []
    if not all(isinstance(item, dict) and by in item for item in [*old, *new]):
        raise Rejected(f"a list whose items have no {by}")
    known = {item[by]: item for item in old}
    first = [_merged(known.pop(item[by], {}), item, kind) for item in new]
    return [*first, *(item for item in old if item[by] in known)]


def pointer(path: str) -> tuple[str, ...]:
    """Take a JSON pointer apart (RFC 6901). Raises Rejected if it is none."""
    if not path.startswith("/"):
        raise Rejected(f"a JSON patch with the path {path[:80]!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))


def operated(value: Any, operation: Mapping[str, Any]) -> Any:
    """Return a value after one operation of a JSON patch (RFC 6902). Raises Rejected."""
    op = operation.get("op")
    if op not in ("add", "replace", "remove", "test"):
        raise Rejected(f"a JSON patch with the operation {op!r}")
    if op == "test":
        return value
    return _operated(
        value, pointer(str(operation.get("path", ""))), str(op), operation.get("value")
    )


def _operated(value: Any, at: tuple[str, ...], op: str, new: Any) -> Any:
    step, rest = at[0], at[1:]
    if isinstance(value, list):
        return _operated_list(value, step, rest, op, new)
    if not isinstance(value, dict) or (step not in value and (rest or op != "add")):
        raise Rejected(f"a JSON patch of {step!r}, which is not there")
    made = dict(value)
    if rest:
        made[step] = _operated(value[step], rest, op, new)
    elif op == "remove":
        del made[step]
    else:
        made[step] = new
    return made


def _operated_list(
    value: list[Any], step: str, rest: tuple[str, ...], op: str, new: Any
) -> list[Any]:
    place = len(value) if step == "-" else int(step) if step.isdigit() else -1
    most = len(value) if op == "add" and not rest else len(value) - 1
    if not 0 <= place <= most:
        raise Rejected(f"a JSON patch of item {step!r}, which is not there")
    if rest:
        inner = [_operated(value[place], rest, op, new)]
        return [*value[:place], *inner, *value[place + 1 :]]
    skip = 0 if op == "add" else 1
    return [*value[:place], *([] if op == "remove" else [new]), *value[place + skip :]]


# transformers


def renamed(value: Object, prefix: str, suffix: str) -> Object:
    if value.get("kind") in _KEEPS_ITS_NAME or not (prefix or suffix):
        return value
    metadata = part(value, "metadata")
    return value | {"metadata": metadata | {"name": f"{prefix}{metadata.get('name', '')}{suffix}"}}


def moved(value: Object, namespace: str) -> Object:
    """Return an object in a namespace, unless it is one of the whole cluster."""
    if not namespace or CLUSTER_WIDE.fullmatch(str(value.get("kind"))):
        return value
    return value | {"metadata": part(value, "metadata") | {"namespace": namespace}}


def labelled(value: Object, pairs: Object, *, templates: bool, selectors: bool) -> Object:
    made = _noted(value, ("metadata", "labels"), pairs)
    for way in _templates(value) if templates or selectors else ():
        made = _noted(made, (*way, "metadata", "labels"), pairs)
    kind = str(value.get("kind"))
    for way, chosen in _SELECTORS.items() if selectors else ():
        there = part(part(value, way[0]), way[1])
        if kind in chosen and (there or kind in WITH_PODS):
            made = _noted(made, way, pairs)
    return made


def annotated(value: Object, pairs: Object) -> Object:
    made = _noted(value, ("metadata", "annotations"), pairs)
    for way in _templates(value):
        made = _noted(made, (*way, "metadata", "annotations"), pairs)
    return made


def scaled(value: Object, count: Any) -> Object:
    if value.get("kind") not in _SCALED:
        return value
    return value | {"spec": part(value, "spec") | {"replicas": count}}


def with_image(value: Any, entry: Object) -> Any:
    """Return a value with the images of all its containers as an `images` entry wants them."""
    if isinstance(value, list):
        return [with_image(item, entry) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: [_container(item, entry) for item in inner]
        if key in ("containers", "initContainers") and isinstance(inner, list)
        else with_image(inner, entry)
        for key, inner in value.items()
    }


def image_of(image: str, entry: Object) -> str:
    """Return an image as an `images` entry wants it: another name, tag or digest."""
    name = repository_of(image)
    if name != str(entry.get("name")):
        return image
    rest = image[len(name) :]
    if entry.get("digest"):
        rest = f"@{entry['digest']}"
    elif entry.get("newTag") is not None:
        rest = f":{entry['newTag']}"
    return f"{entry.get('newName') or name}{rest}"


def repository_of(image: str) -> str:
    """Return an image's name without tag and digest."""
    name = image.split("@", 1)[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def tag_of(image: str) -> str:
    """Return an image's tag; "" if it has none or a digest."""
    return "" if "@" in image else image[len(repository_of(image)) + 1 :]


def selects(target: Mapping[str, Any], value: Object, names: frozenset[tuple[str, str]]) -> bool:
    """Say whether a patch's selector means an object that has or had one of these names.

    Raises Rejected for a selector of labels that is more than `a=b,c=d`.
    """
    group, _, version = str(value.get("apiVersion", "")).rpartition("/")
    plain = {"kind": str(value.get("kind", "")), "group": group, "version": version}
    if not all(_fits(target.get(key), said) for key, said in plain.items()):
        return False
    if not any(
        _fits(target.get("name"), name) and _fits(target.get("namespace"), namespace)
        for name, namespace in names
    ):
        return False
    metadata = part(value, "metadata")
    return all(
        _has(part(metadata, where), target.get(key))
        for key, where in (("labelSelector", "labels"), ("annotationSelector", "annotations"))
    )


def mapping(value: Any) -> Object:
    """Return a value that has to be a mapping. Raises Rejected if it is none."""
    if not isinstance(value, dict):
        raise Rejected(f"{value!r:.40} where a mapping is expected")
    return value


def part(value: Object, key: str) -> Object:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _fits(pattern: Any, text: str) -> bool:
    """Match as kustomize does, from end to end; only patterns that cannot take for ever."""
    if not pattern:
        return True
    wanted = str(pattern)
    simple = re.fullmatch(r"\^?(?:[\w./:|-]|\.\*)*\$?", wanted) and wanted.count("*") <= 3
    if not simple:
        raise Rejected(f"a patch for {wanted[:80]!r}")
    return re.fullmatch(wanted.strip("^$"), text) is not None


def _has(labels: Object, selector: Any) -> bool:
    if not selector:
        return True
    pairs = [pair.strip() for pair in str(selector).split(",")]
    if not all(re.fullmatch(r"[\w./-]+==?[\w.-]*", pair) for pair in pairs):
        raise Rejected(f"a patch for {str(selector)[:80]!r}")
    return all(
        str(labels.get(key)) == said.lstrip("=")
        for key, _, said in (p.partition("=") for p in pairs)
    )


def _container(value: Any, entry: Object) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get("image"), str):
        return value
    return value | {"image": image_of(value["image"], entry)}


def _templates(value: Object) -> tuple[tuple[str, ...], ...]:
    kind = value.get("kind")
    if kind == "CronJob":
        return (("spec", "jobTemplate"), ("spec", "jobTemplate", "spec", "template"))
    if kind == "Job" or kind in WITH_PODS[:4]:
        return (("spec", "template"),)
    return ()


def _noted(value: Object, at: tuple[str, ...], pairs: Object) -> Object:
    if not pairs:
        return value
    if not at:
        return value | pairs
    return value | {at[0]: _noted(part(value, at[0]), at[1:], pairs)}
