"""Cases from recordings and from incidents that are over, and what engines make of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from world import World, example

from faultline import cases
from faultline.adapters.stores.files import FilesStore
from faultline.capsule import Capsule
from faultline.cli import main
from faultline.diagnosis import diagnose
from faultline.errors import Rejected, Unavailable
from faultline.incidents import Incidents

CLUSTERS = example("memory").parent


def nowhere(revision: str) -> Mapping[str, bytes]:
    raise Unavailable("there is no repository here")


def closed(world: World) -> World:
    """An incident that was merged and cleared."""
    world.alert().settle()
    fault, _ = next(iter(world.incidents.faults(world.only).values()))
    world.clock.now = max(world.clock.now, fault.starts_at)
    world.pass_time(60)
    world.forge.merge(world.only)
    fields = fault.model_dump(exclude={"ends_at"})
    return world.pass_time(60).clear(**fields).settle()


def case(folder: Path, name: str, truth: dict[str, object] | None = None) -> Path:
    """Copy an example below `folder`, with another truth if one is given."""
    shutil.copytree(CLUSTERS / name, folder / name)
    if truth is not None:
        (folder / name / "truth.json").write_text(json.dumps(truth))
    return folder


# eval


def test_the_analyzers_are_never_wrong_about_the_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"

    code = main(["eval", str(CLUSTERS), "--json", str(report)])

    said = json.loads(report.read_text())
    assert code == 0
    assert said["all"]["wrong"] == 0
    truths = {p.parent.name: json.loads(p.read_bytes()) for p in CLUSTERS.glob("*/truth.json")}
    assert {c["case"] for c in said["cases"] if c["mark"] == "abstained"} == {
        name for name, truth in truths.items() if truth.get("proved") is False
    }
    assert said["all"]["cases"] == len(truths) >= 50
    assert all(c["same_change"] is not False for c in said["cases"])
    page = (CLUSTERS.parents[1] / "docs/evaluate.md").read_text("utf-8")
    assert capsys.readouterr().out in page, "docs/evaluate.md shows the table of today"


def test_another_cause_than_the_truth_is_wrong_and_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case(tmp_path, "memory", {"family": "probes", "condition": "path"})

    code = main(["eval", str(tmp_path)])

    assert code == 1
    said = capsys.readouterr().out
    assert "wrong: memory: expected probes.path, got memory.limit-exceeded" in said


def test_a_cause_where_nothing_is_wrong_is_wrong(tmp_path: Path) -> None:
    assert main(["eval", str(case(tmp_path, "memory", {"healthy": True}))]) == 1


def test_silence_about_a_fault_is_abstaining(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case(tmp_path, "healthy-1", {"family": "memory", "condition": "limit-exceeded"})

    assert main(["eval", str(tmp_path)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("memory"))
    assert row.split() == ["memory", "1", "0", "1", "0"]


def test_an_agent_that_says_nothing_abstains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case(tmp_path / "cases", "memory")

    code = main(
        ["eval", str(tmp_path / "cases"), "--engine", "stub", "--keep", str(tmp_path / "k")]
    )

    assert code == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "1", "0", "1", "0"]
    assert (tmp_path / "k/memory/agent.log").is_file()


def test_an_agent_is_right_by_the_change_it_proposes_and_wrong_by_another(tmp_path: Path) -> None:
    folder = case(tmp_path / "cases", "memory")
    truth = json.loads((folder / "memory/truth.json").read_text())

    def agent(after: str) -> str:
        change = {k: truth[k] for k in ("target", "field", "before")} | {"after": after}
        said = {"title": "t", "root_cause": "c", "confidence": "high", "changes": [change]}
        script = tmp_path / f"agent-{after}.py"
        script.write_text(
            "import pathlib\n"
            f"pathlib.Path('output/diagnosis.json').write_text({json.dumps(said)!r})\n"
            "sections = ('What happened', 'Root cause', 'Evidence')\n"
            "text = '\\n'.join(f'## {s}\\n' + 'words ' * 40 for s in sections)\n"
            "pathlib.Path('output/investigation.md').write_text('# Investigation\\n' + text)\n"
        )
        return f"python3 {script}"

    def code(after: str) -> int:
        return main(
            ["eval", str(folder), "--engine", "command", "--agent-command", agent(after),
             "--keep", str(tmp_path / after), "--json", str(tmp_path / f"{after}.json")]
        )  # fmt: skip

    assert (code("256Mi"), code("128Mi")) == (0, 1)
    assert json.loads((tmp_path / "256Mi.json").read_text())["all"]["right"] == 1


def test_a_folder_without_cases_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(tmp_path)]) == 1
    assert "expected cases" in capsys.readouterr().err


# capture and diagnose


def test_a_capture_is_sealed_redacted_and_proves_what_the_alert_would(tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    recording = case(tmp_path, "memory") / "memory"
    log = next((recording / "logs").rglob("*.log"))
    log.write_text(log.read_text() + f"token {token}\n")

    code = main(
        ["capture", str(recording), "--namespace", "shop", "--workload", "checkout",
         "--out", str(tmp_path / "out")]
    )  # fmt: skip

    capsule = Capsule.from_directory(tmp_path / "out")
    capsule.verify()
    assert code == 0
    assert "PROMPT.md" in capsule.names()
    assert token not in "".join(capsule.text(name) for name in capsule.names())
    assert cases.proved_condition(diagnose(capsule)) == "memory.limit-exceeded"


def test_a_capture_of_nobody_says_who_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        ["capture", str(CLUSTERS / "memory"), "--namespace", "shop", "--workload", "cart",
         "--out", str(tmp_path / "out")]
    )  # fmt: skip

    assert code == 1
    assert "there are: checkout" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_case_never_lands_on_top_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")

    with pytest.raises(Rejected, match="new or empty"):
        cases.write({"PROMPT.md": b"?"}, tmp_path)

    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_diagnose_prints_the_cause_and_a_changed_capsule_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write(cases.files_of(cases.capsule_of(CLUSTERS / "memory")), tmp_path / "c")

    assert main(["diagnose", str(tmp_path / "c")]) == 0
    assert "64Mi -> 256Mi" in capsys.readouterr().out
    assert main(["diagnose", str(tmp_path / "c"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["diagnosis"]["certainty"] == "proved"

    (tmp_path / "c/context/logs.txt").write_text("something else")
    assert main(["diagnose", str(tmp_path / "c")]) == 1


# promote


def test_a_closed_incident_becomes_a_case_that_is_answered_right(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    id = closed(world).only

    cases.write(cases.promote(world.incidents, id, nowhere), tmp_path / id)

    truth = json.loads((tmp_path / id / "truth.json").read_text())
    assert (truth["family"], truth["condition"]) == ("memory", "limit-exceeded")
    assert (truth["origin"], truth["after"], truth["closed"]) == ("proposal", "256Mi", "verified")
    assert main(["eval", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "1", "1", "0", "0"]


def test_the_truth_is_what_people_merged_and_not_what_was_proposed(world: World) -> None:
    id = closed(world).only
    files = {p: t.replace(b"64Mi", b"384Mi") for p, t in world.ports.manifests.files().items()}

    made = cases.promote(world.incidents, id, lambda revision: files)

    truth = json.loads(made["truth.json"])
    assert (truth["origin"], truth["after"]) == ("merged", "384Mi")
    assert b"384Mi" in made["merged.patch"]


def test_the_truth_of_peoples_own_fix_is_theirs(world: World) -> None:
    world.ports = world.ports.__class__(**{**vars(world.ports), "outlets": ()})
    world.alert().settle()
    fault, _ = next(iter(world.incidents.faults(world.only).values()))
    files = {p: t.replace(b"64Mi", b"512Mi") for p, t in world.ports.manifests.files().items()}
    world.ports.manifests._files = files
    world.clock.now = max(world.clock.now, fault.starts_at)
    world.pass_time(60).clear(**fault.model_dump(exclude={"ends_at"})).settle().ping().settle()

    truth = json.loads(cases.promote(world.incidents, world.only, nowhere)["truth.json"])

    assert (truth["origin"], truth["after"]) == ("people", "512Mi")


def test_what_is_open_or_did_not_hold_is_not_promoted(world: World) -> None:
    world.fault().settle().pass_time(60)
    with pytest.raises(Rejected, match="is closed"):
        cases.promote(world.incidents, world.only, nowhere)

    world.forge.merge(world.only)
    world.pass_time(60).clear().settle().pass_time(60)
    first = world.only
    world.fault(starts_at=world.clock()).settle().ping().settle()

    with pytest.raises(Rejected, match="did not hold"):
        cases.promote(world.incidents, first, nowhere)


# replay


def test_replay_asks_another_engine_and_compares_and_begins_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FilesStore(tmp_path / "store")
    world = closed(World(store=store))
    where = ["--store", f"file://{tmp_path / 'store'}"]

    again = main(["replay", "last", *where, "--engine", "rules", "--keep", str(tmp_path / "kept")])
    said = capsys.readouterr().out
    packaged = main(["replay", "last", *where, "--from", "package"])

    assert (again, packaged) == (0, 0)
    assert "the same changes" in said
    assert "identical" in capsys.readouterr().out
    assert Incidents(store).run_numbers(world.only) == [1]  # the incident itself has no new run


@pytest.mark.parametrize("scenario", ["unknown-host-cronjob", "service-selector", "memory-leak"])
def test_a_scenario_is_shown_from_the_alert_to_how_it_ends(scenario: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "faultline", "demo", "--scenario", scenario]
    shown = subprocess.run(
        [*command, "--keep", str(tmp_path / "demo")],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip

    assert {path.name for path in tmp_path.iterdir()} == {"demo"}  # all of it in its folder
    assert "byte for byte the same" in shown
    assert {
        "unknown-host-cronjob": "the fix held",
        "service-selector": "because network: services are never changed",
        "memory-leak": "because no cause is proved",
    }[scenario] in shown


@pytest.mark.covers("S2-46")
def test_the_demo_ends_verified_and_its_incident_becomes_a_case_with_what_was_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo, out = tmp_path / "demo", str(tmp_path / "cases")

    command = [sys.executable, "-m", "faultline", "demo", "--keep", str(demo)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    where = ["--store", f"file://{demo / 'store'}", "--manifests", str(demo / "repository")]
    promoted = main(["promote", "last", *where, "--out", out])

    (truth,) = (json.loads(path.read_text()) for path in Path(out).glob("*/truth.json"))
    assert (promoted, main(["eval", out])) == (0, 0)
    assert "the fix held" in shown
    assert (truth["origin"], truth["after"], truth["held"]) == ("merged", "256Mi", "verified")
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "1", "1", "0", "0"]
