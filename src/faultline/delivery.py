"""What a cluster says of where an object comes from: the way from the object to its files.

Read from labels and annotations of the object, and from the Argo CD Application or the Flux
Kustomization that delivers it, as a capsule has them. Pure; what cannot be followed is a refusal
with its reason. The files are found by `deployed.py`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from faultline import documents
from faultline.errors import Rejected
from faultline.hints import Hints
from faultline.merging import Object, part
from faultline.model import Target

ORIGIN = "config.kubernetes.io/origin"  # written by kustomize's buildMetadata: [originAnnotations]
MANIFEST = "faultline.dev/manifest"  # a person's word: the file in the repository
_REWRITES = (
    "components",
    "images",
    "namePrefix",
    "nameSuffix",
    "patches",
    "patchesJson6902",
    "patchesStrategicMerge",
    "replicas",
)
_OVERRIDES = ("fileParameters", "parameters", "values", "valuesObject")


def hints(objects: Sequence[Object], target: Target) -> Hints:
    """Return what the objects of a cluster say of where the target comes from."""
    found = next((value for value in objects if _is(value, target)), None)
    if found is None:
        return Hints()
    metadata = part(found, "metadata")
    labels, notes = part(metadata, "labels"), part(metadata, "annotations")
    said = next(_delivered(objects, labels, notes), Hints())
    file = _path(str(notes.get(MANIFEST) or "")) or _origin(notes)
    files = (file,) if file else ()
    release = said.release or str(notes.get("meta.helm.sh/release-name") or "")
    return replace(said, files=files, release=release)


def _is(value: Object, target: Target) -> bool:
    metadata = part(value, "metadata")
    namespace = target.namespace or metadata.get("namespace")
    said = (value.get("kind"), metadata.get("name"), metadata.get("namespace"))
    return said == (target.kind, target.name, namespace)


def _delivered(objects: Sequence[Object], labels: Object, notes: Object) -> Iterator[Hints]:
    tracked = str(notes.get("argocd.argoproj.io/tracking-id", "")).partition(":")[0]
    argo = (
        tracked.rpartition("_")[2],  # <namespace>_<name> where Applications live in any namespace
        labels.get("argocd.argoproj.io/instance"),
        labels.get("app.kubernetes.io/instance"),
    )
    for name in argo:
        if value := _named(objects, "Application", "argoproj.io/", name):
            yield _application(value)
    flux = labels.get("kustomize.toolkit.fluxcd.io/name")
    if value := _named(objects, "Kustomization", "kustomize.toolkit.fluxcd.io/", flux):
        yield _kustomization(value)
    if release := labels.get("helm.toolkit.fluxcd.io/name"):
        by = f"HelmRelease {release}"
        yield Hints(by, refusal=f"expected files that decide the field, but the values of {by} do")


def _named(objects: Sequence[Object], kind: str, group: str, name: Any) -> Object | None:
    for value in objects:
        fits = value.get("kind") == kind and str(value.get("apiVersion", "")).startswith(group)
        if name and fits and part(value, "metadata").get("name") == name:
            return value
    return None


def _application(value: Object) -> Hints:
    """Read an Application of Argo CD (argoproj.io/v1alpha1, spec.source and spec.sources)."""
    by, spec = f"Application {part(value, 'metadata')['name']}", part(value, "spec")
    listed = spec.get("sources")
    sources = [part(spec, "source")] if not listed else [s for s in listed if isinstance(s, dict)]
    with_path = [source for source in sources if source.get("path") and not source.get("chart")]
    if len(with_path) != 1:
        what = "none" if not with_path else f"{len(with_path)} of them"
        chart = next((s["chart"] for s in sources if s.get("chart")), "")
        more = f"; it installs the chart {chart}" if chart and not with_path else ""
        return Hints(by, refusal=f"expected one source with a path in {by}, found {what}{more}")
    source = with_path[0]
    helm = part(source, "helm")
    overriding = [key for key in _REWRITES if part(source, "kustomize").get(key)]
    overriding += [key for key in _OVERRIDES if helm.get(key)]
    overriding += ["plugin"] if source.get("plugin") else []
    listed = helm.get("valueFiles")
    values = tuple(str(file) for file in listed) if isinstance(listed, list) else ()
    release = str(helm.get("releaseName") or part(value, "metadata")["name"])
    return replace(_from(by, str(source["path"]), overriding), values=values, release=release)


def _kustomization(value: Object) -> Hints:
    """Read a Kustomization of Flux (kustomize.toolkit.fluxcd.io, spec.path)."""
    by, spec = f"Kustomization {part(value, 'metadata')['name']}", part(value, "spec")
    return _from(by, str(spec.get("path") or ""), [key for key in _REWRITES if spec.get(key)])


def _from(by: str, path: str, overriding: Sequence[str]) -> Hints:
    if overriding:
        reason = (
            f"expected files that decide the field, but {by} sets {', '.join(overriding)} itself"
        )
        return Hints(by, refusal=reason)
    directory = posixpath.normpath(path.strip("/") or ".")
    if directory.startswith(".."):
        return Hints(by, refusal=f"expected a path inside the repository in {by}, got {path[:80]}")
    return Hints(by, ("" if directory == "." else directory,))


def _origin(notes: Object) -> str:
    """Return the end of the path that kustomize noted on an object; "" if it did not."""
    try:
        read = documents.read(str(notes.get(ORIGIN, "")).encode())
    except Rejected:
        return ""
    said = read[0].value if read and isinstance(read[0].value, dict) else {}
    path = str(said.get("path") or "")
    return "" if said.get("repo") else _path(path)


def _path(said: str) -> str:
    """Return a path as it may end in a repository; "" for none."""
    return re.sub(r"^(\.\./)+", "", posixpath.normpath(said)).lstrip("/") if said else ""
