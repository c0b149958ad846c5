"""What README.md and the docs tell people to type works, and prints what they say it prints."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from line_process import LineProcess

from faultline.cli import parser

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN_HERE = ("make", "kubectl", "git", "func", "helm", "terraform", "curl", "docker", "kind")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def typed() -> list[list[str]]:
    """Every command of the README's shell blocks, in words, without comments."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [found for found in words if found]


def ours() -> list[list[str]]:
    return [words[1:] for words in typed() if Path(words[0]).name == "faultline"]


def test_every_command_of_the_readme_is_one_that_this_test_knows() -> None:
    strange = [w for w in typed() if w[0] not in NOT_RUN_HERE and Path(w[0]).name != "faultline"]

    assert strange == []
    assert ours()


@pytest.mark.parametrize("words", [w for w in typed() if w[0] == "make"], ids=" ".join)
def test_a_make_target_of_the_readme_is_in_the_makefile(words: list[str]) -> None:
    targets = [word for word in words[1:] if "=" not in word]
    variables = [word.partition("=")[0] for word in words[1:] if "=" in word]

    assert targets
    assert all(re.search(rf"^{re.escape(t)}:.*## ", MAKEFILE, re.MULTILINE) for t in targets)
    assert all(re.search(rf"^{v}\s*\?=", MAKEFILE, re.MULTILINE) for v in variables)


def in_pages() -> list[tuple[str, str]]:
    """Every line of a page that begins with `faultline`, and every such piece of inline code."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        lines = re.findall(
            r"^(?: {4}|\$ )?((?:\.venv/bin/)?faultline [a-z].*)$", text, re.MULTILINE
        )
        inline = re.findall(r"`(faultline [a-z][^`\n]*)`", text)
        found += [(page.name, line) for line in (*lines, *inline)]
    return found


def understood(line: str) -> bool:
    words = shlex.split(line, comments=True)[1:]
    words = list(itertools.takewhile(lambda word: not re.match(r"\d?>|\|", word), words))
    if len(words) == 1:
        words.append("--help")  # only its name, in running text
    try:
        with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
            parser().parse_args(words)
    except SystemExit as error:
        return error.code == 0
    return True


def test_what_a_page_says_to_type_is_understood() -> None:
    found = in_pages()

    assert len(found) > 20
    assert [each for each in found if not understood(each[1])] == []


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineProcess]:
    """`make dev`, on a folder of its own."""
    found = LineProcess(
        tmp_path_factory.mktemp("line"), FAULTLINE_RECORDED_CLUSTER="", FAULTLINE_MANIFESTS=""
    )
    try:
        found.start()
        yield found
    finally:
        found.dispose()


def test_the_commands_of_the_readme_work_one_after_the_other(line: LineProcess) -> None:
    environment = os.environ | {"FAULTLINE_STORE": line.store, "PORT": str(line.port)}
    for words in ours():
        more = ["--keep", str(line.folder / "demo")] if words[0] == "demo" else []
        done = subprocess.run(
            [sys.executable, "-m", "faultline", *words, *more],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

        assert (done.returncode, done.stderr) == (0, ""), words
        assert done.stdout, words


def plain(text: str) -> list[str]:
    """Lines without what differs from day to day: ports, dates, ids, counts and spaces."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"\d{8}-([a-z-]+)-[0-9a-f]{8}", r"<\1>", text)
    text = re.sub(r"(fix-[a-z-]+)-[0-9a-f]{8}", r"\1", text)
    text = re.sub(r"\d+", "0", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_what_the_readme_shows_of_the_demo_is_what_the_demo_prints(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faultline", "demo", "--keep", str(tmp_path / "demo")],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    (shown,) = blocks("text")
    printed = plain(done.stdout)

    assert [each for each in plain(shown) if each not in printed] == []
