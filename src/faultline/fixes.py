"""What became of a fix, as records: people's own fix beside our proposal, and whether one held.

Values only. What makes them is `shadow.py` and `verification.py`; merges are `model.Merged`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime

from faultline.model import Target, Value


class Compared(Value):
    """One proposed change beside what people wrote there."""

    target: Target
    field: str
    before: Any = None  # in the manifests, when we proposed
    ours: Any = None
    theirs: Any = None  # null: nothing stands there, or it is not shown
    same_object: bool = False  # people changed this object, here or elsewhere in it
    same_field: bool = False
    same_value: bool = False


class Shadow(Value):
    """`shadow.json`: people fixed it without our branch; how near our proposal was."""

    at: AwareDatetime  # when it was seen, after the incident had closed
    run: int  # whose proposal was compared
    revision: str = ""  # of the manifests that were compared
    changes: tuple[Compared, ...]
    score: float  # 1: the same values; 0.5: the same fields; 0.25: the same objects; the mean
    ahead_s: float = 0.0  # how long before `at` our proposal was there


class Reset(Value):
    """`healing/<key>/reset-….json`: these pull requests count no more against the healing cap."""

    by: str
    at: AwareDatetime
    note: str = ""
    forgives: tuple[str, ...] = ()  # digests of the pull requests, as their keys have them


class Synced(Value):
    """`synced/<commit>/<what>.json`, and `synced.json` of an incident: a commit is in a cluster."""

    by: str  # argocd or flux
    what: str  # the object that delivered it: kind/namespace/name
    revision: str  # the commit
    at: AwareDatetime


class Outcome(StrEnum):
    """Did a fix hold?"""

    VERIFIED = "verified"  # the fault cleared after it, and nothing came back while it was quiet
    FAILED = "failed"  # the condition came back


class Verification(Value):
    """`verified.json`: whether the fix held, decided once."""

    outcome: Outcome
    at: AwareDatetime
    ours: bool  # False: people fixed it in their own way
    fixed_at: AwareDatetime  # when the change was merged, or seen
    cleared_at: AwareDatetime | None = None  # when the last fault ended
    quiet_s: int = 0  # how long nothing happened after that; 0 if it failed
    again: str = ""  # incident in which the condition came back; its own id: before it closed
    fault: str = ""  # name of the fault that came back
