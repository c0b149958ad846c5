"""ping -> change.merged, rollout.synced, fix.verified, fix.failed

Follow each incident of the last days until it is known whether its fix held: did people merge what
we proposed, or change it themselves; did it clear, and stay quiet? Reads Git and writes nothing
there; a ping may name those to look at now. Sends several events, like `sweep`; judged is in
`verification.py` and `shadow.py`.

A record comes before its event, and a note that it was sent after it: a crash in between sends the
same event again, under the same id.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from faultline import keys, shadow, views
from faultline.aftermath import aftermath
from faultline.errors import FaultlineError
from faultline.event import FIX_FAILED, FIX_VERIFIED, Event
from faultline.fixes import Shadow
from faultline.limits import settled_after_s
from faultline.ports import Ports
from faultline.steps import looks
from faultline.steps.close import ask, live_run
from faultline.steps.sweep import looked_at
from faultline.verification import news, settle, worth_asking, worth_looking

log = logging.getLogger(__name__)

Repository = Callable[[], tuple[Mapping[str, bytes], str]]  # manifests by path, their revision


def verify(event: Event, ports: Ports) -> Event | None:
    read = functools.cache(lambda: (ports.manifests.files(), ports.manifests.revision()))
    incidents, now, days = ports.incidents, ports.clock(), ports.policy.sweep_days
    named = looks(event)
    for incident_id in looked_at(incidents, now, days, step=keys.VERIFY):
        if incident_id[9:] in named if named else worth_looking(incident_id, now):
            look_after(incident_id, ports, read, now=bool(named))
    return None


def look_after(incident_id: str, ports: Ports, read: Repository, *, now: bool) -> None:
    """Record what is new about one incident's fix; then show it, then say it.

    `now`: someone says that there is something to see, so it is looked for out of turn.
    """
    seen = replace(ports, incidents=ports.incidents.snapshot(incident_id))
    names = seen.incidents.names(incident_id)
    if _at_rest(incident_id, names, seen):
        ports.incidents.settle(incident_id, keys.VERIFY, at=ports.clock())
        return
    fixed = _fixed(names) or (_proposed(names) and (now or _is_time(incident_id, ports)))
    due = follow(incident_id, names, seen, read) if keys.INCIDENT in names and fixed else []
    if due:
        case = views.load(ports.incidents, incident_id)
        ports.incidents.put_view(incident_id, keys.README, views.readme(case))
    for type, data in due:
        announce(incident_id, type, data, ports)


def _at_rest(incident_id: str, names: frozenset[str], ports: Ports) -> bool:
    """Say whether there is nothing more to say of its fix: it was said, or nothing was proposed,
    and whoever was at work when the incident closed is not any more."""
    if {keys.announced(FIX_VERIFIED), keys.announced(FIX_FAILED)} & names:
        return True
    if _fixed(names) or _proposed(names) or live_run(ports.incidents, incident_id):
        return False
    closed = ports.incidents.closed(incident_id)
    return closed is not None and (ports.clock() - closed.at).total_seconds() >= settled_after_s


def follow(
    incident_id: str, names: frozenset[str], ports: Ports, read: Repository
) -> list[tuple[str, dict[str, Any]]]:
    """Record what is new about one incident's fix; return what is to be said of it."""
    try:
        ask(incident_id, ports)
        hear(incident_id, ports)
        if keys.CLOSED in names:
            look(incident_id, ports, read)
    except FaultlineError as error:  # one repository is down: the others go on, and so does time
        log.warning("cannot look for a fix: %s", error, extra={"incident": incident_id})
    if keys.CLOSED in names and keys.VERIFIED not in names:
        judge(incident_id, ports)
    found = aftermath(ports.incidents, incident_id)
    return [item for item in news(found) if keys.announced(item[0]) not in names]


def _fixed(names: frozenset[str]) -> bool:
    return keys.SHADOW in names or any(name.startswith("merged/") for name in names)


def _proposed(names: frozenset[str]) -> bool:
    """Say whether there is anything that people could have merged or made themselves."""
    return any(name.startswith("published/") or name.endswith("/" + keys.CHANGE) for name in names)


def _is_time(incident_id: str, ports: Ports) -> bool:
    opened_at = ports.incidents.incident(incident_id).opened_at
    return worth_asking(incident_id, opened_at, ports.clock())


def announce(incident_id: str, type: str, data: dict[str, Any], ports: Ports) -> None:
    """Send an event, and note that it was sent. What opened the incident is its cause: one id."""
    opener = ports.incidents.opener(incident_id)
    said = opener.caused(type, source="/faultline/verify", subject=incident_id, data=data)
    ports.sink.send(said)
    ports.incidents.note_announced(incident_id, said, at=ports.clock())


def hear(incident_id: str, ports: Ports) -> None:
    """Take over from what Argo CD or Flux said when our merge reached the cluster."""
    incidents = ports.incidents
    if incidents.synced(incident_id) is None:
        revisions = [merge.revision for merge in incidents.merges(incident_id) if merge.revision]
        found = [synced for revision in revisions for synced in incidents.deliveries(revision)]
        if found:
            incidents.record(incident_id, keys.SYNCED, found[-1])


def look(incident_id: str, ports: Ports, read: Repository) -> None:
    """Look for people's own fix: the fault is over, and the manifests are not as they were."""
    incidents = ports.incidents
    number = max(incidents.run_numbers(incident_id), default=0)
    proposal, result = (
        incidents.proposal(incident_id, number),
        incidents.result(incident_id, number),
    )
    if proposal is None or proposal.empty or result is None or incidents.merges(incident_id):
        return
    if incidents.shadow(incident_id) or incidents.later(incidents.incident(incident_id)):
        return  # what they changed since may be about the next episode
    files, revision = read()
    if compared := shadow.compare(proposal, files):
        now = ports.clock()
        record = Shadow(
            at=now,
            run=number,
            revision=revision,
            changes=compared,
            score=shadow.score(compared),
            ahead_s=round((now - result.completed_at).total_seconds(), 3),
        )
        incidents.record(incident_id, keys.SHADOW, record)


def judge(incident_id: str, ports: Ports) -> None:
    """Record whether the fix held, once that can be said."""
    found = aftermath(ports.incidents, incident_id)
    if verification := settle(found, ports.clock(), ports.policy.quiet_s):
        ports.incidents.record(incident_id, keys.VERIFIED, verification)
