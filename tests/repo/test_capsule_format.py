import json
import re
from pathlib import Path

import jsonschema
import pytest

from faultline import keys, limits
from faultline.model import Index

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs/schemas/capsule/index.json"
DOC = (ROOT / "docs/capsule.md").read_text()
CAPSULES = sorted(p.name for p in (ROOT / "examples/capsules").iterdir())


def test_the_schema_is_that_of_the_model():
    assert json.loads(SCHEMA.read_text()) == Index.model_json_schema(mode="serialization")


@pytest.mark.parametrize("case", CAPSULES)
def test_the_index_of_each_example_follows_the_schema(case):
    index = json.loads((ROOT / "examples/capsules" / case / keys.INDEX).read_text())

    jsonschema.validate(index, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("case", CAPSULES)
def test_each_file_of_an_example_is_described(case):
    described = re.findall(r"^\| `([^`]+)` \|", DOC, re.MULTILINE)
    patterns = [re.sub(r"<[^>]+>", "[^/]+", re.sub(r"\.", r"\\.", name)) for name in described]
    root = ROOT / "examples/capsules" / case

    names = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]

    assert [n for n in names if not any(re.fullmatch(p, n) for p in patterns)] == []


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("files", limits.context_files_max),
        ("bytes of a file", f"{limits.context_file_bytes_max // limits.MIB} MiB"),
        ("bytes of all files", f"{limits.context_bytes_max // limits.MIB} MiB"),
        ("lines of a container's log", limits.log_lines_per_container),
        ("characters of such a line", limits.log_line_chars_max),
        ("Kubernetes Events", limits.k8s_events_max),
    ],
)
def test_the_limits_are_those_of_the_code(what, value):
    assert f"| {what} | {value} |" in DOC
