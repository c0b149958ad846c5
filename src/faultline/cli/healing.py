"""The command `heal reset`: a person has looked, so a workload may get pull requests again."""

from __future__ import annotations

import argparse
import os

from faultline import healing_cap, keys
from faultline.bootstrap import now
from faultline.cli.common import incidents_of, print_json, say
from faultline.errors import Rejected
from faultline.incidents import Incidents


def reset(arguments: argparse.Namespace) -> int:
    memory, by = incidents_of(arguments), os.environ.get("USER") or "cli"
    key = workload_of(memory, arguments.workload)
    name = healing_cap.workload(key)
    before = healing_cap.reset(key, memory, by=by, at=now(), note=arguments.note)
    if arguments.json:
        print_json({"workload": name, "healingScore": 0, "before": before, "by": by})
    elif before:
        say(f"the healing score of {name} was {before} and is 0 now; {by} is on record for it")
        say("an incident that is open is asked again by: faultline retry <incident>")
    else:
        say(f"the healing score of {name} was 0 already; nothing is changed")
    return 0


def workload_of(memory: Incidents, text: str) -> str:
    """Return the key of the one workload with pull requests whose name ends so.

    Raises Rejected if there is none, or more than one.
    """
    known = {
        key.removeprefix(keys.HEALING).rpartition("/")[0] for key in memory.store.list(keys.HEALING)
    }
    wanted = text.strip("/").removeprefix("resource/").split("/")
    parts = {key: healing_cap.workload(key).split("/") for key in known}
    found = sorted(key for key in known if parts[key][-len(wanted) :] == wanted)
    if len(found) == 1:
        return found[0]
    names = ", ".join(map(healing_cap.workload, (found or sorted(known))[:20]))
    raise Rejected(
        f"expected one workload that got pull requests, got {text[:120]!r}"
        + (f"; there are {names}" if names else "; there is none yet")
    )
