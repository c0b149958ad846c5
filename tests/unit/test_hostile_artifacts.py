"""What an agent, a cluster or a sender may leave for us: names that lead elsewhere, and bombs."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import payloads
import pytest
from casebook import T0, Casebook
from starlette.requests import Request

from faultline import documents, keys
from faultline.adapters.stores import checked
from faultline.adapters.stores.files import FilesStore
from faultline.adapters.stores.memory import MemoryStore
from faultline.agent.outcome import parse_diagnosis
from faultline.agent.outcome import read as read_stream
from faultline.agent.workspace import collect
from faultline.bridge import alertmanager
from faultline.bridge.mcp import listed_faults
from faultline.diagnosis.documents import Document, Source
from faultline.errors import FaultlineError, NotFound, Rejected
from faultline.incidents import Incidents
from faultline.limits import artifact_bytes_max, artifacts_bytes_max, artifacts_max
from faultline.model import Fault
from faultline.redact import Redactor
from faultline.web.app import Console, app
from faultline.wire import decode

ID = "20261121-api-5c1e9b2a"
NAMES = list(dict.fromkeys(payloads.names()))


def key_of(name: str) -> str | None:
    """Return the key of an artifact of that name, as a run's wrapper makes it; None if refused."""
    try:
        return checked(keys.incident(ID, keys.run_record(1, f"output/{name}")))
    except Rejected:
        return None


# names


@pytest.mark.covers("ART-01")
def test_no_name_of_an_artifact_leads_out_of_its_run() -> None:
    folder = PurePosixPath("/store") / keys.incident(ID, "runs/1/output")
    made = {key for name in NAMES if (key := key_of(name)) is not None}
    outside = []
    for key in made:
        parts: list[str] = []
        for part in f"/store/{key}".split("/"):
            parts = (
                parts[:-1] if part == ".." else [*parts, part] if part not in ("", ".") else parts
            )
        if not PurePosixPath("/", *parts).is_relative_to(folder) or "\0" in key:
            outside.append(key)

    assert len(NAMES) >= 22_918
    assert 0 < len(made) < len(NAMES)
    assert outside == []


@pytest.mark.covers("ART-01")
def test_foreign_text_is_one_part_of_a_key_whatever_it_says() -> None:
    bad = []
    for name in NAMES:
        try:
            part = keys.part(name)
        except Rejected:
            continue
        if set(part) & set("/\\\0\r\n:") or part in ("", ".", "..") or len(part) > 100:
            bad.append((name, part))

    assert bad == []


@pytest.mark.covers("ART-01")
def test_what_lands_on_a_disk_lands_in_the_store(tmp_path: Path) -> None:
    store = FilesStore(tmp_path / "store")
    beside = tmp_path / "canary"
    beside.write_text("untouched")
    kept = 0

    for name in NAMES[:: len(NAMES) // 150]:
        key = f"{keys.incident(ID)}runs/1/output/{name}"
        try:
            store.put(key, b"hostile")
            kept += 1
        except FaultlineError:
            continue
        assert store.get(key) == b"hostile"

    assert kept > 20
    assert beside.read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary", "store"]
    written = [p for p in (tmp_path / "store").rglob("*") if p.is_file()]
    below = tmp_path / "store" / keys.incident(ID, "runs/1/output")
    assert all(path.is_relative_to(below) for path in written)
    assert len(written) == kept


@pytest.mark.covers("ART-01")
def test_what_lies_in_a_workspace_under_such_names_is_collected_from_there_only(
    tmp_path: Path,
) -> None:
    output = tmp_path / "run" / "output"
    output.mkdir(parents=True)
    (tmp_path / "run" / "canary").write_text("outside")
    made = 0
    for name in NAMES[:: len(NAMES) // 400]:
        plain = name.replace("/", "_").replace("\0", "␀")[:80] or "empty"
        if plain in (".", ".."):
            continue
        file = output / plain
        file.write_bytes(b"inside")
        made += 1

    found = collect(tmp_path / "run", files_max=10_000)

    assert len(found.files) == len(list(output.iterdir())) > made / 2
    assert set(found.files.values()) == {b"inside"}
    assert all(name.startswith("output/") and ".." not in name.split("/") for name in found.files)


@pytest.mark.covers("ART-01")
def test_the_web_serves_records_of_the_incident_under_no_other_name() -> None:
    incidents = Incidents(MemoryStore())
    id = Casebook(incidents).ready()
    incidents.store.put("payloads/2026-11-21/x.json", b"SECRET")
    console = Console(incidents, None, lambda: T0, "x", None, 1.0)
    scope = {"type": "http", "method": "GET", "query_string": b"", "headers": []}
    served = []

    for name in NAMES:
        request = Request(scope | {"path_params": {"id": id, "name": name}})
        try:
            served.append(console.record(request).body)
        except (NotFound, Rejected):
            continue

    records = {name for name in NAMES if name in incidents.names(id)}
    assert len(served) == len(records) <= 2
    assert not any(b"SECRET" in body for body in served)


@pytest.mark.covers("ART-01")
def test_no_spelling_of_an_address_gets_more_than_that() -> None:
    incidents = Incidents(MemoryStore())
    id = Casebook(incidents).ready()
    incidents.store.put("payloads/2026-11-21/x.json", b"SECRET")
    pages = app(incidents, send=None, clock=lambda: T0)

    async def ask(name: str) -> tuple[int, bytes]:
        from urllib.parse import unquote

        raw = f"/incidents/{id}/files/{name}".encode("utf-8", "replace")
        told: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            told.append(message)

        path = unquote(raw.decode("utf-8"))
        await pages(
            {"type": "http", "method": "GET", "path": path, "raw_path": raw, "query_string": b"",
             "headers": [(b"host", b"localhost")], "server": ("localhost", 80), "scheme": "http"},
            receive, send,
        )  # fmt: skip
        return told[0]["status"], b"".join(m.get("body", b"") for m in told[1:])

    async def all_of_them() -> list[tuple[int, bytes]]:
        return [await ask(name) for name in NAMES[:: len(NAMES) // 300]]

    answers = asyncio.run(all_of_them())
    assert {status for status, _ in answers} <= {200, 400, 404}
    assert sum(status == 200 for status, _ in answers) <= 2
    assert not any(b"SECRET" in body for _, body in answers)


# bombs


def aliases(levels: int, *, merge: bool = False) -> str:
    """Return YAML that grows nine times with each level."""
    lines = ["kind: ConfigMap", "a0: &a0 {k: lol}" if merge else "a0: &a0 lol"]
    for n in range(1, levels):
        nine = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} " + (f"{{<<: [{nine}]}}" if merge else f"[{nine}]"))
    return "\n".join(lines) + "\n"


BOMBS = {
    "aliases": aliases(12),
    "merges": aliases(12, merge=True),
    "circle": "kind: Pod\na: &a [*a]\n",
    "deep flow": "kind: Pod\na: " + "[" * 50_000,
    "deep json": '{"kind": "Pod", "a": ' * 20_000 + "1" + "}" * 20_000,
    "deep list": "[" * 100_000 + "]" * 100_000,
    "long number": '{"a": ' + "9" * 200_000 + "}",
}


def _yaml(text: str) -> object:
    return documents.read(text.encode())


def _stream(text: str) -> object:
    return read_stream(
        "claude", [b'{"type": "result", "x": ' + text.encode() + b"}", text.encode()]
    )


def _event(text: str) -> object:
    head = {"content-type": "application/cloudevents+json"}
    return decode(head, text.encode())


def _alert(text: str) -> object:
    return alertmanager.parse(text.encode())


READERS: dict[str, Callable[[str], object]] = {
    "a manifest": _yaml,
    "evidence, by the analyzers": lambda text: Document.parse(Source("x.yaml", text)),
    "evidence, redacted as YAML": lambda text: Redactor().file("x.yaml", text.encode()),
    "evidence, redacted as JSON": lambda text: Redactor().file("x.json", text.encode()),
    "evidence, redacted as lines": lambda text: Redactor().file("x.jsonl", text.encode()),
    "text inside an object": lambda text: Redactor().object({"data": {"a.yaml": text}}),
    "an agent's diagnosis": lambda text: parse_diagnosis(text.encode()),
    "an agent's stream": _stream,
    "a listing of MCP": lambda text: listed_faults("# The events\n- " + text),
    "an event's body": _event,
    "a webhook's body": _alert,
}


@pytest.mark.covers("ART-03")
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("reader", READERS)
def test_a_bomb_is_refused_or_read_as_text_at_once(reader: str, bomb: str) -> None:
    began = time.process_time()
    with contextlib.suppress(FaultlineError, ValueError):
        READERS[reader](BOMBS[bomb])

    assert time.process_time() - began <= 1.0


def test_a_bomb_among_the_parked_messages_breaks_no_page() -> None:
    incidents = Incidents(MemoryStore())
    incidents.store.put("parked/2026-11-21/x.json", BOMBS["deep json"].encode())
    console = Console(incidents, None, lambda: T0, "x", None, 1.0)

    assert len(console.acts.dead_letters()) == 1


def bombs_of_archives() -> dict[str, bytes]:
    """Return archives that would be far larger than they are: a zip in a zip, a gzip of zeros."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(30_000_000))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as file:
        for n in range(20):
            file.writestr(f"{n}.zip", inner.getvalue())
    return {"nested.zip": outer.getvalue(), "zeros.gz": gzip.compress(bytes(30_000_000))}


@pytest.mark.covers("ART-03")
def test_an_archive_is_carried_as_it_is_and_opened_by_nobody(tmp_path: Path) -> None:
    made = bombs_of_archives()
    (tmp_path / "output").mkdir()
    for name, data in made.items():
        (tmp_path / "output" / name).write_bytes(data)

    began = time.process_time()
    found = collect(tmp_path)
    cleaned = Redactor().file("output/nested.zip", made["nested.zip"])

    assert time.process_time() - began <= 1.0
    assert found.files == {f"output/{name}": data for name, data in made.items()}
    assert found.bytes < 3_000_000
    assert len(cleaned) < 10_000_000


@pytest.mark.covers("ART-03")
def test_nothing_of_ours_can_open_an_archive(root: Path) -> None:
    opens = re.compile(
        r"^\s*(?:import|from) (?:zipfile|tarfile|gzip|bz2|lzma)\b"
        r"|\b(?:unpack_archive|extractall|decompress|decompressobj)\(",
        re.MULTILINE,
    )
    found = [p for p in (root / "src").rglob("*.py") if opens.search(p.read_text("utf-8"))]
    (makes,) = found  # `faultline bundle`, which only writes
    text = makes.read_text("utf-8")
    modes = re.findall(r"(?:tarfile\.open|gzip\.GzipFile)\(.*\bmode=\"(\w+)\"", text)

    assert makes.name == "bundling.py"
    assert modes == ["wb", "w"]
    assert len(re.findall(r"\b(?:gzip|tarfile)\.(?!TarInfo|PAX_FORMAT)", text)) == len(modes)


@pytest.mark.covers("ART-03")
def test_the_limits_of_a_run_have_names() -> None:
    assert (artifacts_max, artifact_bytes_max, artifacts_bytes_max) == (200, 5 << 20, 20 << 20)
    assert documents.depth_max <= 64
    assert Fault  # the model of what is read stands, whatever came
