"""What a kustomization renders to, and which text said what of each object.

A small renderer of what we understand: resources, bases, components, patches of all three kinds,
names, namespaces, labels, annotations, replicas and images, in kustomize's order. Names of
generated ConfigMaps, and references to what is renamed, are left as they are written. What
kustomizations say is read by `overlays.py`; which place to change is `places.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from faultline import documents, merging, overlays
from faultline.documents import Document, Object
from faultline.errors import Rejected
from faultline.overlays import Overlay, Patch, Text

Keep = Callable[[str, Object | None], bool]  # asked of a file, then of each object in it


def everything(file: str, found: Object | None) -> bool:
    return True


objects_max = 5_000  # of one kustomization


class Said(NamedTuple):
    """One text that had a say in an object: a patch, or an entry of a transformer."""

    text: Text
    object: Object
    how: str  # merge, json, replicas, images
    before: dict[str, Any]  # the object before it
    entry: int = 0  # of a transformer's list


@dataclass(frozen=True)
class Rendered:
    """One object as it is deployed, where it was written, and what was put on top, in order."""

    value: dict[str, Any]
    text: Text
    object: Object
    names: frozenset[tuple[str, str]]  # it has and had: name and namespace
    said: tuple[Said, ...] = ()

    def now(self, value: dict[str, Any], *said: Said) -> Rendered:
        metadata = merging.part(value, "metadata")
        name = (str(metadata.get("name", "")), str(metadata.get("namespace") or ""))
        return replace(self, value=value, names=self.names | {name}, said=(*self.said, *said))


@dataclass(frozen=True)
class Repository:
    """Manifests, and the kustomizations among them."""

    files: Mapping[str, bytes]
    overlays: dict[str, Overlay] = field(default_factory=dict)  # by directory
    roots: dict[str, frozenset[str]] = field(default_factory=dict)  # outermost -> what it takes in
    parsed: dict[str, list[Document]] = field(default_factory=dict)  # by file, when first read

    @classmethod
    def of(cls, files: Mapping[str, bytes], known: Repository | None = None) -> Repository:
        """Read a repository's kustomizations.

        `known` is an earlier version of it: what did not change is not read again.
        """
        known = known or cls({})
        found = overlays.read_all(files, known.overlays, known.files)
        inner = {base for overlay in found.values() for base in overlay.takes}
        roots = {d: overlays.reach(d, found) for d in found if d not in inner}
        parsed = {f: d for f, d in known.parsed.items() if files.get(f) is known.files[f]}
        return cls(files, found, roots, parsed)

    def read(self, file: str) -> list[Document]:
        """Return a file's documents. Raises Rejected if it cannot be read."""
        if file not in self.parsed:
            try:
                self.parsed[file] = documents.read(self.files[file])
            except Rejected as error:
                raise Rejected(f"{file}: {error}") from None
        return self.parsed[file]

    def within(self, root: str) -> list[Overlay]:
        """Return the kustomizations that a directory takes in, its own too."""
        reached = self.roots.get(root) or overlays.reach(root, self.overlays)
        return [self.overlays[d] for d in sorted(reached & self.overlays.keys())]


def render(repository: Repository, root: str, keep: Keep = everything) -> list[Rendered]:
    """Return the objects of a kustomization, those only that `keep` says.

    Raises Rejected for what cannot be rendered.
    """
    return _built(_Rendering(repository, keep, {}), root, (root,))


class _Rendering(NamedTuple):
    """One rendering: each directory is built once, however often it is taken in."""

    repository: Repository
    keep: Keep
    built: dict[str, list[Rendered]]


def loaded(repository: Repository, file: str, keep: Keep = everything) -> list[Rendered]:
    """Return the objects of one file as they are written. Raises Rejected if it is unreadable."""
    if file not in repository.files or not keep(file, None):
        return []
    text = Text(file, repository.files[file])
    return [
        Rendered({}, text, found, frozenset()).now(found.value)
        for found in documents.objects(repository.read(file))
        if keep(file, found)
    ]


def _built(run: _Rendering, directory: str, way: tuple[str, ...]) -> list[Rendered]:
    if directory not in run.built:
        overlay = run.repository.overlays[directory]
        if overlay.unread:
            raise Rejected(overlay.unread)
        made = _taken(run, overlay, way)
        inner = overlay.component and len(way) > 1  # then it is put on what takes it in
        run.built[directory] = made if inner else _transformed(overlay, made)
    return run.built[directory]


def _taken(run: _Rendering, overlay: Overlay, way: tuple[str, ...]) -> list[Rendered]:
    """Return what a kustomization takes in, components put on top of it."""
    made: list[Rendered] = []
    components = []
    for name in overlay.takes:
        if name in way:
            raise Rejected(f"{overlay.file} takes in {name}, which takes it in")
        if name not in run.repository.overlays:
            made += loaded(run.repository, name, run.keep)
        elif run.repository.overlays[name].component:
            components.append(name)
        else:
            made += _built(run, name, (*way, name))
        if len(made) > objects_max:
            raise Rejected(f"{overlay.file} takes in more than {objects_max} objects")
    for name in components:
        inner = _built(run, name, (*way, name))
        made = _transformed(run.repository.overlays[name], [*made, *inner])
    return made


def _transformed(overlay: Overlay, made: list[Rendered]) -> list[Rendered]:
    try:
        for patch in overlay.patches:
            texts = list(documents.objects(documents.read(patch.text.content), lists=True))
            made = [_patched(item, patch, texts) for item in made]
        return [_decorated(overlay, item) for item in made]
    except Rejected as error:
        raise Rejected(f"{overlay.file}: {error}") from None


def _patched(item: Rendered, patch: Patch, texts: list[Object]) -> Rendered:
    for said in texts:
        operations = said.value if isinstance(said.value, list) else None
        if not _is_for(item, patch, said, operations is not None):
            continue
        how = "merge" if operations is None else "json"
        step = Said(patch.text, said, how, item.value)
        value = item.value
        if operations is None:
            value = merging.merged(value, _anonymous(said.value, item))
        for operation in operations or ():
            value = merging.operated(value, merging.mapping(operation))
        item = item.now(value, step)
    return item


def _is_for(item: Rendered, patch: Patch, said: Object, is_list: bool) -> bool:
    if patch.target is not None:
        return merging.selects(patch.target, item.value, item.names)
    if is_list:
        raise Rejected("a JSON patch without a target")
    if said.kind != item.value.get("kind"):
        return False
    return any(
        name == said.name and (not said.namespace or namespace in ("", said.namespace))
        for name, namespace in item.names
    )


def _anonymous(patch: dict[str, Any], item: Rendered) -> dict[str, Any]:
    """Return a patch without what only names its object."""
    kept = {k: v for k, v in patch.items() if k not in ("apiVersion", "kind")}
    if isinstance(kept.get("metadata"), dict):
        kept["metadata"] = {
            k: v for k, v in kept["metadata"].items() if k not in ("name", "namespace")
        }
    return kept


def _decorated(overlay: Overlay, item: Rendered) -> Rendered:
    """Return an object with what a kustomization says besides patches, in kustomize's order."""
    value = merging.moved(item.value, overlay.said("namespace"))
    value = merging.renamed(value, overlay.said("namePrefix"), overlay.said("nameSuffix"))
    value = merging.labelled(value, overlay.mapping("commonLabels"), templates=True, selectors=True)
    for entry in overlay.listed("labels"):
        selectors = bool(entry.get("includeSelectors"))
        value = merging.labelled(
            value,
            merging.part(entry, "pairs"),
            templates=selectors or bool(entry.get("includeTemplates")),
            selectors=selectors,
        )
    value = merging.annotated(value, overlay.mapping("commonAnnotations"))
    return _imaged(overlay, _scaled(overlay, item.now(value)))


def _scaled(overlay: Overlay, item: Rendered) -> Rendered:
    for number, entry in enumerate(overlay.listed("replicas")):
        if any(entry.get("name") == name for name, _ in item.names):
            value = merging.scaled(item.value, entry.get("count"))
            item = item.now(value, _entry(overlay, "replicas", item, number))
    return item


def _imaged(overlay: Overlay, item: Rendered) -> Rendered:
    for number, entry in enumerate(overlay.listed("images")):
        value = merging.with_image(item.value, entry)
        if value != item.value or str(entry.get("name")) in str(item.value):
            item = item.now(value, _entry(overlay, "images", item, number))
    return item


def _entry(overlay: Overlay, how: str, item: Rendered, number: int) -> Said:
    text = Text(overlay.file, overlay.document.document.text.encode())
    return Said(text, overlay.document, how, item.value, number)
