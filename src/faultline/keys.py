"""Every key of the store, built and parsed here and nowhere else; the layout is `docs/contract.md`.

People read the bucket with a file browser, so keys are words and sort by time. Parts that come from
outside are percent-encoded, `.` and `..` refused, long ones cut and ended with a hash: a key never
leaves its folder, whatever a label says.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from urllib.parse import quote

from faultline.errors import Rejected
from faultline.limits import incident_name_chars_max, key_part_bytes_max, seen_seconds

# records of an incident, relative to its folder
EVENT = "event.json"
INCIDENT = "incident.json"
README = "README.md"
CLOSED = "closed.json"
SHADOW = "shadow.json"
VERIFIED = "verified.json"
SYNCED = "synced.json"
PROMPT = "PROMPT.md"
INDEX = "context/index.json"
REPORT = "report/index.html"
PATCH = "report/changes.patch"

# records of a run, relative to its folder; see `run_record`
RUN = "run.json"
FINDINGS = "findings.json"
RESULT = "result.json"
CHANGE = "change.json"
PACKAGED = "packaged.json"
CANCEL = "cancel.json"
TOOLS = "tools.jsonl"
TRANSCRIPT = "model.jsonl"
INVESTIGATION = "output/investigation.md"
DIAGNOSIS = "output/diagnosis.json"
AGENT_LOG = "output/agent.log"

PROBE = "probe.txt"
BUCKET_README = "README.md"
INCIDENTS = "incidents/"
CLAIMS = "claims/"
OPENED = "opened/"
WAITING = "waiting/"

# who may be done with an incident; see `settled`
SWEEP = "sweep"
VERIFY = "verify"
LEDGER = "ledger/"
HEALING = "healing/"

INCIDENT_ID = re.compile(r"[0-9]{8}-[a-z0-9-]{1,24}-[0-9a-f]{8}")
_ATTEMPT = re.compile(rf"({INCIDENT_ID.pattern})\.([0-9a-f]{{16}})\.json")
_RUN_KEY = re.compile(r"runs/([1-9][0-9]{0,3})/(.+)")

_TYPES = {
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "yaml": "application/yaml",
    "html": "text/html; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "log": "text/plain; charset=utf-8",
    "patch": "text/x-diff; charset=utf-8",
}


def part(text: str) -> str:
    """Encode foreign text as one part of a key. Raises Rejected for an empty part, `.` and `..`."""
    if text in ("", ".", ".."):
        raise Rejected(f"expected a name that can be a folder, got {text!r}")
    encoded = quote(text, safe="-_.~", errors="surrogatepass")
    if len(encoded) <= key_part_bytes_max:
        return encoded
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return re.sub(r"%[0-9A-F]?$", "", encoded[: key_part_bytes_max - 17]) + "-" + digest


def incident_id(day: dt.date, name: str, cause: str) -> str:
    """Return `<yyyymmdd>-<name>-<8 hex>`; the hex is of `cause`, the opening event's identity."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:incident_name_chars_max].strip("-")
    digest = hashlib.sha256(cause.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{day.isoformat().replace('-', '')}-{plain or 'fault'}-{digest}"


def checked_incident_id(text: str) -> str:
    """Return `text` if it is an incident's id, else raise Rejected."""
    if INCIDENT_ID.fullmatch(text) is None:
        raise Rejected(f"expected an incident id such as 20261121-api-5c1e9b2a, got {text[:80]!r}")
    return text


def incident(incident_id: str, name: str = "") -> str:
    """Return the key of one record of an incident, or its folder with the slash."""
    if name.startswith("/") or ".." in name.split("/"):
        raise Rejected(f"expected a record's name inside the incident, got {name[:80]!r}")
    return f"{INCIDENTS}{checked_incident_id(incident_id)}/{name}"


def run_record(number: int, name: str) -> str:
    """Return the name of a run's record within its incident: `runs/<n>/<name>`."""
    return f"runs/{number}/{name}"


def run_of(name: str) -> tuple[int, str] | None:
    """Take `runs/<n>/<name>` apart; None if the record belongs to no run."""
    match = _RUN_KEY.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def recorded(name: str) -> str:
    """Return the name of a record of an earlier run that a run is to answer from."""
    return f"recorded/{name}"


def detected(occurrence: str) -> str:
    return f"faults/{part(occurrence)}/detected.json"


def fault_cleared(occurrence: str) -> str:
    return f"faults/{part(occurrence)}/cleared.json"


def occurrence_of(name: str) -> tuple[str, str] | None:
    """Take `faults/<occurrence>/<what>.json` apart into occurrence and what."""
    match = re.fullmatch(r"faults/([^/]+)/(detected|cleared)\.json", name)
    return (match[1], match[2]) if match else None


def began_at(name: str) -> dt.datetime | None:
    """Return when the occurrence began that a `faults/…/detected.json` is about; else None."""
    match = re.fullmatch(r"faults/[^/]+-(\d{8}T\d{12})Z/detected\.json", name)
    return dt.datetime.strptime(match[1] + "+0000", "%Y%m%dT%H%M%S%f%z") if match else None


def seen(occurrence: str, at: dt.datetime) -> str:
    """Return the name of the record that a fault was said again, once in each interval."""
    return f"faults/{part(occurrence)}/seen/{_interval(at, seen_seconds):%Y%m%dT%H%M}.json"


def seen_at(name: str) -> dt.datetime | None:
    """Return when such a record says that a fault was said again; None for any other."""
    match = re.fullmatch(r"faults/[^/]+/seen/(\d{8}T\d{4})\.json", name)
    return dt.datetime.strptime(match[1] + "+0000", "%Y%m%dT%H%M%z") if match else None


def calm(day: dt.date, incident_id: str = "") -> str:
    """Return the key that says that an incident's faults were all over that day; or its folder."""
    name = f"{checked_incident_id(incident_id)}.txt" if incident_id else ""
    return f"calm/{day:%Y%m%d}/{name}"


def nudged(status: str, run: int, nth: int) -> str:
    """Return the name of the record that an incident which stood still was nudged."""
    return f"nudges/{status}-{run}-{nth}.json"


def receipt(outlet: str) -> str:
    return f"published/{part(outlet)}.json"


def dry_run(name: str) -> str:
    """Return the name of what a dry run would have sent."""
    return f"dry-run/{part(name)}"


def merged(outlet: str) -> str:
    return f"merged/{part(outlet)}.json"


def told(event_type: str) -> str:
    """Return the name of the record that outlets were told of this event."""
    return f"announced/told-{part(event_type)}.json"


def synced(revision: str, what: str = "") -> str:
    """Return the key that says what delivered a commit, or the folder of all that did."""
    return f"synced/{part(revision)}/" + (f"{part(what)}.json" if what else "")


def announced(event_type: str) -> str:
    """Return the name of the record that this event about the incident was sent."""
    return f"announced/{part(event_type)}.json"


def claims(correlation_key: str) -> str:
    """Return the folder of a key's claims. The key comes from `correlate.py`, already in parts."""
    return f"{CLAIMS}{correlation_key}/"


def claim(correlation_key: str, episode: int) -> str:
    return f"{claims(correlation_key)}{episode:04d}.json"


def episode_of(key: str) -> int:
    """Return the episode of a claim's key."""
    return int(key.rsplit("/", 1)[1].removesuffix(".json"))


def opened(claim: str) -> str:
    """Return the key that says that a claim's incident is open; from the key of the claim."""
    return OPENED + claim.removeprefix(CLAIMS)


def cleared(occurrence: str) -> str:
    return f"cleared/{part(occurrence)}.json"


def ledger(line: int) -> str:
    """Return the key of a line of the ledger of agent runs; a page is a folder of 1,000 lines."""
    return f"{LEDGER}{line // 1000:06d}/{line:09d}.json"


def line_of(key: str) -> int:
    """Return the line of a ledger's key."""
    return int(key.rsplit("/", 1)[1].removesuffix(".json"))


def healing(correlation_key: str, name: str = "") -> str:
    """Return the folder of a workload's pull requests and resets, or the key of one of them."""
    return f"{HEALING}{correlation_key}/{name}"


def attempt(incident_id: str, reference: str) -> str:
    """Return the name of a pull request in that folder: whose it is, and 16 hex digits of how its
    outlet names it."""
    digest = hashlib.sha256(reference.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{checked_incident_id(incident_id)}.{digest}.json"


def attempt_of(name: str) -> tuple[str, str] | None:
    """Take the name of a pull request apart into incident and digest; None if it is a reset."""
    match = _ATTEMPT.fullmatch(name)
    return (match[1], match[2]) if match else None


def healing_reset(what: str) -> str:
    """Return the name of a reset in that folder: of a time, or of the incident that brought it."""
    return f"reset-{part(what)}.json"


def waiting(incident_id: str, number: int) -> str:
    """Return the key that says a run waits for an agent, below the day of its incident."""
    day = checked_incident_id(incident_id)[:8]
    return f"{WAITING}{day}/{incident_id}-{number}.json"


def settled(day: str, incident_id: str = "", step: str = "") -> str:
    """Return the key that says that a step is done with an incident, or the folder of its day."""
    folder = f"settled/{part(day)}/"
    return folder + f"{checked_incident_id(incident_id)}/{part(step)}.json" if step else folder


def ignored(day: dt.date, occurrence: str) -> str:
    return f"ignored/{day:%Y-%m-%d}/{part(occurrence)}.json"


def parked(day: dt.date, event_id: str) -> str:
    return f"parked/{day:%Y-%m-%d}/{part(event_id)}.json"


def payload(day: dt.date, body: bytes) -> str:
    return f"payloads/{day:%Y-%m-%d}/{hashlib.sha256(body).hexdigest()}.json"


def data(day: dt.date, body: bytes) -> str:
    return f"data/{day:%Y-%m-%d}/{hashlib.sha256(body).hexdigest()}.json"


def pace(outlet: str, what: str, at: dt.datetime, name: str = "") -> str:
    """Return the key of a record of a channel's pace in this hour, or its folder with the slash.

    `what`: seconds, asked, lines, turns, edits.
    """
    return f"pace/{part(outlet)}/{what}/{at:%Y%m%d%H}/{name}"


def heartbeats(cluster: str, day: dt.date) -> str:
    """Return the folder of a day's heartbeats of a cluster."""
    return f"heartbeats/{part(cluster)}/{day:%Y-%m-%d}/"


def heartbeat(cluster: str, at: dt.datetime, interval_s: int) -> str:
    """Return the key that says a heartbeat was heard in this interval."""
    moment = _interval(at, interval_s)
    return f"{heartbeats(cluster, moment.date())}{moment:%H%M%S}.txt"


def _interval(at: dt.datetime, interval_s: int) -> dt.datetime:
    seconds = int(at.timestamp()) // interval_s * interval_s
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def watched(cluster: str, kind: str, fingerprint: str = "") -> str:
    """Return the folder of what the watch on a kind saw go wrong, or of one condition of that."""
    folder = f"watch/{part(cluster)}/{part(kind)}/"
    return f"{folder}{part(fingerprint)}/" if fingerprint else folder


def watched_once(folder: str, number: int, *, over: bool = False) -> str:
    """Return the key of a condition's occurrence, counted from 1, or of its end."""
    return f"{folder}{number:04d}{'-over' if over else ''}.json"


def data_sha256(key: str) -> str:
    """Return the hash in a `data/` key. Raises Rejected for anything that is not such a key."""
    match = re.fullmatch(r"data/\d{4}-\d\d-\d\d/([0-9a-f]{64})\.json", key)
    if match is None:
        raise Rejected(
            f"expected a dataref such as data/2026-11-21/<sha256>.json, got {key[:120]!r}"
        )
    return match[1]


def content_type(key: str) -> str:
    """Return the content type by the key's ending. Only our own `report/` and READMEs are pages."""
    ending = key.rsplit(".", 1)[-1]
    if ending == "html" and not key.endswith(REPORT):
        return "text/plain; charset=utf-8"
    return _TYPES.get(ending, "application/octet-stream")
