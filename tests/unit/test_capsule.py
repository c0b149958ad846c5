"""A capsule is what its index says, to the byte, or it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultline import keys
from faultline.capsule import Capsule, belongs, images_that_ran, seal
from faultline.errors import Rejected
from faultline.incidents import content

FILES = {"context/logs.txt": b"a\nb\n", "context/pods.json": b"{}", keys.PROMPT: b"Look.\n"}


def sealed(files: dict[str, bytes]) -> Capsule:
    index = seal(files.items(), {"context/logs.txt": "cluster"}, {"prometheus": "it is down"})
    return Capsule(files | {keys.INDEX: content(index)})


@given(st.dictionaries(st.from_regex(r"context/[a-z]{1,8}\.txt", fullmatch=True), st.binary()))
def test_what_was_sealed_is_whole_in_any_order(files: dict[str, bytes]) -> None:
    one, other = sealed(files), sealed(dict(reversed(files.items())))
    one.verify()

    assert one.sha256 == other.sha256


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"context/logs.txt": b"a\nc\n"}, "context/logs.txt"),
        ({"context/more.txt": b"x"}, "context/more.txt"),
        ({keys.PROMPT: b"Look elsewhere.\n"}, keys.PROMPT),
        ({keys.INDEX: b""}, "is missing"),
        ({keys.INDEX: b"{"}, "is no index"),
        ({keys.INDEX: b'{"files": 1}'}, "is no index"),
    ],
)
def test_what_was_changed_is_refused_with_its_name(change: dict, named: str) -> None:
    capsule = sealed(FILES)
    changed = Capsule({n: capsule.read(n) for n in capsule.names()} | change)

    with pytest.raises(Rejected, match=named):
        changed.verify()


def test_a_file_that_is_gone_is_named() -> None:
    capsule = sealed(FILES)
    rest = {n: capsule.read(n) for n in capsule.names() if n != "context/pods.json"}

    with pytest.raises(Rejected, match=r"context/pods\.json"):
        Capsule(rest).verify()


def test_the_index_says_where_each_file_came_from_and_what_is_missing() -> None:
    index = json.loads(sealed(FILES).read(keys.INDEX))

    assert [f["name"] for f in index["files"]] == sorted(FILES)
    assert {f["name"]: f["origin"] for f in index["files"]}["context/logs.txt"] == "cluster"
    assert index["missing"] == {"prometheus": "it is down"}


def test_reading_what_is_not_there_is_empty() -> None:
    assert Capsule({}).read("context/x") == b""
    assert Capsule({"a": b"\xff"}).text("a") == "\ufffd"


def test_a_directory_is_read_without_what_does_not_belong(tmp_path: Path) -> None:
    for name in (*FILES, "truth.json", "output/diagnosis.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FILES.get(name, b"x"))

    assert Capsule.from_directory(tmp_path).names() == tuple(sorted(FILES))


@pytest.mark.covers("S1-042")
@pytest.mark.parametrize(
    ("name", "inside"),
    [("PROMPT.md", True), ("context/a", True), ("incident.json", False), ("contexts/a", False)],
)
def test_only_the_prompt_and_the_context_belong(name: str, inside: bool) -> None:
    assert belongs(name) is inside


def test_images_that_rollouts_replaced_have_run() -> None:
    differences = [
        {"field": "spec.containers[name=app].image", "before": "app:1", "after": "app:2"},
        {"field": "spec.replicas", "before": 1, "after": 2},
    ]
    body = json.dumps({"rollouts": [{"differences": differences}]}).encode()

    assert images_that_ran(Capsule({"context/changes.json": body})) == {"app:1"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"rollouts": [1]}', b'{"rollouts": null}'])
def test_what_cannot_be_read_names_no_image(body: bytes) -> None:
    assert images_that_ran(Capsule({"context/changes.json": body})) == frozenset()
