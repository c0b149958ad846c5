"""An attempt at a run: go through it, from wherever an earlier attempt has left it.

Order is what makes it safe: the engine's end is noted before anything is collected, everything that
was collected is in the store before the result, and the result before anyone hears of it.
"""

from __future__ import annotations

import json
import logging
import shlex
import signal
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from faultline import keys
from faultline.adapters.runners.processes import Known
from faultline.adapters.stores.gateway import MODEL_TOKEN, TOKEN, TOKENS_VARIABLE, bearer
from faultline.agent import engines, outcome, process, rights, skills
from faultline.agent.engines import Engine
from faultline.agent.process import Exit
from faultline.agent.retention import retention
from faultline.agent.workspace import Collected, Workspace, collect
from faultline.errors import FaultlineError, NotFound, Rejected, TryAgain
from faultline.event import RUN_FINISHED, from_json
from faultline.incidents import Incidents
from faultline.limits import run_grace_seconds
from faultline.model import Result, Run, RunStatus
from faultline.redact import Redactor

log = logging.getLogger(__name__)

_POLL_S = 1.0
_LINE_CHARS_MAX = 2_000
_WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_REFUSED_DIAGNOSIS = "output/diagnosis-refused.txt"
_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")

T = TypeVar("T")


class Attempt:
    """One attempt, in this process. `stop` is set from outside to cancel it."""

    def __init__(
        self,
        run: Run,
        incidents: Incidents,
        environment: Mapping[str, str],
        stop: threading.Event,
    ) -> None:
        self._run, self._incidents, self._stop = run, incidents, stop
        self._environment = environment
        self._root = Path(environment.get("WORKSPACE_ROOT", ".faultline/runs"))
        self._workspace = Workspace(self._root, run.id)
        self._retention = retention(environment)
        self._about = {"incident": run.incident_id, "cluster": run.cluster, "run": run.id}

    def finish(self) -> Result:
        """Bring the run to its end; return its result, which is in the store then.

        Raises Unavailable if the store does not answer or another process works on this run.
        """
        with self._workspace.held():
            result = self._recorded()
            if result is None:
                result = self._conclude()
            self._announce(result)
            self._retention.clean_up(self._workspace, success=result.status is RunStatus.SUCCESS)
        self._retention.forget_old(self._root, time.time())
        return result

    def _recorded(self) -> Result | None:
        return patiently(lambda: self._incidents.result(self._run.incident_id, self._run.number))

    # the engine

    def _conclude(self) -> Result:
        ended = self._noted()
        if ended is None:
            began = datetime.now(UTC)
            ended = (self._run_engine(), began, datetime.now(UTC))
            self._note(*ended)
        return self._hand_in(*ended)

    def _run_engine(self) -> Exit:
        """Lay out, run, stop in time. What is wrong with the run itself ends it, unstarted."""
        if leftover := Known.read(self._workspace.beside("engine")):
            leftover.signal(signal.SIGKILL, group=True)  # of an attempt that was killed
        try:
            engine = engines.engine(self._run)
            argv = engines.command(engine, self._run, self._environment)
            if engine.asks_cluster:
                rights.check_ours(self._run, engines.reachable(engine, self._environment))
            self._workspace.lay_out(self._files() | _home(engine) | skills.given(self._environment))
        except Rejected as error:
            log.warning("not started: %s", error, extra=self._about)
            return Exit(None, error=str(error))
        log.info("workspace made: %s", self._workspace.path, extra=self._about)
        with Cancellation(self._run, self._incidents, self._stop) as cancellation:
            if cancellation.asked():
                return Exit(None, stopped=process.CANCELLED)
            return self._spawn(engine, argv, cancellation)

    def _spawn(self, engine: Engine, argv: list[str], cancellation: Cancellation) -> Exit:
        return process.run(
            argv,
            cwd=self._workspace.path,
            env=engines.clean_environment(
                engine, self._run, self._workspace.path, self._environment
            ),
            log=self._workspace.log,
            deadline_s=self._run.deadline_s,
            grace_s=float(self._environment.get("AGENT_RUNTIME_GRACE") or run_grace_seconds),
            cancelled=cancellation.asked,
            watch=partial(self._heard, engine, engines.tools(argv)),
            started=lambda pid: self._started(pid, argv),
            alone=True,
        )

    def _heard(self, engine: Engine, tools: frozenset[str], line: bytes) -> str:
        """Return why going on is in vain, "" if it is not. At level debug the line is in our log:
        of a container that is killed with its disk, that is all there is."""
        if log.isEnabledFor(logging.DEBUG):
            text = line.decode("utf-8", "replace")[:_LINE_CHARS_MAX]
            log.debug("engine says: %s", text, extra=self._about)
        return outcome.hopeless(engine.stream, line, tools)

    def _started(self, pid: int, argv: list[str]) -> None:
        Known.of(pid).write(self._workspace.beside("engine"))
        words = (shlex.join(argv), self._workspace.path, pid)
        log.info("engine started: %s in %s, process %d", *words, extra=self._about)

    def _files(self) -> dict[str, bytes]:
        """Return what the engine finds. Raises Rejected unless it is the evidence of `run.json`."""
        incidents, run = self._incidents, self._run
        capsule = patiently(lambda: incidents.capsule(run.incident_id))
        capsule.verify()
        if capsule.sha256 != run.capsule_sha256:
            raise Rejected(
                f"expected the capsule {run.capsule_sha256[:12]}, found {capsule.sha256[:12]}: "
                "the evidence is not what the run was made for"
            )
        files = {name: capsule.read(name) for name in capsule.names()}
        findings = keys.run_record(run.number, keys.FINDINGS)
        for name, record in (
            (keys.EVENT, keys.EVENT),
            (keys.INCIDENT, keys.INCIDENT),
            (keys.FINDINGS, findings),
        ):
            try:
                files[name] = patiently(partial(incidents.read, run.incident_id, record))
            except NotFound:
                log.warning("there is no %s", record, extra=self._about)
        return files | self._records_of_before()

    def _records_of_before(self) -> dict[str, bytes]:
        """Return the records of an earlier run that this one, a replay, is to answer from."""
        names = keys.recorded(keys.TOOLS), keys.recorded(keys.TRANSCRIPT)
        found = {name: self._stored(name) for name in names}
        return {name: data for name, data in found.items() if data is not None}

    # its end, noted beside the folder

    def _note(self, ended: Exit, began: datetime, over: datetime) -> None:
        note = {"code": ended.code, "stopped": ended.stopped, "error": ended.error}
        times = {"began": began.isoformat(), "over": over.isoformat()}
        fresh = self._workspace.beside("ended.new")
        fresh.write_text(json.dumps(note | times), "utf-8")
        fresh.replace(self._workspace.beside("ended"))
        log.info("engine ended with %s", ended.code, extra=self._about)

    def _noted(self) -> tuple[Exit, datetime, datetime] | None:
        try:
            note = json.loads(self._workspace.beside("ended").read_text("utf-8"))
        except FileNotFoundError:
            return None
        began, over = (datetime.fromisoformat(note.pop(name)) for name in ("began", "over"))
        return Exit(**note), began, over

    # results

    def _hand_in(self, ended: Exit, began: datetime, over: datetime) -> Result:
        """Upload what the engine left, judge what the store then holds, write the result last."""
        run, incidents = self._run, self._incidents
        found = Collected()
        if ended.code is not None:  # else nothing ran, and whatever lies there is not the run's
            found = collect(self._workspace.path)
            log.info("workspace of %d bytes", self._workspace.size(), extra=self._about)
        said = outcome.read(self._stream(), found.files.get(keys.AGENT_LOG, b"").split(b"\n"))
        for name, data in self._outputs(found, ended).items():
            key = keys.run_record(run.number, name)
            patiently(partial(incidents.record, run.incident_id, key, data))
        status, reason = outcome.judge(
            ended,
            said,
            report=self._stored(keys.INVESTIGATION),
            diagnosis=self._stored(keys.DIAGNOSIS),
            writes_report=self._writes_report(),
        )
        result = Result(
            incident_id=run.incident_id,
            run=run.number,
            status=status,
            reason=reason,
            exit_code=ended.code,
            started_at=began,
            completed_at=over,
            engine=run.engine,
            model=(said.model if said else "") or run.model,
            skill=skills.version_given(self._environment),
            tokens=said.tokens if said else 0,
            cost_usd=said.cost_usd if said else 0.0,
            outputs=patiently(lambda: incidents.outputs(run.incident_id, run.number)),
        )
        key = keys.run_record(run.number, keys.RESULT)
        patiently(lambda: incidents.record(run.incident_id, key, result))
        return self._recorded() or result  # someone may have buried us; then that stands

    def _outputs(self, found: Collected, ended: Exit) -> dict[str, bytes]:
        """Return what is uploaded, redacted, by the record's name; the log last."""
        redactor = Redactor(self._run.incident_id, known=secrets_of(self._environment))
        outputs: dict[str, bytes] = {}
        with_log = {keys.AGENT_LOG: b""} | found.files
        for name, data in with_log.items():
            if refused := _unfit(name, data, redactor):
                found.left_out[name.encode("utf-8", "backslashreplace").decode()] = refused
            elif name != keys.AGENT_LOG:
                outputs["/".join(map(keys.part, name.split("/")))] = redactor.file(name, data)
        _settle_report(outputs)
        for name in (keys.TOOLS, keys.TRANSCRIPT):  # records of the run, not of its answer
            if f"output/{name}" in outputs:
                outputs[name] = outputs.pop(f"output/{name}")
        notes = [f"faultline: left out {n}: {why}" for n, why in sorted(found.left_out.items())]
        if ended.error and ended.code is None:
            notes.append(f"faultline: not started: {ended.error}")
        tail = "".join(f"{note}\n" for note in notes).encode("utf-8", "replace")
        whole = with_log[keys.AGENT_LOG] + tail
        return outputs | {keys.AGENT_LOG: redactor.file(keys.AGENT_LOG, whole)}

    def _stored(self, name: str) -> bytes | None:
        record = keys.run_record(self._run.number, name)
        try:
            return patiently(lambda: self._incidents.read(self._run.incident_id, record))
        except NotFound:
            return None

    def _stream(self) -> str:
        engine = self._engine()
        return engine.stream if engine else ""

    def _writes_report(self) -> bool:
        engine = self._engine()
        return engine is None or engine.writes_report

    def _engine(self) -> Engine | None:
        try:
            return engines.engine(self._run)
        except Rejected:
            return None

    # afterwards

    def _announce(self, result: Result) -> None:
        """Send `run.finished`. If nobody takes it, `sweep` finds the result."""
        run, extra = self._run, self._about | {"event": RUN_FINISHED, "status": str(result.status)}
        seconds = (result.completed_at - result.started_at).total_seconds()
        log.info("run finished: %s after %.1f s", result.status, seconds, extra=extra)
        if not (address := self._environment.get("K_SINK")):
            return
        from faultline.adapters.sink import HttpSink

        token = bearer if self._environment.get("FAULTLINE_GATEWAY") else None
        data = result.model_dump(mode="json")
        event = from_json(run.cause).run_finished(run.incident_id, run.number, data)
        try:
            HttpSink(address, sleep=time.sleep, bearer=token).send(event)
        except FaultlineError as error:
            log.warning("run.finished was not taken: %s", error, extra=extra)


class Cancellation:
    """Is the run to be stopped? By a signal to us, or by `cancel.json` in the store."""

    def __init__(self, run: Run, incidents: Incidents, stop: threading.Event) -> None:
        self._record = (run.incident_id, keys.run_record(run.number, keys.CANCEL))
        self._incidents, self._stop = incidents, stop
        self._over = threading.Event()
        self._found = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Cancellation:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def asked(self) -> bool:
        return self._stop.is_set() or self._found.is_set()

    def _poll(self) -> None:
        while not self._over.wait(_POLL_S) and not self._found.is_set():
            self._look()

    def _look(self) -> None:
        try:
            self._incidents.read(*self._record)
            self._found.set()
        except NotFound:
            pass
        except TryAgain as error:
            log.warning("cannot see whether the run is cancelled: %s", error)


def patiently(act: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Do it, and again for a while if the store does not answer: an investigation is dear."""
    for wait_s in _WAITS_S:
        try:
            return act()
        except TryAgain as error:
            log.warning("trying again in %s s: %s", wait_s, error)
            sleep(wait_s)
    return act()


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return the values of our environment that must never be seen, wherever they turn up.

    Where a variable names a file (`<VARIABLE>_FILE`), it is what the file holds, and of the folder
    of the gateway's tokens what its files hold now.
    """
    named = {k: v for k, v in environment.items() if any(word in k.upper() for word in _SECRETS)}
    folder = named.pop(TOKENS_VARIABLE, "")
    tokens = [_held(f"{folder}/{name}") for name in (TOKEN, MODEL_TOKEN) if folder]
    return [_held(v) if k.upper().endswith("_FILE") else v for k, v in named.items()] + tokens


def _held(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return path


def _home(engine: Engine) -> dict[str, bytes]:
    return {f"home/{name}": text.encode() for name, text in engine.home.items()}


def _unfit(name: str, data: bytes, redactor: Redactor) -> str:
    """Say why a collected file is not uploaded; "" if it is."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not text"
    if redactor.text(name) != name:
        return "its name holds a secret"
    if name in (keys.AGENT_LOG, *outcome.REPORT_NAMES):
        return ""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "not text, so it cannot be checked for secrets"
    return ""


def _settle_report(outputs: dict[str, bytes]) -> None:
    """Give the report its name (C-03), and a file that is no diagnosis another one."""
    for name in outcome.REPORT_NAMES:
        if name in outputs:
            outputs.setdefault(keys.INVESTIGATION, outputs[name])
    diagnosis = outputs.get(keys.DIAGNOSIS)
    if diagnosis is not None and outcome.parse_diagnosis(diagnosis) is None:
        outputs[_REFUSED_DIAGNOSIS] = outputs.pop(keys.DIAGNOSIS)
