"""Volumes that cannot be had: claims that are not there, disks that another node holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from faultline.diagnosis.documents import item, items, mapping, text
from faultline.diagnosis.facts import Facts, Workload
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.storage_classes import classless
from faultline.diagnosis.wording import LIKELY, PROVED, becomes_ready, finding, restore
from faultline.diagnosis.zones import elsewhere
from faultline.model import Finding

_NO_CLAIM = re.compile(r'persistentvolumeclaim "([^"\s]{1,253})" not found')
_HELD = re.compile(r'Multi-Attach error for volume "([^"\s]{1,253})"')


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say which claim, class or attachment keeps pods from starting."""
    for workload in facts.workloads:
        if all(part.ready for part in workload.parts):
            continue
        claims = {
            text(mapping(v.get("persistentVolumeClaim")).get("claimName")): text(v.get("name"))
            for v in items(workload.get("spec.volumes"))
        }
        yield from _missing(workload, claims)
        mounted = {*claims, *_of_pods(workload)}
        for said in islice(workload.happenings("FailedScheduling"), 1):
            yield from elsewhere(workload, mounted, said)
        for claim in facts.of("PersistentVolumeClaim"):
            if claim.name in mounted and claim.namespace == workload.object.namespace:
                yield from classless(workload, claim)
        yield from _held(workload)


def _of_pods(workload: Workload) -> Iterator[str]:
    """Claims that only the pods name: those that a StatefulSet makes."""
    for pod in workload.pods:
        for volume in pod.items("spec.volumes"):
            yield text(mapping(volume.get("persistentVolumeClaim")).get("claimName"))


def _missing(workload: Workload, claims: dict[str, str]) -> Iterator[Finding]:
    # proved because: the scheduler says that the claim does not exist, and the template names it.
    for happening in workload.happenings("FailedScheduling"):
        match = _NO_CLAIM.search(happening.message)
        there = workload.facts.names("PersistentVolumeClaim")
        if not match or match[1] not in claims or match[1] in there:
            continue
        name = match[1]
        field = f"{item('spec.volumes', 'name', claims[name])}.persistentVolumeClaim.claimName"
        was = workload.was(field)
        better = text(was.value) if was and was.value in there else nearest(name, there)
        yield finding(
            "volumes.claim-missing",
            PROVED,
            f"There is no PersistentVolumeClaim {name}",
            f"{workload} mounts the PersistentVolumeClaim {name}, which does not exist."
            + (f" There is {better}." if better else ""),
            [happening.cite(), workload.cite(field)],
            actions=[
                restore(f"Use {better}." if better else "Create it.", becomes_ready(workload))
            ],
            changes=[workload.change(field, better, "the claim that exists")] if better else (),
        )
        return


def _held(workload: Workload) -> Iterator[Finding]:
    for happening in workload.happenings("FailedAttachVolume"):
        if match := _HELD.search(happening.message):
            yield finding(
                "volumes.held-elsewhere",
                LIKELY,
                f"The volume {match[1]} is attached to another node",
                f"{workload} waits for the volume {match[1]}, which another node still has.",
                [happening.cite()],
            )
            return
