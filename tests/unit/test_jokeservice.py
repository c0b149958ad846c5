"""The joke service behaves, and breaks, as its manifest says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

HERE = Path(__file__).resolve().parents[2] / "examples/jokeservice"
CALM = {"PORT": "0", "ERROR_RATE": "0", "PANIC_RATE": "0", "OOM_RATE": "0"}


@contextmanager
def service(**environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, str(HERE / "app.py")],
        env={"PATH": os.environ["PATH"]} | CALM | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        found = re.search(r"listening on :(\d+)", line)
        yield process, f"http://127.0.0.1:{found[1]}" if found else line
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_it_tells_a_joke_and_says_that_it_is_well() -> None:
    with service() as (_, url):
        assert httpx.get(url + "/joke").status_code == 200
        assert httpx.get(url + "/healthz").text == "ok\n"
        assert httpx.get(url + "/ready").status_code == 200
        assert httpx.get(url + "/elsewhere").status_code == 404


def test_it_fails_as_often_as_it_is_told() -> None:
    with service(ERROR_RATE="1") as (_, url):
        assert {httpx.get(url + "/joke").status_code for _ in range(5)} == {500}


def test_it_dies_with_code_2_when_it_panics() -> None:
    with service(PANIC_RATE="1") as (process, url):
        with pytest.raises(httpx.HTTPError):
            httpx.get(url + "/joke")

        assert process.wait(timeout=10) == 2


def test_it_takes_memory_until_someone_stops_it() -> None:
    with service(OOM_RATE="1") as (process, url):
        with pytest.raises(httpx.TimeoutException):
            httpx.get(url + "/joke", timeout=0.5)

        assert "joke cache holds" in process.stdout.readline()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ERROR_RATE": "often"}, "ERROR_RATE: expected a rate between 0 and 1"),
        ({"JOKES": "/nowhere"}, "cannot read JOKES=/nowhere"),
    ],
)
def test_wrong_configuration_is_said_and_ends_it(environment: dict[str, str], said: str) -> None:
    with service(**environment) as (process, line):
        assert said in line
        assert process.wait(timeout=10) == 1


@pytest.mark.covers("S3-07")
def test_the_manifest_breaks_it_as_often_as_promised() -> None:
    deployment = yaml.safe_load((HERE / "deploy/deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {item["name"]: float(item["value"]) for item in container["env"]}

    assert told == {"ERROR_RATE": 0.20, "PANIC_RATE": 0.05, "OOM_RATE": 0.02}
    assert container["resources"]["limits"]["memory"] == "128Mi"
