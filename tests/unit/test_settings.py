"""Settings: flag over environment over file over default; errors that name the key; no secrets."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from faultline import bootstrap
from faultline.adapters.runners.kubernetes import KubernetesRunner
from faultline.adapters.runners.subprocess import SubprocessRunner
from faultline.errors import Rejected
from faultline.model import Policy
from faultline.settings import ENGINES, SECTIONS, Settings, fields, load, secret, value

ROOT = Path(__file__).resolve().parents[2]
SECRETS = ("webhook_token", "webhook_hmac", "console_token")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> Path:
    path = Path("settings.yaml")
    path.write_text(text, "utf-8")
    return path


def refused(environment: dict[str, str] | None = None, **more: Any) -> str:
    with pytest.raises(Rejected) as caught:
        load(environment or {}, **more)
    return str(caught.value)


@pytest.mark.covers("S0-05", "S1-016", "S1-116")
def test_every_setting_has_a_default() -> None:
    settings, origins = load({})

    assert settings == Settings()
    assert set(origins.values()) == {"default"}
    assert settings.agent_runtime.timeout_seconds == 600
    assert settings.agent_runtime.workspace_retention_hours == 72


def _other(name: str) -> str:
    """Return a value that the setting does not have by default."""
    default = value(Settings(), name)
    if isinstance(default, bool):
        return str(not default).lower()
    return str(int(default) + 2) if isinstance(default, int | float) else f"{default}x"


@pytest.mark.parametrize("name", sorted(fields()))
def test_every_setting_loads_from_its_variable(name: str) -> None:
    variable = fields()[name][0]
    settings, origins = load({variable: _other(name)})

    assert str(value(settings, name)).removesuffix(".0").lower() == _other(name).lower()
    assert origins[name] == f"environment {variable}"


@pytest.mark.covers("S0-04")
def test_the_three_first_variables_keep_their_names() -> None:
    found = {"SSE_ENDPOINT": "http://s/", "WORKSPACE_ROOT": "/w", "LOG_LEVEL": "debug"}
    settings, _ = load(found)

    assert (settings.sse_endpoint, settings.log_level) == ("http://s/", "debug")
    assert settings.agent_runtime.workspace_root == "/w"


@pytest.mark.covers("S1-013")
def test_the_file_has_a_section_for_the_agent_runtime() -> None:
    file = write("""\
port: 9000
agent_runtime:
  agent_command: my-agent --fast
  workspace_root: /var/runs
  timeout_seconds: 60
  model: big
  engine: command
  graceful_shutdown_seconds: 5
""")
    settings, origins = load({}, file=file)

    assert settings.port == 9000
    assert settings.agent_runtime.agent_command == "my-agent --fast"
    assert settings.agent_runtime.model == "big"
    assert origins["agent_runtime.timeout_seconds"] == f"file {file}"
    assert origins["host"] == "default"


@pytest.mark.covers("S1-014")
def test_flag_over_environment_over_file_over_default() -> None:
    file = write("agent_runtime: {timeout_seconds: 1, model: file, workspace_root: file}\n")
    environment = {"AGENT_TIMEOUT": "2", "AGENT_MODEL": "environment"}
    settings, origins = load(
        environment, file=file, flags={"agent_runtime.timeout_seconds": 3, "store": None}
    )
    runtime = settings.agent_runtime

    assert (runtime.timeout_seconds, runtime.model, runtime.workspace_root) == (
        3, "environment", "file",
    )  # fmt: skip
    assert origins["agent_runtime.timeout_seconds"] == "flag"
    assert origins["store"] == "default"


def test_the_file_is_named_by_a_variable_or_lies_where_we_start() -> None:
    Path("faultline.yaml").write_text("port: 1\n", "utf-8")
    Path("named.yaml").write_text("port: 2\n", "utf-8")

    assert load({})[0].port == 1
    assert load({"FAULTLINE_CONFIG": "named.yaml"})[0].port == 2
    assert load({"FAULTLINE_CONFIG": "nowhere.yaml"}, file=Path("faultline.yaml"))[0].port == 1


@pytest.mark.covers("S1-017")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot: 1\n", "unknown setting prot"),
        ("agent_runtime: {tmeout: 1}\n", "unknown setting agent_runtime.tmeout"),
        ("port: many\n", "setting port (file settings.yaml)"),
        ("port: -1\n", "setting port"),
        ("agent_runtime: {timeout_seconds: 0}\n", "setting agent_runtime.timeout_seconds"),
        ("a: [\n", "expected YAML in settings.yaml, it cannot be read, line 2"),
        ("- port\n", "expected settings by name in settings.yaml, got list"),
        ("agent_runtime: 5\n", "section agent_runtime, got int"),
        ("? [a]\n: 1\n", "settings.yaml"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_with_the_key(text: str, expected: str) -> None:
    assert expected in refused(file=write(text))


SCHEMA = json.loads((ROOT / "docs/schemas/config/faultline.json").read_text("utf-8"))


@pytest.mark.covers("S1-134", "S1-138")
def test_the_example_names_every_setting_of_the_runtime_and_changes_none() -> None:
    example = ROOT / "configs/agent-runtime.yaml"
    settings, origins = load({}, file=example)
    found = yaml.safe_load(example.read_text("utf-8"))

    assert settings == Settings()
    assert {name for name, origin in origins.items() if origin != "default"} == {
        name for name in fields() if name.startswith("agent_runtime.") and not secret(name)
    }
    jsonschema.validate(found, SCHEMA)


@pytest.mark.covers("S1-134")
def test_the_schema_explains_every_setting_and_refuses_what_loading_refuses() -> None:
    found = {"": SCHEMA, **{f"{n}.": SCHEMA["$defs"][m.__name__] for n, m in SECTIONS.items()}}
    described = {
        prefix + name: field["description"]
        for prefix, schema in found.items()
        for name, field in schema["properties"].items()
        if prefix + name in fields()
    }

    assert described == {name: field.description for name, (_, field) in fields().items()}
    for wrong in ({"prot": 1}, {"agent_runtime": {"tmeout": 1}}, {"port": "many"}, {"port": -1}):
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(wrong)


def test_an_empty_file_sets_nothing() -> None:
    assert load({}, file=write("# nothing\n"))[0] == Settings()


def test_a_file_that_is_missing_or_no_text_is_refused() -> None:
    Path("bytes.yaml").write_bytes(b"\xff\xfe\x00")

    assert "expected a configuration file at nowhere.yaml" in refused(file=Path("nowhere.yaml"))
    assert "expected text in UTF-8 in bytes.yaml" in refused(file=Path("bytes.yaml"))


def test_a_value_that_is_wrong_is_shown_unless_it_may_be_a_secret() -> None:
    assert "got 'many'" in refused({"PORT": "many"})
    for name in SECRETS:
        assert "hunter2" not in refused(file=write(f"{name}: [hunter2]\n"))
    assert "hunter2" not in refused(file=write("webhook_token: {hunter2: [\n"))


def test_a_secret_comes_from_a_mounted_file() -> None:
    Path("token").write_text("hunter2\n", "utf-8")
    Path("bytes").write_bytes(b"\xff")
    settings, origins = load({"FAULTLINE_WEBHOOK_TOKEN_FILE": "token"})

    assert settings.webhook_token == "hunter2"
    assert origins["webhook_token"] == "environment FAULTLINE_WEBHOOK_TOKEN"
    assert "No such file" in refused({"FAULTLINE_WEBHOOK_TOKEN_FILE": "nowhere"})
    assert "not text" in refused({"FAULTLINE_WEBHOOK_TOKEN_FILE": "bytes"})


def test_the_secrets_are_known_as_such() -> None:
    assert {name for name in fields() if secret(name)} >= set(SECRETS)


@pytest.mark.covers("S1-015")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FAULTLINE_ENGINE": "nix"}, "agent_runtime.engine: expected rules, stub"),
        ({"FAULTLINE_ENGINE": "command"}, "set agent_command"),
        ({"AGENT_RUNTIME_COMMAND": "/nowhere/agent --x"}, "got '/nowhere/agent'"),
        ({"AGENT_RUNTIME_COMMAND": "agent 'open"}, "not a command line"),
        ({"FAULTLINE_SEVERITY_THRESHOLD": "loud"}, "severity_threshold: expected critical"),
        ({"FAULTLINE_MANIFESTS": "/nowhere"}, "manifests: expected a folder"),
        ({"FAULTLINE_RECORDED_CLUSTER": "/nowhere"}, "recorded_cluster: expected a folder"),
        ({"LOG_LEVEL": "loud"}, "log_level: expected"),
        ({"AGENT_RUNTIME_CLEANUP": "burn"}, "agent_runtime.cleanup: expected keep"),
        ({"FAULTLINE_TRACES": "otlp:ftp://x"}, "traces: expected"),
        ({"FAULTLINE_GATEWAY": "gateway.faultline.svc"}, "gateway: expected http:// or https://"),
        ({"FAULTLINE_GATEWAY": "ftp://gateway"}, "gateway: expected http:// or https://"),
        ({"FAULTLINE_GATEWAY": "http://"}, "gateway: expected http:// or https://"),
        ({"FAULTLINE_GATEWAY": "http://gateway/?a=b"}, "gateway: expected http:// or https://"),
        ({"FAULTLINE_GATEWAY": "http://a:hunter2@gateway"}, "a host alone, got 'gateway'"),
    ],
)
def test_what_nothing_could_work_with_is_refused_at_the_start(
    environment: dict[str, str], expected: str
) -> None:
    with pytest.raises(Rejected) as caught:
        bootstrap.check(load(environment)[0])

    assert expected in str(caught.value)


def test_the_defaults_and_a_command_that_exists_can_work() -> None:
    bootstrap.check(Settings())
    command = shlex.join([sys.executable, "-c", "pass"])
    settings, _ = load({"AGENT_RUNTIME_COMMAND": command})
    bootstrap.check(settings)

    bootstrap.check(Settings(gateway="http://gateway.faultline.svc"))
    bootstrap.check(Settings(gateway="https://gateway.example:8443/faultline/"))

    assert bootstrap.policy(settings).engine == "command"
    assert bootstrap.policy(settings).command == (sys.executable, "-c", "pass")


def test_the_engines_are_those_of_the_table() -> None:
    table = tomllib.loads((ROOT / "src/faultline/agent/engines.toml").read_text("utf-8"))

    assert {*ENGINES, "loop-recorded"} == set(table)  # that one is `replay`'s


@pytest.mark.covers("S1-120")
def test_runs_are_jobs_where_an_image_is_named_and_else_child_processes(tmp_path: Path) -> None:
    file = write("agent_runtime: {cleanup: delete_after, workspace_retention_hours: 1.5}\n")
    here = bootstrap.runner(load({"FAULTLINE_STORE": f"file://{tmp_path}"}, file=file)[0])
    jobs = bootstrap.runner(load({"FAULTLINE_JOB_IMAGE": "agent@sha256:0"})[0])

    assert isinstance(jobs, KubernetesRunner)
    assert isinstance(here, SubprocessRunner)
    assert here._env["AGENT_RUNTIME_CLEANUP"] == "delete_after"
    assert here._env["AGENT_RUNTIME_RETENTION"] == "1.5"


POLICY_FIELDS = {
    "severity_threshold": ("info", "severity_threshold", "info"),
    "agent_runtime.engine": ("stub", "engine", "stub"),
    "agent_runtime.model": ("big", "model", "big"),
    "agent_runtime.timeout_seconds": (30, "deadline_s", 30),
    "slots": (9, "slots", 9),
    "slots_per_cluster": (9, "slots_per_cluster", 9),
    "runs_per_hour": (9, "runs_per_hour", 9),
    "nudge_after_s": (9, "nudge_after_s", 9),
    "quiet_s": (9, "quiet_s", 9),
    "sweep_days": (9, "sweep_days", 9),
    "own_namespaces": ("a, b", "own_namespaces", ("a", "b")),
    "dry_run": (True, "dry_run", True),
}


@pytest.mark.parametrize("name", sorted(POLICY_FIELDS))
def test_what_the_operator_decides_reaches_the_judgements(name: str) -> None:
    given, field, expected = POLICY_FIELDS[name]
    settings, _ = load({}, flags={name: given})
    decided = bootstrap.policy(settings)

    assert getattr(decided, field) == expected
    assert getattr(bootstrap.policy(Settings()), field) != expected
    assert isinstance(decided, Policy)
