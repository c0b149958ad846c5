"""Images that cannot be pulled: names, tags, registries, credentials, limits, platforms.

An image that is there and does not run is `crash_loop.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from faultline.diagnosis.documents import text
from faultline.diagnosis.facts import Facts, Part, Was
from faultline.diagnosis.pull_secrets import WITHOUT_CREDENTIALS, anonymous, missing_secret
from faultline.diagnosis.quantities import distance
from faultline.diagnosis.registry_answers import ANSWERS
from faultline.diagnosis.wording import LIKELY, PROVED, becomes_ready, finding, one_line, restore
from faultline.model import Action, Change, Evidence, Finding

_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
}
# What the answer proves by itself, whatever the rollout did.
_PROVED = {"never-pulled", "invalid-name", "wrong-platform", "rate-limited", "not-found"}


def analyze(facts: Facts) -> Iterable[Finding]:
    """Say why an image is not there: one finding for each container."""
    for part in facts.parts:
        if any(w.reason in _REASONS for w in part.waiting):
            for message, cited in _messages(part):
                if said := next((s for s in ANSWERS if s[1].search(message)), None):
                    yield _finding(part, said[0], said[2], (message, cited))
                    break


def _messages(part: Part) -> Iterator[tuple[str, Evidence | None]]:
    image = text(part.get("image"))
    for happening in part.happenings("Failed", "InspectFailed", "ErrImageNeverPull"):
        if f'"{image}"' in happening.message:
            yield happening.message, happening.cite()
    for waiting in part.waiting:
        if waiting.reason in _REASONS:
            yield waiting.message, waiting.cite("message")


def _finding(part: Part, name: str, words: str, said: tuple[str, Evidence | None]) -> Finding:
    # proved because: the registry or the kubelet says it of exactly the image that the object
    # names. A denial, an unknown host and silence can have other causes; they need more.
    image, was, (message, cited) = text(part.get("image")), part.was("image"), said
    if name == "denied" and (missing := missing_secret(part, image, cited)):
        return missing
    if name == "denied" and anonymous(part, message):
        words = WITHOUT_CREDENTIALS
    typo = was if was and _is_typo(text(was.value), image, name) else None
    bare = words == WITHOUT_CREDENTIALS
    certainty = PROVED if name in _PROVED or typo or bare else LIKELY
    back = was if name in _PROVED - {"rate-limited"} or typo else None
    before = f" Revision {was.revision} ran {one_line(was.value)}." if was else ""
    policy = part.cite("imagePullPolicy") if name == "never-pulled" else None
    return finding(
        f"image_pull.{name}",
        certainty,
        f"The image of {part.name} cannot be pulled: {words.split(':')[0]}",
        f"{part} waits for its image {one_line(image, 200)}: {words}.{before}",
        [cited, part.cite("image"), was.evidence if was else None, policy],
        rules_out=("probes", "crash_loop"),
        actions=[_step(part, name, back)],
        changes=_back(part, back),
    )


def _step(part: Part, name: str, back: Was | None) -> Action:
    ready = becomes_ready(part.workload)
    if back:
        return restore(f"Use {one_line(back.value)} again, or publish the new image.", ready)
    words = {
        "rate-limited": "Wait, or pull through a mirror or with an account.",
        "denied": "Name a pull secret in imagePullSecrets whose account may read this image.",
        "not-found": "Name an image that the registry has, or publish this one.",
    }
    return restore(words.get(name, "Check the image's name and the way to its registry."), ready)


def _back(part: Part, was: Was | None) -> list[Change]:
    return [part.change("image", was.value, f"revision {was.revision} ran it")] if was else []


def _is_typo(before: str, now: str, name: str) -> bool:
    """Say whether host or repository differ by an edit or two from those that worked."""
    old, new = (i.split("@")[0].rsplit("/", 1) for i in (before, now))
    if name == "unknown-host":
        return 0 < distance(before.split("/")[0], now.split("/")[0]) <= 2
    if name == "denied":
        repositories = (before.rsplit(":", 1)[0], now.rsplit(":", 1)[0])
        return len(old) == len(new) and 0 < distance(*repositories) <= 2
    return False
