"""Where a pod template refers to ConfigMaps and Secrets, and which keys those have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from faultline.diagnosis.documents import child, item, items, mapping, text
from faultline.diagnosis.facts import Object, Workload
from faultline.diagnosis.workloads import Around
from faultline.model import Evidence

_ENV = (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret"))
_ENV_FROM = (("configMapRef", "ConfigMap"), ("secretRef", "Secret"))
_VOLUME = (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"))


@dataclass(frozen=True)
class Reference:
    """A place in a pod template that names a ConfigMap or a Secret, perhaps with a key."""

    kind: str
    name: str
    name_path: str
    key: str = ""
    key_path: str = ""


def references(workload: Workload) -> Iterator[Reference]:
    """Return every such place, required or not."""
    for part in workload.parts:
        for env in items(part.get("env")):
            yield from _of_env(env, item(f"{part.path}.env", "name", text(env.get("name"))))
        for i, env in enumerate(items(part.get("envFrom"))):
            for field, kind in _ENV_FROM:
                if ref := mapping(env.get(field)):
                    path = f"{part.path}.envFrom[{i}].{field}.name"
                    yield Reference(kind, text(ref.get("name")), path)
    for volume in items(workload.get("spec.volumes")):
        yield from _of_volume(volume, item("spec.volumes", "name", text(volume.get("name"))))


def _of_env(env: dict[str, Any], base: str) -> Iterator[Reference]:
    for field, kind in _ENV:
        if ref := mapping(mapping(env.get("valueFrom")).get(field)):
            at = f"{base}.valueFrom.{field}"
            key = text(ref.get("key"))
            yield Reference(kind, text(ref.get("name")), f"{at}.name", key, f"{at}.key")


def _of_volume(volume: dict[str, Any], base: str) -> Iterator[Reference]:
    for field, kind, named in _VOLUME:
        if ref := mapping(volume.get(field)):
            name, path = text(ref.get(named)), f"{base}.{field}"
            yield Reference(kind, name, f"{path}.{named}")
            for i, entry in enumerate(items(ref.get("items"))):
                key, place = text(entry.get("key")), f"{path}.items[{i}].key"
                yield Reference(kind, name, f"{path}.{named}", key, place)


def keys_of(found: Object | None) -> set[str]:
    """Return the keys of a ConfigMap or Secret; a capsule has a Secret's keys, never its values."""
    keys: set[str] = set()
    for field in ("data", "binaryData", "stringData", "keys"):
        value = found.get(field) if found else None
        keys |= set(value) if isinstance(value, dict) else set()
        keys |= {text(k) for k in value if text(k)} if isinstance(value, list) else set()
    return keys


def there(facts: Around, kind: str, name: str, key: str) -> set[str]:
    """The names or keys that do exist, as far as the capsule knows them."""
    return keys_of(facts.object(kind, name)) if key else facts.names(kind)


def beside(workload: Workload, kind: str, name: str, key: str, near: str) -> Evidence | None:
    """Cite the name or key that is near the missing one."""
    found = workload.facts.object(kind, name if key else near)
    if not found or not near:
        return None
    return found.cite(child("data", near)) if key else found.cite("metadata.name")
