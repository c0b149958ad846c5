"""Each failure mode of the joke service does what its overlay and the README say."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from diagnosis_world import World
from test_jokeservice import HERE, service

from faultline.diagnosis import diagnose
from faultline.kustomize import Repository, render

ROOT = HERE.parents[1]
MODES = sorted(p.name for p in (HERE / "failures").iterdir() if p.name != "calm")
TABLE = re.findall(
    r"^\| `([a-z-]+)` \| (.+) \| `([a-z_]+\.[a-z-]+)` \| (.+) \|$",
    (HERE / "README.md").read_text("utf-8"),
    re.MULTILINE,
)
EXPECTED = {mode: analyzer for mode, _, analyzer, _ in TABLE}


@pytest.fixture(scope="module")
def repository() -> Repository:
    files = {p.relative_to(HERE).as_posix(): p.read_bytes() for p in HERE.rglob("*.yaml")}
    return Repository.of(files)


def rendered(repository: Repository, mode: str) -> dict[str, dict[str, Any]]:
    """Return what an overlay deploys of the joke service itself, by kind."""
    found = [item.value for item in render(repository, f"failures/{mode}")]
    return {v["kind"]: v for v in found if v["metadata"]["name"] == "jokeservice"}


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return found


def environment(repository: Repository, mode: str) -> dict[str, str]:
    variables = container(rendered(repository, mode)["Deployment"])["env"]
    return {v["name"]: v["value"] for v in variables if "value" in v}


def until(said: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if said():
            return True
        time.sleep(0.02)
    return False


def resident_mib(process: subprocess.Popen[str]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


# overlays


def test_the_readme_has_a_row_for_each_mode_and_its_analyzer_exists() -> None:
    page = (ROOT / "docs/analyzers.md").read_text("utf-8")
    named = {
        f"{family}{name}" if name.startswith(".") else name
        for row in re.findall(r"^\| (`[^|]+`) \|", page, re.MULTILINE)
        for family in [re.match(r"`([a-z_]+)", row)[1]]
        for name in re.findall(r"`([a-z_.-]+)`", row)
    }

    assert [row[0] for row in TABLE] == MODES
    assert set(EXPECTED.values()) - named == set()


@pytest.mark.parametrize("mode", MODES)
def test_an_overlay_is_calm_but_for_its_one_fault(mode: str, repository: Repository) -> None:
    calm, broken = rendered(repository, "calm"), rendered(repository, mode)
    known = (HERE / "app.py").read_text("utf-8")

    assert {k for k in calm if calm[k] != broken[k]} == {
        "Service" if mode == "selector" else "Deployment"
    }
    rates = ("ERROR_RATE", "PANIC_RATE", "OOM_RATE")
    assert [environment(repository, mode)[r] for r in rates] == ["0", "0", "0"]
    assert all(name in known for name in environment(repository, mode))


# what the program does


def test_it_keeps_memory(repository: Repository) -> None:
    assert float(environment(repository, "leak")["LEAK_MIB_PER_S"]) > 0

    with service(LEAK_MIB_PER_S="400") as (process, url):
        before = resident_mib(process)
        assert until(lambda: resident_mib(process) > before + 60)
        assert httpx.get(url + "/healthz").status_code == 200


def test_it_fills_its_disk(repository: Repository, tmp_path: Path) -> None:
    assert environment(repository, "fill-disk")["FILL_DIR"] == "/tmp"

    with service(FILL_MIB_PER_S="400", FILL_DIR=str(tmp_path)) as (process, _):
        file = tmp_path / f"jokes-{process.pid}.log"
        assert until(lambda: file.exists() and file.stat().st_size > 16 * 1024 * 1024)


def test_it_says_why_it_cannot_write_and_ends(tmp_path: Path) -> None:
    with service(FILL_MIB_PER_S="4", FILL_DIR=str(tmp_path / "nowhere")) as (process, line):
        assert process.wait(timeout=20) == 1
        assert "FATAL cannot write" in line + process.stdout.read()


def test_it_listens_late() -> None:
    with service(START_AFTER="1.5") as (process, line):
        assert "reading the book of jokes, 1.5 s" in line
        began = time.monotonic()
        assert "listening on" in process.stdout.readline()
        assert time.monotonic() - began > 1


def test_it_listens_on_another_port(repository: Repository) -> None:
    told = environment(repository, "wrong-port")["PORT"]
    ports = container(rendered(repository, "wrong-port")["Deployment"])["ports"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with service(PORT=str(port)) as (_, url):
        assert url.endswith(f":{port}")
    assert int(told) not in [p["containerPort"] for p in ports]


def test_it_answers_no_more() -> None:
    with service(HANG_AFTER="0.01") as (_, url), pytest.raises(httpx.TimeoutException):
        httpx.get(url + "/healthz", timeout=0.5)


def test_it_ends_with_the_code_that_it_is_told(repository: Repository) -> None:
    told = environment(repository, "exit") | {"EXIT_AFTER": "0.1", "PORT": "0"}

    with service(**told) as (process, _):
        assert process.wait(timeout=20) == int(told["EXIT_CODE"]) == 3


@pytest.mark.parametrize("name", ["LEAK_MIB_PER_S", "HANG_AFTER", "EXIT_AFTER"])
def test_an_amount_that_is_none_is_refused(name: str) -> None:
    with service(**{name: "soon"}) as (process, line):
        assert f"FATAL {name}: expected a number of at least 0, got 'soon'" in line
        assert process.wait(timeout=20) == 1


# what the analyzers say to its own log


def ended_log(told: dict[str, str]) -> tuple[int, list[str]]:
    with service(**told) as (process, first):
        rest = process.stdout.read()
        return process.wait(timeout=20), [first.rstrip(), *rest.splitlines()]


@pytest.mark.parametrize("mode", ["bad-host", "exit", "missing-env"])
def test_its_own_log_leads_to_the_expected_diagnosis(mode: str, repository: Repository) -> None:
    told = environment(repository, mode)
    code, lines = ended_log(told | ({"EXIT_AFTER": "0.1", "PORT": "0"} if mode == "exit" else {}))
    world = World("jokeservice", "demo").loops(code).log(*lines)
    world.main["env"] = [{"name": n, "value": v} for n, v in told.items()]
    world.previous["containers"][0]["env"] = [
        v for v in world.main["env"] if v["name"] in environment(repository, "calm")
    ]
    world.add("Service", "joke-database", spec={"ports": [{"port": 80}]})

    verdict = diagnose(world.capsule())

    assert verdict.findings[0].analyzer == EXPECTED[mode]
    assert verdict.proved == (mode == "bad-host")


def test_a_port_that_is_not_declared_is_suspected(repository: Repository) -> None:
    told = environment(repository, "wrong-port")["PORT"]
    world = World("jokeservice", "demo").unready()
    world.main["readinessProbe"] = {"httpGet": {"path": "/ready", "port": "http"}}
    world.log(f"INFO  listening on :{told}", previous=False)
    refused = "dial tcp 10.0.0.5:8080: connect: connection refused"
    world.event("Unhealthy", f'Readiness probe failed: Get "http://10.0.0.5:8080/ready": {refused}')

    verdict = diagnose(world.capsule())

    assert verdict.findings[0].analyzer == EXPECTED["wrong-port"]
    assert not verdict.proved
