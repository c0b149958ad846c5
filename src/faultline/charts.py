"""Helm charts in a repository: which value decides a field, found by rendering.

A value is changed in one values file, the chart is rendered again, and what it renders to must
differ in that field of that object only. Without a renderer nothing is changed: templates are
programs, and what they make of a value cannot be read off. Rendering itself is an adapter's.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from faultline import documents, edits, fields, merging
from faultline.documents import Object
from faultline.edits import Scalar
from faultline.errors import Rejected
from faultline.fields import Path
from faultline.hints import Hints
from faultline.model import Target

attempts_max = 20  # values that are tried for one change
charts_max = 5  # that are rendered to find one object


@dataclass(frozen=True)
class Release:
    """One chart as it is installed. Paths are those of the repository."""

    directory: str
    files: Mapping[str, bytes]  # of the chart, and its values files
    name: str
    namespace: str
    values: tuple[str, ...] = ()  # files on top of the chart's own values.yaml, the last one wins


Render = Callable[[Release], bytes]  # YAML documents; raises Rejected, Unavailable


@dataclass(frozen=True)
class Installed:
    """An object that a chart makes, and everything that the chart makes."""

    release: Release
    value: dict[str, Any]
    all: list[Any]


def of(files: Mapping[str, bytes], file: str) -> str | None:
    """Return the directory of the chart that a file belongs to; None if it belongs to none."""
    parts = file.split("/")[:-1]
    above = ("/".join(parts[:depth]) for depth in range(len(parts) + 1))
    return next((d for d in above if posixpath.join(d, "Chart.yaml") in files), None)


def making(files: Mapping[str, bytes], kind: str, directories: Sequence[str] = ()) -> list[str]:
    """Return the charts with a template of a kind, those in `directories` if it names some."""
    wanted = re.compile(rb"^kind:\s*[\"']?%s\b" % re.escape(kind).encode(), re.M)
    made = {
        chart
        for file, content in files.items()
        if "templates/" in file
        and wanted.search(content)
        and (chart := of(files, file)) is not None
    }
    hinted = [chart for chart in sorted(made) if chart in directories]
    return hinted or sorted(made)


def find(files: Mapping[str, bytes], target: Target, render: Render, hints: Hints) -> Installed:
    """Return the one object that a chart makes of a target. Raises Rejected unless it is one."""
    found: list[Installed] = []
    failed: list[str] = []
    charts = making(files, target.kind, hints.directories)[:charts_max]
    for chart in charts:
        try:
            found += _installed(_release(files, chart, target, hints), target, render)
        except Rejected as error:
            failed.append(str(error))
    if len(found) == 1:
        return found[0]
    said = failed[0] if failed and not found else f"found {len(found)}"
    names = ", ".join(chart or "." for chart in charts)
    raise Rejected(
        f"expected one Helm chart that makes {target.kind}/{target.name}, of {names}: {said}"
    )


def put(
    found: Installed, target: Target, path: Path, after: Scalar, render: Render
) -> dict[str, bytes]:
    """Return the values file that makes the field what it should be, and nothing else.

    Raises Rejected unless exactly one value of one file does.
    """
    release = found.release
    made: list[tuple[str, bytes]] = []
    tried = 0
    for file, new in _attempts(found, path, after):
        tried += 1
        if tried > attempts_max:
            raise Rejected(
                f"expected at most {attempts_max} values that could be meant, found more"
            )
        try:
            again = _installed(replace(release, files={**release.files, file: new}), target, render)
        except Rejected:  # this value means something else
            continue
        expected = fields.replaced(found.value, path, after)
        if again and fields.differ_only(found.all, again[0].all, found.value, expected):
            made.append((file, new))
    if len(made) != 1:
        files = ", ".join(sorted({file for file, _ in made})) or f"{tried} were tried"
        raise Rejected(
            f"expected one value of {release.directory or 'the chart'} that decides "
            f"{fields.text(path)} alone, found {len(made)} ({files})"
        )
    _refuse_shared(release, made[0][0])
    return dict(made)


def likely(files: Mapping[str, bytes], kind: str, path: Path, directories: Sequence[str]) -> str:
    """Say, for people, which value a template seems to take a field from; "" if it does not show.

    Only where one line of all templates of that kind reads `<field>: {{ .Values.a.b }}`.
    """
    line = re.compile(
        rf"^[ \t-]*{re.escape(str(path[-1]))}:[ \t]*[\"']?\{{\{{-?\s*\.Values\.([\w.]+)\s*"
        r"(?:\|\s*(?:quote|int)\s*)?-?\}\}[\"']?[ \t]*$",
        re.M,
    )
    found = []
    for chart in making(files, kind, directories):
        for file in files:
            if file.startswith(posixpath.join(chart, "templates/")):
                names = line.findall(files[file].decode("utf-8", "replace"))
                found += [(file, name) for name in names]
    if len(found) != 1:
        return ""
    return f"; {found[0][0]} seems to take it from .Values.{found[0][1]}"


def _release(files: Mapping[str, bytes], chart: str, target: Target, hints: Hints) -> Release:
    below = posixpath.join(chart, "") if chart else ""
    mine = {file: content for file, content in files.items() if file.startswith(below)}
    paths = tuple(posixpath.normpath(posixpath.join(chart, value)) for value in hints.values)
    for path in paths:
        if path not in files:
            raise Rejected(f"expected the values file {path}, found none")
        mine[path] = files[path]
    return Release(chart, mine, hints.release or target.name, target.namespace, paths)


def _installed(release: Release, target: Target, render: Render) -> list[Installed]:
    everything = [document.value for document in documents.read(render(release))]
    objects = [value for value in everything if isinstance(value, dict)]
    return [
        Installed(release, value, everything)
        for value in objects
        if value.get("kind") == target.kind
        and merging.part(value, "metadata").get("name") == target.name
        and merging.part(value, "metadata").get("namespace", target.namespace) == target.namespace
    ]


def _attempts(found: Installed, path: Path, after: Scalar) -> Iterator[tuple[str, bytes]]:
    """Yield values files with one value changed: each that is now what the field is."""
    release = found.release
    now = fields.get(found.value, path)
    if now is fields.MISSING or isinstance(now, dict | list) or now is None:
        raise Rejected(f"expected a value at {fields.text(path)}, found {fields.kind(now)}")
    meant = {str(now): after}
    if path[-1] == "image" and merging.repository_of(str(now)) == merging.repository_of(str(after)):
        meant[merging.tag_of(str(now))] = merging.tag_of(str(after))
    defaults = posixpath.join(release.directory, "values.yaml")
    for file in dict.fromkeys((*release.values, defaults)):
        read = documents.read(release.files.get(file, b""))
        for whole in documents.objects(read):
            for at, value in _leaves(whole.value, ()):
                new = meant.get(str(value), "")
                if new != "":
                    kept = str(new) if isinstance(value, str) else new
                    yield from _attempt(file, whole, at, kept)


def _attempt(file: str, whole: Object, at: Path, new: Scalar) -> Iterator[tuple[str, bytes]]:
    """Yield a values file with a new value; nothing if it cannot be changed there alone."""
    try:
        text = edits.edit(whole, at, new).applied(whole.document.text).encode()
        value = documents.read(text)[whole.number].value
    except Rejected:
        return
    if repr(value) == repr(fields.replaced(whole.value, at, new)):
        yield file, text


def _leaves(value: Any, at: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _leaves(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, (*at, number))
    elif not isinstance(value, bool) and value is not None:
        yield at, value


def _refuse_shared(release: Release, file: str) -> None:
    """Refuse defaults of a chart that is installed with other values elsewhere."""
    folder = posixpath.join(release.directory, "values")
    others = sorted(
        other
        for other in release.files
        if other.startswith(folder) and other.endswith((".yaml", ".yml")) and other != file
    )
    if file not in release.values and others:
        raise Rejected(
            f"expected a values file of one release, but {file} has the defaults of all, "
            f"and there is {others[0]}"
        )
