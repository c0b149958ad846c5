"""Registries that deny: the pull secret that a workload names and that is not there any more."""

from __future__ import annotations

import re

from faultline.diagnosis.documents import items, text
from faultline.diagnosis.facts import Part
from faultline.diagnosis.quantities import nearest
from faultline.diagnosis.wording import PROVED, becomes_ready, finding, one_line, restore
from faultline.model import Evidence, Finding

WITHOUT_CREDENTIALS = (
    "the registry answers 401 because it was asked without credentials: the pod has no "
    "imagePullSecrets"
)
_ANONYMOUS = re.compile(r"anonymous token.{0,400}401 Unauthorized|no basic auth credentials")
_SECRET = re.compile(r"image pull secrets \(([^)\s]+)\)")


def anonymous(part: Part, message: str) -> bool:
    """Say whether the registry was asked without credentials and wants some."""
    # proved because: the runtime says that it asked anonymously and was denied, and the pods, into
    # which the API server copies those of the account, have no imagePullSecrets.
    without = not any(p.get("spec.imagePullSecrets") for p in part.workload.pods)
    return without and bool(_ANONYMOUS.search(message))


def missing_secret(part: Part, image: str, cited: Evidence | None) -> Finding | None:
    """The registry denies, and the pull secret is not there or was taken away."""
    workload, field = part.workload, "spec.imagePullSecrets"
    names = [text(s.get("name")) for s in items(workload.get(field))]
    was = workload.was(field)
    before = [n for s in items(was.value if was else None) if (n := text(s.get("name")))]
    for happening in workload.happenings("FailedToRetrieveImagePullSecret"):
        match = _SECRET.search(happening.message)
        secrets = workload.facts.names("Secret")
        if match and match[1] in names and match[1] not in secrets:
            # proved because: denied, and the kubelet does not find the secret that is named.
            name, path = match[1], f"{field}[name={match[1]}].name"
            better = nearest(name, secrets) or next(iter(before), "")
            return _secret(
                part,
                image,
                f"its pull secret {name} does not exist",
                better,
                path,
                [cited, happening.cite(), workload.cite(path)],
            )
    if before and not names and was:
        # proved because: denied, and the revision before pulled with a secret that is gone.
        words = f"revision {was.revision} pulled with the secret {before[0]}, this one has none"
        return _secret(part, image, words, before[0], f"{field}[0].name", [cited, was.evidence])
    return None


def _secret(
    part: Part, image: str, words: str, better: str, path: str, evidence: list[Evidence | None]
) -> Finding:
    workload = part.workload
    return finding(
        "image_pull.credentials",
        PROVED,
        f"The image of {part.name} cannot be pulled: its pull secret is missing",
        f"{part} waits for its image {one_line(image, 200)}: the registry denies access, and "
        f"{words}.",
        evidence,
        rules_out=("probes", "crash_loop"),
        actions=[
            restore(
                f"Pull with the secret {better}." if better else "Create the pull secret.",
                becomes_ready(workload),
            )
        ],
        changes=[workload.change(path, better, "the secret that exists")] if better else (),
    )
