"""What one run may read and write of the store. Pure.

It reads its evidence, it writes its own results, each once. What others write into its folder it
cannot write before them: its orders, the word that it shall stop, and what is made of its answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import ValidationError

from faultline import keys
from faultline.answers import reason
from faultline.errors import NotAllowed, Rejected
from faultline.event import RUN_FINISHED, Event
from faultline.model import Diagnosis, Result

_POD = re.compile(rf"({keys.INCIDENT_ID.pattern})-([1-9][0-9]{{0,3}})-[a-z0-9]{{5}}")
_EVIDENCE = (keys.EVENT, keys.INCIDENT, keys.PROMPT)
_OTHERS_WRITE = (keys.RUN, keys.FINDINGS, keys.CANCEL, keys.PACKAGED, keys.CHANGE)


class Asker(NamedTuple):
    """The run whose pod asks."""

    incident_id: str
    number: int

    @property
    def run_id(self) -> str:
        return f"{self.incident_id}-{self.number}"


def asker_of(pod: str) -> Asker:
    """Return the run of a Job's pod: `<run id>-<five characters>`. Raises NotAllowed."""
    match = _POD.fullmatch(pod)
    if match is None:
        raise NotAllowed(f"expected the pod of an agent run, got {pod[:80]!r}")
    return Asker(match[1], int(match[2]))


def check_read(asker: Asker, key: str) -> None:
    """Raise NotAllowed unless this run may read this key."""
    name = _within(asker, key)
    run = keys.run_of(name)
    own = run is not None and run[0] == asker.number
    if not (own or name in _EVIDENCE or name.startswith("context/")):
        raise NotAllowed(f"this run may not read {key[:200]!r}: only its evidence and its own run")


def check_list(asker: Asker, prefix: str) -> None:
    """Raise NotAllowed unless this run may list what starts so."""
    own = keys.run_record(asker.number, "")
    if not _within(asker, prefix).startswith((own, "context/")):
        raise NotAllowed(f"this run may not list {prefix[:200]!r}: only its evidence and its run")


def check_write(asker: Asker, key: str, *, once: bool) -> None:
    """Raise NotAllowed unless this run may write this key, and says that it writes it once."""
    number, name = keys.run_of(_within(asker, key)) or (0, "")
    others = name in _OTHERS_WRITE or name.startswith(keys.recorded(""))
    if number != asker.number or others:
        raise NotAllowed(f"this run may not write {key[:200]!r}: only its own results")
    if not once:
        raise NotAllowed("results are written once: expected the header if-none-match: *")


def check_form(asker: Asker, key: str, data: bytes) -> None:
    """Raise Rejected for a result or a diagnosis that nobody could read.

    The runtime writes none; an engine with a shell could, in its place, and hold everyone up.
    """
    _, name = keys.run_of(_within(asker, key)) or (0, "")
    try:
        if name == keys.DIAGNOSIS:
            Diagnosis.model_validate_json(data)
        result = Result.model_validate_json(data) if name == keys.RESULT else None
    except ValidationError as error:
        raise Rejected(f"{name}: {reason(error)}") from None
    if result and (result.incident_id, result.run) != asker:
        raise NotAllowed(f"expected the result of run {asker.run_id}")


def check_event(asker: Asker, event: Event) -> None:
    """Raise NotAllowed for anything but the word that this run is over."""
    data = event.data if isinstance(event.data, dict) else {}
    if event.type != RUN_FINISHED or event.subject != asker.incident_id:
        raise NotAllowed(f"expected {RUN_FINISHED} of {asker.incident_id}, got {event.type[:80]!r}")
    if data.get("run") != asker.number or data.get("incident_id") != asker.incident_id:
        raise NotAllowed(f"expected the result of run {asker.number} in the event's data")


def _within(asker: Asker, key: str) -> str:
    """Return a key's name within the incident's folder. Raises NotAllowed outside of it."""
    folder = keys.incident(asker.incident_id)
    name = key.removeprefix(folder)
    *above, last = name.split("/")
    if not key.startswith(folder) or {"", ".", ".."} & {*above, last or "a prefix"}:
        raise NotAllowed(f"expected a key below {folder}, got {key[:200]!r}")
    return name
