"""Commands and environments of the engines, as the table gives them."""

from datetime import UTC, datetime

import pytest

from faultline.agent import engines
from faultline.agent.engines import PROMPT, clean_environment, command, engine
from faultline.errors import Rejected
from faultline.model import Run

DANGEROUS = [
    ("claude", "--dangerously-skip-permissions"),
    ("claude", "--permission-mode=bypassPermissions"),
    ("claude", "--allowedTools", "Bash(*)"),
    ("gemini", "--yolo"),
    ("codex", "--sandbox", "danger-full-access"),
    ("codex", "--dangerously-bypass-approvals-and-sandbox"),
]


def a_run(engine="claude", model="", argv=()):
    return Run(
        incident_id="20261121-api-5c1e9b2a",
        number=1,
        engine=engine,
        model=model,
        command=argv,
        deadline_s=10,
        capsule_sha256="",
        cluster="kind",
        namespace="shop",
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
        cause={},
    )


def argv_of(run, environment=()):
    return command(engine(run), run, dict(environment))


def after(argv, flag):
    return argv[argv.index(flag) + 1]


@pytest.mark.covers("S1-049", "S1-051", "S1-053", "S1-055")
def test_the_command_of_claude_has_every_flag():
    argv = argv_of(a_run(model="sonnet"))

    assert argv[:3] == ["claude", "-p", PROMPT]
    assert after(argv, "--output-format") == "stream-json"
    assert "--verbose" in argv
    assert after(argv, "--model") == "sonnet"
    assert after(argv, "--append-system-prompt-file") == "context/system-instructions.txt"
    assert after(argv, "--permission-mode") == "dontAsk"
    assert after(argv, "--setting-sources") == ""


@pytest.mark.covers("S1-052")
def test_claude_may_read_the_workspace_and_ask_the_cluster_and_write_its_output():
    argv = argv_of(a_run())

    tools = argv[argv.index("--allowedTools") + 1 : argv.index("--permission-mode")]
    assert tools == [
        *("Read(./**)", "Grep", "Glob", "Write(./output/**)"),
        *("Bash(kubectl get:*)", "Bash(kubectl describe:*)", "Bash(kubectl logs:*)"),
    ]
    assert after(argv, "--tools") == "Read,Grep,Glob,Write,Bash"
    assert "Bash" not in " ".join(argv_of(a_run("claude-capsule")))
    assert engines.tools(argv) == {"Read", "Grep", "Glob", "Write", "Bash"}
    assert engines.tools(argv_of(a_run("codex"))) == frozenset()


def test_without_a_model_the_engine_chooses():
    assert "--model" not in argv_of(a_run())
    assert "-m" not in argv_of(a_run("codex"))
    assert after(argv_of(a_run("gemini", model="gemini-2.5-pro")), "-m") == "gemini-2.5-pro"


@pytest.mark.covers("S1-050")
@pytest.mark.parametrize("name", ["claude", "claude-capsule", "codex", "gemini"])
def test_the_prompt_is_one_fixed_sentence_so_that_nothing_foreign_is_an_argument(name):
    argv = argv_of(a_run(name))

    assert PROMPT in argv
    assert all(len(part) < 200 and "\n" not in part for part in argv)


def test_the_commands_of_codex_do_not_see_the_key():
    assert "shell_environment_policy.inherit=core" in argv_of(a_run("codex"))


@pytest.mark.covers("S1-054")
def test_a_command_of_the_operator_replaces_it_word_by_word():
    run = a_run("command", argv=("my-agent", "--flag", "{prompt}", "a b; rm -rf $HOME"))

    assert argv_of(run) == ["my-agent", "--flag", "{prompt}", "a b; rm -rf $HOME"]


def test_a_command_has_to_be_given():
    with pytest.raises(Rejected, match="agent_command"):
        engine(a_run("command"))


def test_an_unknown_engine_is_refused_with_the_names_of_those_there_are():
    with pytest.raises(Rejected, match=r"claude, .*stub, got 'goose'"):
        engine(a_run("goose"))


@pytest.mark.covers("INJ-12", "S1-115")
@pytest.mark.parametrize("argv", DANGEROUS, ids=" ".join)
def test_switches_that_turn_protection_off_need_the_operators_word(argv):
    run = a_run("command", argv=argv)

    with pytest.raises(Rejected, match="FAULTLINE_CONTAINED"):
        argv_of(run)
    assert argv_of(run, {"FAULTLINE_CONTAINED": "1"}) == list(argv)
    for name in engines._table(None).keys() - {"command"}:
        argv_of(a_run(name))  # none of ours asks for them


def test_the_environment_is_made_from_nothing(tmp_path):
    ours = {
        "PATH": "/opt/bin",
        "HOME": "/root",
        "AWS_SECRET_ACCESS_KEY": "s",
        "GITHUB_TOKEN": "g",
        "K_SINK": "http://broker",
        "OPENAI_API_KEY": "o",
        "ANTHROPIC_API_KEY": "a",
        "LD_PRELOAD": "/tmp/x.so",
    }
    run = a_run()

    env = clean_environment(engine(run), run, tmp_path, ours)

    assert {k: v for k, v in env.items() if not k.startswith(("CLAUDE_CODE", "DISABLE"))} == {
        "PATH": "/opt/bin",
        "HOME": f"{tmp_path}/home",
        "TMPDIR": f"{tmp_path}/tmp",
        "ANTHROPIC_API_KEY": "a",
        "INCIDENT_ID": "20261121-api-5c1e9b2a",
        "INCIDENT_WORKSPACE": str(tmp_path),
        "KUBERNETES_CLUSTER": "kind",
        "KUBERNETES_NAMESPACE": "shop",
        "CLAUDE_READ_ONLY_MODE": "true",
        "AGENT_READ_ONLY_MODE": "true",
    }
    assert env["CLAUDE_CODE_MAX_RETRIES"] == "2"


@pytest.mark.covers("S1-040", "S1-114")
@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "CLAUDE_API_KEY"])
def test_either_name_of_the_key_is_passed_on_in_the_environment_only(tmp_path, name):
    run = a_run()

    assert clean_environment(engine(run), run, tmp_path, {name: "k-123"})[name] == "k-123"
    assert "k-123" not in " ".join(command(engine(run), run, {name: "k-123"}))
    stub = a_run("stub")
    assert name not in clean_environment(engine(stub), stub, tmp_path, {name: "k-123"})


@pytest.mark.parametrize(
    "text", ["[x]\nargv = 'a'\nwrong = 1", "[x]\n", "x = 1", "[x", "[x]\nshell = true\nargv = []"]
)
def test_a_table_that_is_wrong_is_refused(tmp_path, text):
    (tmp_path / "engines.toml").write_text(text)

    with pytest.raises(Rejected):
        engine(a_run("x"), tmp_path / "engines.toml")


def test_a_server_of_tools_is_told_to_the_built_in_loop_and_to_no_other_engine(tmp_path):
    ours = {
        f"FAULTLINE_MCP_{name}": "x" for name in ("URL", "TOOLS", "TOKEN", "TOKEN_FILE")
    }  # fmt: skip
    told = {
        name: ours.keys() & clean_environment(chosen, a_run(name), tmp_path, ours).keys()
        for name, chosen in engines._table(None).items()
    }

    assert {name for name, found in told.items() if found} == {"loop"}
    assert told["loop"] == ours.keys()
