"""Commands that read the store: incidents, show, tail, replay, parked, routes, config check."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from faultline import views
from faultline.bootstrap import now
from faultline.cli.common import incidents_of, newest_of, print_json, resolve, say, settings_of
from faultline.incidents import Incidents
from faultline.model import Incident, Status
from faultline.style import paint, paint_diff


def incidents(arguments: argparse.Namespace) -> int:
    memory = incidents_of(arguments)
    rows = [row for row in _rows(memory) if arguments.status in (None, row["status"])]
    if arguments.json:
        print_json(rows)
    elif not rows:
        say("no incidents yet; `faultline demo` makes one, `faultline send alert FILE` another")
    else:
        for row in rows:
            status = f"{row['status']:<14}"
            colour = "green" if row["status"] == "closed" else "yellow"
            say(f"{row['incident']:<42} {paint(status, colour, sys.stdout)} {row['what']}")
    return 0


def _rows(memory: Incidents) -> Iterator[dict[str, str]]:
    for incident_id in memory.ids():
        status = memory.status(incident_id)
        if status:
            incident = memory.incident(incident_id)
            yield {
                "incident": incident_id,
                "status": status.value,
                "severity": incident.fault.severity.value,
                "opened_at": incident.opened_at.isoformat(),
                "what": f"{incident.fault.name} {_where(incident)}",
            }


def _where(incident: Incident) -> str:
    resource = incident.fault.resource
    return f"{resource.namespace or '-'}/{resource.name}" if resource else incident.fault.cluster


def show(arguments: argparse.Namespace) -> int:
    memory = incidents_of(arguments)
    incident_id = resolve(memory, arguments.incident)
    case = views.load(memory, incident_id)
    if arguments.json:
        print_json(views.as_json(case, now()))
    else:
        say(paint_diff(views.result_text(case), sys.stdout))
    return 0


def tail(arguments: argparse.Namespace) -> int:
    """Print timeline entries as they appear; ends with `--until`, or by Ctrl-C."""
    memory = incidents_of(arguments)
    only = resolve(memory, arguments.incident) if arguments.incident else None
    seen: set[tuple[str, str]] = set()
    while True:
        waited_for = only or newest_of(memory)
        for incident_id in [only] if only else list(memory.ids()):
            if memory.status(incident_id) is not None:
                _print_new(memory, incident_id, seen)
        if arguments.until and waited_for and _as_far(memory.status(waited_for), arguments.until):
            _print_new(memory, waited_for, seen)
            return 0
        time.sleep(0.5)


def _print_new(memory: Incidents, incident_id: str, seen: set[tuple[str, str]]) -> None:
    for entry in views.load(memory, incident_id).timeline:
        if (incident_id, entry.what) not in seen:
            seen.add((incident_id, entry.what))
            say(f"{entry.at:%H:%M:%S} {incident_id} {entry.what}")


def _as_far(status: Status | None, until: str) -> bool:
    """Is it that far, or farther? One that closed is not going to be packaged any more."""
    order = list(Status)
    return status is not None and order.index(status) >= order.index(Status(until))


def replay(arguments: argparse.Namespace) -> int:
    from faultline.bootstrap import policy
    from faultline.replay import replay as again

    memory = incidents_of(arguments)
    incident_id = resolve(memory, arguments.incident)
    if arguments.with_engine:
        from faultline.cli.casework import ask_again

        return ask_again(memory, incident_id, arguments)
    rules = policy(settings_of(arguments)[0])
    replayed = again(memory, incident_id, arguments.run, rules, first=arguments.first)
    if arguments.json:
        print_json({"same": replayed.same, "different": replayed.different})
        return 0 if replayed.identical else 1
    say(paint_diff(replayed.text, sys.stdout))
    count = len(replayed.same) + len(replayed.different)
    if replayed.identical:
        words = f"identical: {count} of {count} records came out byte for byte as recorded"
        say(paint(words, "green", sys.stdout))
        return 0
    for name in replayed.different:
        say(paint(f"different: {name}", "red", sys.stdout))
    say(f"{len(replayed.same)} of {count} records came out as recorded")
    return 1


def parked(arguments: argparse.Namespace) -> int:
    from faultline.web.acts import Acts

    letters = Acts(incidents_of(arguments), None, now).dead_letters()
    found = [
        {
            "key": f"parked/{letter['day']}/{letter['name']}",
            "reason": letter["reason"],
            "by": letter["by"],
            "type": (letter["event"] or {}).get("type", ""),
        }
        for letter in letters
    ]
    if arguments.json:
        print_json(found)
    elif not found:
        say("nothing is parked: no event was given up")
    else:
        for row in found:
            say(f"{row['key']}\n    {row['type'] or 'no event'}, {row['by']}: {row['reason']}")
        say("send one again, once its cause is mended: faultline resend KEY")
    return 0


def routes(arguments: argparse.Namespace) -> int:
    import yaml

    from faultline.broker.triggers import load, manifest_text
    from faultline.routes import STEPS

    text = manifest_text()
    retries = {trigger.name: trigger.delivery.retry for trigger in load(text)}
    rows = [
        {
            "event": document["spec"]["filter"]["attributes"]["type"],
            "step": (step := document["spec"]["subscriber"]["ref"]["name"]),
            "answers_with": _reply_of(STEPS[step]) if document["metadata"]["name"] == step else "",
            "retry": retries[document["metadata"]["name"]],
        }
        for document in yaml.safe_load_all(text)
        if document and document["kind"] == "Trigger"
    ]
    if arguments.json:
        print_json(rows)
        return 0
    say(f"{'event':<34} {'step':<9} {'retries':<8} answers with")
    for row in rows:
        say(f"{row['event']:<34} {row['step']:<9} {row['retry']:<8} {row['answers_with']}")
    return 0


def _reply_of(step: object) -> str:
    module = sys.modules[getattr(step, "__module__", "faultline")]
    first = (module.__doc__ or "").splitlines()[0]
    return first.partition(" -> ")[2]


def config_check(arguments: argparse.Namespace) -> int:
    from faultline import bootstrap
    from faultline.settings import fields, secret, value

    settings, origins = settings_of(arguments)
    bootstrap.check(settings)
    bootstrap.code_hosts(settings)
    bootstrap.messengers(settings)
    rows = {}
    for name, (variable, field) in fields().items():
        shown = value(settings, name)
        if secret(name):
            shown = "(set)" if shown else ""
        rows[name] = {"value": shown, "from": origins[name], "variable": variable,
                      "says": field.description}  # fmt: skip
    if arguments.json:
        print_json(rows)
        return 0
    for name, row in rows.items():
        origin = paint(str(row["from"]), "dim", sys.stdout)
        say(f"{name:<40} {row['value']!s:<34} {origin}")
    return 0
