"""Claims that wait for a storage class that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator

from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Object, Workload
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import PROVED, becomes_ready, finding, one_line, restore
from faultline.model import Change, Finding

_NO_CLASS = re.compile(r'storageclass\.storage\.k8s\.io "([^"\s]{1,253})" not found')


def classless(workload: Workload, claim: Object) -> Iterator[Finding]:
    # proved because: the claim waits, and its controller does not find the class that it names.
    name, classes = text(claim.get("spec.storageClassName")), workload.facts.names("StorageClass")
    for happening in workload.facts.happenings:
        match = _NO_CLASS.search(happening.message)
        about = happening.kind == "PersistentVolumeClaim" and happening.name == claim.name
        if not match or not about or match[1] != name or claim.get("status.phase") == "Bound":
            continue
        better = nearest(name, classes)
        # a StatefulSet's claim stands in no file, and its template of claims cannot be changed
        of_set = workload.object.kind == "StatefulSet" and claim.name.endswith(
            tuple(f"-{p.name}" for p in workload.pods)
        )
        change = Change(
            target=claim.target,
            field="spec.storageClassName",
            before=name,
            after=better,
            reason="the class that exists",
        )
        yield finding(
            "volumes.class-missing",
            PROVED,
            f"The claim {claim.name} asks for a storage class that does not exist",
            f"{workload} waits for the PersistentVolumeClaim {claim.name}: there is no storage "
            f"class {one_line(name)}." + (f" There is {better}." if better else ""),
            [happening.cite(), claim.cite("spec.storageClassName")],
            actions=[
                restore(f"Ask for {better or 'a class that exists'}.", becomes_ready(workload))
            ],
            changes=[change] if better and not of_set else (),
        )
        return
