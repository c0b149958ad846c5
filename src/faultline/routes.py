"""STEPS: name -> step. Which event reaches which step stands in the Triggers, and only there.

A step is imported when it is asked for, so that a process that serves one loads one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from faultline.ports import Step

NAMES = ("triage", "context", "launch", "package", "close", "sweep", "verify")


class Steps(Mapping[str, Step]):
    """The steps by name; each is the function of its module's name in `faultline.steps`."""

    def __getitem__(self, name: str) -> Step:
        if name not in NAMES:
            raise KeyError(name)
        step: Step = getattr(import_module(f"faultline.steps.{name}"), name)
        return step

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


STEPS = Steps()
