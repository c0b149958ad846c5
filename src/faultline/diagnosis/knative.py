"""Knative: revisions that fail, triggers that lead nowhere.

A Revision makes a Deployment, whose pods the other families look at; what is said here is what they
cannot see: an image that is resolved before there is any pod, and events that are not delivered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from faultline.diagnosis.conditions import says
from faultline.diagnosis.documents import items, mapping, text
from faultline.diagnosis.facts import Facts, Object, Workload
from faultline.diagnosis.inventory import absent, within
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import HINT, LIKELY, PROVED, finding, one_line, restore
from faultline.model import Finding

SERVICE = 'metadata.labels["serving.knative.dev/service"]'
_NO_IMAGE = re.compile(
    r'Unable to fetch image "([^"\s]{1,300})".{0,400}?'
    r"(?:404 Not Found|MANIFEST_UNKNOWN|NAME_UNKNOWN|not found)",
    re.DOTALL,
)
_HINT = "conditions.knative-not-ready"
_NO_BROKER = "BrokerDoesNotExist"
_SUBSCRIBER = "spec.subscriber.ref.name"


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which revision or trigger of a workload is not ready, and why."""
    for revision in facts.of("Revision"):
        if revision.state("Ready")[0] == "False":
            if _is_own(facts, revision):
                yield _failed(facts, revision)
            else:
                yield from says(revision, "Ready", "False", _HINT)
    for trigger in facts.of("Trigger"):
        if trigger.state("Ready")[0] == "False":
            yield from _undelivered(facts, trigger)
    for broker in facts.of("Broker"):
        yield from says(broker, "Ready", "False", _HINT)


def _makes(revision: Object, workload: Workload) -> bool:
    same = revision.namespace == workload.object.namespace
    return same and workload.object.owner == ("Revision", revision.name)


def _is_own(facts: Facts, revision: Object) -> bool:
    service = text(revision.get(SERVICE))
    named = facts.names_it("Revision", revision.name) or facts.names_it("Service", service)
    return named or any(_makes(revision, w) for w in facts.workloads)


def _failed(facts: Facts, revision: Object) -> Finding:
    # proved because: Knative says that the registry does not have the image, before it makes any
    # pod, and the revision has this image.
    said = next((c for c in _CONDITIONS if _NO_IMAGE.search(revision.state(c)[2])), "Ready")
    match = _NO_IMAGE.search(revision.state(said)[2])
    images = [text(c.get("image")) for c in items(revision.get("spec.containers"))]
    missing = match is not None and match[1] in images
    pods = any(w.pods for w in facts.workloads if _makes(revision, w))
    reason = one_line(revision.state(said)[1] or "no reason given", 60)
    ran = _ran(facts, revision) if missing else None
    way = f"Go back to the image of {ran.name}." if ran else "Put right what its message says."
    what = f"its image {one_line(match[1])} does not exist" if missing and match else reason
    return finding(
        "knative.image-missing" if missing else "knative.revision-failed",
        PROVED if missing else HINT if pods else LIKELY,
        f"Revision {revision.name} failed: {what}",
        f"{revision} cannot take traffic: {what}." + (f" {ran.name} ran before." if ran else ""),
        [
            revision.cite_state(said),
            revision.cite("spec.containers[0].image") if missing else None,
            ran.cite("spec.containers[0].image") if ran else None,
        ],
        actions=[restore(way, f"{revision} or the one after it is Ready.")],
    )


_CONDITIONS = ("ContainerHealthy", "ResourcesAvailable", "Ready")


def _ran(facts: Facts, revision: Object) -> Object | None:
    """Return a revision of the same service that is ready."""
    service = text(revision.get(SERVICE))
    same = [r for r in facts.of("Revision") if service and text(r.get(SERVICE)) == service]
    ready = [r for r in same if r.state("Ready")[0] == "True"]
    return max(ready, key=lambda r: text(r.get("metadata.creationTimestamp")), default=None)


def _undelivered(facts: Facts, trigger: Object) -> Iterator[Finding]:
    subscriber = text(trigger.get(_SUBSCRIBER))
    served = [w for w in facts.workloads if subscriber and subscriber in _names(w)]
    subject = facts.names_it("Trigger", trigger.name)
    well = subject or all(w.well for w in served)
    wrong = _no_broker(facts, trigger) or _no_subscriber(facts, trigger)
    if not wrong or not (subject or served):
        yield from says(trigger, "Ready", "False", _HINT)
        return
    # proved because: Knative says that broker or subscriber does not exist, the trigger names it,
    # and the workload that would get the events has nothing else.
    condition, field, kind, near = wrong
    name = text(trigger.get(field))
    yield finding(
        "knative.trigger-leads-nowhere",
        PROVED if well else HINT,
        f"Trigger {trigger.name} names a {kind} that does not exist: {one_line(name)}",
        f"{trigger} delivers nothing: there is no {kind} {one_line(name)}."
        + (f" There is {near}." if near else ""),
        [
            trigger.cite_state(condition),
            trigger.cite(field),
            absent(facts, kind, trigger.namespace, name),
        ],
        actions=[restore(f"Name {near or 'one that exists'}.", f"{trigger} is Ready.")],
    )


Wrong = tuple[str, str, str, str]  # condition, field, kind, a near name


def _no_broker(facts: Facts, trigger: Object) -> Wrong | None:
    _, reason, _ = trigger.state("BrokerReady")
    name = text(trigger.get("spec.broker"))
    if reason != _NO_BROKER or name in facts.names("Broker"):
        return None
    return "BrokerReady", "spec.broker", "Broker", nearest(name, facts.names("Broker"))


def _no_subscriber(facts: Facts, trigger: Object) -> Wrong | None:
    status, _, message = trigger.state("SubscriberResolved")
    name, kind = text(trigger.get(_SUBSCRIBER)), text(trigger.get("spec.subscriber.ref.kind"))
    kinds = ("KnativeService", "Service")
    there = {s.name for k in kinds for s in within(facts, k, trigger.namespace)}
    if status != "False" or "not found" not in message or f'"{name}"' not in message:
        return None
    return (
        None if name in there else ("SubscriberResolved", _SUBSCRIBER, kind, nearest(name, there))
    )


def _names(workload: Workload) -> set[str]:
    """Names by which a trigger could lead to the workload, or was meant to."""
    labels = mapping(workload.object.get("metadata.labels"))
    return {workload.object.name, text(labels.get("serving.knative.dev/service"))} - {""}
