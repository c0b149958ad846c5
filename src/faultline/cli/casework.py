"""Commands about cases: capture, diagnose, promote, eval; and replay with another engine."""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faultline import keys
from faultline.capsule import Capsule
from faultline.cli.common import incidents_of, print_json, resolve, say, settings_of
from faultline.errors import Rejected
from faultline.incidents import Incidents
from faultline.model import Certainty, Change, Diagnosis, Output, Verdict
from faultline.style import paint

if TYPE_CHECKING:
    from faultline.asking import Answer


def capture(arguments: argparse.Namespace) -> int:
    """Write the capsule of one workload of a recorded cluster."""
    from faultline.cases import capture as make
    from faultline.cases import write

    folder: Path = arguments.folder
    if not folder.is_dir():
        raise Rejected(f"expected a folder of what kubectl printed, found none at {folder}")
    alert = _read(arguments.alert) if arguments.alert else b""
    files = make(
        folder,
        namespace=arguments.namespace,
        workload=arguments.workload,
        alert=alert,
        cluster=settings_of(arguments)[0].cluster,
    )
    write(files, arguments.out)
    size = sum(map(len, files.values()))
    say(f"{arguments.out}: {len(files)} files, {size:,} bytes, redacted and sealed")
    say(f"try: faultline diagnose {arguments.out}")
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected(f"{path}: {error.strerror}") from None


def diagnose(arguments: argparse.Namespace) -> int:
    """Print what the analyzers say of a capsule."""
    from faultline.cases import capsule_of
    from faultline.diagnosis import diagnose as judge

    verdict = judge(capsule_of(arguments.capsule))
    if arguments.json:
        print_json(verdict.model_dump(mode="json"))
        return 0
    _print(verdict)
    return 0


def _print(verdict: Verdict) -> None:
    if verdict.diagnosis:
        say(paint(f"proved: {verdict.diagnosis.title}", "bold", sys.stdout))
        say(f"  {verdict.diagnosis.root_cause}")
        for change in verdict.diagnosis.changes:
            say(f"  change {_sentence(change)}")
        for evidence in verdict.diagnosis.evidence:
            line = f":{evidence.line}" if evidence.line else ""
            say(f"  {evidence.file}{line}: {evidence.quote.strip().splitlines()[0][:160]}")
    else:
        say("nothing is proved" if verdict.findings else "nothing is wrong that we know of")
    for finding in verdict.findings:
        if finding.certainty is not Certainty.PROVED or not verdict.diagnosis:
            say(f"{finding.certainty.value}: {finding.title} ({finding.analyzer})")


def promote(arguments: argparse.Namespace) -> int:
    """Write a closed incident as a case: its evidence, and what was merged as the truth."""
    from faultline import cases

    memory = incidents_of(arguments)
    incident_id = resolve(memory, arguments.incident)
    manifests = settings_of(arguments)[0].manifests
    files = cases.promote(memory, incident_id, functools.partial(_files_at, manifests))
    out = arguments.out / incident_id
    cases.write(files, out)
    truth = json.loads(files[cases.TRUTH])
    what = ".".join(filter(None, (truth["family"], truth["condition"]))) or truth.get("field", "")
    says = {"merged": "as people merged it", "people": "as people fixed it themselves"}
    say(f"{out}: {len(files)} files")
    say(f"  truth: {what}, {says.get(truth['origin'], 'as proposed: no merge can be read here')}")
    say(f"try: faultline eval {arguments.out}")
    return 0


def _files_at(manifests: str, revision: str) -> Mapping[str, bytes]:
    """Return the manifests as they were merged. Raises FaultlineError if they are not here."""
    from faultline.adapters.manifests import GitManifests

    if not manifests or not revision:
        raise Rejected("no repository of manifests is configured, or the merge names no revision")
    return GitManifests(Path(manifests).absolute()).at(revision)


def evaluate(arguments: argparse.Namespace) -> int:
    """Run an engine over a folder of cases; 1 if any answer is wrong."""
    from faultline import evaluate as judge
    from faultline.asking import ask
    from faultline.bootstrap import model, now, policy

    settings, engine = settings_of(arguments)[0], arguments.with_engine
    rules, told = policy(settings), model(settings, key=True)
    folders = judge.cases(arguments.folder)
    with tempfile.TemporaryDirectory(prefix="faultline-eval-") as kept:
        root = arguments.keep or Path(kept)

        def put(case: str, capsule: Capsule) -> Answer:
            own = root / case
            own.mkdir(parents=True, exist_ok=True)
            return ask(capsule, engine, rules, own, now(), told=told)

        scored = list(judge.evaluate(folders, put, _progress))
    report = judge.as_json(engine, scored)
    if arguments.json:
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        arguments.json.write_text(text, "utf-8")
    for name, *counts in [("kind", "cases", "right", "abstained", "wrong"), *judge.table(scored)]:
        say(f"{name:<16}" + "".join(f"{count:>11}" for count in counts))
    for one in scored:
        if one.mark is judge.Mark.WRONG:
            say(
                paint(
                    f"wrong: {one.case}: expected {one.expected}, got {one.got}", "red", sys.stdout
                )
            )
    return 1 if report["all"]["wrong"] else 0


def _progress(done: int, total: int, name: str) -> None:
    """Draw a bar on a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        return
    full = 24 * done // total
    shown = "".join(c for c in name if c.isprintable())[:40]
    end = "\r\x1b[K" if done == total else ""
    sys.stderr.write(f"\r[{'#' * full}{'.' * (24 - full)}] {done}/{total} {shown}\x1b[K{end}")
    sys.stderr.flush()


def ask_again(memory: Incidents, incident_id: str, arguments: argparse.Namespace) -> int:
    """Put an incident's question to another engine, and compare with what was answered."""
    from faultline.asking import ask
    from faultline.bootstrap import model, now, policy

    numbers = [arguments.run] if arguments.run else memory.run_numbers(incident_id)[::-1]
    before = next((d for n in numbers if (d := memory.diagnosis(incident_id, n))), None)
    moment, engine = now(), arguments.with_engine
    folder = arguments.keep or Path(".faultline/replays", f"{incident_id}-{moment:%Y%m%dT%H%M%S}")
    folder.mkdir(parents=True, exist_ok=True)
    capsule = memory.capsule(incident_id)
    settings = settings_of(arguments)[0]
    number, records = _records(memory, incident_id, numbers)
    told = model(settings, key=True)
    answer = ask(capsule, engine, policy(settings), folder, moment, told=told, records=records)
    after = answer.diagnosis
    identical = _identical(memory.outputs(incident_id, number), answer) if number else []
    same = before is not None and after is not None and _changes(before) == _changes(after)
    if arguments.json:
        said = {"recorded": before, "again": after}
        dumped = {k: d.model_dump(mode="json") if d else None for k, d in said.items()}
        found = {"engine": engine, "same_changes": same, "reason": answer.reason}
        more = {"identical": identical, "not_recorded": answer.unrecorded}
        print_json(found | more | dumped)
    else:
        for title, diagnosis in (("recorded", before), (engine, after)):
            say(paint(title, "bold", sys.stdout))
            say(f"  {diagnosis.root_cause}" if diagnosis else f"  no diagnosis: {answer.reason}")
            for change in diagnosis.changes if diagnosis else ():
                say(f"  {_sentence(change)}")
        if identical:
            say(f"byte for byte as recorded: {', '.join(identical)}")
        if answer.unrecorded:
            say(f"{answer.unrecorded} questions had no recorded answer")
        say("the same changes" if same else "not the same changes")
    return 0 if same else 1


def _records(
    memory: Incidents, incident_id: str, numbers: Sequence[int]
) -> tuple[int, dict[str, bytes]]:
    """Return the first of these runs that recorded what it asked, and those records; or 0."""
    for number in numbers:
        there = memory.names(incident_id)
        names = {name: keys.run_record(number, name) for name in (keys.TOOLS, keys.TRANSCRIPT)}
        if names[keys.TOOLS] in there:
            found = {n: memory.read(incident_id, r) for n, r in names.items() if r in there}
            return number, found
    return 0, {}


def _identical(before: Sequence[Output], answer: Answer) -> list[str]:
    """Return the parts of an answer that came out to the byte as recorded."""
    known = {output.name: output.sha256 for output in before}
    parts = (keys.DIAGNOSIS, keys.INVESTIGATION)
    return [o.name for o in answer.outputs if o.name in parts and known.get(o.name) == o.sha256]


def _changes(diagnosis: Diagnosis) -> list[str]:
    return sorted(_sentence(change) for change in diagnosis.changes)


def _sentence(change: Change) -> str:
    target = change.target
    place = f"{target.kind}/{target.name} {change.field}"
    return f"{place}: {change.before} -> {change.after}"
